//! Direct requests for messages, checked completely before anything is stored.

mod answered;
mod recipients;
mod sender;
mod template;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use answered::answered;
use recipients::{about, recipients};
pub(in crate::engine) use template::check_template;

use super::{
    DraftComposeError, IntakeRowCache, MessageContentMode, MessageDraft, NEEDS_PHONE,
    channel_address, compose,
    fallback::FallbackPlan,
    idempotency::{self, IdempotencyKey, IdempotencyVerdict},
    targets::ResolvedRecipient,
    unique,
};
use crate::{
    domain::{
        access::AccessBounds, category::MessageCategory, channel::MessageChannel,
        content::FreeFormMessageContent, field_error::FieldError, priority::MessagePriority,
        recipient::WhatsAppUserId, time::Timestamp,
    },
    engine::{Engine, InputError, runtime::turn::TransactionContext},
    store::{
        DatabaseTransaction, StoreError, new_id,
        notification::{self, FallbackTemplate, NewNotification},
    },
};

/// A direct request for a message.
#[derive(Clone, Debug)]
pub struct NotificationRequest {
    pub to: Vec<String>,
    pub about: Option<String>,
    /// Name or id of a sender; `None`: of a reply, the one that was written to; else the default.
    pub sender: Option<String>,
    pub content: NotificationRequestContent,
    pub reference: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub priority: MessagePriority,
    pub expires_after_seconds: Option<i64>,
    /// Earliest time of sending.
    pub send_at: Option<Timestamp>,
    /// The message being answered: our id of it, or the provider's.
    pub reply_to: Option<String>,
    /// The kind of message, which recipients may turn off.
    pub message_kind: Option<String>,
    pub mode: MessageContentMode,
    /// The channels in the order in which they are tried; empty: that of the sender.
    pub channels: Vec<MessageChannel>,
    /// Seconds until the next of them is tried.
    pub fallback_seconds: Option<i64>,
}

/// The content of a direct request.
#[derive(Clone, Debug)]
pub enum NotificationRequestContent {
    Template(RequestedTemplate),
    /// Free content, deliverable only while the service window is open, and the template that
    /// replaces it once otherwise.
    Free {
        content: FreeFormMessageContent,
        fallback: Option<RequestedTemplate>,
    },
}

/// A template with its parameters.
#[derive(Clone, Debug)]
pub struct RequestedTemplate {
    pub name: String,
    pub language: Option<String>,
    pub params: serde_json::Map<String, Value>,
}

/// Why a direct request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationRequestRefusal {
    Fields(Vec<FieldError>),
    /// The idempotency key was used for a different body.
    KeyReused,
}

/// A request with its idempotency key, if it has one.
#[derive(Clone, Debug)]
pub struct ClientNotificationRequest {
    pub bounds: AccessBounds,
    pub key: Option<IdempotencyKey>,
    pub request: NotificationRequest,
}

impl ClientNotificationRequest {
    /// Key that must be unique among the requests of a transaction.
    pub(super) fn whole_key(&self) -> Option<(&str, &str)> {
        let key = self.key.as_ref()?;
        Some((key.client.as_str(), key.key.as_str()))
    }
}

/// Result of checking one request.
pub(super) enum NotificationRequestCheckOutcome {
    /// A repeat: these are its notifications.
    Before(Vec<Uuid>),
    Refused(NotificationRequestRefusal),
    /// New, to be stored under this request id.
    New(Uuid, Vec<NewNotification>, FallbackPlan),
}

/// Operation name of these idempotency keys.
const OPERATION: &str = "POST /api/v1/notifications";

