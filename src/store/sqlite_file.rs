//! Checks the SQLite file before use: whether its server closed it in order, and whether it is
//! complete.
//!
//! The database records whether a server uses it. A copy taken with `cp` meanwhile contains this
//! record, too, and has no write-ahead log beside it, or a torn one.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Instant, UNIX_EPOCH},
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    ConnectionTrait, Store, StoreError,
    connect::try_lock,
    dialect::{column, query, query_one},
    setting, whole_file,
};
use crate::domain::time::Timestamp;

/// The setting that says whether a server uses the file.
const USE: &str = "server_state";

/// The setting that says which file a server has used last.
const FILE: &str = "server_file";

/// Most findings of a check that are reported.
const FINDINGS: usize = 5;

/// Whether a server uses the file, as the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqliteFileUsage {
    /// A server has opened it and did not close it yet, or never will.
    Running,
    /// The same, but a command came first after it had died, and wrote the log back.
    Recovered,
    /// The last server closed it in order.
    Stopped,
    /// It was made for a backup.
    Copied,
}

impl SqliteFileUsage {
    const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Recovered => "recovered",
            Self::Stopped => "stopped",
            Self::Copied => "copied",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Running, Self::Recovered, Self::Stopped, Self::Copied]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// The file is not a whole database. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database file {path} is damaged ({finding}). It is not opened, and nothing was changed: restore a backup with `herald restore FILE --replace`, which keeps the damaged file beside it (docs/backup.md). A copy of a file in use is no backup: `herald backup FILE` makes one"
)]
pub struct DamagedDatabaseFileError {
    pub path: String,
    pub finding: String,
}

/// Why a file was not used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseFileCheckError {
    #[error(transparent)]
    Damaged(#[from] DamagedDatabaseFileError),
    #[error("the database file cannot be read")]
    Store(#[from] StoreError),
}

/// The path in the address of a SQLite database; none: it is another one's.
pub fn path_of(url: &SecretString) -> Option<PathBuf> {
    let path = url.expose_secret().strip_prefix("sqlite:")?;
    let path = path.trim_start_matches("//");
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Some(PathBuf::from(path))
}

/// The files as they were before opening: opening creates a log, or applies one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteFilePresence {
    /// There was a database.
    pub has_data: bool,
    pub has_log: bool,
}

impl SqliteFilePresence {
    /// Looks at the files.
    pub fn look(path: &Path) -> Self {
        let filled = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() > 0);
        Self {
            has_data: filled(path),
            has_log: filled(&log_of(path)),
        }
    }
}

/// The file with the inbox of callbacks that belongs to a database file: `herald.sqlite.inbox`.
pub fn inbox_of(path: &Path) -> PathBuf {
    whole_file::beside(path, "inbox")
}

/// The write-ahead log of a database file.
pub fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// The result of a check before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqliteFileCondition {
    Sound,
    /// Whole as it is, but not the file that was left: a backup's, a copy's, or one that
    /// misses what its log held.
    Copy,
}

/// Both files of a database as they were before opening.
#[derive(Clone, Debug)]
pub struct SqliteDatabasePresence {
    path: PathBuf,
    main: SqliteFilePresence,
    inbox: SqliteFilePresence,
}

impl SqliteDatabasePresence {
    /// Looks at the files.
    pub fn look(path: PathBuf) -> Self {
        Self {
            main: SqliteFilePresence::look(&path),
            inbox: SqliteFilePresence::look(&inbox_of(&path)),
            path,
        }
    }
}

/// Checks the files of a database before they are used.
pub async fn check(
    store: &Store,
    before: &SqliteDatabasePresence,
) -> Result<SqliteFileCondition, DatabaseFileCheckError> {
    let SqliteDatabasePresence { path, main, inbox } = before;
    let inbox_path = inbox_of(path);
    let condition = check_file(store, path, *main).await?;
    let of_inbox = check_file(store.inbox(), &inbox_path, *inbox).await?;
    let is_used = stored_use(store.reader()).await?.is_some();
    let is_inbox_used = stored_use(store.inbox().reader()).await?.is_some();
    // As after a restore that was interrupted: an empty database must not take its place, also not one
    // that an earlier attempt has made. A server notes its use in the main file first.
    if is_inbox_used && !is_used {
        return Err(DamagedDatabaseFileError {
            path: path.display().to_string(),
            finding: format!(
                "it is missing or empty, while {} was used with one",
                inbox_path.display()
            ),
        }
        .into());
    }
    // It notes which files it uses when both have been in use.
    let is_other = !is_inbox_used && stored(store.reader(), FILE).await?.is_some();
    if is_other {
        tracing::error!(
            event = "database.inbox_missing",
            file = %inbox_path.display(),
            "the file with the callbacks is missing, or is empty: those that were not applied are lost. Both files are needed to move a database; `herald backup` copies both"
        );
    }
    let is_copy = is_other || of_inbox == SqliteFileCondition::Copy;
    Ok(if is_copy {
        SqliteFileCondition::Copy
    } else {
        condition
    })
}

