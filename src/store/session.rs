//! Dashboard sessions, by the digest of the browser's session id.

use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{column, execute, query_one},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// The state of a session that is not over.
pub async fn load(
    store: &Store,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT state FROM session WHERE digest = $1 AND expires_at > $2",
        [digest.to_vec().into(), now.micros().into()],
    )
    .await?;
    row.map(|row| column(&row, "state")).transpose()
}

/// Starts a session, and deletes some that are over.
pub async fn insert(
    tx: &DatabaseTransaction,
    digest: &[u8],
    login: Option<Uuid>,
    state: &str,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM session WHERE digest IN \
         (SELECT digest FROM session WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100)",
        [now.micros().into()],
    )
    .await?;
    execute(
        tx,
        "INSERT INTO session (digest, created_at, login_id, state, expires_at) VALUES ($1, $2, $3, $4, $5)",
        [
            digest.to_vec().into(),
            now.micros().into(),
            login.into(),
            state.into(),
            expires_at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Updates a session; false if it is over.
pub async fn update(
    tx: &DatabaseTransaction,
    digest: &[u8],
    login: Option<Uuid>,
    state: &str,
) -> Result<bool, StoreError> {
    let updated = execute(
        tx,
        "UPDATE session SET state = $2, login_id = $3 WHERE digest = $1",
        [digest.to_vec().into(), state.into(), login.into()],
    )
    .await?;
    Ok(updated.rows_affected() > 0)
}

pub async fn extend(
    tx: &DatabaseTransaction,
    digest: &[u8],
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE session SET expires_at = $2 WHERE digest = $1",
        [digest.to_vec().into(), expires_at.micros().into()],
    )
    .await?;
    Ok(())
}

pub async fn end(tx: &DatabaseTransaction, digest: &[u8]) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM session WHERE digest = $1",
        [digest.to_vec().into()],
    )
    .await?;
    Ok(())
}

/// Ends all sessions of one dashboard user: after a new password, or when the user is disabled.
pub async fn end_all(tx: &DatabaseTransaction, login: Uuid) -> Result<u64, StoreError> {
    let ended = execute(
        tx,
        "DELETE FROM session WHERE login_id = $1",
        [login.into()],
    )
    .await?;
    Ok(ended.rows_affected())
}
