//! Manages senders: adds and changes them, chooses the default, holds and releases them, and sets
//! their credentials. Each operation is one transaction with its audit entry, and every process
//! sees it before its next call.

mod ageing;
mod credentials;
mod switch;
mod throughput;

pub use ageing::turn as ageing_turn;
pub use credentials::{MaskedCredential, NewCredential, add_credential, remove, set_active, shown};
pub use switch::{discard, hold, make_default, release};
pub use throughput::turn as throughput_turn;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{
        audit_action::AuditAction, credential::CredentialKind, edit::ValueEdit,
        field_error::FieldError, time::Timestamp,
    },
    engine::{
        Engine,
        intake::idempotency::{IdempotencyKey, IdempotencyVerdict, idempotent},
        runtime::{
            keyring,
            vault::{VaultKeyError, VaultNonce},
        },
    },
    providers::SenderFields,
    store::{
        DatabaseTransaction, StoreError, TransactionWorkError, audit, credential, new_id,
        sender::{self, NewSenderRow, SenderRowChanges},
        setting,
    },
};

/// Longest name, in characters.
const MAX_NAME: usize = 64;

/// Largest limit, in messages per second.
const MAX_PER_SECOND: i64 = 10_000;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SenderAdminError {
    #[error("{} fields are wrong", .0.len())]
    Fields(Vec<FieldError>),
    #[error("there is no such sender or credential")]
    NotFound,
    /// Credentials cannot be encrypted without a key.
    #[error("there is no key to encrypt credentials with")]
    NoKey,
    /// The secret key was replaced: this process still has the previous one.
    #[error("the secret key was replaced")]
    KeyReplaced,
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used for something else")]
    KeyReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SenderAdminError {
    /// One field is wrong.
    fn field(pointer: &str, rule: &str) -> Self {
        Self::Fields(vec![field(pointer, rule)])
    }
}

impl From<VaultKeyError> for SenderAdminError {
    fn from(_: VaultKeyError) -> Self {
        Self::NoKey
    }
}

impl TransactionWorkError for SenderAdminError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused => Err(refused),
        }
    }
}

/// The actor of a change, and its time.
#[derive(Clone, Copy, Debug)]
pub struct SenderAdminActor<'a> {
    pub actor: &'a str,
    pub now: Timestamp,
    /// A repeat with the same key changes nothing.
    pub key: Option<&'a IdempotencyKey>,
}

fn field(pointer: &str, rule: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        rule: rule.into(),
    }
}

/// Writes an audit entry.
async fn changed(
    tx: &DatabaseTransaction,
    by: SenderAdminActor<'_>,
    action: AuditAction,
    subject: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    audit::note(tx, by.actor, action, subject, detail, by.now).await
}

/// What was made before with the same key: its id. The fingerprint may be of a secret: it is made
/// with our key.
async fn made_before(
    engine: &Engine,
    tx: &DatabaseTransaction,
    by: SenderAdminActor<'_>,
    operation: &str,
    id: Uuid,
) -> Result<Option<Uuid>, SenderAdminError> {
    if by.key.is_some() && engine.vault().is_none() {
        return Err(SenderAdminError::NoKey);
    }
    match idempotent(engine, tx, by.key, operation, id, by.now).await? {
        IdempotencyVerdict::New => Ok(None),
        IdempotencyVerdict::Repeat(before) => Ok(Some(before.resource_id)),
        IdempotencyVerdict::KeyReused => Err(SenderAdminError::KeyReused),
    }
}

/// Runs one change in a transaction. A refused change is rolled back.
async fn change<T>(
    engine: &Engine,
    now: Timestamp,
    work: impl AsyncFn(&DatabaseTransaction) -> Result<T, SenderAdminError>,
) -> Result<T, SenderAdminError> {
    let done = engine
        .store
        .write_or_refuse(async |tx| {
            // Tells all processes that something has changed, and serializes changes of senders.
            setting::count_up(tx, keyring::REVISION, now).await?;
            work(tx).await
        })
        .await?;
    // This process at once; the others at their next claim.
    engine.refresh_keyring().await?;
    engine.wake_senders();
    Ok(done)
}

/// The state of a sender, with the reason if it cannot send.
pub fn standing(engine: &Engine, row: &entity::sender::Model) -> (&'static str, Option<String>) {
    if row.off_at.is_some() {
        return ("off", row.off_reason.clone());
    }
    if row.state == "held" {
        return ("held", row.state_reason.clone());
    }
    match engine.obstacle(Some(row.id)) {
        Some(obstacle) => ("blocked", Some(obstacle)),
        None => ("active", None),
    }
}

fn check_name(name: &str, wrong: &mut Vec<FieldError>) {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || Uuid::parse_str(name).is_ok() {
        wrong.push(field("/name", "1 to 64 characters, and not an id"));
    }
}

fn check_pace(per_second: Option<i64>, wrong: &mut Vec<FieldError>) {
    if per_second.is_some_and(|pace| !(0..=MAX_PER_SECOND).contains(&pace)) {
        wrong.push(field("/messages_per_second", "0 (unlimited) to 10000"));
    }
}

