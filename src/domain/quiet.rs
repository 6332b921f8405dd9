//! Quiet hours of a person, in their own time zone.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

const MINUTES_A_DAY: i64 = 24 * 60;

/// From a minute of the day until another, which may be on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "QuietHoursSource", into = "QuietHoursSource")]
pub struct QuietHours {
    from: i64,
    until: i64,
}

/// As written in a catalogue: `{ from = "21:00", until = "07:00" }`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuietHoursSource {
    from: String,
    until: String,
}

/// The hours cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quiet hours are written 21:00 and 07:00, and are not the same")]
pub struct QuietHoursParseError;

impl TryFrom<QuietHoursSource> for QuietHours {
    type Error = QuietHoursParseError;

    fn try_from(written: QuietHoursSource) -> Result<Self, QuietHoursParseError> {
        Self::parse(&written.from, &written.until)
    }
}

impl From<QuietHours> for QuietHoursSource {
    fn from(hours: QuietHours) -> Self {
        let text = |minutes: i64| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        Self {
            from: text(hours.from),
            until: text(hours.until),
        }
    }
}

impl std::fmt::Display for QuietHours {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let QuietHoursSource { from, until } = QuietHoursSource::from(*self);
        write!(formatter, "{from}-{until}")
    }
}

impl QuietHours {
    /// Parses `21:00` and `07:00`.
    pub fn parse(from: &str, until: &str) -> Result<Self, QuietHoursParseError> {
        let minutes = |text: &str| {
            let time = NaiveTime::parse_from_str(text, "%H:%M")
                .map_err(|_unreadable| QuietHoursParseError)?;
            Ok(i64::from(time.hour() * 60 + time.minute()))
        };
        Self::new(minutes(from)?, minutes(until)?)
    }

    fn new(from: i64, until: i64) -> Result<Self, QuietHoursParseError> {
        let day = 0..MINUTES_A_DAY;
        if from == until || !day.contains(&from) || !day.contains(&until) {
            return Err(QuietHoursParseError);
        }
        Ok(Self { from, until })
    }

    /// From the two stored columns.
    pub fn stored(from: Option<i64>, until: Option<i64>) -> Option<Self> {
        Self::new(from?, until?).ok()
    }

    /// In minutes after midnight.
    pub const fn minutes(self) -> (i64, i64) {
        (self.from, self.until)
    }

    /// End of the quiet hours; `None` if it is none now. An hour that a clock change leaves out
    /// ends with it.
    pub fn until(self, zone: Tz, now: Timestamp) -> Option<Timestamp> {
        let now = DateTime::<Utc>::from_timestamp_micros(now.micros())?;
        let local = now.with_timezone(&zone);
        let minute = i64::from(local.hour() * 60 + local.minute());
        let (is_quiet, days) = if self.from < self.until {
            ((self.from..self.until).contains(&minute), 0)
        } else {
            let late = minute >= self.from;
            (late || minute < self.until, u64::from(late))
        };
        if !is_quiet {
            return None;
        }
        let day = local
            .date_naive()
            .checked_add_days(chrono::Days::new(days))?;
        Some(Timestamp::from_micros(
            end(zone, day, self.until)?.timestamp_micros(),
        ))
    }
}

fn end(zone: Tz, day: NaiveDate, minute: i64) -> Option<DateTime<Utc>> {
    // Three hours later every clock change is over.
    (0..=180).find_map(|later| {
        let minute = minute + later;
        let day = day.checked_add_days(chrono::Days::new(
            u64::try_from(minute / MINUTES_A_DAY).ok()?,
        ))?;
        let minute = u32::try_from(minute % MINUTES_A_DAY).ok()?;
        let local = day.and_hms_opt(minute / 60, minute % 60, 0)?;
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => Some(at.with_timezone(&Utc)),
            LocalResult::None => None,
        }
    })
}

/// A time zone by its name in the tz database.
pub fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{QuietHours, zone};
    use crate::domain::time::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn the_night_ends_in_the_persons_morning() {
        let night = QuietHours::parse("21:00", "07:00").unwrap();
        let kolkata = zone("Asia/Kolkata").unwrap();
        let until = |now| night.until(kolkata, at(now));
        assert_eq!(until("2026-01-01T15:29:59Z"), None);
        let morning = Some(at("2026-01-02T01:30:00Z"));
        assert_eq!(until("2026-01-01T15:30:00Z"), morning);
        assert_eq!(until("2026-01-01T20:00:00Z"), morning);
        assert_eq!(until("2026-01-02T01:29:59Z"), morning);
        assert_eq!(until("2026-01-02T01:30:00Z"), None);
        let lunch = QuietHours::parse("12:00", "13:30").unwrap();
        let utc = zone("UTC").unwrap();
        assert_eq!(
            lunch.until(utc, at("2026-01-01T12:10:00Z")),
            Some(at("2026-01-01T13:30:00Z"))
        );
        assert_eq!(lunch.until(utc, at("2026-01-01T13:30:00Z")), None);
    }

    #[test]
    fn an_hour_that_does_not_exist_ends_when_the_clock_was_put_forward() {
        let berlin = zone("Europe/Berlin").unwrap();
        let night = QuietHours::parse("22:00", "02:30").unwrap();
        // On 2026-03-29 02:00 is 03:00 there.
        assert_eq!(
            night.until(berlin, at("2026-03-29T00:30:00Z")),
            Some(at("2026-03-29T01:00:00Z"))
        );
        assert!(QuietHours::parse("7", "08:00").is_err());
        assert!(QuietHours::parse("07:00", "07:00").is_err());
        assert!(QuietHours::parse("24:00", "07:00").is_err());
        assert_eq!(zone("Mars/Base"), None);
    }
}
