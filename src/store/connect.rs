//! Opens the database. Durability is set here, and nowhere weaker.

mod postgres;
mod sqlite;

use std::{io::ErrorKind, path::Path, time::Duration};

use sea_orm::{DbErr, sqlx};
use secrecy::{ExposeSecret, SecretString};

use self::{
    postgres::open_postgres,
    sqlite::{OPENING, open_unlocked},
};
use super::{Store, StoreError, sqlite_file::DamagedDatabaseFileError, sqlx_error};

pub(super) use self::sqlite::try_lock;

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
