//! Counters: cohorts of notifications by their creation, in several grains.
//!
//! `cohort` has a column for each fact of a message's life; `counter` has a row for each
//! fact that has a code: failures, prices, and how long things took.

mod add;
mod read;

use uuid::Uuid;

pub use self::{
    add::{CounterChanges, add},
    read::{CohortFactCount, CounterDimension, CounterFilter, CounterSum, series, sums},
};
use crate::domain::notification::{OUT, STALE};

/// The fact of a price: its code is `category/type/country`.
pub const PRICED: &str = "priced";

/// The fact of a verification: its code is a step of it, such as `started`, `sent` or `approved`.
pub const VERIFICATION: &str = "verification";

/// The fact of a failure: it is counted by code, and without.
const FAILED: &str = "failed";

/// Facts of a message's life: columns of `cohort`.
const FACTS: [&str; 12] = [
    "created",
    "accepted",
    "sent",
    "delivered",
    "read",
    "played",
    "replied",
    OUT,
    "skipped",
    "cancelled",
    STALE,
    FAILED,
];

/// Which notifications are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotificationCounterGroup {
    pub sender_id: Uuid,
    pub channel: String,
    pub template: String,
    pub event_type: String,
    /// Empty: of no product.
    pub product: String,
}
