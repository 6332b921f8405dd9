//! Encrypts secrets at rest: XChaCha20-Poly1305 under `HERALD_SECRET_KEY`.
//!
//! A ciphertext has the form `v1:KEY:NONCE:TEXT`: the id of the key, the nonce and the sealed
//! bytes, all in hex. It is bound to its table and row: copied to another row it cannot be opened.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{DatabaseTransaction, Store, StoreError, credential, setting},
};

/// Random bytes of a nonce.
pub type VaultNonce = [u8; 24];

const VERSION: &str = "v1";

/// A key with its id in ciphertexts.
#[derive(Clone)]
struct VaultKey {
    id: String,
    cipher: XChaCha20Poly1305,
    mac: Hmac<Sha256>,
}

impl VaultKey {
    /// Parses a key of 64 hex digits.
    fn parse(text: &SecretString) -> Option<Self> {
        let mut bytes = hex::decode(text.expose_secret()).ok()?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).ok();
        // Enough of a digest to tell keys apart, too little to guess one.
        let digest = Sha256::new()
            .chain_update(b"herald key id")
            .chain_update(&bytes)
            .finalize();
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&bytes).ok();
        bytes.zeroize();
        let id = digest.iter().take(4).map(|byte| format!("{byte:02x}"));
        Some(Self {
            id: id.collect(),
            cipher: cipher?,
            mac: mac?,
        })
    }

    fn digest(&self, text: &[u8]) -> Vec<u8> {
        let mut mac = self.mac.clone();
        mac.update(b"herald fingerprint");
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }
}

/// The keys of this installation.
#[derive(Clone)]
pub struct Vault {
    current: VaultKey,
    previous: Option<VaultKey>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Vault")
            .field("current", &self.current.id)
            .field("previous", &self.previous.as_ref().map(|key| &key.id))
            .finish()
    }
}

/// The key is not 32 bytes in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret key has 64 hex digits")]
pub struct VaultKeyError;

impl Vault {
    /// The current key, and a previous one that only opens.
    pub fn new(
        current: &SecretString,
        previous: Option<&SecretString>,
    ) -> Result<Self, VaultKeyError> {
        Ok(Self {
            current: VaultKey::parse(current).ok_or(VaultKeyError)?,
            previous: previous
                .map(|key| VaultKey::parse(key).ok_or(VaultKeyError))
                .transpose()?,
        })
    }

    /// Seals a text for one row.
    pub fn seal(
        &self,
        place: &str,
        text: &str,
        nonce: VaultNonce,
    ) -> Result<String, VaultKeyError> {
        let payload = Payload {
            msg: text.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .current
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_opaque| VaultKeyError)?;
        Ok(format!(
            "{VERSION}:{}:{}:{}",
            self.current.id,
            hex::encode(nonce),
            hex::encode(sealed)
        ))
    }

