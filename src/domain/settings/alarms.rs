//! Alarms.

use super::{DAY_SECONDS, MINUTE_SECONDS, section};

section! {
    /// Thresholds of alarms.
    #[derive(Clone, Copy, Debug)]
    pub struct AlarmSettings {
        /// `herald.silence` is raised when messages are accepted and no callback comes for this
        /// long.
        #[setting("HERALD_SILENT_AFTER_MINUTES" = "30", times(MINUTE_SECONDS, 1, 7 * 24 * 60))]
        pub silent_after_seconds: i64,
        /// An alarm is raised when this share of the last hour's messages (at least 20) has failed,
        /// and cleared at half of it.
        #[setting("HERALD_ALARM_FAILURE_PERCENT" = "10", number(1, 100))]
        pub failure_percent: i64,
        /// An alarm is raised when this share of the messages accepted in the last four hours has
        /// had no status.
        #[setting("HERALD_ALARM_STALE_PERCENT" = "10", number(1, 100))]
        pub stale_percent: i64,
        /// An alarm is raised when a message has been due for this long: no worker runs, or the
        /// sender is too slow.
        #[setting("HERALD_ALARM_QUEUE_AGE_SECONDS" = "300", number(10, DAY_SECONDS))]
        pub queue_age_seconds: i64,
    }
}
