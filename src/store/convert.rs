//! Converts stored enums to domain enums, by matches without wildcard: a new variant on either side
//! does not compile until it is handled.

use entity::{follow_up, notification};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable};

use crate::domain::{
    category::Category,
    notification::Secrets,
    status::{EngineState, Status},
    time::Timestamp,
    trigger::Triggers,
};

/// Stored as microseconds since 1970 in UTC.
impl TryGetable for Timestamp {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        i64::try_get_by(row, index).map(Self::from_micros)
    }
}

/// Stored as its word; one that is not known reads as the default.
impl TryGetable for Category {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        String::try_get_by(row, index).map(|word| Self::counted_as(&word))
    }
}

/// Stored as a bit mask.
impl TryGetable for Triggers {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        i64::try_get_by(row, index).map(Self::from_mask)
    }
}

/// Read as whether there is nothing left of them.
impl TryGetable for Secrets {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        bool::try_get_by(row, index).map(Self::stored)
    }
}

pub const fn stored_engine(state: EngineState) -> &'static str {
    match state {
        EngineState::Queued => "queued",
        EngineState::Held => "held",
        EngineState::Sending => "sending",
        EngineState::Retrying => "retrying",
        EngineState::Unknown => "unknown",
        EngineState::Settled => "settled",
        EngineState::Skipped => "skipped",
        EngineState::Cancelled => "cancelled",
        EngineState::Expired => "expired",
        EngineState::GaveUp => "gave_up",
    }
}

pub const fn engine(state: notification::EngineState) -> EngineState {
    match state {
        notification::EngineState::Queued => EngineState::Queued,
        notification::EngineState::Held => EngineState::Held,
        notification::EngineState::Sending => EngineState::Sending,
        notification::EngineState::Retrying => EngineState::Retrying,
        notification::EngineState::Unknown => EngineState::Unknown,
        notification::EngineState::Settled => EngineState::Settled,
        notification::EngineState::Skipped => EngineState::Skipped,
        notification::EngineState::Cancelled => EngineState::Cancelled,
        notification::EngineState::Expired => EngineState::Expired,
        notification::EngineState::GaveUp => EngineState::GaveUp,
    }
}

pub const fn status(status: notification::Status) -> Status {
    match status {
        notification::Status::Queued => Status::Queued,
        notification::Status::Held => Status::Held,
        notification::Status::Sending => Status::Sending,
        notification::Status::Retrying => Status::Retrying,
        notification::Status::Unknown => Status::Unknown,
        notification::Status::Accepted => Status::Accepted,
        notification::Status::Sent => Status::Sent,
        notification::Status::Delivered => Status::Delivered,
        notification::Status::Read => Status::Read,
        notification::Status::Played => Status::Played,
        notification::Status::Failed => Status::Failed,
        notification::Status::Expired => Status::Expired,
        notification::Status::GaveUp => Status::GaveUp,
        notification::Status::Skipped => Status::Skipped,
        notification::Status::Cancelled => Status::Cancelled,
    }
}

pub const fn follow_up_state(state: follow_up::State) -> &'static str {
    match state {
        follow_up::State::Pending => "pending",
        follow_up::State::Fired => "fired",
        follow_up::State::Cancelled => "cancelled",
        follow_up::State::Skipped => "skipped",
    }
}
