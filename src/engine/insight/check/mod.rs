//! Whether this installation can do its work: our side of it, and the providers'. Each row says
//! what was found, and what helps.

mod ours;
mod provider;
mod public_url;

pub use ours::{database, files, of_database};

use serde::Serialize;
use uuid::Uuid;

pub use crate::providers::FindingSeverity;
use crate::{
    domain::time::Timestamp,
    engine::Engine,
    providers::{ProviderCallbackReceiver, http_client},
    store::StoreError,
};

/// The side that can fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallationCheckSide {
    Ours,
    Provider,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct InstallationCheckResult {
    pub area: InstallationCheckSide,
    /// Name of the check; stable across versions.
    pub name: &'static str,
    /// Its subject, if there are several: a sender's name.
    pub about: Option<String>,
    pub verdict: FindingSeverity,
    /// The finding, as a sentence.
    pub found: String,
    /// The remedy; empty if none is needed.
    pub remedy: String,
}

impl InstallationCheckResult {
    pub fn new(
        area: InstallationCheckSide,
        name: &'static str,
        verdict: FindingSeverity,
        found: impl Into<String>,
    ) -> Self {
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

/// Inputs of a check besides the engine.
#[derive(Clone, Debug)]
pub struct InstallationCheckInputs {
    /// How people and providers reach this server.
    pub public_url: Option<String>,
    /// A value that was not sent before.
    pub nonce: String,
    /// How long an answer may take.
    pub timeout: std::time::Duration,
    /// Whether sending is enabled (`WHATSAPP_ENABLED`).
    pub is_enabled: bool,
    /// Only checks about this sender; all if absent.
    pub sender: Option<Uuid>,
}

/// Where a provider's callbacks go, under a public URL.
pub fn webhook_of(public_url: &str, receiver: &dyn ProviderCallbackReceiver) -> String {
    format!("{public_url}/webhooks/{}", receiver.endpoint())
}

/// Runs all checks, after the database itself was found good.
pub async fn run(
    engine: &Engine,
    asked: &InstallationCheckInputs,
    now: Timestamp,
) -> Result<Vec<InstallationCheckResult>, StoreError> {
    let mut rows = ours::secrets(engine);
    rows.extend(ours::clocks(engine, now).await?);
    rows.extend(ours::workers(engine, now).await?);
    rows.extend(ours::attention(engine, asked, now).await?);
    let Ok(http) = http_client(asked.timeout, asked.timeout) else {
        rows.push(InstallationCheckResult::new(
            InstallationCheckSide::Ours,
            "network",
            FindingSeverity::Failed,
            "no HTTP client can be made",
        ));
        return Ok(rows);
    };
    rows.extend(public_url::all(engine, asked, &http).await);
    rows.extend(provider::all(engine, asked, &http, now).await?);
    Ok(rows)
}
