//! The pair pace of one sender and one contact, and the turns of messages that wait for it.

use sea_orm::ConnectionTrait;
use serde::Serialize;
use uuid::Uuid;

use super::{
    DatabaseTransaction, Store, StoreError,
    conversation::PAIR,
    dialect::{
        HexUuid, SqlListFieldType, column, execute, ids, list, locking, matching, nullable, query,
        rows,
    },
};
use crate::domain::time::Timestamp;

/// Locks the pairs of a sender with these contacts, in order of contact, and returns when each may
/// get the next message.
pub async fn lock_pairs(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contacts: &[Uuid],
) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let pairs = matching(backend, &given, "conversation", "c", PAIR);
    let lock = locking(backend, "FOR UPDATE OF c");
    let mut in_order = contacts.to_vec();
    in_order.sort_unstable();
    let found = query(
        tx,
        format!("SELECT c.contact_id, c.pair_next_at FROM {pairs} {lock}"),
        [ids(in_order)?, sender.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let next_at: Option<Timestamp> = nullable(row, "pair_next_at")?;
            Ok((column(row, "contact_id")?, next_at.unwrap_or_default()))
        })
        .collect()
}

/// Stores when each of these contacts may get the next message.
pub async fn take_pairs(
    tx: &DatabaseTransaction,
    sender: Uuid,
    taken: &[(Uuid, Timestamp)],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct PairPaceRow {
        contact: HexUuid,
        next_at: i64,
    }
    if taken.is_empty() {
        return Ok(());
    }
    let described: Vec<PairPaceRow> = taken
        .iter()
        .map(|(contact, next_at)| PairPaceRow {
            contact: HexUuid(*contact),
            next_at: next_at.micros(),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("contact", SqlListFieldType::Uuid),
            ("next_at", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO conversation (sender_id, contact_id, created_at, pair_next_at) \
             SELECT $2, r.contact, $3, r.next_at FROM {given} WHERE true \
             ON CONFLICT (sender_id, contact_id) DO UPDATE SET pair_next_at = excluded.pair_next_at"
        ),
        [list(&described)?, sender.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Closes a pair until `next_at`, if that is later than the stored time.
pub async fn close_pair(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    next_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO conversation (sender_id, contact_id, created_at, pair_next_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (sender_id, contact_id) DO UPDATE SET pair_next_at = excluded.pair_next_at \
         WHERE coalesce(conversation.pair_next_at, 0) < excluded.pair_next_at",
        [
            sender.into(),
            contact.into(),
            now.micros().into(),
            next_at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Sets when the next waiting message of each of these contacts may leave, unless an earlier turn
/// is stored.
pub async fn set_turns(
    tx: &DatabaseTransaction,
    sender: Uuid,
    turns: &[(Uuid, Timestamp)],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct DueSenderContactPairRow {
        contact: HexUuid,
        at: i64,
    }
    if turns.is_empty() {
        return Ok(());
    }
    let described: Vec<DueSenderContactPairRow> = turns
        .iter()
        .map(|(contact, at)| DueSenderContactPairRow {
            contact: HexUuid(*contact),
            at: at.micros(),
        })
        .collect();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("contact", SqlListFieldType::Uuid),
            ("at", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO conversation (sender_id, contact_id, created_at, turn_at) \
             SELECT $2, r.contact, $3, r.at FROM {given} WHERE true \
             ON CONFLICT (sender_id, contact_id) DO UPDATE SET turn_at = excluded.turn_at \
             WHERE conversation.turn_at IS NULL OR conversation.turn_at > excluded.turn_at"
        ),
        [list(&described)?, sender.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A pair with waiting messages whose turn has come.
#[derive(Clone, Copy, Debug)]
pub struct DueSenderContactPair {
    pub contact: Uuid,
    /// When the pace allows the next message.
    pub next_at: Timestamp,
    /// When the turn came.
    pub at: Timestamp,
}

/// Locks pairs of a sender whose turn has come, longest due first.
pub async fn turns(
    tx: &DatabaseTransaction,
    sender: Uuid,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DueSenderContactPair>, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let found = query(
        tx,
        format!(
            "SELECT contact_id, pair_next_at, turn_at FROM conversation WHERE sender_id = $1 \
             AND turn_at IS NOT NULL AND turn_at <= $2 ORDER BY turn_at LIMIT $3 {skip}"
        ),
        [sender.into(), now.micros().into(), limit.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let next_at: Option<Timestamp> = nullable(row, "pair_next_at")?;
            Ok(DueSenderContactPair {
                contact: column(row, "contact_id")?,
                next_at: next_at.unwrap_or_default(),
                at: column(row, "turn_at")?,
            })
        })
        .collect()
}

/// Sets the next turn of a pair; `None`: nothing waits for it.
pub async fn set_turn(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE conversation SET turn_at = $3 WHERE sender_id = $1 AND contact_id = $2",
        [
            sender.into(),
            contact.into(),
            at.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Whether the turn of a pair of this sender has come.
pub async fn any_turn(store: &Store, sender: Uuid, now: Timestamp) -> Result<bool, StoreError> {
    let found = query(
        store.by_index(),
        "SELECT contact_id FROM conversation WHERE sender_id = $1 AND turn_at IS NOT NULL AND turn_at <= $2 \
         ORDER BY turn_at LIMIT 1",
        [sender.into(), now.micros().into()],
    )
    .await?;
    Ok(!found.is_empty())
}
