//! Opening the database: durability is set here, and nowhere weaker.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, DbBackend, SqlxPostgresConnector, SqlxSqliteConnector,
    sqlx::{
        postgres::{PgConnectOptions, PgPoolOptions},
        sqlite::{
            SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
            SqliteSynchronous,
        },
    },
};
use secrecy::{ExposeSecret, SecretString};

use super::Store;

/// How long a statement waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite's cache of the writing connection, in KiB.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

/// A server writes the log back beside its writer ([`super::checkpoint`]); the
/// writer does it itself only when the log has grown to this many pages.
const SERVER_CHECKPOINT_PAGES: i64 = 64_000;

/// A command writes the log back when it has this many pages (SQLite's own default).
const COMMAND_CHECKPOINT_PAGES: i64 = 1000;

/// Why the database cannot be opened. Says nothing of the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("DATABASE_URL cannot be understood")]
    Address(#[source] sea_orm::sqlx::Error),
    #[error("the database cannot be reached")]
    Connect(#[source] sea_orm::sqlx::Error),
    #[error("the folder {0} cannot be made")]
    Folder(String, #[source] std::io::Error),
    #[error(
        "another `herald serve` uses this SQLite file: stop it first, or use PostgreSQL for several processes"
    )]
    InUse,
}

/// Who opens the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A server: the only one on a SQLite file.
    Serve,
    /// A command beside it.
    Command,
}

/// Opens the database at `url`.
pub async fn open(
    url: &SecretString,
    connections: u32,
    purpose: Purpose,
) -> Result<Store, OpenError> {
    match url.expose_secret().strip_prefix("sqlite:") {
        Some(path) => open_sqlite(path.trim_start_matches("//"), purpose).await,
        None => open_postgres(url.expose_secret(), connections).await,
    }
}

async fn open_sqlite(path: &str, purpose: Purpose) -> Result<Store, OpenError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if let Some(folder) = Path::new(path)
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .map_err(|error| OpenError::Folder(folder.display().to_string(), error))?;
    }
    let lock = if purpose == Purpose::Serve {
        Some(Arc::new(lock_file(path)?))
    } else {
        None
    };
    let common = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(1))
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(256)
        .row_buffer_size(1024);
    let autocheckpoint = if purpose == Purpose::Serve {
        SERVER_CHECKPOINT_PAGES
    } else {
        COMMAND_CHECKPOINT_PAGES
    };
    let mut writing = common
        .clone()
        .create_if_missing(true)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON")
        .pragma("cache_size", (-WRITER_CACHE_KIB).to_string())
        .pragma("wal_autocheckpoint", autocheckpoint.to_string());
    // For tests of a full disk: `?max_page_count=N`.
    if let Some(pages) = query
        .strip_prefix("max_page_count=")
        .and_then(|pages| i64::from_str(pages).ok())
    {
        writing = writing.pragma("max_page_count", pages.to_string());
    }
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_with(writing)
        .await
        .map_err(OpenError::Connect)?;
    let reader = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        // Asks for nothing that needs a lock: readers open while somebody writes.
        .connect_lazy_with(common.clone().pragma("query_only", "ON"));
    let checkpointer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(common.pragma("synchronous", "FULL"));
    let checkpointer = SqlxSqliteConnector::from_sqlx_sqlite_pool(checkpointer);
    Ok(assemble(
        SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
        SqlxSqliteConnector::from_sqlx_sqlite_pool(reader),
        DbBackend::Sqlite,
        lock,
        (purpose == Purpose::Serve).then_some(checkpointer),
    ))
}

/// The lock ends with the process, however it ends.
fn lock_file(path: &str) -> Result<File, OpenError> {
    let name = format!("{path}.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| OpenError::Folder(name, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(OpenError::InUse),
    }
}

/// What writes finds its rows by key. Statistics of a table that has just filled
/// call it empty, and the planner would read all of it for every batch.
const BY_KEY: [(&str, &str); 5] = [
    ("enable_material", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// A prepared plan stays as long as its connection, and planning anew each time costs
/// more than most statements (measured: 900 ms of 1,600 in six seconds of immediate
/// sends). What was planned while a table was empty is forgotten after this.
const WRITER_LIVES: Duration = Duration::from_mins(5);

/// Two pools, of half the connections each: one that writes, one that reads.
async fn open_postgres(url: &str, connections: u32) -> Result<Store, OpenError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(OpenError::Address)?
        .application_name("herald")
        // No statement of ours takes so long: a server that is silent must not hold a worker.
        // And none is worth compiling: the cost of a forbidden plan would ask for it (38 ms each).
        .options([
            ("statement_timeout", "60s"),
            ("lock_timeout", "10s"),
            ("jit", "off"),
        ])
        .statement_cache_capacity(256);
    let pool = |connections: u32| {
        PgPoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
    };
    let writer = pool(connections.div_ceil(2))
        .max_lifetime(WRITER_LIVES)
        .connect_with(options.clone().options(BY_KEY))
        .await
        .map_err(OpenError::Connect)?;
    let reader = pool(connections / 2).connect_lazy_with(options);
    Ok(assemble(
        SqlxPostgresConnector::from_sqlx_postgres_pool(writer),
        SqlxPostgresConnector::from_sqlx_postgres_pool(reader),
        DbBackend::Postgres,
        None,
        None,
    ))
}

fn assemble(
    mut writer: DatabaseConnection,
    mut reader: DatabaseConnection,
    backend: DbBackend,
    lock: Option<Arc<File>>,
    checkpointer: Option<DatabaseConnection>,
) -> Store {
    let statements = Arc::new(AtomicU64::new(0));
    for connection in [&mut writer, &mut reader] {
        let statements = Arc::clone(&statements);
        connection.set_metric_callback(move |_| {
            statements.fetch_add(1, Ordering::Relaxed);
        });
    }
    Store {
        writer,
        reader,
        backend,
        statements,
        writes: Arc::new(AtomicU64::new(0)),
        checkpointer,
        _lock: lock,
    }
}
