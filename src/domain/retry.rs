//! Decides after a call whether and when its message is tried again. When a held sender is:
//! [`sender_health`](super::sender_health).

use super::{
    category::MessageCategory,
    failure::{DeliveryFailure, FailureClass},
    outcome::ProviderCallOutcome,
    settings::RetryPolicy,
    time::Timestamp,
};

/// No delay of a message that failed is longer, in seconds.
const CAP_SECONDS: i64 = 24 * 60 * 60;

/// The next step after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// The provider has accepted the message.
    Accepted,
    /// Try again at this time. `uses_try` if the answer concerned the message.
    Again { at: Timestamp, uses_try: bool },
    /// The outcome is unknown: wait for a callback, or for the policy.
    Await,
    /// Final failure.
    Fail(DeliveryFailure),
}

/// Delay before attempt number `tries + 1`, in microseconds: doubled for each
/// try, capped, and spread over its upper half by `jitter_permille` (0 to 1000).
pub fn backoff_micros(policy: &RetryPolicy, tries: i64, jitter_permille: i64) -> i64 {
    let doublings = u32::try_from(tries.clamp(1, 30) - 1).unwrap_or(0);
    let full = policy
        .base_seconds
        .saturating_mul(1_i64 << doublings)
        .clamp(0, CAP_SECONDS)
        .saturating_mul(1_000_000);
    full / 2 + full / 2000 * jitter_permille.clamp(0, 1000)
}

/// Pause of a message that is fine while the sender or the provider is not, in microseconds: two
/// seconds, doubled for each consecutive failure, at most a quarter of an hour, spread over its
/// upper half.
pub fn pause_micros(in_a_row: i64, jitter_permille: i64) -> i64 {
    let full = (2_000_000_i64 << in_a_row.clamp(0, 9)).min(900_000_000);
    full / 2 + full / 2000 * jitter_permille.clamp(0, 1000)
}

/// Pause of a message whose recipient gets too many, in microseconds: `4^x` seconds, `x` from 0
/// (Meta, "Pair rate limits"), at most an hour.
pub fn pair_pause_micros(in_a_row: i64) -> i64 {
    (1_000_000_i64 << (2 * (in_a_row - 1).clamp(0, 6))).min(3_600_000_000)
}

/// Marketing that its provider does not deliver to a recipient is retried after this many seconds
/// (Meta, code 131049: not within 24 hours).
pub const MARKETING_AGAIN_SECONDS: i64 = 24 * 60 * 60;

/// Longest pause after a `failed` callback that grew from earlier ones.
const SETTLE_CAP_SECONDS: i64 = 24 * 60 * 60;

/// Hold of marketing for a number reported as spam, in seconds.
pub const SPAM_SECONDS: i64 = 24 * 60 * 60;

/// The history of a message, including the present answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryHistory {
    /// Attempts of this generation that failed for a reason in the message.
    pub tries: i64,
    /// Attempts of this generation with a failure of the same class.
    pub of_this_class: i64,
    /// Consecutive failures of the provider since the last real answer.
    pub in_a_row: i64,
    pub category: MessageCategory,
}

