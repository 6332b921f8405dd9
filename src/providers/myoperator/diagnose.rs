//! MyOperator's half of `herald check`: key, company, number, templates, and our webhook.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::{
    MyOperatorProvider,
    client::{MyOperatorClient, MyOperatorQueryError},
    directory::MyOperatorTemplateDirectory,
};
use crate::{
    domain::template_status::TemplateStatus,
    providers::{
        CallbackSecretWords, DiagnosisFinding, DiagnosisRequest, FindingSeverity, HttpClient,
        ProviderDiagnosis, RemoteTemplateDirectory, WebhookProbeResult,
    },
};

fn finding(
    name: &'static str,
    verdict: FindingSeverity,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> DiagnosisFinding {
    DiagnosisFinding {
        name,
        verdict,
        found: found.into(),
        remedy: remedy.into(),
    }
}

#[async_trait]
impl ProviderDiagnosis for MyOperatorProvider {
    async fn diagnose(
        &self,
        http: &HttpClient,
        request: DiagnosisRequest<'_>,
    ) -> Vec<DiagnosisFinding> {
        let client = MyOperatorClient::new(http.clone(), request.connection.clone());
        let mut findings = Vec::new();
        match client.number_id().await {
            Ok(id) => findings.push(finding(
                "number",
                FindingSeverity::Ok,
                format!("MyOperator knows the key, the company and the number (id {id})."),
                "",
            )),
            Err(MyOperatorQueryError::Refused { failure, .. }) => findings.push(finding(
                "number",
                FindingSeverity::Failed,
                failure.meaning,
                failure.remedy,
            )),
            Err(error) => findings.push(finding(
                "number",
                FindingSeverity::Failed,
                format!("{error}."),
                "Is api_base right, and may this machine call it?",
            )),
        }
        let Some(account_id) = request.connection.account_id.clone() else {
            findings.push(finding(
                "templates",
                FindingSeverity::Skipped,
                "Without the sender's account id, templates are not looked at.",
                "Set the WhatsApp business account's id of this sender.",
            ));
            return findings;
        };
        let directory = MyOperatorTemplateDirectory { client, account_id };
        findings.extend(match directory.all().await {
            Ok(known) => request
                .templates
                .iter()
                .filter_map(|used| {
                    let theirs = known
                        .iter()
                        .find(|it| it.name == used.remote_name && it.language == used.language);
                    let (found, remedy) = match theirs {
                        Some(theirs) if theirs.status == TemplateStatus::Approved => return None,
                        Some(theirs) => (
                            format!("The template {} ({}) is {}.", used.remote_name, used.language, theirs.status),
                            "See MyOperator's panel.",
                        ),
                        None => (
                            format!("The account has no template {} ({}).", used.remote_name, used.language),
                            "Make it in MyOperator's panel: `herald templates sync --display-only` shows it.",
                        ),
                    };
                    Some(finding("templates", FindingSeverity::Warning, found, remedy))
                })
                .collect(),
            Err(error) => vec![finding(
                "templates",
                FindingSeverity::Warning,
                format!("The templates cannot be read: {error}."),
                "Does the key's company have this account?",
            )],
        });
        findings
    }

    fn callback_secret_words(&self) -> CallbackSecretWords {
        CallbackSecretWords {
            setting: "Set MYOPERATOR_API_SECRET to what its callbacks carry (docs/myoperator.md), or set it for the sender: herald senders set --app-secret-file.",
            ..CallbackSecretWords::default()
        }
    }

    async fn probe_signature(
        &self,
        http: &HttpClient,
        url: &str,
        secret: &SecretString,
        _nonce: &str,
    ) -> Option<WebhookProbeResult> {
        let secret = secret.expose_secret();
        let answer = post_probe(http, url, secret).await;
        if answer != WebhookProbeResult::Good {
            return Some(answer);
        }
        // Only another server than Herald accepts a wrong one.
        let wrong = "0".repeat(secret.len());
        Some(match post_probe(http, url, &wrong).await {
            WebhookProbeResult::Refused => answer,
            _ => WebhookProbeResult::Foreign,
        })
    }
}

/// Posts a callback without items.
async fn post_probe(http: &HttpClient, url: &str, secret: &str) -> WebhookProbeResult {
    let sent = http
        .post(url)
        .header("X-API-Key", secret)
        .json(&serde_json::json!([]))
        .send()
        .await;
    sent.map_or(WebhookProbeResult::Unreachable, |answer| {
        WebhookProbeResult::of(&answer)
    })
}
