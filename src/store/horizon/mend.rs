//! Repairs timestamps that lie too far in the future, a chunk at a time.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::columns::{
    MessageTimestampRepair, TimestampColumn, WRONG_PLANS, WRONG_TIMERS, columns, of_messages,
};
use crate::{
    domain::{
        follow_up::PlannedFollowUp,
        horizon::{FutureTimestampLimits, StoredTimestampKind, TOLERANCE_MICROS},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, Store, StoreError, catalogue,
        dialect::{SqlListFieldType, column, execute, ids, locking, query, rows},
        first_id,
        follow_up::{self, FollowUpTimer},
        notification,
    },
};

/// Most rows repaired per transaction and column.
const CHUNK: i64 = 200;

/// A message with an instant that lies further ahead than it can.
#[derive(Clone, Copy, Debug)]
pub struct FutureTimestampMessage {
    pub notification_id: Uuid,
    pub kind: StoredTimestampKind,
    /// Where it lay.
    pub was: Timestamp,
}

/// Rows to be repaired that are found only by walking long indexes: searched outside of the
/// transaction, which checks them again.
#[derive(Clone, Debug, Default)]
pub struct TimestampLimitRepairPlan {
    messages: Vec<FutureTimestampMessage>,
    /// Rules with started follow-ups, and how far ahead these can be.
    timers: Vec<(Uuid, Timestamp)>,
    /// Notifications with planned follow-ups.
    planned: Vec<Uuid>,
}

