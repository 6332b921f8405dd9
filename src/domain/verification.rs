//! One-time passwords that Herald makes, sends and checks: their states, their codes, and what a
//! check comes to.

use secrecy::SecretString;

use super::{horizon::has_come, time::Timestamp, word_enum::words};

words! {
    /// The state of a verification, as stored and shown.
    pub enum VerificationStatus {
        /// Its code can be entered.
        Pending = "pending",
        /// The code was entered.
        Approved = "approved",
        /// Its time is over.
        Expired = "expired",
        /// Every try was used up.
        TooMany = "too_many",
        /// Its caller has given it up.
        Cancelled = "cancelled",
    }
}

words! {
    /// What a check comes to.
    pub enum VerificationCheckResult {
        /// The code is right, and is used up by this.
        Approved = "approved",
        Wrong = "wrong",
        /// The code's time is over, or the verification was cancelled.
        Expired = "expired",
        /// It was approved before: a code is accepted once (NIST SP 800-63B-4, 3.1.3).
        Used = "used",
        /// No tries are left.
        TooMany = "too_many",
    }
}

impl VerificationStatus {
    /// What a check comes to without a look at the code; `None` if the code decides.
    pub const fn settled(self) -> Option<VerificationCheckResult> {
        match self {
            Self::Pending => None,
            Self::Approved => Some(VerificationCheckResult::Used),
            Self::Expired | Self::Cancelled => Some(VerificationCheckResult::Expired),
            Self::TooMany => Some(VerificationCheckResult::TooMany),
        }
    }

    /// The status at a time: one whose time is over is expired, whatever the row says, and so is one
    /// whose end lies further ahead than it can, because a clock was set back.
    #[must_use]
    pub fn at(self, expires_at: Timestamp, now: Timestamp) -> Self {
        if self == Self::Pending && has_come(expires_at, now, LONGEST_MICROS) {
            Self::Expired
        } else {
            self
        }
    }
}

/// Digits of a code: six is what NIST SP 800-63B-4 (3.1.3) asks for at least.
pub const CODE_LENGTHS: std::ops::RangeInclusive<usize> = 6..=8;

/// Seconds that a code may be valid: ten minutes at most (NIST SP 800-63B-4, 3.1.3).
pub const CODE_LIFETIMES: std::ops::RangeInclusive<i64> = 30..=600;

/// The longest of them, in microseconds.
const LONGEST_MICROS: i64 = *CODE_LIFETIMES.end() * 1_000_000;

/// A code of `length` digits, leading zeros included. `random` is uniform; of its 2^64 values none
/// of the 10^8 codes gets more than one in 10^11 too many.
pub fn code(length: usize, random: u64) -> SecretString {
    let length = length.clamp(*CODE_LENGTHS.start(), *CODE_LENGTHS.end());
    let codes = (0..length).fold(1_u128, |codes, _| codes * 10);
    let number = (u128::from(random) * codes) >> 64;
    SecretString::from(format!("{number:0length$}"))
}

/// Whether a caller's own code may be used: as long as one of ours, of digits and Latin letters.
pub fn is_own_code(code: &str) -> bool {
    CODE_LENGTHS.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a person typed, without the blanks and hyphens by which messages and keyboards group
/// digits.
pub fn entered(code: &str) -> String {
    code.chars()
        .filter(|it| !it.is_whitespace() && *it != '-')
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::{VerificationCheckResult, VerificationStatus, code, entered, is_own_code};
    use crate::domain::time::Timestamp;

    #[test]
    fn codes_reach_from_all_zeros_to_all_nines() {
        for length in 6..=8 {
            assert_eq!(code(length, 0).expose_secret(), "0".repeat(length));
            assert_eq!(code(length, u64::MAX).expose_secret(), "9".repeat(length));
        }
    }

    #[test]
    fn own_codes_are_as_long_as_ours_and_of_what_can_be_typed() {
        for (own, may) in [
            ("482913", true),
            ("00000000", true),
            ("A7K2QX", true),
            ("12345", false),
            ("123456789", false),
            ("12 456", false),
            ("12345é", false),
        ] {
            assert_eq!(is_own_code(own), may, "{own}");
        }
    }

    #[test]
    fn what_groups_digits_is_not_part_of_a_code() {
        assert_eq!(entered(" 482 913\n"), "482913");
        assert_eq!(entered("482-913"), "482913");
    }

    #[test]
    fn a_pending_one_expires_with_its_time_and_nothing_else_does() {
        let (then, later) = (Timestamp::from_micros(5), Timestamp::from_micros(6));
        for status in VerificationStatus::ALL.iter().copied() {
            let expected = if status == VerificationStatus::Pending {
                VerificationStatus::Expired
            } else {
                status
            };
            assert_eq!(status.at(then, later), expected);
            assert_eq!(status.at(later, then), status);
        }
        assert_eq!(
            VerificationStatus::Approved.settled(),
            Some(VerificationCheckResult::Used)
        );
    }

    proptest! {
        #[test]
        fn a_code_has_its_length_and_digits_only(length in 6_usize..=8, random: u64) {
            let code = code(length, random);
            prop_assert_eq!(code.expose_secret().len(), length);
            prop_assert!(code.expose_secret().bytes().all(|it| it.is_ascii_digit()));
            prop_assert!(is_own_code(code.expose_secret()));
        }
    }
}
