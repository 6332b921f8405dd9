//! Keys, and the mark outside of the database.

use secrecy::SecretString;

use crate::domain::settings::section;

section! {
    /// What this installation is known by.
    #[derive(Clone, Debug)]
    pub struct SecretSettings {
        /// 32 random bytes as 64 hex digits: encrypts secrets at rest. Needed by `serve`.
        #[setting("HERALD_SECRET_KEY", key)]
        pub key: Option<SecretString>,
        /// The previous key, while it is being replaced: what it encrypted is encrypted with the
        /// new one at the start.
        #[setting("HERALD_SECRET_KEY_PREVIOUS", key)]
        pub previous_key: Option<SecretString>,
        /// A file on another disk, or postgres://… of a second database: stores a state mark, so
        /// that a restored database holds sending automatically.
        #[setting("HERALD_STATE_MARK", secret)]
        pub state_mark: Option<SecretString>,
    }
}
