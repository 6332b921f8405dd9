//! What a notification adds to the counters.

use super::NotificationState;
use crate::domain::{
    facts::Fact,
    failure::Failure,
    status::{Group, Status},
};

impl NotificationState {
    /// What was billed for it, by category and type: once, however often and on
    /// whichever status the price was told. Of several versions the newest counts.
    pub fn price(&self) -> Option<(String, String)> {
        let newest = self
            .attempts
            .iter()
            .filter_map(|attempt| attempt.pricing.as_ref())
            .max_by_key(|pricing| (pricing.at, pricing.digest.clone()))?;
        let word = |key: &str| {
            newest
                .value
                .get(key)
                .and_then(serde_json::Value::as_str)
                .unwrap_or("unknown")
                .to_lowercase()
        };
        Some((word("category"), word("type")))
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