/// Checks a request completely. A refused request has written nothing, except when a user id cannot
/// get this template; the flag is then `true`.
pub(super) async fn check(
    turn: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    asked: &ClientNotificationRequest,
) -> Result<(NotificationRequestCheckOutcome, bool), StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let request = &asked.request;
    let (id, key) = (new_id(now), asked.key.as_ref());
    let verdict = idempotency::look(engine, tx, key, OPERATION).await?;
    if let Some(before) = repeated(tx, &verdict).await? {
        return Ok((before, false));
    }
    let mut wrong = Vec::new();
    let mut recipients = recipients(tx, &asked.bounds, request, &mut wrong, now).await?;
    let about = about(tx, &asked.bounds, request, &mut wrong, now).await?;
    let answered = answered(tx, asked, &mut wrong).await?;
    let sender = sender::sender(turn, reading, asked, answered.sender_id, &mut wrong).await?;
    let (from, channel) = (sender.id, sender.first);
    let catalogue_snapshot = reading.catalogue_snapshot(engine, tx).await?;
    if request
        .message_kind
        .as_deref()
        .is_some_and(|kind| !catalogue_snapshot.knows_kind(&asked.bounds, kind))
    {
        wrong.push(FieldError {
            pointer: "/message_kind".to_owned(),
            rule: "no catalogue has this kind of message".to_owned(),
        });
    }
    let templates: Vec<(&RequestedTemplate, &str)> = match &request.content {
        NotificationRequestContent::Template(template) => vec![(template, "")],
        NotificationRequestContent::Free { content, fallback } => {
            wrong.extend(content.check().into_iter().map(FieldError::from));
            wrong.extend(sender::check_content(turn, &sender, content));
            fallback.iter().map(|it| (it, "/fallback")).collect()
        }
    };
    let mut is_code = false;
    for (template, at) in &templates {
        let category = check_template(
            engine,
            tx,
            reading,
            &asked.bounds,
            from,
            template,
            at,
            &mut wrong,
        )
        .await?;
        is_code |= category == Some(MessageCategory::Authentication);
    }
    let named_by_id = |target: &ResolvedRecipient| {
        let address = target.address.as_deref();
        address.is_some_and(|address| WhatsAppUserId::parse(address).is_some())
    };
    if is_code
        && recipients
            .iter()
            .any(|it| it.needs_user_id() || it.found(named_by_id))
    {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: NEEDS_PHONE.to_owned(),
        });
    }
    if !wrong.is_empty() {
        return Ok((
            NotificationRequestCheckOutcome::Refused(NotificationRequestRefusal::Fields(wrong)),
            false,
        ));
    }
    // Unknown contacts are created only now.
    let mut targets = Vec::with_capacity(recipients.len());
    for recipient in recipients.drain(..) {
        targets.extend(recipient.settle(tx, reading, now).await?);
    }
    let mut targets = unique(targets);
    if targets.is_empty() {
        let nobody = FieldError {
            pointer: "/to".to_owned(),
            rule: "these groups are empty".to_owned(),
        };
        return Ok((
            NotificationRequestCheckOutcome::Refused(NotificationRequestRefusal::Fields(vec![
                nobody,
            ])),
            false,
        ));
    }
    let about = match about {
        Some(recipient) => recipient.settle(tx, reading, now).await?.into_iter().next(),
        None => None,
    };
    let product = asked.bounds.owner().map(str::to_owned);
    let draft = MessageDraft {
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        channel: channel.name().to_owned(),
        sender_id: from,
        template: String::new(),
        language: None,
        default_language: None,
        params: json!({}),
        subject_contact_id: about.as_ref().and_then(|about| about.contact_id),
        subject_address: about
            .and_then(|about| about.address)
            .filter(|_| product.is_some()),
        reference: request.reference.clone(),
        labels: request.labels.clone(),
        priority: request.priority,
        expires_after_seconds: request.expires_after_seconds,
        send_at: request.send_at,
        reply_to: answered.provider_id,
        message_kind: request.message_kind.clone(),
        mode: request.mode,
        fallback_template: None,
        product,
        unread: Vec::new(),
    };
    channel_address::readdress(tx, channel, draft.product.as_deref(), &mut targets).await?;
    let made = match &request.content {
        NotificationRequestContent::Template(template) => {
            templated(turn, reading, &draft, template, "", targets).await
        }
        NotificationRequestContent::Free { content, fallback } => {
            let fallbacks = match fallback {
                None => Ok(Vec::new()),
                Some(template) => {
                    let (at, targets) = ("/fallback", targets.clone());
                    templated(turn, reading, &draft, template, at, targets).await
                }
            };
            fallbacks.map(|fallbacks| {
                let mut fallbacks = fallbacks.into_iter();
                targets
                    .into_iter()
                    .map(|target| {
                        let fallback = fallbacks.next().and_then(fallback_of);
                        free(engine, &draft, target, content, fallback, now)
                    })
                    .collect()
            })
        }
    };
    let new: Vec<NewNotification> = match made {
        Ok(new) => new,
        Err(InputError::Invalid(wrong)) => {
            return Ok((
                NotificationRequestCheckOutcome::Refused(NotificationRequestRefusal::Fields(wrong)),
                true,
            ));
        }
        Err(InputError::Store(error)) => return Err(error),
    };
    // Another process may have stored the request since we looked.
    let verdict = idempotency::idempotent(engine, tx, key, OPERATION, id, now).await?;
    if let Some(before) = repeated(tx, &verdict).await? {
        return Ok((before, true));
    }
    let new = new
        .into_iter()
        .map(|new| NewNotification {
            parent_id: None,
            event_id: Some(id),
            ..new
        })
        .collect();
    let plan = FallbackPlan {
        channels: sender.next,
        after_seconds: request.fallback_seconds,
        is_due_at_once: false,
    };
    Ok((NotificationRequestCheckOutcome::New(id, new, plan), false))
}

