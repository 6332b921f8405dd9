//! Cohorts: the notifications created in one period, and how a longer period is composed of counted
//! ones.

mod span;

pub use span::{ChartPointSpan, CounterBucketRange, CounterBucketSelection};

use chrono::{DateTime, Days, LocalResult, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use crate::domain::time::Timestamp;

/// The length of a counted period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterPeriodLength {
    Quarter,
    Half,
    Hour,
    /// A day in UTC.
    Day,
    /// Seven days in UTC, starting on a Thursday, as 1970 did.
    Week,
}

impl CounterPeriodLength {
    pub const ALL: [Self; 5] = [Self::Quarter, Self::Half, Self::Hour, Self::Day, Self::Week];

    /// Whether it is counted by template, event type and code; the other grains only serve charts
    /// of totals.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::Quarter | Self::Day | Self::Week)
    }

    /// Its length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Quarter => 900,
            Self::Half => 1_800,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
        }
    }

    /// Its length in microseconds.
    pub const fn micros(self) -> i64 {
        self.seconds() * 1_000_000
    }

    /// The start of the period that contains a time.
    pub const fn start(self, at: Timestamp) -> Timestamp {
        let seconds = self.seconds();
        Timestamp::from_unix_seconds(at.unix_seconds().div_euclid(seconds) * seconds)
    }

    /// The first start at or after a time.
    pub fn start_from(self, at: Timestamp) -> Timestamp {
        let start = self.start(at);
        if start < at {
            start.plus_seconds(self.seconds())
        } else {
            start
        }
    }
}

/// A period that is read from counters of one grain: from its start up to, but excluding, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterPeriod {
    pub grain: CounterPeriodLength,
    pub since: Timestamp,
    pub until: Timestamp,
}

/// Splits a period into as few counters as possible: whole weeks, days before and after them, and
/// quarters of an hour before and after those. Both ends are rounded down to a quarter.
pub fn pieces(since: Timestamp, until: Timestamp) -> Vec<CounterPeriod> {
    let mut pieces = Vec::new();
    cover(
        &[
            CounterPeriodLength::Week,
            CounterPeriodLength::Day,
            CounterPeriodLength::Quarter,
        ],
        CounterPeriodLength::Quarter.start(since),
        CounterPeriodLength::Quarter.start_from(until),
        &mut pieces,
    );
    pieces
}

/// Whole periods of the first grain, surrounded by those of the finer grains.
fn cover(
    grains: &[CounterPeriodLength],
    since: Timestamp,
    until: Timestamp,
    pieces: &mut Vec<CounterPeriod>,
) {
    let Some((grain, finer)) = grains.split_first() else {
        return;
    };
    if since >= until {
        return;
    }
    let (first, last) = (grain.start_from(since), grain.start(until));
    if first < last {
        cover(finer, since, first, pieces);
        pieces.push(CounterPeriod {
            grain: *grain,
            since: first,
            until: last,
        });
        cover(finer, last, until, pieces);
    } else {
        cover(finer, since, until, pieces);
    }
}

/// The length of a chart's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartInterval {
    Quarter,
    Hour,
    /// A day in the requested zone: 23 or 25 hours when clocks change.
    Day,
}

impl ChartInterval {
    /// Parses `quarter`, `hour` and `day`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "quarter" => Some(Self::Quarter),
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            _ => None,
        }
    }

    /// The start of the point that contains a time, in this zone.
    pub fn start(self, at: Timestamp, zone: Tz) -> Timestamp {
        let Some(utc) = DateTime::<Utc>::from_timestamp(at.unix_seconds(), 0) else {
            return at;
        };
        let local = utc.with_timezone(&zone);
        match self {
            // Offsets between zones are whole quarters of an hour.
            Self::Quarter => CounterPeriodLength::Quarter.start(at),
            Self::Hour => {
                let past = i64::from(chrono::Timelike::minute(&local)) * 60
                    + i64::from(chrono::Timelike::second(&local));
                Timestamp::from_unix_seconds(at.unix_seconds() - past)
            }
            Self::Day => midnight(local.date_naive(), zone).unwrap_or(at),
        }
    }

    /// The start of the point after the one that begins at `start`.
    pub fn after(self, start: Timestamp, zone: Tz) -> Timestamp {
        match self {
            Self::Quarter => start.plus_seconds(CounterPeriodLength::Quarter.seconds()),
            Self::Hour => start.plus_seconds(CounterPeriodLength::Hour.seconds()),
            Self::Day => DateTime::<Utc>::from_timestamp(start.unix_seconds(), 0)
                .and_then(|utc| {
                    let date = utc.with_timezone(&zone).date_naive();
                    midnight(date.checked_add_days(Days::new(1))?, zone)
                })
                .unwrap_or_else(|| start.plus_seconds(CounterPeriodLength::Day.seconds())),
        }
    }
}

