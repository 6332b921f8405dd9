//! The status of a notification: a pure function of its attempts' facts and the engine's state.

use serde::{Deserialize, Serialize};

use super::facts::{DeliveryFact, DeliveryFacts};

/// The engine's state of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationEngineState {
    /// Will be sent when due.
    Queued,
    /// Waits outside the due queue; the reason says for what.
    Held,
    /// A call is being made, under a lease.
    Sending,
    /// Another attempt is due.
    Retrying,
    /// A call was made, and its outcome is unknown.
    Unknown,
    /// Nothing more to do.
    Settled,
    Skipped,
    Cancelled,
    Expired,
    GaveUp,
}

/// The status shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationStatus {
    Queued,
    Held,
    Sending,
    Retrying,
    Unknown,
    Accepted,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
    Expired,
    GaveUp,
    Skipped,
    Cancelled,
}

/// The four groups of statuses in statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusGroup {
    Pending,
    Sent,
    Failed,
    NotSent,
}

impl StatusGroup {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Sent, Self::Failed, Self::NotSent];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::NotSent => "not_sent",
        }
    }
}

/// When a person may retry a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualRetryRule {
    /// Whenever they ask: it did not arrive.
    Allowed,
    /// If they accept that it may arrive twice: it is not known whether it arrived.
    MayArriveTwice,
    /// If they accept that it arrives twice: it is on its way, or has arrived. It is not proposed.
    ArrivesTwice,
    /// Not while it waits or is being sent.
    NotYet,
}

impl ManualRetryRule {
    /// Whether it allows a retry. `even_if_delivered` accepts that the message may arrive twice.
    pub const fn permits(self, even_if_delivered: bool) -> bool {
        match self {
            Self::Allowed => true,
            Self::MayArriveTwice | Self::ArrivesTwice => even_if_delivered,
            Self::NotYet => false,
        }
    }
}

impl NotificationStatus {
    pub const ALL: [Self; 15] = [
        Self::Queued,
        Self::Held,
        Self::Sending,
        Self::Retrying,
        Self::Unknown,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Failed,
        Self::Expired,
        Self::GaveUp,
        Self::Skipped,
        Self::Cancelled,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::GaveUp => "gave_up",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing more is sent unless an operator retries it.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued
            | Self::Held
            | Self::Sending
            | Self::Retrying
            | Self::Unknown
            // A failure that is followed by another attempt may still be reported.
            | Self::Accepted
            | Self::Sent => false,
            Self::Delivered
            | Self::Read
            | Self::Played
            | Self::Failed
            | Self::Expired
            | Self::GaveUp
            | Self::Skipped
            | Self::Cancelled => true,
        }
    }

    /// When a person may retry a message in this status.
    pub const fn manual_retry(self) -> ManualRetryRule {
        match self {
            Self::Failed | Self::Expired | Self::Skipped | Self::Cancelled => {
                ManualRetryRule::Allowed
            }
            Self::Unknown | Self::GaveUp => ManualRetryRule::MayArriveTwice,
            Self::Accepted | Self::Sent | Self::Delivered | Self::Read | Self::Played => {
                ManualRetryRule::ArrivesTwice
            }
            Self::Queued | Self::Held | Self::Sending | Self::Retrying => ManualRetryRule::NotYet,
        }
    }

    pub const fn group(self) -> StatusGroup {
        match self {
            Self::Queued | Self::Held | Self::Sending | Self::Retrying | Self::Unknown => {
                StatusGroup::Pending
            }
            Self::Accepted | Self::Sent | Self::Delivered | Self::Read | Self::Played => {
                StatusGroup::Sent
            }
            Self::Failed | Self::Expired | Self::GaveUp => StatusGroup::Failed,
            Self::Skipped | Self::Cancelled => StatusGroup::NotSent,
        }
    }
}

/// Computes the status: `played`, `read` or `delivered` if any attempt has that fact; otherwise
/// from the newest attempt of the present generation, if it has a fact; otherwise from the engine's
/// state.
pub fn status<'a>(
    all: impl Iterator<Item = &'a DeliveryFacts>,
    newest: Option<&DeliveryFacts>,
    engine: NotificationEngineState,
) -> NotificationStatus {
    let mut best = None;
    for facts in all {
        for (fact, status) in [
            (DeliveryFact::Played, NotificationStatus::Played),
            (DeliveryFact::Read, NotificationStatus::Read),
            (DeliveryFact::Delivered, NotificationStatus::Delivered),
        ] {
            if facts.has(fact) {
                best = Some(match best {
                    Some(NotificationStatus::Played) => NotificationStatus::Played,
                    Some(NotificationStatus::Read) if status != NotificationStatus::Played => {
                        NotificationStatus::Read
                    }
                    _ => status,
                });
                break;
            }
        }
    }
    if let Some(best) = best {
        return best;
    }
    if let Some(facts) = newest.filter(|facts| !facts.is_empty()) {
        // Another attempt will follow, even if it is held for now.
        let more = matches!(
            engine,
            NotificationEngineState::Retrying
                | NotificationEngineState::Queued
                | NotificationEngineState::Held
        );
        return if more {
            NotificationStatus::Retrying
        } else if engine == NotificationEngineState::Sending && facts.has(DeliveryFact::Failed) {
            // Claimed for another attempt: this failure is not final.
            NotificationStatus::Sending
        } else if facts.has(DeliveryFact::Failed) {
            NotificationStatus::Failed
        } else if facts.has(DeliveryFact::Sent) {
            NotificationStatus::Sent
        } else {
            NotificationStatus::Accepted
        };
    }
    match engine {
        NotificationEngineState::Queued => NotificationStatus::Queued,
        NotificationEngineState::Held => NotificationStatus::Held,
        NotificationEngineState::Sending => NotificationStatus::Sending,
        NotificationEngineState::Retrying => NotificationStatus::Retrying,
        // Nothing to do and no fact: only a settled answer without facts could lead here.
        NotificationEngineState::Unknown | NotificationEngineState::Settled => {
            NotificationStatus::Unknown
        }
        NotificationEngineState::Skipped => NotificationStatus::Skipped,
        NotificationEngineState::Cancelled => NotificationStatus::Cancelled,
        NotificationEngineState::Expired => NotificationStatus::Expired,
        NotificationEngineState::GaveUp => NotificationStatus::GaveUp,
    }
}
