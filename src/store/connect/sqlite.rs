//! Opens the two files of a SQLite database, each with a writer and readers of its own.

use std::{
    fs::File,
    path::Path,
    str::FromStr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use sea_orm::{
    DbBackend, DbErr,
    sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio_util::sync::CancellationToken;

use super::{ConnectPurpose, DatabaseOpenError};
use crate::store::{
    SingleStatementPool, Store, files,
    pool::{ConnectionPool, ConnectionSource, PoolGeneration},
    proof::CommitDurabilityChecker,
    sqlite_file::{self, DamagedDatabaseFileError, SqliteFilePresence},
    sqlx_error, whole_file,
};

/// A server writes the log back beside its writer ([`crate::store::checkpoint`]); the
/// writer does it itself only when the log has grown to this many pages.
const SERVER_CHECKPOINT_PAGES: i64 = 64_000;

/// A command writes the log back when it has this many pages (SQLite's own default).
const COMMAND_CHECKPOINT_PAGES: i64 = 1000;

/// How long a server's statement waits for SQLite's lock, which a command may hold.
const SERVER_WAITS: Duration = Duration::from_secs(1);

/// How long a command's statement waits: a busy server takes the lock again and again.
const COMMAND_WAITS: Duration = Duration::from_secs(30);

/// How often opening is tried again, and after which pause.
pub(super) const OPENING: (u32, Duration) = (50, Duration::from_millis(100));

/// Opens a file that another process may be opening at this moment: the first ones switch it to
/// its write-ahead log, and SQLite does not wait for that lock, whatever its timeout is.
pub(super) async fn open_unlocked(
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
pub(in crate::store) fn try_lock(path: &Path) -> Option<File> {
    lock_file(path).ok().flatten()
}

fn lock_file(path: &Path) -> Result<Option<File>, DatabaseOpenError> {
    let name = whole_file::beside(path, "lock");
    let file = files::open_private(&name)
        .map_err(|error| DatabaseOpenError::Folder(name.display().to_string(), error))?;
    Ok(file.try_lock().is_ok().then_some(file))
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