/// Adds a sender with its credentials; `nonces` has one for each.
pub async fn add(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    new: &NewSenderRow,
    credentials: &[NewCredential],
    nonces: &[VaultNonce],
) -> Result<Uuid, SenderAdminError> {
    let mut wrong = Vec::new();
    let kinds = engine.providers().kinds();
    if !kinds.contains(&new.kind.as_str()) {
        wrong.push(field("/kind", format!("one of {}", kinds.join(", "))));
    }
    check_name(&new.name, &mut wrong);
    if let Some(provider) = engine.providers().find(&new.kind) {
        wrong.extend(provider.check_sender(SenderFields {
            endpoint_id: new.endpoint_id.as_deref(),
            account_id: new.account_id.as_deref(),
            app_id: new.app_id.as_deref(),
            settings: &new.settings,
            is_new: true,
        }));
    }
    check_pace(new.per_second, &mut wrong);
    credentials::check_all(credentials, by.now, &mut wrong);
    if !wrong.is_empty() {
        return Err(SenderAdminError::Fields(wrong));
    }
    change(engine, by.now, async |tx| {
        let id = new_id(by.now);
        if let Some(before) = made_before(engine, tx, by, "sender", id).await? {
            return Ok(before);
        }
        if sender::by_name(tx, &new.name).await?.is_some() {
            let rule = "another sender has this name";
            return Err(SenderAdminError::field("/name", rule));
        }
        let Some(row) = sender::insert(tx, id, new.clone(), by.now).await? else {
            let provider = engine.providers().find(&new.kind);
            let name = provider.map_or("endpoint_id", |provider| provider.endpoint_field());
            let rule = "another sender has this number";
            return Err(SenderAdminError::field(&format!("/{name}"), rule));
        };
        for (credential, nonce) in credentials.iter().zip(nonces) {
            credentials::insert(engine, tx, by, &row, new_id(by.now), credential, *nonce).await?;
        }
        let detail = json!({
            "endpoint": row.endpoint_id,
            "account": row.account_id,
            "app": row.app_id,
        });
        changed(tx, by, AuditAction::SenderAdded, &row.name, &detail).await?;
        Ok(row.id)
    })
    .await
}

/// Changes the attributes of a sender.
pub async fn set(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
    changes: &SenderRowChanges,
) -> Result<(), SenderAdminError> {
    let mut wrong = Vec::new();
    if let Some(name) = &changes.name {
        check_name(name, &mut wrong);
    }
    check_pace(changes.per_second.given().copied(), &mut wrong);
    let given =
        |(name, edit): (&String, &ValueEdit<String>)| Some((name.clone(), edit.given()?.clone()));
    let settings = changes.settings.iter().filter_map(given).collect();
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        let mut wrong = wrong.clone();
        if let Some(provider) = engine.providers().find(&row.kind) {
            wrong.extend(provider.check_sender(SenderFields {
                endpoint_id: None,
                account_id: changes.account_id.given().map(String::as_str),
                app_id: changes.app_id.given().map(String::as_str),
                settings: &settings,
                is_new: false,
            }));
        }
        if !wrong.is_empty() {
            return Err(SenderAdminError::Fields(wrong));
        }
        if let Some(name) = &changes.name
            && sender::by_name(tx, name)
                .await?
                .is_some_and(|other| other.id != id)
        {
            let rule = "another sender has this name";
            return Err(SenderAdminError::field("/name", rule));
        }
        let before = row.clone();
        let after = sender::set(tx, row, changes.clone(), by.now).await?;
        let (old, new) = (keyring::scope_of(&before), keyring::scope_of(&after));
        // Its own secrets now belong to its app and all the app's numbers.
        if old != new && before.app_id.is_none() {
            credential::move_to_app(tx, &old, &new).await?;
        }
        let mut detail = differences(&before, &after);
        if old != new && before.app_id.is_some() {
            // An app without a number receives no callbacks, and no page would show its secrets.
            let retired = retire_app(tx, before.app_id.as_deref(), &old, by.now).await?;
            if let (true, Some(detail)) = (retired > 0, detail.as_object_mut()) {
                detail.insert("secrets_deactivated".to_owned(), json!(retired));
            }
        }
        changed(tx, by, AuditAction::SenderChanged, &after.name, &detail).await?;
        Ok(())
    })
    .await
}

/// Deactivates the secrets of an app that no sender uses any more. Returns the number.
async fn retire_app(
    tx: &DatabaseTransaction,
    app_id: Option<&str>,
    scope: &str,
    now: Timestamp,
) -> Result<usize, StoreError> {
    if sender::any_of_app(tx, app_id).await? {
        return Ok(0);
    }
    let mut retired = 0;
    for kind in [CredentialKind::AppSecret, CredentialKind::VerifyToken] {
        for row in credential::active_of(tx, scope, kind).await? {
            credential::set_active(tx, row.id, false, now).await?;
            retired += 1;
        }
    }
    Ok(retired)
}

/// The changed fields, before and after.
fn differences(before: &entity::sender::Model, after: &entity::sender::Model) -> Value {
    let mut all = vec![
        ("name".to_owned(), json!(before.name), json!(after.name)),
        (
            "account".to_owned(),
            json!(before.account_id),
            json!(after.account_id),
        ),
        ("app".to_owned(), json!(before.app_id), json!(after.app_id)),
        (
            "messages_per_second".to_owned(),
            json!(before.pace_set),
            json!(after.pace_set),
        ),
    ];
    let (old, new) = (sender::settings_of(before), sender::settings_of(after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    all.extend(
        names
            .into_iter()
            .map(|name| (name.clone(), json!(old.get(name)), json!(new.get(name)))),
    );
    all.into_iter()
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| (name, json!([before, after])))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
