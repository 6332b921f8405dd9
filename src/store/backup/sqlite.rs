//! Backups of a SQLite file.

use std::path::Path;

use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr, SqlxSqliteConnector,
    sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{BackupError, BackupManifest, aside, blocking, facts, manifest::BackupDatabaseKind};
use crate::{
    domain::{hold::SendingHold, time::Timestamp},
    store::{
        StoreError,
        connect::{DatabaseOpenError, try_lock},
        dialect::{column, execute, query_one},
        hold,
        sqlite_file::{self, SqliteFileUsage},
        whole_file,
    },
};

/// The database in the archive.
const NAME: &str = "database.sqlite";

/// Another program may hold the lock this long.
const BUSY: std::time::Duration = std::time::Duration::from_secs(30);

/// One connection to a file that is there.
async fn open(path: &Path) -> Result<DatabaseConnection, BackupError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .map_err(|error| {
            DatabaseOpenError::Connect(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
        })?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

async fn close(connection: DatabaseConnection) -> Result<(), BackupError> {
    Ok(connection.close().await.map_err(StoreError::from)?)
}

/// Copies a database that may be in use into an empty file, and reads the copy whole.
///
/// `VACUUM INTO` is one read transaction: writers go on beside it.
pub(super) async fn copy(
    path: &Path,
    to: &Path,
    now: Timestamp,
) -> Result<(BackupManifest, &'static str, String), BackupError> {
    if !path.exists() {
        return Err(BackupError::NoDatabase(path.display().to_string()));
    }
    let source = open(path).await?;
    let into = to.to_string_lossy().into_owned();
    execute(&source, "VACUUM INTO $1", [into.into()]).await?;
    close(source).await?;
    let copy = open(to).await?;
    sqlite_file::whole(&copy, to, false).await?;
    // A server that starts on it without `herald restore` starts on hold as well.
    sqlite_file::put_use_in(&copy, SqliteFileUsage::Copied, now).await?;
    let manifest = facts(&copy, BackupDatabaseKind::Sqlite, now).await?;
    let version = query_one(&copy, "SELECT sqlite_version() AS version", []).await?;
    let version: String = version.map_or(Ok(String::new()), |row| column(&row, "version"))?;
    close(copy).await?;
    Ok((manifest, NAME, format!("SQLite {version}")))
}

/// Puts the database of an archive in the place of a file, which is kept aside.
pub(super) async fn restore(
    archive: &Path,
    path: &Path,
    replace: bool,
    held: &SendingHold,
    now: Timestamp,
) -> Result<Option<String>, BackupError> {
    let there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if there && !replace {
        return Err(BackupError::NotEmpty);
    }
    let folder = whole_file::folder_of(path);
    std::fs::create_dir_all(folder).map_err(|error| BackupError::file(folder, error))?;
    // Held to the end: no server starts meanwhile.
    let Some(_lock) = try_lock(path) else {
        return Err(BackupError::InUse);
    };
    let next = whole_file::ScratchFile(whole_file::beside(
        path,
        &format!("restore-{}", std::process::id()),
    ));
    let (from, to) = (archive.to_owned(), next.0.clone());
    blocking(move || super::archive::extract(&from, NAME, &to)).await?;
    let restored = open(&next.0).await?;
    sqlite_file::whole(&restored, &next.0, false).await?;
    hold::replace(&restored, held, now).await?;
    sqlite_file::put_use_in(&restored, SqliteFileUsage::Stopped, now).await?;
    close(restored).await?;
    let kept = if there { Some(aside(path, now)) } else { None };
    if there {
        write_log_back(path).await;
    }
    let (path, kept_at) = (path.to_owned(), kept.clone());
    blocking(move || {
        let failed = |error| BackupError::file(&path, error);
        std::fs::File::open(&next.0)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
        if let Some(kept) = &kept_at {
            put_aside(&path, kept).map_err(failed)?;
        }
        // A log of the old file would be taken for one of the new.
        sqlite_file::remove_companions(&path).map_err(failed)?;
        whole_file::put_in_place(&next.0, &path).map_err(failed)
    })
    .await?;
    Ok(kept.map(|kept| kept.display().to_string()))
}

/// Writes the old file's log back, so that the file alone is all of it. A damaged one has
/// to be kept as it is.
async fn write_log_back(path: &Path) {
    if let Ok(old) = open(path).await {
        drop(query_one(&old, "PRAGMA wal_checkpoint(TRUNCATE)", []).await);
        drop(old.close().await);
    }
}

/// Renames the old file, its log first: without its database it is of no harm, and the
/// database without it would miss something.
fn put_aside(path: &Path, kept: &Path) -> std::io::Result<()> {
    let log = sqlite_file::log_of(path);
    if log.exists() {
        std::fs::rename(&log, sqlite_file::log_of(kept))?;
    }
    whole_file::put_in_place(path, kept)
}
