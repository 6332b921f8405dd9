//! Facts about the installation.

use sea_orm::ConnectionTrait;

use super::{
    StoreError,
    dialect::{Columns, execute, query_one},
};
use crate::domain::time::Timestamp;

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
    row.map(|row| Columns::of(&row).take()).transpose()
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

/// The durability settings the database runs with, by name.
pub async fn durability(store: &super::Store) -> Result<Vec<(String, String)>, StoreError> {
    let mut settings = Vec::new();
    if store.is_sqlite() {
        for pragma in [
            "synchronous",
            "journal_mode",
            "auto_vacuum",
            "secure_delete",
        ] {
            if let Some(row) = query_one(&store.writer, format!("PRAGMA {pragma}"), []).await? {
                let value = match row.try_get_by_index::<i64>(0) {
                    Ok(number) => number.to_string(),
                    Err(_) => Columns::of(&row).take()?,
                };
                settings.push((pragma.to_owned(), value));
            }
        }
    } else {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            if let Some(row) =
                query_one(store.reader(), "SELECT current_setting($1)", [name.into()]).await?
            {
                settings.push((name.to_owned(), Columns::of(&row).take()?));
            }
        }
    }
    Ok(settings)
}
