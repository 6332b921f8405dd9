//! The state machine of a notification.
//!
//! [`NotificationState::on`] applies one change, and [`NotificationState::finish`] returns the
//! transitions that follow from all of them. Callbacks only add facts, so their order never
//! matters; the engine's own changes (claims, answers, timers) come one at a time under the row's
//! lock.
//!
//! `operator_actions.rs` has retries, cancellations and `send-now` by an operator,
//! `automatic_retry.rs` whether a message gets another attempt by itself, `tally.rs` what it adds to
//! the counters, `transitions.rs` which transitions happen (what a follow-up rule is triggered by),
//! `unknown.rs` what follows when an answer was lost.

mod automatic_retry;
mod operator_actions;
mod tally;
mod transitions;
mod unknown;

pub use tally::{OUT, STALE, TOOK};
pub use transitions::TransitionOccurrence;
pub use unknown::{UnknownOutcomePolicies, UnknownOutcomePolicy};

use uuid::Uuid;

use super::{
    category::MessageCategory,
    channel::DeliveryReporting,
    facts::{DeliveryFact, DeliveryFacts},
    failure::{DeliveryFailure, FailureClass},
    horizon,
    outcome::{AttemptOutcome, ProviderCallOutcome},
    retry::{self, RetryDecision, RetryHistory},
    settings::DeliveryPolicySettings,
    status::{NotificationEngineState, NotificationStatus, status},
    time::Timestamp,
    timeline::TimelineEntryKind,
    transition::{NotificationTransition, NotificationTransitionSet},
};

/// A value that may come in several versions, of which the newest counts: by the provider's time,
/// then by the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VersionedValue<T> {
    pub at: Timestamp,
    pub digest: String,
    pub value: T,
}

impl<T> VersionedValue<T> {
    fn merge(slot: &mut Option<Self>, new: Self) -> bool {
        let newer = slot
            .as_ref()
            .is_none_or(|old| (old.at, &old.digest) < (new.at, &new.digest));
        if newer {
            *slot = Some(new);
        }
        newer
    }
}

/// What is known of the provider's id of an attempt's message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AttemptMessageId {
    #[default]
    Unknown,
    /// It is stored.
    Stored,
    /// It is new, and has to be stored.
    New(String),
}

/// The state of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptState {
    pub id: Uuid,
    pub number: i64,
    pub generation: i64,
    pub created_at: Timestamp,
    pub lease_token: Uuid,
    pub sender_id: Uuid,
    /// Absent while the call is being made.
    pub outcome: Option<AttemptOutcome>,
    pub message_id: AttemptMessageId,
    pub facts: DeliveryFacts,
    pub failure: Option<VersionedValue<DeliveryFailure>>,
    pub pricing: Option<VersionedValue<serde_json::Value>>,
}

/// The state of one notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationState {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub category: MessageCategory,
    pub engine: NotificationEngineState,
    pub generation: i64,
    pub triggered: NotificationTransitionSet,
    pub replied: bool,
    /// An operator has accepted that the recipient may get a second copy.
    pub insists: bool,
    pub reason: Option<String>,
    /// A failure of our own, if no attempt has one.
    pub failure: Option<DeliveryFailure>,
    pub due_at: Option<Timestamp>,
    pub leased_until: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// The stored time of its timer.
    pub stored_wake_at: Option<Timestamp>,
    /// Whether anything reports what becomes of it, by its channel: if nothing does, it is never stale.
    pub reporting: DeliveryReporting,
    /// A template may replace it, once, if the window is closed.
    pub has_fallback: bool,
    pub secrets: MessageSecretsState,
    pub attempts: Vec<AttemptState>,
}

/// The secrets of a message, if it has any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageSecretsState {
    #[default]
    Kept,
    /// They have been wiped: the message cannot be sent again.
    Wiped,
}

impl MessageSecretsState {
    /// From the stored flag: whether they have been wiped.
    pub const fn stored(wiped: bool) -> Self {
        if wiped { Self::Wiped } else { Self::Kept }
    }
}

