//! What is the providers' side: each looks at its own.

use secrecy::SecretString;

use super::{
    FindingSeverity, InstallationCheckInputs, InstallationCheckResult, InstallationCheckSide,
    webhook_of,
};
use crate::{
    domain::{template::name::at_meta, time::Timestamp},
    engine::{
        Engine,
        runtime::keyring::{ProviderCredentialSet, SenderAccount, SenderTokenAvailability},
    },
    providers::{DiagnosisFinding, DiagnosisRequest, HttpClient, MessagingProvider, UsedTemplate},
    store::{StoreError, catalogue},
};

/// Every sender whose provider can look.
pub(super) async fn all(
    engine: &Engine,
    asked: &InstallationCheckInputs,
    http: &HttpClient,
    now: Timestamp,
) -> Result<Vec<InstallationCheckResult>, StoreError> {
    let ring = engine.keyring();
    let suffix = engine.settings.template_suffix.as_deref();
    let mut templates: Vec<UsedTemplate> = catalogue::template_names(&engine.store)
        .await?
        .into_iter()
        .map(|(name, language)| UsedTemplate {
            remote_name: at_meta(&name, suffix),
            name,
            language,
        })
        .collect();
    templates.sort_unstable();
    templates.dedup();
    let mut rows = Vec::new();
    let asked_for = |account: &&SenderAccount| asked.sender.is_none_or(|it| it == account.id);
    let accounts = ring.accounts.iter().chain(&ring.unstored);
    for account in accounts.filter(asked_for) {
        let Some(provider) = engine.providers().find(&account.kind) else {
            continue;
        };
        let found = one(
            provider.as_ref(),
            account,
            &ring,
            &templates,
            asked,
            http,
            now,
        )
        .await;
        rows.extend(found.into_iter().map(|finding| {
            InstallationCheckResult::new(
                InstallationCheckSide::Provider,
                finding.name,
                finding.verdict,
                finding.found,
            )
            .helps(finding.remedy)
            .of(&account.name)
        }));
    }
    Ok(rows)
}

async fn one(
    provider: &dyn MessagingProvider,
    account: &SenderAccount,
    ring: &ProviderCredentialSet,
    templates: &[UsedTemplate],
    asked: &InstallationCheckInputs,
    http: &HttpClient,
    now: Timestamp,
) -> Vec<DiagnosisFinding> {
    let Some(diagnose) = provider.diagnose() else {
        return Vec::new();
    };
    let Some(connection) = account.connection() else {
        return vec![incomplete(account, asked)];
    };
    let signers = ring.signers_of(provider.kind());
    let mut app_secrets: Vec<SecretString> = signers
        .iter()
        .filter(|signer| signer.is_of(&account.scope))
        .map(|signer| signer.secret.clone())
        .collect();
    // An app without a secret of its own has the environment's.
    if app_secrets.is_empty() {
        app_secrets = signers.iter().map(|signer| signer.secret.clone()).collect();
    }
    let request = DiagnosisRequest {
        connection: &connection,
        app_id: account.scope.strip_prefix("app:").map(str::to_owned),
        app_secrets,
        templates,
        webhook_url: asked
            .public_url
            .as_deref()
            .zip(provider.receiver())
            .map(|(public_url, receiver)| webhook_of(public_url, receiver)),
        now,
    };
    diagnose.diagnose(http, request).await
}

/// A sender that has not all that it needs to call its provider.
fn incomplete(account: &SenderAccount, asked: &InstallationCheckInputs) -> DiagnosisFinding {
    let why = account.obstacle().unwrap_or_default();
    if !asked.is_enabled && matches!(account.token, SenderTokenAvailability::Missing) {
        return DiagnosisFinding {
            name: "token",
            verdict: FindingSeverity::Skipped,
            found: format!("{why}; nothing is sent anyway."),
            remedy: String::new(),
        };
    }
    DiagnosisFinding {
        name: "token",
        verdict: FindingSeverity::Failed,
        found: why,
        remedy: "Set what is missing: WHATSAPP_ACCESS_TOKEN and WHATSAPP_PHONE_NUMBER_ID, or herald senders set.".to_owned(),
    }
}
