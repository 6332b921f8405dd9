//! Callbacks on their way into the database.

use std::time::Duration;

use crate::domain::settings::section;

const MEBIBYTE: i64 = 1024 * 1024;

section! {
    /// What callbacks may take before they are stored.
    #[derive(Clone, Copy, Debug)]
    pub struct CallbackInboxSettings {
        /// Most memory for callbacks waiting to be stored.
        #[setting("HERALD_INBOX_MEGABYTES" = "32", times(MEBIBYTE, 4, 4096))]
        pub bytes: usize,
        /// A callback not stored by then is answered 503: Meta gives up at about 5 s.
        #[setting("HERALD_INBOX_WAIT_MILLISECONDS" = "4000", milliseconds(10, 60_000))]
        pub wait: Duration,
    }
}
