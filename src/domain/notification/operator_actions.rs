//! Applies what an operator asks for: a retry, a cancellation, an end of the scheduled wait.

use super::{MessageSecretsState, NotificationChangeEffect, NotificationState};
use crate::domain::{
    status::NotificationEngineState, time::Timestamp, timeline::TimelineEntryKind,
    transition::NotificationTransitionSet,
};

impl NotificationState {
    /// Begins a new generation, unless a message is on its way or may have been delivered.
    pub(super) fn retry_asked(
        &mut self,
        even_if_delivered: bool,
        now: Timestamp,
    ) -> NotificationChangeEffect {
        // Whatever its status says: a callback may have reported more while it is being sent.
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
        if !self.status().manual_retry().permits(even_if_delivered) {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::domain::{
        category::MessageCategory,
        channel::DeliveryReporting,
        facts::{DeliveryFact, DeliveryFacts},
        notification::{
            AttemptMessageId, AttemptState, MessageSecretsState, NotificationChangeEffect,
            NotificationState,
        },
        status::{NotificationEngineState, NotificationStatus},
        story::{ManualAction, manual_actions},
        time::Timestamp,
        timeline::TimelineEntryKind,
        transition::NotificationTransitionSet,
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

    const ENGINE: [NotificationEngineState; 10] = [
        NotificationEngineState::Queued,
        NotificationEngineState::Held,
        NotificationEngineState::Sending,
        NotificationEngineState::Retrying,
        NotificationEngineState::Unknown,
        NotificationEngineState::Settled,
        NotificationEngineState::Skipped,
        NotificationEngineState::Cancelled,
        NotificationEngineState::Expired,
        NotificationEngineState::GaveUp,
    ];

    /// A message with one attempt, of which a fact is known or none.
    fn message(engine: NotificationEngineState, fact: Option<DeliveryFact>) -> NotificationState {
        let mut facts = DeliveryFacts::default();
        if let Some(fact) = fact {
            facts.add(fact, NOW);
        }
        NotificationState {
            id: Uuid::nil(),
            created_at: NOW,
            category: MessageCategory::Utility,
            engine,
            generation: 1,
            triggered: NotificationTransitionSet::NONE,
            replied: false,
            insists: false,
            reason: None,
            failure: None,
            due_at: None,
            leased_until: None,
            expires_at: None,
            stored_wake_at: None,
            reporting: DeliveryReporting::Expected,
            has_fallback: false,
            secrets: MessageSecretsState::Kept,
            attempts: vec![AttemptState {
                id: Uuid::nil(),
                number: 1,
                generation: 1,
                created_at: NOW,
                lease_token: Uuid::nil(),
                sender_id: Uuid::nil(),
                outcome: None,
                message_id: AttemptMessageId::Unknown,
                facts,
                failure: None,
                pricing: None,
            }],
        }
    }

    #[test]
    fn a_retry_is_offered_where_it_is_accepted() {
        let facts = DeliveryFact::ALL.map(Some);
        let mut seen = Vec::new();
        for engine in ENGINE {
            for fact in facts.into_iter().chain([None]) {
                let message = message(engine, fact);
                let status = message.status();
                let about = format!("{engine:?}, {fact:?}: {status:?}");
                let accepts = |even_if_delivered: bool| {
                    message.clone().retry_asked(even_if_delivered, NOW)
                        == NotificationChangeEffect::Applied(TimelineEntryKind::RetryRequested)
                };
                let offers = |action: ManualAction| {
                    [false, true]
                        .map(|due_later| manual_actions(status, due_later).contains(&action))
                };
                assert_eq!(offers(ManualAction::Retry), [accepts(false); 2], "{about}");
                // A second copy is proposed only of what may not have arrived.
                let is_unknown = matches!(
                    status,
                    NotificationStatus::Unknown | NotificationStatus::GaveUp
                );
                let proposed = is_unknown && accepts(true) && !accepts(false);
                assert_eq!(is_unknown, proposed, "{about}");
                assert_eq!(
                    offers(ManualAction::RetryInsisting),
                    [proposed; 2],
                    "{about}"
                );
                let is_open = matches!(
                    engine,
                    NotificationEngineState::Queued
                        | NotificationEngineState::Held
                        | NotificationEngineState::Sending
                        | NotificationEngineState::Retrying
                );
                assert_eq!(accepts(true), !is_open, "{about}");
                seen.push(status);
            }
        }
        for status in NotificationStatus::ALL {
            assert!(seen.contains(&status), "{status:?} was not reached");
        }
    }
}
