//! Makes backups, one archive with a manifest, while servers run, and restores them.

mod archive;
mod manifest;
mod postgres;
mod sqlite;

use std::{
    io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

pub use archive::verify;
pub use manifest::{BackupDatabaseKind, BackupManifest};

use super::{
    ConnectionTrait, StoreError,
    connect::DatabaseOpenError,
    dialect::{column, query},
    lineage,
    migrate::{self, ForeignSchemaError},
    setting,
    sqlite_file::{self, DatabaseFileCheckError},
    whole_file,
};
use crate::domain::{
    hold::{HoldReason, SendingHold},
    time::Timestamp,
};

/// The setting whose ciphertext names the secret key.
const KEY_CHECK: &str = "secret_key_check";

/// Why a backup was not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} is there already: choose another name, or overwrite it with --force")]
    Exists(String),
    #[error("{0} cannot be used")]
    File(String, #[source] io::Error),
    #[error("the backup {path} is damaged: {finding}. Nothing was changed")]
    Damaged { path: String, finding: String },
    #[error(
        "the backup is of format {0}, which is newer than this program: use the version that made it, or a later one"
    )]
    NewerFormat(u32),
    #[error(
        "the backup's schema is newer than this program ({0}): use the version that made it, or a later one"
    )]
    NewerSchema(String),
    #[error(
        "the backup is of a database from before the schema's baseline ({0}), and no migration leads from there to this version: restore it with the version of Herald that made it"
    )]
    OlderSchema(String),
    #[error("the backup is of {}, and DATABASE_URL names {}", .of.title(), .here.title())]
    OtherKind {
        of: BackupDatabaseKind,
        here: BackupDatabaseKind,
    },
    #[error(
        "there is a database at DATABASE_URL: with --replace it is kept aside, and the backup takes its place"
    )]
    NotEmpty,
    #[error("there is no database at {0}")]
    NoDatabase(String),
    #[error(
        "a herald process uses this database: stop every `herald serve` first, and a pooler that keeps connections of theirs open"
    )]
    InUse,
    #[error(
        "{0} cannot be run: install PostgreSQL's client programs of the server's version, or take base backups and archive the log (docs/backup.md)"
    )]
    NoProgram(&'static str, #[source] io::Error),
    #[error("{program} has failed: {said}")]
    Program { program: &'static str, said: String },
    #[error(transparent)]
    Check(#[from] DatabaseFileCheckError),
    #[error(transparent)]
    Open(#[from] DatabaseOpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the work was broken off")]
    BrokenOff,
}

impl BackupError {
    fn file(path: &Path, error: io::Error) -> Self {
        Self::File(path.display().to_string(), error)
    }

    /// Whether the backup, or a database, is damaged.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Check(DatabaseFileCheckError::Damaged(_))
        )
    }

    /// The database error, if that is the cause.
    pub const fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Check(DatabaseFileCheckError::Store(error)) | Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// Runs work with files beside the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(BackupError::BrokenOff))
}

/// Which database an address names.
fn kind_of(url: &SecretString) -> BackupDatabaseKind {
    if sqlite_file::path_of(url).is_some() {
        BackupDatabaseKind::Sqlite
    } else {
        BackupDatabaseKind::Postgresql
    }
}

/// The facts of a database for its manifest.
async fn facts(
    connection: &impl ConnectionTrait,
    database: BackupDatabaseKind,
    now: Timestamp,
) -> Result<BackupManifest, StoreError> {
    let migrations = migrations(connection).await?;
    let check = setting::get(connection, KEY_CHECK).await?;
    Ok(BackupManifest {
        format: manifest::FORMAT,
        herald: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now.to_string(),
        database,
        installation: lineage::stored_installation(connection).await?,
        state_mark: lineage::mark(connection).await?,
        migrations,
        // `v1:KEY:NONCE:TEXT`; the first versions named no key.
        secret_key_id: check.and_then(|check| {
            let parts: Vec<&str> = check.split(':').collect();
            match parts.as_slice() {
                [_, key, _, _] => Some((*key).to_owned()),
                _ => None,
            }
        }),
        files: Vec::new(),
    })
}

/// The migrations that a database has, oldest first.
async fn migrations(connection: &impl ConnectionTrait) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT version FROM seaql_migrations ORDER BY version";
    let found = query(connection, sql, []).await?;
    found.iter().map(|row| column(row, "version")).collect()
}

