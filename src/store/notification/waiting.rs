//! Messages that wait outside the queue for something of their own: approval of a template, an
//! address, or their turn in the pair pace. They do not slow down other messages: each kind has an
//! index.

use entity::notification;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::queue::{QueueClaimOrder, QueueSenderScope, and_passing, due};
use crate::{
    domain::{hold::HoldExemption, time::Timestamp},
    store::{
        DatabaseTransaction, Store, StoreError,
        dialect::{
            SqlListFieldType, among, by_key, column, execute, ids, locking, matching, query,
            query_one, read_row, rows,
        },
    },
};

/// The reason to wait, other than the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageWaitReason {
    Template,
    /// Its recipient has none.
    Address,
    /// One person gets only so many messages from one number.
    Turn,
}

impl MessageWaitReason {
    const fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Address => "address",
            Self::Turn => "turn",
        }
    }

    /// The state of a message that waits for it: turns come by themselves.
    const fn state(self) -> &'static str {
        match self {
            Self::Template | Self::Address => "held",
            Self::Turn => "queued",
        }
    }
}

/// Where a message is that is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageQueueStage {
    Queue,
    /// An attempt of it was counted, and no call was made.
    Claimed,
}

/// Takes messages of a sender out of the queue: they wait, and expire if that takes too long.
pub async fn set_aside(
    tx: &DatabaseTransaction,
    sender: Uuid,
    messages: &[Uuid],
    place: MessageQueueStage,
    wait: MessageWaitReason,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let given = rows(tx.get_database_backend(), &[("id", SqlListFieldType::Uuid)]);
    let counted: i64 = match place {
        MessageQueueStage::Queue => 0,
        MessageQueueStage::Claimed => 1,
    };
    execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = $2, status = $2, open_status = $2, held_for = $3, reason = $4, \
             sender_id = $5, due_at = NULL, leased_until = NULL, wake_at = expires_at, updated_at = $6, \
             attempt_count = attempt_count - $7 FROM {given} WHERE {}",
            by_key(tx.get_database_backend(), "notification.id", "r.id")
        ),
        [
            ids(messages.iter().copied())?,
            wait.state().into(),
            wait.name().into(),
            reason.into(),
            sender.into(),
            now.micros().into(),
            counted.into(),
        ],
    )
    .await?;
    Ok(())
}

/// A due message that was looked at, and not claimed.
#[derive(Clone, Debug, FromQueryResult)]
pub struct UnclaimedMessage {
    pub id: Uuid,
    #[sea_orm(from_alias = "contact_id")]
    pub contact: Option<Uuid>,
    pub template: String,
    /// Empty: it has none.
    pub language: String,
}

