//! Keeping and deleting.

use super::section;

/// The digest ledger is kept 9 days: Meta repeats for 7, and a body must not be forgotten before.
const LEAST_DAYS: i64 = 9;

section! {
    /// How long rows are kept, in days.
    #[derive(Clone, Copy, Debug)]
    pub struct RetentionSettings {
        /// Retention of raw callbacks; Meta repeats for 7 days.
        #[setting("HERALD_KEEP_BODIES_DAYS" = "14", number(LEAST_DAYS, 3650))]
        pub bodies_days: i64,
        /// Retention of the timelines of notifications.
        #[setting("HERALD_KEEP_TIMELINE_DAYS" = "180", number(LEAST_DAYS, 3650))]
        pub timeline_days: i64,
        /// Retention of notifications, events and inbound messages; counters stay.
        #[setting("HERALD_KEEP_NOTIFICATIONS_DAYS" = "400", number(LEAST_DAYS, 3650))]
        pub notifications_days: i64,
    }
}
