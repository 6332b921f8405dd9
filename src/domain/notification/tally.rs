//! What a notification adds to the counters.

use super::{AttemptState, NotificationState};
use crate::domain::{
    facts::Fact,
    failure::Failure,
    latency,
    status::{Group, Status},
    trigger::Trigger,
};

/// Counted of what went out and has not failed: the group of the statuses `accepted` to
/// `played`.
pub const OUT: &str = "out";

/// Counted of what was accepted and of which nothing has been heard for too long.
pub const STALE: &str = "stale";

/// From acceptance to what the provider calls sent, and on: see [`NotificationState::took`].
pub const TOOK: [&str; 3] = ["took_sent", "took_delivered", "took_read"];

impl NotificationState {
    /// How long it took from acceptance to `sent`, on to `delivered`, and on to `read`, as
    /// classes of [`latency`]: of the first attempt that was told both ends.
    pub fn took(&self) -> Vec<(&'static str, usize)> {
        let told = |attempt: &AttemptState, fact| {
            let known = attempt.facts.get(fact).filter(|known| !known.implied)?;
            Some(known.at)
        };
        let between = |from, to| {
            self.attempts
                .iter()
                .find_map(|attempt| Some(told(attempt, to)?.micros_since(told(attempt, from)?)))
        };
        TOOK.into_iter()
            .zip([
                (Fact::Accepted, Fact::Sent),
                (Fact::Sent, Fact::Delivered),
                (Fact::Delivered, Fact::Read),
            ])
            .filter_map(|(name, (from, to))| Some((name, latency::class_of(between(from, to)?))))
            .collect()
    }

    /// What was billed for it, by category and type: once for each message that
    /// went out, however often and on whichever status its price was told.
    pub fn prices(&self) -> Vec<(String, String)> {
        let word = |pricing: &serde_json::Value, key: &str| {
            let word = pricing.get(key).and_then(serde_json::Value::as_str);
            // What PostgreSQL cannot store is no word of a price list.
            word.unwrap_or("unknown")
                .to_lowercase()
                .replace('\0', "\u{fffd}")
        };
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.pricing.as_ref())
            .map(|pricing| {
                (
                    word(&pricing.value, "category"),
                    word(&pricing.value, "type"),
                )
            })
            .collect()
    }

    /// What this notification adds to the counters: a pure function of its
    /// state, so that a difference of two tallies never depends on order and
    /// no rate of a cohort exceeds 100 %.
    pub fn tally(&self) -> Vec<(&'static str, String)> {
        let mut tally = vec![("created", String::new())];
        for fact in [
            Fact::Accepted,
            Fact::Sent,
            Fact::Delivered,
            Fact::Read,
            Fact::Played,
        ] {
            if self.has(fact) {
                tally.push((fact.name(), String::new()));
            }
        }
        let status = self.status();
        if status.group() == Group::Sent {
            tally.push((OUT, String::new()));
        }
        if status.group() == Group::Failed {
            let code = self
                .present_failure()
                .map_or_else(|| status.name().to_owned(), Failure::counted_as);
            tally.push(("failed", code));
        }
        if matches!(status, Status::Skipped | Status::Cancelled) {
            tally.push((status.name(), String::new()));
        }
        if self.replied {
            tally.push(("replied", String::new()));
        }
        if status == Status::Accepted && self.triggered.contains(Trigger::Stale) {
            tally.push((STALE, String::new()));
        }
        tally
    }
}
