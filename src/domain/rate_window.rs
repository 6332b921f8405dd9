//! Counts what happened in the last seconds: how often something may happen in a sliding window.

use super::{horizon::is_ahead, time::Timestamp};

/// At most so many in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    pub most: usize,
    pub seconds: i64,
}

impl RateWindow {
    /// The times, in microseconds, that still count. Those of a clock that has been set back do not:
    /// they would count until it catches up.
    pub fn recent(self, times: &[i64], now: Timestamp) -> Vec<i64> {
        let since = now.plus_seconds(-self.seconds).micros();
        let mut recent: Vec<i64> = times
            .iter()
            .filter(|at| !is_ahead(Timestamp::from_micros(**at), now))
            .map(|at| (*at).min(now.micros()))
            .filter(|at| *at > since)
            .collect();
        recent.sort_unstable();
        recent
    }

    /// Seconds until one more fits, at least one; `None` if it fits now.
    pub fn wait_seconds(self, times: &[i64], now: Timestamp) -> Option<i64> {
        let recent = self.recent(times, now);
        let surplus = (recent.len() + 1)
            .checked_sub(self.most)
            .filter(|it| *it > 0)?;
        // When that many of the oldest have left the window, one more fits. A limit of none never
        // lets one pass: it waits for a whole window each time.
        let last = recent.get(surplus - 1).copied().unwrap_or(now.micros());
        let fits_at = Timestamp::from_micros(last).plus_seconds(self.seconds);
        let micros = fits_at.micros_since(now).max(1);
        Some(micros.div_euclid(1_000_000) + i64::from(micros % 1_000_000 > 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RateWindow;
    use crate::domain::time::Timestamp;

    const SECOND: i64 = 1_000_000;
    const THREE_A_MINUTE: RateWindow = RateWindow {
        most: 3,
        seconds: 60,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * SECOND)
    }

    #[test]
    fn the_oldest_makes_room_when_it_leaves_the_window() {
        let times = [100 * SECOND, 110 * SECOND, 120 * SECOND];
        assert_eq!(THREE_A_MINUTE.wait_seconds(&times[..2], at(121)), None);
        assert_eq!(THREE_A_MINUTE.wait_seconds(&times, at(121)), Some(39));
        assert_eq!(THREE_A_MINUTE.wait_seconds(&times, at(160)), None);
    }

    #[test]
    fn what_a_clock_has_counted_that_was_set_back_does_not_block_until_it_catches_up() {
        let times = [900 * SECOND; 3];
        assert_eq!(THREE_A_MINUTE.wait_seconds(&times, at(100)), None);
        assert!(THREE_A_MINUTE.recent(&times, at(100)).is_empty());
        // The clocks of two machines differ a little.
        assert_eq!(
            THREE_A_MINUTE.wait_seconds(&[900 * SECOND + 5; 3], at(900)),
            Some(60)
        );
    }

    #[test]
    fn a_limit_of_none_never_lets_one_pass() {
        let none = RateWindow {
            most: 0,
            seconds: 60,
        };
        assert_eq!(none.wait_seconds(&[], at(5)), Some(60));
    }

    proptest! {
        /// However the tries come, no window has more than the limit, and who waits as long as
        /// asked may pass.
        #[test]
        fn no_window_has_more_than_the_limit(pauses in prop::collection::vec(0_i64..40, 1..80)) {
            let mut now = at(1_000);
            let mut times = Vec::new();
            for pause in pauses {
                now = now.plus_seconds(pause);
                match THREE_A_MINUTE.wait_seconds(&times, now) {
                    None => times.push(now.micros()),
                    Some(wait) => {
                        prop_assert!((1..=60).contains(&wait));
                        let later = now.plus_seconds(wait);
                        prop_assert_eq!(THREE_A_MINUTE.wait_seconds(&times, later), None);
                    }
                }
            }
            for first in &times {
                let within = times.iter().filter(|it| (*first..first + 60 * SECOND).contains(*it));
                prop_assert!(within.count() <= 3);
            }
        }
    }
}