/// The next due messages of a lane, from one of its ends, locked; with `passing`, only those that
/// may pass during a hold.
pub async fn look_ahead(
    tx: &DatabaseTransaction,
    whose: QueueSenderScope,
    (lane, end, passing): (i64, QueueClaimOrder, Option<HoldExemption>),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<UnclaimedMessage>, StoreError> {
    let backend = tx.get_database_backend();
    let due = due(
        backend,
        whose,
        end,
        &and_passing("priority = $4 AND due_at <= $2", passing),
        "$3",
        locking(backend, "FOR UPDATE SKIP LOCKED"),
    );
    let each = matching(backend, "due", "notification", "n", "n.id = due.due_id");
    let found = query(
        tx,
        format!(
            "WITH due AS MATERIALIZED ({due}) SELECT n.id, n.contact_id, n.template, coalesce(n.language, '') AS language FROM {each}"
        ),
        [
            whose.sender().into(),
            now.micros().into(),
            limit.into(),
            lane.into(),
        ],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// The condition on what waits for a person: as the index knows it.
const FOR_PERSON: &str = "held_for IN ('turn', 'address')";

/// Puts back up to `limit` messages whose pair turn came at a time, the important ones first.
/// Returns the number.
pub async fn take_turns(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    at: Timestamp,
    limit: i64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let waiting = format!(
        "SELECT id FROM notification WHERE contact_id = $1 AND {FOR_PERSON} AND held_for = 'turn' AND sender_id = $2 \
         ORDER BY priority, id LIMIT $5"
    );
    let released = execute(
        tx,
        format!(
            "UPDATE notification SET held_for = NULL, reason = NULL, due_at = $3, updated_at = $4 WHERE {}",
            among(tx.get_database_backend(), "id", &waiting)
        ),
        [
            contact.into(),
            sender.into(),
            at.micros().into(),
            now.micros().into(),
            limit.into(),
        ],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Before how many others of its pair a message that waits for its turn is not counted.
const MOST_BEFORE: i64 = 10_000;

/// When the next of the messages may leave that wait for their turn with a message's person, and
/// how many of them are before it. None, if it does not wait, or too many are.
pub async fn turn_of(
    store: &Store,
    row: &notification::Model,
) -> Result<Option<(Timestamp, i64)>, StoreError> {
    if row.held_for.as_deref() != Some(MessageWaitReason::Turn.name()) {
        return Ok(None);
    }
    let found = query_one(
        store.reader(),
        format!(
            "SELECT c.turn_at, (SELECT count(*) FROM (SELECT id FROM notification WHERE contact_id = $1 AND {FOR_PERSON} \
             AND held_for = 'turn' AND sender_id = $2 AND (priority, id) < ($3, $4) LIMIT $5) AS before) AS others \
             FROM conversation c WHERE c.sender_id = $2 AND c.contact_id = $1 AND c.turn_at IS NOT NULL"
        ),
        [
            row.contact_id.into(),
            row.sender_id.into(),
            row.priority.into(),
            row.id.into(),
            MOST_BEFORE.into(),
        ],
    )
    .await?;
    let Some(found) = found else {
        return Ok(None);
    };
    let at: Timestamp = column(&found, "turn_at")?;
    let before: i64 = column(&found, "others")?;
    Ok((before < MOST_BEFORE).then_some((at, before)))
}

/// Puts back all messages that wait for their turn with a contact: the claim checks the pace again.
pub async fn release_turns(
    tx: &DatabaseTransaction,
    contact: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        format!(
            "UPDATE notification SET held_for = NULL, reason = NULL, due_at = $2, updated_at = $2 \
             WHERE contact_id = $1 AND {FOR_PERSON} AND held_for = 'turn'"
        ),
        [contact.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Puts back messages of a contact that has an address again. Returns the number.
pub async fn release_addressed(
    tx: &DatabaseTransaction,
    contact: Uuid,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let released = execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
             held_for = NULL, due_at = $2, updated_at = $2 \
             WHERE contact_id = $1 AND {FOR_PERSON} AND held_for = 'address'"
        ),
        [contact.into(), now.micros().into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// A template that messages of a sender wait for.
#[derive(Clone, Debug, FromQueryResult)]
pub struct AwaitedTemplate {
    #[sea_orm(from_alias = "sender_id")]
    pub sender: Uuid,
    pub template: String,
    #[sea_orm(from_alias = "language_key")]
    pub language: String,
}

/// The templates that messages wait for, one after the other: each is found by one look into the
/// index, however many messages wait for the one before it.
pub async fn awaited_after(
    store: &Store,
    last: Option<&AwaitedTemplate>,
) -> Result<Option<AwaitedTemplate>, StoreError> {
    const KEY: &str = "sender_id, template, coalesce(language, '')";
    // Column by column: SQLite reads every row that is equal in the first columns when it compares
    // rows as a whole (findings/sqlite-keyset-pages-walk-over-ties.sh).
    let next = match last {
        None => vec![(String::new(), Vec::new())],
        Some(last) => {
            let (sender, template) = (Value::from(last.sender), Value::from(&*last.template));
            vec![
                (
                    " AND sender_id = $1 AND template = $2 AND coalesce(language, '') > $3"
                        .to_owned(),
                    vec![
                        sender.clone(),
                        template.clone(),
                        Value::from(&*last.language),
                    ],
                ),
                (
                    " AND sender_id = $1 AND template > $2".to_owned(),
                    vec![sender.clone(), template],
                ),
                (" AND sender_id > $1".to_owned(), vec![sender]),
            ]
        }
    };
    for (after, values) in next {
        let found = query(
            store.by_index(),
            format!(
                "SELECT {KEY} AS language_key FROM notification WHERE held_for = 'template'{after} ORDER BY {KEY} LIMIT 1"
            ),
            values,
        )
        .await?;
        if let Some(row) = found.first() {
            return read_row(row).map(Some);
        }
    }
    Ok(None)
}

/// Rows that one release puts back.
const RELEASED_AT_ONCE: i64 = 200;

/// Puts back messages whose template may be sent again. Returns the number.
pub async fn release_template(
    tx: &DatabaseTransaction,
    sender: Uuid,
    template: &str,
    language: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let waiting = "SELECT id FROM notification WHERE sender_id = $1 AND held_for = 'template' AND template = $2 \
         AND coalesce(language, '') = $3 ORDER BY priority, id LIMIT $5";
    let mut released = 0;
    // Messages without a language wait for it, too.
    let mut languages = vec![language, ""];
    languages.dedup();
    for language in languages {
        released += execute(
            tx,
            format!(
                "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', \
                 reason = NULL, held_for = NULL, due_at = $4, updated_at = $4 WHERE {}",
                among(tx.get_database_backend(), "id", waiting)
            ),
            [
                sender.into(),
                template.into(),
                language.into(),
                now.micros().into(),
                RELEASED_AT_ONCE.into(),
            ],
        )
        .await?
        .rows_affected();
    }
    Ok(released)
}

/// Sets the recipient of a message, and its address.
pub async fn set_recipient(
    tx: &DatabaseTransaction,
    id: Uuid,
    contact: Option<Uuid>,
    address: Option<&str>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE notification SET contact_id = $2, address = $3 WHERE id = $1",
        [id.into(), contact.into(), address.into()],
    )
    .await?;
    Ok(())
}
