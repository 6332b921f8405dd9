//! Rate limits of senders and pairs: leaky buckets, each stored as one timestamp (the generic cell
//! rate algorithm).

use super::{horizon, retry, settings::SenderContactPaceSettings, time::Timestamp};

/// A claim never takes more than this much of the pace at once, so that claimed messages leave
/// soon.
pub const CLAIM_MICROS: i64 = 250_000;

/// Calls of one second are spread over slightly more than a second: the limit is counted where
/// calls arrive, and their travel times differ.
const SPACED_MICROS: i64 = 1_020_000;

/// Delay of the first call of a claim: until then the claim is committed, and no call is late.
const LEAD_MICROS: i64 = 25_000;

/// Minimum batch: a claim smaller than 1/4 of a full one waits.
const LEAST_PART: i64 = 4;

/// Calls of a claim reserved for one-time passwords: a backlog of other messages never takes them.
const KEPT_FOR_OTP: i64 = 2;

/// Messages per second of a number unless its provider reports otherwise (Meta, "Throughput").
pub const USUAL_PER_SECOND: i64 = 80;

/// Messages per second of a sender: its own setting, else the setting for all, else as its provider
/// reports. 0 means unlimited.
pub fn allowed(of_sender: Option<i64>, of_all: Option<i64>, reported: Option<i64>) -> i64 {
    of_sender
        .or(of_all)
        .or(reported)
        .unwrap_or(USUAL_PER_SECOND)
}

/// The origin of the limit: the sender, the setting for all, the provider, or the default.
pub const fn allowed_by(
    of_sender: Option<i64>,
    of_all: Option<i64>,
    reported: Option<i64>,
) -> &'static str {
    match (of_sender, of_all, reported) {
        (Some(_), _, _) => "sender",
        (None, Some(_), _) => "setting",
        (None, None, Some(_)) => "provider",
        (None, None, None) => "usual",
    }
}

/// The share of the pace that a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendingPaceShare {
    /// One-time passwords: all of it.
    Otp,
    /// Everything else: all but a little.
    Ordinary,
}

/// A correct clock writes the time of a sender's next call at most this far ahead: a few claims of
/// the slowest sender that were late and rescheduled.
pub const FURTHEST_MICROS: i64 = 15_000_000;

/// The calls granted to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendingPaceGrant {
    /// Number of calls.
    pub calls: i64,
    /// Time of the first call; each further one follows an interval later.
    pub first_at: Timestamp,
    pub interval_micros: i64,
    /// The sender's new time of the next call, to be stored.
    pub next_at: Timestamp,
    /// When to ask again, if nothing was granted.
    pub again_at: Option<Timestamp>,
}

/// Grants up to `wanted` calls at `per_second`; 0 means unlimited.
///
/// `next_at` is the time at which the next call may be made. Calls are granted up to
/// [`CLAIM_MICROS`] ahead and must be made at their own times, so that no second exceeds the pace.
pub fn take(
    next_at: Timestamp,
    now: Timestamp,
    per_second: i64,
    lane: SendingPaceShare,
    wanted: i64,
) -> SendingPaceGrant {
    let next_at = horizon::until(next_at, now, FURTHEST_MICROS);
    if per_second <= 0 {
        return SendingPaceGrant {
            calls: wanted.max(0),
            first_at: now,
            interval_micros: 0,
            next_at,
            again_at: None,
        };
    }
    // Rounded up: the pace is a limit.
    let interval = (SPACED_MICROS - 1 + per_second) / per_second;
    // After a pause, no distance to earlier calls is needed.
    let start = if now.micros_since(next_at) > CLAIM_MICROS {
        now
    } else {
        next_at.max(now.plus_micros(LEAD_MICROS))
    };
    let ahead = start.micros_since(now);
    let limit = match lane {
        SendingPaceShare::Otp => {
            (CLAIM_MICROS + LEAD_MICROS).max(LEAD_MICROS + interval * (1 + KEPT_FOR_OTP))
        }
        SendingPaceShare::Ordinary => {
            (CLAIM_MICROS + LEAD_MICROS - interval * KEPT_FOR_OTP).max(LEAD_MICROS + interval)
        }
    };
    let room = (limit - ahead).max(0) / interval;
    let least = match lane {
        SendingPaceShare::Otp => 1,
        SendingPaceShare::Ordinary => (limit / LEAST_PART / interval).clamp(1, wanted.max(1)),
    };
    let calls = if room < least {
        0
    } else {
        wanted.max(0).min(room)
    };
    SendingPaceGrant {
        calls,
        first_at: start,
        interval_micros: interval,
        next_at: if calls == 0 {
            next_at
        } else {
            start.plus_micros(calls * interval)
        },
        again_at: (calls == 0).then(|| {
            start
                .plus_micros(least * interval - limit)
                .max(now.plus_micros(1))
        }),
    }
}

