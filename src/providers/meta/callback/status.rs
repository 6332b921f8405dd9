//! Parses `statuses[]`: statuses of messages (Meta, "Webhooks: status").

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{MetaChangeContext, complete, kind_of, read, versioned};
use crate::{
    domain::notification::VersionedValue,
    providers::{
        CallbackItemContent, MessageStatusUpdate, PersonIds, ReportedDeliveryFact,
        meta::{errors, lenient::LenientText},
    },
};

#[derive(Deserialize)]
struct MetaMessageStatus<'a> {
    /// The message's id.
    #[serde(default)]
    id: LenientText,
    /// `sent`, `delivered`, `read`, `played`, `failed`; others are kept.
    #[serde(default)]
    status: LenientText,
    /// Seconds, as a string or a number.
    #[serde(default)]
    timestamp: LenientText,
    /// Absent for messages; `payment` says nothing about delivery.
    #[serde(default, rename = "type")]
    kind: LenientText,
    /// Our reference, if the message is ours.
    #[serde(default)]
    biz_opaque_callback_data: LenientText,
    /// The number, or the group when `recipient_type` is `group`; absent for people with a username.
    #[serde(default)]
    recipient_id: LenientText,
    #[serde(default)]
    recipient_type: LenientText,
    #[serde(default)]
    recipient_user_id: LenientText,
    #[serde(default)]
    recipient_parent_user_id: LenientText,
    /// Its name on earlier pages; both may be present.
    #[serde(default)]
    parent_recipient_user_id: LenientText,
    #[serde(default)]
    recipient_participant_id: LenientText,
    /// Another spelling of it on some pages.
    #[serde(default)]
    participant_recipient_id: LenientText,
    #[serde(default)]
    recipient_participant_user_id: LenientText,
    #[serde(default)]
    recipient_participant_parent_user_id: LenientText,
    /// Present in none to three of a message's statuses.
    #[serde(borrow, default)]
    pricing: Option<&'a RawValue>,
    /// Where older versions may have the pricing.
    #[serde(borrow, default)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct MetaConversation<'a> {
    #[serde(borrow, default)]
    pricing: Option<&'a RawValue>,
}

pub(super) fn parse(
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Result<CallbackItemContent, String> {
    let item: MetaMessageStatus<'_> = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a status: {}", kind_of(&error)))?;
    let id = item.id.filled().ok_or("a status without `id`")?;
    let status = item.status.filled().ok_or("a status without `status`")?;
    if let Some(kind) = item.kind.as_deref().filter(|kind| *kind != "message") {
        return Ok(super::other_item(
            "messages",
            format!("{kind} of a message: {status}"),
            item.timestamp.seconds(),
            raw,
        ));
    }
    let at = item.timestamp.seconds().unwrap_or(context.received);
    let fact = match status.as_str() {
        "sent" => ReportedDeliveryFact::Sent,
        "delivered" => ReportedDeliveryFact::Delivered,
        "read" => ReportedDeliveryFact::Read,
        "played" => ReportedDeliveryFact::Played,
        "failed" => ReportedDeliveryFact::Failed,
        _ => {
            let summary = format!("an unknown status of a message: {status}");
            return Ok(super::other_item("messages", summary, Some(at), raw));
        }
    };
    let fact = Some(fact);
    let failure = match (fact, item.errors) {
        (Some(ReportedDeliveryFact::Failed), Some(errors)) => {
            let whole: Value = serde_json::from_str(errors.get())
                .map_err(|error| format!("unreadable `errors`: {}", kind_of(&error)))?;
            // A list with one error, or the error itself.
            let first = match &whole {
                Value::Array(errors) => errors.first().cloned().unwrap_or(Value::Null),
                error => error.clone(),
            };
            Some(versioned(at, errors, errors::failure(&first, whole, false)))
        }
        (Some(ReportedDeliveryFact::Failed), None) => Some(VersionedValue {
            at,
            digest: String::new(),
            value: errors::failure(&Value::Null, Value::Null, false),
        }),
        _ => None,
    };
    let pricing = item.pricing.filter(|pricing| pricing.get() != "null");
    let pricing = pricing.or_else(|| read::<MetaConversation<'_>>(item.conversation).pricing);
    let pricing = pricing.and_then(|pricing| {
        let value = serde_json::from_str::<Value>(pricing.get())
            .ok()
            .filter(Value::is_object)?;
        Some(versioned(at, pricing, value))
    });
    let in_group = item.recipient_type.as_deref() == Some("group");
    let recipient = PersonIds {
        wa_id: item.recipient_id.filled().filter(|_| !in_group),
        user_id: item.recipient_user_id.filled(),
        parent_user_id: item
            .recipient_parent_user_id
            .filled()
            .or_else(|| item.parent_recipient_user_id.filled()),
        ..PersonIds::default()
    };
    let participant = PersonIds {
        wa_id: item
            .recipient_participant_id
            .filled()
            .or_else(|| item.participant_recipient_id.filled()),
        user_id: item.recipient_participant_user_id.filled(),
        parent_user_id: item.recipient_participant_parent_user_id.filled(),
        ..PersonIds::default()
    };
    Ok(CallbackItemContent::Update(Box::new(MessageStatusUpdate {
        provider_message_id: id,
        our_id: item
            .biz_opaque_callback_data
            .as_deref()
            .and_then(|id| id.parse().ok()),
        fact,
        status,
        at,
        failure,
        pricing,
        // A failed status has no contacts, and one to a group has many.
        recipient: if recipient.is_empty() || in_group {
            recipient
        } else {
            complete(recipient, &context.contacts)
        },
        participant: (!participant.is_empty()).then(|| complete(participant, &context.contacts)),
    })))
}
