//! Settings that rules and the engine decide by, one declaration each.
//!
//! A section is a struct, in a file of its own, and each of its fields says everything about one
//! setting: the variable, its default, how its text is read, and what it means. Reading, the list
//! of all settings and the tables of the documents are made from that. `config` has the sections
//! that only a process needs, and reads them all.

mod ageing;
mod alarms;
mod backlog;
mod declare;
mod expiry;
mod people;
mod policy;
mod reader;
mod retention;
mod sending;
mod whatsapp;

pub use ageing::Ageing;
pub use alarms::Alarms;
pub use backlog::BacklogLimits;
pub(crate) use declare::section;
pub use declare::{Section, Setting};
pub use expiry::Expiry;
pub use people::{People, Words};
pub use policy::{Policy, RetryPolicy};
pub use reader::{Reader, Strictness};
pub use retention::Retention;
pub use sending::{PairPace, Sending};
pub use whatsapp::WhatsApp;

use super::horizon::Horizon;

section! {
    /// Settings of the engine.
    #[derive(Clone, Debug)]
    pub struct Settings {
        /// Whether messages leave, and how many at a time.
        pub sending: Sending,
        /// The pair pace.
        pub pair: PairPace,
        /// Retries, leases, and unknown outcomes.
        pub policy: Policy,
        /// How long messages and statuses wait.
        pub expiry: Expiry,
        /// What a backlog of callbacks may do.
        pub backlog: BacklogLimits,
        /// What is done about what people write, and about who they are.
        pub people: People,
        /// Thresholds of alarms.
        pub alarms: Alarms,
        /// When operators are warned of old credentials.
        pub ageing: Ageing,
        /// Appended to the names of templates at Meta, such as v1_02.
        #[setting("META_SYNC_VERSION_SUFFIX", optional_text)]
        pub template_suffix: Option<String>,
        /// How long rows are kept.
        pub retention: Retention,
    }
}

impl Settings {
    /// How far in the future timestamps in rows can be.
    pub fn horizon(&self) -> Horizon {
        Horizon::of(&self.policy, self.pair)
    }
}

const MINUTE_SECONDS: i64 = 60;
const DAY_SECONDS: i64 = 24 * 60 * 60;
