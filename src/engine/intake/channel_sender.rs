//! Chooses the sender of a message by the channel that it is to go by.

use uuid::Uuid;

use crate::{
    domain::{channel::MessageChannel, field_error::FieldError},
    engine::{Engine, runtime::keyring::SenderAccount},
};

/// The sender for a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelSender {
    /// The default sender, whichever it is when the message leaves.
    Default,
    Named(Uuid),
}

impl ChannelSender {
    /// As messages are stored: none is the default.
    pub const fn id(self) -> Option<Uuid> {
        match self {
            Self::Default => None,
            Self::Named(id) => Some(id),
        }
    }
}

/// No sender serves the channel of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no sender serves the channel {0}")]
pub struct NoChannelSender(MessageChannel);

/// What is wrong with a request whose `sender` serves a channel that it does not go by.
pub fn serves_none(serves: MessageChannel) -> FieldError {
    FieldError {
        pointer: "/sender".to_owned(),
        rule: format!("it serves {serves}, which is none of the channels"),
    }
}

/// The sender of a message: `chosen`, `None` being the default sender, where that serves the channel;
/// else one that does.
pub fn serving(
    engine: &Engine,
    bound: &[Uuid],
    channel: MessageChannel,
    chosen: Option<Uuid>,
) -> Result<Option<Uuid>, NoChannelSender> {
    if engine.channel_of(chosen) == channel {
        return Ok(chosen);
    }
    for_channel(engine, bound, channel, chosen)
        .map(ChannelSender::id)
        .ok_or(NoChannelSender(channel))
}

/// The sender that messages by this channel go from: `wanted` if it serves the channel; else the
/// default sender; else the first of `bound`, or without bounds the oldest, that is not held by hand.
/// `None`: the channel is not set up.
pub fn for_channel(
    engine: &Engine,
    bound: &[Uuid],
    channel: MessageChannel,
    wanted: Option<Uuid>,
) -> Option<ChannelSender> {
    let ring = engine.keyring();
    let serves = |account: &&SenderAccount| {
        engine.channel_of(Some(account.id)) == channel
            && (bound.is_empty() || bound.contains(&account.id))
    };
    let serving = || ring.accounts.iter().filter(serves);
    if let Some(named) = serving().find(|account| Some(account.id) == wanted) {
        return Some(ChannelSender::Named(named.id));
    }
    if let Some(default) = serving().find(|account| account.is_default) {
        return Some(if bound.is_empty() {
            ChannelSender::Default
        } else {
            ChannelSender::Named(default.id)
        });
    }
    // In the order of the bounds, as of messages that name no channel. Ids are in order of time.
    let first = |account: &&SenderAccount| {
        let place = bound.iter().position(|id| *id == account.id);
        (account.off.is_some(), place, account.id)
    };
    let found = serving().min_by_key(first);
    found.map(|account| ChannelSender::Named(account.id))
}
