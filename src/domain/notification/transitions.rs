//! Decides which transitions happen to a notification, which is when a follow-up rule is triggered:
//! when it counts as `failed`, `read` or `stale`.
//!
//! `engine/lifecycle.rs` calls [`NotificationState::finish`] after the changes of a transaction,
//! and starts the rules.

use super::{AttemptState, DeliveryPolicySettings, NotificationState};
use crate::domain::{
    facts::DeliveryFact,
    status::{NotificationEngineState, NotificationStatus},
    time::Timestamp,
    transition::{NotificationTransition, NotificationTransitionSet},
};

/// The attempt by which a transition happened, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionOccurrence<'a> {
    pub attempt: Option<&'a AttemptState>,
    /// By the provider's clock, if the provider has reported it.
    pub at: Timestamp,
}

impl NotificationState {
    /// By which attempt a transition happened that has been found now, and when: that of a fact when
    /// the first attempt has it, in the present generation if any of it does.
    pub fn occurrence(
        &self,
        transition: NotificationTransition,
        now: Timestamp,
    ) -> TransitionOccurrence<'_> {
        let found = match (transition, transition.fact()) {
            (NotificationTransition::Failed, _) => self.newest().map(|attempt| {
                let failed = attempt.facts.get(DeliveryFact::Failed);
                (attempt, failed.map_or(now, |known| known.at))
            }),
            (_, Some(fact)) => self
                .attempts
                .iter()
                .filter_map(|attempt| Some((attempt, attempt.facts.get(fact)?.at)))
                .min_by_key(|(attempt, at)| (attempt.generation != self.generation, *at)),
            (_, None) => None,
        };
        TransitionOccurrence {
            attempt: found.map(|(attempt, _)| attempt),
            at: found.map_or(now, |(_, at)| at),
        }
    }

    /// The transitions that its state and its facts amount to, those of before included.
    fn reached(
        &self,
        before: &Self,
        now: Timestamp,
        policy: &DeliveryPolicySettings,
    ) -> NotificationTransitionSet {
        let mut reached = NotificationTransitionSet::NONE;
        for (fact, transition) in [
            (DeliveryFact::Accepted, NotificationTransition::Accepted),
            (DeliveryFact::Sent, NotificationTransition::Sent),
            (DeliveryFact::Delivered, NotificationTransition::Delivered),
            (DeliveryFact::Read, NotificationTransition::Read),
            (DeliveryFact::Played, NotificationTransition::Played),
        ] {
            let in_generation = self
                .attempts
                .iter()
                .any(|attempt| attempt.generation == self.generation && attempt.facts.has(fact));
            // A late callback of an earlier generation is new in this one.
            if in_generation || (self.has(fact) && !before.has(fact)) {
                reached.insert(transition);
            }
        }
        match self.status() {
            NotificationStatus::Failed | NotificationStatus::GaveUp
                if !self.replied
                    && !matches!(
                        self.engine,
                        NotificationEngineState::Retrying | NotificationEngineState::Sending
                    ) =>
            {
                reached.insert(NotificationTransition::Failed);
            }
            NotificationStatus::Expired => reached.insert(NotificationTransition::Expired),
            NotificationStatus::Skipped => reached.insert(NotificationTransition::Skipped),
            _ => {}
        }
        if self.engine == NotificationEngineState::Settled && self.is_stale(now, policy) {
            reached.insert(NotificationTransition::Stale);
        }
        if self.replied {
            reached.insert(NotificationTransition::Replied);
        }
        reached
    }

    /// Records the transitions that happen now, each once in a generation, and returns them.
    pub fn finish(
        &mut self,
        before: &Self,
        now: Timestamp,
        policy: &DeliveryPolicySettings,
    ) -> NotificationTransitionSet {
        let new = self.reached(before, now, policy).without(self.triggered);
        self.triggered = self.triggered.union(new);
        new
    }
}
