//! Dashboard users, their failed sign-ins and their one-time links.

use entity::login;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    QueryOrder,
};
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{column, execute, locking, query, query_one},
    new_id,
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// Adds a login without a password; `None`: the name is taken.
pub async fn insert(
    tx: &DatabaseTransaction,
    name: &str,
    role: &str,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    if by_name(tx, name).await?.is_some() {
        return Ok(None);
    }
    let id = new_id(now);
    login::ActiveModel {
        id: Set(id),
        created_at: Set(now.micros()),
        name: Set(name.to_owned()),
        role: Set(role.to_owned()),
        password_hash: Set(None),
        off_at: Set(None),
        last_in_at: Set(None),
    }
    .insert(tx)
    .await?;
    Ok(Some(id))
}

pub async fn by_name(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<login::Model>, StoreError> {
    Ok(login::Entity::find()
        .filter(login::Column::Name.eq(name))
        .one(connection)
        .await?)
}

pub async fn find(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<login::Model>, StoreError> {
    Ok(login::Entity::find_by_id(id).one(connection).await?)
}

pub async fn all(store: &Store) -> Result<Vec<login::Model>, StoreError> {
    Ok(login::Entity::find()
        .order_by_asc(login::Column::Name)
        .all(store.reader())
        .await?)
}

/// All of them, locked until the transaction ends.
pub async fn lock_all(tx: &DatabaseTransaction) -> Result<Vec<login::Model>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    query(tx, format!("SELECT id FROM login ORDER BY id {lock}"), []).await?;
    // Read after the lock, so that concurrent commits are seen.
    Ok(login::Entity::find().all(tx).await?)
}

pub async fn set_role(tx: &DatabaseTransaction, id: Uuid, role: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login SET role = $2 WHERE id = $1",
        [id.into(), role.into()],
    )
    .await?;
    Ok(())
}

pub async fn set_password(
    tx: &DatabaseTransaction,
    id: Uuid,
    password_hash: &str,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login SET password_hash = $2 WHERE id = $1",
        [id.into(), password_hash.into()],
    )
    .await?;
    Ok(())
}

/// Disables or enables a dashboard user.
pub async fn set_off(
    tx: &DatabaseTransaction,
    id: Uuid,
    off_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login SET off_at = $2 WHERE id = $1",
        [id.into(), off_at.map(Timestamp::micros).into()],
    )
    .await?;
    Ok(())
}

pub async fn note_in(tx: &DatabaseTransaction, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login SET last_in_at = $2 WHERE id = $1",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Consecutive failures, and the time of the last. Locked until the transaction ends.
pub async fn failures(
    tx: &DatabaseTransaction,
    subject: &str,
    now: Timestamp,
) -> Result<Option<(i64, Timestamp)>, StoreError> {
    // There must be a row to be locked: the first tries may come together.
    execute(
        tx,
        "INSERT INTO login_failure (subject, created_at, failures, last_at) VALUES ($1, $2, 0, $2) \
         ON CONFLICT (subject) DO NOTHING",
        [subject.into(), now.micros().into()],
    )
    .await?;
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let row = query_one(
        tx,
        format!("SELECT failures, last_at FROM login_failure WHERE subject = $1 {lock}"),
        [subject.into()],
    )
    .await?;
    row.map(|row| Ok((column(&row, "failures")?, column(&row, "last_at")?)))
        .transpose()
}

/// Like [`failures`], without a lock.
pub async fn known_failures(
    connection: &impl ConnectionTrait,
    subject: &str,
) -> Result<Option<(i64, Timestamp)>, StoreError> {
    let row = query_one(
        connection,
        "SELECT failures, last_at FROM login_failure WHERE subject = $1",
        [subject.into()],
    )
    .await?;
    row.map(|row| Ok((column(&row, "failures")?, column(&row, "last_at")?)))
        .transpose()
}

/// Takes one failure back.
pub async fn forgive(tx: &DatabaseTransaction, subject: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login_failure SET failures = failures - 1 WHERE subject = $1 AND failures > 0",
        [subject.into()],
    )
    .await?;
    Ok(())
}

/// Deletes up to `limit` rows of which the last failure was before `before`. The table is
/// small: a row takes a password's hashing to make.
pub async fn forget_old(
    tx: &DatabaseTransaction,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let gone = execute(
        tx,
        "DELETE FROM login_failure WHERE subject IN (SELECT subject FROM login_failure WHERE last_at < $1 LIMIT $2)",
        [before.micros().into(), limit.into()],
    )
    .await?;
    Ok(gone.rows_affected())
}

/// Whether there are such rows.
pub async fn any_old(store: &Store, before: Timestamp) -> Result<bool, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT 1 FROM login_failure WHERE last_at < $1 LIMIT 1",
        [before.micros().into()],
    )
    .await?;
    Ok(row.is_some())
}

/// Adds a failure.
pub async fn failed(
    tx: &DatabaseTransaction,
    subject: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO login_failure (subject, created_at, failures, last_at) VALUES ($1, $2, 1, $2) \
         ON CONFLICT (subject) DO UPDATE SET failures = login_failure.failures + 1, last_at = excluded.last_at",
        [subject.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Sets the time of the last failure without adding one.
pub async fn set_last(
    tx: &DatabaseTransaction,
    subject: &str,
    last_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE login_failure SET last_at = $2 WHERE subject = $1",
        [subject.into(), last_at.micros().into()],
    )
    .await?;
    Ok(())
}

pub async fn forget_failures(tx: &DatabaseTransaction, subject: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM login_failure WHERE subject = $1",
        [subject.into()],
    )
    .await?;
    Ok(())
}

/// Stores a link; earlier ones become invalid.
pub async fn insert_link(
    tx: &DatabaseTransaction,
    digest: &[u8],
    login: Uuid,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    forget_links(tx, login).await?;
    execute(
        tx,
        "INSERT INTO login_link (digest, created_at, login_id, expires_at) VALUES ($1, $2, $3, $4)",
        [
            digest.to_vec().into(),
            now.micros().into(),
            login.into(),
            expires_at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// The dashboard user of a link, if it is valid.
pub async fn by_link(
    connection: &impl ConnectionTrait,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<login::Model>, StoreError> {
    let row = query_one(
        connection,
        "SELECT login_id FROM login_link WHERE digest = $1 AND expires_at > $2",
        [digest.to_vec().into(), now.micros().into()],
    )
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id: Uuid = column(&row, "login_id")?;
    let found = find(connection, id).await?;
    Ok(found.filter(|login| login.off_at.is_none()))
}

/// Invalidates the links of this user.
pub async fn forget_links(tx: &DatabaseTransaction, login: Uuid) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM login_link WHERE login_id = $1",
        [login.into()],
    )
    .await?;
    Ok(())
}

/// Uses a link up. False if it has been used already.
pub async fn use_link(tx: &DatabaseTransaction, digest: &[u8]) -> Result<bool, StoreError> {
    let used = execute(
        tx,
        "DELETE FROM login_link WHERE digest = $1",
        [digest.to_vec().into()],
    )
    .await?;
    Ok(used.rows_affected() > 0)
}
