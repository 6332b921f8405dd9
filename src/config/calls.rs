//! Calls to a provider.

use std::time::Duration;

use crate::domain::settings::section;

section! {
    /// How long a call to a provider may take.
    #[derive(Clone, Copy, Debug)]
    pub struct ProviderCallTimeouts {
        /// After this time, the outcome of a call without a response is unknown.
        #[setting("HERALD_SEND_TIMEOUT_SECONDS" = "10", seconds(1, 120))]
        pub timeout: Duration,
        /// Time limit for connecting to the provider.
        #[setting("HERALD_SEND_CONNECT_SECONDS" = "3", seconds(1, 60))]
        pub connect_timeout: Duration,
    }
}