/// Decides the next step after an answer.
pub fn after(
    outcome: &ProviderCallOutcome,
    tried: RetryHistory,
    now: Timestamp,
    jitter_permille: i64,
    policy: &RetryPolicy,
) -> RetryDecision {
    let failure = match outcome {
        ProviderCallOutcome::Accepted { .. } => return RetryDecision::Accepted,
        ProviderCallOutcome::Unknown { .. } => return RetryDecision::Await,
        ProviderCallOutcome::Unavailable { .. } => {
            return RetryDecision::Again {
                // The sender's hold covers an outage: its messages need not wait much longer.
                at: now.plus_micros(pause_micros(tried.in_a_row.min(5), jitter_permille)),
                uses_try: false,
            };
        }
        ProviderCallOutcome::Refused(failure) => failure,
    };
    let marketing = tried.category == MessageCategory::Marketing;
    let again = |micros| RetryDecision::Again {
        at: now.plus_micros(micros),
        uses_try: failure.class.is_about_the_message(),
    };
    match failure.class {
        FailureClass::Retry | FailureClass::Unknown | FailureClass::Spam
            if tried.tries < policy.max_tries =>
        {
            again(backoff_micros(policy, tried.tries, jitter_permille))
        }
        FailureClass::MarketingLimit if marketing && tried.of_this_class <= 1 => {
            again(MARKETING_AGAIN_SECONDS * 1_000_000)
        }
        // The message is fine; the obstacle is held or slowed down elsewhere.
        FailureClass::PaceNumber
        | FailureClass::Token
        | FailureClass::Account
        | FailureClass::TemplatePaused => again(pause_micros(tried.in_a_row, jitter_permille)),
        FailureClass::PacePair => again(pair_pause_micros(tried.in_a_row)),
        FailureClass::WaitUntil => {
            let seconds = failure.wait_seconds.unwrap_or(60).max(1);
            again(seconds * (1_000_000 + 100 * jitter_permille.clamp(0, 1000)))
        }
        FailureClass::Retry
        | FailureClass::Unknown
        | FailureClass::Spam
        | FailureClass::MarketingLimit
        | FailureClass::NeedsTemplate
        | FailureClass::FixRequest
        | FailureClass::RecipientGone
        | FailureClass::AddressRejected
        | FailureClass::OptedOut
        | FailureClass::TemplateDisabled
        | FailureClass::TemplateTrouble => RetryDecision::Fail(failure.clone()),
    }
}

