//! Credentials of senders: stored encrypted, and write-only.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::{FieldError, SenderAdminActor, SenderAdminError, change, changed, field, made_before};
use crate::{
    domain::{
        audit_action::AuditAction,
        credential as rules,
        credential::{CredentialKind, masked},
        time::Timestamp,
    },
    engine::{
        Engine,
        runtime::{
            keyring,
            vault::{VaultNonce, may_seal, place},
        },
    },
    store::{DatabaseTransaction, StoreError, credential, new_id, sender},
};

/// A credential to be stored.
#[derive(Clone, Debug)]
pub struct NewCredential {
    pub kind: CredentialKind,
    pub value: SecretString,
    /// When its issuer stops accepting it, if known.
    pub expires_at: Option<Timestamp>,
}

/// Validates credentials; errors name the position.
pub(super) fn check_all(all: &[NewCredential], now: Timestamp, wrong: &mut Vec<FieldError>) {
    for (position, new) in all.iter().enumerate() {
        let at = if all.len() == 1 {
            String::new()
        } else {
            format!("/credentials/{position}")
        };
        if let Some(rule) = rules::broken(new.value.expose_secret()) {
            wrong.push(field(&format!("{at}/value"), rule));
        }
        if new.expires_at.is_some_and(|at| at <= now) {
            wrong.push(field(&format!("{at}/expires_at"), "it is in the past"));
        }
    }
}

/// Seals a credential and stores it. A new access token replaces the old ones; app secrets and
/// verify tokens stay valid side by side, so that a rotation loses no callback.
pub(super) async fn insert(
    engine: &Engine,
    tx: &DatabaseTransaction,
    by: SenderAdminActor<'_>,
    row: &entity::sender::Model,
    id: Uuid,
    new: &NewCredential,
    nonce: VaultNonce,
) -> Result<(), SenderAdminError> {
    let Some(vault) = engine.vault() else {
        return Err(SenderAdminError::NoKey);
    };
    if !may_seal(tx, vault).await? {
        return Err(SenderAdminError::KeyReplaced);
    }
    let sealed = vault.seal(&place(id), new.value.expose_secret(), nonce)?;
    let scope = match new.kind {
        CredentialKind::AccessToken => keyring::token_scope(row.id),
        CredentialKind::AppSecret | CredentialKind::VerifyToken => keyring::scope_of(row),
    };
    if new.kind == CredentialKind::AccessToken {
        for old in credential::active_of(tx, &scope, new.kind).await? {
            credential::set_active(tx, old.id, false, by.now).await?;
        }
    }
    let kept = credential::NewCredentialRow {
        id,
        scope,
        kind: new.kind,
        sealed,
        expires_at: new.expires_at,
        added_by: by.actor.to_owned(),
    };
    credential::insert(tx, kept, by.now).await?;
    sender::forget_trouble(tx, row.id, by.now).await?;
    Ok(())
}

/// Adds a credential to a sender. The next call uses it.
pub async fn add_credential(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    sender_id: Uuid,
    new: &NewCredential,
    nonce: VaultNonce,
) -> Result<Uuid, SenderAdminError> {
    let mut wrong = Vec::new();
    check_all(std::slice::from_ref(new), by.now, &mut wrong);
    if !wrong.is_empty() {
        return Err(SenderAdminError::Fields(wrong));
    }
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, sender_id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        let id = new_id(by.now);
        let operation = format!("credential/{sender_id}");
        if let Some(before) = made_before(engine, tx, by, &operation, id).await? {
            return Ok(before);
        }
        insert(engine, tx, by, &row, id, new, nonce).await?;
        let detail = json!({
            "credential": id,
            "kind": new.kind.name(),
            "expires_at": new.expires_at.map(|at| at.to_string()),
        });
        changed(tx, by, AuditAction::CredentialAdded, &row.name, &detail).await?;
        Ok(id)
    })
    .await
}

/// A credential of this sender, or of its app.
async fn owned(
    tx: &DatabaseTransaction,
    sender_id: Uuid,
    id: Uuid,
) -> Result<Option<(entity::sender::Model, entity::credential::Model)>, StoreError> {
    let (Some(row), Some(found)) = (
        sender::lock(tx, sender_id).await?,
        credential::find(tx, id).await?,
    ) else {
        return Ok(None);
    };
    let is_its =
        found.scope == keyring::token_scope(row.id) || found.scope == keyring::scope_of(&row);
    Ok(is_its.then_some((row, found)))
}

