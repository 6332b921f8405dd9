//! Health of senders, from calls, callbacks and silence.

use entity::sender;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::by_endpoint_id;
use crate::{
    domain::time::Timestamp,
    store::{
        DatabaseTransaction, Store, StoreError, account_fact,
        dialect::{execute, query_one},
        first_id,
    },
};

/// A sender's ability to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSenderHealth {
    pub state: &'static str,
    pub reason: Option<String>,
    pub failures_in_row: i64,
    pub probe_at: Option<Timestamp>,
}

/// Stores the result of calls that began at `began` or later. A hold of the account by its provider
/// is overruled only by a call that began after it.
pub async fn set_health(
    tx: &DatabaseTransaction,
    id: Uuid,
    health: &StoredSenderHealth,
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

/// Applies the provider's state of an account, or of one of its numbers, to the senders concerned:
/// they are held, or released unless another hold applies. Returns the number concerned.
pub async fn settle_account(
    tx: &DatabaseTransaction,
    account_id: &str,
    number: Option<&str>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let rows = sender::Entity::find()
        .filter(sender::Column::AccountId.eq(account_id))
        .order_by_asc(sender::Column::Id)
        .all(tx)
        .await?;
    let mut concerned = 0;
    for row in rows {
        if number.is_none_or(|number| is_called(&row, number)) {
            concerned += 1;
            settle(tx, &row, account_id, true, now).await?;
        }
    }
    Ok(concerned)
}

/// Whether a number, as people write it or by its id, is that of a sender.
pub fn is_called(row: &sender::Model, number: &str) -> bool {
    [&row.display_number, &row.endpoint_id]
        .into_iter()
        .flatten()
        .any(|known| known == number)
}

/// Holds a sender because its provider says so: the next probe goes out when the restriction
/// ends, or in an hour. Or releases it, if it may.
async fn settle(
    tx: &DatabaseTransaction,
    row: &sender::Model,
    account_id: &str,
    may_release: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let numbers: Vec<&str> = [&row.display_number, &row.endpoint_id]
        .into_iter()
        .filter_map(|number| number.as_deref())
        .collect();
    match account_fact::standing(tx, account_id, &numbers).await? {
        Some((reason, until)) => {
            execute(
                tx,
                "UPDATE sender SET state = 'held', state_reason = $2, probe_at = $3, updated_at = $4, account_held_at = $4 WHERE id = $1",
                [
                    row.id.into(),
                    reason.into(),
                    until.unwrap_or(now.plus_seconds(3600)).micros().into(),
                    now.micros().into(),
                ],
            )
            .await?;
        }
        None if may_release => {
            execute(
                tx,
                "UPDATE sender SET state = 'active', state_reason = NULL, probe_at = NULL, failures_in_row = 0, updated_at = $2, \
                 account_held_at = NULL WHERE id = $1 AND state = 'held'",
                [row.id.into(), now.micros().into()],
            )
            .await?;
        }
        None => {}
    }
    Ok(())
}

/// Records that a provider accepted messages: callbacks are expected from now on.
pub async fn expects(tx: &DatabaseTransaction, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET unheard_since = $2 WHERE id = $1 AND unheard_since IS NULL",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Records a callback for a number, its account and its displayed form. Returns whether the account
/// is new.
pub async fn set_last_seen(
    tx: &DatabaseTransaction,
    endpoint_id: &str,
    account_id: Option<&str>,
    display_number: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut learned = false;
    if let Some(row) = by_endpoint_id(tx, endpoint_id).await? {
        learned = account_id.is_some() && row.account_id.is_none();
        let account = row.account_id.as_deref().or(account_id);
        if learned {
            execute(
                tx,
                "UPDATE sender SET account_id = $2 WHERE id = $1 AND account_id IS NULL",
                [row.id.into(), account.into()],
            )
            .await?;
        }
        let is_settled = set_display_number(tx, row.id, display_number, now).await?;
        // The account's state may have been reported before the sender's account was known.
        if let (Some(account), true, false) = (account, learned, is_settled)
            && let Some(row) = super::find(tx, row.id).await?
        {
            settle(tx, &row, account, false, now).await?;
        }
    }
    execute(
        tx,
        "UPDATE sender SET unheard_since = NULL, silent_at = NULL \
         WHERE endpoint_id = $1 \
         AND (unheard_since IS NOT NULL OR silent_at IS NOT NULL)",
        [endpoint_id.into()],
    )
    .await?;
    Ok(learned)
}

/// Stores the displayed form of a sender's number. Earlier reports about this number apply to the
/// sender from now on. Returns whether it changed.
pub async fn set_display_number(
    tx: &DatabaseTransaction,
    id: Uuid,
    number: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(number) = number else {
        return Ok(false);
    };
    let set = execute(
        tx,
        "UPDATE sender SET display_number = $2 WHERE id = $1 AND (display_number IS NULL OR display_number <> $2)",
        [id.into(), number.into()],
    )
    .await?;
    if set.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(row) = super::find(tx, id).await?
        && let Some(account) = &row.account_id
    {
        settle(tx, &row, account, false, now).await?;
    }
    Ok(true)
}

/// Locks senders that have accepted messages since before `since` without any callback, and have
/// not been reported.
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
    let mut reported = Vec::with_capacity(silent.len());
    for row in silent {
        // `last_seen` is written at intervals only: checked before the sender is reported.
        if let Some(unheard_since) = row.unheard_since
            && was_seen(tx, row.id, Timestamp::from_micros(unheard_since)).await?
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
            reported.push(row);
        }
    }
    Ok(reported)
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
async fn was_seen(
    tx: &DatabaseTransaction,
    id: Uuid,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let first = first_id(since.plus_seconds(-60));
    let row = query_one(
        tx,
        "SELECT a.id FROM attempt a JOIN notification n ON n.id = a.notification_id \
         WHERE a.id >= $1 AND a.sender_id = $2 AND a.outcome = 'accepted' \
         AND n.status IN ('sent', 'delivered', 'read', 'played', 'failed', 'retrying') LIMIT 1",
        [first.into(), id.into()],
    )
    .await?;
    Ok(row.is_some())
}
