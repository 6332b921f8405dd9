//! A claimed notification becomes a message, judged at the moment of sending.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        content,
        failure::{Failure, FailureClass},
        recipient::Address,
        time::Timestamp,
        window,
    },
    engine::{accept::NEEDS_PHONE, in_force::InForce},
    providers::{Content, Message},
    store::{DatabaseTransaction, StoreError, conversation, notification::Claimed},
};

/// Writes the message at the moment of sending: the window and the template are
/// judged now, not when it was queued.
pub(super) async fn compose(
    tx: &DatabaseTransaction,
    in_force: &InForce,
    sender: Uuid,
    claimed: &Claimed,
    attempt_id: Uuid,
    now: Timestamp,
) -> Result<Result<Message, Failure>, StoreError> {
    let fix = |title: &str, meaning: &str, remedy: &str| Failure {
        class: FailureClass::FixRequest,
        ..Failure::ours(title, meaning, remedy)
    };
    let Some(to) = claimed.address.as_deref().and_then(Address::parse) else {
        return Ok(Err(fix(
            "no_address",
            "The recipient has no usable phone number.",
            "Give the contact a number in E.164.",
        )));
    };
    let sensitive = claimed.category == "authentication";
    if sensitive && matches!(to, Address::UserId(_)) {
        return Ok(Err(fix(
            "needs_phone",
            NEEDS_PHONE,
            "Ask the person for their number, then send it anew.",
        )));
    }
    let params: Value = serde_json::from_str(&claimed.params).unwrap_or(Value::Null);
    if claimed.kind != "template" {
        let until = match claimed.contact_id {
            Some(contact) => conversation::window_until(tx, sender, contact).await?,
            None => None,
        };
        if !window::is_open(until, now) {
            return Ok(Err(Failure {
                class: FailureClass::NeedsTemplate,
                ..Failure::ours(
                    "window_closed",
                    "The person has not written in the last 24 hours: free text may not be sent.",
                    "Send a template, or wait until the person writes.",
                )
            }));
        }
        // What was queued by an older version has its text only.
        let content = serde_json::from_value(params).unwrap_or_else(|_older| {
            content::Content::Text(content::Text {
                body: claimed.body.clone().unwrap_or_default(),
                preview_url: false,
            })
        });
        return Ok(Ok(Message {
            attempt_id,
            to,
            content: Content::Free(content),
            reply_to: claimed.reply_to.clone(),
            sensitive,
        }));
    }
    let Some(template) = in_force
        .template(
            tx,
            &claimed.template,
            claimed.language.as_deref().as_slice(),
        )
        .await?
    else {
        return Ok(Err(fix(
            "template_unknown",
            "The catalogue has no template of this name any more.",
            "Apply the catalogue that has it, then retry.",
        )));
    };
    let layout = match &template.layout {
        Ok(layout) => layout,
        Err(error) => {
            return Ok(Err(fix(
                "template_unreadable",
                error,
                "Mend the template in its catalogue, then retry.",
            )));
        }
    };
    match layout.fill(&params) {
        Ok(filled) => Ok(Ok(Message {
            attempt_id,
            to,
            content: Content::Template {
                name: claimed.template.clone(),
                language: template.row.language.clone(),
                filled,
            },
            reply_to: claimed.reply_to.clone(),
            sensitive,
        })),
        Err(error) => Ok(Err(fix(
            "parameters",
            &format!("The template cannot be filled: {error}."),
            "Mend the parameters, then send it anew.",
        ))),
    }
}
