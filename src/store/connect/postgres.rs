//! Opens a PostgreSQL database.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use sea_orm::DbBackend;

use super::{DatabaseConnectSettings, DatabaseOpenError};
use crate::store::{
    SingleStatementPool, Store,
    cluster::{PostgresCluster, PostgresSessionOptions},
    pool::{ConnectionPool, ConnectionSource, PoolGeneration},
};

/// Planner settings that force lookups by key. The statistics of a table that has just filled call
/// it empty, and the planner would read all of it for every batch.
const BY_KEY: [(&str, &str); 5] = [
    ("enable_material", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// A prepared plan stays as long as its connection, and planning again each time costs more than
/// most statements (measured: 900 ms of 1,600 in six seconds of immediate sends). A plan made while
/// a table was empty is dropped after this time.
const CONNECTION_LIVES: Duration = Duration::from_mins(5);

/// The dashboard and the API ask for few rows or many: each statement is planned for its values and
/// the current size of the tables. Frequent statements of the workers keep their plans
/// ([`Store::by_index`]).
const PLANNED_EACH_TIME: (&str, &str) = ("plan_cache_mode", "force_custom_plan");

/// A server that is alive reports a statement that takes too long; one that is silent for so much
/// longer is gone.
const SILENCE: Duration = Duration::from_secs(2);

/// Settings of every session: no statement takes longer than `timeout`, or waits longer for a lock
/// than most of it. JIT is off: the cost of a forbidden plan would trigger a compilation (38 ms
/// each).
fn session_settings(timeout: Duration) -> Vec<(&'static str, String)> {
    let milliseconds = timeout.as_millis();
    vec![
        ("statement_timeout", format!("{milliseconds}ms")),
        ("lock_timeout", format!("{}ms", milliseconds * 4 / 5)),
        ("jit", "off".to_owned()),
    ]
}

/// Two pools, of half the connections each: one that writes, one that reads.
pub(super) async fn open_postgres(
    url: &str,
    access: DatabaseConnectSettings,
) -> Result<Store, DatabaseOpenError> {
    let DatabaseConnectSettings {
        connections,
        pooled,
        timeout,
    } = access;
    let mut for_reading = session_settings(timeout);
    let by_key = BY_KEY.map(|(name, value)| (name, value.to_owned()));
    let for_writing = [for_reading.clone(), by_key.into()].concat();
    let (name, value) = PLANNED_EACH_TIME;
    for_reading.push((name, value.to_owned()));
    let generation = PoolGeneration::default();
    let statements = Arc::new(AtomicU64::new(0));
    let direct =
        |settings, size: u32, lifetime| -> Result<SingleStatementPool, DatabaseOpenError> {
            let session = PostgresSessionOptions {
                patience: timeout + SILENCE,
                pooled,
                settings,
            };
            let cluster = PostgresCluster::new(url, session).map_err(DatabaseOpenError::Address)?;
            Ok(SingleStatementPool {
                pool: ConnectionPool::new(
                    ConnectionSource::Postgres(cluster),
                    size,
                    lifetime,
                    generation.clone(),
                ),
                statements: Arc::clone(&statements),
            })
        };
    let writer = direct(for_writing, connections.div_ceil(2), Some(CONNECTION_LIVES))?;
    let reader = direct(for_reading, connections / 2, Some(CONNECTION_LIVES))?;
    let lease = writer
        .pool
        .acquire()
        .await
        .map_err(DatabaseOpenError::of_connecting)?;
    lease.give_back();
    Ok(Store {
        writer,
        reader,
        backend: DbBackend::Postgres,
        inbox: None,
        applied_segments: Arc::default(),
        writes: Arc::default(),
        newest_commit: Arc::default(),
        last_segment: Arc::default(),
        writable: Arc::default(),
        proof: None,
        checkpointer: None,
        _lock: None,
    })
}
