//! Free space of the database's file system.

use std::path::Path;

use super::{
    Store, StoreError,
    dialect::{column, query},
};

/// Free bytes of the file system with the SQLite file, for an unprivileged user. `None` on
/// PostgreSQL, whose disk is another machine's, and if the system does not report it.
pub async fn free_bytes(store: &Store) -> Result<Option<i64>, StoreError> {
    if !store.is_sqlite() {
        return Ok(None);
    }
    // The first is ours.
    let files = query(store.reader(), "PRAGMA database_list", []).await?;
    let Some(row) = files.first() else {
        return Ok(None);
    };
    let file: String = column(row, "file")?;
    let Ok(room) = rustix::fs::statvfs(Path::new(&file)) else {
        return Ok(None);
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    Ok(Some(i64::try_from(free).unwrap_or(i64::MAX)))
}