/// An event in the life of a notification.
#[derive(Clone, Debug)]
pub enum NotificationChange {
    /// A provider's status of one attempt.
    StatusReported {
        attempt: Uuid,
        fact: DeliveryFact,
        at: Timestamp,
        failure: Option<VersionedValue<DeliveryFailure>>,
        pricing: Option<VersionedValue<serde_json::Value>>,
        /// The message id in the status, learned if the answer is not here yet.
        provider_message_id: String,
    },
    /// The call of an attempt came back.
    SendCompleted {
        attempt: Uuid,
        lease_token: Uuid,
        outcome: ProviderCallOutcome,
        /// Whether a callback may tell later what became of a call whose response was lost.
        may_resolve: bool,
        provider_in_a_row: i64,
        jitter_permille: i64,
    },
    /// The recipient replied.
    Replied,
    /// A lease, a decision or an expiry may be due.
    TimerFired {
        /// As that of `SendCompleted`, for a call whose process has ended.
        may_resolve: bool,
    },
    /// An operator asks for another try. `even_if_delivered` accepts that the message may arrive
    /// twice.
    RetryRequested {
        even_if_delivered: bool,
    },
    Cancelled {
        reason: String,
    },
    /// An operator ends its scheduled wait.
    SendNow,
    /// Claimed, but an `unless` of its follow-up happened before its call.
    Superseded,
    /// Claimed, but it may not be sent to this recipient any more.
    Suppressed {
        reason: String,
    },
}

/// The effect of a change, for the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationChangeEffect {
    Applied(TimelineEntryKind),
    /// Nothing changed, with the reason.
    Ignored(&'static str),
}

