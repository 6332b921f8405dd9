//! Checkpoints SQLite's write-ahead log beside the writer, so that no commit waits for it.

use std::sync::atomic::Ordering;

use super::{
    Store, StoreError,
    dialect::{column, query_one},
};

/// A log of so many pages (64 MiB) is begun anew by force, for which the writer waits.
/// Between bursts it begins anew by itself (measured: p99 of immediate sends after
/// 40,000 others 84 to 116 ms with 4,000 pages, 30 to 33 ms with 16,000).
pub const RESTART_PAGES: i64 = 16_000;

/// Writes back what no reader needs, without waiting. Answers the length of the log.
const WRITE_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Progress of the checkpointer: the writes to each file that are written back.
#[derive(Debug, Default)]
pub struct CheckpointProgress {
    main: u64,
    inbox: u64,
}

/// Writes back what was committed since the last turn. Returns whether there was anything; if there
/// was not, the database is not asked.
pub async fn turn(store: &Store, progress: &mut CheckpointProgress) -> Result<bool, StoreError> {
    let main = write_back(store, &mut progress.main).await?;
    let inbox = match &store.inbox {
        Some(inbox) => write_back(inbox, &mut progress.inbox).await?,
        None => false,
    };
    Ok(main || inbox)
}

async fn write_back(store: &Store, written: &mut u64) -> Result<bool, StoreError> {
    let Some(connection) = &store.checkpointer else {
        return Ok(false);
    };
    let writes = store.writes.load(Ordering::Relaxed);
    if writes == *written {
        return Ok(false);
    }
    let row = query_one(connection, WRITE_BACK, []).await?;
    let pages: i64 = row.map_or(Ok(0), |row| column(&row, "log"))?;
    if pages > RESTART_PAGES {
        // SQLite restarts the log at the first write that finds all of it written back, and under
        // load a part always remains. So most of it is written back beside the writer, and the
        // rest on the writer's own connection. `RESTART` would take the lock from outside, and a
        // writer that finds the lock taken sleeps up to 100 ms (measured: p99 of ingest 72 ms
        // instead of 37).
        query_one(connection, WRITE_BACK, []).await?;
        query_one(&store.writer, WRITE_BACK, []).await?;
    }
    *written = writes;
    Ok(true)
}
