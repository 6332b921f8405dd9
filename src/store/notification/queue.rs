//! The queue: notification rows that are due, leased, held or waiting for a timer.

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::record::NotificationRecord;
use crate::{
    domain::{
        access::AccessBounds, category::MessageCategory, channel::MessageChannel,
        hold::HoldExemption, horizon::TOLERANCE_MICROS, time::Timestamp,
    },
    store::{
        DatabaseTransaction, Store, StoreError,
        bounds::{SqlCondition, of_notifications},
        dialect::{
            HexUuid, SqlListFieldType, by_key, column, execute, ids, list, listed, locking, nil,
            nullable, query, query_one, read_row, rows,
        },
        hold,
    },
};

/// Lanes of the queue, by priority: one-time passwords, high, normal, bulk.
pub const LANES: usize = 4;

/// A notification taken out of the queue to be sent.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ClaimedNotification {
    pub id: Uuid,
    pub contact_id: Option<Uuid>,
    /// As it was named: `contact:NAME`, `user:NAME`, a number or a user id.
    pub recipient: Option<String>,
    pub address: Option<String>,
    pub kind: String,
    pub template: String,
    pub language: Option<String>,
    pub category: MessageCategory,
    pub params: String,
    pub body: Option<String>,
    pub generation: i64,
    pub attempt_count: i64,
    pub created_at: Timestamp,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    pub subject_contact_id: Option<Uuid>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// Which kind of message it is, of those that people may turn off.
    pub message_kind: Option<String>,
    pub product: Option<String>,
    pub channel: String,
    pub priority: i64,
    /// Its secret parameters; empty: they have been wiped.
    pub sealed: Option<String>,
    /// Whether its contact has its address now.
    pub is_at_home: bool,
    /// For a message to a staff member: the contact that they are linked to now.
    pub linked_contact_id: Option<Uuid>,
    /// Its record, in which its attempt is put.
    pub record: Option<Vec<u8>>,
}

/// Whether a claimed message's contact has its address (a message to a named person's mailbox is
/// looked at by itself): a look into the index for each, where a
/// statement of its own would cost more than the rest of most claims.
const AT_HOME: &str = "CASE WHEN notification.channel = 'email' THEN coalesce(notification.recipient LIKE '%@%', false) \
     ELSE coalesce((SELECT k.contact_id = notification.contact_id FROM contact_alias k \
     WHERE k.value = notification.address AND k.superseded_at IS NULL AND k.kind = CASE \
     WHEN substr(notification.address, 1, 1) = '+' THEN 'phone' \
     WHEN substr(notification.address, 3, 5) = '.ENT.' THEN 'parent_bsuid' ELSE 'bsuid' END), false) END";

/// For a message to a staff member, as `user:NAME`: the linked contact.
const LINKED: &str = "CASE WHEN substr(notification.recipient, 1, 5) = 'user:' THEN \
     (SELECT u.contact_id FROM user_account u WHERE u.name = substr(notification.recipient, 6)) END";

/// Selects messages by their sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSenderScope {
    /// Messages of this sender.
    Sender(Uuid),
    /// The same, and those of its channel that are assigned to none yet: it is the default.
    SenderOrUnassigned(Uuid, MessageChannel),
    /// Messages without a sender yet.
    Unassigned,
}

impl QueueSenderScope {
    /// Conditions of the scope that match the queue's index; `$1` is the sender.
    pub(super) fn conditions(self, backend: DbBackend) -> Vec<String> {
        let nil = nil(backend);
        let of = |whom: &str| format!("coalesce(sender_id, {nil}) = {whom}");
        match self {
            Self::Sender(_) => vec![of("$1")],
            Self::SenderOrUnassigned(_, channel) => {
                vec![of("$1"), format!("{} AND channel = '{channel}'", of(nil))]
            }
            // The parameter must have a use and a type.
            Self::Unassigned => vec![of(nil) + " AND CAST($1 AS uuid) IS NULL"],
        }
    }

    pub(super) const fn sender(self) -> Option<Uuid> {
        match self {
            Self::Sender(sender) | Self::SenderOrUnassigned(sender, _) => Some(sender),
            Self::Unassigned => None,
        }
    }
}

/// Which of the due messages of a lane go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueClaimOrder {
    /// Those that have been due longest.
    Oldest,
    /// Those that became due last: what lies before them has to wait.
    Newest,
}

