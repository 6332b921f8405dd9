//! What waits out of the queue, and says what for: a sender, a template.

use crate::store::DatabaseTransaction;
use sea_orm::{ConnectionTrait, DbBackend};
use uuid::Uuid;

use super::queue::{Whose, and_passing, due};
use crate::domain::{hold::Passing, time::Timestamp};
use crate::store::{
    Store, StoreError,
    dialect::{Columns, among, by_key, execute, locking, nil, query},
    hold::passes,
};

/// Why a queue is held: its sender cannot send, or sending is on hold for all, but for
/// what goes on all the same.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    Sender,
    Hold(Passing),
}

impl Cause {
    const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Hold(_) => "hold",
        }
    }

    /// Which due messages are meant.
    fn condition(self) -> String {
        let due = "due_at <= $3 AND channel = 'whatsapp'";
        match self {
            Self::Sender => due.to_owned(),
            Self::Hold(passing) => format!("{due} AND NOT {}", passes(passing)),
        }
    }
}

/// Whether a queue has anything to be held. Asked before anything is written.
pub async fn any_to_hold(
    store: &Store,
    whose: Whose,
    cause: Cause,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let backend = store.by_index().get_database_backend();
    let condition = cause.condition().replace("$3", "$2");
    let due = due(backend, whose, &condition, "1", "");
    let values = [whose.sender().into(), now.micros().into()];
    Ok(!query(store.by_index(), due, values).await?.is_empty())
}

/// Moves queued messages out of the due queue. Says how many.
pub async fn hold(
    tx: &DatabaseTransaction,
    whose: Whose,
    cause: Cause,
    reason: &str,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let due = due(
        backend,
        whose,
        &cause.condition(),
        "$4",
        locking(backend, "FOR UPDATE SKIP LOCKED"),
    );
    let held = execute(
        tx,
        format!(
            "WITH due AS MATERIALIZED ({due}) \
             UPDATE notification SET engine_state = 'held', status = 'held', open_status = 'held', reason = $2, held_for = '{}', \
             due_at = NULL, updated_at = $3 FROM due WHERE {}",
            cause.name(),
            by_key(backend, "id", "due_id")
        ),
        [
            whose.sender().into(),
            reason.into(),
            now.micros().into(),
            limit.into(),
        ],
    )
    .await?;
    Ok(held.rows_affected())
}

/// A condition on what is held: of the sender `$1`, or of nobody.
fn held(backend: DbBackend, whose: Whose) -> String {
    let any: Vec<String> = whose
        .conditions(backend)
        .iter()
        .map(|condition| format!("({condition})"))
        .collect();
    format!("engine_state = 'held' AND ({})", any.join(" OR "))
}

/// Whether anything waits for a sender; with `passing`, of what goes on while sending is
/// on hold.
pub async fn any_held(
    store: &Store,
    whose: Whose,
    passing: Option<Passing>,
) -> Result<bool, StoreError> {
    let held = held(store.by_index().get_database_backend(), whose);
    let held = and_passing(&held, passing);
    let found = query(
        store.by_index(),
        format!(
            "SELECT id FROM notification WHERE {held} AND (held_for IS NULL OR held_for NOT IN ('template', 'address')) LIMIT 1"
        ),
        [whose.sender().into()],
    )
    .await?;
    Ok(!found.is_empty())
}

/// Puts messages back into the queue that were held for their sender, or while sending was
/// on hold, the important ones first; with `passing`, only what goes on while it is. Says
/// how many.
pub async fn release(
    tx: &DatabaseTransaction,
    whose: Whose,
    passing: Option<Passing>,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let skip = locking(backend, "FOR UPDATE SKIP LOCKED");
    let held = held(backend, whose);
    let held = and_passing(&held, passing);
    let released = execute(
        tx,
        format!(
            "WITH due AS MATERIALIZED (SELECT id AS due_id FROM notification WHERE {held} \
              AND (held_for IS NULL OR held_for NOT IN ('template', 'address')) ORDER BY priority, id LIMIT $3 {skip}) \
             UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
             due_at = $2, updated_at = $2 FROM due WHERE {}",
            by_key(backend, "id", "due_id")
        ),
        [whose.sender().into(), now.micros().into(), limit.into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Rows that one release puts back.
const RELEASED_AT_ONCE: i64 = 200;

/// Puts back what waited for a template that may be sent again. Says how many.
pub async fn release_template(
    tx: &DatabaseTransaction,
    whose: Whose,
    template: &str,
    language: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let waiting = format!(
        "SELECT id FROM notification WHERE {} AND held_for = 'template' AND template = $2 \
         AND (language = $3 OR language IS NULL) ORDER BY priority, id LIMIT $5",
        held(backend, whose)
    );
    let released = execute(
        tx,
        format!(
            "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
             held_for = NULL, due_at = $4, updated_at = $4 WHERE {}",
            among(backend, "id", &waiting)
        ),
        [
            whose.sender().into(),
            template.into(),
            language.into(),
            now.micros().into(),
            RELEASED_AT_ONCE.into(),
        ],
    )
    .await?;
    Ok(released.rows_affected())
}

/// A template that messages of a sender wait for; of nobody, while it is the nil id.
#[derive(Clone, Debug)]
pub struct Awaited {
    pub sender: Uuid,
    pub template: String,
    pub language: String,
}

/// Templates that messages wait for.
pub async fn awaited_templates(store: &Store) -> Result<Vec<Awaited>, StoreError> {
    let nil = nil(store.by_index().get_database_backend());
    let found = query(
        store.by_index(),
        format!(
            "SELECT DISTINCT coalesce(sender_id, {nil}), template, coalesce(language, '') FROM notification \
             WHERE engine_state = 'held' AND held_for = 'template' LIMIT 100"
        ),
        [],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Awaited {
                sender: columns.take()?,
                template: columns.take()?,
                language: columns.take()?,
            })
        })
        .collect()
}

/// What a claimed message waits for, beside its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Template,
    /// Its recipient has none.
    Address,
}

impl Wait {
    const fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Address => "address",
        }
    }
}

/// Takes a claimed message out of the queue again, before any call was made: it waits.
pub async fn hold_for(
    tx: &DatabaseTransaction,
    id: Uuid,
    wait: Wait,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE notification SET engine_state = 'held', status = 'held', open_status = 'held', reason = $2, \
         held_for = $4, due_at = NULL, leased_until = NULL, wake_at = expires_at, updated_at = $3, \
         attempt_count = attempt_count - 1 WHERE id = $1",
        [
            id.into(),
            reason.into(),
            now.micros().into(),
            wait.name().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Puts back what waited until a contact has an address again. Says how many.
pub async fn release_addressed(
    tx: &DatabaseTransaction,
    contact: Uuid,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let released = execute(
        tx,
        "UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
         held_for = NULL, due_at = $2, updated_at = $2 \
         WHERE contact_id = $1 AND engine_state = 'held' AND held_for = 'address'",
        [contact.into(), now.micros().into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Says whom a message is for, and where it goes.
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
