//! People, and what they write.

use super::{ConsentKeywords, DAY_SECONDS, MINUTE_SECONDS, section};

section! {
    /// What is done about what people write, and about who they are.
    #[derive(Clone, Debug)]
    pub struct PeopleSettings {
        /// The words for STOP and START.
        pub words: ConsentKeywords,
        /// `herald.window.closing` is raised this long before a 24-hour window is closed.
        #[setting("HERALD_WINDOW_CLOSING_MINUTES" = "60", times(MINUTE_SECONDS, 1, 23 * 60))]
        pub window_closing_seconds: i64,
        /// How long an unexplained new user id at a known number is undecided. Then it counts as
        /// another person's, and opt-outs of either apply to both.
        #[setting("HERALD_NEW_ID_DECIDED_DAYS" = "30", times(DAY_SECONDS, 1, 365))]
        pub identity_patience_seconds: i64,
        /// `true` marks inbound messages as read (blue ticks).
        #[setting("WHATSAPP_MARK_READ" = "false", flag)]
        pub mark_read: bool,
    }
}
