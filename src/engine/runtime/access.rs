//! Manages API keys: creates, lists and revokes them, and records their last use.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use crate::domain::access::ApiKeyRole;
use crate::{
    domain::{
        access::{ApiKeyScope, ApiKeyScopes, ProductAccess, overlap},
        audit_action::AuditAction,
        field_error::FieldError,
        own_event::SOURCE,
        time::Timestamp,
    },
    engine::{Engine, InputError},
    store::{DatabaseTransaction, Store, StoreError, access, audit, catalogue, sender},
};

const KEY_PREFIX: &str = "herald_";

/// Longest name of a product, in characters.
const MAX_NAME: usize = 100;

/// Longest source, in bytes.
const MAX_SOURCE: usize = 512;

/// A new API key. Its text is shown once and not stored.
#[derive(Debug)]
pub struct GeneratedApiKeyText {
    pub text: SecretString,
    pub prefix: String,
}

/// Makes a key from 32 random bytes.
pub fn new_key(random: &[u8; 32]) -> GeneratedApiKeyText {
    let text = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let prefix = prefix_of(&text);
    GeneratedApiKeyText {
        text: SecretString::from(text),
        prefix,
    }
}

/// The prefix by which people recognize a key.
pub fn prefix_of(text: &str) -> String {
    text.chars().take(KEY_PREFIX.len() + 8).collect()
}

/// The stored form of a key. A key has 256 random bits, so a plain digest suffices.
pub fn key_digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// A key to be created.
#[derive(Clone, Debug)]
pub struct ApiKeySpec {
    /// The product it belongs to: all keys of a product see the same.
    pub product: String,
    pub role: ApiKeyRole,
    /// Absent: all scopes that its role allows.
    pub scopes: Option<Vec<ApiKeyScope>>,
    /// The key has no bounds, which must be stated explicitly.
    pub all: bool,
    pub source: Option<String>,
    /// Names or ids.
    pub senders: Vec<String>,
    pub catalogue: Option<String>,
    pub expires_at: Option<Timestamp>,
}

impl ApiKeySpec {
    /// A key without bounds.
    pub fn all(product: &str, role: ApiKeyRole) -> Self {
        Self {
            product: product.to_owned(),
            role,
            scopes: None,
            all: true,
            source: None,
            senders: Vec::new(),
            catalogue: None,
            expires_at: None,
        }
    }

    fn has_bounds(&self) -> bool {
        self.source.is_some() || !self.senders.is_empty() || self.catalogue.is_some()
    }

    /// The scopes of the key.
    pub fn scopes(&self) -> ApiKeyScopes {
        self.scopes.as_ref().map_or_else(
            || ApiKeyScopes::of(self.role),
            |all| all.iter().copied().collect(),
        )
    }

    /// The errors that can be found without the database.
    fn wrong(&self, now: Timestamp) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        let mut refuse = |pointer: &str, rule: String| {
            wrong.push(FieldError {
                pointer: pointer.to_owned(),
                rule,
            });
        };
        let name = self.product.trim();
        if name.is_empty()
            || self.product.chars().count() > MAX_NAME
            || self.product.chars().any(char::is_control)
        {
            refuse(
                "/product",
                format!("1 to {MAX_NAME} characters, none of them a control character"),
            );
        }
        match (self.all, self.has_bounds(), self.role) {
            (false, false, _) => refuse("/all", NO_BOUNDS.to_owned()),
            (true, true, _) => refuse("/all", "either all, or bounds".to_owned()),
            (false, true, ApiKeyRole::Admin) => refuse(
                "/role",
                "an admin key has no bounds: it administers everything".to_owned(),
            ),
            _ => {}
        }
        let scopes = self.scopes();
        if scopes.is_empty() {
            refuse("/scopes", "at least one".to_owned());
        }
        let beyond: Vec<&str> = scopes
            .iter()
            .filter(|scope| self.role == ApiKeyRole::Product && scope.is_of_admins())
            .map(ApiKeyScope::name)
            .collect();
        if !beyond.is_empty() {
            refuse(
                "/scopes",
                format!("for admin keys only: {}", beyond.join(", ")),
            );
        }
        match &self.source {
            Some(source)
                if source.trim().is_empty()
                    || source.len() > MAX_SOURCE
                    || source.chars().any(char::is_control) =>
            {
                refuse(
                    "/source",
                    format!("1 to {MAX_SOURCE} bytes, none of them a control character"),
                );
            }
            Some(source) if overlap(source, SOURCE) => {
                refuse("/source", format!("{SOURCE} is the source of Herald's own events"));
            }
            None if self.has_bounds() && scopes.has(ApiKeyScope::EventsWrite) => refuse(
                "/source",
                "a key with bounds that posts events needs a source; without events:write it needs none"
                    .to_owned(),
            ),
            _ => {}
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            refuse("/expires_at", "a time in the future".to_owned());
        }
        wrong
    }
}

