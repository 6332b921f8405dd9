//! Follow-ups. One that waits for its time is in the record of its notification
//! ([`super::notification::NotificationRecord`]), with a timer here; when its time comes, it gets a
//! row, which says how it went on.

use entity::{follow_up, notification as notifications};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    convert::{follow_up_state, stored_follow_up_state},
    dialect::{
        HexUuid, SqlListFieldType, by_key, column, execute, ids, list, locking, matching, query,
        read_row, rows,
    },
    notification::{self, LoadedNotification, NotificationRecord},
};
use crate::{
    domain::{
        follow_up::{OVERTAKEN, PlannedFollowUp, PlannedFollowUpState},
        time::Timestamp,
        transition::NotificationTransitionSet,
    },
    store::DatabaseTransaction,
};

/// When a planned follow-up is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FollowUpTimer {
    id: HexUuid,
    notification_id: HexUuid,
    due: i64,
}

impl FollowUpTimer {
    /// The timer of a pending follow-up; none of another.
    pub fn of(notification: Uuid, planned: &PlannedFollowUp) -> Option<Self> {
        (planned.state == PlannedFollowUpState::Pending).then_some(Self {
            id: HexUuid(planned.id),
            notification_id: HexUuid(notification),
            due: planned.due_at?.micros(),
        })
    }

    pub const fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now.micros()
    }
}

const TIMER: [(&str, SqlListFieldType); 3] = [
    ("id", SqlListFieldType::Uuid),
    ("notification_id", SqlListFieldType::Uuid),
    ("due", SqlListFieldType::Int),
];

/// Sets timers.
pub async fn set_timers(
    tx: &DatabaseTransaction,
    timers: &[FollowUpTimer],
) -> Result<(), StoreError> {
    if timers.is_empty() {
        return Ok(());
    }
    let given = rows(tx.get_database_backend(), &TIMER);
    execute(
        tx,
        format!(
            "INSERT INTO follow_up_timer (due_at, follow_up_id, notification_id) \
             SELECT r.due, r.id, r.notification_id FROM {given} WHERE true ON CONFLICT DO NOTHING"
        ),
        [list(timers)?],
    )
    .await?;
    Ok(())
}

/// Removes timers.
pub async fn remove_timers(
    tx: &DatabaseTransaction,
    timers: &[FollowUpTimer],
) -> Result<(), StoreError> {
    if timers.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let given = rows(backend, &TIMER);
    let removed = if backend == sea_orm::DbBackend::Postgres {
        format!(
            "DELETE FROM follow_up_timer USING {given} WHERE {} AND follow_up_timer.follow_up_id = r.id",
            by_key(backend, "follow_up_timer.due_at", "r.due")
        )
    } else {
        format!(
            "DELETE FROM follow_up_timer WHERE (due_at, follow_up_id) IN (SELECT r.due, r.id FROM {given})"
        )
    };
    execute(tx, removed, [list(timers)?]).await?;
    Ok(())
}

/// Removes the timers of notifications that were due by then, whatever they belong to.
pub async fn forget_timers(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
    until: Timestamp,
) -> Result<(), StoreError> {
    if notifications.is_empty() {
        return Ok(());
    }
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    execute(
        tx,
        format!(
            "DELETE FROM follow_up_timer WHERE due_at <= $2 AND notification_id IN (SELECT r.id FROM {given})"
        ),
        [ids(notifications.iter().copied())?, until.micros().into()],
    )
    .await?;
    Ok(())
}

#[derive(Serialize)]
struct StartedFollowUpRow<'a> {
    id: HexUuid,
    created_at: i64,
    notification_id: HexUuid,
    generation: i64,
    rule_id: HexUuid,
    rule_name: &'a str,
    trigger_name: &'static str,
    occurrence: &'a str,
    unless_mask: i64,
    due_at: Option<i64>,
}