/// Activates or deactivates a credential. If none is active, the environment's is used.
pub async fn set_active(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    sender_id: Uuid,
    id: Uuid,
    active: bool,
) -> Result<(), SenderAdminError> {
    change(engine, by.now, async |tx| {
        let Some((row, found)) = owned(tx, sender_id, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        if active && found.kind == CredentialKind::AccessToken.name() {
            for other in
                credential::active_of(tx, &found.scope, CredentialKind::AccessToken).await?
            {
                credential::set_active(tx, other.id, false, by.now).await?;
            }
        }
        credential::set_active(tx, id, active, by.now).await?;
        sender::forget_trouble(tx, row.id, by.now).await?;
        let action = if active {
            AuditAction::CredentialActivated
        } else {
            AuditAction::CredentialDeactivated
        };
        let detail = json!({ "credential": id, "kind": found.kind });
        changed(tx, by, action, &row.name, &detail).await?;
        Ok(())
    })
    .await
}

/// Deletes a credential for good.
pub async fn remove(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    sender_id: Uuid,
    id: Uuid,
) -> Result<(), SenderAdminError> {
    change(engine, by.now, async |tx| {
        let Some((row, found)) = owned(tx, sender_id, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        credential::remove(tx, id).await?;
        sender::forget_trouble(tx, row.id, by.now).await?;
        let detail = json!({ "credential": id, "kind": found.kind });
        changed(tx, by, AuditAction::CredentialRemoved, &row.name, &detail).await?;
        Ok(())
    })
    .await
}

/// A credential as shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedCredential {
    /// `None`: it comes from the environment.
    pub id: Option<Uuid>,
    pub kind: CredentialKind,
    /// First 8 … last 3 characters; `None` if none of our keys opens it.
    pub masked: Option<String>,
    pub active: bool,
    pub created_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub added_by: Option<String>,
}

/// The credentials of a sender, of its app and from the environment, newest last.
pub async fn shown(
    engine: &Engine,
    row: &entity::sender::Model,
) -> Result<Vec<MaskedCredential>, StoreError> {
    let (own, apps) = (keyring::token_scope(row.id), keyring::scope_of(row));
    let mut all = Vec::new();
    let environments = engine.keys.environments.iter();
    for environment in environments.filter(|environment| environment.is_of(row)) {
        let said = |kind, secret: &SecretString| MaskedCredential {
            id: None,
            kind,
            masked: Some(masked(secret.expose_secret())),
            active: true,
            created_at: None,
            expires_at: None,
            added_by: None,
        };
        all.extend(
            environment
                .access_token
                .iter()
                .map(|token| said(CredentialKind::AccessToken, token)),
        );
        all.extend(
            environment
                .app_secrets
                .iter()
                .map(|secret| said(CredentialKind::AppSecret, secret)),
        );
        all.extend(
            environment
                .verify_token
                .iter()
                .map(|token| said(CredentialKind::VerifyToken, token)),
        );
    }
    for credential in credential::all(engine.store.reader()).await? {
        if credential.scope != own && credential.scope != apps {
            continue;
        }
        let Some(kind) = CredentialKind::parse(&credential.kind) else {
            continue;
        };
        let opened = engine
            .vault()
            .and_then(|vault| vault.open(&place(credential.id), &credential.sealed));
        all.push(MaskedCredential {
            id: Some(credential.id),
            kind,
            masked: opened.map(|secret| masked(secret.expose_secret())),
            active: credential.active,
            created_at: Some(Timestamp::from_micros(credential.created_at)),
            expires_at: credential.expires_at.map(Timestamp::from_micros),
            added_by: Some(credential.added_by),
        });
    }
    // The environment's token is not used while there is another.
    let replaced = all
        .iter()
        .any(|it| it.id.is_some() && it.kind == CredentialKind::AccessToken && it.active);
    for it in &mut all {
        it.active &= it.id.is_some() || it.kind != CredentialKind::AccessToken || !replaced;
    }
    Ok(all)
}
