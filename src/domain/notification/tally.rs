//! What a notification adds to the counters.

use super::NotificationState;
use crate::domain::{
    facts::Fact,
    failure::Failure,
    status::{Group, Status},
};

impl NotificationState {
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
        tally
    }
}