    /// Seals a text for one row with a nonce derived from both (as in RFC 5297), so that none has
    /// to be drawn: only the same text in the same row gives the same ciphertext.
    pub fn seal_row(&self, place: &str, text: &str) -> Result<String, VaultKeyError> {
        let mut mac = self.current.mac.clone();
        for part in ["herald nonce", place, text] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(part.as_bytes());
        }
        let mut nonce = VaultNonce::default();
        for (byte, made) in nonce.iter_mut().zip(mac.finalize().into_bytes()) {
            *byte = made;
        }
        self.seal(place, text, nonce)
    }

    /// Opens a ciphertext of this row; `None` if it was sealed with another key or for another row.
    pub fn open(&self, place: &str, sealed: &str) -> Option<SecretString> {
        let mut parts = sealed.split(':');
        let (version, key_id) = (parts.next()?, parts.next()?);
        let nonce = <VaultNonce>::try_from(hex::decode(parts.next()?).ok()?).ok()?;
        let text = hex::decode(parts.next()?).ok()?;
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let key = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find(|key| key.id == key_id)?;
        let payload = Payload {
            msg: &text,
            aad: place.as_bytes(),
        };
        let opened = key.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        String::from_utf8(opened).ok().map(SecretString::from)
    }

    /// Id of the current key in its ciphertexts.
    pub fn key_id(&self) -> &str {
        &self.current.id
    }

    /// A keyed digest: equal texts have equal fingerprints, and without the key nothing can be
    /// learned about the text.
    pub fn fingerprint(&self, text: &[u8]) -> Vec<u8> {
        self.current.digest(text)
    }

    /// Whether this is the fingerprint of a text, made with one of the keys. How long it takes says
    /// nothing of where they differ.
    pub fn is_fingerprint(&self, kept: &[u8], text: &[u8]) -> bool {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter()
            .flatten()
            .any(|key| key.digest(text).ct_eq(kept).into())
    }

    /// Derives key material for another purpose, such as sealing cookies. It does not reveal the
    /// key, and each purpose has its own.
    pub fn derive(&self, purpose: &str) -> [u8; 64] {
        let mut derived = [0; 64];
        for (half, part) in derived.chunks_exact_mut(32).zip(["first", "second"]) {
            let text = format!("herald derived key {purpose} {part}");
            half.copy_from_slice(&self.current.digest(text.as_bytes()));
        }
        derived
    }

    /// Whether one of the keys made the check row. The first versions wrote no key id into it.
    fn opens_check(&self, kept: &str) -> bool {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| {
            let named = if Self::is_legacy(kept) {
                kept.replacen(':', &format!(":{}:", key.id), 1)
            } else {
                kept.to_owned()
            };
            self.open(CHECK_NAME, &named)
                .is_some_and(|text| text.expose_secret() == CHECK_TEXT)
        })
    }

    /// Whether the ciphertext has no key id.
    fn is_legacy(kept: &str) -> bool {
        kept.split(':').count() == 3
    }

    /// Whether it was sealed with the current key.
    fn is_current(&self, sealed: &str) -> bool {
        sealed.split(':').nth(1) == Some(self.current.id.as_str())
    }
}

/// The context that a credential's ciphertext is bound to.
pub fn place(credential: uuid::Uuid) -> String {
    format!("{}/{credential}", credential::TABLE)
}

/// Whether the keys match the encrypted rows of this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultKeyCheck {
    Fits,
    /// The previous key matched; so many credentials were encrypted anew.
    Rotated(usize),
    /// The rows were encrypted with another key.
    Wrong,
}

const CHECK_NAME: &str = "secret_key_check";
const CHECK_TEXT: &str = "herald";

/// Compares the keys with the check row, which is created at the first start. Rows that the
/// previous key sealed are sealed anew, the check row last, all in one transaction; it is rolled
/// back if no nonce can be drawn. Without `rotate` the keys are only compared.
pub async fn check(
    store: &Store,
    vault: &Vault,
    rotate: bool,
    mut nonce: impl FnMut() -> Option<VaultNonce>,
    now: Timestamp,
) -> Result<VaultKeyCheck, StoreError> {
    // A command that only reads takes no lock.
    if !rotate && let Some(kept) = setting::get(store.reader(), CHECK_NAME).await? {
        return Ok(if vault.opens_check(&kept) {
            VaultKeyCheck::Fits
        } else {
            VaultKeyCheck::Wrong
        });
    }
    store
        .write(async |tx| check_in(tx, vault, rotate, &mut nonce, now).await)
        .await
}

async fn check_in(
    tx: &DatabaseTransaction,
    vault: &Vault,
    rotate: bool,
    nonce: &mut impl FnMut() -> Option<VaultNonce>,
    now: Timestamp,
) -> Result<VaultKeyCheck, StoreError> {
    let sealed = credential::all(tx).await?;
    let mut draw = || nonce().ok_or(StoreError::RolledBack);
    let Ok(fresh) = vault.seal(CHECK_NAME, CHECK_TEXT, draw()?) else {
        return Ok(VaultKeyCheck::Wrong);
    };
    if setting::lock(tx, CHECK_NAME).await?.is_none() {
        // A missing check row must not make every key look right.
        let opens = sealed
            .first()
            .is_none_or(|row| vault.open(&place(row.id), &row.sealed).is_some());
        if !opens {
            return Ok(VaultKeyCheck::Wrong);
        }
        setting::get_or_insert(tx, CHECK_NAME, &fresh, now).await?;
    }
    let kept = setting::lock(tx, CHECK_NAME).await?.unwrap_or_default();
    if !vault.opens_check(&kept) {
        return Ok(VaultKeyCheck::Wrong);
    }
    if !rotate {
        return Ok(VaultKeyCheck::Fits);
    }
    let mut resealed = 0;
    for row in sealed.iter().filter(|row| !vault.is_current(&row.sealed)) {
        // A row that no key opens stays as it is, and is shown as unreadable.
        let place = place(row.id);
        if let Some(text) = vault.open(&place, &row.sealed)
            && let Ok(anew) = vault.seal(&place, text.expose_secret(), draw()?)
        {
            credential::reseal(tx, row.id, &anew).await?;
            resealed += 1;
        }
    }
    let was_current = vault.is_current(&kept);
    if !was_current {
        setting::set(tx, CHECK_NAME, &fresh).await?;
    }
    if was_current && resealed == 0 {
        return Ok(VaultKeyCheck::Fits);
    }
    setting::count_up(tx, super::keyring::REVISION, now).await?;
    Ok(if was_current || Vault::is_legacy(&kept) {
        VaultKeyCheck::Fits
    } else {
        VaultKeyCheck::Rotated(resealed)
    })
}

