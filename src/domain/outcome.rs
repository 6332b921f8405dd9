//! What became of one call to a provider.

use super::{failure::Failure, words::words};

words! {
    /// How a call ended, without its details.
    pub enum AttemptOutcome {
        /// The provider took the message.
        Accepted = "accepted",
        /// The provider said no.
        Refused = "refused",
        /// No connection was made: the message is certainly not sent.
        Unavailable = "unavailable",
        /// The answer was lost: it may have been sent.
        Unknown = "unknown",
    }
}

/// The result of one call, as far as the caller can know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the message. Not yet sent, not yet delivered.
    Accepted {
        provider_message_id: String,
        /// The recipient's `wa_id`, which may differ from the number dialled.
        wa_id: Option<String>,
        /// The recipient's business-scoped user id, if the answer names it.
        user_id: Option<String>,
        /// Why it is not on its way yet, in words, if the provider keeps it.
        kept_back: Option<String>,
    },
    /// The provider said no, with a reason that is about this message or our account.
    Refused(Failure),
    /// No connection was made: the message is certainly not sent.
    Unavailable { reason: String },
    /// The request left and no usable answer came back: it may have been sent.
    Unknown { reason: String },
}

impl Outcome {
    /// The same without its details.
    pub const fn kind(&self) -> AttemptOutcome {
        match self {
            Self::Accepted { .. } => AttemptOutcome::Accepted,
            Self::Refused(_) => AttemptOutcome::Refused,
            Self::Unavailable { .. } => AttemptOutcome::Unavailable,
            Self::Unknown { .. } => AttemptOutcome::Unknown,
        }
    }

    /// Whether the provider itself was in trouble, which the breaker counts.
    pub const fn is_provider_trouble(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}
