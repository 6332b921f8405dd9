//! Settings of the installation, stored as name and value.

use sea_orm::ConnectionTrait;

use super::{
    StoreError,
    dialect::{column, execute, locking, query_one},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

pub async fn get(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let row = query_one(
        connection,
        "SELECT value FROM setting WHERE name = $1",
        [name.into()],
    )
    .await?;
    row.map(|row| column(&row, "value")).transpose()
}

/// Sets a value unless there is one; gives back the one that holds.
pub async fn get_or_insert(
    connection: &impl ConnectionTrait,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Result<String, StoreError> {
    execute(
        connection,
        "INSERT INTO setting (name, created_at, value) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        [name.into(), now.micros().into(), value.into()],
    )
    .await?;
    Ok(get(connection, name)
        .await?
        .unwrap_or_else(|| value.to_owned()))
}

/// A value, locked until the transaction ends.
pub async fn lock(tx: &DatabaseTransaction, name: &str) -> Result<Option<String>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let row = query_one(
        tx,
        format!("SELECT value FROM setting WHERE name = $1 {lock}"),
        [name.into()],
    )
    .await?;
    row.map(|row| column(&row, "value")).transpose()
}

/// Replaces a value that is there.
pub async fn set(tx: &DatabaseTransaction, name: &str, value: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE setting SET value = $2 WHERE name = $1",
        [name.into(), value.into()],
    )
    .await?;
    Ok(())
}

/// Sets a value, whether there is one or not: name, time, value.
pub(super) const PUT: &str = "INSERT INTO setting (name, created_at, value) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Sets a value, whether there is one or not.
pub async fn put(
    connection: &impl ConnectionTrait,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        connection,
        PUT,
        [name.into(), now.micros().into(), value.into()],
    )
    .await?;
    Ok(())
}

/// Forgets a value.
pub async fn remove(tx: &DatabaseTransaction, name: &str) -> Result<(), StoreError> {
    execute(tx, "DELETE FROM setting WHERE name = $1", [name.into()]).await?;
    Ok(())
}

/// Increments a counter that starts at zero: owners of a cached copy compare it to see whether the
/// copy is old.
pub async fn count_up(
    tx: &DatabaseTransaction,
    name: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO setting (name, created_at, value) VALUES ($1, $2, '1') \
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(setting.value AS bigint) + 1 AS text)",
        [name.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A number that was counted up so far.
pub async fn number(connection: &impl ConnectionTrait, name: &str) -> Result<i64, StoreError> {
    Ok(get(connection, name)
        .await?
        .and_then(|value| value.parse().ok())
        .unwrap_or(0))
}

/// How far the database's clock is ahead of ours, in microseconds. The one
/// statement that asks the database for the time. None on SQLite: its clock is ours.
pub async fn clock_ahead_micros(
    store: &super::Store,
    now: impl Fn() -> Timestamp,
) -> Result<Option<i64>, StoreError> {
    if store.is_sqlite() {
        return Ok(None);
    }
    let asked_at = now();
    let row = query_one(
        store.reader(),
        "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS clock",
        [],
    )
    .await?;
    let Some(row) = row else { return Ok(None) };
    let theirs: i64 = column(&row, "clock")?;
    // It was read somewhere between the question and the answer.
    let (earliest, latest) = (asked_at.micros(), now().micros());
    Ok(Some(if theirs < earliest {
        theirs - earliest
    } else {
        (theirs - latest).max(0)
    }))
}

/// The durability settings the database runs with, by name.
pub async fn durability(store: &super::Store) -> Result<Vec<(String, String)>, StoreError> {
    let mut settings = Vec::new();
    if store.is_sqlite() {
        for (file, prefix) in [(store, ""), (store.inbox(), "inbox_")] {
            for pragma in [
                "synchronous",
                "journal_mode",
                "auto_vacuum",
                "secure_delete",
            ] {
                if let Some(row) = query_one(&file.writer, format!("PRAGMA {pragma}"), []).await? {
                    let value = match column::<i64>(&row, pragma) {
                        Ok(number) => number.to_string(),
                        Err(_) => column(&row, pragma)?,
                    };
                    settings.push((format!("{prefix}{pragma}"), value));
                }
            }
        }
    } else {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            if let Some(row) = query_one(
                store.reader(),
                "SELECT current_setting($1) AS value",
                [name.into()],
            )
            .await?
            {
                settings.push((name.to_owned(), column(&row, "value")?));
            }
        }
    }
    Ok(settings)
}
