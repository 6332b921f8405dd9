//! The templates of an account: read, made, changed (Meta, "Message templates"). Meta counts
//! these calls by the hour: 200 for an account, 100 templates made.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::inspect::{Inspector, MOST_PAGES, Refusal, list, text};

/// What Meta answers when there is a template of this name and language.
const EXISTS: i64 = 2_388_024;

/// A template as an account has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remote {
    pub id: String,
    pub name: String,
    pub language: String,
    /// `APPROVED`, `PENDING`, `REJECTED`, …
    pub status: String,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`.
    pub category: Option<String>,
    /// `GREEN`, `YELLOW`, `RED` or `UNKNOWN`.
    pub quality: Option<String>,
    pub rejected_reason: Option<String>,
    pub components: Vec<Value>,
}

/// What came of making one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub id: String,
    pub status: String,
    /// Meta may have chosen another one.
    pub category: Option<String>,
}

impl Refusal {
    /// Whether there is a template of this name and language already.
    pub const fn is_taken(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                subcode: EXISTS,
                ..
            }
        )
    }
}

impl Inspector {
    /// Every template of an account.
    pub async fn account_templates(&self, account: &str) -> Result<Vec<Remote>, Refusal> {
        let path = format!("{account}/message_templates");
        let fields = "id,name,language,status,category,components,quality_score,rejected_reason";
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = vec![("fields", fields), ("limit", "100")];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let (answer, _) = self.get(&path, &query, Some(&self.token)).await?;
            all.extend(list(&answer, "/data").filter_map(remote));
            after = text(&answer, "/paging/cursors/after")
                .filter(|_| text(&answer, "/paging/next").is_some());
            if after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Makes a template.
    pub async fn make_template(&self, account: &str, document: &Value) -> Result<Made, Refusal> {
        let answer = self
            .post(&format!("{account}/message_templates"), document)
            .await?;
        Ok(Made {
            id: text(&answer, "/id").unwrap_or_default(),
            status: text(&answer, "/status").unwrap_or_else(|| "PENDING".to_owned()),
            category: text(&answer, "/category"),
        })
    }

    /// Puts other components in the place of a template's.
    pub async fn change_template(&self, id: &str, components: &[Value]) -> Result<(), Refusal> {
        let document = serde_json::json!({ "components": components });
        self.post(id, &document).await.map(drop)
    }

    async fn post(&self, path: &str, document: &Value) -> Result<Value, Refusal> {
        let request = self
            .http
            .post(format!("{}/{path}", self.graph))
            .bearer_auth(self.token.expose_secret())
            .json(document);
        let (answer, _) = Self::answered(request).await?;
        Ok(answer)
    }
}

fn remote(value: &Value) -> Option<Remote> {
    Some(Remote {
        id: text(value, "/id").unwrap_or_default(),
        name: text(value, "/name")?,
        language: text(value, "/language")?,
        status: text(value, "/status")?,
        category: text(value, "/category"),
        quality: text(value, "/quality_score/score"),
        rejected_reason: text(value, "/rejected_reason").filter(|reason| reason != "NONE"),
        components: list(value, "/components").cloned().collect(),
    })
}