/// Whether a secret sealed now could be opened by every process that starts from now on: false
/// while this process still has the previous key.
pub async fn may_seal(tx: &DatabaseTransaction, vault: &Vault) -> Result<bool, StoreError> {
    let kept = setting::lock(tx, CHECK_NAME).await?.unwrap_or_default();
    Ok(vault.is_current(&kept))
}

impl Engine {
    /// The keys, if there are any: commands may run without.
    pub const fn vault(&self) -> Option<&Vault> {
        self.keys.vault.as_ref()
    }

    /// The stored digest by which a request or an event is recognized. The content may be a
    /// six-digit code, which anyone could find by trying, so the digest is keyed.
    pub fn fingerprint(&self, digest: &[u8]) -> Vec<u8> {
        self.vault()
            .map_or_else(|| digest.to_vec(), |vault| vault.fingerprint(digest))
    }

    /// Whether a stored value is the digest of this content, made with one of our keys or by a
    /// version that used none.
    pub fn is_fingerprint(&self, kept: &[u8], digest: &[u8]) -> bool {
        kept == digest
            || self
                .vault()
                .is_some_and(|vault| vault.is_fingerprint(kept, digest))
    }
}

/// Why a secret cannot be stored.
pub const NO_KEY: &str = "it contains a secret, which cannot be stored without HERALD_SECRET_KEY";

/// The context that the secrets of a notification are bound to.
pub fn of_notification(id: uuid::Uuid) -> String {
    format!("notification/{id}")
}

/// The context that the data of an event are bound to.
pub fn of_event(id: uuid::Uuid) -> String {
    format!("event/{id}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::{ExposeSecret, SecretString};

    use super::Vault;

    fn key(byte: u8) -> SecretString {
        SecretString::from(hex::encode([byte; 32]))
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only_and_with_its_key_only() {
        let vault = Vault::new(&key(1), None).unwrap();
        let sealed = vault.seal("credential/1", "a token", [7; 24]).unwrap();
        assert!(sealed.starts_with("v1:") && !sealed.contains("token"));
        let opened = vault.open("credential/1", &sealed).unwrap();
        assert_eq!(opened.expose_secret(), "a token");
        assert!(vault.open("credential/2", &sealed).is_none());
        assert!(vault.open("setting/1", &sealed).is_none());
        let other = Vault::new(&key(2), None).unwrap();
        assert!(other.open("credential/1", &sealed).is_none());
        let rotated = Vault::new(&key(2), Some(&key(1))).unwrap();
        assert!(rotated.open("credential/1", &sealed).is_some());
        assert!(!rotated.is_current(&sealed));
    }

    #[test]
    fn a_key_of_the_wrong_length_is_none() {
        for text in ["", "ab", "not hex", &"00".repeat(31), &"00".repeat(33)] {
            assert!(
                Vault::new(&SecretString::from(text), None).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_ciphertext_is_noticed(
            text in ".{0,60}",
            nonce in any::<[u8; 24]>(),
            at in any::<prop::sample::Index>(),
        ) {
            let vault = Vault::new(&key(3), None).unwrap();
            let sealed = vault.seal("credential/9", &text, nonce).unwrap();
            let opened = vault.open("credential/9", &sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), text.as_str());
            let mut bytes = sealed.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(vault.open("credential/9", &changed).is_none());
        }
    }
}
