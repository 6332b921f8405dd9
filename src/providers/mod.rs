//! Providers: their JSON, headers, signatures and error codes.
//!
//! A [`Provider`] implements the traits of `port.rs` that it can; [`Registry`] lists them. It turns
//! a [`Message`] into a call and the response into an `Outcome`; its callbacks become [`Update`]s
//! and [`Inbound`]s. Nothing outside this folder knows what a provider's documents look like.

mod diagnose;
mod http;
mod item;
mod message;
pub mod meta;
mod port;
mod registry;
mod template;

pub use diagnose::{
    Diagnose, DiagnosisFinding, DiagnosisRequest, ProbeAnswer, UsedTemplate, Verdict,
};
pub use http::{HttpClient, http_client, reported_proxy};
pub use item::{
    AccountEffect, AccountNews, Dead, FactName, Identity, Inbound, Item, ItemKind, News, Other,
    Parsed, PersonIds, Subject, TemplateChange, TemplateNews, Update,
};
pub use message::{AskError, Content, Exchange, Media, Message, NumberFacts};
pub use port::{
    Connection, KnownError, MessageInbox, MessageSender, Provider, Receiver, SenderFields,
    UnavailableSender, UnknownOutcome, WebhookHandshake,
};
pub use registry::Registry;
pub use template::{
    CreatedTemplate, DirectoryError, Drift, OTHER_PARTS, PulledTemplate, RemoteTemplate, Sample,
    TemplateDefinition, TemplateDirectory, TemplateFormat,
};
