//! Reads, creates and changes the templates of an account (Meta, "Message templates"). Meta limits
//! these calls: 200 an hour for an account, 100 created templates.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{
    inspect::{MetaQueryClient, MetaQueryError, list, text},
    words::{category, quality, status},
};
use crate::{
    domain::template_status::TemplateStatus,
    providers::{CreatedTemplate as Made, RemoteTemplate as Remote, TemplateSampleFile},
};

/// Meta's error code if a template of this name and language exists.
const EXISTS: i64 = 2_388_024;

/// Accepts the kinds of file that Meta takes as samples, by file extension (Meta, "Resumable
/// Upload API").
pub fn sample(filename: &str, bytes: Vec<u8>) -> Result<TemplateSampleFile, &'static str> {
    let end = filename.rsplit_once('.').map(|(_, end)| end.to_lowercase());
    let mime_type = match end.as_deref() {
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        Some("mp4") => "video/mp4",
        Some("pdf") => "application/pdf",
        _ => return Err("a sample is a .jpg, .png, .mp4 or .pdf file"),
    };
    if bytes.is_empty() || bytes.len() > MAX_SAMPLE_BYTES {
        return Err("a sample has 1 byte to 16 MB");
    }
    Ok(TemplateSampleFile {
        filename: filename.to_owned(),
        mime_type,
        bytes,
    })
}

/// Meta's limit for the largest kind that it shows inline.
const MAX_SAMPLE_BYTES: usize = 16_000_000;

impl MetaQueryError {
    /// Whether a template of this name and language exists already.
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

impl MetaQueryClient {
    /// Every template of an account.
    pub async fn account_templates(&self, account: &str) -> Result<Vec<Remote>, MetaQueryError> {
        self.listed(account, None).await
    }

    /// Templates whose name contains this, in all their languages.
    pub async fn templates_named(
        &self,
        account: &str,
        name: &str,
    ) -> Result<Vec<Remote>, MetaQueryError> {
        self.listed(account, Some(name)).await
    }

    async fn listed(
        &self,
        account: &str,
        name: Option<&str>,
    ) -> Result<Vec<Remote>, MetaQueryError> {
        let path = format!("{account}/message_templates");
        let fields = "id,name,language,status,category,components,quality_score,rejected_reason,parameter_format,message_send_ttl_seconds";
        let mut query = vec![("fields", fields), ("limit", "100")];
        query.extend(name.map(|name| ("name", name)));
        let all = self.pages(&path, &query).await?;
        Ok(all.iter().filter_map(remote).collect())
    }

    /// Creates a template.
    pub async fn make_template(
        &self,
        account: &str,
        document: &Value,
    ) -> Result<Made, MetaQueryError> {
        let answer = self
            .post(&format!("{account}/message_templates"), document)
            .await?;
        Ok(Made {
            id: text(&answer, "/id").unwrap_or_default(),
            status: text(&answer, "/status").map_or(TemplateStatus::Pending, |word| status(&word)),
            category: text(&answer, "/category").map(|word| category(&word)),
        })
    }

    /// Replaces the components of a template.
    pub async fn change_template(
        &self,
        id: &str,
        components: &[Value],
    ) -> Result<(), MetaQueryError> {
        let document = serde_json::json!({ "components": components });
        self.post(id, &document).await.map(drop)
    }

    /// Uploads a file for Meta's reviewers; the returned handle represents it in a template (Meta,
    /// "Resumable Upload API").
    pub async fn upload(&self, sample: &TemplateSampleFile) -> Result<String, MetaQueryError> {
        let facts = self.token().await?;
        let app_id = facts.app_id.ok_or(MetaQueryError::Unreadable(200))?;
        let length = sample.bytes.len().to_string();
        let begin = self
            .http
            .post(format!("{}/{app_id}/uploads", self.graph))
            .bearer_auth(self.token.expose_secret())
            .query(&[
                ("file_name", sample.filename.as_str()),
                ("file_length", &length),
                ("file_type", sample.mime_type),
            ]);
        let (session, _) = Self::answered(begin).await?;
        let session = text(&session, "/id").ok_or(MetaQueryError::Unreadable(200))?;
        let token = self.token.expose_secret();
        let send = self
            .http
            .post(format!("{}/{session}", self.graph))
            // Unlike all other calls, this one does not take a bearer token.
            .header("Authorization", format!("OAuth {token}"))
            .header("file_offset", "0")
            .timeout(self.upload_timeout)
            .body(sample.bytes.clone());
        let (answer, _) = Self::answered(send).await?;
        text(&answer, "/h").ok_or(MetaQueryError::Unreadable(200))
    }

    async fn post(&self, path: &str, document: &Value) -> Result<Value, MetaQueryError> {
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
        status: status(&text(value, "/status")?),
        category: text(value, "/category").map(|word| category(&word)),
        quality: text(value, "/quality_score/score").map(|word| quality(&word)),
        rejected_reason: text(value, "/rejected_reason").filter(|reason| reason != "NONE"),
        parameter_format: text(value, "/parameter_format"),
        ttl_seconds: value
            .get("message_send_ttl_seconds")
            .and_then(Value::as_i64),
        components: list(value, "/components").cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_SAMPLE_BYTES, sample};

    #[test]
    fn a_sample_has_a_known_kind_and_a_size_that_meta_takes() {
        let size = "a sample has 1 byte to 16 MB";
        let most = sample("Sample.PDF", vec![0; MAX_SAMPLE_BYTES]).unwrap();
        assert_eq!(most.mime_type, "application/pdf");
        for (name, bytes, rule) in [
            ("a.pdf", 0, size),
            ("a.pdf", MAX_SAMPLE_BYTES + 1, size),
            ("a.txt", 1, "a sample is a .jpg, .png, .mp4 or .pdf file"),
            ("pdf", 1, "a sample is a .jpg, .png, .mp4 or .pdf file"),
        ] {
            assert_eq!(sample(name, vec![0; bytes]), Err(rule), "{name}");
        }
    }
}
