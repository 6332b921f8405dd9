//! What a provider implements: those of the traits that it can.

use std::{borrow::Cow, collections::BTreeMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::{
    DownloadedMedia, HttpClient, OutgoingMessage, ParsedCallback, ProviderDiagnosis,
    ProviderExchange, ProviderQueryError, ProviderTemplateFormat, RemoteTemplateDirectory,
    SenderNumberFacts,
};
use crate::domain::{
    channel::{MessageChannel, ProviderCapabilities},
    failure::FailureClass,
    field_error::FieldError,
    outcome::ProviderCallOutcome,
    time::Timestamp,
};

/// How a sender reaches its provider: its row, completed by the environment.
#[derive(Clone, Debug)]
pub struct SenderConnectionSettings {
    /// What the provider's callbacks call the sender. Meta: the phone-number id.
    pub endpoint_id: String,
    /// The account that the sender is in. Meta: the WhatsApp business account.
    pub account_id: Option<String>,
    /// What the kind of provider needs, by name; checked by [`MessagingProvider::check_sender`].
    pub settings: BTreeMap<String, String>,
    /// Empty for a provider that needs none.
    pub token: SecretString,
}

impl SenderConnectionSettings {
    /// A setting; empty if there is none.
    pub fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }
}

/// A sender that is to be stored, or what is to be changed of it.
#[derive(Clone, Copy, Debug)]
pub struct SenderFields<'a> {
    /// Absent in a change: it stays.
    pub endpoint_id: Option<&'a str>,
    pub account_id: Option<&'a str>,
    pub app_id: Option<&'a str>,
    pub settings: &'a BTreeMap<String, String>,
    pub is_new: bool,
}

/// By which name the outcome of a call whose response was lost comes to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownOutcomeResolution {
    /// Callbacks carry our id of the attempt.
    ByOurId,
    /// Callbacks may carry our id; that they do is not promised. The outcome is waited for as long.
    ByOurIdPerhaps,
    /// Nothing tells: there are no callbacks, or they carry the provider's id only, which a lost
    /// response did not bring. The policy decides at once.
    Never,
}

/// What an error code means.
#[derive(Debug)]
pub struct KnownProviderError {
    pub code: i64,
    pub class: FailureClass,
    /// How long to wait, in seconds, for a class that waits.
    pub wait_seconds: Option<i64>,
    pub meaning: &'static str,
    pub remedy: &'static str,
}

/// One kind of provider. [`super::ProviderRegistry`] lists them.
pub trait MessagingProvider: Send + Sync + Debug {
    /// The word in rows, the API and the CLI, such as `meta`.
    fn kind(&self) -> &'static str;

    /// Which channel its senders serve.
    fn channel(&self) -> MessageChannel;

    fn capabilities(&self) -> ProviderCapabilities;

    /// How the outcome of a call comes to light whose response was lost.
    fn unknown_outcome(&self) -> UnknownOutcomeResolution;

    /// What is wrong with a sender, by the names that the API and the CLI have for its fields.
    fn check_sender(&self, fields: SenderFields<'_>) -> Vec<FieldError>;

    /// What the API and the CLI call [`SenderConnectionSettings::endpoint_id`].
    fn endpoint_field(&self) -> &'static str;

    /// Whether nothing can be sent without an access token.
    fn needs_token(&self) -> bool {
        true
    }

    /// Makes what one sender sends with. Nothing is called.
    fn connect(
        &self,
        http: &HttpClient,
        connection: SenderConnectionSettings,
    ) -> Arc<dyn MessageSender>;

    /// Who takes its callbacks, if it has any.
    fn receiver(&self) -> Option<&dyn ProviderCallbackReceiver> {
        None
    }

    /// How it writes templates, if it reviews them.
    fn template_format(&self) -> Option<&dyn ProviderTemplateFormat> {
        None
    }

    /// The templates of the sender's account; `None` without [`SenderConnectionSettings::account_id`], or if
    /// the provider keeps none.
    fn templates(
        &self,
        _http: &HttpClient,
        _connection: &SenderConnectionSettings,
    ) -> Option<Box<dyn RemoteTemplateDirectory>> {
        None
    }

    /// Its half of `herald check`.
    fn diagnose(&self) -> Option<&dyn ProviderDiagnosis> {
        None
    }

    /// What one of its error codes means.
    fn known_error(&self, _code: i64) -> Option<&'static KnownProviderError> {
        None
    }
}

