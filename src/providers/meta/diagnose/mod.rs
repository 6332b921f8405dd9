//! Meta's half of `herald check`: token, number, account, subscription, callback, templates.

mod number;
mod probe;
mod subscription;
mod templates;
mod token;

use async_trait::async_trait;
use secrecy::SecretString;

use super::{
    MetaProvider,
    inspect::{MetaQueryClient, MetaQueryError},
};
use crate::providers::{
    CallbackSecretWords, DiagnosisFinding, DiagnosisRequest, FindingSeverity, HttpClient,
    ProviderDiagnosis, WebhookProbeResult,
};

/// Codes of limits and temporary failures at Meta: they say nothing about the object of the request
/// (Meta, "Handle errors", "Rate limits").
const PASSING: [i64; 5] = [2, 4, 17, 613, 80_008];

fn is_passing(refusal: &MetaQueryError) -> bool {
    match refusal {
        MetaQueryError::Refused { code, .. } => PASSING.contains(code),
        MetaQueryError::Unreachable | MetaQueryError::Unreadable(_) | MetaQueryError::Endless => {
            true
        }
    }
}

/// Findings about one sender.
#[derive(Default)]
struct SenderDiagnosisFindings {
    findings: Vec<DiagnosisFinding>,
}

impl SenderDiagnosisFindings {
    fn add(
        &mut self,
        name: &'static str,
        verdict: FindingSeverity,
        found: impl Into<String>,
        remedy: &str,
    ) {
        self.findings.push(DiagnosisFinding {
            name,
            verdict,
            found: found.into(),
            remedy: remedy.to_owned(),
        });
    }

    fn good(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, FindingSeverity::Ok, found, "");
    }

    fn skip(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, FindingSeverity::Skipped, found, "");
    }
}

#[async_trait]
impl ProviderDiagnosis for MetaProvider {
    async fn diagnose(
        &self,
        http: &HttpClient,
        request: DiagnosisRequest<'_>,
    ) -> Vec<DiagnosisFinding> {
        let mut sheet = SenderDiagnosisFindings::default();
        one(&mut sheet, http, &request).await;
        sheet.findings
    }

    fn callback_secret_words(&self) -> CallbackSecretWords {
        CallbackSecretWords {
            row: "app_secret",
            name: "the app secret",
            setting: "Set WHATSAPP_APP_SECRET (App Dashboard, Settings, Basic), or set it for the sender: herald senders set --app-secret-file.",
            length: "Meta's have 32 hex digits: was all of it copied?",
        }
    }

    fn has_handshake(&self) -> bool {
        true
    }

    async fn probe_handshake(
        &self,
        http: &HttpClient,
        url: &str,
        token: &SecretString,
        nonce: &str,
    ) -> Option<WebhookProbeResult> {
        Some(probe::handshake(http, url, token, nonce).await)
    }

    async fn probe_signature(
        &self,
        http: &HttpClient,
        url: &str,
        secret: &SecretString,
        nonce: &str,
    ) -> Option<WebhookProbeResult> {
        Some(probe::signed_post(http, url, secret, nonce).await)
    }
}

async fn one(
    sheet: &mut SenderDiagnosisFindings,
    http: &HttpClient,
    request: &DiagnosisRequest<'_>,
) {
    let connection = request.connection;
    let inspector = MetaQueryClient::of(http, connection);
    let facts = match inspector.token().await {
        Ok(facts) => Some(facts),
        Err(refusal) => {
            if token::is_refused(sheet, &refusal) {
                return;
            }
            None
        }
    };
    if let Some(facts) = &facts {
        token::facts(sheet, connection.account_id.as_ref(), facts, request.now);
    }
    let number = match inspector.number(&connection.endpoint_id).await {
        Ok(found) => found,
        Err(refusal) => {
            if !token::is_refused(sheet, &refusal) {
                sheet.add("number", if is_passing(&refusal) { FindingSeverity::Warning } else { FindingSeverity::Failed }, format!("The number cannot be read: {refusal}."), "Is WHATSAPP_PHONE_NUMBER_ID Meta's id of the number (not the number itself), and in an account that the token may use?");
            }
            return;
        }
    };
    number::facts(sheet, &number, request.now);
    let app_id = request
        .app_id
        .clone()
        .or_else(|| facts.as_ref().and_then(|facts| facts.app_id.clone()));
    subscription::look(sheet, &inspector, app_id.as_deref(), &number, request).await;
    if let Some(account_id) = &connection.account_id {
        templates::look(sheet, &inspector, account_id, request.templates).await;
    }
}