/// What a request whose key was used before gets; `None` if it is new.
async fn repeated(
    tx: &DatabaseTransaction,
    verdict: &IdempotencyVerdict,
) -> Result<Option<NotificationRequestCheckOutcome>, StoreError> {
    Ok(match verdict {
        IdempotencyVerdict::New => None,
        IdempotencyVerdict::Repeat(before) => {
            let ids = notification::of_request(tx, before.resource_id).await?;
            Some(NotificationRequestCheckOutcome::Before(ids))
        }
        IdempotencyVerdict::KeyReused => Some(NotificationRequestCheckOutcome::Refused(
            NotificationRequestRefusal::KeyReused,
        )),
    })
}

/// The notifications of a checked template, or why there are none; pointers begin with `at`.
async fn templated(
    turn: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    draft: &MessageDraft,
    template: &RequestedTemplate,
    at: &str,
    targets: Vec<ResolvedRecipient>,
) -> Result<Vec<NewNotification>, InputError> {
    let draft = MessageDraft {
        template: template.name.clone(),
        language: template.language.clone(),
        params: Value::Object(template.params.clone()),
        ..draft.clone()
    };
    let broken = |parameter: Option<&str>, rule: String| {
        let at_field = parameter.map_or_else(
            || format!("{at}/template"),
            |name| format!("{at}/params/{name}"),
        );
        InputError::field(&at_field, rule)
    };
    let made = compose(turn, reading, &draft, targets)
        .await
        .map_err(|error| match error {
            DraftComposeError::Store(error) => error.into(),
            refused => broken(None, refused.to_string()),
        })?;
    // If no recipient can get the message, the request is refused; a single recipient without a
    // name is skipped.
    if made.iter().all(|made| made.unfilled.is_some())
        && let Some(unfilled) = made.iter().find_map(|made| made.unfilled.as_ref())
    {
        let parameter = unfilled.parameter.as_deref();
        return Err(broken(parameter, unfilled.error.to_string()));
    }
    Ok(made.into_iter().map(|made| made.new).collect())
}

/// The fallback of a message whose window is closed, with the id that its secrets are bound to.
/// `None` if it cannot be filled for this recipient.
fn fallback_of(new: NewNotification) -> Option<(Uuid, Option<String>, FallbackTemplate)> {
    if new.skipped.is_some() {
        return None;
    }
    let (id, sealed) = (new.id, new.sealed);
    let fallback = FallbackTemplate {
        template: new.template,
        language: new.language.unwrap_or_default(),
        category: new.category,
        params: new.params,
        body: new.body,
    };
    Some((id, sealed, fallback))
}

/// A message of free content for another channel; `None` if it is more than a text.
pub(in crate::engine) async fn free_text(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    draft: &MessageDraft,
    target: ResolvedRecipient,
    content: &Value,
) -> Result<Option<NewNotification>, StoreError> {
    let content = serde_json::from_value(content.clone()).ok();
    let Some(content @ FreeFormMessageContent::Text(_)) = content else {
        return Ok(None);
    };
    let channel = MessageChannel::parse(&draft.channel).unwrap_or_default();
    let mut targets = vec![target];
    channel_address::readdress(tx, channel, draft.product.as_deref(), &mut targets).await?;
    let target = targets.pop();
    let made = target.map(|target| free(engine, draft, target, &content, None, now));
    Ok(made.map(|made| NewNotification {
        event_id: draft.event_id,
        parent_id: draft.parent_id,
        rule: draft.rule.clone(),
        route: draft.route.clone(),
        ..made
    }))
}

fn free(
    engine: &Engine,
    draft: &MessageDraft,
    target: ResolvedRecipient,
    content: &FreeFormMessageContent,
    fallback: Option<(Uuid, Option<String>, FallbackTemplate)>,
    now: Timestamp,
) -> NewNotification {
    let (id, sealed, fallback) = match fallback {
        Some((id, sealed, fallback)) => (id, sealed, Some(fallback)),
        None => (new_id(now), None, None),
    };
    let lifetime = draft
        .expires_after_seconds
        .unwrap_or(engine.settings.expiry.ordinary_seconds);
    NewNotification {
        id,
        event_id: None,
        route: None,
        event_type: None,
        follow_up_id: None,
        parent_id: None,
        rule: None,
        depth: 0,
        sender_id: draft.sender_id,
        channel: draft.channel.clone(),
        contact_id: target.contact_id,
        recipient: target.recipient,
        address: target.address,
        subject_contact_id: draft.subject_contact_id,
        kind: content.kind(),
        template: String::new(),
        made_with: None,
        language: None,
        category: MessageCategory::Service,
        params: json!(content),
        body: content.readable().map(str::to_owned),
        reference: draft.reference.clone(),
        labels: draft.labels.clone(),
        priority: draft.priority,
        skipped: target.skipped,
        expires_at: Some(draft.send_at.unwrap_or(now).plus_seconds(lifetime)),
        send_at: draft.send_at,
        reply_to: draft.reply_to.clone(),
        fallback,
        message_kind: draft.message_kind.clone(),
        sealed,
        product: draft.product.clone(),
        unread: Vec::new(),
    }
}
