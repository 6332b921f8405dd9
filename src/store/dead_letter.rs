//! Dead letters: items of callbacks that could not be applied.

use entity::dead_letter;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{HexUuid, SqlListFieldType, column, execute, list, query_one, rows},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

#[derive(Clone, Debug, Serialize)]
pub struct NewDeadLetter {
    pub id: HexUuid,
    pub callback_id: HexUuid,
    pub pointer: String,
    pub reason: String,
}

/// Stores dead letters. A known one gets the new reason, and is open again.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewDeadLetter],
    now: Timestamp,
) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("callback_id", SqlListFieldType::Uuid),
            ("pointer", SqlListFieldType::Text),
            ("reason", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO dead_letter (id, created_at, callback_id, pointer, reason) \
             SELECT r.id, $2, r.callback_id, r.pointer, r.reason FROM {given} WHERE true \
             ON CONFLICT (callback_id, pointer) DO UPDATE SET reason = excluded.reason, replayed_at = NULL"
        ),
        [list(new)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Open dead letters, newest first; of one callback, when it is named.
pub async fn open(
    store: &Store,
    callback: Option<Uuid>,
    limit: u64,
) -> Result<Vec<dead_letter::Model>, StoreError> {
    let mut select = dead_letter::Entity::find()
        .filter(dead_letter::Column::ReplayedAt.is_null())
        .order_by_desc(dead_letter::Column::Id)
        .limit(limit);
    if let Some(callback) = callback {
        select = select.filter(dead_letter::Column::CallbackId.eq(callback));
    }
    Ok(select.all(store.reader()).await?)
}

/// Marks the dead letters of a callback as replayed.
pub async fn replayed(
    tx: &DatabaseTransaction,
    callback: Uuid,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let noted = execute(
        tx,
        "UPDATE dead_letter SET replayed_at = $2 WHERE callback_id = $1 AND replayed_at IS NULL",
        [callback.into(), now.micros().into()],
    )
    .await?;
    Ok(noted.rows_affected())
}

/// How many are open.
pub async fn count_open(store: &Store) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM dead_letter WHERE replayed_at IS NULL",
        [],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}
