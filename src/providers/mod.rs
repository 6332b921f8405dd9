//! Providers: their HTTP calls, JSON, headers, signatures and error codes.
//!
//! A [`Provider`] implements the traits of `port.rs` that it can; [`Registry`] lists them. It turns
//! a [`ProviderMessage`] into a call and the response into a
//! [`CallOutcome`](crate::domain::outcome::CallOutcome); its callbacks become [`StatusUpdate`]s and
//! [`InboundItem`]s. Nothing outside this folder knows what a provider's documents look like.

mod diagnose;
mod http;
mod item;
mod message;
pub mod meta;
mod port;
mod registry;
mod template;

pub use diagnose::{
    DiagnosisFinding, DiagnosisRequest, FindingSeverity, ProbeAnswer, ProviderDiagnosis,
    UsedTemplate,
};
pub use http::{HttpClient, http_client, reported_proxy};
pub use item::{
    AccountEffect, AccountUpdate, CallbackItem, DeadItem, FactName, Identity, IgnoredItem,
    InboundItem, ItemKind, ParsedCallback, PersonIds, ProviderUpdate, StatusUpdate, TemplateChange,
    TemplateUpdate, UpdateSubject,
};
pub use message::{
    DownloadedMedia, OutgoingContent, ProviderExchange, ProviderMessage, ProviderQueryError,
    SenderNumberFacts,
};
pub use port::{
    KnownError, MessageInbox, MessageSender, Provider, Receiver, SenderConnection, SenderFields,
    UnavailableSender, UnknownOutcome, WebhookHandshake,
};
pub use registry::Registry;
pub use template::{
    CreatedTemplate, DirectoryError, OTHER_PARTS, PulledTemplate, RemoteTemplate, SampleFile,
    TemplateDefinition, TemplateDifference, TemplateDirectory, TemplateFormat,
};
