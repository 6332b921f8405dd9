//! The timeline of a notification: everything that happened to it. Its newest lines are in the
//! record of its row ([`super::notification::NotificationRecord`]); in the table are those for
//! which that had no room, and those that were written without it.

use entity::{notification, timeline};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{HexUuid, SqlListFieldType, execute, list, rows},
    new_id,
    notification::NotificationRecord,
};
use crate::{
    domain::{
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
    },
    store::DatabaseTransaction,
};

#[derive(Serialize)]
struct TimelineRow<'a> {
    notification_id: HexUuid,
    id: HexUuid,
    at: i64,
    kind: TimelineEntryKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_id: Option<HexUuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_id: Option<HexUuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// Adds entries to the table.
pub(super) async fn insert(
    tx: &DatabaseTransaction,
    entries: &[(Uuid, TimelineEntry)],
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let described: Vec<TimelineRow<'_>> = entries
        .iter()
        .map(|(notification, entry)| TimelineRow {
            notification_id: HexUuid(*notification),
            // In order of time, as they are read.
            id: HexUuid(new_id(entry.at)),
            at: entry.at.micros(),
            kind: entry.kind,
            provider_at: entry.provider_at.map(Timestamp::micros),
            attempt_id: entry.attempt_id.map(HexUuid),
            callback_id: entry.callback_id.map(HexUuid),
            detail: entry.detail.as_deref(),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("notification_id", SqlListFieldType::Uuid),
            ("id", SqlListFieldType::Uuid),
            ("at", SqlListFieldType::Int),
            ("kind", SqlListFieldType::Text),
            ("provider_at", SqlListFieldType::Int),
            ("attempt_id", SqlListFieldType::Uuid),
            ("callback_id", SqlListFieldType::Uuid),
            ("detail", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO timeline (notification_id, id, at, kind, provider_at, attempt_id, callback_id, detail) \
             SELECT r.notification_id, r.id, r.at, r.kind, r.provider_at, r.attempt_id, r.callback_id, r.detail FROM {given}"
        ),
        [list(&described)?],
    )
    .await?;
    Ok(())
}

/// Adds one entry.
pub async fn note(
    tx: &DatabaseTransaction,
    notification: Uuid,
    kind: TimelineEntryKind,
    detail: Option<String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = TimelineEntry::new(now, kind, detail);
    insert(tx, &[(notification, entry)]).await
}

/// Adds the same entry to each of these notifications.
pub async fn note_all(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
    kind: TimelineEntryKind,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = TimelineEntry::new(now, kind, Some(detail.to_string()));
    let entries: Vec<(Uuid, TimelineEntry)> = notifications
        .iter()
        .map(|notification| (*notification, entry.clone()))
        .collect();
    insert(tx, &entries).await
}

/// The timeline of one notification, first to last.
pub async fn of_notification(
    store: &Store,
    row: &notification::Model,
) -> Result<Vec<TimelineEntry>, StoreError> {
    let stored = timeline::Entity::find()
        .filter(timeline::Column::NotificationId.eq(row.id))
        .order_by_asc(timeline::Column::Id)
        .all(store.reader())
        .await?;
    // At one moment, what was noted aside follows from what the record holds.
    let mut entries = NotificationRecord::of(row)?.lines_of(row)?;
    for line in stored {
        entries.push(TimelineEntry {
            at: Timestamp::from_micros(line.at),
            kind: TimelineEntryKind::parse(&line.kind).unwrap_or(TimelineEntryKind::Unrecognized),
            provider_at: line.provider_at.map(Timestamp::from_micros),
            attempt_id: line.attempt_id,
            callback_id: line.callback_id,
            detail: line.detail,
        });
    }
    // Stable: lines of one moment stay in this order.
    entries.sort_by_key(|entry| entry.at);
    Ok(entries)
}

/// Serialises an instant as RFC 3339.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
