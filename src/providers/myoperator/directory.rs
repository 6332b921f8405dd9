//! The templates of an account, as MyOperator lists them. They are made and changed in its panel.

use async_trait::async_trait;
use serde_json::Value;

use super::client::{MyOperatorClient, MyOperatorQueryError, results};
use crate::{
    domain::{category::TemplateCategory, template_status::TemplateStatus},
    providers::{
        CreatedTemplate, RemoteTemplate, RemoteTemplateDirectory, TemplateDefinition,
        TemplateDirectoryError, TemplateSampleFile,
    },
};

/// Templates of a page.
const PAGE: usize = 100;

/// No account has more pages.
const MAX_PAGES: usize = 100;

/// The templates of one business account.
pub(super) struct MyOperatorTemplateDirectory {
    pub client: MyOperatorClient,
    pub account_id: String,
}

impl From<MyOperatorQueryError> for TemplateDirectoryError {
    fn from(error: MyOperatorQueryError) -> Self {
        Self {
            reason: error.to_string(),
            is_taken: false,
        }
    }
}

fn in_the_panel() -> TemplateDirectoryError {
    TemplateDirectoryError {
        reason: "MyOperator's API makes and changes no templates: use its panel, with what `herald templates sync --display-only` shows".to_owned(),
        is_taken: false,
    }
}

/// One template of a list; `None` if it has no name.
pub(super) fn template(entry: &Value) -> Option<RemoteTemplate> {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| entry.get(*name)?.as_str());
        found.map(str::to_owned)
    };
    let status = text(&["waba_template_status", "status"])?;
    let category = text(&["category", "template_category"]);
    Some(RemoteTemplate {
        id: text(&["waba_template_id", "template_id", "id"]).unwrap_or_default(),
        name: text(&["template_name", "name"])?,
        language: text(&["language", "language_code"])?,
        status: TemplateStatus::parse(&status.to_ascii_lowercase())
            .unwrap_or(TemplateStatus::Other),
        category: category.map(|word| {
            TemplateCategory::parse(&word.to_ascii_lowercase()).unwrap_or(TemplateCategory::Other)
        }),
        rejected_reason: text(&["rejected_reason", "rejection_reason"]),
        ..RemoteTemplate::default()
    })
}

#[async_trait]
impl RemoteTemplateDirectory for MyOperatorTemplateDirectory {
    async fn all(&self) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError> {
        let mut all = Vec::new();
        for page in 0..MAX_PAGES {
            let (limit, offset) = (PAGE.to_string(), (page * PAGE).to_string());
            let query = [
                ("waba_id", &*self.account_id),
                ("limit", &*limit),
                ("offset", &*offset),
            ];
            let entries = results(&self.client.read("/chat/templates", &query).await?);
            let count = entries.len();
            all.extend(entries.iter().filter_map(template));
            if count < PAGE {
                break;
            }
        }
        Ok(all)
    }

    async fn named(&self, name: &str) -> Result<Vec<RemoteTemplate>, TemplateDirectoryError> {
        let mut all = self.all().await?;
        all.retain(|template| template.name.contains(name));
        Ok(all)
    }

    async fn create(
        &self,
        _definition: TemplateDefinition<'_>,
    ) -> Result<CreatedTemplate, TemplateDirectoryError> {
        Err(in_the_panel())
    }

    async fn edit(
        &self,
        _id: &str,
        _definition: TemplateDefinition<'_>,
    ) -> Result<(), TemplateDirectoryError> {
        Err(in_the_panel())
    }

    async fn upload(&self, _sample: &TemplateSampleFile) -> Result<String, TemplateDirectoryError> {
        Err(in_the_panel())
    }
}
