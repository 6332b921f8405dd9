//! The stored record of a voice call: every report of it, raw and parsed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    time::Timestamp,
    voice_call::{MAX_REPORTS, VoiceCallReport, VoiceCallSummary, summary},
};

/// The reports of a call, ordered by the provider's time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct VoiceCallRecord {
    reports: Vec<StoredVoiceCallReport>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredVoiceCallReport {
    #[serde(flatten)]
    report: VoiceCallReport,
    /// The JSON as received.
    raw: Value,
}

/// Result of adding a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallReportAddOutcome {
    New,
    /// The same report is stored already.
    Known,
    /// The call has more reports than any real call: this one is not stored.
    Full,
}

impl VoiceCallRecord {
    /// Parses a stored record; empty if it cannot be parsed.
    pub fn read(item: &str) -> Self {
        serde_json::from_str(item).unwrap_or_default()
    }

    /// Adds a report.
    pub fn add(&mut self, report: &VoiceCallReport, raw: &str) -> CallReportAddOutcome {
        let raw: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
        if self.reports.iter().any(|kept| kept.raw == raw) {
            return CallReportAddOutcome::Known;
        }
        if self.reports.len() >= MAX_REPORTS {
            return CallReportAddOutcome::Full;
        }
        self.reports.push(StoredVoiceCallReport {
            report: report.clone(),
            raw,
        });
        // The same text, in whatever order the reports came.
        self.reports
            .sort_by_cached_key(|kept| (kept.report.at, kept.raw.to_string()));
        CallReportAddOutcome::New
    }

    /// Whether a report says that a person called.
    pub fn is_from_person(&self) -> bool {
        self.reports.iter().any(|kept| kept.report.is_from_person())
    }

    pub fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Time of the first report.
    pub fn first_at(&self) -> Option<Timestamp> {
        self.reports.iter().map(|kept| kept.report.at).min()
    }

    pub fn summary(&self) -> VoiceCallSummary {
        let reports: Vec<VoiceCallReport> = self
            .reports
            .iter()
            .map(|kept| kept.report.clone())
            .collect();
        summary(&reports)
    }

    /// The reports as received.
    pub fn raw(&self) -> Vec<&Value> {
        self.reports.iter().map(|kept| &kept.raw).collect()
    }
}
