//! How fast messages leave.

use super::{DAY_SECONDS, section};

section! {
    /// Whether messages leave, and how many at a time.
    #[derive(Clone, Copy, Debug)]
    pub struct SendingSettings {
        /// `false` holds every message; requests are still accepted.
        #[setting("WHATSAPP_ENABLED" = "true", flag)]
        pub enabled: bool,
        /// Most concurrent calls to the provider; a message occupies its slot up to 0.3 seconds
        /// before its call.
        #[setting("HERALD_SEND_SLOTS" = "512", number(1, 1000))]
        pub slots: usize,
        /// Messages per second and number; 0 means unlimited. Default: what Meta reports for the
        /// number, 80 until then. A sender's own limit has precedence.
        #[setting("HERALD_SEND_PER_SECOND", optional_number(0, 10_000))]
        pub per_second: Option<i64>,
        /// A message with another channel goes out by that when it was not delivered after this many
        /// seconds, unless its request or route says otherwise.
        #[setting("HERALD_FALLBACK_SECONDS" = "300", number(10, 7 * DAY_SECONDS))]
        pub fallback_seconds: i64,
    }
}

section! {
    /// The pair pace: how many messages one contact may get from one number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SenderContactPaceSettings {
        /// Seconds per message to one recipient from one number (Meta's limit); 0 means unlimited.
        #[setting("HERALD_PAIR_SECONDS" = "6", number(0, 3600))]
        pub interval_seconds: i64,
        /// Messages that one recipient may get at once, borrowed from the future.
        // Meta: 45.
        #[setting("HERALD_PAIR_BURST" = "45", number(1, 1000))]
        pub burst: i64,
    }
}
