//! Settings that rules and the engine decide by, one declaration each.
//!
//! A section is a struct, in a file of its own, and each of its fields says everything about one
//! setting: the variable, its default, how its text is read, and what it means. Reading, the list
//! of all settings and the tables of the documents are made from that. `config` has the sections
//! that only a process needs, and reads them all.

mod ageing;
mod alarms;
mod backlog;
mod consent_keywords;
mod declare;
mod email;
mod expiry;
mod myoperator;
mod people;
mod policy;
mod reader;
mod retention;
mod sending;
mod verification;
mod whatsapp;

pub use ageing::CredentialWarningSettings;
pub use alarms::AlarmSettings;
pub use backlog::BacklogLimits;
pub use consent_keywords::ConsentKeywords;
pub(crate) use declare::section;
pub use declare::{SettingDeclaration, SettingsSection};
pub use email::EmailSettings;
pub use expiry::MessageExpirySettings;
pub use myoperator::MyOperatorSettings;
pub use people::PeopleSettings;
pub use policy::{DeliveryPolicySettings, RetryPolicy};
pub use reader::{SecretStrictness, SettingsReader};
pub use retention::RetentionSettings;
pub use sending::{SenderContactPaceSettings, SendingSettings};
pub use verification::{LOCK_SECONDS, VerificationSettings};
pub use whatsapp::WhatsAppNumberSettings;

use super::horizon::FutureTimestampLimits;

section! {
    /// Settings of the engine.
    #[derive(Clone, Debug)]
    pub struct EngineSettings {
        /// Whether messages leave, and how many at a time.
        pub sending: SendingSettings,
        /// The pair pace.
        pub pair: SenderContactPaceSettings,
        /// Retries, leases, and unknown outcomes.
        pub policy: DeliveryPolicySettings,
        /// How long messages and statuses wait.
        pub expiry: MessageExpirySettings,
        /// What a backlog of callbacks may do.
        pub backlog: BacklogLimits,
        /// What is done about what people write, and about who they are.
        pub people: PeopleSettings,
        /// Limits of one-time passwords that Herald makes.
        pub verification: VerificationSettings,
        /// Thresholds of alarms.
        pub alarms: AlarmSettings,
        /// When operators are warned of old credentials.
        pub ageing: CredentialWarningSettings,
        /// Appended to the names of templates at Meta, such as v1_02.
        #[setting("META_SYNC_VERSION_SUFFIX", optional_text)]
        pub template_suffix: Option<String>,
        /// How long rows are kept.
        pub retention: RetentionSettings,
    }
}

impl EngineSettings {
    /// How far in the future timestamps in rows can be.
    pub fn horizon(&self) -> FutureTimestampLimits {
        FutureTimestampLimits::of(&self.policy, self.pair)
    }
}

const MINUTE_SECONDS: i64 = 60;
const DAY_SECONDS: i64 = 24 * 60 * 60;
