//! Idempotency keys, by which a repeated request is recognized.

use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError,
        idempotency::{self, IdempotentRequest},
    },
};

/// An `Idempotency-Key`, its scope, and a digest of the request.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    pub client: String,
    pub key: String,
    pub fingerprint: Vec<u8>,
}

/// What the key of a request says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyVerdict {
    /// It is new, or has no key.
    New,
    /// The same was requested before.
    Repeat(IdempotentRequest),
    /// The key was used for something else.
    KeyReused,
}

/// Takes the key of a request, if it has one, in the transaction of its effect: a repeat finds there
/// what was made of it, and [`keep_answer`](idempotency::keep_answer) its answer.
pub async fn idempotent(
    engine: &Engine,
    tx: &DatabaseTransaction,
    key: Option<&IdempotencyKey>,
    operation: &str,
    resource_id: Uuid,
    now: Timestamp,
) -> Result<IdempotencyVerdict, StoreError> {
    let Some(key) = key else {
        return Ok(IdempotencyVerdict::New);
    };
    let used = IdempotentRequest {
        fingerprint: engine.fingerprint(&key.fingerprint),
        resource_id,
        answer: None,
    };
    let before = idempotency::take_key(tx, &key.client, &key.key, operation, &used, now).await?;
    Ok(verdict(engine, key, before))
}

/// Like [`idempotent`], and takes no key: for a request that is checked before it has an effect.
pub async fn look(
    engine: &Engine,
    tx: &DatabaseTransaction,
    key: Option<&IdempotencyKey>,
    operation: &str,
) -> Result<IdempotencyVerdict, StoreError> {
    let Some(key) = key else {
        return Ok(IdempotencyVerdict::New);
    };
    let before = idempotency::earlier_request(tx, &key.client, &key.key, operation).await?;
    Ok(verdict(engine, key, before))
}

fn verdict(
    engine: &Engine,
    key: &IdempotencyKey,
    before: Option<IdempotentRequest>,
) -> IdempotencyVerdict {
    match before {
        None => IdempotencyVerdict::New,
        Some(before) if engine.is_fingerprint(&before.fingerprint, &key.fingerprint) => {
            IdempotencyVerdict::Repeat(before)
        }
        Some(_) => IdempotencyVerdict::KeyReused,
    }
}