/// Due messages, from one end of the queue: one look into the index for each of the conditions,
/// so that one sender's backlog is not in the way of another's.
pub(super) fn due(
    backend: DbBackend,
    whose: QueueSenderScope,
    end: QueueClaimOrder,
    rest: &str,
    limit: &str,
    lock: &str,
) -> String {
    let (order, outer) = match end {
        QueueClaimOrder::Oldest => ("priority, due_at", "due_since"),
        QueueClaimOrder::Newest => ("priority DESC, due_at DESC", "due_since DESC"),
    };
    let part = |condition: &String| {
        format!(
            "SELECT id AS due_id, due_at AS due_since FROM notification WHERE {condition} AND due_at IS NOT NULL \
             AND {rest} ORDER BY {order} LIMIT {limit} {lock}"
        )
    };
    let mut parts: Vec<String> = whose.conditions(backend).iter().map(part).collect();
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let parts: Vec<String> = parts
        .iter()
        .zip(["own", "nobodys"])
        .map(|(part, name)| format!("SELECT * FROM ({part}) AS {name}"))
        .collect();
    format!(
        "SELECT due_id, due_since FROM ({}) AS both_kinds ORDER BY {outer} LIMIT {limit}",
        parts.join(" UNION ALL ")
    )
}

/// The same condition; while sending is on hold, only for messages that may pass.
pub(super) fn and_passing(rest: &str, passing: Option<HoldExemption>) -> String {
    match passing {
        Some(passing) => format!("{rest} AND {}", hold::passes(passing)),
        None => rest.to_owned(),
    }
}

/// Claims up to `limit` due notifications of one lane for a sender, from one of its ends; with a
/// [`HoldExemption`], only those that may pass during a hold.
pub async fn claim(
    tx: &DatabaseTransaction,
    sender: Uuid,
    whose: QueueSenderScope,
    (lane, end, passing): (i64, QueueClaimOrder, Option<HoldExemption>),
    lease: (Uuid, Timestamp),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<ClaimedNotification>, StoreError> {
    let (owner, leased_until) = lease;
    let backend = tx.get_database_backend();
    let due = due(
        backend,
        whose,
        end,
        &and_passing(
            "priority = $6 AND due_at <= $4 AND (expires_at IS NULL OR expires_at > $4)",
            passing,
        ),
        "$5",
        locking(backend, "FOR UPDATE SKIP LOCKED"),
    );
    let claimed = query(
        tx,
        format!(
            "WITH due AS MATERIALIZED ({due}) \
             UPDATE notification SET engine_state = 'sending', status = 'sending', open_status = 'sending', held_for = NULL, \
             sender_id = $1, lease_owner = $2, leased_until = $3, wake_at = $3, due_at = NULL, updated_at = $4, \
             attempt_count = attempt_count + 1 FROM due WHERE {} \
             RETURNING id, contact_id, recipient, address, kind, template, language, category, params, body, generation, \
             attempt_count, created_at, follow_up_id, parent_id, subject_contact_id, reply_to, message_kind, product, channel, priority, sealed, record, \
             {AT_HOME} AS is_at_home, {LINKED} AS linked_contact_id",
            by_key(backend, "id", "due_id")
        ),
        [sender.into(), owner.into(), leased_until.micros().into(), now.micros().into(), limit.into(), lane.into()],
    )
    .await?;
    let mut all = claimed
        .iter()
        .map(read_row)
        .collect::<Result<Vec<ClaimedNotification>, _>>()?;
    // One whose record cannot be read is not sent and stops no other: its lease runs out, and the
    // sweeper sets it aside.
    all.retain(|claimed| {
        let record = claimed.record.as_deref().unwrap_or_default();
        NotificationRecord::read(record, claimed.created_at).is_ok()
    });
    all.sort_by_key(|claimed| claimed.id);
    Ok(all)
}

/// A notification whose timer has fired.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub struct WokenNotification {
    pub id: Uuid,
    pub sender_id: Option<Uuid>,
}

