//! The hold of all sending: its reasons, and what may still be sent.
//!
//! After a restore the database does not know what was sent in the lost time, so anything it sends
//! now may have been sent already. Sending waits for an operator.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Why sending is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// An operator requested it: `serve --hold`, `herald hold start`, the API or the dashboard.
    Asked,
    /// `herald restore` created this database from a backup.
    Restored,
    /// The SQLite file is a copy: it is not the file that the last server used, or its log is
    /// missing.
    Copied,
    /// `HERALD_STATE_MARK` is newer than the database.
    NewerMark,
    /// The database is older than this process last saw it.
    WentBack,
    /// A signed status names an attempt of this installation that is not in this database.
    LostAttempt,
    /// PostgreSQL's system identifier differs from the last one seen.
    OtherCluster,
    /// PostgreSQL's timeline is older than the last one seen.
    OlderTimeline,
    /// `HERALD_STATE_MARK` could not be read since this process started.
    MarkUnreadable,
}

impl HoldReason {
    /// Its word in the API and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Restored => "restored",
            Self::Copied => "copied",
            Self::NewerMark => "newer_mark",
            Self::WentBack => "went_back",
            Self::LostAttempt => "lost_attempt",
            Self::OtherCluster => "other_cluster",
            Self::OlderTimeline => "older_timeline",
            Self::MarkUnreadable => "mark_unreadable",
        }
    }

    /// As a phrase for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Asked => "an operator requested it",
            Self::Restored => "the database was restored from a backup",
            Self::Copied => {
                "the database file is a copy: it is not the file that the last server used, or its log is missing"
            }
            Self::NewerMark => "the mark in HERALD_STATE_MARK is newer than the database",
            Self::WentBack => "the database is older than it was a moment ago",
            Self::LostAttempt => {
                "the provider reports a message that this installation sent and this database does not know"
            }
            Self::OtherCluster => "this is another PostgreSQL cluster than before",
            Self::OlderTimeline => "PostgreSQL is on an older timeline than before",
            Self::MarkUnreadable => "the mark in HERALD_STATE_MARK cannot be read",
        }
    }
}

/// The hold of all sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingHold {
    pub reason: HoldReason,
    pub since: Timestamp,
    /// The operator's text, or the figures that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl SendingHold {
    /// Why messages wait, for people.
    pub fn sentence(&self) -> String {
        let reason = self.reason.sentence();
        match &self.detail {
            Some(detail) => format!("sending is on hold: {reason} ({detail})"),
            None => format!("sending is on hold: {reason}"),
        }
    }

    /// As a complete sentence.
    pub fn summary(&self) -> String {
        let sentence = self.sentence();
        let mut characters = sentence.chars();
        let first = characters.next().map(|first| first.to_ascii_uppercase());
        let sentence: String = first.into_iter().chain(characters).collect();
        format!("{sentence}.")
    }

    /// What may be sent during the hold.
    pub const fn passing(&self) -> HoldExemption {
        HoldExemption { since: self.since }
    }
}

/// What may be sent during a hold: one-time passwords requested since it began. They cannot have
/// been sent before, and users need them to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldExemption {
    pub since: Timestamp,
}

/// Age class of waiting messages, since they were requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingMessageAgeClass {
    UnderTenMinutes,
    UnderAnHour,
    UnderSixHours,
    UnderADay,
    Older,
}

impl WaitingMessageAgeClass {
    pub const ALL: [Self; 5] = [
        Self::UnderTenMinutes,
        Self::UnderAnHour,
        Self::UnderSixHours,
        Self::UnderADay,
        Self::Older,
    ];

    /// Upper bound in seconds; `None`: unbounded.
    pub const fn below_seconds(self) -> Option<i64> {
        match self {
            Self::UnderTenMinutes => Some(10 * 60),
            Self::UnderAnHour => Some(60 * 60),
            Self::UnderSixHours => Some(6 * 60 * 60),
            Self::UnderADay => Some(24 * 60 * 60),
            Self::Older => None,
        }
    }

    /// Its word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnderTenMinutes => "under_ten_minutes",
            Self::UnderAnHour => "under_an_hour",
            Self::UnderSixHours => "under_six_hours",
            Self::UnderADay => "under_a_day",
            Self::Older => "older",
        }
    }

    /// As a phrase for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::UnderTenMinutes => "under 10 minutes",
            Self::UnderAnHour => "10 to 60 minutes",
            Self::UnderSixHours => "1 to 6 hours",
            Self::UnderADay => "6 to 24 hours",
            Self::Older => "over a day",
        }
    }

    /// The class of an age in microseconds.
    pub fn of_micros(micros: i64) -> Self {
        Self::ALL
            .into_iter()
            .find(|age| {
                age.below_seconds()
                    .is_none_or(|below| micros < below.saturating_mul(1_000_000))
            })
            .unwrap_or(Self::Older)
    }
}

#[cfg(test)]
mod tests {
    use super::{HoldReason, SendingHold, WaitingMessageAgeClass};
    use crate::domain::time::Timestamp;

    #[test]
    fn a_hold_is_stored_by_words_and_read_again() {
        let hold = SendingHold {
            reason: HoldReason::NewerMark,
            since: Timestamp::from_micros(7),
            detail: None,
        };
        let text = serde_json::to_string(&hold).unwrap();
        assert_eq!(text, r#"{"reason":"newer_mark","since":7}"#);
        assert_eq!(serde_json::from_str::<SendingHold>(&text).unwrap(), hold);
    }

    #[test]
    fn ages_follow_each_other_without_a_gap() {
        let minute = 60 * 1_000_000;
        for (micros, age) in [
            (-1, WaitingMessageAgeClass::UnderTenMinutes),
            (10 * minute - 1, WaitingMessageAgeClass::UnderTenMinutes),
            (10 * minute, WaitingMessageAgeClass::UnderAnHour),
            (60 * minute, WaitingMessageAgeClass::UnderSixHours),
            (6 * 60 * minute, WaitingMessageAgeClass::UnderADay),
            (24 * 60 * minute, WaitingMessageAgeClass::Older),
            (i64::MAX, WaitingMessageAgeClass::Older),
        ] {
            assert_eq!(WaitingMessageAgeClass::of_micros(micros), age, "{micros}");
        }
    }
}
