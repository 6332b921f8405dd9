//! Meta's templates, as the port asks for them.

use async_trait::async_trait;
use serde_json::Value;

use super::{
    MetaProvider, definition,
    inspect::{MetaQueryClient, MetaQueryError},
    pulled, templates,
};
use crate::domain::template_status::TemplateStatus;
use crate::providers::{
    CreatedTemplate, ProviderTemplateFormat, PulledTemplate, RemoteTemplate,
    RemoteTemplateDirectory, TemplateDefinition, TemplateDifference, TemplateDirectoryError,
    TemplateSampleFile,
};

/// The templates of one business account.
pub(super) struct MetaTemplateDirectory {
    pub inspector: MetaQueryClient,
    pub account_id: String,
}

impl From<MetaQueryError> for TemplateDirectoryError {
    fn from(refusal: MetaQueryError) -> Self {
        Self {
            is_taken: refusal.is_taken(),
            reason: refusal.to_string(),
        }
    }
}

impl From<definition::TemplateDefinitionError> for TemplateDirectoryError {
    fn from(impossible: definition::TemplateDefinitionError) -> Self {
        Self {
            is_taken: false,
            reason: impossible.to_string(),
        }
    }
}

impl ProviderTemplateFormat for MetaProvider {
    fn document(&self, definition: TemplateDefinition<'_>) -> Result<Value, String> {
        definition::document(definition).map_err(|impossible| impossible.to_string())
    }

    /// What is approved, rejected or paused (Meta, "Edit templates").
    fn is_editable(&self, status: TemplateStatus) -> bool {
        use TemplateStatus::{Approved, Paused, Rejected};
        matches!(status, Approved | Rejected | Paused)
    }

    fn check(&self, definition: TemplateDefinition<'_>) -> Result<(), String> {
        definition::components(definition)
            .map(drop)
            .map_err(|impossible| impossible.to_string())
    }

    fn drift(
        &self,
        ours: TemplateDefinition<'_>,
        theirs: &RemoteTemplate,
    ) -> Vec<TemplateDifference> {
        definition::drift(
            &definition::compared(ours),
            ours.category,
            &theirs.components,
            theirs.category,
        )
    }

    fn pulled(&self, remote: &RemoteTemplate, name: &str) -> Result<PulledTemplate, String> {
        pulled::written(remote, name)
    }

    fn sample(&self, filename: &str, bytes: Vec<u8>) -> Result<TemplateSampleFile, &'static str> {
        templates::sample(filename, bytes)
    }
}

#[async_trait]
impl RemoteTemplateDirectory for MetaTemplateDirectory {
    async fn all(&self) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError> {
        Ok(self.inspector.account_templates(&self.account_id).await?)
    }

    async fn named(&self, name: &str) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError> {
        Ok(self
            .inspector
            .templates_named(&self.account_id, name)
            .await?)
    }

    async fn create(
        &self,
        definition: TemplateDefinition<'_>,
    ) -> Result<CreatedTemplate, TemplateDirectoryError> {
        let document = definition::document(definition)?;
        Ok(self
            .inspector
            .make_template(&self.account_id, &document)
            .await?)
    }

    async fn edit(
        &self,
        id: &str,
        definition: TemplateDefinition<'_>,
    ) -> Result<(), TemplateDirectoryError> {
        let components = definition::components(definition)?;
        Ok(self.inspector.change_template(id, &components).await?)
    }

    async fn upload(&self, sample: &TemplateSampleFile) -> Result<String, TemplateDirectoryError> {
        Ok(self.inspector.upload(sample).await?)
    }
}
