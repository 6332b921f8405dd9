//! Chooses the counters that the points of a chart are read from.

use super::CounterPeriodLength;
use crate::domain::time::Timestamp;

/// Consecutive points of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartPointSpan {
    pub since: Timestamp,
    pub until: Timestamp,
    pub length_micros: i64,
}

/// Counters of one grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterBucketSelection {
    pub grain: CounterPeriodLength,
    pub buckets: CounterBucketRange,
}

/// The buckets of a grain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterBucketRange {
    /// All from `since` and before `until`, except those within which a point begins: the one at
    /// `split`, and every one that is a multiple of the span's length after it.
    All {
        since: Timestamp,
        until: Timestamp,
        split: Option<Timestamp>,
    },
    /// These.
    Each(Vec<Timestamp>),
}

impl ChartPointSpan {
    /// Reads as few counters as possible: the first of `coarse` that fits into a point, and finer
    /// ones where a point begins or the period ends within a counter. So a day in Kolkata is 23
    /// hours and two halves.
    pub fn readings(self, coarse: &[CounterPeriodLength]) -> Vec<CounterBucketSelection> {
        let all = |grain, since, until, split| CounterBucketSelection {
            grain,
            buckets: CounterBucketRange::All {
                since,
                until,
                split,
            },
        };
        let fits = |grain: &CounterPeriodLength| {
            let micros = grain.micros();
            self.length_micros % micros == 0
                && (self.length_micros > micros || grain.start(self.since) == self.since)
        };
        let Some(grain) = coarse.iter().copied().find(fits) else {
            return vec![all(
                CounterPeriodLength::Quarter,
                self.since,
                self.until,
                None,
            )];
        };
        let (first, last) = (grain.start_from(self.since), grain.start(self.until));
        let split = Some(grain.start(self.since)).filter(|split| *split != self.since);
        let mut readings = Vec::new();
        if first < last {
            readings.push(all(grain, first, last, split));
        }
        if let Some(split) = split {
            let is_finer = |finer: &CounterPeriodLength| {
                *finer < grain && finer.start(self.since) == self.since
            };
            let finer = coarse.iter().copied().find(is_finer);
            let finer = finer.unwrap_or(CounterPeriodLength::Quarter);
            let split = self.parts_of_split(grain, finer, split, last);
            readings.push(CounterBucketSelection {
                grain: finer,
                buckets: CounterBucketRange::Each(split),
            });
        }
        let rest = last.max(self.since);
        if rest < self.until {
            readings.push(all(CounterPeriodLength::Quarter, rest, self.until, None));
        }
        readings
    }

    /// The finer counters in place of those within which a point begins, before `last`.
    fn parts_of_split(
        self,
        grain: CounterPeriodLength,
        finer: CounterPeriodLength,
        split: Timestamp,
        last: Timestamp,
    ) -> Vec<Timestamp> {
        let mut parts = Vec::new();
        let mut bucket = split;
        while bucket < last {
            let end = bucket.plus_micros(grain.micros());
            let mut part = bucket;
            while part < end {
                if part >= self.since {
                    parts.push(part);
                }
                part = part.plus_micros(finer.micros());
            }
            bucket = bucket.plus_micros(self.length_micros);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ChartPointSpan, CounterBucketRange};
    use crate::domain::{cohort::CounterPeriodLength, time::Timestamp};

    const HOUR: i64 = 3_600;

    const ALL: [CounterPeriodLength; 3] = [
        CounterPeriodLength::Day,
        CounterPeriodLength::Hour,
        CounterPeriodLength::Half,
    ];

    fn span(since: i64, until: i64, length: i64) -> ChartPointSpan {
        ChartPointSpan {
            since: Timestamp::from_unix_seconds(since),
            until: Timestamp::from_unix_seconds(until),
            length_micros: length * 1_000_000,
        }
    }

    /// The quarters that are read, with the point that each is added to.
    fn quarters(span: ChartPointSpan, coarse: &[CounterPeriodLength]) -> Vec<(i64, i64)> {
        let place = |at: i64| (at - span.since.micros()).div_euclid(span.length_micros);
        let mut read = Vec::new();
        for reading in span.readings(coarse) {
            let buckets: Vec<i64> = match reading.buckets {
                CounterBucketRange::Each(each) => each.iter().map(|at| at.micros()).collect(),
                CounterBucketRange::All {
                    since,
                    until,
                    split,
                } => (since.micros()..until.micros())
                    .step_by(usize::try_from(reading.grain.micros()).unwrap())
                    .filter(|at| {
                        split.is_none_or(|split| (at - split.micros()) % span.length_micros != 0)
                    })
                    .collect(),
            };
            for bucket in buckets {
                assert_eq!(bucket % reading.grain.micros(), 0);
                for quarter in (bucket..bucket + reading.grain.micros()).step_by(900_000_000) {
                    read.push((quarter / 1_000_000, place(bucket)));
                }
            }
        }
        read.sort_unstable();
        read
    }

    #[test]
    fn a_year_in_kolkata_is_hours_and_two_halves_a_day() {
        let day = 24 * HOUR;
        let start = 20 * day - 11 * HOUR / 2;
        let readings = span(start, start + 365 * day, day).readings(&ALL);
        assert_eq!(readings.len(), 3);
        assert_eq!(readings[0].grain, CounterPeriodLength::Hour);
        let CounterBucketRange::Each(each) = &readings[1].buckets else {
            panic!("{readings:?}");
        };
        // One half of the first hour is before the period; that of the last is read as its rest.
        assert_eq!(readings[1].grain, CounterPeriodLength::Half);
        assert_eq!(each.len(), 365 * 2 - 1);
    }

    #[test]
    fn a_year_in_utc_is_days() {
        let day = 24 * HOUR;
        let readings = span(20 * day, 385 * day + 900, day).readings(&ALL);
        let grains: Vec<CounterPeriodLength> =
            readings.iter().map(|reading| reading.grain).collect();
        assert_eq!(
            grains,
            [CounterPeriodLength::Day, CounterPeriodLength::Quarter]
        );
    }

    proptest! {
        #[test]
        fn each_quarter_of_a_span_is_read_once_and_for_its_point(
            since in 0_i64..400,
            quarters_long in 0_i64..600,
            length in prop::sample::select(vec![1_i64, 2, 4, 92, 94, 96, 98, 100, 192]),
            coarse in prop::sample::select(vec![vec![], vec![CounterPeriodLength::Hour], vec![CounterPeriodLength::Half], vec![CounterPeriodLength::Day], vec![CounterPeriodLength::Day, CounterPeriodLength::Hour], ALL.to_vec()]),
        ) {
            let span = span(since * 900, (since + quarters_long) * 900, length * 900);
            let expected: Vec<(i64, i64)> = (0..quarters_long)
                .map(|at| ((since + at) * 900, at / length))
                .collect();
            prop_assert_eq!(quarters(span, &coarse), expected);
        }
    }
}
