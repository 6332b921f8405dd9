//! Opens the database. Durability is set here, and nowhere weaker.

use std::{
    fs::File,
    io::ErrorKind,
    path::Path,
    str::FromStr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use sea_orm::{
    DbBackend, DbErr,
    sqlx::{
        self,
        sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::{
    SingleStatementPool, Store, StoreError,
    cluster::{PostgresCluster, PostgresSessionOptions},
    files,
    pool::{ConnectionPool, ConnectionSource, PoolGeneration},
    proof::CommitDurabilityChecker,
    sqlite_file::{self, DamagedDatabaseFileError, SqliteFilePresence},
    sqlx_error, whole_file,
};

/// A server writes the log back beside its writer ([`super::checkpoint`]); the
/// writer does it itself only when the log has grown to this many pages.
const SERVER_CHECKPOINT_PAGES: i64 = 64_000;

/// A command writes the log back when it has this many pages (SQLite's own default).
const COMMAND_CHECKPOINT_PAGES: i64 = 1000;

/// How long a server's statement waits for SQLite's lock, which a command may hold.
const SERVER_WAITS: Duration = Duration::from_secs(1);

/// How long a command's statement waits: a busy server takes the lock again and again.
const COMMAND_WAITS: Duration = Duration::from_secs(30);

/// Why the database cannot be opened. Says nothing of the address, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseOpenError {
    #[error("DATABASE_URL cannot be understood")]
    Address(#[source] sqlx::Error),
    #[error("the database cannot be reached")]
    Connect(#[source] DbErr),
    #[error(
        "DATABASE_URL leads to a pooler, which refuses what a session begins with: set HERALD_DATABASE_POOLED=true"
    )]
    Pooler(#[source] DbErr),
    #[error(transparent)]
    Damaged(#[from] DamagedDatabaseFileError),
    #[error("the database cannot be written")]
    Recovery(#[source] StoreError),
    #[error("the folder {0} cannot be made")]
    Folder(String, #[source] std::io::Error),
    #[error(
        "another `herald serve` uses this SQLite file: stop it first, or use PostgreSQL for several processes"
    )]
    InUse,
}

impl DatabaseOpenError {
    /// Why the first connection failed.
    fn of_connecting(error: DbErr) -> Self {
        match sqlx_error(&error) {
            // PgBouncer says so with the code of a protocol violation.
            Some(sqlx::Error::Database(refused))
                if refused.code().as_deref() == Some("08P01")
                    && refused.message().contains("startup parameter") =>
            {
                Self::Pooler(error)
            }
            _ => Self::Connect(error),
        }
    }

    /// SQLite: another connection holds the lock.
    fn is_locked(&self) -> bool {
        let Self::Connect(error) = self else {
            return false;
        };
        match sqlx_error(error) {
            Some(sqlx::Error::Database(error)) => error
                .code()
                .and_then(|code| code.parse::<u32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
            _ => false,
        }
    }

    /// The cause may pass without anything being fixed here: the database is unreachable, starting,
    /// full or read-only.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Address(_) | Self::Pooler(_) | Self::InUse | Self::Damaged(_) => false,
            Self::Recovery(error) => error.is_transient(),
            Self::Folder(_, error) => matches!(
                error.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
            ),
            Self::Connect(error) => match sqlx_error(error) {
                // Without an error of sqlx's: no connection in time.
                None | Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
                Some(sqlx::Error::Database(error)) => match error.code().as_deref() {
                    // SQLite: BUSY, LOCKED, READONLY, IOERR, FULL.
                    Some(code) if code.len() < 5 => code
                        .parse::<u32>()
                        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13)),
                    // PostgreSQL: starting, stopping, out of connections or of disk.
                    Some(code) => ["53", "57P", "08", "58"]
                        .iter()
                        .any(|class| code.starts_with(class)),
                    None => false,
                },
                Some(_) => false,
            },
        }
    }
}

/// The kind of process that opens the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectPurpose {
    /// A server: the only one on a SQLite file.
    Serve,
    /// A command beside a server.
    Command,
}

/// How the database is reached.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseConnectSettings {
    /// Connections to PostgreSQL, at most.
    pub connections: u32,
    /// A pooler in transaction mode, such as PgBouncer, stands before PostgreSQL.
    pub pooled: bool,
    /// No statement on PostgreSQL takes longer.
    pub timeout: Duration,
}

/// The default of [`DatabaseConnectSettings::timeout`].
const TIMEOUT: Duration = Duration::from_secs(10);

impl From<u32> for DatabaseConnectSettings {
    /// Straight to the database, with so many connections.
    fn from(connections: u32) -> Self {
        Self {
            connections,
            pooled: false,
            timeout: TIMEOUT,
        }
    }
}

