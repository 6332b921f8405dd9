//! Templates that a provider keeps and reviews.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::domain::{
    category::TemplateCategory,
    quality::QualityRating,
    template::{
        layout::{TemplateButton, TemplateHeader, TemplateLayout},
        parameter::DeclaredTemplateParameter,
    },
    template_status::TemplateStatus,
};

/// A template of a catalogue, with what its provider wants to know of it.
#[derive(Clone, Copy, Debug)]
pub struct TemplateDefinition<'a> {
    /// At the provider.
    pub name: &'a str,
    pub language: &'a str,
    pub category: TemplateCategory,
    pub named: bool,
    pub ttl_seconds: Option<i64>,
    pub layout: &'a TemplateLayout,
    /// For a media header: the uploaded sample.
    pub sample: Option<&'a str>,
}

/// A template as an account has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteTemplate {
    pub id: String,
    pub name: String,
    pub language: String,
    pub status: TemplateStatus,
    pub category: Option<TemplateCategory>,
    pub quality: Option<QualityRating>,
    pub rejected_reason: Option<String>,
    /// `NAMED` or `POSITIONAL`.
    pub parameter_format: Option<String>,
    /// How long the provider tries to deliver it.
    pub ttl_seconds: Option<i64>,
    pub components: Vec<Value>,
}

/// What came of creating a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTemplate {
    pub id: String,
    pub status: TemplateStatus,
    /// The provider may have chosen another one.
    pub category: Option<TemplateCategory>,
}

/// A part that the provider has otherwise than we.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateDifference {
    /// `category`, `header`, `body`, `footer`, `buttons`, or [`OTHER_PARTS`].
    pub part: &'static str,
    pub ours: String,
    pub theirs: String,
}

/// The part of a [`TemplateDifference`] that no catalogue can say.
pub const OTHER_PARTS: &str = "other parts";

/// A file for the provider's reviewers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSampleFile {
    pub filename: String,
    pub mime_type: &'static str,
    pub bytes: Vec<u8>,
}

/// A template in the form of a catalogue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PulledTemplate {
    pub name: String,
    pub language: String,
    pub category: TemplateCategory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter_format: Option<String>,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_expiration_minutes: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub add_security_recommendation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_send_ttl_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<TemplateHeader>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub button: Vec<TemplateButton>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameter: Vec<DeclaredTemplateParameter>,
}

/// Why an account's templates could not be read or changed, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TemplateDirectoryError {
    pub reason: String,
    /// There is a template of this name and language already.
    pub is_taken: bool,
}

/// How a provider writes and reads templates: nothing of it calls anything.
pub trait ProviderTemplateFormat: Send + Sync {
    /// The document that creates the template; or why it cannot be created over the API.
    fn document(&self, definition: TemplateDefinition<'_>) -> Result<Value, String>;

    /// Whether a template may be changed in its status.
    fn is_editable(&self, status: TemplateStatus) -> bool;

    /// Why the provider would not take these parts; nothing, if it would.
    fn check(&self, definition: TemplateDefinition<'_>) -> Result<(), String>;

    /// What differs between ours and what the account has.
    fn drift(
        &self,
        ours: TemplateDefinition<'_>,
        theirs: &RemoteTemplate,
    ) -> Vec<TemplateDifference>;

    /// What an account has as a catalogue would write it under `name`; or why it cannot.
    fn pulled(&self, remote: &RemoteTemplate, name: &str) -> Result<PulledTemplate, String>;

    /// A file as a sample; or the rule that it breaks.
    fn sample(&self, filename: &str, bytes: Vec<u8>) -> Result<TemplateSampleFile, &'static str>;
}

/// The templates of one account.
#[async_trait]
pub trait RemoteTemplateDirectory: Send + Sync {
    /// All of them.
    async fn all(&self) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError>;

    /// Those whose name has `name` in it, in all their languages.
    async fn named(&self, name: &str) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError>;

    /// Creates a template.
    async fn create(
        &self,
        definition: TemplateDefinition<'_>,
    ) -> Result<CreatedTemplate, TemplateDirectoryError>;

    /// Gives the template of an id other parts.
    async fn edit(
        &self,
        id: &str,
        definition: TemplateDefinition<'_>,
    ) -> Result<(), TemplateDirectoryError>;

    /// Uploads a file for reviewers; what comes back stands for it in a template.
    async fn upload(&self, sample: &TemplateSampleFile) -> Result<String, TemplateDirectoryError>;
}
