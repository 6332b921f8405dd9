//! Which sender a request leaves from, and by which channels.

use uuid::Uuid;

use super::ClientNotificationRequest;
use crate::{
    domain::{
        channel::MessageChannel, content::FreeFormMessageContent, field_error::FieldError,
        recipient::RecipientSpec,
    },
    engine::{
        intake::{
            IntakeRowCache,
            channel_sender::{self, ChannelSender},
            fallback,
        },
        runtime::turn::TransactionContext,
    },
    store::StoreError,
};

/// The sender of a request's first channel.
pub(super) struct RequestedSender {
    /// `None`: the default at the time of sending.
    pub(super) id: Option<Uuid>,
    pub(super) first: MessageChannel,
    /// The channels after the first.
    pub(super) next: Vec<MessageChannel>,
}

/// Chooses the sender: the one that is named, or that the answered message was written to, or the
/// caller's own, as far as it serves the channel. What is addressed to mailboxes alone goes by e-mail.
pub(super) async fn sender(
    turn: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    asked: &ClientNotificationRequest,
    answered: Option<Uuid>,
    wrong: &mut Vec<FieldError>,
) -> Result<RequestedSender, StoreError> {
    let TransactionContext { engine, tx, .. } = turn;
    let request = &asked.request;
    let bound = asked.bounds.senders();
    // From its row: this process may not have read the keys of a new sender yet.
    let mut named = None;
    if let Some(name) = &request.sender {
        let found = reading.sender(tx, name).await?;
        match found.filter(|row| asked.bounds.has_sender(row.id)) {
            Some(row) => named = Some((row.id, engine.channel_of_kind(&row.kind))),
            None => wrong.push(FieldError {
                pointer: "/sender".to_owned(),
                rule: "no sender has this name".to_owned(),
            }),
        }
    }
    if let Some((_, serves)) = named
        && !request.channels.is_empty()
        && !request.channels.contains(&serves)
    {
        wrong.push(channel_sender::serves_none(serves));
    }
    let chosen = match (named, &request.sender, answered) {
        // The person who is answered has that number's conversation open, and no other's.
        (Some((id, _)), ..) | (None, None, Some(id)) => Some(id),
        (None, ..) => reading.own_sender(tx, &asked.bounds).await?,
    };
    let served = named.map(|(_, serves)| serves);
    let mut channels = request.channels.iter().copied();
    let first = match (channels.next(), served) {
        (Some(first), _) => {
            let channels = &request.channels;
            wrong.extend(fallback::check(engine, bound, chosen, channels, served));
            first
        }
        (None, Some(served)) => served,
        (None, None) if is_to_mailboxes(&request.to) => MessageChannel::Email,
        (None, None) => engine.channel_of(chosen),
    };
    let from = if served == Some(first) || engine.channel_of(chosen) == first {
        Some(chosen)
    } else {
        channel_sender::for_channel(engine, bound, first, chosen).map(ChannelSender::id)
    };
    if from.is_none() && request.channels.is_empty() {
        wrong.push(FieldError {
            pointer: "/to".to_owned(),
            rule: format!("no sender serves the channel {first}"),
        });
    }
    Ok(RequestedSender {
        id: from.unwrap_or(chosen),
        first,
        next: channels.collect(),
    })
}

/// Whether all of these are mailboxes.
fn is_to_mailboxes(to: &[String]) -> bool {
    let is_mailbox =
        |entry: &String| matches!(RecipientSpec::parse(entry), Ok(RecipientSpec::Email(_)));
    !to.is_empty() && to.iter().all(is_mailbox)
}

/// What is wrong with content that the provider of the first channel cannot send.
pub(super) fn check_content(
    turn: TransactionContext<'_>,
    sender: &RequestedSender,
    content: &FreeFormMessageContent,
) -> Option<FieldError> {
    let pointer = match content {
        FreeFormMessageContent::Text(_) => return None,
        FreeFormMessageContent::Media(_) => "/media",
        FreeFormMessageContent::Interactive(_) => "/interactive",
    };
    let provider = turn.engine.provider_of(sender.id)?;
    let is_served = provider.channel() == sender.first;
    let is_possible = !is_served || provider.capabilities().files_and_buttons;
    (!is_possible).then(|| FieldError {
        pointer: pointer.to_owned(),
        rule: "its sender sends templates and texts only".to_owned(),
    })
}
