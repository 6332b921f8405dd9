//! Calls to a provider.

use std::time::Duration;

use crate::domain::settings::section;

section! {
    /// How long a call to a provider may take.
    #[derive(Clone, Copy, Debug)]
    pub struct Calls {
        /// A call without an answer is unknown after this.
        #[setting("HERALD_SEND_TIMEOUT_SECONDS" = "10", seconds(1, 120))]
        pub timeout: Duration,
        /// A connection that is not made by then is not made.
        #[setting("HERALD_SEND_CONNECT_SECONDS" = "3", seconds(1, 60))]
        pub connect_timeout: Duration,
    }
}
