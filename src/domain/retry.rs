//! What to do after a call: once more and when, or not.

use super::{
    failure::{Failure, FailureClass},
    outcome::Outcome,
    time::Timestamp,
};

/// How often and how fast to try again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts that may fail for a reason of the message itself.
    pub max_tries: i64,
    /// Delay before the second attempt, in seconds; it doubles each time.
    pub base_seconds: i64,
    /// No delay is longer, in seconds.
    pub cap_seconds: i64,
}

/// What follows a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The message is with the provider.
    Accepted,
    /// Once more at this time. `uses_try` when the answer was about the message.
    Again { at: Timestamp, uses_try: bool },
    /// Nobody knows: wait for a callback, or for the policy.
    Await,
    /// It will not work.
    Fail(Failure),
}

/// Delay before attempt number `tries + 1`, in microseconds: doubled for each
/// try, capped, and spread over its upper half by `jitter_permille` (0 to 1000).
pub fn backoff_micros(policy: &RetryPolicy, tries: i64, jitter_permille: i64) -> i64 {
    let doublings = u32::try_from(tries.clamp(1, 30) - 1).unwrap_or(0);
    let full = policy
        .base_seconds
        .saturating_mul(1_i64 << doublings)
        .clamp(0, policy.cap_seconds.max(0))
        .saturating_mul(1_000_000);
    full / 2 + full / 2000 * jitter_permille.clamp(0, 1000)
}

/// The pause of a message that is fine while the sender or the provider is not,
/// in microseconds: two seconds, doubled for each trouble in a row, at most a
/// quarter of an hour, spread over its upper half.
pub fn pause_micros(in_a_row: i64, jitter_permille: i64) -> i64 {
    let full = (2_000_000_i64 << in_a_row.clamp(0, 9)).min(900_000_000);
    full / 2 + full / 2000 * jitter_permille.clamp(0, 1000)
}

/// Decides after an answer.
///
/// `tries` counts the attempts of this generation that failed for a reason of
/// the message, this one included; `in_a_row` counts the provider's own
/// troubles since the last real answer, this one included.
pub fn after(
    outcome: &Outcome,
    tries: i64,
    in_a_row: i64,
    now: Timestamp,
    jitter_permille: i64,
    policy: &RetryPolicy,
) -> Next {
    match outcome {
        Outcome::Accepted { .. } => Next::Accepted,
        Outcome::Unknown { .. } => Next::Await,
        Outcome::Unavailable { .. } => Next::Again {
            // The sender's hold paces an outage: its messages need not wait much longer.
            at: now.plus_micros(pause_micros(in_a_row.min(5), jitter_permille)),
            uses_try: false,
        },
        Outcome::Refused(failure) => match failure.class {
            FailureClass::Retry | FailureClass::Unknown if tries < policy.max_tries => {
                Next::Again {
                    at: now.plus_micros(backoff_micros(policy, tries, jitter_permille)),
                    uses_try: true,
                }
            }
            // The message is fine; the sender is held or slowed down elsewhere.
            FailureClass::Pace | FailureClass::Token | FailureClass::Account => Next::Again {
                at: now.plus_micros(pause_micros(in_a_row, jitter_permille)),
                uses_try: false,
            },
            FailureClass::Retry
            | FailureClass::Unknown
            | FailureClass::NeedsTemplate
            | FailureClass::FixRequest
            | FailureClass::RecipientGone
            | FailureClass::OptedOut
            | FailureClass::TemplateTrouble => Next::Fail(failure.clone()),
        },
    }
}

/// How long the sender is held before one call probes the provider again, in
/// microseconds: a second, doubled each time, at most a minute.
pub fn probe_after_micros(failures_in_row: i64) -> i64 {
    let doublings = (failures_in_row - BREAKER_THRESHOLD).clamp(0, 6);
    (1_000_000_i64 << doublings).min(60_000_000)
}

/// So many provider troubles in a row hold the sender.
pub const BREAKER_THRESHOLD: i64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Next, RetryPolicy, after, backoff_micros, probe_after_micros};
    use crate::domain::{
        failure::{Failure, FailureClass},
        outcome::Outcome,
        time::Timestamp,
    };

    const POLICY: RetryPolicy = RetryPolicy {
        max_tries: 3,
        base_seconds: 30,
        cap_seconds: 900,
    };

    fn refused(class: FailureClass) -> Outcome {
        Outcome::Refused(Failure {
            class,
            ..Failure::ours("test", "", "")
        })
    }

    proptest! {
        #[test]
        fn a_delay_grows_to_its_cap_and_never_leaves_its_bounds(tries in -5_i64..200, jitter_permille in -10_i64..2000) {
            let delay = backoff_micros(&POLICY, tries, jitter_permille);
            prop_assert!((15_000_000..=900_000_000).contains(&delay), "{delay}");
            prop_assert!(backoff_micros(&POLICY, tries + 1, 500) >= backoff_micros(&POLICY, tries, 500));
        }

        #[test]
        fn a_retry_is_never_in_the_past_and_never_without_end(tries in 1_i64..10, jitter_permille in 0_i64..1000) {
            let now = Timestamp::from_unix_seconds(1_000);
            match after(&refused(FailureClass::Retry), tries, 0, now, jitter_permille, &POLICY) {
                Next::Again { at, uses_try } => prop_assert!(at > now && uses_try && tries < 3),
                Next::Fail(_) => prop_assert!(tries >= 3),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn an_invalid_number_is_never_retried() {
        let now = Timestamp::from_unix_seconds(1_000);
        let next = after(
            &refused(FailureClass::RecipientGone),
            1,
            0,
            now,
            500,
            &POLICY,
        );
        assert!(matches!(next, Next::Fail(_)));
    }

    #[test]
    fn a_throttled_message_is_delayed_however_often() {
        let now = Timestamp::from_unix_seconds(1_000);
        let next = after(&refused(FailureClass::Pace), 99, 1, now, 500, &POLICY);
        assert!(matches!(
            next,
            Next::Again {
                uses_try: false,
                ..
            }
        ));
    }

    #[test]
    fn a_lost_answer_is_awaited_not_repeated() {
        let now = Timestamp::from_unix_seconds(1_000);
        let next = after(
            &Outcome::Unknown {
                reason: String::new(),
            },
            0,
            1,
            now,
            500,
            &POLICY,
        );
        assert_eq!(next, Next::Await);
    }

    #[test]
    fn probes_back_off_to_a_minute() {
        assert_eq!(probe_after_micros(5), 1_000_000);
        assert_eq!(probe_after_micros(7), 4_000_000);
        assert_eq!(probe_after_micros(500), 60_000_000);
    }
}
