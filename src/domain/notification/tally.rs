//! The contribution of a notification to the counters.

use super::{AttemptState, NotificationState};
use crate::domain::{
    facts::DeliveryFact,
    failure::DeliveryFailure,
    latency,
    status::{NotificationStatus, StatusGroup},
    transition::NotificationTransition,
};

/// Counts messages that were sent and have not failed: the group of the statuses `accepted` to
/// `played`.
pub const OUT: &str = "out";

/// Counts messages that were accepted and had no status for too long.
pub const STALE: &str = "stale";

/// From acceptance to `sent`, and on: see [`NotificationState::took`].
pub const TOOK: [&str; 3] = ["took_sent", "took_delivered", "took_read"];

impl NotificationState {
    /// The time from acceptance to `sent`, on to `delivered`, and on to `read`, as classes of
    /// [`latency`]: of the first attempt for which both ends were reported.
    pub fn took(&self) -> Vec<(&'static str, usize)> {
        let reported = |attempt: &AttemptState, fact| {
            let known = attempt.facts.get(fact).filter(|known| !known.implied)?;
            Some(known.at)
        };
        let between = |from, to| {
            self.attempts.iter().find_map(|attempt| {
                Some(reported(attempt, to)?.micros_since(reported(attempt, from)?))
            })
        };
        TOOK.into_iter()
            .zip([
                (DeliveryFact::Accepted, DeliveryFact::Sent),
                (DeliveryFact::Sent, DeliveryFact::Delivered),
                (DeliveryFact::Delivered, DeliveryFact::Read),
            ])
            .filter_map(|(name, (from, to))| Some((name, latency::class_of(between(from, to)?))))
            .collect()
    }

    /// The reported price, which may be nothing, as category and type (`utility/regular`): once for
    /// each message that was sent, however often and with whichever status it was reported.
    pub fn prices(&self) -> Vec<String> {
        let word = |pricing: &serde_json::Value, key: &str| {
            let word = pricing.get(key).and_then(serde_json::Value::as_str);
            // A word that PostgreSQL cannot store is not from a price list.
            word.unwrap_or("unknown")
                .to_lowercase()
                .replace('\0', "\u{fffd}")
        };
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.pricing.as_ref())
            .map(|pricing| {
                let category = word(&pricing.value, "category");
                format!("{category}/{}", word(&pricing.value, "type"))
            })
            .collect()
    }

    /// What this notification adds to the counters: a pure function of its state, so that a
    /// difference of two tallies never depends on order and no rate of a cohort exceeds 100 %.
    pub fn tally(&self) -> Vec<(&'static str, String)> {
        let mut tally = vec![("created", String::new())];
        for fact in [
            DeliveryFact::Accepted,
            DeliveryFact::Sent,
            DeliveryFact::Delivered,
            DeliveryFact::Read,
            DeliveryFact::Played,
        ] {
            if self.has(fact) {
                tally.push((fact.name(), String::new()));
            }
        }
        let status = self.status();
        if status.group() == StatusGroup::Sent {
            tally.push((OUT, String::new()));
        }
        if status.group() == StatusGroup::Failed {
            let code = self
                .present_failure()
                .map_or_else(|| status.name().to_owned(), DeliveryFailure::counted_as);
            tally.push(("failed", code));
        }
        if matches!(
            status,
            NotificationStatus::Skipped | NotificationStatus::Cancelled
        ) {
            tally.push((status.name(), String::new()));
        }
        if self.replied {
            tally.push(("replied", String::new()));
        }
        if status == NotificationStatus::Accepted
            && self.triggered.contains(NotificationTransition::Stale)
        {
            tally.push((STALE, String::new()));
        }
        tally
    }
}
