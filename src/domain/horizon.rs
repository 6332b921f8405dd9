//! How far ahead of now an instant in a row can lie.
//!
//! Clocks are put forward and back. An instant that was written by a clock that was hours
//! ahead would hold up its row for hours after the clock is right again. Every kind of
//! instant that is waited for has a bound on how far ahead a right clock can write it;
//! what lies further ahead does not count as it stands.

use super::{
    settings::{PairPace, Policy},
    time::Timestamp,
};

/// Clocks of one installation differ by so much without anything being wrong, in
/// microseconds.
pub const TOLERANCE_MICROS: i64 = 2_000_000;

const SECOND_MICROS: i64 = 1_000_000;

/// Whether a row was written at an instant that is still to come: the clock was ahead
/// then, or has been put back since.
pub const fn is_ahead(written_at: Timestamp, now: Timestamp) -> bool {
    written_at.micros_since(now) > TOLERANCE_MICROS
}

/// An instant that is waited for: as it stands, or `now` when it lies further ahead than
/// it can.
pub fn until(at: Timestamp, now: Timestamp, furthest_micros: i64) -> Timestamp {
    let furthest = now.plus_micros(furthest_micros.saturating_add(TOLERANCE_MICROS));
    if at > furthest { now } else { at }
}

/// Whether an instant that is waited for has come, or lies further ahead than it can.
pub fn has_come(at: Timestamp, now: Timestamp, furthest_micros: i64) -> bool {
    until(at, now, furthest_micros) <= now
}

/// Whether something happened less than `within_micros` ago. What lies ahead did not:
/// when it happened is not known.
pub const fn is_recent(at: Timestamp, now: Timestamp, within_micros: i64) -> bool {
    now.micros_since(at) < within_micros && !is_ahead(at, now)
}

/// By how much a clock was put forward (or back: negative) between two readings, in
/// microseconds, if by more than the tolerance. `elapsed_micros` is what went by in
/// between on a monotonic clock.
pub const fn step(before: Timestamp, now: Timestamp, elapsed_micros: i64) -> Option<i64> {
    let step = now.micros_since(before).saturating_sub(elapsed_micros);
    if step.unsigned_abs() > TOLERANCE_MICROS.unsigned_abs() {
        Some(step)
    } else {
        None
    }
}

/// A kind of instant that a row keeps for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// When a sender may make its next call, and since when it is slowed down.
    Pace,
    /// When a person may get the next message of a sender.
    PairPace,
    /// When a held sender is probed, and since when it is held.
    Probe,
    /// Since when no callback has come for a sender.
    Silence,
    /// Until when the marketing of a sender is held.
    MarketingHold,
    /// Until when the process that makes a call has its message to itself.
    Lease,
    /// When it is decided what becomes of a message whose answer was lost.
    UnknownOutcome,
    /// When a queued message is due that did not ask for a later time.
    Queue,
    /// When another attempt is due.
    Retry,
    /// When a message without any callback is stale.
    Stale,
    /// Until when the process that applies a callback has it to itself.
    CallbackLease,
    /// When a follow-up fires.
    Timer,
    /// When a message is marked as read.
    ReadMark,
    /// Since when a template has its status.
    Template,
    /// Since when a person wants messages, as noted by hand.
    OptIn,
    /// When the last login failed.
    LoginFailure,
    /// Until when a one-time link lets in.
    LoginLink,
    /// Until when a person is signed in.
    Session,
    /// When a worker gave its last sign of life.
    Heartbeat,
}

impl Kind {
    pub const ALL: [Self; 19] = [
        Self::Pace,
        Self::PairPace,
        Self::Probe,
        Self::Silence,
        Self::MarketingHold,
        Self::Lease,
        Self::UnknownOutcome,
        Self::Queue,
        Self::Retry,
        Self::Stale,
        Self::CallbackLease,
        Self::Timer,
        Self::ReadMark,
        Self::Template,
        Self::OptIn,
        Self::LoginFailure,
        Self::LoginLink,
        Self::Session,
        Self::Heartbeat,
    ];

    /// One word for logs, metrics and `herald check`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pace => "pace",
            Self::PairPace => "pair_pace",
            Self::Probe => "probe",
            Self::Silence => "silence",
            Self::MarketingHold => "marketing_hold",
            Self::Lease => "lease",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Queue => "queue",
            Self::Retry => "retry",
            Self::Stale => "stale",
            Self::CallbackLease => "callback_lease",
            Self::Timer => "timer",
            Self::ReadMark => "read_mark",
            Self::Template => "template",
            Self::OptIn => "opt_in",
            Self::LoginFailure => "login_failure",
            Self::LoginLink => "login_link",
            Self::Session => "session",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// How far ahead instants can lie whose bound is a setting, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// A full lease, of a call or a callback.
    pub lease: i64,
    /// The wait for what becomes of a message whose answer was lost.
    pub unknown: i64,
    /// The wait for the first callback after a message was accepted.
    pub stale: i64,
    /// A pair whose burst is used up.
    pub pair: i64,
}

impl Horizon {
    pub fn of(policy: &Policy, pair: PairPace) -> Self {
        let micros = |seconds: i64| seconds.max(0).saturating_mul(SECOND_MICROS);
        Self {
            lease: micros(policy.lease_seconds),
            unknown: micros(policy.unknown_after_seconds),
            stale: micros(policy.stale_after_seconds),
            pair: pair.furthest_micros(),
        }
    }

    /// A probe backs off up to a minute, and waits for the lease of the one before.
    pub fn probe(&self) -> i64 {
        self.lease.max(60 * SECOND_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, TOLERANCE_MICROS, has_come, is_ahead, is_recent, step, until};
    use crate::domain::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

    proptest! {
        #[test]
        fn nothing_is_waited_for_longer_than_it_can_be(
            ahead in -100_000_000_000_i64..100_000_000_000,
            furthest in 0_i64..100_000_000_000,
        ) {
            let at = NOW.plus_micros(ahead);
            let kept = until(at, NOW, furthest);
            prop_assert!(kept.micros_since(NOW) <= furthest + TOLERANCE_MICROS);
            prop_assert_eq!(has_come(at, NOW, furthest), kept <= NOW);
            // What a right clock wrote stays as it is.
            if ahead <= furthest {
                prop_assert_eq!(kept, at);
            }
        }

        #[test]
        fn a_step_is_what_the_monotonic_clock_does_not_know_of(
            elapsed in 0_i64..10_000_000_000,
            stepped in -100_000_000_000_i64..100_000_000_000,
        ) {
            let seen = step(NOW, NOW.plus_micros(elapsed + stepped), elapsed);
            prop_assert_eq!(seen, (stepped.abs() > TOLERANCE_MICROS).then_some(stepped));
        }
    }

    #[test]
    fn what_lies_ahead_is_not_recent() {
        let at = |seconds| NOW.plus_seconds(seconds);
        assert!(is_recent(at(-5), NOW, 30_000_000) && is_recent(at(1), NOW, 30_000_000));
        assert!(!is_recent(at(-31), NOW, 30_000_000));
        assert!(!is_recent(at(3600), NOW, 30_000_000));
        assert!(is_ahead(at(3), NOW) && !is_ahead(at(2), NOW));
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let mut names: Vec<_> = Kind::ALL.map(Kind::name).into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