/// Calls that are late by this much are rescheduled, in microseconds.
const LATE_MICROS: i64 = 20_000;

/// Reschedules calls whose times have passed while their claim was committed: to the next free
/// times, an interval apart. Returns the first time, or `None` if they are not late. They were
/// charged already, but made now they would come on top of the calls that are due now.
pub fn again(
    next_at: Timestamp,
    first_at: Timestamp,
    interval_micros: i64,
    now: Timestamp,
) -> Option<Timestamp> {
    let late = interval_micros > 0 && now.micros_since(first_at) > LATE_MICROS;
    late.then(|| horizon::until(next_at, now, FURTHEST_MICROS).max(now))
}

/// Minimum distance between two calls of a delayed process, in microseconds: late calls are not
/// made up for in a burst.
pub const fn least_apart_micros(interval_micros: i64) -> i64 {
    interval_micros * 1_000_000 / SPACED_MICROS
}

/// Time until the whole pace is back after a request to slow down.
const RECOVERY_MICROS: i64 = 60_000_000;

/// A sender is never slowed down below so many thousandths.
const LEAST_PERMILLE: i64 = 100;

/// Requests to slow down within this time count as one.
const SAME_MICROS: i64 = 1_000_000;

/// The usable share of the pace, in thousandths, after it was `slowed_to` a share at `slowed_at`:
/// it recovers gradually. A time in the future slows nothing down.
pub fn permille(slowed_to: i64, slowed_at: Timestamp, now: Timestamp) -> i64 {
    if horizon::is_ahead(slowed_at, now) {
        return 1000;
    }
    let passed = now.micros_since(slowed_at).clamp(0, RECOVERY_MICROS);
    let slowed_to = slowed_to.clamp(LEAST_PERMILLE, 1000);
    slowed_to + (1000 - slowed_to) * passed / RECOVERY_MICROS
}

/// The share to slow down to, in thousandths, when a provider reports a rate limit: half of the
/// present one. `None` if that was just done.
pub fn slower(slowed_to: i64, slowed_at: Timestamp, now: Timestamp) -> Option<i64> {
    let known = slowed_to < 1000 && horizon::is_recent(slowed_at, now, SAME_MICROS);
    (!known).then(|| (permille(slowed_to, slowed_at, now) / 2).max(LEAST_PERMILLE))
}

/// The reduced pace: at least one per second. Unlimited stays so until it is slowed down, and then
/// starts from Meta's highest throughput.
pub fn reduced(per_second: i64, permille: i64) -> i64 {
    match (per_second, permille) {
        (0, 1000..) => 0,
        (per_second, permille) => {
            let full = if per_second <= 0 { 1000 } else { per_second };
            (full * permille.clamp(LEAST_PERMILLE, 1000) / 1000).max(1)
        }
    }
}

impl SenderContactPaceSettings {
    /// A correct clock writes the time of a pair at most this far ahead: the burst, one message
    /// more, and the pause that a provider asks for when it was too fast.
    pub fn furthest_micros(self) -> i64 {
        let interval = self.interval_seconds.max(0).saturating_mul(1_000_000);
        self.ahead_micros()
            .saturating_add(interval)
            .saturating_add(retry::pair_pause_micros(1))
    }

