//! Checkpoints SQLite's write-ahead log beside the writer, so that no commit waits for it.

use std::sync::atomic::Ordering;

use sea_orm::Statement;

use super::{
    Store, StoreError,
    connection::{StoreConnection, StoreConnectionError},
    dialect::{column, query_one},
};

/// A log of so many pages (64 MiB) is begun anew by force, for which the writer waits.
/// Between bursts it begins anew by itself (measured: p99 of immediate sends after
/// 40,000 others 84 to 116 ms with 4,000 pages, 30 to 33 ms with 16,000).
pub const RESTART_PAGES: i64 = 16_000;

/// Writes back what no reader needs, without waiting. Answers the length of the log.
const WRITE_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Writes back everything and truncates the log, which waits for readers.
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// How long a truncation waits for readers, in milliseconds: no write begins meanwhile.
const TRUNCATE_WAITS: i64 = 20;

/// How long the connection usually waits.
const WAITS: &str = "SELECT timeout AS number FROM pragma_busy_timeout";

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

/// Truncates the log, so that it has no older pages any more: they hold what was erased from the
/// database. Says whether it has; if a reader is in the way, it is to be tried again. On PostgreSQL
/// there is nothing to do.
pub async fn truncate(store: &Store) -> Result<bool, StoreError> {
    if !store.is_sqlite() {
        return Ok(true);
    }
    if let Some(connection) = &store.checkpointer {
        // Most of it is written back beside the writer.
        query_one(connection, WRITE_BACK, []).await?;
    }
    let mut lease = store.writer.pool.acquire().await?;
    // After a failure the connection is closed: it may have kept the short wait.
    let is_truncated = truncate_on(&mut lease.connection).await?;
    lease.give_back();
    Ok(is_truncated)
}

async fn truncate_on(connection: &mut StoreConnection) -> Result<bool, StoreError> {
    let failed = |failure: StoreConnectionError| StoreError::from(failure.into_query_error());
    let usual = connection.number(WAITS).await.map_err(failed)?;
    // In scripts, as a prepared statement would set it once only.
    let short = format!("PRAGMA busy_timeout = {TRUNCATE_WAITS}");
    connection.script(&short).await.map_err(failed)?;
    let truncate = Statement::from_string(connection.backend(), TRUNCATE);
    let row = connection.query_one(truncate).await.map_err(failed)?;
    let again = format!("PRAGMA busy_timeout = {usual}");
    connection.script(&again).await.map_err(failed)?;
    let busy: i64 = row.map_or(Ok(1), |row| column(&row, "busy"))?;
    Ok(busy == 0)
}
