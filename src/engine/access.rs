//! API keys, and the check that the secret key is the right one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::{
    domain::time::Timestamp,
    store::{Store, StoreError, access, setting},
};

const KEY_PREFIX: &str = "herald_";

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

pub async fn create_key(
    store: &Store,
    name: &str,
    random: &[u8; 32],
    now: Timestamp,
) -> Result<NewKey, StoreError> {
    let key = new_key(random);
    let digest = key_digest(key.text.expose_secret());
    store
        .write(async |tx| access::insert_key(tx, name, &key.prefix, digest.clone(), now).await)
        .await?;
    Ok(key)
}

/// Whether the secret key fits what is encrypted in this database.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyCheck {
    Fits,
    /// What is encrypted here was encrypted with another key.
    Wrong,
    /// Not 32 bytes.
    Unusable,
}

const CHECK_NAME: &str = "secret_key_check";
const CHECK_TEXT: &[u8] = b"herald";

/// Compares the key with the check row, which is made at the first start.
pub async fn check_secret_key(
    store: &Store,
    key: &SecretString,
    nonce: [u8; 24],
    now: Timestamp,
) -> Result<KeyCheck, StoreError> {
    let Some(cipher) = hex::decode(key.expose_secret())
        .ok()
        .and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok())
    else {
        return Ok(KeyCheck::Unusable);
    };
    let payload = || Payload {
        msg: CHECK_TEXT,
        aad: CHECK_NAME.as_bytes(),
    };
    let Ok(sealed) = cipher.encrypt(&XNonce::from(nonce), payload()) else {
        return Ok(KeyCheck::Unusable);
    };
    let fresh = format!("v1:{}:{}", hex::encode(nonce), hex::encode(sealed));
    let kept = store
        .write(async |tx| setting::get_or_insert(tx, CHECK_NAME, &fresh, now).await)
        .await?;
    let mut parts = kept
        .split(':')
        .skip(1)
        .filter_map(|part| hex::decode(part).ok());
    let opened = match (
        parts
            .next()
            .and_then(|nonce| <[u8; 24]>::try_from(nonce).ok()),
        parts.next(),
    ) {
        (Some(nonce), Some(sealed)) => cipher
            .decrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &sealed,
                    aad: CHECK_NAME.as_bytes(),
                },
            )
            .ok(),
        _ => None,
    };
    Ok(if opened.as_deref() == Some(CHECK_TEXT) {
        KeyCheck::Fits
    } else {
        KeyCheck::Wrong
    })
}