/// Error for a key without bounds that does not say so explicitly.
pub const NO_BOUNDS: &str = "a key without bounds sees and changes what belongs to every product: give it a source, senders \
     or a catalogue, or say that it is for all";

/// A created key with its row.
#[derive(Debug)]
pub struct CreatedApiKey {
    pub key: GeneratedApiKeyText,
    pub row: entity::api_key::Model,
}

/// Stores a new key, with an audit entry.
pub async fn create_key(
    store: &Store,
    actor: &str,
    wanted: &ApiKeySpec,
    random: &[u8; 32],
    now: Timestamp,
) -> Result<CreatedApiKey, InputError> {
    let wrong = wanted.wrong(now);
    if !wrong.is_empty() {
        return Err(InputError::Invalid(wrong));
    }
    let key = new_key(random);
    let digest = key_digest(key.text.expose_secret());
    let row = store
        .write_or_refuse::<_, InputError, _>(async |tx| {
            access::lock_keys(tx).await?;
            let product = bounds(tx, wanted, now).await?;
            let new = access::NewApiKey {
                role: wanted.role,
                scopes: wanted.scopes(),
                product: &product,
                prefix: &key.prefix,
                digest: digest.clone(),
                expires_at: wanted.expires_at,
            };
            let row = access::insert_key(tx, new, now).await?;
            let detail = json!({ "product": product.name, "role": wanted.role.name(), "scopes": wanted.scopes().to_string(),
                "source": product.source, "senders": product.senders, "catalogue": product.catalogue,
                "expires_at": wanted.expires_at.map(|at| at.to_string()) });
            let action = AuditAction::KeyCreated;
            audit::note(tx, actor, action, &row.prefix, &detail, now).await?;
            Ok(row)
        })
        .await?;
    Ok(CreatedApiKey { key, row })
}

/// The requested bounds, if they exist and belong to no other product.
async fn bounds(
    tx: &DatabaseTransaction,
    wanted: &ApiKeySpec,
    now: Timestamp,
) -> Result<ProductAccess, InputError> {
    let mut wrong = Vec::new();
    let mut refuse = |pointer: String, rule: String| wrong.push(FieldError { pointer, rule });
    let mut senders = Vec::with_capacity(wanted.senders.len());
    for (place, named) in wanted.senders.iter().enumerate() {
        match sender::named(tx, named).await? {
            Some(row) if senders.contains(&row.id) => {}
            Some(row) => senders.push(row.id),
            None => refuse(
                format!("/senders/{place}"),
                "there is no sender of this name or id".to_owned(),
            ),
        }
    }
    if let Some(name) = &wanted.catalogue
        && !catalogue::exists(tx, name).await?
    {
        let rule = "no catalogue of this name was applied";
        refuse("/catalogue".to_owned(), rule.to_owned());
    }
    // Several keys of a product have the same bounds: each is named once.
    let others: BTreeSet<_> = access::bounds_of_others(tx, &wanted.product, now)
        .await?
        .into_iter()
        .collect();
    for (other, source, catalogue) in others {
        if let (Some(own), Some(source)) = (&wanted.source, &source)
            && overlap(own, source)
        {
            refuse(
                "/source".to_owned(),
                format!("it overlaps {source}, which a key of {other} is bound to"),
            );
        }
        if wanted.catalogue.is_some() && wanted.catalogue == catalogue {
            refuse(
                "/catalogue".to_owned(),
                format!("a key of {other} is bound to it"),
            );
        }
    }
    if !wrong.is_empty() {
        return Err(InputError::Invalid(wrong));
    }
    Ok(ProductAccess {
        name: wanted.product.clone(),
        source: wanted.source.clone(),
        senders,
        catalogue: wanted.catalogue.clone(),
    })
}

