//! One-time passwords that Herald makes and checks.

use super::{MINUTE_SECONDS, section};
use crate::domain::rate_window::RateWindow;

section! {
    /// Limits of verifications (`POST /api/v1/verifications`).
    #[derive(Clone, Copy, Debug)]
    pub struct VerificationSettings {
        /// Wrong codes that one verification takes.
        #[setting("HERALD_VERIFICATION_TRIES" = "3", number(1, 5))]
        pub tries: i64,
        /// Wrong codes for one address and purpose within an hour, over all its verifications:
        /// checks are locked for ten minutes then. NIST SP 800-63B-4 allows 100 in a row.
        #[setting("HERALD_VERIFICATION_FAILURES_PER_HOUR" = "10", number(1, 100))]
        pub failures_per_hour: usize,
        /// Codes sent to one address within ten minutes, resends included.
        #[setting("HERALD_VERIFICATION_SENDS_PER_ADDRESS" = "5", number(1, 1000))]
        pub sends_per_address: usize,
        /// Codes sent within ten minutes to phone numbers that differ in their last four digits
        /// only: fraud that is paid by the message goes through such blocks.
        #[setting("HERALD_VERIFICATION_SENDS_PER_PREFIX" = "5", number(1, 100_000))]
        pub sends_per_prefix: usize,
        /// Codes sent within ten minutes for one `client_address` (of IPv6: its /64 network).
        #[setting("HERALD_VERIFICATION_SENDS_PER_CLIENT" = "5", number(1, 100_000))]
        pub sends_per_client: usize,
        /// A code that was not delivered after this many seconds goes out by the next channel.
        #[setting("HERALD_VERIFICATION_FALLBACK_SECONDS" = "30", number(5, 600))]
        pub fallback_seconds: i64,
    }
}

/// The window in which sends are counted, in seconds.
const SENDS_SECONDS: i64 = 10 * MINUTE_SECONDS;

/// The window in which failures are counted, in seconds.
const FAILURES_SECONDS: i64 = 60 * MINUTE_SECONDS;

/// How long checks are locked, in seconds.
pub const LOCK_SECONDS: i64 = 10 * MINUTE_SECONDS;

impl VerificationSettings {
    pub const fn failures(&self) -> RateWindow {
        RateWindow {
            most: self.failures_per_hour,
            seconds: FAILURES_SECONDS,
        }
    }

    pub const fn sends(&self, most: usize) -> RateWindow {
        RateWindow {
            most,
            seconds: SENDS_SECONDS,
        }
    }
}
