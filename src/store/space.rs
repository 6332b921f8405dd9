//! How much room the database has left.

use std::path::Path;

use super::{
    Store, StoreError,
    dialect::{Columns, query},
};

/// Free bytes of the file system that holds the SQLite file, for who is not root. None on
/// PostgreSQL, whose disk is another machine's, and when the system does not say.
pub async fn free_bytes(store: &Store) -> Result<Option<i64>, StoreError> {
    if !store.is_sqlite() {
        return Ok(None);
    }
    // Number, name and file of each; the first is ours.
    let files = query(store.reader(), "PRAGMA database_list", []).await?;
    let Some(row) = files.first() else {
        return Ok(None);
    };
    let mut columns = Columns::of(row);
    let (_number, _name): (i64, String) = (columns.take()?, columns.take()?);
    let file: String = columns.take()?;
    let Ok(room) = rustix::fs::statvfs(Path::new(&file)) else {
        return Ok(None);
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    Ok(Some(i64::try_from(free).unwrap_or(i64::MAX)))
}
