//! Warnings of credentials.

use super::section;

section! {
    /// When operators are warned.
    #[derive(Clone, Copy, Debug)]
    pub struct CredentialWarningSettings {
        /// `herald.credential.old` is raised for a credential that has been in use for this long.
        #[setting("HERALD_CREDENTIAL_OLD_DAYS" = "90", number(1, 3650))]
        pub old_after_days: i64,
        /// `herald.credential.expiring` is raised this long before a credential expires.
        #[setting("HERALD_CREDENTIAL_WARNING_DAYS" = "7", number(1, 365))]
        pub warn_before_days: i64,
    }
}
