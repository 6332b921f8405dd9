//! How long things wait.

use super::{DAY_SECONDS, section};

section! {
    /// How long messages and statuses wait, in seconds.
    #[derive(Clone, Copy, Debug)]
    pub struct MessageExpirySettings {
        /// Messages that have waited longer expire, unless their route says otherwise.
        #[setting("HERALD_EXPIRES_AFTER_SECONDS" = "86400", number(1, 30 * DAY_SECONDS))]
        pub ordinary_seconds: i64,
        /// The same for one-time passwords.
        #[setting("HERALD_AUTHENTICATION_EXPIRES_AFTER_SECONDS" = "600", number(1, DAY_SECONDS))]
        pub authentication_seconds: i64,
        /// How long a parked status waits for its message.
        #[setting("HERALD_PARKED_SECONDS" = "86400", number(600, 30 * DAY_SECONDS))]
        pub parked_seconds: i64,
    }
}
