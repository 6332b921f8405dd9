//! The timeline of a notification: everything that happened to it.

use entity::timeline;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{HexUuid, SqlListFieldType, execute, list, rows},
};
use crate::{
    domain::{time::Timestamp, timeline::TimelineEntryKind},
    store::DatabaseTransaction,
};

/// One entry of the timeline.
#[derive(Clone, Debug, Serialize)]
pub struct NewTimelineEntry {
    pub notification_id: HexUuid,
    pub id: HexUuid,
    pub kind: TimelineEntryKind,
    /// When it happened by the provider's clock, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<HexUuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_id: Option<HexUuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Adds entries.
pub async fn insert(
    tx: &DatabaseTransaction,
    entries: &[NewTimelineEntry],
    now: Timestamp,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("notification_id", SqlListFieldType::Uuid),
            ("id", SqlListFieldType::Uuid),
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
             SELECT r.notification_id, r.id, $2, r.kind, r.provider_at, r.attempt_id, r.callback_id, r.detail FROM {given}"
        ),
        [list(entries)?, now.micros().into()],
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
    let line = NewTimelineEntry {
        notification_id: HexUuid(notification),
        id: HexUuid(super::new_id(now)),
        kind,
        provider_at: None,
        attempt_id: None,
        callback_id: None,
        detail,
    };
    insert(tx, &[line], now).await
}

/// Adds the same entry to each of these notifications.
pub async fn note_all(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
    kind: TimelineEntryKind,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lines: Vec<NewTimelineEntry> = notifications
        .iter()
        .map(|notification| NewTimelineEntry {
            notification_id: HexUuid(*notification),
            id: HexUuid(super::new_id(now)),
            kind,
            provider_at: None,
            attempt_id: None,
            callback_id: None,
            detail: Some(detail.to_string()),
        })
        .collect();
    insert(tx, &lines, now).await
}

/// The timeline of one notification, first to last.
pub async fn of_notification(
    store: &Store,
    notification: Uuid,
) -> Result<Vec<timeline::Model>, StoreError> {
    Ok(timeline::Entity::find()
        .filter(timeline::Column::NotificationId.eq(notification))
        .order_by_asc(timeline::Column::Id)
        .all(store.reader())
        .await?)
}

/// Serialises an instant as RFC 3339.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
