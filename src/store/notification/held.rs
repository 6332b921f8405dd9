//! Holds messages outside the queue because their sender cannot send, or all sending is on hold.

use sea_orm::{ConnectionTrait, DbBackend};

use super::queue::{QueueClaimOrder, QueueSenderScope, and_passing, due};
use crate::{
    domain::{hold::HoldExemption, time::Timestamp},
    store::{
        DatabaseTransaction, Store, StoreError,
        dialect::{by_key, execute, locking, query},
        hold::passes,
    },
};

/// Why a queue is held: its sender cannot send, or all sending is on hold except for what may pass.
#[derive(Clone, Copy, Debug)]
pub enum QueueHoldCause {
    Sender,
    Hold(HoldExemption),
}

impl QueueHoldCause {
    const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Hold(_) => "hold",
        }
    }

    /// Which due messages are meant.
    fn condition(self) -> String {
        let due = "due_at <= $3";
        match self {
            Self::Sender => due.to_owned(),
            Self::Hold(passing) => format!("{due} AND NOT {}", passes(passing)),
        }
    }
}

/// Whether a queue has anything to be held. Asked before anything is written.
pub async fn any_to_hold(
    store: &Store,
    whose: QueueSenderScope,
    cause: QueueHoldCause,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let backend = store.by_index().get_database_backend();
    let condition = cause.condition().replace("$3", "$2");
    let due = due(backend, whose, QueueClaimOrder::Oldest, &condition, "1", "");
    let values = [whose.sender().into(), now.micros().into()];
    Ok(!query(store.by_index(), due, values).await?.is_empty())
}

/// Moves queued messages out of the due queue. Returns the number.
pub async fn hold(
    tx: &DatabaseTransaction,
    whose: QueueSenderScope,
    cause: QueueHoldCause,
    reason: &str,
    now: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let due = due(
        backend,
        whose,
        QueueClaimOrder::Oldest,
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

/// The condition for held messages: of the sender `$1`, or unassigned.
fn held(backend: DbBackend, whose: QueueSenderScope) -> String {
    let any: Vec<String> = whose
        .conditions(backend)
        .iter()
        .map(|condition| format!("({condition})"))
        .collect();
    format!(
        "engine_state = 'held' AND held_for IN ('sender', 'hold') AND ({})",
        any.join(" OR ")
    )
}

/// Whether any message waits for a sender; with `passing`, only messages that may pass during a
/// hold.
pub async fn any_held(
    store: &Store,
    whose: QueueSenderScope,
    passing: Option<HoldExemption>,
) -> Result<bool, StoreError> {
    let held = held(store.by_index().get_database_backend(), whose);
    let held = and_passing(&held, passing);
    let found = query(
        store.by_index(),
        format!("SELECT id FROM notification WHERE {held} LIMIT 1"),
        [whose.sender().into()],
    )
    .await?;
    Ok(!found.is_empty())
}

/// Puts messages back into the queue that were held for their sender or by the hold of all sending,
/// the important ones first; with `passing`, only those that may pass during a hold. Returns the
/// number.
pub async fn release(
    tx: &DatabaseTransaction,
    whose: QueueSenderScope,
    passing: Option<HoldExemption>,
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
             ORDER BY priority, id LIMIT $3 {skip}) \
             UPDATE notification SET engine_state = 'queued', status = 'queued', open_status = 'queued', reason = NULL, \
             held_for = NULL, due_at = $2, updated_at = $2 FROM due WHERE {}",
            by_key(backend, "id", "due_id")
        ),
        [whose.sender().into(), now.micros().into(), limit.into()],
    )
    .await?;
    Ok(released.rows_affected())
}
