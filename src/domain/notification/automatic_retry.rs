//! Gathers the history by which `retry.rs` decides whether a message gets another attempt.

use super::{DeliveryPolicySettings, NotificationState};
use crate::domain::{
    category::MessageCategory,
    facts::DeliveryFact,
    failure::FailureClass,
    retry::{self, RetryHistory},
    time::Timestamp,
};

/// Default time to live.
const A_DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

impl NotificationState {
    /// Attempts of this generation that failed for a reason in the message.
    pub(super) fn tries(&self) -> i64 {
        let tried = self
            .attempts
            .iter()
            .filter(|attempt| {
                attempt.generation == self.generation && attempt.facts.has(DeliveryFact::Failed)
            })
            .count();
        i64::try_from(tried).unwrap_or(i64::MAX)
    }

    /// Attempts of this generation that failed with this class.
    pub(super) fn of_class(&self, class: FailureClass) -> i64 {
        let alike = self
            .attempts
            .iter()
            .filter(|attempt| {
                attempt.generation == self.generation
                    && attempt
                        .failure
                        .as_ref()
                        .is_some_and(|failure| failure.value.class == class)
            })
            .count();
        i64::try_from(alike).unwrap_or(i64::MAX)
    }

    /// Whether the message may wait until then. A message with a time to live of a day or more is
    /// still wanted a day later: its expiry moves along.
    pub(super) fn may_wait_until(&mut self, at: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at.filter(|expires_at| *expires_at <= at) else {
            return true;
        };
        let lasts = expires_at.micros_since(self.created_at) >= A_DAY_MICROS;
        if lasts {
            self.expires_at = Some(at.plus_seconds(60 * 60));
        }
        lasts
    }

    /// Attempts of this generation since the last answer about the message itself: throttled, or
    /// not even connected.
    pub(super) fn troubles_in_a_row(&self) -> i64 {
        let troubled = self
            .attempts
            .iter()
            .rev()
            .take_while(|attempt| attempt.generation == self.generation && attempt.facts.is_empty())
            .count();
        i64::try_from(troubled).unwrap_or(i64::MAX)
    }

    /// Whether a template replaces a message that was refused outside the window (Meta, code
    /// 131047).
    pub(super) fn falls_back(&self, now: Timestamp) -> bool {
        let refused = self.newest().is_some_and(|attempt| {
            attempt.facts.has(DeliveryFact::Failed)
                && attempt
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.value.class == FailureClass::NeedsTemplate)
        });
        self.has_fallback && refused && self.expires_at.is_none_or(|at| at > now)
    }

    /// The pause before a retry after a `failed` callback, in seconds. It waits, checks again, can
    /// be turned off, and is never made for authentication.
    pub(super) fn retry_after_callback(&self, policy: &DeliveryPolicySettings) -> Option<i64> {
        if policy.settle_after_failed_seconds < 0
            || self.category == MessageCategory::Authentication
            || self.tries() >= policy.retry.max_tries
        {
            return None;
        }
        let attempt = self.newest()?;
        let failure = attempt.failure.as_ref()?;
        if !attempt.facts.has(DeliveryFact::Failed) || !attempt.facts.has(DeliveryFact::Accepted) {
            return None;
        }
        let tried = RetryHistory {
            tries: self.tries(),
            of_this_class: self.of_class(failure.value.class),
            in_a_row: 0,
            category: self.category,
        };
        retry::after_callback(&failure.value, tried, policy.settle_after_failed_seconds)
    }
}