impl NotificationState {
    fn newest(&self) -> Option<&AttemptState> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.generation == self.generation)
            .max_by_key(|attempt| attempt.number)
    }

    pub fn status(&self) -> NotificationStatus {
        status(
            self.attempts.iter().map(|attempt| &attempt.facts),
            self.newest().map(|attempt| &attempt.facts),
            self.engine,
        )
    }

    /// Whether any attempt of any generation has this fact.
    pub fn has(&self, fact: DeliveryFact) -> bool {
        self.attempts.iter().any(|attempt| attempt.facts.has(fact))
    }

    /// The earliest time of a fact, limited to now: a provider's clock decides nothing in the
    /// future.
    pub fn first_at(&self, fact: DeliveryFact, now: Timestamp) -> Timestamp {
        self.attempts
            .iter()
            .filter_map(|attempt| {
                attempt
                    .facts
                    .get(fact)
                    .map(|known| known.at.max(attempt.created_at))
            })
            .min()
            .unwrap_or(now)
            .min(now)
    }

    /// The failure to show: the newest attempt's, or our own.
    pub fn present_failure(&self) -> Option<&DeliveryFailure> {
        self.newest()
            .and_then(|attempt| attempt.failure.as_ref())
            .map(|versioned| &versioned.value)
            .or(self.failure.as_ref())
    }

    /// Applies one change.
    pub fn on(
        &mut self,
        change: &NotificationChange,
        now: Timestamp,
        policy: &DeliveryPolicySettings,
    ) -> NotificationChangeEffect {
        let effect = match change {
            NotificationChange::StatusReported {
                attempt,
                fact,
                at,
                failure,
                pricing,
                provider_message_id,
            } => self.apply_status(
                *attempt,
                *fact,
                *at,
                failure.clone(),
                pricing.clone(),
                provider_message_id,
            ),
            NotificationChange::SendCompleted {
                attempt,
                lease_token,
                outcome,
                may_resolve,
                provider_in_a_row,
                jitter_permille,
            } => {
                let effect = self.answered(
                    *attempt,
                    *lease_token,
                    outcome,
                    *provider_in_a_row,
                    *jitter_permille,
                    now,
                    policy,
                );
                self.decide_at_once_unless(*may_resolve, now);
                effect
            }
            NotificationChange::Replied => {
                let first = !self.replied;
                self.replied = true;
                if first {
                    NotificationChangeEffect::Applied(TimelineEntryKind::Replied)
                } else {
                    NotificationChangeEffect::Ignored("replied before")
                }
            }
            NotificationChange::TimerFired { may_resolve } => {
                let effect = self.woken(now, policy);
                self.decide_at_once_unless(*may_resolve, now);
                effect
            }
            NotificationChange::RetryRequested { even_if_delivered } => {
                self.retry_asked(*even_if_delivered, now)
            }
            NotificationChange::Cancelled { reason } => self.cancelled(reason),
            NotificationChange::SendNow => self.sent_now(now),
            NotificationChange::Superseded => {
                self.engine = NotificationEngineState::Cancelled;
                self.leased_until = None;
                self.reason =
                    Some("not needed any more: an `unless` of its rule came first".to_owned());
                NotificationChangeEffect::Applied(TimelineEntryKind::Superseded)
            }
            NotificationChange::Suppressed { reason } => {
                self.engine = NotificationEngineState::Skipped;
                self.leased_until = None;
                self.reason = Some(reason.clone());
                NotificationChangeEffect::Applied(TimelineEntryKind::Suppressed)
            }
        };
        self.settle(now, policy);
        effect
    }

    fn apply_status(
        &mut self,
        id: Uuid,
        fact: DeliveryFact,
        at: Timestamp,
        failure: Option<VersionedValue<DeliveryFailure>>,
        pricing: Option<VersionedValue<serde_json::Value>>,
        provider_message_id: &str,
    ) -> NotificationChangeEffect {
        let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == id) else {
            return NotificationChangeEffect::Ignored("no such attempt");
        };
        if attempt.message_id == AttemptMessageId::Unknown {
            attempt.message_id = AttemptMessageId::New(provider_message_id.to_owned());
        }
        let told_before = attempt.facts.get(fact).is_some_and(|known| !known.implied);
        let mut changed = attempt.facts.add(fact, at);
        if let Some(failure) = failure {
            changed |= VersionedValue::merge(&mut attempt.failure, failure);
        }
        if let Some(pricing) = pricing {
            changed |= VersionedValue::merge(&mut attempt.pricing, pricing);
        }
        if !changed {
            NotificationChangeEffect::Ignored("known already")
        } else if told_before {
            NotificationChangeEffect::Applied(TimelineEntryKind::DetailsAdded)
        } else {
            NotificationChangeEffect::Applied(fact.into())
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one answer, taken apart by its only caller"
    )]
    fn answered(
        &mut self,
        id: Uuid,
        lease_token: Uuid,
        outcome: &ProviderCallOutcome,
        provider_in_a_row: i64,
        jitter_permille: i64,
        now: Timestamp,
        policy: &DeliveryPolicySettings,
    ) -> NotificationChangeEffect {
        let newest = self.newest().map(|attempt| attempt.id);
        let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == id) else {
            return NotificationChangeEffect::Ignored("no such attempt");
        };
        if attempt
            .outcome
            .is_some_and(|outcome| outcome != AttemptOutcome::Unknown)
        {
            return NotificationChangeEffect::Ignored("answered before");
        }
        attempt.outcome = Some(outcome.kind());
        match outcome {
            ProviderCallOutcome::Accepted {
                provider_message_id,
                ..
            } => {
                attempt.facts.add(DeliveryFact::Accepted, now);
                attempt.message_id = AttemptMessageId::New(provider_message_id.clone());
            }
            // Throttling and account trouble say nothing about the message: no fact.
            ProviderCallOutcome::Refused(failure) => {
                if failure.class.is_about_the_message() {
                    attempt.facts.add_refusal(now);
                }
                VersionedValue::merge(
                    &mut attempt.failure,
                    VersionedValue {
                        at: now,
                        digest: String::new(),
                        value: failure.clone(),
                    },
                );
            }
            ProviderCallOutcome::Unavailable { .. } | ProviderCallOutcome::Unknown { .. } => {}
        }
        let holds_lease = self.engine == NotificationEngineState::Sending
            && newest == Some(id)
            && attempt.lease_token == lease_token;
        if !holds_lease {
            // A process that lost its lease may add facts but schedules nothing.
            return NotificationChangeEffect::Applied(TimelineEntryKind::LateResponse);
        }
        self.leased_until = None;
        let class = match outcome {
            ProviderCallOutcome::Refused(failure) => failure.class,
            _ => FailureClass::Unknown,
        };
        let tried = RetryHistory {
            tries: self.tries(),
            of_this_class: self.of_class(class),
            in_a_row: provider_in_a_row.max(self.troubles_in_a_row()),
            category: self.category,
        };
        let next = match retry::after(outcome, tried, now, jitter_permille, &policy.retry) {
            // Only a wait of a day exceeds the usual time to live.
            RetryDecision::Again {
                at, uses_try: true, ..
            } if class == FailureClass::MarketingLimit && !self.may_wait_until(at) => match outcome
            {
                ProviderCallOutcome::Refused(failure) => RetryDecision::Fail(failure.clone()),
                _ => RetryDecision::Await,
            },
            next => next,
        };
        match next {
            RetryDecision::Accepted => {
                self.engine = NotificationEngineState::Settled;
                self.reason = match outcome {
                    ProviderCallOutcome::Accepted { kept_back, .. } => kept_back.clone(),
                    _ => None,
                };
                NotificationChangeEffect::Applied(if self.reason.is_some() {
                    TimelineEntryKind::HeldByProvider
                } else {
                    TimelineEntryKind::Accepted
                })
            }
            RetryDecision::Again { at, uses_try } => {
                self.engine = NotificationEngineState::Retrying;
                self.due_at = Some(at);
                self.reason = Some(match outcome {
                    ProviderCallOutcome::Refused(failure) => failure.title.clone(),
                    ProviderCallOutcome::Unavailable { reason }
                    | ProviderCallOutcome::Unknown { reason } => reason.clone(),
                    ProviderCallOutcome::Accepted { .. } => String::new(),
                });
                NotificationChangeEffect::Applied(if uses_try {
                    TimelineEntryKind::RetryScheduled
                } else {
                    TimelineEntryKind::Deferred
                })
            }
            RetryDecision::Await => {
                self.engine = NotificationEngineState::Unknown;
                self.leased_until = Some(now.plus_seconds(policy.unknown_after_seconds));
                self.reason =
                    Some("the response was lost: a callback or the policy will decide".to_owned());
                NotificationChangeEffect::Applied(TimelineEntryKind::OutcomeUnknown)
            }
            RetryDecision::Fail(_) => {
                self.engine = NotificationEngineState::Settled;
                self.reason = None;
                NotificationChangeEffect::Applied(TimelineEntryKind::Failed)
            }
        }
    }

    /// Where nothing can tell what became of a call, the policy decides at once.
    fn decide_at_once_unless(&mut self, may_resolve: bool, now: Timestamp) {
        if !may_resolve && self.engine == NotificationEngineState::Unknown {
            self.leased_until = Some(now);
        }
    }

    fn woken(
        &mut self,
        now: Timestamp,
        policy: &DeliveryPolicySettings,
    ) -> NotificationChangeEffect {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        match self.engine {
            NotificationEngineState::Sending if due(self.leased_until) => {
                if let Some(id) = self.newest().map(|attempt| attempt.id)
                    && let Some(attempt) = self.attempts.iter_mut().find(|attempt| attempt.id == id)
                    && attempt.outcome.is_none()
                {
                    attempt.outcome = Some(AttemptOutcome::Unknown);
                }
                self.engine = NotificationEngineState::Unknown;
                self.leased_until = Some(now.plus_seconds(policy.unknown_after_seconds));
                self.reason = Some(
                    "the process that was sending has ended: a callback or the policy will decide"
                        .to_owned(),
                );
                NotificationChangeEffect::Applied(TimelineEntryKind::LeaseExpired)
            }
            NotificationEngineState::Unknown if due(self.leased_until) => {
                self.leased_until = None;
                match policy.unknown.of(self.category) {
                    UnknownOutcomePolicy::GiveUp => {
                        self.engine = NotificationEngineState::GaveUp;
                        self.reason = Some(
                            "no callback came: it may have been sent, it was not sent again"
                                .to_owned(),
                        );
                        self.failure = Some(DeliveryFailure::ours(
                            "gave_up",
                            "The response to the call was lost and no callback has reported the outcome.",
                            "Ask the recipient, or retry it if a second copy does no harm.",
                        ));
                        NotificationChangeEffect::Applied(TimelineEntryKind::GaveUp)
                    }
                    UnknownOutcomePolicy::Resend => {
                        self.engine = NotificationEngineState::Queued;
                        self.due_at = Some(now);
                        self.reason = Some(
                            "no callback came: it is sent again, and may arrive twice".to_owned(),
                        );
                        NotificationChangeEffect::Applied(TimelineEntryKind::ResendScheduled)
                    }
                }
            }
            NotificationEngineState::Queued
            | NotificationEngineState::Held
            | NotificationEngineState::Retrying
                if due(self.expires_at) =>
            {
                self.engine = NotificationEngineState::Expired;
                self.due_at = None;
                self.failure = Some(DeliveryFailure::ours(
                    "expired",
                    "The message expired before it was sent.",
                    "See what it waited for; retry it if it is still needed.",
                ));
                NotificationChangeEffect::Applied(TimelineEntryKind::Expired)
            }
            NotificationEngineState::Settled
                if self.is_stale(now, policy)
                    && !self.triggered.contains(NotificationTransition::Stale) =>
            {
                NotificationChangeEffect::Applied(TimelineEntryKind::Stale)
            }
            _ => NotificationChangeEffect::Ignored("nothing was due"),
        }
    }

    /// Accepted, without any status since.
    fn is_stale(&self, now: Timestamp, policy: &DeliveryPolicySettings) -> bool {
        // Accepted at a time in the future, by a clock that was ahead: then it counts when the
        // timer fires.
        let looked_at = self.stored_wake_at.is_some_and(|at| at <= now);
        self.stale_at(policy).is_some_and(|at| {
            at <= now || (looked_at && horizon::is_ahead(self.accepted_at().unwrap_or(now), now))
        })
    }

    fn stale_at(&self, policy: &DeliveryPolicySettings) -> Option<Timestamp> {
        let accepted_at = self
            .accepted_at()
            .filter(|_| self.reporting.is_expected())?;
        Some(accepted_at.plus_seconds(policy.stale_after_seconds))
    }

    /// When the newest attempt was accepted, if no callback has come since.
    fn accepted_at(&self) -> Option<Timestamp> {
        let newest = self.newest()?;
        let accepted = newest.facts.get(DeliveryFact::Accepted)?;
        (!newest.facts.is_reported()).then_some(accepted.at)
    }

    /// Whether it was delivered, so that no further copy is sent: any copy counts, unless an
    /// operator wants one more.
    fn has_arrived(&self) -> bool {
        if self.insists {
            self.attempts.iter().any(|attempt| {
                attempt.generation == self.generation && attempt.facts.has(DeliveryFact::Delivered)
            })
        } else {
            self.replied || self.has(DeliveryFact::Delivered)
        }
    }

    /// Updates the engine's state from the facts known by now.
    fn settle(&mut self, now: Timestamp, policy: &DeliveryPolicySettings) {
        let arrived = self.has_arrived();
        let newest = self
            .newest()
            .map(|attempt| attempt.facts)
            .unwrap_or_default();
        match self.engine {
            NotificationEngineState::Unknown | NotificationEngineState::GaveUp
                if !newest.is_empty() =>
            {
                self.engine = NotificationEngineState::Settled;
                self.leased_until = None;
                self.reason = None;
                self.failure = None;
            }
            // It was sent after all: another attempt would be a second copy.
            NotificationEngineState::Queued
            | NotificationEngineState::Held
            | NotificationEngineState::Retrying
                if arrived
                    || (newest.has(DeliveryFact::Accepted)
                        && !newest.has(DeliveryFact::Failed)) =>
            {
                self.engine = NotificationEngineState::Settled;
                self.due_at = None;
                self.reason = None;
            }
            // The provider no longer holds it.
            NotificationEngineState::Settled if self.reason.is_some() && newest.is_reported() => {
                self.reason = None;
            }
            _ => {}
        }
        if self.engine == NotificationEngineState::Settled && !arrived && self.falls_back(now) {
            // The window is closed for good: the free text cannot arrive any more.
            self.has_fallback = false;
            self.engine = NotificationEngineState::Retrying;
            self.due_at = Some(now);
            self.reason = Some("the window is closed: a template takes its place".to_owned());
        } else if self.engine == NotificationEngineState::Settled
            && !arrived
            && let Some(pause_seconds) = self.retry_after_callback(policy)
            && (pause_seconds <= policy.settle_after_failed_seconds
                || self.may_wait_until(now.plus_seconds(pause_seconds)))
        {
            self.engine = NotificationEngineState::Retrying;
            self.due_at = Some(now.plus_seconds(pause_seconds));
            self.reason = self.present_failure().map(|failure| failure.title.clone());
        }
    }

    /// When its timer is due if nothing else happens.
    pub fn wake_at(&self, policy: &DeliveryPolicySettings) -> Option<Timestamp> {
        match self.engine {
            NotificationEngineState::Queued
            | NotificationEngineState::Held
            | NotificationEngineState::Retrying => self.expires_at,
            NotificationEngineState::Sending | NotificationEngineState::Unknown => {
                self.leased_until
            }
            NotificationEngineState::Settled
                if !self.triggered.contains(NotificationTransition::Stale) =>
            {
                self.stale_at(policy)
            }
            NotificationEngineState::Settled
            | NotificationEngineState::Skipped
            | NotificationEngineState::Cancelled
            | NotificationEngineState::Expired
            | NotificationEngineState::GaveUp => None,
        }
    }
}
