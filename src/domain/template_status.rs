//! What a provider's reviewers have decided about a template.

use super::word_enum::words;

words! {
    /// The status of a template in an account. Providers translate theirs (Meta, "Template status").
    pub enum TemplateStatus {
        Approved = "approved",
        /// Waits for a first decision, or for one about a change.
        Pending = "pending",
        InAppeal = "in_appeal",
        Rejected = "rejected",
        /// By the provider, for a while: people blocked or reported it.
        Paused = "paused",
        /// A warning: it may be sent.
        Flagged = "flagged",
        LimitExceeded = "limit_exceeded",
        Archived = "archived",
        Locked = "locked",
        Disabled = "disabled",
        PendingDeletion = "pending_deletion",
        Deleted = "deleted",
        /// One that this version does not know.
        Other = "other",
    }
}

/// What a status means for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateOutlook {
    /// May be sent, or nothing is known against it.
    Sendable,
    /// May become sendable again.
    Waiting,
    /// Will not become sendable under this name.
    Refused,
}

/// Nothing is known of it.
impl Default for TemplateStatus {
    fn default() -> Self {
        Self::Other
    }
}

impl TemplateStatus {
    /// What it means for sending. A status that is not known is left to the provider to refuse.
    pub const fn outlook(self) -> TemplateOutlook {
        match self {
            Self::Approved | Self::Flagged | Self::Other => TemplateOutlook::Sendable,
            Self::Pending
            | Self::InAppeal
            | Self::Paused
            | Self::LimitExceeded
            | Self::Archived
            | Self::Locked => TemplateOutlook::Waiting,
            Self::Rejected | Self::Disabled | Self::PendingDeletion | Self::Deleted => {
                TemplateOutlook::Refused
            }
        }
    }

    /// For people: `in appeal`.
    pub fn phrase(self) -> String {
        self.name().replace('_', " ")
    }
}
