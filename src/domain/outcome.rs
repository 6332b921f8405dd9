//! The outcome of one call to a provider.

use super::{failure::DeliveryFailure, word_enum::words};

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

/// The outcome of one call, as far as the caller can know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderCallOutcome {
    /// The provider accepted the message. It is not yet sent or delivered.
    Accepted {
        provider_message_id: String,
        /// The recipient's `wa_id`, which may differ from the number dialled.
        wa_id: Option<String>,
        /// The recipient's business-scoped user id, if the answer names it.
        user_id: Option<String>,
        /// Why the provider holds the message, in words, if it does.
        kept_back: Option<String>,
    },
    /// The provider refused it, with a reason that concerns this message or our account.
    Refused(DeliveryFailure),
    /// No connection was made: the message is certainly not sent.
    Unavailable { reason: String },
    /// The request was sent and no usable answer came back: the message may have been sent.
    Unknown { reason: String },
}

impl ProviderCallOutcome {
    /// The same without its details.
    pub const fn kind(&self) -> AttemptOutcome {
        match self {
            Self::Accepted { .. } => AttemptOutcome::Accepted,
            Self::Refused(_) => AttemptOutcome::Refused,
            Self::Unavailable { .. } => AttemptOutcome::Unavailable,
            Self::Unknown { .. } => AttemptOutcome::Unknown,
        }
    }

    /// Whether the provider itself failed, which counts for the circuit breaker.
    pub const fn is_provider_trouble(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}
