//! Dashboard users: signing in, links, passwords, and throttling of failed attempts.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::passwords::PasswordHasher;
use crate::{
    domain::{
        audit_action::AuditAction,
        horizon,
        login::{self as rules, DashboardRole},
        time::Timestamp,
    },
    store::{Store, StoreError, TransactionWorkError, audit, login, session},
};

/// Failures of a name are forgotten after this, in seconds.
pub const FORGOTTEN_AFTER: i64 = 24 * 60 * 60;

/// Failures of an address, which a whole office may share, are forgotten after this, in seconds.
const ADDRESS_FORGOTTEN_AFTER: i64 = 60 * 60;

/// Number of rows for failures of unknown user names (hash buckets).
const UNKNOWN_ROWS: u16 = 4096;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DashboardUserError {
    #[error("there is no dashboard user of this name")]
    NotFound,
    #[error("there is a dashboard user of this name already")]
    Taken,
    #[error("the name: {0}")]
    Name(&'static str),
    #[error("the password: {0}")]
    Weak(&'static str),
    #[error("the link has been used or has expired: ask for a new one")]
    Link,
    #[error("the password could not be hashed")]
    Hash,
    #[error("too many people are signing in: try again in a few seconds")]
    Busy,
    #[error("this is the last admin: add another one first")]
    LastAdmin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransactionWorkError for DashboardUserError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused => Err(refused),
        }
    }
}

/// Result of signing in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    In(entity::login::Model),
    Wrong,
    /// Too many failures: the password was not checked. Seconds until the next try.
    Wait(i64),
    /// Too many passwords are waiting to be checked: this one was neither checked nor counted.
    Busy,
}

/// An attempt to sign in.
#[derive(Clone, Copy, Debug)]
pub struct SignInAttempt<'a> {
    pub name: &'a str,
    pub password: &'a SecretString,
    /// The client's address, if known.
    pub address: Option<IpAddr>,
}

/// A subject of failure counting, with its rule.
struct SignInFailureSubject {
    subject: String,
    forgotten_after: i64,
    wait_seconds: fn(i64) -> i64,
}

impl SignInFailureSubject {
    fn of_name(subject: String) -> Self {
        Self {
            subject,
            forgotten_after: FORGOTTEN_AFTER,
            wait_seconds: rules::wait_seconds,
        }
    }

    /// Counts by address, or by /64 of IPv6, which one subscriber has. Stored as a digest.
    fn of_address(address: IpAddr) -> Self {
        let digest = Sha256::digest(rules::subscriber(address).to_string().as_bytes());
        let text = hex::encode(digest.get(..16).unwrap_or_default());
        Self {
            subject: format!("address/{text}"),
            forgotten_after: ADDRESS_FORGOTTEN_AFTER,
            wait_seconds: rules::address_wait_seconds,
        }
    }

    fn is_forgotten(&self, last_at: Timestamp, now: Timestamp) -> bool {
        now.micros_since(last_at) / 1_000_000 > self.forgotten_after
    }

    /// Seconds until the next try, after so many failures.
    fn wait(&self, failures: i64, last_at: Timestamp, now: Timestamp) -> Option<i64> {
        if self.is_forgotten(last_at, now) {
            return None;
        }
        let until = last_at.plus_seconds((self.wait_seconds)(failures));
        let left = until.micros_since(now);
        (left > 0).then_some((left + 999_999) / 1_000_000)
    }
}

/// The subject of a name's failure counter.
fn subject(name: &str, login: Option<&entity::login::Model>) -> String {
    if let Some(login) = login {
        return login.id.to_string();
    }
    let digest = Sha256::digest(name.as_bytes());
    let row = digest
        .iter()
        .take(2)
        .fold(0_u16, |row, byte| (row << 8) | u16::from(*byte));
    format!("unknown/{}", row % UNKNOWN_ROWS)
}