impl TimestampLimitRepairPlan {
    /// Whether no message is left to be repaired.
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// Finds a chunk of it.
pub async fn find(
    store: &Store,
    horizon: &FutureTimestampLimits,
    now: Timestamp,
) -> Result<TimestampLimitRepairPlan, StoreError> {
    let mut found = TimestampLimitRepairPlan::default();
    for of in of_messages(horizon) {
        let sql = format!(
            "SELECT id, {} FROM notification WHERE {} LIMIT $2",
            of.column, of.wrong
        );
        let wrong = query(store.reader(), sql, [of.bound(now).into(), CHUNK.into()]).await?;
        for row in &wrong {
            found.messages.push(FutureTimestampMessage {
                notification_id: column(row, "id")?,
                kind: of.kind,
                was: column(row, of.column)?,
            });
        }
    }
    let bound = now.plus_micros(TOLERANCE_MICROS);
    let rules = query(
        store.reader(),
        format!("SELECT DISTINCT rule_id FROM follow_up WHERE {WRONG_TIMERS}"),
        [bound.micros().into()],
    )
    .await?;
    for row in &rules {
        let id: Uuid = column(row, "rule_id")?;
        let rule = catalogue::rule(store.reader(), id).await?;
        let after = rule.map_or(0, |stored| stored.rule.after_seconds);
        found.timers.push((id, now.plus_seconds(after)));
    }
    let planned = query(
        store.reader(),
        format!(
            "SELECT DISTINCT notification_id FROM (SELECT notification_id FROM follow_up_timer WHERE {WRONG_PLANS} LIMIT $3) AS wrong"
        ),
        [
            bound.micros().into(),
            first_id(bound).into(),
            CHUNK.into(),
        ],
    )
    .await?;
    for row in &planned {
        found.planned.push(column(row, "notification_id")?);
    }
    Ok(found)
}

/// What one chunk repaired.
#[derive(Clone, Debug, Default)]
pub struct TimestampLimitRepairOutcome {
    pub counts: BTreeMap<StoredTimestampKind, u64>,
    pub messages: Vec<FutureTimestampMessage>,
}

impl TimestampLimitRepairOutcome {
    fn add(&mut self, kind: StoredTimestampKind, count: u64) {
        if count > 0 {
            *self.counts.entry(kind).or_default() += count;
        }
    }
}

/// Repairs a chunk of what the inbox has.
pub async fn mend_inbox(
    inbox: &DatabaseTransaction,
    horizon: &FutureTimestampLimits,
    now: Timestamp,
) -> Result<TimestampLimitRepairOutcome, StoreError> {
    let mut chunk = TimestampLimitRepairOutcome::default();
    for column in columns(horizon).iter().filter(|column| column.is_of_inbox) {
        chunk.add(column.kind, mend_column(inbox, column, now).await?);
    }
    Ok(chunk)
}

/// Repairs the rows found, and a chunk of everything else but the inbox.
pub async fn mend(
    tx: &DatabaseTransaction,
    found: &TimestampLimitRepairPlan,
    horizon: &FutureTimestampLimits,
    now: Timestamp,
) -> Result<TimestampLimitRepairOutcome, StoreError> {
    let mut chunk = TimestampLimitRepairOutcome::default();
    let is_here = |column: &&TimestampColumn| !column.is_left && !column.is_of_inbox;
    for column in columns(horizon).iter().filter(is_here) {
        let count = mend_column(tx, column, now).await?;
        chunk.add(column.kind, count);
    }
    for of in of_messages(horizon) {
        let wrong = found.messages.iter().filter(|it| it.kind == of.kind);
        let wrong: Vec<FutureTimestampMessage> = wrong.copied().collect();
        let messages = mend_messages(tx, &of, wrong, now).await?;
        chunk.add(of.kind, messages.len() as u64);
        chunk.messages.extend(messages);
    }
    for (rule, latest) in &found.timers {
        let count = mend_timers(tx, *rule, *latest, now).await?;
        chunk.add(StoredTimestampKind::Timer, count);
    }
    let count = mend_planned(tx, &found.planned, now).await?;
    chunk.add(StoredTimestampKind::Timer, count);
    Ok(chunk)
}

async fn mend_column(
    tx: &DatabaseTransaction,
    column: &TimestampColumn,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let TimestampColumn { table, name, .. } = column;
    let picked: Vec<String> = column
        .key
        .iter()
        .map(|key| format!("{key} AS picked_{key}"))
        .collect();
    let same: Vec<String> = column
        .key
        .iter()
        .map(|key| format!("{table}.{key} = picked.picked_{key}"))
        .collect();
    let mended = execute(
        tx,
        format!(
            "WITH picked AS MATERIALIZED (SELECT {} FROM {table} WHERE {name} > $2 AND {} LIMIT $3 {skip}) \
             UPDATE {table} SET {name} = $1 FROM picked WHERE {}",
            picked.join(", "),
            column.only,
            same.join(" AND "),
        ),
        [
            now.plus_micros(column.becomes).micros().into(),
            column.bound(now).into(),
            CHUNK.into(),
        ],
    )
    .await?;
    Ok(mended.rows_affected())
}

/// Gives back those that were still wrong.
async fn mend_messages(
    tx: &DatabaseTransaction,
    of: &MessageTimestampRepair,
    mut wrong: Vec<FutureTimestampMessage>,
    now: Timestamp,
) -> Result<Vec<FutureTimestampMessage>, StoreError> {
    if wrong.is_empty() {
        return Ok(wrong);
    }
    // Locked in one order; a change that is being made goes first.
    let backend = tx.get_database_backend();
    let skip = locking(backend, "ORDER BY id FOR UPDATE SKIP LOCKED");
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let still = query(
        tx,
        format!(
            "SELECT id FROM notification WHERE id IN (SELECT r.id FROM {given}) AND {} {skip}",
            of.wrong.replace("$1", "$2")
        ),
        [
            ids(wrong.iter().map(|it| it.notification_id))?,
            of.bound(now).into(),
        ],
    )
    .await?;
    let mut locked = Vec::with_capacity(still.len());
    for row in &still {
        locked.push(column::<Uuid>(row, "id")?);
    }
    wrong.retain(|it| locked.contains(&it.notification_id));
    if wrong.is_empty() {
        return Ok(wrong);
    }
    execute(
        tx,
        format!(
            "UPDATE notification SET {} FROM {given} WHERE notification.id = r.id",
            of.right
        ),
        [ids(locked)?, now.plus_micros(of.granted).micros().into()],
    )
    .await?;
    Ok(wrong)
}

/// The same for planned follow-ups, which the records of notifications hold.
async fn mend_planned(
    tx: &DatabaseTransaction,
    wanted: &[Uuid],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    notification::lock(tx, &wanted).await?;
    let mut loaded = notification::load_readable(tx, &wanted).await?;
    let bound = now.plus_micros(TOLERANCE_MICROS);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for loaded in &mut loaded {
        let id = loaded.state.id;
        let wrong: Vec<PlannedFollowUp> = loaded
            .follow_ups()
            .iter()
            .filter(|planned| planned.created_at > bound && planned.due_at > Some(bound))
            .cloned()
            .collect();
        for planned in wrong {
            let rule = catalogue::rule(tx, planned.rule_id).await?;
            let latest = now.plus_seconds(rule.map_or(0, |stored| stored.rule.after_seconds));
            if planned.due_at <= Some(latest.plus_micros(TOLERANCE_MICROS)) {
                continue;
            }
            before.extend(FollowUpTimer::of(id, &planned));
            loaded.change_follow_ups(|it| it.id == planned.id, |it| it.due_at = Some(latest));
            let mended = loaded.follow_ups().iter().find(|it| it.id == planned.id);
            after.extend(mended.and_then(|mended| FollowUpTimer::of(id, mended)));
        }
    }
    notification::save_records(tx, &mut loaded).await?;
    follow_up::remove_timers(tx, &before).await?;
    follow_up::set_timers(tx, &after).await?;
    Ok(before.len() as u64)
}

/// A timer is due no later than its rule's time from now: its trigger has been.
async fn mend_timers(
    tx: &DatabaseTransaction,
    rule: Uuid,
    latest: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let mended = execute(
        tx,
        format!(
            "WITH picked AS MATERIALIZED (SELECT id AS picked_id FROM follow_up WHERE rule_id = $2 \
             AND due_at > $3 AND created_at > $4 LIMIT $5 {skip}) \
             UPDATE follow_up SET due_at = $1 FROM picked WHERE follow_up.id = picked.picked_id"
        ),
        [
            latest.micros().into(),
            rule.into(),
            latest.plus_micros(TOLERANCE_MICROS).micros().into(),
            now.plus_micros(TOLERANCE_MICROS).micros().into(),
            CHUNK.into(),
        ],
    )
    .await?;
    Ok(mended.rows_affected())
}