/// Notifications whose timer is due: a lease, a decision, an expiry.
pub async fn woken(
    tx: &DatabaseTransaction,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<WokenNotification>, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let found = query(
        tx,
        format!("SELECT id, sender_id FROM notification WHERE wake_at IS NOT NULL AND wake_at <= $1 ORDER BY wake_at LIMIT $2 {skip}"),
        [now.micros().into(), limit.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Takes the timers of these notifications.
pub async fn stop_timers(tx: &DatabaseTransaction, wanted: &[Uuid]) -> Result<(), StoreError> {
    execute(
        tx,
        format!(
            "UPDATE notification SET wake_at = NULL WHERE {}",
            listed(tx.get_database_backend(), "id")
        ),
        [ids(wanted.iter().copied())?],
    )
    .await?;
    Ok(())
}

/// Extends the wait of those messages whose lost answer would be decided now although their call is
/// open. Returns them.
pub async fn await_open_calls(
    tx: &DatabaseTransaction,
    open: &[Uuid],
    until: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    let waiting = query(
        tx,
        format!(
            "UPDATE notification SET leased_until = $2, wake_at = $2 FROM {given} \
             WHERE notification.id = r.id AND engine_state = 'unknown' RETURNING notification.id"
        ),
        [ids(open.iter().copied())?, until.micros().into()],
    )
    .await?;
    waiting.iter().map(|row| column(row, "id")).collect()
}

/// A claimed message that has to wait, before any call was made.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimedMessageDelay {
    pub id: HexUuid,
    due: i64,
    reason: String,
}

impl ClaimedMessageDelay {
    pub fn new(id: Uuid, until: Timestamp, reason: &str) -> Self {
        Self {
            id: HexUuid(id),
            due: until.micros(),
            reason: format!("{reason} (not before {until})"),
        }
    }
}

/// Puts claimed messages back into the queue, each with its reason and time.
pub async fn delay(
    tx: &DatabaseTransaction,
    delays: &[ClaimedMessageDelay],
    now: Timestamp,
) -> Result<(), StoreError> {
    if delays.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("due", SqlListFieldType::Int),
            ("reason", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = r.reason, \
             due_at = r.due, leased_until = NULL, wake_at = expires_at, updated_at = $2, attempt_count = attempt_count - 1 \
             FROM {given} WHERE {}",
            by_key(tx.get_database_backend(), "notification.id", "r.id")
        ),
        [list(delays)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Notifications of a contact and sender that a message of `at` may answer. A notification dated in
/// the future was made by a wrong clock: it may be older.
pub async fn answerable(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    at: Timestamp,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        tx,
        "SELECT id FROM notification WHERE contact_id = $1 AND sender_id = $2 AND replied = false \
         AND created_at >= $3 AND (created_at <= $4 OR created_at > $5) AND status IN ('accepted', 'sent', 'delivered', 'read', 'played') \
         ORDER BY id DESC LIMIT 50",
        [
            contact.into(),
            sender.into(),
            not_before.micros().into(),
            at.micros().into(),
            now.plus_micros(TOLERANCE_MICROS).micros().into(),
        ],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// When the longest-waiting due message of the caller's was due.
pub async fn oldest_due(
    store: &Store,
    bounds: &AccessBounds,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let SqlCondition { sql, values } = of_notifications(bounds).piece("n", 1);
    // Due messages are open: those of a product are found by that.
    let is_open = if sql.is_empty() {
        ""
    } else {
        " AND n.open_status IS NOT NULL"
    };
    let found = query(
        store.reader(),
        format!(
            "SELECT min(n.due_at) AS oldest FROM notification n WHERE n.due_at IS NOT NULL AND n.due_at <= $1{is_open}{sql}"
        ),
        std::iter::once(now.micros().into()).chain(values),
    )
    .await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    nullable(row, "oldest")
}

/// Whether anything is due to be looked at. The order keeps PostgreSQL, which takes many rows to
/// be due, from walking the table for one of them.
pub async fn any_woken(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    let found = query(
        store.by_index(),
        "SELECT id FROM notification WHERE wake_at IS NOT NULL AND wake_at <= $1 ORDER BY wake_at LIMIT 1",
        [now.micros().into()],
    )
    .await?;
    Ok(!found.is_empty())
}

/// Gives a notification that expired, or is about to, a new expiry.
pub async fn extend(
    tx: &DatabaseTransaction,
    wanted: &[Uuid],
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    execute(
        tx,
        format!(
            "UPDATE notification SET expires_at = $2 FROM {given} WHERE {} AND expires_at <= $3 AND due_at IS NULL",
            by_key(tx.get_database_backend(), "notification.id", "r.id")
        ),
        [
            ids(wanted.iter().copied())?,
            until.micros().into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Counts the due messages of each lane, up to `limit`; with `passing`, only those that may pass
/// during a hold.
pub async fn count_due(
    store: &Store,
    whose: QueueSenderScope,
    passing: Option<HoldExemption>,
    now: Timestamp,
    limit: i64,
) -> Result<[i64; LANES], StoreError> {
    let backend = store.by_index().get_database_backend();
    let due = and_passing("due_at IS NOT NULL AND due_at <= $2", passing);
    let lane = |lane: usize| {
        let parts: Vec<String> = whose
            .conditions(backend)
            .iter()
            .enumerate()
            .map(|(part, condition)| {
                format!(
                    "(SELECT count(*) FROM (SELECT id FROM notification WHERE {condition} \
                     AND priority = {lane} AND {due} LIMIT $3) AS due{lane}{part})"
                )
            })
            .collect();
        format!("{} AS lane{lane}", parts.join(" + "))
    };
    let lanes: Vec<String> = (0..LANES).map(lane).collect();
    let found = query_one(
        store.by_index(),
        format!("SELECT {}", lanes.join(", ")),
        [
            whose.sender().into(),
            now.micros().into(),
            limit.max(0).into(),
        ],
    )
    .await?;
    let mut counts = [0; LANES];
    if let Some(row) = found {
        for (lane, count) in counts.iter_mut().enumerate() {
            *count = column::<i64>(&row, &format!("lane{lane}"))?.min(limit.max(0));
        }
    }
    Ok(counts)
}