/// Checks a user name and password. Each try is counted before the check, for its name and for its
/// address, so that parallel tries gain nothing.
pub async fn enter(
    store: &Store,
    passwords: &PasswordHasher,
    attempt: SignInAttempt<'_>,
    now: Timestamp,
) -> Result<SignInOutcome, StoreError> {
    let found = login::by_name(store.reader(), attempt.name).await?;
    let of_name = SignInFailureSubject::of_name(subject(attempt.name, found.as_ref()));
    // Always in this order: two tries cannot deadlock.
    let counted: Vec<SignInFailureSubject> = attempt
        .address
        .map(SignInFailureSubject::of_address)
        .into_iter()
        .chain([of_name])
        .collect();
    // A client that has to wait does not take a place from others.
    for it in &counted {
        let known = login::known_failures(store.reader(), &it.subject).await?;
        // A time in the future is repaired below.
        let known = known.filter(|(_, at)| !horizon::is_ahead(*at, now));
        if let Some(wait) = known.and_then(|(failures, at)| it.wait(failures, at, now)) {
            return Ok(SignInOutcome::Wait(wait));
        }
    }
    let Some(place) = passwords.place() else {
        return Ok(SignInOutcome::Busy);
    };
    let wait = store
        .write(async |tx| {
            for it in &counted {
                let Some((failures, last_at)) = login::failures(tx, &it.subject, now).await? else {
                    continue;
                };
                let last_at = if horizon::is_ahead(last_at, now) {
                    // The clock was changed: the pause counts from now.
                    login::set_last(tx, &it.subject, now).await?;
                    now
                } else {
                    last_at
                };
                if it.is_forgotten(last_at, now) {
                    login::forget_failures(tx, &it.subject).await?;
                }
                if let Some(wait) = it.wait(failures, last_at, now) {
                    return Ok(Some(wait));
                }
            }
            for it in &counted {
                login::failed(tx, &it.subject, now).await?;
            }
            Ok(None)
        })
        .await?;
    if let Some(seconds) = wait {
        return Ok(SignInOutcome::Wait(seconds));
    }
    let usable = found.filter(|login| login.off_at.is_none());
    let kept = usable
        .as_ref()
        .and_then(|login| login.password_hash.clone());
    let given = attempt.password.clone();
    let fits = given.expose_secret().len() <= rules::LONGEST_PASSWORD
        && passwords.matches(place, given, kept).await;
    let login = usable.filter(|login| fits && login.password_hash.is_some());
    let Some(login) = login else {
        return Ok(SignInOutcome::Wrong);
    };
    let entered = store
        .write(async |tx| {
            // Hashing takes time: the password may have been changed meanwhile.
            let now_kept = login::find(tx, login.id).await?;
            let same = now_kept.is_some_and(|kept| {
                kept.off_at.is_none() && kept.password_hash == login.password_hash
            });
            if !same {
                return Ok(false);
            }
            // In the same order as before: the address gets back this try, the name all.
            for it in &counted {
                login::forgive(tx, &it.subject).await?;
            }
            login::forget_failures(tx, &login.id.to_string()).await?;
            login::note_in(tx, login.id, now).await?;
            let actor = format!("login:{}", login.name);
            let action = AuditAction::LoginIn;
            audit::note(tx, &actor, action, &login.name, &json!({}), now).await?;
            Ok(true)
        })
        .await?;
    if !entered {
        return Ok(SignInOutcome::Wrong);
    }
    Ok(SignInOutcome::In(login))
}

/// Adds a dashboard user. It has no password yet: a link lets the user choose one.
pub async fn add(
    store: &Store,
    actor: &str,
    name: &str,
    role: DashboardRole,
    now: Timestamp,
) -> Result<Uuid, DashboardUserError> {
    if let Some(rule) = rules::unusable_name(name) {
        return Err(DashboardUserError::Name(rule));
    }
    store
        .write_or_refuse(async |tx| {
            let Some(id) = login::insert(tx, name, role.name(), now).await? else {
                return Err(DashboardUserError::Taken);
            };
            let detail = json!({ "role": role.name() });
            audit::note(tx, actor, AuditAction::LoginAdded, name, &detail, now).await?;
            Ok(id)
        })
        .await
}

/// Makes a link that signs in once. Its text is shown once and not stored.
pub async fn link(
    store: &Store,
    actor: &str,
    name: &str,
    random: &[u8; 32],
    now: Timestamp,
) -> Result<SecretString, DashboardUserError> {
    let text = URL_SAFE_NO_PAD.encode(random);
    let digest = Sha256::digest(text.as_bytes()).to_vec();
    store
        .write_or_refuse(async |tx| {
            let Some(found) = login::by_name(tx, name)
                .await?
                .filter(|it| it.off_at.is_none())
            else {
                return Err(DashboardUserError::NotFound);
            };
            let until = now.plus_seconds(rules::LINK_SECONDS);
            login::insert_link(tx, &digest, found.id, until, now).await?;
            let detail = json!({ "until": until.to_string() });
            audit::note(tx, actor, AuditAction::LoginLink, name, &detail, now).await?;
            Ok(SecretString::from(text.clone()))
        })
        .await
}

/// The dashboard user of a link, if it is still valid.
pub async fn of_link(
    store: &Store,
    text: &str,
    now: Timestamp,
) -> Result<Option<entity::login::Model>, StoreError> {
    let digest = Sha256::digest(text.as_bytes());
    login::by_link(store.reader(), &digest, now).await
}

