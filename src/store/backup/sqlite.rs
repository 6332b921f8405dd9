//! Backups of a SQLite file.

use std::path::{Path, PathBuf};

use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr, SqlxSqliteConnector,
    sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    BackupError, BackupFile, BackupManifest, aside, blocking, facts, manifest::BackupDatabaseKind,
    migrations,
};
use crate::{
    domain::{hold::SendingHold, time::Timestamp},
    store::{
        StoreError, callback,
        connect::{DatabaseOpenError, try_lock},
        dialect::{column, execute, query_one},
        hold,
        sqlite_file::{self, SqliteFileUsage},
        whole_file::{self, ScratchFile},
    },
};

/// The database in the archive.
const NAME: &str = "database.sqlite";

/// The inbox in the archive: so named, the two can be used where they are unpacked.
const INBOX_NAME: &str = "database.sqlite.inbox";

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

/// Where the two files of a database are copied to.
pub(super) struct DatabaseCopy {
    pub main: ScratchFile,
    pub inbox: ScratchFile,
}

/// Copies a database that may be in use into empty files, and reads the copies whole.
///
/// `VACUUM INTO` is one read transaction: writers go on beside it. The inbox comes second: it has every
/// callback that the main file has something of. What was applied after the copy of the main file is
/// applied again by the next server.
pub(super) async fn copy(
    path: &Path,
    to: DatabaseCopy,
    now: Timestamp,
) -> Result<(BackupManifest, Vec<BackupFile>), BackupError> {
    if !path.exists() {
        return Err(BackupError::NoDatabase(path.display().to_string()));
    }
    let main = copy_file(path, &to.main.0, now).await?;
    let inbox = copy_file(&sqlite_file::inbox_of(path), &to.inbox.0, now).await?;
    callback::rely_on_nothing(&inbox).await?;
    let mut manifest = facts(&main, BackupDatabaseKind::Sqlite, now).await?;
    manifest.migrations.extend(migrations(&inbox).await?);
    manifest.migrations.sort();
    let version = query_one(&main, "SELECT sqlite_version() AS version", []).await?;
    let version: String = version.map_or(Ok(String::new()), |row| column(&row, "version"))?;
    close(main).await?;
    close(inbox).await?;
    let file = |name, content| BackupFile {
        name,
        content,
        written_by: format!("SQLite {version}"),
    };
    let files = vec![file(NAME, to.main), file(INBOX_NAME, to.inbox)];
    Ok((manifest, files))
}

async fn copy_file(
    path: &Path,
    to: &Path,
    now: Timestamp,
) -> Result<DatabaseConnection, BackupError> {
    let source = open(path).await?;
    let into = to.to_string_lossy().into_owned();
    execute(&source, "VACUUM INTO $1", [into.into()]).await?;
    close(source).await?;
    let copy = open(to).await?;
    sqlite_file::whole(&copy, to, false).await?;
    // A server that starts on it without `herald restore` starts on hold as well.
    sqlite_file::put_use_in(&copy, SqliteFileUsage::Copied, now).await?;
    Ok(copy)
}

/// Puts the database of an archive in the place of the files at `path`, which are kept aside.
pub(super) async fn restore(
    archive: &Path,
    path: &Path,
    replace: bool,
    held: &SendingHold,
    now: Timestamp,
) -> Result<Option<String>, BackupError> {
    // Either of them: the inbox alone may have callbacks that were not applied.
    let old_inbox = sqlite_file::inbox_of(path);
    let is_filled = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let there = is_filled(path) || is_filled(&old_inbox);
    if there && !replace {
        return Err(BackupError::NotEmpty);
    }
    let folder = whole_file::folder_of(path);
    std::fs::create_dir_all(folder).map_err(|error| BackupError::file(folder, error))?;
    // Held to the end: no server starts meanwhile.
    let Some(_lock) = try_lock(path) else {
        return Err(BackupError::InUse);
    };
    let main = extract(archive, NAME, path).await?;
    let inbox = extract(archive, INBOX_NAME, &old_inbox).await?;
    for (file, held) in [(&main, Some(held)), (&inbox, None)] {
        let restored = open(&file.0).await?;
        sqlite_file::whole(&restored, &file.0, false).await?;
        if let Some(held) = held {
            hold::replace(&restored, held, now).await?;
        }
        sqlite_file::put_use_in(&restored, SqliteFileUsage::Stopped, now).await?;
        close(restored).await?;
    }
    let kept = if there { Some(aside(path, now)) } else { None };
    // The main file is taken away first and comes last: without it, no server starts with half of a
    // database.
    put_aside(path, kept.clone()).await?;
    put_aside(&old_inbox, kept.as_deref().map(sqlite_file::inbox_of)).await?;
    put_in_place(inbox, old_inbox).await?;
    put_in_place(main, path.to_owned()).await?;
    let kept = kept.map(|kept| {
        if kept.exists() {
            kept
        } else {
            sqlite_file::inbox_of(&kept)
        }
    });
    Ok(kept.map(|kept| kept.display().to_string()))
}

/// Writes a file of an archive beside the place that it is for.
async fn extract(
    archive: &Path,
    name: &'static str,
    place: &Path,
) -> Result<ScratchFile, BackupError> {
    let next = ScratchFile(whole_file::beside(
        place,
        &format!("restore-{}", std::process::id()),
    ));
    let (from, to) = (archive.to_owned(), next.0.clone());
    let manifest = blocking(move || super::archive::extract(&from, name, &to)).await?;
    if manifest.files.iter().all(|file| file.name != name) {
        return Err(BackupError::Damaged {
            path: archive.display().to_string(),
            finding: format!("it has no {name}"),
        });
    }
    Ok(next)
}

/// Renames a file that is ready to where it belongs.
async fn put_in_place(next: ScratchFile, place: PathBuf) -> Result<(), BackupError> {
    blocking(move || {
        let put = || {
            std::fs::File::open(&next.0)?.sync_all()?;
            // A log of the old file would be taken for one of the new.
            sqlite_file::remove_companions(&place)?;
            whole_file::put_in_place(&next.0, &place)
        };
        put().map_err(|error| BackupError::file(&place, error))
    })
    .await
}

/// Keeps a file that is there under another name, if it is to be kept.
async fn put_aside(path: &Path, kept: Option<PathBuf>) -> Result<(), BackupError> {
    let Some(kept) = kept.filter(|_| path.exists()) else {
        return Ok(());
    };
    write_log_back(path).await;
    let path = path.to_owned();
    blocking(move || rename_with_log(&path, &kept).map_err(|error| BackupError::file(&path, error)))
        .await
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
fn rename_with_log(path: &Path, kept: &Path) -> std::io::Result<()> {
    let log = sqlite_file::log_of(path);
    if log.exists() {
        std::fs::rename(&log, sqlite_file::log_of(kept))?;
    }
    whole_file::put_in_place(path, kept)
}