/// The file of a SQLite database at `url`.
pub fn sqlite_file(url: &SecretString) -> Option<&Path> {
    let path = url.expose_secret().strip_prefix("sqlite:")?;
    let path = path.trim_start_matches("//");
    Some(Path::new(
        path.split_once('?').map_or(path, |(path, _)| path),
    ))
}

/// Opens the database at `url`.
pub async fn open(
    url: &SecretString,
    access: impl Into<DatabaseConnectSettings>,
    purpose: ConnectPurpose,
) -> Result<Store, DatabaseOpenError> {
    let access = access.into();
    match url.expose_secret().strip_prefix("sqlite:") {
        Some(path) => open_unlocked(path.trim_start_matches("//"), purpose, OPENING).await,
        None => open_postgres(url.expose_secret(), access).await,
    }
}

/// How often opening is tried again, and after which pause.
const OPENING: (u32, Duration) = (50, Duration::from_millis(100));

/// Opens a file that another process may be opening at this moment: the first ones switch it to
/// its write-ahead log, and SQLite does not wait for that lock, whatever its timeout is.
async fn open_unlocked(
    path: &str,
    purpose: ConnectPurpose,
    (tries, pause): (u32, Duration),
) -> Result<Store, DatabaseOpenError> {
    for _ in 1..tries {
        match open_sqlite(path, purpose).await {
            Err(error) if error.is_locked() => tokio::time::sleep(pause).await,
            opened => return opened,
        }
    }
    open_sqlite(path, purpose).await
}

async fn open_sqlite(path: &str, purpose: ConnectPurpose) -> Result<Store, DatabaseOpenError> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = Path::new(path);
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        files::make_folder(folder)
            .map_err(|error| DatabaseOpenError::Folder(folder.display().to_string(), error))?;
    }
    let inbox_path = sqlite_file::inbox_of(path);
    let are_new = [path, &inbox_path].map(|path| !path.exists());
    if let Err(error) = files::own_database(path) {
        // If a file cannot be used at all, SQLite says so in a moment.
        tracing::warn!(event = "database.permissions", %error, "the permissions of the database's files could not be set");
    }
    let lock = if purpose == ConnectPurpose::Serve {
        Some(Arc::new(lock(path).await?))
    } else {
        None
    };
    let [before, inbox_before] = [path, &inbox_path].map(SqliteFilePresence::look);
    // For tests of a full disk: `?max_page_count=N`, in each file.
    let max_pages = query
        .strip_prefix("max_page_count=")
        .and_then(|pages| i64::from_str(pages).ok());
    let shared = SqliteSharedState::default();
    let open = async |path, is_new, limits| {
        let opening = SqliteFileOpening {
            path,
            purpose,
            is_new,
            max_pages,
        };
        opening.open(limits, &shared).await
    };
    let [is_new, is_inbox_new] = are_new;
    let inbox = open(&inbox_path, is_inbox_new, OF_INBOX).await?;
    let store = Store {
        inbox: Some(Arc::new(inbox)),
        _lock: lock,
        ..open(path, is_new, OF_MAIN).await?
    };
    if purpose == ConnectPurpose::Command {
        for (file, before) in [(&store, before), (store.inbox(), inbox_before)] {
            sqlite_file::note_recovery(file, path, before)
                .await
                .map_err(DatabaseOpenError::Recovery)?;
        }
    }
    Ok(store)
}

/// Memory and connections of a SQLite file.
#[derive(Clone, Copy)]
struct SqliteFileLimits {
    writer_cache_kib: i64,
    readers: u32,
}

/// A larger cache brings nothing, as the system caches the file as well (measured with 200,000
/// notifications in random order: 32 MiB applied 11,800 to 12,100 statuses a second, 12 MiB 12,200 to
/// 12,900).
const OF_MAIN: SqliteFileLimits = SqliteFileLimits {
    writer_cache_kib: 12 * 1024,
    readers: 4,
};

/// Segments are written at the end, and read once if at all; only the digests are found by random
/// keys. Pages of 1 KiB write a tenth less and take half as much room again: SQLite's own size stays.
const OF_INBOX: SqliteFileLimits = SqliteFileLimits {
    writer_cache_kib: 2 * 1024,
    readers: 2,
};

/// What the files of a database have in common.
#[derive(Default)]
struct SqliteSharedState {
    statements: Arc<AtomicU64>,
    hopeless: CancellationToken,
}

/// A SQLite file about to be opened.
struct SqliteFileOpening<'a> {
    path: &'a Path,
    purpose: ConnectPurpose,
    is_new: bool,
    max_pages: Option<i64>,
}