    fn ahead_micros(self) -> i64 {
        (self.burst.max(1) - 1) * self.interval_seconds * 1_000_000
    }

    /// Takes one message: the pair's new time, or when to ask again.
    pub fn take(self, next_at: Timestamp, now: Timestamp) -> Result<Timestamp, Timestamp> {
        let start = horizon::until(next_at, now, self.furthest_micros()).max(now);
        if start.micros_since(now) > self.ahead_micros() {
            return Err(start.plus_micros(-self.ahead_micros()));
        }
        Ok(start.plus_seconds(self.interval_seconds))
    }

    /// How many messages a contact may get now, and when to ask again after them.
    pub fn room(self, mut next_at: Timestamp, now: Timestamp) -> (i64, Timestamp) {
        let burst = self.burst.max(1);
        for room in 0..burst {
            match self.take(next_at, now) {
                Ok(later) => next_at = later,
                Err(until) => return (room, until),
            }
        }
        (burst, next_at.plus_micros(-self.ahead_micros()))
    }

    /// The pair's time that allows nothing before a given time.
    pub fn closed_until(self, until: Timestamp) -> Timestamp {
        until.plus_micros(self.ahead_micros())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        LATE_MICROS, SenderContactPaceSettings, SendingPaceShare, again, permille, reduced, slower,
        take,
    };
    use crate::domain::{retry, time::Timestamp};

    const START: Timestamp = Timestamp::from_unix_seconds(1);

    proptest! {
        #[test]
        fn no_sliding_second_sees_more_than_the_pace(
            per_second in 1_i64..1200,
            asks in prop::collection::vec((0_i64..400_000, 0_i64..300, any::<bool>()), 1..60),
        ) {
            let mut now = START;
            let mut next_at = Timestamp::default();
            let mut made: Vec<i64> = Vec::new();
            for (pause_micros, wanted, otp) in asks {
                now = now.plus_micros(pause_micros);
                let lane = if otp { SendingPaceShare::Otp } else { SendingPaceShare::Ordinary };
                let grant = take(next_at, now, per_second, lane, wanted);
                prop_assert!(grant.calls >= 0 && grant.calls <= wanted);
                prop_assert_eq!(grant.again_at.is_some(), grant.calls == 0);
                next_at = grant.next_at;
                for call in 0..grant.calls {
                    let at = grant.first_at.plus_micros(call * grant.interval_micros);
                    prop_assert!(at >= now);
                    made.push(at.micros());
                }
            }
            prop_assert!(made.is_sorted());
            for (index, first) in made.iter().enumerate() {
                let within = made.iter().skip(index).take_while(|at| *at - first < 1_000_000).count();
                prop_assert!(i64::try_from(within).unwrap() <= per_second, "{within} at {per_second}/s");
            }
        }

        #[test]
        fn however_long_the_backlog_a_one_time_password_leaves_at_once(per_second in 1_i64..1200, now_micros in 0_i64..5_000_000) {
            let now = START.plus_micros(now_micros);
            let mut next_at = Timestamp::default();
            loop {
                let grant = take(next_at, now, per_second, SendingPaceShare::Ordinary, 1000);
                next_at = grant.next_at;
                if grant.calls == 0 {
                    break;
                }
            }
            prop_assert!(take(next_at, now, per_second, SendingPaceShare::Otp, 1).calls == 1);
        }

        #[test]
        fn nobody_gets_more_than_the_burst_and_one_in_an_interval(
            asks in prop::collection::vec(0_i64..20_000_000, 1..200),
        ) {
            let pair = SenderContactPaceSettings { interval_seconds: 6, burst: 45 };
            let mut now = START;
            let mut next_at = Timestamp::default();
            let mut made: Vec<Timestamp> = Vec::new();
            for pause_micros in asks {
                now = now.plus_micros(pause_micros);
                match pair.take(next_at, now) {
                    Ok(next) => {
                        next_at = next;
                        made.push(now);
                    }
                    Err(again_at) => {
                        prop_assert!(again_at > now);
                        prop_assert!(pair.take(next_at, again_at).is_ok());
                    }
                }
            }
            for (index, first) in made.iter().enumerate() {
                for (count, at) in (1_i64..).zip(made.iter().skip(index)) {
                    prop_assert!(count <= 45 + at.micros_since(*first) / 6_000_000);
                }
            }
        }
    }

