//! How fast messages leave.

use super::section;

section! {
    /// Whether messages leave, and how many at a time.
    #[derive(Clone, Copy, Debug)]
    pub struct Sending {
        /// `false` holds every message; accepting goes on.
        #[setting("WHATSAPP_ENABLED" = "true", flag)]
        pub enabled: bool,
        /// Calls to the provider at the same time, at most; a message takes its place up to 0.3
        /// seconds before its call.
        #[setting("HERALD_SEND_SLOTS" = "512", number(1, 1000))]
        pub slots: usize,
        /// Messages per second and number; 0 means unlimited. Default: what Meta reports for the
        /// number, 80 until it has. A sender's own limit goes first.
        #[setting("HERALD_SEND_PER_SECOND", optional_number(0, 10_000))]
        pub per_second: Option<i64>,
    }
}

section! {
    /// How many messages one person may get from one number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PairPace {
        /// One person gets one message in so many seconds from one number (Meta's limit); 0 means
        /// unlimited.
        #[setting("HERALD_PAIR_SECONDS" = "6", number(0, 3600))]
        pub interval_seconds: i64,
        /// So many messages to one person may go at once, borrowed from the time to come.
        // Meta: 45.
        #[setting("HERALD_PAIR_BURST" = "45", number(1, 1000))]
        pub burst: i64,
    }
}
