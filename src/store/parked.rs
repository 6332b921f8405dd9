//! Parked statuses: their message is not known (yet).

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{
        HexUuid, SqlListFieldType, among, column, execute, ids, list, listed, matching, query,
        query_one, read_row, rows,
    },
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// A status to be parked.
#[derive(Clone, Debug, Serialize)]
pub struct NewParkedStatusUpdate {
    pub id: HexUuid,
    pub callback_id: HexUuid,
    pub pointer: String,
    pub endpoint_id: Option<String>,
    pub message: String,
    pub our_id: Option<HexUuid>,
    /// The update, as the engine reads it again.
    pub update_json: String,
}

pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewParkedStatusUpdate],
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
            ("endpoint_id", SqlListFieldType::Text),
            ("message", SqlListFieldType::Text),
            ("our_id", SqlListFieldType::Uuid),
            ("update_json", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO parked_status (id, created_at, callback_id, pointer, endpoint_id, provider_message_id, \
             our_id, update_json) \
             SELECT r.id, $2, r.callback_id, r.pointer, r.endpoint_id, r.message, r.our_id, r.update_json \
             FROM {given} WHERE true ON CONFLICT (callback_id, pointer) DO NOTHING"
        ),
        [list(new)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A parked status.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ParkedStatusUpdate {
    pub id: Uuid,
    pub callback_id: Uuid,
    #[sea_orm(from_alias = "update_json")]
    pub update: String,
    pub endpoint_id: Option<String>,
}

/// The ids of an attempt.
#[derive(Clone, Debug, Serialize)]
pub struct KnownAttemptIds {
    pub our_id: HexUuid,
    pub message: Option<String>,
}

/// Parked statuses of messages that have become known.
pub async fn of(
    tx: &DatabaseTransaction,
    known: &[KnownAttemptIds],
) -> Result<Vec<ParkedStatusUpdate>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("our_id", SqlListFieldType::Uuid),
            ("message", SqlListFieldType::Text),
        ],
    );
    let by = |key| matching(backend, &given, "parked_status", "p", key);
    let found = query(
        tx,
        format!(
            "SELECT p.id, p.callback_id, p.update_json, p.endpoint_id FROM {} \
             UNION SELECT p.id, p.callback_id, p.update_json, p.endpoint_id FROM {}",
            by("p.provider_message_id = r.message"),
            by("p.our_id = r.our_id")
        ),
        [list(known)?],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Marks parked statuses as not ours.
pub async fn disown(tx: &DatabaseTransaction, parked: &[Uuid]) -> Result<(), StoreError> {
    if parked.is_empty() {
        return Ok(());
    }
    execute(
        tx,
        format!(
            "UPDATE parked_status SET state = 'not_ours' WHERE {}",
            listed(tx.get_database_backend(), "id")
        ),
        [ids(parked.iter().copied())?],
    )
    .await?;
    Ok(())
}

/// Removes parked statuses that were joined.
pub async fn remove(tx: &DatabaseTransaction, parked: &[Uuid]) -> Result<(), StoreError> {
    if parked.is_empty() {
        return Ok(());
    }
    execute(
        tx,
        format!(
            "DELETE FROM parked_status WHERE {}",
            listed(tx.get_database_backend(), "id")
        ),
        [ids(parked.iter().copied())?],
    )
    .await?;
    Ok(())
}

/// Whether any waits.
pub async fn any(store: &Store) -> Result<bool, StoreError> {
    let found = query_one(
        store.by_index(),
        "SELECT id FROM parked_status WHERE state = 'parked' ORDER BY created_at LIMIT 1",
        [],
    )
    .await?;
    Ok(found.is_some())
}

/// How many wait.
pub async fn count(store: &Store) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM parked_status WHERE state = 'parked'",
        [],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}

/// How many wait since before then.
pub async fn count_before(store: &Store, before: Timestamp) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM parked_status WHERE state = 'parked' AND created_at < $1",
        [before.micros().into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}

/// What a sweep found: a parked status and the attempt it is about.
#[derive(Clone, Debug, FromQueryResult)]
pub struct MatchedParkedStatus {
    #[sea_orm(nested)]
    pub parked: ParkedStatusUpdate,
    pub attempt_id: Uuid,
    pub notification_id: Uuid,
    pub sender_id: Uuid,
}

/// Parked statuses whose message is known after all: the status was parked while
/// the answer that names its message was being committed.
pub async fn joinable(
    connection: &impl ConnectionTrait,
    limit: i64,
) -> Result<Vec<MatchedParkedStatus>, StoreError> {
    let known = matching(
        connection.get_database_backend(),
        "(SELECT * FROM parked_status WHERE state = 'parked') AS p",
        "attempt",
        "a",
        "a.provider_message_id = p.provider_message_id",
    );
    let found = query(
        connection,
        format!("SELECT p.id, p.callback_id, p.update_json, p.endpoint_id, a.id AS attempt_id, a.notification_id, a.sender_id \
         FROM {known} ORDER BY a.notification_id LIMIT $1"),
        [limit.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Marks parked statuses that have waited too long as not ours: they are kept, and counted apart.
/// Returns the number.
pub async fn expire(
    tx: &DatabaseTransaction,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let old = among(
        tx.get_database_backend(),
        "id",
        "SELECT id FROM parked_status WHERE state = 'parked' AND created_at < $1 ORDER BY created_at LIMIT $2",
    );
    let expired = execute(
        tx,
        format!("UPDATE parked_status SET state = 'not_ours' WHERE {old}"),
        [before.micros().into(), limit.into()],
    )
    .await?;
    Ok(expired.rows_affected())
}

/// How many turned out not to be ours.
pub async fn count_not_ours(store: &Store) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM parked_status WHERE state = 'not_ours'",
        [],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}