    #[test]
    fn an_unlimited_pace_grants_everything() {
        assert_eq!(
            take(START, START, 0, SendingPaceShare::Ordinary, 1000).calls,
            1000
        );
    }

    #[test]
    fn calls_whose_moments_have_passed_get_the_next_free_ones() {
        let late = START.plus_micros(300_000);
        assert_eq!(
            again(START, START, 1000, START.plus_micros(LATE_MICROS)),
            None
        );
        assert_eq!(
            again(START, START, 0, late),
            None,
            "an unlimited pace has no moments"
        );
        assert_eq!(again(START, START, 1000, late), Some(late));
        let taken_until = late.plus_micros(40_000);
        assert_eq!(again(taken_until, START, 1000, late), Some(taken_until));
    }

    #[test]
    fn a_refused_ask_says_when_to_come_back() {
        let first = take(
            Timestamp::default(),
            START,
            80,
            SendingPaceShare::Ordinary,
            100,
        );
        assert_eq!(first.calls, 19);
        let second = take(first.next_at, START, 80, SendingPaceShare::Ordinary, 1);
        assert_eq!(second.calls, 0);
        let again = second.again_at.unwrap();
        assert_eq!(
            take(second.next_at, again, 80, SendingPaceShare::Ordinary, 1).calls,
            1
        );
    }

    #[test]
    fn who_is_asked_to_slow_down_goes_at_half_and_comes_back_in_a_minute() {
        let later = |seconds| START.plus_seconds(seconds);
        assert_eq!(permille(1000, Timestamp::default(), START), 1000);
        let slowed = slower(1000, Timestamp::default(), START).unwrap();
        assert_eq!(slowed, 500);
        assert_eq!(slower(slowed, START, START), None, "it is one request");
        assert_eq!(slower(slowed, START, later(2)), Some(258));
        assert_eq!(permille(slowed, START, later(30)), 750);
        assert_eq!(permille(slowed, START, later(600)), 1000);
        assert_eq!(slower(100, START, later(2)), Some(100), "never to nothing");
        assert_eq!((reduced(80, 500), reduced(1, 100)), (40, 1));
        assert_eq!((reduced(0, 1000), reduced(0, 500)), (0, 500));
    }

    #[test]
    fn a_pair_has_room_for_what_it_lets_pass() {
        let pair = SenderContactPaceSettings {
            interval_seconds: 6,
            burst: 45,
        };
        let untouched = Timestamp::default();
        assert_eq!(pair.room(untouched, START), (45, START.plus_seconds(6)));
        for (taken, later, room, until) in [
            (45, 0, 0, 6),
            (45, 5, 0, 6),
            (45, 6, 1, 12),
            (45, 13, 2, 18),
            (40, 0, 5, 6),
        ] {
            let mut next_at = untouched;
            for _ in 0..taken {
                next_at = pair.take(next_at, START).unwrap();
            }
            let now = START.plus_seconds(later);
            assert_eq!(
                pair.room(next_at, now),
                (room, START.plus_seconds(until)),
                "{taken} taken, {later} s later"
            );
        }
    }

    #[test]
    fn a_closed_pair_lets_nothing_pass_until_then() {
        let pair = SenderContactPaceSettings {
            interval_seconds: 6,
            burst: 45,
        };
        let until = START.plus_micros(retry::pair_pause_micros(1));
        let closed = pair.closed_until(until);
        assert_eq!(pair.take(closed, START), Err(until));
        assert!(pair.take(closed, until).is_ok());
        // No provider asks for so much: a clock was ahead.
        let ahead = START.plus_seconds(6 * 3600);
        assert_eq!(pair.take(ahead, START), Ok(START.plus_seconds(6)));
    }
}
