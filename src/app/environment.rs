//! What the environment says of senders: their credentials, and the senders themselves.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use crate::{
    config::Config,
    domain::{
        audit_action::AuditAction, credential::CredentialKind, smtp_url::SmtpUrl, time::Timestamp,
    },
    engine::runtime::keyring::{EnvironmentCredentials, REVISION, token_scope},
    store::{self, Store, credential, sender},
};

/// The credentials of the environment, for each kind of provider: the first is of senders whose kind
/// is not said.
pub(super) fn credentials(config: &Config, first: &str) -> Vec<EnvironmentCredentials> {
    let (own, other) = (&config.whatsapp, &config.myoperator);
    let settings = |all: &[(&str, Option<&String>)]| {
        all.iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.clone())))
            .collect()
    };
    let mail = &config.email;
    let server = mail
        .smtp_url
        .as_ref()
        .and_then(|url| SmtpUrl::parse(url.expose_secret()).ok());
    let port = server.as_ref().and_then(|server| server.port);
    let port = port.map(|port| port.to_string());
    let tls = server.as_ref().map(|server| server.tls.to_owned());
    vec![
        EnvironmentCredentials {
            kind: first.to_owned(),
            endpoint_id: own.phone_number_id.clone(),
            account_id: own.waba_id.clone(),
            access_token: own.access_token.clone(),
            app_secrets: own.app_secrets.clone(),
            verify_token: own.verify_token.clone(),
            settings: settings(&[
                ("api_version", Some(&own.api_version)),
                ("api_base", Some(&own.api_base)),
            ]),
            own_settings: BTreeMap::new(),
        },
        EnvironmentCredentials {
            kind: "myoperator".to_owned(),
            endpoint_id: other.phone_number.clone(),
            account_id: other.waba_id.clone(),
            access_token: other.api_key.clone(),
            app_secrets: other.callback_secrets.clone(),
            verify_token: None,
            settings: settings(&[
                ("company_id", other.company_id.as_ref()),
                ("api_base", Some(&other.api_base)),
            ]),
            own_settings: BTreeMap::new(),
        },
        EnvironmentCredentials {
            kind: "smtp".to_owned(),
            endpoint_id: mail.from.clone().filter(|_| server.is_some()),
            account_id: None,
            access_token: server.as_ref().and_then(|server| server.password.clone()),
            app_secrets: Vec::new(),
            verify_token: None,
            settings: BTreeMap::new(),
            // Another mail server has another password, and another product another name.
            own_settings: settings(&[
                ("host", server.as_ref().map(|server| &server.host)),
                ("port", port.as_ref()),
                ("tls", tls.as_ref()),
                (
                    "username",
                    server.as_ref().and_then(|server| server.username.as_ref()),
                ),
                ("from_name", mail.from_name.as_ref()),
                ("ca_file", mail.ca_file.as_ref()),
                ("bounces", mail.bounces.as_ref()),
            ]),
        },
    ]
}

/// The sender that the environment's credentials belong to, created if there is none. If it may take
/// over, it becomes the default if the default has no credentials.
pub(super) async fn ensure_sender(
    environment: &EnvironmentCredentials,
    may_take_over: bool,
    store: &Store,
    now: Timestamp,
) -> anyhow::Result<()> {
    let Some(number) = environment.endpoint_id.as_deref() else {
        return Ok(());
    };
    let account_id = environment.account_id.as_deref();
    let reader = store.reader();
    let known = sender::by_endpoint_id(reader, number).await?;
    let default = sender::default_one(reader).await?;
    let as_known = known
        .as_ref()
        .is_some_and(|row| account_id.is_none() || row.account_id.as_deref() == account_id);
    let sends = match &default {
        Some(default) if default.endpoint_id.as_deref() != Some(number) => {
            let scope = token_scope(default.id);
            let own = credential::active_of(reader, &scope, CredentialKind::AccessToken).await?;
            !own.is_empty()
        }
        Some(_) => true,
        None => false,
    };
    let takes_over = may_take_over && !sends && environment.access_token.is_some();
    if as_known && !takes_over {
        return Ok(());
    }
    let name = store
        .write(async |tx| {
            // Serializes changes of senders.
            store::setting::count_up(tx, REVISION, now).await?;
            let kind = &environment.kind;
            let row = sender::ensure(tx, kind, number, account_id, now).await?;
            if takes_over && !row.is_default {
                sender::make_default(tx, row.id, now).await?;
                let detail = serde_json::json!({
                    "before": default.as_ref().map(|row| row.name.as_str()),
                    "because": "the default has nothing to send with, and this is the environment's number",
                });
                let action = AuditAction::SenderDefault;
                store::audit::note(tx, "herald", action, &row.name, &detail, now).await?;
                return Ok(Some(row.name));
            }
            Ok(None)
        })
        .await?;
    if let Some(name) = name {
        tracing::warn!(
            event = "sender.default",
            name,
            "the number from the environment is now the default sender: the previous default sender has no credentials"
        );
    }
    Ok(())
}
