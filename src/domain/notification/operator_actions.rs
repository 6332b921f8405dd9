//! Applies what an operator asks for: a retry, a cancellation, an end of the scheduled wait.

use super::{ChangeEffect, NotificationState, SecretsState};
use crate::domain::{
    status::{EngineState, NotificationStatus},
    time::Timestamp,
    timeline::TimelineKind,
    trigger::TriggerSet,
};

impl NotificationState {
    /// Begins a new generation, unless a message is on its way or may have been delivered.
    pub(super) fn retry_asked(&mut self, even_if_delivered: bool, now: Timestamp) -> ChangeEffect {
        if matches!(
            self.engine,
            EngineState::Queued | EngineState::Held | EngineState::Sending | EngineState::Retrying
        ) {
            return ChangeEffect::Ignored("it is still waiting or being sent: nothing to retry");
        }
        if self.secrets == SecretsState::Wiped {
            return ChangeEffect::Ignored("its secrets have been wiped: send it as a new message");
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
            return ChangeEffect::Ignored("it arrived, or may have: retry with even_if_delivered");
        }
        self.generation += 1;
        self.engine = EngineState::Queued;
        self.triggered = TriggerSet::NONE;
        self.replied = false;
        self.insists = even_if_delivered;
        self.reason = None;
        self.failure = None;
        self.due_at = Some(now);
        self.leased_until = None;
        ChangeEffect::Applied(TimelineKind::RetryRequested)
    }

    /// Ends a message that waits.
    pub(super) fn cancelled(&mut self, reason: &str) -> ChangeEffect {
        if !matches!(
            self.engine,
            EngineState::Queued | EngineState::Held | EngineState::Retrying
        ) {
            return ChangeEffect::Ignored("it is not waiting any more");
        }
        self.engine = EngineState::Cancelled;
        self.due_at = None;
        self.reason = Some(reason.to_owned());
        ChangeEffect::Applied(TimelineKind::Cancelled)
    }

    /// Makes a message that waits for a later time due.
    pub(super) fn sent_now(&mut self, now: Timestamp) -> ChangeEffect {
        match (self.engine, self.due_at) {
            (EngineState::Queued | EngineState::Retrying, Some(due_at)) if due_at > now => {
                self.due_at = Some(now);
                ChangeEffect::Applied(TimelineKind::SendNowRequested)
            }
            (EngineState::Queued | EngineState::Retrying, _) => ChangeEffect::Ignored(
                "it is due already, and goes out as soon as its sender's pace allows",
            ),
            (EngineState::Held, _) => ChangeEffect::Ignored("it is held: release what holds it"),
            _ => ChangeEffect::Ignored("it is not waiting any more"),
        }
    }
}
