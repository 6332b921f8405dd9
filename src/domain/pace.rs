//! How many messages may leave now: a leaky bucket kept as one instant.

use super::time::Timestamp;

/// A claim never takes more than this much of the pace at once, so that what
/// is claimed leaves at once (design: 250 ms).
pub const CLAIM_MICROS: i64 = 250_000;

/// What a request for call slots was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many calls may be made now.
    pub calls: i64,
    /// The sender's new theoretical time of the next call: to be stored.
    pub next_at: Timestamp,
    /// When it is worth asking again, if nothing was granted.
    pub again_at: Option<Timestamp>,
}

/// Grants up to `wanted` calls at `per_second`; 0 means unlimited.
///
/// `next_at` is the instant at which the bucket is empty again (the generic
/// cell rate algorithm). Calls may be granted up to [`CLAIM_MICROS`] ahead.
pub fn take(next_at: Timestamp, now: Timestamp, per_second: i64, wanted: i64) -> Grant {
    if per_second <= 0 {
        return Grant {
            calls: wanted.max(0),
            next_at,
            again_at: None,
        };
    }
    let interval = (1_000_000 / per_second).max(1);
    let start = next_at.max(now);
    let ahead = start.micros_since(now);
    let room = (CLAIM_MICROS.max(interval) - ahead).max(0) / interval;
    let calls = wanted.max(0).min(room);
    let again_at = (calls == 0).then(|| {
        start
            .plus_micros(interval - CLAIM_MICROS.max(interval))
            .max(now.plus_micros(1))
    });
    Grant {
        calls,
        next_at: if calls == 0 {
            next_at
        } else {
            start.plus_micros(calls * interval)
        },
        again_at,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::take;
    use crate::domain::time::Timestamp;

    proptest! {
        #[test]
        fn no_second_ever_sees_more_than_the_pace_and_one_claim(
            per_second in 1_i64..1000,
            asks in prop::collection::vec((0_i64..400_000, 0_i64..200), 1..60),
        ) {
            let mut now = Timestamp::from_unix_seconds(1);
            let mut next_at = Timestamp::default();
            let mut granted: Vec<(Timestamp, i64)> = Vec::new();
            for (pause_micros, wanted) in asks {
                now = now.plus_micros(pause_micros);
                let grant = take(next_at, now, per_second, wanted);
                prop_assert!(grant.calls >= 0 && grant.calls <= wanted);
                next_at = grant.next_at;
                granted.push((now, grant.calls));
            }
            for (start, _) in &granted {
                let in_a_second: i64 = granted
                    .iter()
                    .filter(|(at, _)| at >= start && at.micros_since(*start) < 1_000_000)
                    .map(|(_, calls)| calls)
                    .sum();
                prop_assert!(in_a_second <= per_second + per_second / 4 + 2, "{in_a_second} at {per_second}/s");
            }
        }
    }

    #[test]
    fn an_unlimited_pace_grants_everything() {
        let now = Timestamp::from_unix_seconds(1);
        assert_eq!(take(now, now, 0, 1000).calls, 1000);
    }

    #[test]
    fn a_refused_ask_says_when_to_come_back() {
        let now = Timestamp::from_unix_seconds(1);
        let first = take(Timestamp::default(), now, 80, 100);
        assert_eq!(first.calls, 20);
        let second = take(first.next_at, now, 80, 1);
        assert_eq!(second.calls, 0);
        let again = second.again_at.unwrap();
        assert_eq!(take(second.next_at, again, 80, 1).calls, 1);
    }
}