/// Gives the planned follow-ups of these notifications, which are locked, rows of their own if they
/// are due by then.
pub async fn start(
    tx: &DatabaseTransaction,
    loaded: &mut [LoadedNotification],
    until: Timestamp,
) -> Result<(), StoreError> {
    let mut started: Vec<(Uuid, PlannedFollowUp)> = Vec::new();
    let mut idle = Vec::new();
    for loaded in loaded.iter_mut() {
        let id = loaded.state.id;
        let due = loaded.change_follow_ups(
            |planned| {
                planned.state == PlannedFollowUpState::Pending
                    && planned.due_at.is_none_or(|due| due <= until)
            },
            |planned| {
                planned.state = PlannedFollowUpState::Started;
                planned.due_at = None;
            },
        );
        if due.is_empty() {
            idle.push(id);
        }
        started.extend(due.into_iter().map(|planned| (id, planned)));
    }
    // A timer without its follow-up: another process was faster, or a row was changed by hand.
    forget_timers(tx, &idle, until).await?;
    if started.is_empty() {
        return Ok(());
    }
    let described: Vec<StartedFollowUpRow<'_>> = started
        .iter()
        .map(|(notification, planned)| StartedFollowUpRow {
            id: HexUuid(planned.id),
            created_at: planned.created_at.micros(),
            notification_id: HexUuid(*notification),
            generation: planned.generation,
            rule_id: HexUuid(planned.rule_id),
            rule_name: &planned.rule_name,
            trigger_name: planned.trigger.name(),
            occurrence: &planned.occurrence,
            unless_mask: planned.unless.mask(),
            due_at: planned.due_at.map(Timestamp::micros),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("created_at", SqlListFieldType::Int),
            ("notification_id", SqlListFieldType::Uuid),
            ("generation", SqlListFieldType::Int),
            ("rule_id", SqlListFieldType::Uuid),
            ("rule_name", SqlListFieldType::Text),
            ("trigger_name", SqlListFieldType::Text),
            ("occurrence", SqlListFieldType::Text),
            ("unless_mask", SqlListFieldType::Int),
            ("due_at", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO follow_up (id, created_at, notification_id, generation, rule_id, rule_name, trigger_name, \
             occurrence, unless_mask, state, due_at) \
             SELECT r.id, r.created_at, r.notification_id, r.generation, r.rule_id, r.rule_name, r.trigger_name, r.occurrence, \
             r.unless_mask, 'pending', r.due_at FROM {given} WHERE true \
             ON CONFLICT (notification_id, generation, rule_name, trigger_name, occurrence) DO NOTHING"
        ),
        [list(&described)?],
    )
    .await?;
    let timers: Vec<FollowUpTimer> = started
        .iter()
        .filter_map(|(notification, planned)| FollowUpTimer::of(*notification, planned))
        .collect();
    remove_timers(tx, &timers).await?;
    notification::save_records(tx, loaded).await
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

/// Cancels started follow-ups that are pending because of reached states. The cursor of one that
/// was partly sent stays, and shows it.
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
            "UPDATE follow_up SET state = 'cancelled', due_at = NULL, settled_at = $2, reason = '{OVERTAKEN}' \
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

/// The notifications of follow-ups that are due, so that they are locked before the follow-ups:
/// those whose time has come, and started ones with recipients to go.
pub async fn due_notifications(
    store: &Store,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        store.by_index(),
        "SELECT notification_id FROM (\
         SELECT * FROM (SELECT due_at, false AS is_begun, follow_up_id AS id, notification_id FROM follow_up_timer \
         WHERE due_at <= $1 ORDER BY due_at, follow_up_id LIMIT $2) AS planned UNION ALL \
         SELECT * FROM (SELECT due_at, cursor_at IS NOT NULL AS is_begun, id, notification_id FROM follow_up \
         WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at, (cursor_at IS NOT NULL), id LIMIT $2) AS started) AS due \
         ORDER BY due_at, is_begun, id LIMIT $2",
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

/// The follow-ups of one notification, oldest first, whether they have started or not.
pub async fn of_notification(
    store: &Store,
    row: &notifications::Model,
) -> Result<Vec<follow_up::Model>, StoreError> {
    let mut all = follow_up::Entity::find()
        .filter(follow_up::Column::NotificationId.eq(row.id))
        .order_by_asc(follow_up::Column::Id)
        .all(store.reader())
        .await?;
    let planned = NotificationRecord::of(row)?.follow_ups;
    all.extend(planned.into_iter().filter_map(|planned| {
        Some(follow_up::Model {
            id: planned.id,
            created_at: planned.created_at.micros(),
            notification_id: row.id,
            generation: planned.generation,
            rule_id: planned.rule_id,
            rule_name: planned.rule_name,
            trigger_name: planned.trigger.name().to_owned(),
            occurrence: planned.occurrence,
            unless_mask: planned.unless.mask(),
            state: stored_follow_up_state(planned.state)?,
            due_at: planned.due_at.map(Timestamp::micros),
            settled_at: planned.settled_at.map(Timestamp::micros),
            reason: planned.reason,
            cursor_at: None,
        })
    }));
    all.sort_by_key(|follow_up| follow_up.id);
    Ok(all)
}
