//! API keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    domain::time::Timestamp,
    store::{Store, StoreError, access},
};

const KEY_PREFIX: &str = "herald_";

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Posts events and notifications, and reads.
    Product,
    /// Changes senders and their credentials as well.
    Admin,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Admin => "admin",
        }
    }

    /// What a stored name means; what is not known may do little.
    pub fn of(name: &str) -> Self {
        if name == "admin" {
            Self::Admin
        } else {
            Self::Product
        }
    }
}

/// A new API key. The text is shown once and kept nowhere.
#[derive(Debug)]
pub struct NewKey {
    pub text: SecretString,
    pub prefix: String,
}

/// Makes a key: 32 random bytes.
pub fn new_key(random: &[u8; 32]) -> NewKey {
    let text = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let prefix = text.chars().take(KEY_PREFIX.len() + 8).collect();
    NewKey {
        text: SecretString::from(text),
        prefix,
    }
}

/// What is kept of a key. A key has 256 random bits: a plain digest suffices.
pub fn key_digest(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Keeps a new key of this role.
pub async fn create_key(
    store: &Store,
    name: &str,
    role: Role,
    random: &[u8; 32],
    now: Timestamp,
) -> Result<NewKey, StoreError> {
    let key = new_key(random);
    let digest = key_digest(key.text.expose_secret());
    store
        .write(async |tx| {
            access::insert_key(tx, name, role.name(), &key.prefix, digest.clone(), now).await
        })
        .await?;
    Ok(key)
}
