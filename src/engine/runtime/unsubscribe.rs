//! Links by which the recipient of a message refuses further ones by its channel (RFC 8058). They name
//! the message and carry a keyed digest, so that no other link can be made of one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::engine::Engine;

/// The path of the links.
pub const PATH: &str = "/unsubscribe";

impl Engine {
    /// The link of a message; `None` without `HERALD_PUBLIC_URL`, or a key.
    pub fn unsubscribe_url(&self, notification: Uuid) -> Option<String> {
        let base = self.public_url.as_deref()?.trim_end_matches('/');
        let token = self.unsubscribe_token(notification)?;
        Some(format!("{base}{PATH}/{token}"))
    }

    /// What names a message in its link; `None` without a key.
    pub fn unsubscribe_token(&self, notification: Uuid) -> Option<String> {
        let digest = self.vault()?.fingerprint(&digested(notification));
        let token = [notification.as_bytes().as_slice(), digest.as_slice()].concat();
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// The message of a link, if this installation made it, with its present or previous key.
    pub fn unsubscribed(&self, token: &str) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, digest) = bytes.split_at_checked(16)?;
        let id = Uuid::from_slice(id).ok()?;
        let is_ours = self.vault()?.is_fingerprint(digest, &digested(id));
        is_ours.then_some(id)
    }
}

/// What the digest of a link is made of.
fn digested(notification: Uuid) -> Vec<u8> {
    [b"unsubscribe ".as_slice(), notification.as_bytes()].concat()
}
