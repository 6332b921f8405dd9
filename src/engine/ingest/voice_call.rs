//! What is kept of a voice call: every report of it, as it came and as we read it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    time::Timestamp,
    voice_call::{MAX_REPORTS, Report, Summary, summary},
};

/// The reports of a call, in the order of the provider's time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    reports: Vec<Kept>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    report: Report,
    /// As it came.
    raw: Value,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    New,
    /// It is known, word for word.
    Known,
    /// More is known of this call than any call has.
    Full,
}

impl Record {
    /// Reads what is kept; nothing, if it cannot be read.
    pub fn read(item: &str) -> Self {
        serde_json::from_str(item).unwrap_or_default()
    }

    /// Adds a report.
    pub fn add(&mut self, report: &Report, raw: &str) -> Added {
        let raw: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
        if self.reports.iter().any(|kept| kept.raw == raw) {
            return Added::Known;
        }
        if self.reports.len() >= MAX_REPORTS {
            return Added::Full;
        }
        self.reports.push(Kept {
            report: report.clone(),
            raw,
        });
        // The same text, in whatever order they came.
        self.reports
            .sort_by_cached_key(|kept| (kept.report.at, kept.raw.to_string()));
        Added::New
    }

    /// Whether it is known that a person has called.
    pub fn is_from_person(&self) -> bool {
        self.reports.iter().any(|kept| kept.report.is_from_person())
    }

    pub fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When it was first reported.
    pub fn first_at(&self) -> Option<Timestamp> {
        self.reports.iter().map(|kept| kept.report.at).min()
    }

    pub fn summary(&self) -> Summary {
        let reports: Vec<Report> = self
            .reports
            .iter()
            .map(|kept| kept.report.clone())
            .collect();
        summary(&reports)
    }

    /// The reports as they came.
    pub fn raw(&self) -> Vec<&Value> {
        self.reports.iter().map(|kept| &kept.raw).collect()
    }
}
