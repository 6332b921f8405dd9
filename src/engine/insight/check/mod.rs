//! Whether this installation can do its work: ours, and Meta's side of it. Each row says
//! what was found, and what helps.

mod meta;
mod ours;

pub use ours::{database, files, of_database};

use serde::Serialize;
use uuid::Uuid;

use crate::{domain::time::Timestamp, engine::Engine, providers::http_client, store::StoreError};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It could not be looked at; the row says why.
    Skipped,
    /// It works, and should be different.
    Warning,
    /// It does not work.
    Failed,
}

/// Whose it is to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Ours,
    Meta,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub area: Area,
    /// What was looked at: stays the same from version to version.
    pub name: &'static str,
    /// Of several of its kind: a sender's name.
    pub about: Option<String>,
    pub verdict: Verdict,
    /// What was found, in a sentence.
    pub found: String,
    /// What helps; empty where nothing needs help.
    pub remedy: String,
}

impl Row {
    pub fn new(area: Area, name: &'static str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            area,
            name,
            about: None,
            verdict,
            found: found.into(),
            remedy: String::new(),
        }
    }

    #[must_use]
    pub fn helps(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    #[must_use]
    fn of(mut self, about: &str) -> Self {
        self.about = Some(about.to_owned());
        self
    }
}

/// What a check needs besides the engine.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How people and Meta reach this server.
    pub public_url: Option<String>,
    /// Something that was not sent before.
    pub nonce: String,
    /// How long an answer may take.
    pub timeout: std::time::Duration,
    /// Whether anything is to be sent (`WHATSAPP_ENABLED`).
    pub is_enabled: bool,
    /// Only what concerns this sender; all, if absent.
    pub sender: Option<Uuid>,
}

/// Where Meta's callbacks go, under a public URL.
pub fn webhook_of(public_url: &str) -> String {
    format!("{public_url}/webhooks/meta")
}

/// Looks at everything, after the database itself was found good.
pub async fn run(engine: &Engine, asked: &Asked, now: Timestamp) -> Result<Vec<Row>, StoreError> {
    let mut rows = ours::secrets(engine);
    rows.extend(ours::clocks(engine, now).await?);
    rows.extend(ours::workers(engine, now).await?);
    rows.extend(ours::attention(engine, asked, now).await?);
    let Ok(http) = http_client(asked.timeout, asked.timeout) else {
        rows.push(Row::new(
            Area::Ours,
            "network",
            Verdict::Failed,
            "no HTTP client can be made",
        ));
        return Ok(rows);
    };
    rows.extend(ours::public_url(engine, asked, &http).await);
    rows.extend(meta::all(engine, asked, &http, now).await?);
    Ok(rows)
}
