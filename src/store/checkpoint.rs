//! SQLite: writing the write-ahead log back beside the writer, so that nobody
//! who commits waits for it.

use std::sync::atomic::Ordering;

use super::{Store, StoreError, dialect::query_one};

/// A log of so many pages (64 MiB) is begun anew, for which the writer waits a moment.
const RESTART_PAGES: i64 = 16_000;

/// Where the checkpointer stands.
#[derive(Debug, Default)]
pub struct Progress {
    writes: u64,
}

/// Writes back what was committed since the last turn. Says whether there was
/// anything; asks the database nothing when there was not.
pub async fn turn(store: &Store, progress: &mut Progress) -> Result<bool, StoreError> {
    let Some(connection) = &store.checkpointer else {
        return Ok(false);
    };
    let writes = store.writes.load(Ordering::Relaxed);
    if writes == progress.writes {
        return Ok(false);
    }
    // Passive: takes what no reader needs and waits for nobody.
    let row = query_one(connection, "PRAGMA wal_checkpoint(PASSIVE)", []).await?;
    let pages: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(1))?;
    if pages > RESTART_PAGES {
        query_one(connection, "PRAGMA wal_checkpoint(RESTART)", []).await?;
    }
    progress.writes = writes;
    Ok(true)
}
