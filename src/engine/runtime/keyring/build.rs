//! Builds a keyring from rows and the environment.

use uuid::Uuid;

use super::{
    CallbackSigningSecret, ENVIRONMENT, EnvironmentCredentials, ProviderCredentialCache,
    ProviderCredentialSet, SenderAccount, SenderTokenAvailability, scope_of, token_scope,
};
use crate::{
    domain::credential::CredentialKind, engine::runtime::vault::place,
    providers::ProviderCallbackReceiver, store::sender,
};

/// Credentials of the environment, with the scope of their secrets.
struct EnvironmentApp<'a> {
    credentials: &'a EnvironmentCredentials,
    label: String,
    scope: String,
}

/// Decrypts what can be decrypted, and assigns each secret to its scope.
pub(super) fn build(
    keys: &ProviderCredentialCache,
    revision: i64,
    rows: &[entity::sender::Model],
    credentials: &[entity::credential::Model],
) -> ProviderCredentialSet {
    let open = |row: &entity::credential::Model| {
        keys.vault
            .as_ref()
            .and_then(|vault| vault.open(&place(row.id), &row.sealed))
    };
    let active = |kind: CredentialKind| {
        credentials
            .iter()
            .filter(move |row| row.active && row.kind == kind.name())
    };
    let mut ring = ProviderCredentialSet {
        revision: Some(revision),
        ..ProviderCredentialSet::default()
    };
    // Naming an app is not enough: without a secret of its own, its callbacks are signed with the
    // environment's.
    let own_app = |row: &entity::sender::Model| {
        let own = scope_of(row);
        active(CredentialKind::AppSecret)
            .any(|credential| credential.scope == own)
            .then_some(own)
    };
    // The environment's secrets belong to the app of its number.
    let environments: Vec<EnvironmentApp<'_>> = keys
        .environments
        .iter()
        .enumerate()
        .map(|(place, credentials)| {
            let label = credentials.label(place == 0);
            let its_row = rows.iter().find(|row| credentials.is_of(row));
            EnvironmentApp {
                credentials,
                scope: its_row.and_then(own_app).unwrap_or_else(|| label.clone()),
                label,
            }
        })
        .collect();
    let of_kind = |kind: &str| environments.iter().find(|it| it.credentials.kind == kind);
    for row in rows {
        // The newest token is used; the environment's if there is none.
        let newest = active(CredentialKind::AccessToken)
            .filter(|credential| credential.scope == token_scope(row.id))
            .max_by_key(|credential| credential.id);
        let token = match newest {
            Some(credential) => open(credential).map_or(
                SenderTokenAvailability::Unreadable,
                SenderTokenAvailability::Ready,
            ),
            None => of_kind(&row.kind)
                .filter(|it| it.credentials.is_of(row))
                .and_then(|it| it.credentials.access_token.clone())
                .map_or_else(
                    || without_token(keys, &row.kind),
                    SenderTokenAvailability::Ready,
                ),
        };
        let mut settings = sender::settings_of(row);
        if let Some(environment) = of_kind(&row.kind) {
            let own = environment.credentials.is_of(row);
            let own = own.then_some(&environment.credentials.own_settings);
            for (name, value) in own
                .into_iter()
                .flatten()
                .chain(&environment.credentials.settings)
            {
                settings
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        ring.accounts.push(SenderAccount {
            id: row.id,
            name: row.name.clone(),
            kind: row.kind.clone(),
            endpoint_id: row.endpoint_id.clone(),
            account_id: row.account_id.clone(),
            settings,
            is_default: row.is_default,
            off: row
                .off_at
                .map(|_| row.off_reason.clone().unwrap_or_default()),
            token,
            revision: row.revision,
            // A sender without an app of its own belongs to the environment's.
            scope: own_app(row)
                .or_else(|| {
                    let environment = of_kind(&row.kind).or(environments.first());
                    environment.map(|it| it.scope.clone())
                })
                .unwrap_or_else(|| ENVIRONMENT.to_owned()),
            is_named_in_callbacks: is_named_in_callbacks(keys, &row.kind),
        });
    }
    ring.unstored = environments
        .iter()
        .filter(|it| !rows.iter().any(|row| it.credentials.is_of(row)))
        .filter_map(|it| unstored(keys, it))
        .collect();
    for environment in &environments {
        let secrets = environment.credentials.app_secrets.iter();
        ring.signers
            .extend(secrets.map(|secret| CallbackSigningSecret {
                kind: environment.credentials.kind.clone(),
                secret: secret.clone(),
                label: environment.label.clone(),
                scope: environment.scope.clone(),
            }));
    }
    for row in active(CredentialKind::AppSecret) {
        match open(row) {
            Some(secret) => ring.signers.push(CallbackSigningSecret {
                // An app is of the provider of its senders.
                kind: rows
                    .iter()
                    .find(|sender| scope_of(sender) == row.scope)
                    .map_or_else(
                        || keys.providers.default_kind().to_owned(),
                        |sender| sender.kind.clone(),
                    ),
                secret,
                label: row.id.to_string(),
                scope: row.scope.clone(),
            }),
            None => ring.unreadable_secrets += 1,
        }
    }
    ring.scopes = credentials
        .iter()
        .filter(|row| row.kind == CredentialKind::AppSecret.name())
        .map(|row| (row.id.to_string(), row.scope.clone()))
        .collect();
    for environment in environments {
        ring.scopes.insert(environment.label, environment.scope);
        ring.verify_tokens
            .extend(environment.credentials.verify_token.clone());
    }
    ring.verify_tokens
        .extend(active(CredentialKind::VerifyToken).filter_map(open));
    let mut scopes: Vec<&str> = ring
        .accounts
        .iter()
        .map(|account| account.scope.as_str())
        .chain(ring.signers.iter().map(|signer| signer.scope.as_str()))
        .collect();
    scopes.sort_unstable();
    scopes.dedup();
    ring.one_app = scopes.len() <= 1;
    ring
}

/// What a sender has that has no token.
fn without_token(keys: &ProviderCredentialCache, kind: &str) -> SenderTokenAvailability {
    let provider = keys.providers.find(kind);
    if provider.is_some_and(|provider| !provider.needs_token()) {
        SenderTokenAvailability::NotNeeded
    } else {
        SenderTokenAvailability::Missing
    }
}

/// The sender that the next start of a server stores for the environment.
fn unstored(
    keys: &ProviderCredentialCache,
    EnvironmentApp {
        credentials, scope, ..
    }: &EnvironmentApp<'_>,
) -> Option<SenderAccount> {
    let endpoint_id = credentials.endpoint_id.clone()?;
    let token = credentials.access_token.clone();
    Some(SenderAccount {
        id: Uuid::nil(),
        name: endpoint_id.clone(),
        kind: credentials.kind.clone(),
        endpoint_id: Some(endpoint_id),
        account_id: credentials.account_id.clone(),
        settings: credentials
            .settings
            .iter()
            .chain(&credentials.own_settings)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        is_default: false,
        off: None,
        token: token.map_or_else(
            || without_token(keys, &credentials.kind),
            SenderTokenAvailability::Ready,
        ),
        revision: 0,
        scope: scope.clone(),
        is_named_in_callbacks: is_named_in_callbacks(keys, &credentials.kind),
    })
}

/// Whether callbacks of a kind of provider say which sender they are about.
fn is_named_in_callbacks(keys: &ProviderCredentialCache, kind: &str) -> bool {
    let provider = keys.providers.find(kind);
    let receiver = provider.and_then(|provider| provider.receiver());
    receiver.is_none_or(ProviderCallbackReceiver::names_senders)
}
