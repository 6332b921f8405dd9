//! Idempotency keys, by which a repeated request is recognized.

/// An `Idempotency-Key`, its scope, and a digest of the request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    pub client: String,
    pub key: String,
    pub fingerprint: Vec<u8>,
}