/// Pause before another attempt after a `failed` callback, in seconds; `None`: no retry.
/// `settle_seconds` is the first and shortest pause; it doubles each time, up to a day.
pub fn after_callback(
    failure: &DeliveryFailure,
    tried: RetryHistory,
    settle_seconds: i64,
) -> Option<i64> {
    let doublings = (tried.tries - 1).clamp(0, 20);
    let pause = settle_seconds
        .saturating_mul(1_i64 << doublings)
        .min(settle_seconds.max(SETTLE_CAP_SECONDS));
    match failure.class {
        FailureClass::Retry | FailureClass::PaceNumber | FailureClass::PacePair => Some(pause),
        FailureClass::WaitUntil => Some(pause.max(failure.wait_seconds.unwrap_or(0))),
        FailureClass::MarketingLimit
            if tried.category == MessageCategory::Marketing && tried.of_this_class <= 1 =>
        {
            Some(settle_seconds.max(MARKETING_AGAIN_SECONDS))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        CAP_SECONDS, MARKETING_AGAIN_SECONDS, RetryDecision, RetryHistory, RetryPolicy, after,
        after_callback, backoff_micros, pair_pause_micros,
    };
    use crate::domain::{
        category::MessageCategory,
        failure::{DeliveryFailure, FailureClass},
        outcome::ProviderCallOutcome,
        time::Timestamp,
    };

    const POLICY: RetryPolicy = RetryPolicy {
        max_tries: 3,
        base_seconds: 30,
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);

    fn of(class: FailureClass) -> DeliveryFailure {
        DeliveryFailure {
            class,
            ..DeliveryFailure::ours("test", "", "")
        }
    }

    fn decide(class: FailureClass, tried: RetryHistory) -> RetryDecision {
        after(
            &ProviderCallOutcome::Refused(of(class)),
            tried,
            NOW,
            500,
            &POLICY,
        )
    }

    proptest! {
        #[test]
        fn a_delay_grows_to_its_cap_and_never_leaves_its_bounds(tries in -5_i64..200, jitter_permille in -10_i64..2000) {
            let delay = backoff_micros(&POLICY, tries, jitter_permille);
            prop_assert!((15_000_000..=CAP_SECONDS * 1_000_000).contains(&delay), "{delay}");
            prop_assert!(backoff_micros(&POLICY, tries + 1, 500) >= backoff_micros(&POLICY, tries, 500));
        }

        #[test]
        fn a_retry_is_never_in_the_past_and_never_without_end(
            class in prop::sample::select(FailureClass::ALL.to_vec()),
            tries in 1_i64..10,
            in_a_row in -3_i64..100,
            jitter_permille in -5_i64..1200,
            category in prop::sample::select(MessageCategory::ALL.to_vec()),
        ) {
            let tried = RetryHistory { tries, of_this_class: tries, in_a_row, category };
            match after(&ProviderCallOutcome::Refused(of(class)), tried, NOW, jitter_permille, &POLICY) {
                RetryDecision::Again { at, uses_try } => {
                    prop_assert!(at > NOW && at <= NOW.plus_seconds(MARKETING_AGAIN_SECONDS));
                    prop_assert_eq!(uses_try, class.is_about_the_message());
                    prop_assert!(!uses_try || tries < POLICY.max_tries);
                }
                RetryDecision::Fail(failure) => prop_assert!(failure.class.is_about_the_message()),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn an_invalid_number_is_never_retried() {
        let tried = RetryHistory::default();
        assert!(matches!(
            decide(FailureClass::RecipientGone, tried),
            RetryDecision::Fail(_)
        ));
        assert_eq!(
            after_callback(&of(FailureClass::RecipientGone), tried, 60),
            None
        );
    }

    #[test]
    fn a_throttled_message_is_delayed_however_often() {
        for class in [FailureClass::PaceNumber, FailureClass::PacePair] {
            let tried = RetryHistory {
                tries: 99,
                in_a_row: 99,
                ..RetryHistory::default()
            };
            assert!(matches!(
                decide(class, tried),
                RetryDecision::Again {
                    uses_try: false,
                    ..
                }
            ));
        }
    }

    #[test]
    fn marketing_held_back_by_the_provider_waits_a_day_once_and_nothing_else_does() {
        let tried = |category, of_this_class| RetryHistory {
            tries: of_this_class,
            of_this_class,
            in_a_row: 0,
            category,
        };
        let limit = FailureClass::MarketingLimit;
        assert_eq!(
            decide(limit, tried(MessageCategory::Marketing, 1)),
            RetryDecision::Again {
                at: NOW.plus_seconds(MARKETING_AGAIN_SECONDS),
                uses_try: true
            }
        );
        assert!(matches!(
            decide(limit, tried(MessageCategory::Marketing, 2)),
            RetryDecision::Fail(_)
        ));
        assert!(matches!(
            decide(limit, tried(MessageCategory::Utility, 1)),
            RetryDecision::Fail(_)
        ));
        let day = Some(MARKETING_AGAIN_SECONDS);
        assert_eq!(
            after_callback(&of(limit), tried(MessageCategory::Marketing, 1), 60),
            day
        );
        assert_eq!(
            after_callback(&of(limit), tried(MessageCategory::Marketing, 2), 60),
            None
        );
    }

    #[test]
    fn a_pair_waits_four_to_the_power_of_how_often() {
        let seconds = |in_a_row| pair_pause_micros(in_a_row) / 1_000_000;
        assert_eq!([1, 2, 3, 4].map(seconds), [1, 4, 16, 64]);
        assert_eq!(seconds(99), 3600);
    }

    #[test]
    fn a_wait_is_as_long_as_the_provider_asks() {
        let failure = DeliveryFailure {
            wait_seconds: Some(300),
            ..of(FailureClass::WaitUntil)
        };
        let next = after(
            &ProviderCallOutcome::Refused(failure.clone()),
            RetryHistory::default(),
            NOW,
            0,
            &POLICY,
        );
        assert_eq!(
            next,
            RetryDecision::Again {
                at: NOW.plus_seconds(300),
                uses_try: false
            }
        );
        assert_eq!(
            after_callback(&failure, RetryHistory::default(), 60),
            Some(300)
        );
    }

    #[test]
    fn pauses_after_failed_callbacks_double_to_a_day() {
        let failure = of(FailureClass::Retry);
        let pause = |tries| {
            let tried = RetryHistory {
                tries,
                ..RetryHistory::default()
            };
            after_callback(&failure, tried, 60)
        };
        for (tries, seconds) in [
            (0, 60),
            (1, 60),
            (2, 120),
            (3, 240),
            (11, 61_440),
            (12, 86_400),
            (500, 86_400),
        ] {
            assert_eq!(pause(tries), Some(seconds), "{tries}");
        }
        // The cap does not shorten a longer setting.
        assert_eq!(
            after_callback(&failure, RetryHistory::default(), 100_000),
            Some(100_000)
        );
    }

    #[test]
    fn a_lost_answer_is_awaited_not_repeated() {
        let lost = ProviderCallOutcome::Unknown {
            reason: String::new(),
        };
        assert_eq!(
            after(&lost, RetryHistory::default(), NOW, 500, &POLICY),
            RetryDecision::Await
        );
    }
}
