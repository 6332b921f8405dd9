//! Follow-ups: one row for each decision of a rule about a notification.

use entity::follow_up;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    convert::follow_up_state,
    dialect::{
        HexUuid, SqlListFieldType, by_key, column, execute, ids, list, locking, matching, query,
        read_row, rows,
    },
};
use crate::{
    domain::{time::Timestamp, transition::NotificationTransitionSet},
    store::DatabaseTransaction,
};

/// A follow-up to be stored.
#[derive(Clone, Debug, Serialize)]
pub struct NewFollowUp {
    pub id: HexUuid,
    pub notification_id: HexUuid,
    pub generation: i64,
    pub rule_id: HexUuid,
    pub rule_name: String,
    pub trigger_name: &'static str,
    /// Empty for facts; the inbound message for replies.
    pub occurrence: String,
    pub unless_mask: i64,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Stores follow-ups; one that is there already stays as it is.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewFollowUp],
    now: Timestamp,
) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("notification_id", SqlListFieldType::Uuid),
            ("generation", SqlListFieldType::Int),
            ("rule_id", SqlListFieldType::Uuid),
            ("rule_name", SqlListFieldType::Text),
            ("trigger_name", SqlListFieldType::Text),
            ("occurrence", SqlListFieldType::Text),
            ("unless_mask", SqlListFieldType::Int),
            ("state", SqlListFieldType::Text),
            ("due_at", SqlListFieldType::Int),
            ("reason", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO follow_up (id, created_at, notification_id, generation, rule_id, rule_name, trigger_name, \
             occurrence, unless_mask, state, due_at, reason) \
             SELECT r.id, $2, r.notification_id, r.generation, r.rule_id, r.rule_name, r.trigger_name, r.occurrence, \
             r.unless_mask, r.state, r.due_at, r.reason FROM {given} WHERE true \
             ON CONFLICT (notification_id, generation, rule_name, trigger_name, occurrence) DO NOTHING"
        ),
        [list(new)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A state that a notification has newly reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReachedTransitionMask {
    pub id: HexUuid,
    pub mask: i64,
}

/// A follow-up that was cancelled or is due.
#[derive(Clone, Debug, FromQueryResult)]
pub struct TouchedFollowUp {
    pub id: Uuid,
    pub notification_id: Uuid,
    pub rule_name: String,
}

/// Cancels pending follow-ups because of reached states. The cursor of one that was partly sent
/// stays, and shows it.
pub async fn cancel(
    tx: &DatabaseTransaction,
    reached: &[ReachedTransitionMask],
    now: Timestamp,
) -> Result<Vec<TouchedFollowUp>, StoreError> {
    if reached.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("mask", SqlListFieldType::Int),
        ],
    );
    let of_the_list = by_key(backend, "follow_up.notification_id", "r.id");
    let cancelled = query(
        tx,
        format!(
            "UPDATE follow_up SET state = 'cancelled', due_at = NULL, settled_at = $2, reason = 'one of its `unless` happened' \
             FROM {given} WHERE {of_the_list} AND follow_up.state = 'pending' \
             AND (follow_up.unless_mask & r.mask) <> 0 RETURNING follow_up.id, follow_up.notification_id, follow_up.rule_name"
        ),
        [list(reached)?, now.micros().into()],
    )
    .await?;
    cancelled.iter().map(read_row).collect()
}

/// A due follow-up.
#[derive(Clone, Debug, FromQueryResult)]
pub struct DueFollowUp {
    pub id: Uuid,
    pub notification_id: Uuid,
    pub generation: i64,
    pub rule_id: Uuid,
    pub rule_name: String,
    pub trigger_name: String,
    #[sea_orm(from_alias = "unless_mask")]
    pub unless: NotificationTransitionSet,
    /// How far it has come.
    #[sea_orm(from_alias = "cursor_at")]
    pub cursor: Option<String>,
}

