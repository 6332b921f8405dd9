//! What is handed to a provider, and what came of it.

use crate::domain::{
    attempt_id::AttemptReference,
    content,
    outcome::ProviderCallOutcome,
    recipient::MessageAddress,
    template::layout::{FilledEmail, FilledTemplate},
};

/// A provider's facts about a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderNumberFacts {
    /// Messages per second that it may send; absent if not reported.
    pub per_second: Option<i64>,
    /// The displayed number, digits only.
    pub display_number: Option<String>,
}

/// One message, ready to be sent by a provider.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// Travels with the message and comes back in its callbacks.
    pub our_id: AttemptReference,
    pub to: MessageAddress,
    pub content: OutgoingContent,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// The parameters contain a code: they are left out of the stored request.
    pub sensitive: bool,
    /// Where the recipient can refuse further messages by this channel; absent for what cannot be
    /// refused.
    pub unsubscribe: Option<String>,
}

/// The content of a message.
#[derive(Clone, Debug)]
pub enum OutgoingContent {
    Template {
        name: String,
        language: String,
        filled: FilledTemplate,
    },
    /// For channels whose messages have a subject.
    Email(FilledEmail),
    /// Everything that needs no template.
    Free(content::FreeFormMessageContent),
}

/// One call: the request, the response, and what the response means.
#[derive(Clone, Debug)]
pub struct ProviderExchange {
    pub request: serde_json::Value,
    pub http_status: Option<u16>,
    pub answer: Option<String>,
    pub outcome: ProviderCallOutcome,
}

/// A file that a person sent.
#[derive(Clone, Debug)]
pub struct DownloadedMedia {
    pub mime_type: String,
    pub content: bytes::Bytes,
}

/// Why a provider did not answer a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderQueryError {
    #[error("this provider cannot do it")]
    Unsupported,
    #[error("the provider does not have it any more")]
    Gone,
    #[error("it is larger than allowed")]
    TooLarge,
    /// The provider refused, with its code if it gave one.
    #[error("the provider refused (code {0:?})")]
    Refused(Option<i64>),
    #[error("the provider cannot be reached")]
    Unreachable,
}