/// Makes a backup of the database at `url` while servers run, and returns its manifest.
///
/// SQLite: copies of both files by SQLite itself, read completely before they are accepted. PostgreSQL: `pg_dump`,
/// whose table of contents `pg_restore` must be able to read. A failed backup leaves no file.
pub async fn make(
    url: &SecretString,
    target: &Path,
    overwrite: bool,
    now: Timestamp,
) -> Result<BackupManifest, BackupError> {
    if !overwrite && target.exists() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    let scratch = |what: &str| {
        let name = format!("{what}-{}", std::process::id());
        let scratch = whole_file::ScratchFile(whole_file::beside(target, &name));
        whole_file::create_private(&scratch.0)
            .map_err(|error| BackupError::file(&scratch.0, error))?;
        Ok::<_, BackupError>(scratch)
    };
    let (manifest, files) = match sqlite_file::path_of(url) {
        Some(path) => {
            let to = sqlite::DatabaseCopy {
                main: scratch("copy")?,
                inbox: scratch("inbox")?,
            };
            sqlite::copy(&path, to, now).await?
        }
        None => postgres::dump(url, scratch("copy")?, now).await?,
    };
    let target = target.to_owned();
    blocking(move || {
        let described: Result<Vec<_>, BackupError> = files
            .iter()
            .map(|file| archive::describe(file.name, &file.content.0, &file.written_by))
            .collect();
        let manifest = BackupManifest {
            files: described?,
            ..manifest
        };
        let paths: Vec<PathBuf> = files.iter().map(|file| file.content.0.clone()).collect();
        archive::write(&target, &manifest, &paths, now)?;
        Ok(manifest)
    })
    .await
}

/// A file to be put into an archive.
struct BackupFile {
    /// Its path in the archive.
    name: &'static str,
    content: whole_file::ScratchFile,
    /// The program that wrote it, with its version.
    written_by: String,
}

/// A backup that was put back.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    pub manifest: BackupManifest,
    /// Where the database of before is kept.
    pub kept: Option<String>,
}

/// Puts a backup in the place of the database at `url`. The archive is read whole first, and
/// sending is on hold when a server starts on it.
pub async fn restore(
    url: &SecretString,
    archive: &Path,
    replace: bool,
    now: Timestamp,
) -> Result<RestoreReport, BackupError> {
    let path = archive.to_owned();
    let manifest = blocking(move || verify(&path)).await?;
    let here = kind_of(url);
    if manifest.database != here {
        return Err(BackupError::OtherKind {
            of: manifest.database,
            here,
        });
    }
    match migrate::foreign(&manifest.migrations) {
        None => {}
        Some(ForeignSchemaError::Newer(name)) => return Err(BackupError::NewerSchema(name)),
        Some(ForeignSchemaError::Older(name)) => return Err(BackupError::OlderSchema(name)),
    }
    let held = SendingHold {
        reason: HoldReason::Restored,
        since: now,
        detail: Some(format!("made at {}", manifest.created_at)),
    };
    let kept = match sqlite_file::path_of(url) {
        Some(path) => sqlite::restore(archive, &path, replace, &held, now).await?,
        None => postgres::restore(url, archive, replace, &held, now).await?,
    };
    Ok(RestoreReport { manifest, kept })
}

/// The path of a file that is put aside: `FILE.before-restore-20261128T220000Z`.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    whole_file::beside(path, &format!("before-restore-{}", compact(now)))
}

/// A time that fits into a name.
fn compact(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    let mut compact: String = seconds
        .chars()
        .filter(|character| !matches!(character, '-' | ':'))
        .collect();
    compact.push('Z');
    compact
}