impl SqliteFileOpening<'_> {
    async fn open(
        &self,
        limits: SqliteFileLimits,
        shared: &SqliteSharedState,
    ) -> Result<Store, DatabaseOpenError> {
        let is_server = self.purpose == ConnectPurpose::Serve;
        let common = SqliteConnectOptions::new()
            .filename(self.path)
            .foreign_keys(true)
            .busy_timeout(if is_server {
                SERVER_WAITS
            } else {
                COMMAND_WAITS
            })
            .pragma("temp_store", "MEMORY")
            .statement_cache_capacity(256)
            .row_buffer_size(1024);
        let autocheckpoint = if is_server {
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
            .pragma("cache_size", (-limits.writer_cache_kib).to_string())
            .pragma("wal_autocheckpoint", autocheckpoint.to_string());
        if let Some(pages) = self.max_pages {
            writing = writing.pragma("max_page_count", pages.to_string());
        }
        let direct = |options: SqliteConnectOptions, size: u32| SingleStatementPool {
            pool: ConnectionPool::new(
                ConnectionSource::Sqlite(Box::new(options)),
                size,
                None,
                PoolGeneration::default(),
            ),
            statements: Arc::clone(&shared.statements),
        };
        // Asks for nothing that needs a lock: readers open while another connection writes.
        let reading = common.clone().read_only(true).pragma("query_only", "ON");
        let writer = direct(writing, 1);
        if is_server || self.is_new {
            // Makes the file, which readers do not.
            let lease = writer
                .pool
                .acquire()
                .await
                .map_err(|error| refused(self.path, error))?;
            lease.give_back();
        }
        let proof =
            CommitDurabilityChecker::new(direct(reading.clone(), 1), shared.hopeless.clone());
        Ok(Store {
            reader: direct(reading, limits.readers),
            backend: DbBackend::Sqlite,
            inbox: None,
            applied_segments: Arc::default(),
            writes: Arc::default(),
            newest_commit: Arc::default(),
            last_segment: Arc::default(),
            writable: Arc::default(),
            proof: Some(Arc::new(proof)),
            checkpointer: is_server.then(|| direct(common.pragma("synchronous", "FULL"), 1)),
            _lock: None,
            writer,
        })
    }
}

/// Why a SQLite file could not be opened.
fn refused(path: &Path, error: DbErr) -> DatabaseOpenError {
    match sqlx_error(&error) {
        Some(cause) if sqlite_file::is_damage_at_open(cause) => {
            DatabaseOpenError::Damaged(DamagedDatabaseFileError {
                path: path.display().to_string(),
                finding: cause.to_string(),
            })
        }
        _ => DatabaseOpenError::of_connecting(error),
    }
}

/// A command may hold the lock for a moment: it is asked for so often.
const LOCK_TRIES: u32 = 10;

/// The lock of a server. It ends with the process, however that ends.
async fn lock(path: &Path) -> Result<File, DatabaseOpenError> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = lock_file(path)? {
            return Ok(lock);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(DatabaseOpenError::InUse)
}

/// Like [`lock`], for a command, if no server has it.
pub(super) fn try_lock(path: &Path) -> Option<File> {
    lock_file(path).ok().flatten()
}

fn lock_file(path: &Path) -> Result<Option<File>, DatabaseOpenError> {
    let name = whole_file::beside(path, "lock");
    let file = files::open_private(&name)
        .map_err(|error| DatabaseOpenError::Folder(name.display().to_string(), error))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

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
async fn open_postgres(
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

#[cfg(test)]
mod tests {
    use sea_orm::sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

    use super::{ConnectPurpose, Duration, SqliteConnectOptions, open_sqlite, open_unlocked};

    /// A file without a write-ahead log that another connection has locked: SQLite does not wait for
    /// that lock.
    async fn locked(path: &str) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true);
        let mut holder = options.connect().await.unwrap();
        for sql in ["CREATE TABLE one (id INTEGER)", "BEGIN EXCLUSIVE"] {
            holder.execute(sql).await.unwrap();
        }
        holder
    }

    #[tokio::test]
    async fn a_file_that_another_process_is_opening_is_opened_a_moment_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("herald.db");
        let path = path.to_str().unwrap();
        let holder = locked(path).await;
        let refused = open_sqlite(path, ConnectPurpose::Serve)
            .await
            .err()
            .unwrap();
        assert!(refused.is_locked(), "{refused:?}");
        let opening = open_unlocked(
            path,
            ConnectPurpose::Serve,
            (10_000, Duration::from_millis(1)),
        );
        let (opened, closed) = tokio::join!(opening, holder.close());
        closed.unwrap();
        assert!(opened.is_ok(), "{:?}", opened.err());
    }

    #[tokio::test]
    async fn a_file_that_stays_locked_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("herald.db");
        let path = path.to_str().unwrap();
        let holder = locked(path).await;
        let few = (3, Duration::from_millis(1));
        let opened = open_unlocked(path, ConnectPurpose::Serve, few).await;
        let refused = opened.err().unwrap();
        assert!(refused.is_locked() && refused.may_pass(), "{refused:?}");
        holder.close().await.unwrap();
    }
}
