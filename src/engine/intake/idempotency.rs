//! Keys by which a repeated request is recognised.

/// An `Idempotency-Key`, whose it is, and a digest of what it came with.
#[derive(Clone, Debug)]
pub struct Key {
    pub client: String,
    pub key: String,
    pub fingerprint: Vec<u8>,
}
