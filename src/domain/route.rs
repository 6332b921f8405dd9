//! What a route made of an event.

use super::word_enum::words;

words! {
    /// What came of a route for one event.
    pub enum RouteOutcome {
        /// It made notifications, or had no recipients.
        Fired = "fired",
        /// Its condition did not hold.
        DidNotFire = "did_not_fire",
        /// It could not be evaluated, or not to its end.
        Error = "error",
    }
}

impl RouteOutcome {
    /// The same for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::DidNotFire => "did not fire",
            Self::Error => "error",
        }
    }
}
