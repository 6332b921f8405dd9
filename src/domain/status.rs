//! The status of a notification: a pure function of its attempts' facts and the engine's state.

use serde::{Deserialize, Serialize};

use super::facts::{Fact, Facts};

/// The engine's state of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
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
pub enum Status {
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
pub enum Group {
    Pending,
    Sent,
    Failed,
    NotSent,
}

impl Group {
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

impl Status {
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

    pub const fn group(self) -> Group {
        match self {
            Self::Queued | Self::Held | Self::Sending | Self::Retrying | Self::Unknown => {
                Group::Pending
            }
            Self::Accepted | Self::Sent | Self::Delivered | Self::Read | Self::Played => {
                Group::Sent
            }
            Self::Failed | Self::Expired | Self::GaveUp => Group::Failed,
            Self::Skipped | Self::Cancelled => Group::NotSent,
        }
    }
}

/// Computes the status: `played`, `read` or `delivered` if any attempt has that fact; otherwise
/// from the newest attempt of the present generation, if it has a fact; otherwise from the engine's
/// state.
pub fn status<'a>(
    all: impl Iterator<Item = &'a Facts>,
    newest: Option<&Facts>,
    engine: EngineState,
) -> Status {
    let mut best = None;
    for facts in all {
        for (fact, status) in [
            (Fact::Played, Status::Played),
            (Fact::Read, Status::Read),
            (Fact::Delivered, Status::Delivered),
        ] {
            if facts.has(fact) {
                best = Some(match best {
                    Some(Status::Played) => Status::Played,
                    Some(Status::Read) if status != Status::Played => Status::Read,
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
            EngineState::Retrying | EngineState::Queued | EngineState::Held
        );
        return if more {
            Status::Retrying
        } else if engine == EngineState::Sending && facts.has(Fact::Failed) {
            // Claimed for another attempt: this failure is not final.
            Status::Sending
        } else if facts.has(Fact::Failed) {
            Status::Failed
        } else if facts.has(Fact::Sent) {
            Status::Sent
        } else {
            Status::Accepted
        };
    }
    match engine {
        EngineState::Queued => Status::Queued,
        EngineState::Held => Status::Held,
        EngineState::Sending => Status::Sending,
        EngineState::Retrying => Status::Retrying,
        // Nothing to do and no fact: only a settled answer without facts could lead here.
        EngineState::Unknown | EngineState::Settled => Status::Unknown,
        EngineState::Skipped => Status::Skipped,
        EngineState::Cancelled => Status::Cancelled,
        EngineState::Expired => Status::Expired,
        EngineState::GaveUp => Status::GaveUp,
    }
}
