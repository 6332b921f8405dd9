//! Failures of messages: the provider's error, its class, its meaning and its remedy.

use serde::{Deserialize, Serialize};

/// The class of a provider's error code, which decides the reaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Passes by itself: try again with back-off.
    Retry,
    /// Too fast for the number or the account: slow down; the message is fine.
    #[serde(alias = "pace")]
    PaceNumber,
    /// Too fast for this recipient: their messages wait, the others do not.
    PacePair,
    /// Passes after a known time: see [`DeliveryFailure::wait_seconds`].
    WaitUntil,
    /// The provider does not deliver marketing to this recipient for now.
    MarketingLimit,
    /// The number is reported as spam: its marketing stops, or it is blocked for good.
    Spam,
    /// Outside the service window: only a template may be sent.
    NeedsTemplate,
    /// The request is wrong: trying again cannot help.
    FixRequest,
    /// The recipient cannot be reached on WhatsApp.
    RecipientGone,
    /// There is no such address: nothing more is sent to it.
    AddressRejected,
    /// The recipient has opted out.
    OptedOut,
    /// The template may become sendable again.
    TemplatePaused,
    /// The template may never be sent again.
    TemplateDisabled,
    /// The template is missing, or not fit to be sent.
    TemplateTrouble,
    /// The token or its permissions: nothing can be sent until they are fixed.
    Token,
    /// The account is restricted: nothing can be sent until this is resolved.
    Account,
    /// Not in the error catalogue.
    Unknown,
}

impl FailureClass {
    pub const ALL: [Self; 17] = [
        Self::Retry,
        Self::PaceNumber,
        Self::PacePair,
        Self::WaitUntil,
        Self::MarketingLimit,
        Self::Spam,
        Self::NeedsTemplate,
        Self::FixRequest,
        Self::RecipientGone,
        Self::AddressRejected,
        Self::OptedOut,
        Self::TemplatePaused,
        Self::TemplateDisabled,
        Self::TemplateTrouble,
        Self::Token,
        Self::Account,
        Self::Unknown,
    ];

    /// Whether an answer of this class concerns the message, and so uses up one of its tries; the
    /// others only delay it.
    pub const fn is_about_the_message(self) -> bool {
        !matches!(
            self,
            Self::PaceNumber
                | Self::PacePair
                | Self::WaitUntil
                | Self::TemplatePaused
                | Self::Token
                | Self::Account
        )
    }

    /// Herald's reaction, in plain words.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Retry => "It is tried again with growing pauses, a bounded number of times.",
            Self::PaceNumber => "The number sends more slowly for a while; the message waits.",
            Self::PacePair => "Messages to this recipient wait, longer each time; others are sent.",
            Self::WaitUntil => "The message waits as long as the provider asks.",
            Self::MarketingLimit => {
                "Marketing is tried once more after a day; anything else has failed."
            }
            Self::Spam => {
                "Marketing of this number is held for a day; anything else is tried again, a bounded number of times."
            }
            Self::NeedsTemplate => {
                "The fallback template is sent instead, once, if the request named one."
            }
            Self::FixRequest => "It is not tried again: the same request would fail again.",
            Self::RecipientGone => "It is never tried again.",
            Self::AddressRejected => {
                "It is never tried again, and the address gets nothing more until someone lifts that."
            }
            Self::OptedOut => "It is never tried again, and the opt-out is stored.",
            Self::TemplatePaused => {
                "Everything that uses this template waits until it is approved again, or expires."
            }
            Self::TemplateDisabled => "Everything that uses this template fails with this reason.",
            Self::TemplateTrouble => "It is not tried again; other templates are not affected.",
            Self::Token => {
                "The sender is held with its queue intact, and probed with one call a minute until it works again."
            }
            Self::Account => {
                "The sender is held with its queue intact, and probed with one call a minute until it is allowed again."
            }
            Self::Unknown => "It is tried again a bounded number of times.",
        }
    }
}

/// One failure: the provider's complete error, its meaning, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFailure {
    pub class: FailureClass,
    /// The provider's code; absent when the failure is ours.
    pub code: Option<i64>,
    pub title: String,
    pub details: Option<String>,
    /// Its meaning, in plain words.
    pub meaning: String,
    /// The remedy.
    pub remedy: String,
    /// How long to wait, in seconds, when the provider's documentation says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<i64>,
    /// The provider's complete errors, unchanged.
    #[serde(default)]
    pub provider_errors: serde_json::Value,
}

impl DeliveryFailure {
    /// A failure of our own, named by `title`.
    pub fn ours(title: &str, meaning: &str, remedy: &str) -> Self {
        Self {
            class: FailureClass::Unknown,
            code: None,
            title: title.to_owned(),
            details: None,
            meaning: meaning.to_owned(),
            remedy: remedy.to_owned(),
            wait_seconds: None,
            provider_errors: serde_json::Value::Null,
        }
    }

    /// The key under which it is counted: its code, or its title if it has none.
    pub fn counted_as(&self) -> String {
        self.code
            .map_or_else(|| self.title.clone(), |code| code.to_string())
    }
}
