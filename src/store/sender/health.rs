//! What calls, callbacks and silence say of a sender.

use crate::store::DatabaseTransaction;
use entity::sender;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::by_phone_number_id;
use crate::{
    domain::time::Timestamp,
    store::{
        Store, StoreError, account_fact,
        dialect::{execute, query_one},
        first_id,
    },
};

/// What is known of a sender's ability to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub state: &'static str,
    pub reason: Option<String>,
    pub failures_in_row: i64,
    pub probe_at: Option<Timestamp>,
}

/// Notes what calls have shown that began at `began` or later. A hold of the
/// account by its provider is overruled only by a call that began after it.
pub async fn set_health(
    tx: &DatabaseTransaction,
    id: Uuid,
    health: &Health,
    began: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET state = $2, state_reason = $3, failures_in_row = $4, probe_at = $5, updated_at = $6, \
         account_held_at = CASE WHEN $2 = 'active' THEN NULL ELSE account_held_at END \
         WHERE id = $1 AND (account_held_at IS NULL OR account_held_at < $7)",
        [
            id.into(),
            health.state.into(),
            health.reason.clone().into(),
            health.failures_in_row.into(),
            health.probe_at.map(Timestamp::micros).into(),
            now.micros().into(),
            began.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Holds every sender of an account, because its provider says so. The next
/// probe goes out when the restriction ends, or in an hour.
pub async fn hold_account(
    tx: &DatabaseTransaction,
    account_id: &str,
    reason: &str,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let held = execute(
        tx,
        "UPDATE sender SET state = 'held', state_reason = $2, probe_at = $3, updated_at = $4, account_held_at = $4 WHERE waba_id = $1",
        [
            account_id.into(),
            reason.into(),
            until.unwrap_or(now.plus_seconds(3600)).micros().into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(held.rows_affected())
}

/// Lets every held sender of an account send again.
pub async fn release_account(
    tx: &DatabaseTransaction,
    account_id: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let released = execute(
        tx,
        "UPDATE sender SET state = 'active', state_reason = NULL, probe_at = NULL, failures_in_row = 0, updated_at = $2, account_held_at = NULL \
         WHERE waba_id = $1 AND state = 'held'",
        [account_id.into(), now.micros().into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Notes that a provider accepted messages: from now on it should be heard of.
pub async fn expects(tx: &DatabaseTransaction, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET unheard_since = $2 WHERE id = $1 AND unheard_since IS NULL",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Notes that a number was heard of, and whose account it is in. Says whether that
/// account is news.
pub async fn heard(
    tx: &DatabaseTransaction,
    phone_number_id: &str,
    account_id: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let known = by_phone_number_id(tx, phone_number_id).await?;
    let mut learned = false;
    if let (Some(row), Some(account_id)) = (&known, account_id)
        && row.waba_id.is_none()
    {
        // The account's standing may have been told before we knew whose account it is.
        let standing = account_fact::standing(tx, account_id).await?;
        learned = true;
        execute(
            tx,
            "UPDATE sender SET waba_id = $2 WHERE id = $1 AND waba_id IS NULL",
            [row.id.into(), account_id.into()],
        )
        .await?;
        if let Some((reason, until)) = standing {
            hold_account(tx, account_id, &reason, until, now).await?;
        }
    }
    execute(
        tx,
        "UPDATE sender SET unheard_since = NULL, silent_at = NULL \
         WHERE phone_number_id = $1 \
         AND (unheard_since IS NOT NULL OR silent_at IS NOT NULL)",
        [phone_number_id.into()],
    )
    .await?;
    Ok(learned)
}

/// Locks senders that have accepted messages since before `since` without
/// anything being heard, and of which that was not told yet.
pub async fn silent(
    tx: &DatabaseTransaction,
    since: Timestamp,
    now: Timestamp,
) -> Result<Vec<sender::Model>, StoreError> {
    let silent = sender::Entity::find()
        .filter(sender::Column::UnheardSince.lte(since.micros()))
        .filter(sender::Column::SilentAt.is_null())
        .all(tx)
        .await?;
    let mut told = Vec::with_capacity(silent.len());
    for row in silent {
        // That it was heard of is written down now and then only: look before it is told.
        if let Some(unheard_since) = row.unheard_since
            && was_heard(tx, row.id, Timestamp::from_micros(unheard_since)).await?
        {
            execute(
                tx,
                "UPDATE sender SET unheard_since = NULL WHERE id = $1",
                [row.id.into()],
            )
            .await?;
            continue;
        }
        let marked = execute(
            tx,
            "UPDATE sender SET silent_at = $2 WHERE id = $1 AND silent_at IS NULL",
            [row.id.into(), now.micros().into()],
        )
        .await?;
        if marked.rows_affected() > 0 {
            told.push(row);
        }
    }
    Ok(told)
}

/// Whether a sender may be silent: read before anything is locked.
pub async fn any_silent(store: &Store, since: Timestamp) -> Result<bool, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::UnheardSince.lte(since.micros()))
        .filter(sender::Column::SilentAt.is_null())
        .one(store.reader())
        .await?
        .is_some())
}

/// Whether any call of a sender since shortly before then has been spoken of.
async fn was_heard(
    tx: &DatabaseTransaction,
    id: Uuid,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let first = first_id(since.plus_seconds(-60));
    let row = query_one(
        tx,
        "SELECT id FROM attempt WHERE id >= $1 AND sender_id = $2 \
         AND (sent_at IS NOT NULL OR failed_at IS NOT NULL AND accepted_at IS NOT NULL) LIMIT 1",
        [first.into(), id.into()],
    )
    .await?;
    Ok(row.is_some())
}
