//! The ledger of idempotency keys: which request a key was used for, and its answer.

use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::{
    StoreError,
    dialect::{execute, query_one, read_row},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// The request that an `Idempotency-Key` was used for.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct IdempotentRequest {
    pub fingerprint: Vec<u8>,
    pub resource_id: Uuid,
    /// The answer, where it cannot be computed again.
    pub answer: Option<String>,
}

/// Takes an idempotency key within the transaction of the effect. The loser of a race waits here
/// for the winner's commit, and gets the winner's request.
pub async fn take_key(
    tx: &DatabaseTransaction,
    client: &str,
    key: &str,
    operation: &str,
    used: &IdempotentRequest,
    now: Timestamp,
) -> Result<Option<IdempotentRequest>, StoreError> {
    let inserted = execute(
        tx,
        "INSERT INTO idempotency (client, idempotency_key, operation, fingerprint, resource_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (client, idempotency_key, operation) DO NOTHING",
        [
            client.into(),
            key.into(),
            operation.into(),
            used.fingerprint.clone().into(),
            used.resource_id.into(),
            now.micros().into(),
        ],
    )
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(None);
    }
    earlier_request(tx, client, key, operation).await
}

/// The earlier request of a key, if any.
pub async fn earlier_request(
    tx: &DatabaseTransaction,
    client: &str,
    key: &str,
    operation: &str,
) -> Result<Option<IdempotentRequest>, StoreError> {
    let row = query_one(
        tx,
        "SELECT fingerprint, resource_id, answer FROM idempotency WHERE client = $1 AND idempotency_key = $2 AND operation = $3",
        [client.into(), key.into(), operation.into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// Stores the answer to the request of a key, for its repeats.
pub async fn keep_answer(
    tx: &DatabaseTransaction,
    client: &str,
    key: &str,
    operation: &str,
    answer: &str,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE idempotency SET answer = $4 WHERE client = $1 AND idempotency_key = $2 AND operation = $3",
        [client.into(), key.into(), operation.into(), answer.into()],
    )
    .await?;
    Ok(())
}