/// Signs in by a link, once; sets a new password if one is given.
pub async fn enter_by_link(
    store: &Store,
    passwords: &PasswordHasher,
    text: &str,
    password: Option<SecretString>,
    now: Timestamp,
) -> Result<entity::login::Model, DashboardUserError> {
    let Some(found) = of_link(store, text, now).await? else {
        return Err(DashboardUserError::Link);
    };
    let hashed = match password {
        Some(password) => Some(hashed(passwords, &found.name, password).await?),
        None => None,
    };
    let digest = Sha256::digest(text.as_bytes());
    let actor = format!("login:{}", found.name);
    store
        .write_or_refuse(async |tx| {
            let lets_in = login::by_link(tx, &digest, now).await?.is_some();
            if !lets_in || !login::use_link(tx, &digest).await? {
                return Err(DashboardUserError::Link);
            }
            if let Some(hashed) = &hashed {
                login::set_password(tx, found.id, hashed).await?;
                // Ends the sessions that used the old password.
                session::end_all(tx, found.id).await?;
                let action = AuditAction::LoginPassword;
                audit::note(tx, &actor, action, &found.name, &json!({}), now).await?;
            }
            login::forget_failures(tx, &found.id.to_string()).await?;
            login::note_in(tx, found.id, now).await?;
            let (action, detail) = (AuditAction::LoginIn, json!({ "by": "link" }));
            audit::note(tx, &actor, action, &found.name, &detail, now).await?;
            Ok(found.clone())
        })
        .await
}

async fn hashed(
    passwords: &PasswordHasher,
    name: &str,
    password: SecretString,
) -> Result<String, DashboardUserError> {
    if let Some(rule) = rules::weak(password.expose_secret(), name) {
        return Err(DashboardUserError::Weak(rule));
    }
    let place = passwords.place().ok_or(DashboardUserError::Busy)?;
    passwords
        .hash(place, password)
        .await
        .ok_or(DashboardUserError::Hash)
}

/// Sets a password as an operator.
pub async fn set_password(
    store: &Store,
    actor: &str,
    name: &str,
    password: SecretString,
    now: Timestamp,
) -> Result<(), DashboardUserError> {
    let hashed = hashed(&PasswordHasher::default(), name, password).await?;
    store
        .write_or_refuse(async |tx| {
            let Some(found) = login::by_name(tx, name).await? else {
                return Err(DashboardUserError::NotFound);
            };
            login::set_password(tx, found.id, &hashed).await?;
            login::forget_links(tx, found.id).await?;
            session::end_all(tx, found.id).await?;
            login::forget_failures(tx, &found.id.to_string()).await?;
            let action = AuditAction::LoginPassword;
            audit::note(tx, actor, action, name, &json!({}), now).await?;
            Ok(())
        })
        .await
}

/// Changes of a dashboard user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DashboardUserChange {
    Role(DashboardRole),
    /// Disables the user and ends its sessions.
    Off,
    On,
}

/// Changes a dashboard user. One admin always stays: otherwise no page could create another.
pub async fn change(
    store: &Store,
    actor: &str,
    name: &str,
    change: DashboardUserChange,
    now: Timestamp,
) -> Result<(), DashboardUserError> {
    let admins = |all: &[entity::login::Model]| {
        all.iter()
            .filter(|it| it.role == DashboardRole::Admin.name() && it.off_at.is_none())
            .map(|it| it.id)
            .collect::<Vec<_>>()
    };
    store
        .write_or_refuse(async |tx| {
            // Locked: two admins who demote each other must see each other's change.
            let all = login::lock_all(tx).await?;
            let Some(found) = login::by_name(tx, name).await? else {
                return Err(DashboardUserError::NotFound);
            };
            let falls = matches!(
                change,
                DashboardUserChange::Off
                    | DashboardUserChange::Role(DashboardRole::Viewer | DashboardRole::Operator)
            );
            if falls && admins(&all) == [found.id] {
                return Err(DashboardUserError::LastAdmin);
            }
            let (action, detail) = match change {
                DashboardUserChange::Role(role) => {
                    login::set_role(tx, found.id, role.name()).await?;
                    (
                        AuditAction::LoginRole,
                        json!({ "before": found.role, "after": role.name() }),
                    )
                }
                DashboardUserChange::Off => {
                    login::set_off(tx, found.id, Some(now)).await?;
                    login::forget_links(tx, found.id).await?;
                    session::end_all(tx, found.id).await?;
                    (AuditAction::LoginOff, json!({}))
                }
                DashboardUserChange::On => {
                    login::set_off(tx, found.id, None).await?;
                    (AuditAction::LoginOn, json!({}))
                }
            };
            audit::note(tx, actor, action, name, &detail, now).await?;
            Ok(())
        })
        .await
}