/// Revokes a key, with an audit entry. Returns whether there was an active one.
pub async fn revoke_key(
    store: &Store,
    actor: &str,
    id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    store
        .write(async |tx| {
            let Some(row) = access::key(tx, id).await? else {
                return Ok(false);
            };
            let revoked = access::revoke_key(tx, id, now).await?;
            if revoked {
                let action = AuditAction::KeyRevoked;
                audit::note(tx, actor, action, &row.prefix, &json!({}), now).await?;
            }
            Ok(revoked)
        })
        .await
}

/// Minimum time between two stored uses of a key, in microseconds.
const AGAIN_MICROS: i64 = 60_000_000;

/// Last use of each API key: kept in memory and written by a worker, so that no request waits for
/// it.
#[derive(Debug, Default)]
pub struct ApiKeyUseTracker(Mutex<HashMap<Uuid, ApiKeyUse>>);

#[derive(Clone, Copy, Debug)]
struct ApiKeyUse {
    last: Timestamp,
    written: Option<Timestamp>,
}

impl ApiKeyUseTracker {
    /// Records a use.
    pub fn note(&self, key: Uuid, now: Timestamp) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = uses.entry(key).or_insert(ApiKeyUse {
            last: now,
            written: None,
        });
        known.last = known.last.max(now);
    }

    /// The uses to be written now.
    fn due(&self, now: Timestamp) -> Vec<(Uuid, Timestamp)> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.iter()
            .filter(|(_, it)| match it.written {
                None => true,
                Some(written) => it.last > written && now.micros_since(written) >= AGAIN_MICROS,
            })
            .map(|(id, it)| (*id, it.last))
            .collect()
    }

    fn written(&self, all: &[(Uuid, Timestamp)]) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in all {
            if let Some(known) = uses.get_mut(id) {
                known.written = Some(*at);
            }
        }
    }
}

/// Writes the last uses, at most once a minute for each key. Returns the number.
pub async fn write_uses(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let due = engine.key_uses.due(now);
    if due.is_empty() {
        return Ok(0);
    }
    engine
        .store
        .write(async |tx| access::note_uses(tx, &due).await)
        .await?;
    engine.key_uses.written(&due);
    Ok(due.len())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::ApiKeyUseTracker;
    use crate::domain::time::Timestamp;

    #[test]
    fn a_use_is_written_once_a_minute_however_often_a_key_is_used() {
        let uses = ApiKeyUseTracker::default();
        let (key, start) = (Uuid::nil(), Timestamp::from_unix_seconds(1_000));
        for second in 0..10 {
            uses.note(key, start.plus_seconds(second));
        }
        let due = uses.due(start.plus_seconds(9));
        assert_eq!(due, [(key, start.plus_seconds(9))]);
        uses.written(&due);
        assert!(uses.due(start.plus_seconds(500)).is_empty());
        uses.note(key, start.plus_seconds(30));
        assert!(uses.due(start.plus_seconds(68)).is_empty());
        assert_eq!(
            uses.due(start.plus_seconds(69)),
            [(key, start.plus_seconds(30))]
        );
    }
}
