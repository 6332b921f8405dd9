//! Builds a keyring from rows and the environment.

use super::{
    CallbackSigningSecret, ENVIRONMENT, ProviderCredentialCache, ProviderCredentialSet,
    SenderAccount, SenderTokenAvailability, scope_of, token_scope,
};
use crate::{domain::credential::CredentialKind, engine::runtime::vault::place, store::sender};

/// Decrypts what can be decrypted, and assigns each secret to its scope.
pub(super) fn build(
    keys: &ProviderCredentialCache,
    revision: i64,
    rows: &[entity::sender::Model],
    credentials: &[entity::credential::Model],
) -> ProviderCredentialSet {
    let environment = &keys.environment;
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
    let environments_app = rows
        .iter()
        .find(|row| environment.is_of(row))
        .and_then(own_app)
        .unwrap_or_else(|| ENVIRONMENT.to_owned());
    for row in rows {
        // The newest token is used; the environment's if there is none.
        let newest = active(CredentialKind::AccessToken)
            .filter(|credential| credential.scope == token_scope(row.id))
            .max_by_key(|credential| credential.id);
        let provider = keys.providers.find(&row.kind);
        let token = match newest {
            None if provider.is_some_and(|provider| !provider.needs_token()) => {
                SenderTokenAvailability::NotNeeded
            }
            Some(credential) => open(credential).map_or(
                SenderTokenAvailability::Unreadable,
                SenderTokenAvailability::Ready,
            ),
            None => environment
                .access_token
                .clone()
                .filter(|_| environment.is_of(row))
                .map_or(
                    SenderTokenAvailability::Missing,
                    SenderTokenAvailability::Ready,
                ),
        };
        let mut settings = sender::settings_of(row);
        if row.kind == environment.kind {
            for (name, value) in &environment.settings {
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
            scope: own_app(row).unwrap_or_else(|| environments_app.clone()),
        });
    }
    ring.signers.extend(
        environment
            .app_secrets
            .iter()
            .map(|secret| CallbackSigningSecret {
                kind: environment.kind.clone(),
                secret: secret.clone(),
                label: ENVIRONMENT.to_owned(),
                scope: environments_app.clone(),
            }),
    );
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
    ring.scopes
        .insert(ENVIRONMENT.to_owned(), environments_app.clone());
    ring.verify_tokens.extend(environment.verify_token.clone());
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
