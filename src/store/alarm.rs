//! Alarms: what is wrong, since when, until when.

use entity::alarm;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Store, StoreError, dialect::execute};
use crate::{
    domain::{alarm::AlarmKind, time::Timestamp},
    store::DatabaseTransaction,
};

/// Those that are raised.
pub async fn raised(store: &Store) -> Result<Vec<alarm::Model>, StoreError> {
    Ok(alarm::Entity::find()
        .filter(alarm::Column::ClearedAt.is_null())
        .order_by_asc(alarm::Column::RaisedAt)
        .limit(1_000)
        .all(store.reader())
        .await?)
}

/// Raises an alarm; false if another process has already raised it.
pub async fn raise(
    tx: &DatabaseTransaction,
    kind: AlarmKind,
    subject: &str,
    summary: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let raised = execute(
        tx,
        "INSERT INTO alarm (kind, subject, created_at, raised_at, cleared_at, summary) VALUES ($1, $2, $3, $3, NULL, $4) \
         ON CONFLICT (kind, subject) DO UPDATE SET raised_at = excluded.raised_at, cleared_at = NULL, summary = excluded.summary \
         WHERE alarm.cleared_at IS NOT NULL",
        [
            kind.name().into(),
            subject.into(),
            now.micros().into(),
            summary.into(),
        ],
    )
    .await?;
    Ok(raised.rows_affected() > 0)
}

/// Clears an alarm; false if another process has already cleared it.
pub async fn clear(
    tx: &DatabaseTransaction,
    kind: AlarmKind,
    subject: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let cleared = execute(
        tx,
        "UPDATE alarm SET cleared_at = $3 WHERE kind = $1 AND subject = $2 AND cleared_at IS NULL",
        [kind.name().into(), subject.into(), now.micros().into()],
    )
    .await?;
    Ok(cleared.rows_affected() > 0)
}