/// The start of a day: midnight, or right after it if clocks jump over midnight.
fn midnight(date: chrono::NaiveDate, zone: Tz) -> Option<Timestamp> {
    let mut at = date.and_time(NaiveTime::MIN);
    for _quarter in 0..12 {
        match zone.from_local_datetime(&at) {
            LocalResult::Single(start) | LocalResult::Ambiguous(start, _) => {
                return Some(Timestamp::from_unix_seconds(start.timestamp()));
            }
            LocalResult::None => at += chrono::TimeDelta::minutes(15),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::{ChartInterval, CounterPeriodLength, pieces};
    use crate::domain::time::Timestamp;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn zone(name: &str) -> Tz {
        name.parse().unwrap()
    }

    #[test]
    fn a_day_in_a_zone_begins_at_its_midnight() {
        let noon = at("2026-11-21T12:00:00Z");
        let india = zone("Asia/Kolkata");
        assert_eq!(
            ChartInterval::Day.start(noon, india),
            at("2026-11-20T18:30:00Z")
        );
        assert_eq!(
            ChartInterval::Hour.start(at("2026-11-21T12:29:59Z"), india),
            at("2026-11-21T11:30:00Z")
        );
        assert_eq!(
            ChartInterval::Day.start(noon, Tz::UTC),
            at("2026-11-21T00:00:00Z")
        );
    }

    #[test]
    fn a_day_has_23_or_25_hours_when_clocks_change() {
        let berlin = zone("Europe/Berlin");
        let hours = |text: &str| {
            let start = ChartInterval::Day.start(at(text), berlin);
            ChartInterval::Day.after(start, berlin).micros_since(start) / 3_600_000_000
        };
        assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
        assert_eq!(hours("2026-11-21T12:00:00Z"), 24);
    }

    #[test]
    fn a_day_without_midnight_begins_right_after() {
        // Clocks in Beirut jump from midnight to one.
        let beirut = zone("Asia/Beirut");
        let start = ChartInterval::Day.start(at("2026-03-29T12:00:00Z"), beirut);
        assert_eq!(start, at("2026-03-28T22:00:00Z"));
    }

    proptest! {
        #[test]
        fn pieces_cover_a_time_once_and_to_the_quarter(since in 0_i64..4_000_000, length in 0_i64..4_000_000) {
            let (since, until) = (Timestamp::from_unix_seconds(since), Timestamp::from_unix_seconds(since + length));
            let pieces = pieces(since, until);
            let mut next = CounterPeriodLength::Quarter.start(since);
            for piece in &pieces {
                prop_assert_eq!(piece.since, next);
                prop_assert_eq!(piece.grain.start(piece.since), piece.since);
                prop_assert_eq!(piece.grain.start(piece.until), piece.until);
                next = piece.until;
            }
            prop_assert_eq!(next, if pieces.is_empty() { next } else { CounterPeriodLength::Quarter.start_from(until) });
            prop_assert!(pieces.len() <= 5);
        }

        #[test]
        fn points_follow_each_other_without_a_gap(start in 1_700_000_000_i64..1_800_000_000, zone in prop::sample::select(vec!["UTC", "Asia/Kolkata", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])) {
            let zone: Tz = zone.parse().unwrap();
            for step in [ChartInterval::Quarter, ChartInterval::Hour, ChartInterval::Day] {
                let mut point = step.start(Timestamp::from_unix_seconds(start), zone);
                for _ in 0..40 {
                    let next = step.after(point, zone);
                    prop_assert!(next > point);
                    prop_assert_eq!(step.start(next, zone), next);
                    prop_assert_eq!(step.start(next.plus_seconds(-1), zone), point);
                    point = next;
                }
            }
        }
    }
}
