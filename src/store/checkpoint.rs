//! SQLite: writing the write-ahead log back beside the writer, so that nobody
//! who commits waits for it.

use std::sync::atomic::Ordering;

use super::{
    Store, StoreError,
    dialect::{column, query_one},
};

/// A log of so many pages (64 MiB) is begun anew by force, for which the writer waits.
/// Between bursts it begins anew by itself (measured: p99 of immediate sends after
/// 40,000 others 84 to 116 ms with 4,000 pages, 30 to 33 ms with 16,000).
pub const RESTART_PAGES: i64 = 16_000;

/// Takes what no reader needs and waits for nobody. Answers how long the log is.
const WRITE_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

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
    let row = query_one(connection, WRITE_BACK, []).await?;
    let pages: i64 = row.map_or(Ok(0), |row| column(&row, "log"))?;
    if pages > RESTART_PAGES {
        // The log begins anew at the first write that finds all of it written back, and under
        // load there is always a rest. So: most of the rest beside the writer, and what came
        // meanwhile on the writer's own connection. `RESTART` would take the lock from outside,
        // and whoever finds a lock taken sleeps up to 100 ms (measured: p99 of ingest 72 ms
        // instead of 37).
        query_one(connection, WRITE_BACK, []).await?;
        query_one(&store.writer, WRITE_BACK, []).await?;
    }
    progress.writes = writes;
    Ok(true)
}
