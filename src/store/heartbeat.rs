//! Heartbeats of workers.

use entity::heartbeat;
use sea_orm::{EntityTrait, QueryOrder};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// Stores a heartbeat, and deletes those of processes that have been gone for long.
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

/// Deletes heartbeats older than this.
pub async fn forget(tx: &DatabaseTransaction, before: Timestamp) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM heartbeat WHERE seen_at < $1",
        [before.micros().into()],
    )
    .await?;
    Ok(())
}

/// Deletes the heartbeat of a worker that stops in order: it is not dead.
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
