//! Limits of how far in the future a stored timestamp can be.
//!
//! Clocks are changed in both directions. A timestamp written by a clock that was hours ahead would
//! hold up its row for hours after the clock is right again. Every kind of timestamp that is waited
//! for has a limit for how far ahead a correct clock can write it; a timestamp beyond the limit is
//! not honoured.

use super::{
    settings::{DeliveryPolicySettings, SenderContactPaceSettings},
    time::Timestamp,
};

/// Difference between the clocks of one installation that is normal, in microseconds.
pub const TOLERANCE_MICROS: i64 = 2_000_000;

const SECOND_MICROS: i64 = 1_000_000;

/// Whether a row was written at a time in the future: the clock was ahead then, or has been put
/// back since.
pub const fn is_ahead(written_at: Timestamp, now: Timestamp) -> bool {
    written_at.micros_since(now) > TOLERANCE_MICROS
}

/// The time to wait for: `at`, or `now` if it is further in the future than possible.
pub fn until(at: Timestamp, now: Timestamp, furthest_micros: i64) -> Timestamp {
    let furthest = now.plus_micros(furthest_micros.saturating_add(TOLERANCE_MICROS));
    if at > furthest { now } else { at }
}

/// Whether a time has come, or is further in the future than possible.
pub fn has_come(at: Timestamp, now: Timestamp, furthest_micros: i64) -> bool {
    until(at, now, furthest_micros) <= now
}

/// Whether something happened less than `within_micros` ago. False for a time in the future: it is
/// not known when that happened.
pub const fn is_recent(at: Timestamp, now: Timestamp, within_micros: i64) -> bool {
    now.micros_since(at) < within_micros && !is_ahead(at, now)
}

/// By how much a clock was put forward (or back: negative) between two readings, in microseconds,
/// if by more than the tolerance. `elapsed_micros` is the time in between on a monotonic clock.
pub const fn step(before: Timestamp, now: Timestamp, elapsed_micros: i64) -> Option<i64> {
    let step = now.micros_since(before).saturating_sub(elapsed_micros);
    if step.unsigned_abs() > TOLERANCE_MICROS.unsigned_abs() {
        Some(step)
    } else {
        None
    }
}

/// A kind of stored timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredTimestampKind {
    /// Time of a sender's next call, and since when it is slowed down.
    Pace,
    /// When a contact may get the next message of a sender.
    PairPace,
    /// When a held sender is probed, and since when it is held.
    Probe,
    /// Since when a sender has had no callback.
    Silence,
    /// Until when a sender's marketing is held.
    MarketingHold,
    /// End of the lease of a message whose call is being made.
    Lease,
    /// When an unknown outcome is decided.
    UnknownOutcome,
    /// When a queued message is due that was not scheduled for later.
    Queue,
    /// When another attempt is due.
    Retry,
    /// When a message without any callback is stale.
    Stale,
    /// End of the lease of a callback that is being applied.
    CallbackLease,
    /// When a follow-up fires.
    Timer,
    /// When a message is marked as read.
    ReadMark,
    /// Since when a template has its status.
    Template,
    /// Time of an opt-in that was recorded by hand.
    OptIn,
    /// Time of the last failed sign-in.
    LoginFailure,
    /// Expiry of a one-time link.
    LoginLink,
    /// End of a session.
    Session,
    /// The last heartbeat of a worker.
    Heartbeat,
    /// End of a one-time password, its next channel, or the end of a lock of checks.
    Verification,
}

impl StoredTimestampKind {
    pub const ALL: [Self; 20] = [
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
        Self::Verification,
    ];

    /// Its word in logs, metrics and `herald check`.
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
            Self::Verification => "verification",
        }
    }
}

/// Limits that depend on settings, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FutureTimestampLimits {
    /// A full lease of a call or a callback.
    pub lease: i64,
    /// The wait before an unknown outcome is decided.
    pub unknown: i64,
    /// The wait for the first callback after acceptance.
    pub stale: i64,
    /// A pair whose burst is used up.
    pub pair: i64,
}

impl FutureTimestampLimits {
    pub fn of(policy: &DeliveryPolicySettings, pair: SenderContactPaceSettings) -> Self {
        let micros = |seconds: i64| seconds.max(0).saturating_mul(SECOND_MICROS);
        Self {
            lease: micros(policy.lease_seconds),
            unknown: micros(policy.unknown_after_seconds),
            stale: micros(policy.stale_after_seconds),
            pair: pair.furthest_micros(),
        }
    }

    /// A probe backs off up to a minute, and waits for the lease of the previous one.
    pub fn probe(&self) -> i64 {
        self.lease.max(60 * SECOND_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        StoredTimestampKind, TOLERANCE_MICROS, has_come, is_ahead, is_recent, step, until,
    };
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
            // A time from a correct clock stays as it is.
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
        let mut names: Vec<_> = StoredTimestampKind::ALL
            .map(StoredTimestampKind::name)
            .into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), StoredTimestampKind::ALL.len());
    }
}