/// Locks due follow-ups of these notifications, oldest first.
pub async fn due(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DueFollowUp>, StoreError> {
    let backend = tx.get_database_backend();
    let skip = locking(backend, "FOR UPDATE OF f SKIP LOCKED");
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    // Only the rows to be locked are searched here. The condition is an expression, so that the
    // index of due follow-ups, which may hold a backlog, is not walked for each notification.
    let due = matching(
        backend,
        &given,
        "follow_up",
        "f",
        "f.notification_id = r.id AND coalesce(f.due_at, 9223372036854775807) <= $2",
    );
    let found = query(
        tx,
        format!(
            "SELECT f.id, f.notification_id, f.generation, f.rule_id, f.rule_name, f.trigger_name, f.unless_mask, f.cursor_at \
             FROM {due} ORDER BY f.due_at, (f.cursor_at IS NOT NULL), f.id LIMIT $3 {skip}"
        ),
        [ids(notifications.iter().copied())?, now.micros().into(), limit.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// The notifications of follow-ups that are due, so that they are locked before the follow-ups.
pub async fn due_notifications(
    store: &Store,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        store.by_index(),
        "SELECT notification_id FROM follow_up WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at, (cursor_at IS NOT NULL), id LIMIT $2",
        [now.micros().into(), limit.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| column(row, "notification_id"))
        .collect()
}

/// Ends a follow-up.
pub async fn settle(
    tx: &DatabaseTransaction,
    id: Uuid,
    state: follow_up::FollowUpState,
    reason: Option<String>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE follow_up SET state = $2, due_at = NULL, cursor_at = NULL, settled_at = $3, reason = $4 WHERE id = $1",
        [id.into(), follow_up_state(state).into(), now.micros().into(), reason.into()],
    )
    .await?;
    Ok(())
}

/// Stores the cursor of an unfinished follow-up, and since when it is due again.
pub async fn set_cursor(
    tx: &DatabaseTransaction,
    id: Uuid,
    cursor: String,
    due_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE follow_up SET cursor_at = $2, due_at = $3 WHERE id = $1",
        [id.into(), cursor.into(), due_at.micros().into()],
    )
    .await?;
    Ok(())
}

/// The contacts among these that already have a message of this follow-up.
pub async fn reached_already(
    tx: &DatabaseTransaction,
    id: Uuid,
    contacts: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    let found = query(
        tx,
        format!(
            "SELECT r.id FROM {given} WHERE EXISTS (SELECT 1 FROM notification n WHERE n.contact_id = r.id \
             AND n.follow_up_id = $2 LIMIT 1 OFFSET 0)"
        ),
        [ids(contacts.iter().copied())?, id.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// The messages among these whose parent has reached an `unless` meanwhile.
pub async fn overtaken(
    tx: &DatabaseTransaction,
    children: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let child = matching(backend, &given, "notification", "n", "n.id = r.id");
    let made_by = matching(backend, &child, "follow_up", "f", "f.id = n.follow_up_id");
    let parent = matching(
        backend,
        &made_by,
        "notification",
        "p",
        "p.id = f.notification_id",
    );
    let found = query(
        tx,
        format!(
            "SELECT n.id FROM {parent} \
             WHERE n.attempt_count <= 1 AND p.generation = f.generation AND (f.unless_mask & p.triggered) <> 0"
        ),
        [ids(children.iter().copied())?],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Follow-ups that were sent because of a failure, wholly or in part.
pub async fn fired(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
) -> Result<Vec<TouchedFollowUp>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let of_the_list = matching(
        backend,
        &given,
        "follow_up",
        "f",
        "f.notification_id = r.id",
    );
    let found = query(
        tx,
        format!(
            "SELECT f.id, f.notification_id, f.rule_name FROM {of_the_list} \
             WHERE (f.state = 'fired' OR f.cursor_at IS NOT NULL) AND f.trigger_name = 'failed'"
        ),
        [ids(notifications.iter().copied())?],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// The follow-ups of one notification, oldest first.
pub async fn of_notification(
    store: &Store,
    notification: Uuid,
) -> Result<Vec<follow_up::Model>, StoreError> {
    Ok(follow_up::Entity::find()
        .filter(follow_up::Column::NotificationId.eq(notification))
        .order_by_asc(follow_up::Column::Id)
        .all(store.reader())
        .await?)
}
