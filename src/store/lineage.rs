//! The installation's id, its state mark, which only grows, and the PostgreSQL cluster last seen:
//! they show whether the database is in the state it was left in.

use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ConnectionTrait, DatabaseTransaction, Store, StoreError,
    dialect::{column, query_one, read_row},
    setting,
};
use crate::domain::time::Timestamp;

/// The setting that names this installation for ever.
const INSTALLATION: &str = "installation_id";

/// The setting that grows while messages are sent.
const MARK: &str = "state_mark";

/// The setting that names the PostgreSQL cluster last seen.
const CLUSTER: &str = "database_cluster";

/// The installation's id; the given one, if it has none yet.
pub async fn installation(
    tx: &DatabaseTransaction,
    fresh: Uuid,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let text = setting::get_or_insert(tx, INSTALLATION, &fresh.to_string(), now).await?;
    Uuid::parse_str(&text).map_err(|_unreadable| StoreError::Corrupt {
        table: "setting",
        row: INSTALLATION.to_owned(),
        column: "value",
    })
}

/// The installation's id, if it has one.
pub async fn stored_installation(
    connection: &impl ConnectionTrait,
) -> Result<Option<String>, StoreError> {
    setting::get(connection, INSTALLATION).await
}

/// The mark as it stands; 0 before anything was sent.
pub async fn mark(connection: &impl ConnectionTrait) -> Result<i64, StoreError> {
    setting::number(connection, MARK).await
}

/// Increments the mark, and returns it.
pub async fn advance(tx: &DatabaseTransaction, now: Timestamp) -> Result<i64, StoreError> {
    let row = query_one(
        tx,
        "INSERT INTO setting (name, created_at, value) VALUES ($1, $2, '1') \
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(setting.value AS bigint) + 1 AS text) \
         RETURNING CAST(value AS bigint) AS mark",
        [MARK.into(), now.micros().into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "mark"))
}

/// Advances the mark to at least this value: a newer mark elsewhere is accepted.
pub async fn advance_to(
    tx: &DatabaseTransaction,
    least: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mark = mark(tx).await?.max(least);
    setting::put(tx, MARK, &mark.to_string(), now).await
}

/// A PostgreSQL cluster and where it is in its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, FromQueryResult)]
pub struct ClusterPosition {
    /// PostgreSQL's system identifier: `initdb` draws it, copies and standbys keep it.
    pub system: String,
    /// Grows with every promotion.
    pub timeline: i64,
}

/// The cluster that answers; none on SQLite, and where PostgreSQL does not let us ask.
pub async fn cluster(store: &Store) -> Result<Option<ClusterPosition>, StoreError> {
    if store.is_sqlite() {
        return Ok(None);
    }
    let allowed = query_one(
        store.reader(),
        "SELECT coalesce(has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE') \
         AND has_function_privilege(to_regprocedure('pg_catalog.pg_control_checkpoint()'), 'EXECUTE'), false) AS allowed",
        [],
    )
    .await?;
    if !allowed.map_or(Ok(false), |row| column(&row, "allowed"))? {
        return Ok(None);
    }
    let row = query_one(
        store.reader(),
        "SELECT CAST(s.system_identifier AS text) AS system, CAST(c.timeline_id AS bigint) AS timeline \
         FROM pg_control_system() AS s, pg_control_checkpoint() AS c",
        [],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The cluster that was last seen.
pub async fn last_cluster(
    connection: &impl ConnectionTrait,
) -> Result<Option<ClusterPosition>, StoreError> {
    let kept = setting::get(connection, CLUSTER).await?;
    Ok(kept.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Keeps the cluster as the last one seen.
pub async fn keep_cluster(
    tx: &DatabaseTransaction,
    cluster: &ClusterPosition,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(cluster)
        .map_err(|error| StoreError::Refused(sea_orm::DbErr::Json(error.to_string())))?;
    setting::put(tx, CLUSTER, &text, now).await
}