/// Sends the messages of one sender.
#[async_trait]
pub trait MessageSender: Send + Sync + Debug {
    /// Makes one call, once, without following redirects or retrying.
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange;

    /// Whether it answers at all, whatever it says: asked without sending anything.
    async fn is_reachable(&self) -> bool {
        true
    }

    /// The facts about the number.
    async fn number(&self) -> Result<SenderNumberFacts, ProviderQueryError> {
        Err(ProviderQueryError::Unsupported)
    }

    /// What can be done with messages that people sent, if anything.
    fn inbox(&self) -> Option<&dyn InboundMessageAccess> {
        None
    }
}

/// What a provider can do with messages that people sent.
#[async_trait]
pub trait InboundMessageAccess: Send + Sync {
    /// Fetches a file that a person sent, at most `max_bytes` of it.
    async fn media(
        &self,
        _id: &str,
        _max_bytes: usize,
    ) -> Result<DownloadedMedia, ProviderQueryError> {
        Err(ProviderQueryError::Unsupported)
    }

    /// Marks a message, and all before it, as read for the person.
    async fn mark_read(&self, _provider_message_id: &str) -> Result<(), ProviderQueryError> {
        Err(ProviderQueryError::Unsupported)
    }
}

/// The handshake by which a provider registers a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookHandshake {
    /// What should be one of our verify tokens.
    pub token: String,
    /// What is to be sent back.
    pub challenge: String,
}

impl WebhookHandshake {
    /// Compares the token in constant time.
    pub fn is_with(&self, expected: &SecretString) -> bool {
        expected
            .expose_secret()
            .as_bytes()
            .ct_eq(self.token.as_bytes())
            .into()
    }
}

/// What of a callback's request can prove who sent it, besides its body.
#[derive(Clone, Copy)]
pub struct CallbackProof<'a> {
    headers: &'a dyn Fn(&str) -> Option<&'a str>,
    query: &'a str,
}

impl<'a> CallbackProof<'a> {
    /// `headers` finds a header by its name; `query` is that of the URL, undecoded.
    pub const fn new(headers: &'a dyn Fn(&str) -> Option<&'a str>, query: &'a str) -> Self {
        Self { headers, query }
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        (self.headers)(name)
    }

    /// A parameter of the URL, where some providers put a secret.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

/// Without what is in it: secrets are no text for logs.
impl std::fmt::Debug for CallbackProof<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CallbackProof")
            .finish_non_exhaustive()
    }
}

/// Takes a provider's callbacks: `GET` and `POST /webhooks/{endpoint}`.
pub trait ProviderCallbackReceiver: Send + Sync {
    /// The kind of its provider: [`MessagingProvider::kind`].
    fn kind(&self) -> &'static str;

    /// The last part of the path, and the endpoint that callbacks are stored with.
    fn endpoint(&self) -> &'static str;

    /// Whether a request could prove its sender at all: if not, its body is not read.
    fn is_well_formed(&self, proof: &CallbackProof<'_>) -> bool;

    /// Whether its callbacks say which sender they are about. If not, one is about a sender whose
    /// secret has proved it.
    fn names_senders(&self) -> bool {
        true
    }

    /// Which of `secrets` prove, with this request and its body, who sent it, by position: none, if
    /// it does not come from the provider. All are tried, in constant time each.
    fn fitting(
        &self,
        secrets: &[&SecretString],
        proof: &CallbackProof<'_>,
        body: &[u8],
    ) -> Vec<usize>;

    /// Reads the query of a `GET`, as names and values; `None`: it is no handshake.
    fn handshake(&self, query: &[(String, String)]) -> Option<WebhookHandshake>;

    /// Whether a body goes before others when callbacks wait.
    fn is_urgent(&self, body: &[u8]) -> bool;

    /// What a callback says. Never fails: what cannot be read is listed in [`ParsedCallback::dead`].
    fn parse(&self, body: &[u8], received_at: Timestamp) -> ParsedCallback;
}

/// Stands in where nothing can be sent, with the reason: no call is made.
#[derive(Clone, Debug)]
pub struct UnavailableSender(pub String);

#[async_trait]
impl MessageSender for UnavailableSender {
    async fn send(&self, _message: &OutgoingMessage) -> ProviderExchange {
        ProviderExchange {
            request: serde_json::json!("no call was made"),
            http_status: None,
            answer: None,
            outcome: ProviderCallOutcome::Unavailable {
                reason: self.0.clone(),
            },
        }
    }

    async fn is_reachable(&self) -> bool {
        false
    }
}
