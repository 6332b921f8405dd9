//! What became of one call to a provider.

use super::failure::Failure;

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
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused(_) => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether the provider itself was in trouble, which the breaker counts.
    pub const fn is_provider_trouble(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}
