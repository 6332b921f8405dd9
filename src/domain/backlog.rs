//! Decides the reactions to a backlog of callbacks, from the age of the oldest one.

use std::time::Duration;

use super::{horizon, time::Timestamp};

/// Lag from which processing counts as behind, in seconds.
pub const BEHIND_SECONDS: i64 = 10;

/// Lag at which acknowledgements have their longest delay, in seconds.
const SLOWEST_SECONDS: i64 = 30;

/// After so long at the head of the backlog, the oldest callback counts as stuck, in seconds.
const STUCK_AFTER_SECONDS: i64 = 120;

/// Age of the oldest callback, in microseconds.
pub fn lag_micros(oldest: Option<Timestamp>, now: Timestamp) -> i64 {
    oldest.map_or(0, |oldest| now.micros_since(oldest).max(0))
}

/// Whether processing is so far behind that reactions begin.
pub const fn is_behind(lag_micros: i64) -> bool {
    lag_micros >= BEHIND_SECONDS * 1_000_000
}

/// Delay of the acknowledgement of a stored callback: a provider with a limited number of open
/// calls then sends less. Zero until processing is behind, then in proportion to the lag, up to
/// `most`.
pub fn answer_delay(lag_micros: i64, most: Duration) -> Duration {
    let (from, until) = (BEHIND_SECONDS * 1_000_000, SLOWEST_SECONDS * 1_000_000);
    let beyond = lag_micros.saturating_sub(from).clamp(0, until - from);
    let most = i64::try_from(most.as_micros()).unwrap_or(i64::MAX);
    let delay = i128::from(most) * i128::from(beyond) / i128::from(until - from);
    Duration::from_micros(u64::try_from(delay).unwrap_or(0))
}

/// The oldest waiting callback, and since when it has been the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldestCallback {
    pub at: Timestamp,
    pub since: Timestamp,
}

impl OldestCallback {
    /// The state after one more measurement.
    pub fn next(known: Option<Self>, seen: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let at = seen?;
        match known {
            Some(known) if known.at == at => Some(known),
            _ => Some(Self { at, since: now }),
        }
    }

    /// Whether processing does not get past it. Also true if it was stored by a clock that was
    /// ahead, as nothing is known then.
    pub fn is_stuck(self, now: Timestamp) -> bool {
        let patience = STUCK_AFTER_SECONDS * 1_000_000;
        horizon::is_ahead(self.at, now) || !horizon::is_recent(self.since, now, patience)
    }
}

/// Timers that are due by this moment may fire. A receipt may be among the waiting callbacks, so a
/// timer that became due after the oldest of them waits, as long as processing continues.
pub fn timers_until(oldest: Option<OldestCallback>, now: Timestamp) -> Timestamp {
    match oldest {
        Some(oldest) if !oldest.is_stuck(now) => oldest.at.min(now),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: Duration = Duration::from_secs(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_767_225_600 + seconds)
    }

    #[test]
    fn an_answer_waits_from_ten_seconds_on_and_never_longer_than_it_may() {
        let delay = |seconds: i64| answer_delay(seconds * 1_000_000, MOST).as_millis();
        let delays: Vec<_> = [0, 9, 10, 11, 15, 20, 30, 31, 86_400].map(delay).into();
        assert_eq!(delays, [0, 0, 0, 100, 500, 1000, 2000, 2000, 2000]);
        assert_eq!(answer_delay(i64::MIN, MOST), Duration::ZERO);
        assert_eq!(answer_delay(i64::MAX, Duration::ZERO), Duration::ZERO);
        assert!(!is_behind(9_999_999) && is_behind(10_000_000));
    }

    #[test]
    fn timers_wait_as_long_as_applying_goes_on() {
        let mut oldest = None;
        // An hour of backlog that moves: what became due after its oldest waits.
        for second in 0..3600 {
            oldest = OldestCallback::next(oldest, Some(at(second - 600)), at(second));
            assert_eq!(timers_until(oldest, at(second)), at(second - 600));
        }
        // The oldest stays: after two minutes nothing waits for it.
        for second in 3600..3720 {
            oldest = OldestCallback::next(oldest, Some(at(3599 - 600)), at(second));
            let expected = if second < 3599 + 120 {
                at(2999)
            } else {
                at(second)
            };
            assert_eq!(timers_until(oldest, at(second)), expected, "{second}");
        }
        // It is got past after all.
        oldest = OldestCallback::next(oldest, Some(at(3700)), at(3721));
        assert_eq!(timers_until(oldest, at(3721)), at(3700));
        oldest = OldestCallback::next(oldest, None, at(3722));
        assert_eq!(timers_until(oldest, at(3722)), at(3722));
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_lag_and_holds_no_timer_up() {
        let ahead = OldestCallback::next(None, Some(at(3600)), at(3600));
        assert_eq!(timers_until(ahead, at(0)), at(0));
        assert_eq!(lag_micros(Some(at(10)), at(0)), 0);
        assert_eq!(lag_micros(None, at(0)), 0);
        assert_eq!(lag_micros(Some(at(0)), at(10)), 10_000_000);
    }

    proptest! {
        #[test]
        fn a_greater_lag_never_shortens_the_delay(one in 0_i64..200_000_000, more in 0_i64..200_000_000) {
            let (first, second) = (answer_delay(one, MOST), answer_delay(one + more, MOST));
            prop_assert!(first <= second && second <= MOST);
        }
    }
}
