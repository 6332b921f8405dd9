//! How providers write their JSON, headers, signatures and error codes.
//!
//! A provider turns a [`Message`] into a call and the answer into an
//! [`Outcome`]; its callbacks become [`Update`]s and [`Inbound`]s. Nothing
//! outside this folder knows what a provider's documents look like.

mod item;
pub mod meta;

pub use item::{
    AccountEffect, AccountNews, Dead, FactName, Identity, Inbound, Item, ItemKind, News, Other,
    Parsed, PersonIds, Subject, TemplateChange, TemplateNews, Update,
};

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::SecretString;
use uuid::Uuid;

use crate::domain::{content, outcome::Outcome, recipient::Address, template::layout::Filled};

/// What a provider says of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberFacts {
    /// How many messages per second it may send; absent: it does not say.
    pub per_second: Option<i64>,
    /// How people write it, digits only.
    pub display_number: Option<String>,
}

/// One message, ready to be written for a provider.
#[derive(Clone, Debug)]
pub struct Message {
    /// Travels with the message and comes back in its callbacks.
    pub attempt_id: Uuid,
    pub to: Address,
    pub content: Content,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// The parameters hold a code: they are not kept in the record of the request.
    pub sensitive: bool,
}

/// What is to be said.
#[derive(Clone, Debug)]
pub enum Content {
    Template {
        name: String,
        language: String,
        filled: Filled,
    },
    /// Everything that arrives only while the window is open.
    Free(content::Content),
}

/// One call: what was asked, what came back, and what that means.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: serde_json::Value,
    pub http_status: Option<u16>,
    pub answer: Option<String>,
    pub outcome: Outcome,
}

/// Something that can send.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Makes one call, once, without following redirects or retrying.
    async fn send(&self, message: &Message) -> Exchange;

    /// Whether it answers at all, in whatever words: asked without sending anything.
    async fn is_reachable(&self) -> bool {
        true
    }

    /// What it says of the number.
    async fn number(&self) -> Result<NumberFacts, AskError> {
        Err(AskError::Unsupported)
    }

    /// Fetches a file that a person sent, at most `max_bytes` of it.
    async fn media(&self, _id: &str, _max_bytes: usize) -> Result<Media, AskError> {
        Err(AskError::Unsupported)
    }

    /// Shows a person that their message, and all before it, were read.
    async fn mark_read(&self, _provider_message_id: &str) -> Result<(), AskError> {
        Err(AskError::Unsupported)
    }
}

/// A file that a person sent.
#[derive(Clone, Debug)]
pub struct Media {
    pub mime_type: String,
    pub content: bytes::Bytes,
}

/// Why a provider did not give what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
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

/// A connection that idles longer is not used again: the other side may close it just
/// as a request goes out, and then nobody knows whether that arrived. Common servers
/// keep theirs for five seconds and more.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// Makes what a sender sends with.
#[derive(Clone, Debug)]
pub struct Connector(reqwest::Client);

impl Connector {
    pub fn new(timeout: Duration, connect_timeout: Duration) -> Result<Self, reqwest::Error> {
        http_client(timeout, connect_timeout).map(Self)
    }

    /// A provider of this kind; none if this version does not know it.
    pub fn connect(
        &self,
        kind: &str,
        base: &str,
        version: &str,
        number: &str,
        token: SecretString,
    ) -> Option<Arc<dyn Provider>> {
        match kind {
            "meta" => {
                let client =
                    meta::client::MetaClient::new(self.0.clone(), base, version, number, token);
                Some(Arc::new(client))
            }
            _ => None,
        }
    }
}

/// Stands where nothing can send, with the reason: no call is made, and none is lost.
#[derive(Clone, Debug)]
pub struct UnavailableProvider(pub String);

#[async_trait]
impl Provider for UnavailableProvider {
    async fn send(&self, _message: &Message) -> Exchange {
        Exchange {
            request: serde_json::json!("no call was made"),
            http_status: None,
            answer: None,
            outcome: Outcome::Unavailable {
                reason: self.0.clone(),
            },
        }
    }

    async fn is_reachable(&self) -> bool {
        false
    }
}

/// What HTTP is spoken with.
pub type HttpClient = reqwest::Client;

/// The one way to make an HTTP client: with time-outs, without redirects.
pub fn http_client(
    timeout: Duration,
    connect_timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    // Ignoring the result is right: it is an error only when a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(connect_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(256)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true)
        .user_agent(concat!("herald/", env!("CARGO_PKG_VERSION")))
        .build()
}
