//! Converts stored enums to domain enums, by matches without wildcard: a new variant on either side
//! does not compile until it is handled.

use entity::{follow_up, notification};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable};

use crate::domain::{
    category::{MessageCategory, TemplateCategory},
    follow_up::PlannedFollowUpState,
    notification::MessageSecretsState,
    quality::QualityRating,
    status::{NotificationEngineState, NotificationStatus},
    template_status::TemplateStatus,
    time::Timestamp,
    transition::NotificationTransitionSet,
};

/// Stored as microseconds since 1970 in UTC.
impl TryGetable for Timestamp {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        i64::try_get_by(row, index).map(Self::from_micros)
    }
}

/// Stored as its word; one that is not known reads as the default.
impl TryGetable for MessageCategory {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        String::try_get_by(row, index).map(|word| Self::counted_as(&word))
    }
}

/// Stored as its word.
impl TryGetable for TemplateStatus {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let word = String::try_get_by(row, index)?;
        Ok(Self::parse(&word).unwrap_or(Self::Other))
    }
}

/// Stored as its word.
impl TryGetable for TemplateCategory {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let word = String::try_get_by(row, index)?;
        Ok(Self::parse(&word).unwrap_or(Self::Other))
    }
}

/// Stored as its word.
impl TryGetable for QualityRating {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let word = String::try_get_by(row, index)?;
        Ok(Self::parse(&word).unwrap_or(Self::Other))
    }
}

/// Stored as a bit mask.
impl TryGetable for NotificationTransitionSet {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        i64::try_get_by(row, index).map(Self::from_mask)
    }
}

/// Read as whether there is nothing left of them.
impl TryGetable for MessageSecretsState {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        bool::try_get_by(row, index).map(Self::stored)
    }
}

pub const fn stored_engine(state: NotificationEngineState) -> &'static str {
    match state {
        NotificationEngineState::Queued => "queued",
        NotificationEngineState::Held => "held",
        NotificationEngineState::Sending => "sending",
        NotificationEngineState::Retrying => "retrying",
        NotificationEngineState::Unknown => "unknown",
        NotificationEngineState::Settled => "settled",
        NotificationEngineState::Skipped => "skipped",
        NotificationEngineState::Cancelled => "cancelled",
        NotificationEngineState::Expired => "expired",
        NotificationEngineState::GaveUp => "gave_up",
    }
}

pub const fn engine(state: notification::StoredEngineState) -> NotificationEngineState {
    match state {
        notification::StoredEngineState::Queued => NotificationEngineState::Queued,
        notification::StoredEngineState::Held => NotificationEngineState::Held,
        notification::StoredEngineState::Sending => NotificationEngineState::Sending,
        notification::StoredEngineState::Retrying => NotificationEngineState::Retrying,
        notification::StoredEngineState::Unknown => NotificationEngineState::Unknown,
        notification::StoredEngineState::Settled => NotificationEngineState::Settled,
        notification::StoredEngineState::Skipped => NotificationEngineState::Skipped,
        notification::StoredEngineState::Cancelled => NotificationEngineState::Cancelled,
        notification::StoredEngineState::Expired => NotificationEngineState::Expired,
        notification::StoredEngineState::GaveUp => NotificationEngineState::GaveUp,
    }
}

pub const fn status(status: notification::StoredNotificationStatus) -> NotificationStatus {
    match status {
        notification::StoredNotificationStatus::Queued => NotificationStatus::Queued,
        notification::StoredNotificationStatus::Held => NotificationStatus::Held,
        notification::StoredNotificationStatus::Sending => NotificationStatus::Sending,
        notification::StoredNotificationStatus::Retrying => NotificationStatus::Retrying,
        notification::StoredNotificationStatus::Unknown => NotificationStatus::Unknown,
        notification::StoredNotificationStatus::Accepted => NotificationStatus::Accepted,
        notification::StoredNotificationStatus::Sent => NotificationStatus::Sent,
        notification::StoredNotificationStatus::Delivered => NotificationStatus::Delivered,
        notification::StoredNotificationStatus::Read => NotificationStatus::Read,
        notification::StoredNotificationStatus::Played => NotificationStatus::Played,
        notification::StoredNotificationStatus::Failed => NotificationStatus::Failed,
        notification::StoredNotificationStatus::Expired => NotificationStatus::Expired,
        notification::StoredNotificationStatus::GaveUp => NotificationStatus::GaveUp,
        notification::StoredNotificationStatus::Skipped => NotificationStatus::Skipped,
        notification::StoredNotificationStatus::Cancelled => NotificationStatus::Cancelled,
    }
}

pub const fn follow_up_state(state: follow_up::FollowUpState) -> &'static str {
    match state {
        follow_up::FollowUpState::Pending => "pending",
        follow_up::FollowUpState::Fired => "fired",
        follow_up::FollowUpState::Cancelled => "cancelled",
        follow_up::FollowUpState::Skipped => "skipped",
    }
}

/// The state of a planned follow-up; none once it has a row of its own.
pub const fn stored_follow_up_state(
    state: PlannedFollowUpState,
) -> Option<follow_up::FollowUpState> {
    match state {
        PlannedFollowUpState::Pending => Some(follow_up::FollowUpState::Pending),
        PlannedFollowUpState::Cancelled => Some(follow_up::FollowUpState::Cancelled),
        PlannedFollowUpState::Skipped => Some(follow_up::FollowUpState::Skipped),
        PlannedFollowUpState::Started => None,
    }
}
