//! A provider's half of `herald check`.

use async_trait::async_trait;
use secrecy::SecretString;
use serde::Serialize;

use super::{HttpClient, SenderConnectionSettings};
use crate::domain::time::Timestamp;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingSeverity {
    Ok,
    /// It could not be looked at; the finding says why.
    Skipped,
    /// It works, but should be changed.
    Warning,
    /// It does not work.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagnosisFinding {
    /// What was looked at: stays the same from version to version.
    pub name: &'static str,
    pub verdict: FindingSeverity,
    /// What was found, in a sentence.
    pub found: String,
    /// What helps; empty where nothing needs help.
    pub remedy: String,
}

/// A template that catalogues use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedTemplate {
    /// As catalogues call it.
    pub name: String,
    /// As the account calls it.
    pub remote_name: String,
    pub language: String,
}

/// What a provider is asked to look at.
#[derive(Clone, Debug)]
pub struct DiagnosisRequest<'a> {
    pub connection: &'a SenderConnectionSettings,
    /// The app whose secrets sign the sender's callbacks, if it is known.
    pub app_id: Option<String>,
    /// Secrets that may be that app's.
    pub app_secrets: Vec<SecretString>,
    pub templates: &'a [UsedTemplate],
    /// Where the provider's callbacks should go.
    pub webhook_url: Option<String>,
    pub now: Timestamp,
}

/// What a webhook of ours answered when we played the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookProbeResult {
    Good,
    /// Herald answered, and rejected it.
    Refused,
    /// Another status than 200.
    Status(u16),
    /// 200, but not the expected body: another server answers at this address.
    Foreign,
    Unreachable,
}

impl WebhookProbeResult {
    /// What an answer to a `POST` means. A proxy may answer 401 or 403 as well; only Herald answers
    /// with a problem document.
    pub fn of(answer: &reqwest::Response) -> Self {
        let is_problem = answer
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        match answer.status().as_u16() {
            200 => Self::Good,
            401 | 403 if is_problem => Self::Refused,
            status => Self::Status(status),
        }
    }
}

/// What is said of the secret that proves a provider's callbacks.
#[derive(Clone, Copy, Debug)]
pub struct CallbackSecretWords {
    /// The name of its row in the check.
    pub row: &'static str,
    /// Its name, with the article.
    pub name: &'static str,
    /// What to do if it is not known.
    pub setting: &'static str,
    /// What to do if it is too short.
    pub length: &'static str,
}

impl Default for CallbackSecretWords {
    fn default() -> Self {
        Self {
            row: "callback_secret",
            name: "the callback secret",
            setting: "Set it for the sender: herald senders set --app-secret-file, or in its setting.",
            length: "Use 16 characters or more, here and at the provider: openssl rand -hex 32.",
        }
    }
}

/// Looks at a provider's side, without sending anything.
#[async_trait]
pub trait ProviderDiagnosis: Send + Sync {
    /// Looks at everything about one sender.
    async fn diagnose(
        &self,
        http: &HttpClient,
        request: DiagnosisRequest<'_>,
    ) -> Vec<DiagnosisFinding>;

    /// What is said of the secret that proves its callbacks.
    fn callback_secret_words(&self) -> CallbackSecretWords {
        CallbackSecretWords::default()
    }

    /// Whether it registers a webhook by a handshake with a verify token.
    fn has_handshake(&self) -> bool {
        false
    }

    /// Registers at our webhook as the provider would, with this verify token; `None` if it needs no
    /// handshake.
    async fn probe_handshake(
        &self,
        _http: &HttpClient,
        _url: &str,
        _token: &SecretString,
        _nonce: &str,
    ) -> Option<WebhookProbeResult> {
        None
    }

    /// Posts a callback without items that this secret proves; `None` if it has no callbacks.
    async fn probe_signature(
        &self,
        _http: &HttpClient,
        _url: &str,
        _secret: &SecretString,
        _nonce: &str,
    ) -> Option<WebhookProbeResult> {
        None
    }
}
