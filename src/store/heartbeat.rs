//! Signs of life of workers.

use entity::heartbeat;
use sea_orm::{EntityTrait, QueryOrder};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// Notes that a worker is at work, and forgets those of processes that are long gone.
pub async fn beat(
    tx: &DatabaseTransaction,
    process: Uuid,
    worker: &str,
    forget_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO heartbeat (process, worker, created_at, seen_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (process, worker) DO UPDATE SET seen_at = excluded.seen_at",
        [process.into(), worker.into(), now.micros().into()],
    )
    .await?;
    forget(tx, forget_before).await
}

/// Forgets the workers that gave their last sign of life before this.
pub async fn forget(tx: &DatabaseTransaction, before: Timestamp) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM heartbeat WHERE seen_at < $1",
        [before.micros().into()],
    )
    .await?;
    Ok(())
}

/// Takes the sign of a worker that stops in order: it is not dead, it has gone.
pub async fn gone(tx: &DatabaseTransaction, process: Uuid, worker: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM heartbeat WHERE process = $1 AND worker = $2",
        [process.into(), worker.into()],
    )
    .await?;
    Ok(())
}

pub async fn all(store: &Store) -> Result<Vec<heartbeat::Model>, StoreError> {
    Ok(heartbeat::Entity::find()
        .order_by_asc(heartbeat::Column::Process)
        .order_by_asc(heartbeat::Column::Worker)
        .all(store.reader())
        .await?)
}
