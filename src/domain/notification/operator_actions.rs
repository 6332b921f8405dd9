//! Applies what an operator asks for: a retry, a cancellation, an end of the scheduled wait.

use super::{MessageSecretsState, NotificationChangeEffect, NotificationState};
use crate::domain::{
    status::{NotificationEngineState, NotificationStatus},
    time::Timestamp,
    timeline::TimelineEntryKind,
    transition::NotificationTransitionSet,
};

impl NotificationState {
    /// Begins a new generation, unless a message is on its way or may have been delivered.
    pub(super) fn retry_asked(
        &mut self,
        even_if_delivered: bool,
        now: Timestamp,
    ) -> NotificationChangeEffect {
        if matches!(
            self.engine,
            NotificationEngineState::Queued
                | NotificationEngineState::Held
                | NotificationEngineState::Sending
                | NotificationEngineState::Retrying
        ) {
            return NotificationChangeEffect::Ignored(
                "it is still waiting or being sent: nothing to retry",
            );
        }
        if self.secrets == MessageSecretsState::Wiped {
            return NotificationChangeEffect::Ignored(
                "its secrets have been wiped: send it as a new message",
            );
        }
        let allowed = match self.status() {
            NotificationStatus::Failed
            | NotificationStatus::Expired
            | NotificationStatus::Skipped
            | NotificationStatus::Cancelled => true,
            NotificationStatus::GaveUp
            | NotificationStatus::Unknown
            | NotificationStatus::Accepted
            | NotificationStatus::Sent
            | NotificationStatus::Delivered
            | NotificationStatus::Read
            | NotificationStatus::Played => even_if_delivered,
            NotificationStatus::Queued
            | NotificationStatus::Held
            | NotificationStatus::Sending
            | NotificationStatus::Retrying => false,
        };
        if !allowed {
            return NotificationChangeEffect::Ignored(
                "it arrived, or may have: retry with even_if_delivered",
            );
        }
        self.generation += 1;
        self.engine = NotificationEngineState::Queued;
        self.triggered = NotificationTransitionSet::NONE;
        self.replied = false;
        self.insists = even_if_delivered;
        self.reason = None;
        self.failure = None;
        self.due_at = Some(now);
        self.leased_until = None;
        NotificationChangeEffect::Applied(TimelineEntryKind::RetryRequested)
    }

    /// Ends a message that waits.
    pub(super) fn cancelled(&mut self, reason: &str) -> NotificationChangeEffect {
        if !matches!(
            self.engine,
            NotificationEngineState::Queued
                | NotificationEngineState::Held
                | NotificationEngineState::Retrying
        ) {
            return NotificationChangeEffect::Ignored("it is not waiting any more");
        }
        self.engine = NotificationEngineState::Cancelled;
        self.due_at = None;
        self.reason = Some(reason.to_owned());
        NotificationChangeEffect::Applied(TimelineEntryKind::Cancelled)
    }

    /// Makes a message that waits for a later time due.
    pub(super) fn sent_now(&mut self, now: Timestamp) -> NotificationChangeEffect {
        match (self.engine, self.due_at) {
            (NotificationEngineState::Queued | NotificationEngineState::Retrying, Some(due_at))
                if due_at > now =>
            {
                self.due_at = Some(now);
                NotificationChangeEffect::Applied(TimelineEntryKind::SendNowRequested)
            }
            (NotificationEngineState::Queued | NotificationEngineState::Retrying, _) => {
                NotificationChangeEffect::Ignored(
                    "it is due already, and goes out as soon as its sender's pace allows",
                )
            }
            (NotificationEngineState::Held, _) => {
                NotificationChangeEffect::Ignored("it is held: release what holds it")
            }
            _ => NotificationChangeEffect::Ignored("it is not waiting any more"),
        }
    }
}
