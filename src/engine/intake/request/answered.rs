//! The message that a request answers.

use uuid::Uuid;

use super::ClientNotificationRequest;
use crate::{
    domain::field_error::FieldError,
    store::{
        DatabaseTransaction, StoreError,
        inbound::{self, InboundProviderId},
    },
};

/// The message that a request answers.
#[derive(Default)]
pub(super) struct AnsweredMessage {
    /// The provider's id of it.
    pub(super) provider_id: Option<String>,
    /// The sender that it was written to, if the message is known and the caller may use that sender.
    pub(super) sender_id: Option<Uuid>,
}

/// Finds the message that a request answers, or says what is wrong with it.
pub(super) async fn answered(
    tx: &DatabaseTransaction,
    asked: &ClientNotificationRequest,
    wrong: &mut Vec<FieldError>,
) -> Result<AnsweredMessage, StoreError> {
    let Some(named) = &asked.request.reply_to else {
        return Ok(AnsweredMessage::default());
    };
    let usable = |sender: Option<Uuid>| sender.filter(|id| asked.bounds.has_sender(*id));
    let Ok(id) = Uuid::parse_str(named) else {
        return Ok(AnsweredMessage {
            provider_id: Some(named.clone()),
            sender_id: usable(inbound::sender_of(tx, &asked.bounds, named).await?),
        });
    };
    let found = inbound::find(tx, &asked.bounds, id).await?;
    let message =
        found.as_ref().and_then(
            |row| match InboundProviderId::of(&row.provider_message_id) {
                InboundProviderId::Message(message) => Some((row, message.to_owned())),
                InboundProviderId::Call(_) => None,
            },
        );
    let Some((row, message)) = message else {
        wrong.push(FieldError {
            pointer: "/reply_to".to_owned(),
            rule: "no message has this id".to_owned(),
        });
        return Ok(AnsweredMessage::default());
    };
    Ok(AnsweredMessage {
        provider_id: Some(message),
        sender_id: usable(row.sender_id),
    })
}