/// Checks a file that was not closed in order, before it is used: reads all of it.
async fn check_file(
    store: &Store,
    path: &Path,
    before: SqliteFilePresence,
) -> Result<SqliteFileCondition, DatabaseFileCheckError> {
    if !before.has_data {
        return Ok(SqliteFileCondition::Sound);
    }
    // Unreadable parts are found below.
    let state = stored_use(store.reader()).await.ok().flatten();
    let is_other = is_other_file(store.reader(), path).await;
    if state == Some(SqliteFileUsage::Stopped) {
        return Ok(if is_other {
            SqliteFileCondition::Copy
        } else {
            SqliteFileCondition::Sound
        });
    }
    // A dead server leaves its log; without it, pages may be of different times.
    let without_log = state == Some(SqliteFileUsage::Running) && !before.has_log;
    let megabytes = fs::metadata(path).map_or(0, |file| file.len() / 1_000_000);
    tracing::info!(
        event = "database.checking",
        megabytes,
        "the database was not shut down cleanly: checking all of it before use"
    );
    let started = Instant::now();
    whole(store.reader(), path, without_log).await?;
    tracing::info!(
        event = "database.checked",
        seconds = started.elapsed().as_secs(),
        "database check passed"
    );
    Ok(
        if without_log || is_other || state == Some(SqliteFileUsage::Copied) {
            SqliteFileCondition::Copy
        } else {
            SqliteFileCondition::Sound
        },
    )
}

/// Reads all of a database; `every_index`: compares indexes with their tables, too.
pub async fn whole(
    connection: &impl ConnectionTrait,
    path: &Path,
    every_index: bool,
) -> Result<(), DatabaseFileCheckError> {
    let damaged = |finding: String| DamagedDatabaseFileError {
        path: path.display().to_string(),
        finding,
    };
    let check = if every_index {
        "integrity_check"
    } else {
        "quick_check"
    };
    let found = match query(connection, format!("PRAGMA {check}(5)"), []).await {
        Ok(found) => found,
        Err(error) if error.is_damage() => {
            return Err(damaged("SQLite calls it malformed".to_owned()).into());
        }
        Err(error) => return Err(error.into()),
    };
    let mut findings = Vec::new();
    for row in found.iter().take(FINDINGS) {
        findings.push(column::<String>(row, check)?);
    }
    if findings == ["ok"] {
        Ok(())
    } else {
        Err(damaged(findings.join("; ")).into())
    }
}

/// Whether the file could not even be opened because it is damaged.
pub fn is_damage_at_open(error: &sea_orm::sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sea_orm::sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// Tells a file from its copies: its inode number and the time that the inode was created. `None`
/// where the file system does not keep that time: there, numbers may change by themselves.
fn identity(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    let made = file.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", file.ino(), made.as_nanos()))
}

/// Whether the last server used another file than this one, as far as can be known.
async fn is_other_file(connection: &impl ConnectionTrait, path: &Path) -> bool {
    match stored(connection, FILE).await {
        Ok(Some(last)) if !last.is_empty() => identity(path).is_some_and(|file| file != last),
        _ => false,
    }
}

/// Stores which files a server uses, for the next start.
pub async fn put_identity(store: &Store, path: &Path, now: Timestamp) -> Result<(), StoreError> {
    put_file_identity(store, path, now).await?;
    put_file_identity(store.inbox(), &inbox_of(path), now).await
}

async fn put_file_identity(store: &Store, path: &Path, now: Timestamp) -> Result<(), StoreError> {
    // Where there is no identity, an older one must not be taken for this file's.
    let identity = identity(path).unwrap_or_default();
    if stored(store.reader(), FILE).await?.as_deref() == Some(&identity) {
        return Ok(());
    }
    let values = [FILE.into(), now.micros().into(), identity.into()];
    store.write_alone(setting::PUT, values).await?;
    Ok(())
}

async fn stored_use(
    connection: &impl ConnectionTrait,
) -> Result<Option<SqliteFileUsage>, StoreError> {
    let text = stored(connection, USE).await?;
    Ok(text.as_deref().and_then(SqliteFileUsage::parse))
}

/// A setting of a database that may have none yet.
async fn stored(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let there = query_one(
        connection,
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'setting'",
        [],
    )
    .await?;
    if there.is_none() {
        return Ok(None);
    }
    setting::get(connection, name).await
}

/// Stores whether a server uses the files, in the files themselves and not only in their logs.
pub async fn put_use(
    store: &Store,
    state: SqliteFileUsage,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !store.is_sqlite() {
        return Ok(());
    }
    for file in store.files() {
        let values = [USE.into(), now.micros().into(), state.name().into()];
        file.write_alone(setting::PUT, values).await?;
        query_one(file.raw_writer(), "PRAGMA wal_checkpoint(PASSIVE)", []).await?;
    }
    Ok(())
}

/// The same in a file that nothing else uses.
pub(super) async fn put_use_in(
    connection: &impl ConnectionTrait,
    state: SqliteFileUsage,
    now: Timestamp,
) -> Result<(), StoreError> {
    setting::put(connection, USE, state.name(), now).await
}

/// Records that a command was the first to open a file after its server had died: it applies the log,
/// and the next server must not take the file for a copy without one. The lock of both files is that of
/// the main one, at `path`.
pub(super) async fn note_recovery(
    store: &Store,
    path: &Path,
    before: SqliteFilePresence,
) -> Result<(), StoreError> {
    if !before.has_log {
        return Ok(());
    }
    // Held until it is written: no server starts meanwhile.
    let Some(_lock) = try_lock(path) else {
        return Ok(());
    };
    if stored_use(store.reader()).await? == Some(SqliteFileUsage::Running) {
        // The schema may be older than this program, so it is no transaction of ours.
        let values = [SqliteFileUsage::Recovered.name().into(), USE.into()];
        let sql = "UPDATE setting SET value = $1 WHERE name = $2";
        store.write_alone(sql, values).await?;
    }
    Ok(())
}

/// Removes what SQLite keeps beside a file that is gone: it must not be taken for another's.
pub fn remove_companions(path: &Path) -> std::io::Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    whole_file::sync_folder(path)
}
