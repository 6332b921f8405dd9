//! Callbacks that are stored and not applied yet.

use std::time::Duration;

use super::section;

const MEGABYTE: i64 = 1_000_000;

section! {
    /// Limits of the callback backlog.
    #[derive(Clone, Copy, Debug)]
    pub struct BacklogLimits {
        /// When processing is over 10 s behind, responses to callbacks are delayed up to this long
        /// (fully at 30 s), so that Meta sends less at a time; 0 turns it off.
        #[setting("HERALD_BACKLOG_DELAY_MILLISECONDS" = "2000", milliseconds(0, 3000))]
        pub answer_delay: Duration,
        /// SQLite: when processing is behind and the disk has less than this left, statuses are
        /// answered 503: the rest is needed for processing the backlog.
        #[setting("HERALD_RESERVED_DISK_MEGABYTES" = "512", times(MEGABYTE, 0, 1_000_000_000))]
        pub reserved_disk_bytes: i64,
        /// PostgreSQL: the same when so many megabytes of callbacks wait to be applied.
        // Its disk cannot be seen from here.
        #[setting("HERALD_BACKLOG_MEGABYTES" = "4096", times(MEGABYTE, 1, 1_000_000_000))]
        pub backlog_bytes: i64,
    }
}
