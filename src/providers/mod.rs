//! Providers: their HTTP calls, JSON, headers, signatures and error codes.
//!
//! A [`MessagingProvider`] implements the traits of `port.rs` that it can; [`ProviderRegistry`] lists them. It turns
//! a [`OutgoingMessage`] into a call and the response into a
//! [`ProviderCallOutcome`](crate::domain::outcome::ProviderCallOutcome); its callbacks become [`MessageStatusUpdate`]s and
//! [`InboundMessageItem`]s. Nothing outside this folder knows what a provider's documents look like.

mod diagnose;
mod http;
mod item;
mod message;
pub mod meta;
pub mod myoperator;
mod port;
mod registry;
pub mod smtp;
mod template;

pub use diagnose::{
    CallbackSecretWords, DiagnosisFinding, DiagnosisRequest, FindingSeverity, ProviderDiagnosis,
    UsedTemplate, WebhookProbeResult,
};
pub use http::{HttpClient, http_client, reported_proxy};
pub use item::{
    AccountUpdateEffect, CallbackItem, CallbackItemContent, DeadLetterItem, IgnoredCallbackItem,
    InboundMessageItem, MessageStatusUpdate, ParsedCallback, PersonIds, PersonIdsChange,
    ProviderAccountUpdate, ProviderTemplateChange, ProviderTemplateUpdate, ProviderUpdate,
    ProviderUpdateSubject, ReportedDeliveryFact,
};
pub use message::{
    DownloadedMedia, OutgoingContent, OutgoingMessage, ProviderExchange, ProviderQueryError,
    SenderNumberFacts,
};
pub use port::{
    CallbackProof, InboundMessageAccess, KnownProviderError, MessageSender, MessagingProvider,
    ProviderCallbackReceiver, SenderConnectionSettings, SenderFields, UnavailableSender,
    UnknownOutcomeResolution, WebhookHandshake,
};
pub use registry::ProviderRegistry;
pub use template::{
    CreatedTemplate, OTHER_PARTS, ProviderTemplateFormat, PulledTemplate, RemoteTemplate,
    RemoteTemplateDirectory, TemplateDefinition, TemplateDifference, TemplateDirectoryError,
    TemplateSampleFile,
};
