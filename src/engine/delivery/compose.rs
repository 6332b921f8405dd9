//! Composes the provider's message from a claimed notification, at the moment of sending.

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    domain::{
        attempt_id::AttemptReference,
        category::MessageCategory,
        channel::ProviderCapabilities,
        content,
        failure::{DeliveryFailure, FailureClass},
        recipient::MessageAddress,
        template::{layout::FilledEmail, name::at_meta},
        time::Timestamp,
        window,
    },
    engine::{
        Engine,
        intake::NEEDS_PHONE,
        runtime::{
            catalogue_cache::CatalogueSnapshot,
            vault::{Vault, of_notification},
        },
    },
    providers::{OutgoingContent, OutgoingMessage},
    store::{
        DatabaseTransaction, StoreError, alias, conversation, notification::ClaimedNotification,
    },
};

/// Why no message can be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageComposeError {
    /// The notification fails with it.
    #[error("{}", .0.title)]
    Failed(Box<DeliveryFailure>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Composes the message. The service window and the template are checked now, not as they were when
/// the notification was queued.
pub(super) async fn compose(
    tx: &DatabaseTransaction,
    catalogue_snapshot: &CatalogueSnapshot,
    engine: &Engine,
    (sender, capabilities): (Uuid, ProviderCapabilities),
    claimed: &ClaimedNotification,
    our_id: AttemptReference,
    now: Timestamp,
) -> Result<OutgoingMessage, MessageComposeError> {
    let fix = |title: &str, meaning: &str, remedy: &str| {
        MessageComposeError::Failed(Box::new(DeliveryFailure {
            class: FailureClass::FixRequest,
            ..DeliveryFailure::ours(title, meaning, remedy)
        }))
    };
    let Some(to) = claimed.address.as_deref().and_then(MessageAddress::parse) else {
        return Err(fix(
            "no_address",
            "The recipient has no usable phone number.",
            "Give the contact a number in E.164.",
        ));
    };
    let is_code = claimed.category == MessageCategory::Authentication;
    let sensitive = is_code || claimed.sealed.is_some();
    if is_code && matches!(to, MessageAddress::UserId(_)) {
        return Err(fix(
            "needs_phone",
            NEEDS_PHONE,
            "Ask the person for their number, then send it as a new message.",
        ));
    }
    let may_refuse = !is_code && !catalogue_snapshot.is_required(claimed.message_kind.as_deref());
    let unsubscribe = (capabilities.subject_and_html && may_refuse)
        .then(|| engine.unsubscribe_url(claimed.id))
        .flatten();
    let mut params: Value = serde_json::from_str(&claimed.params).unwrap_or(Value::Null);
    if claimed.kind != "template" {
        let until = match claimed.contact_id {
            Some(contact) => {
                // While it is undecided who owns a number, the contact last seen there would read
                // the message: that contact's window counts.
                let address = claimed.address.as_deref().unwrap_or_default();
                let reader = alias::claimant(tx, contact, address).await?;
                conversation::window_until(tx, sender, reader.unwrap_or(contact)).await?
            }
            None => None,
        };
        if capabilities.service_window && !window::is_open(until, now) {
            return Err(MessageComposeError::Failed(Box::new(DeliveryFailure {
                class: FailureClass::NeedsTemplate,
                ..DeliveryFailure::ours(
                    "window_closed",
                    "The recipient has not written in the last 24 hours: free text may not be sent.",
                    "Send a template, or wait until the recipient writes.",
                )
            })));
        }
        // A notification queued by an older version has only its text.
        let content = serde_json::from_value(params).unwrap_or_else(|_older| {
            content::FreeFormMessageContent::Text(content::TextContent {
                body: claimed.body.clone().unwrap_or_default(),
                preview_url: false,
            })
        });
        let content = match content {
            content::FreeFormMessageContent::Text(text) if capabilities.subject_and_html => {
                OutgoingContent::Email(FilledEmail::of_text(&text.body))
            }
            content => OutgoingContent::Free(content),
        };
        return Ok(OutgoingMessage {
            our_id,
            to,
            content,
            reply_to: claimed.reply_to.clone(),
            sensitive,
            unsubscribe,
        });
    }
    let Some(template) = catalogue_snapshot
        .template(
            tx,
            &claimed.template,
            claimed.language.as_deref().as_slice(),
        )
        .await?
    else {
        return Err(fix(
            "template_unknown",
            "The catalogue has no template of this name any more.",
            "Apply the catalogue that has it, then retry.",
        ));
    };
    let layout = match &template.layout {
        Ok(layout) => layout,
        Err(error) => {
            return Err(fix(
                "template_unreadable",
                error,
                "Fix the template in its catalogue, then retry.",
            ));
        }
    };
    match secrets(engine.vault(), claimed) {
        Ok(secrets) => {
            if let Some(params) = params.as_object_mut() {
                params.extend(secrets);
            }
        }
        Err(SecretParamsError::Wiped) => {
            return Err(fix(
                "secrets_wiped",
                "The secrets of this message have been wiped, because it was final or had expired.",
                "Send it as a new message.",
            ));
        }
        Err(SecretParamsError::Sealed) => {
            return Err(fix(
                "secrets_sealed",
                "The secrets of this message were sealed with another HERALD_SECRET_KEY.",
                "Start every process with the same keys, then send it as a new message.",
            ));
        }
    }
    if !capabilities.reviewed_templates {
        let email = layout.email(&params).map_err(|error| {
            fix(
                "parameters",
                &format!("The template cannot be filled: {error}."),
                "Mend the parameters, then send it anew.",
            )
        })?;
        let content = if capabilities.subject_and_html {
            OutgoingContent::Email(email)
        } else {
            OutgoingContent::Free(content::FreeFormMessageContent::Text(
                content::TextContent {
                    body: email.text,
                    preview_url: false,
                },
            ))
        };
        return Ok(OutgoingMessage {
            our_id,
            to,
            content,
            reply_to: claimed.reply_to.clone(),
            sensitive,
            unsubscribe,
        });
    }
    match layout.fill(&params) {
        Ok(filled) => Ok(OutgoingMessage {
            our_id,
            to,
            content: OutgoingContent::Template {
                name: at_meta(
                    &claimed.template,
                    engine.settings.template_suffix.as_deref(),
                ),
                language: template.row.language.clone(),
                filled,
            },
            reply_to: claimed.reply_to.clone(),
            sensitive,
            unsubscribe: None,
        }),
        Err(error) => Err(fix(
            "parameters",
            &format!("The template cannot be filled: {error}."),
            "Fix the parameters, then send it as a new message.",
        )),
    }
}

/// Why the secret parameters of a message cannot be read.
enum SecretParamsError {
    Wiped,
    Sealed,
}

/// The secret parameters of a message.
fn secrets(
    vault: Option<&Vault>,
    claimed: &ClaimedNotification,
) -> Result<Map<String, Value>, SecretParamsError> {
    let sealed = match claimed.sealed.as_deref() {
        None => return Ok(Map::new()),
        Some("") => return Err(SecretParamsError::Wiped),
        Some(sealed) => sealed,
    };
    let opened = vault
        .and_then(|vault| vault.open(&of_notification(claimed.id), sealed))
        .ok_or(SecretParamsError::Sealed)?;
    serde_json::from_str(opened.expose_secret()).map_err(|_unreadable| SecretParamsError::Sealed)
}
