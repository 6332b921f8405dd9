//! Why a message failed, in the provider's words and in plain ones.

use serde::{Deserialize, Serialize};

/// What kind of trouble a provider's error code means, and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// Passes by itself: try again with back-off.
    Retry,
    /// Too fast for the number, or for the account: slow down, the message is fine.
    Pace,
    /// Outside the 24-hour window: only a template may be sent.
    NeedsTemplate,
    /// The request is wrong: trying again cannot help.
    FixRequest,
    /// This person cannot be reached on WhatsApp.
    RecipientGone,
    /// This person does not want it.
    OptedOut,
    /// The template is missing, paused or disabled.
    TemplateTrouble,
    /// The token or its permissions: nothing can be sent until mended.
    Token,
    /// The account is restricted: nothing can be sent until mended.
    Account,
    /// Not in the catalogue.
    Unknown,
}

/// One failure: the provider's whole error, its meaning, and what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    /// The provider's code; absent when the failure is ours.
    pub code: Option<i64>,
    pub title: String,
    pub details: Option<String>,
    /// What it means, in plain words.
    pub meaning: String,
    /// What a person can do about it.
    pub remedy: String,
    /// Everything the provider said, as it said it.
    #[serde(default)]
    pub provider_errors: serde_json::Value,
}

impl Failure {
    /// A failure that no provider reported, named by `title`.
    pub fn ours(title: &str, meaning: &str, remedy: &str) -> Self {
        Self {
            class: FailureClass::Unknown,
            code: None,
            title: title.to_owned(),
            details: None,
            meaning: meaning.to_owned(),
            remedy: remedy.to_owned(),
            provider_errors: serde_json::Value::Null,
        }
    }

    /// How the failure is counted: its code, or its title when it has none.
    pub fn counted_as(&self) -> String {
        self.code
            .map_or_else(|| self.title.clone(), |code| code.to_string())
    }
}
