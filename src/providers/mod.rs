//! How providers write their JSON, headers, signatures and error codes.
//!
//! A provider turns a [`Message`] into a call and the answer into an
//! [`Outcome`]; its callbacks become [`Update`]s and [`Inbound`]s. Nothing
//! outside this folder knows what a provider's documents look like.

pub mod meta;

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::{
    facts::Fact, failure::Failure, notification::Versioned, outcome::Outcome, phone::Phone,
    time::Timestamp,
};

/// One message, ready to be written for a provider.
#[derive(Clone, Debug)]
pub struct Message {
    /// Travels with the message and comes back in its callbacks.
    pub attempt_id: Uuid,
    pub to: Phone,
    pub content: Content,
    /// The parameters hold a code: they are not kept in the record of the request.
    pub sensitive: bool,
}

/// What is to be said.
#[derive(Clone, Debug)]
pub enum Content {
    Template {
        name: String,
        language: String,
        /// With names when the template's parameters are named.
        parameters: Vec<(Option<String>, String)>,
    },
    Text {
        body: String,
    },
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
pub trait Provider: Send + Sync {
    /// Makes one call, once, without following redirects or retrying.
    async fn send(&self, message: &Message) -> Exchange;
}

/// One item of a callback, with where it stood in the body.
#[derive(Clone, Debug)]
pub struct Item {
    /// JSON pointer (RFC 6901) into the callback.
    pub pointer: String,
    /// The account the item is about.
    pub phone_number_id: Option<String>,
    pub kind: ItemKind,
}

#[derive(Clone, Debug)]
pub enum ItemKind {
    Update(Box<Update>),
    Inbound(Box<Inbound>),
    /// Understood as far as it goes, kept, counted; nothing acts on it.
    Other {
        what: String,
    },
}

/// What a provider says of a message we may have sent.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Update {
    pub provider_message_id: String,
    pub our_id: Option<Uuid>,
    /// Absent for a status this version does not know.
    pub fact: Option<FactName>,
    pub status: String,
    pub at: Timestamp,
    pub failure: Option<Versioned<Failure>>,
    pub pricing: Option<Versioned<serde_json::Value>>,
}

/// [`Fact`], readable from storage.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactName {
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

impl From<FactName> for Fact {
    fn from(name: FactName) -> Self {
        match name {
            FactName::Sent => Self::Sent,
            FactName::Delivered => Self::Delivered,
            FactName::Read => Self::Read,
            FactName::Played => Self::Played,
            FactName::Failed => Self::Failed,
        }
    }
}

/// What a person wrote or tapped.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub provider_message_id: String,
    pub kind: String,
    /// The person's `wa_id`: absent for people with a username.
    pub wa_id: Option<String>,
    /// The person's business-scoped id.
    pub user_id: Option<String>,
    pub name: Option<String>,
    pub at: Timestamp,
    pub text: Option<String>,
    /// What a tapped button carries.
    pub payload: Option<String>,
    /// The message this one answers.
    pub context_message_id: Option<String>,
    /// The item as it came.
    pub raw: String,
}

/// An item that cannot be applied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    pub pointer: String,
    pub reason: String,
}

/// Everything one callback says.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub items: Vec<Item>,
    pub dead: Vec<Dead>,
}

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
        .tcp_nodelay(true)
        .user_agent(concat!("herald/", env!("CARGO_PKG_VERSION")))
        .build()
}
