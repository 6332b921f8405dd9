//! What is to be done if a message does not arrive by its channel.

use uuid::Uuid;

use crate::{
    domain::{channel::MessageChannel, field_error::FieldError},
    engine::{Engine, runtime::turn::TransactionContext},
    store::{
        DatabaseTransaction, StoreError,
        catalogue::rows::CatalogueRouteRow,
        channel_fallback::{self, ChannelFallback},
        notification::NewNotification,
        sender,
    },
};

use super::channel_sender;

/// The channels of a message after its first, and how long each may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackPlan {
    pub channels: Vec<MessageChannel>,
    /// Seconds; of the settings, if absent.
    pub after_seconds: Option<i64>,
    /// The first channel is not waited for.
    pub is_due_at_once: bool,
}

impl FallbackPlan {
    /// As a route says. Its words have been checked.
    pub fn of_route(route: &CatalogueRouteRow) -> Self {
        let words = route.next_channels.iter();
        Self {
            channels: words
                .filter_map(|word| MessageChannel::parse(word))
                .collect(),
            after_seconds: route.fallback_after_seconds,
            is_due_at_once: false,
        }
    }

    /// The same for messages that alert staff, from `chosen` by `channel`: if that sender is held, they
    /// may be about this very hold, and go by another channel at once. Those that are planned, or else
    /// each one that has a sender which is not held itself.
    pub(in crate::engine) async fn of_alert(
        self,
        TransactionContext { engine, tx, .. }: TransactionContext<'_>,
        channel: MessageChannel,
        chosen: Option<Uuid>,
    ) -> Result<Self, StoreError> {
        if !is_held(tx, chosen).await? {
            return Ok(self);
        }
        let wanted = if self.channels.is_empty() {
            MessageChannel::ALL.to_vec()
        } else {
            self.channels.clone()
        };
        let mut channels = Vec::new();
        for other in wanted.into_iter().filter(|other| *other != channel) {
            if let Some(serving) = channel_sender::for_channel(engine, &[], other, None)
                && !is_held(tx, serving.id()).await?
            {
                channels.push(other);
            }
        }
        if channels.is_empty() {
            return Ok(self);
        }
        Ok(Self {
            channels,
            is_due_at_once: true,
            ..self
        })
    }
}

/// Whether a sender, `None` being the default one, sends nothing for now.
async fn is_held(tx: &DatabaseTransaction, id: Option<Uuid>) -> Result<bool, StoreError> {
    let row = match id {
        Some(id) => sender::find(tx, id).await?,
        None => sender::default_one(tx).await?,
    };
    Ok(row.is_none_or(|row| row.state == "held" || row.off_at.is_some()))
}

/// Plans it for new messages: at once for those whose recipients have no address of their channel.
/// One that is not sent for another reason goes by no other channel either.
pub(in crate::engine) async fn plan(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    new: &[&NewNotification],
    plan: &FallbackPlan,
) -> Result<(), StoreError> {
    if plan.channels.is_empty() {
        return Ok(());
    }
    let usual = engine.settings.sending.fallback_seconds;
    let after_seconds = plan.after_seconds.unwrap_or(usual);
    for new in new {
        let is_unreachable = new.skipped.is_some() && new.address.is_none();
        if new.skipped.is_some() && !is_unreachable {
            continue;
        }
        let due_at = if is_unreachable || plan.is_due_at_once {
            now
        } else {
            new.send_at.unwrap_or(now).plus_seconds(after_seconds)
        };
        let fallback = ChannelFallback {
            notification_id: new.id,
            channels: plan.channels.clone(),
            after_seconds,
            sealed: new.sealed.clone(),
        };
        channel_fallback::insert(tx, &fallback, due_at, now).await?;
    }
    Ok(())
}

/// What is wrong with channels, of which each needs a sender that `bound` allows. `served` has one.
pub(super) fn check(
    engine: &Engine,
    bound: &[Uuid],
    wanted: Option<Uuid>,
    channels: &[MessageChannel],
    served: Option<MessageChannel>,
) -> Vec<FieldError> {
    let without = |channel: &MessageChannel| {
        served != Some(*channel)
            && channel_sender::for_channel(engine, bound, *channel, wanted).is_none()
    };
    channels
        .iter()
        .enumerate()
        .filter(|(_, channel)| without(channel))
        .map(|(index, _)| FieldError {
            pointer: format!("/channels/{index}"),
            rule: "no sender serves this channel".to_owned(),
        })
        .collect()
}
