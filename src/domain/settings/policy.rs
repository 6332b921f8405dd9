//! Retries, leases, and unknown outcomes.

use super::{DAY_SECONDS, section};
use crate::domain::notification::UnknownOutcomePolicies;

section! {
    /// How often and how fast to try again.
    #[derive(Clone, Copy, Debug)]
    pub struct RetryPolicy {
        /// Most attempts that may fail for a reason in the message itself.
        #[setting("HERALD_SEND_TRIES" = "3", number(1, 20))]
        pub max_tries: i64,
        /// Delay before the second attempt; it doubles each time.
        #[setting("HERALD_SEND_RETRY_SECONDS" = "30", number(1, DAY_SECONDS))]
        pub base_seconds: i64,
    }
}

section! {
    /// What decides about a notification that was taken to be sent.
    #[derive(Clone, Copy, Debug)]
    pub struct DeliveryPolicySettings {
        /// How often and how fast to try again.
        pub retry: RetryPolicy,
        /// After this time another process takes over the work of a dead one.
        #[setting("HERALD_LEASE_SECONDS" = "60", number(2, 3600))]
        pub lease_seconds: i64,
        /// How long to wait for a callback to resolve an unknown outcome before the policy applies.
        #[setting("HERALD_UNKNOWN_AFTER_SECONDS" = "900", number(1, 7 * DAY_SECONDS))]
        pub unknown_after_seconds: i64,
        /// `give_up`: may be lost, visibly. `resend`: may arrive twice. By category:
        /// `give_up, utility=resend`.
        #[setting("HERALD_UNKNOWN_POLICY" = "give_up", parsed(
            UnknownOutcomePolicies::parse,
            "give_up or resend, perhaps with categories: give_up, utility=resend"
        ))]
        pub unknown: UnknownOutcomePolicies,
        /// A message that was accepted and has had no status for this long is stale.
        #[setting("HERALD_STALE_AFTER_SECONDS" = "1800", number(1, 30 * DAY_SECONDS))]
        pub stale_after_seconds: i64,
        /// Wait before a retry after a `failed` callback; it doubles each time, to a day; -1 turns
        /// such retries off.
        #[setting("HERALD_SETTLE_AFTER_FAILED_SECONDS" = "60", number(-1, DAY_SECONDS))]
        pub settle_after_failed_seconds: i64,
    }
}
