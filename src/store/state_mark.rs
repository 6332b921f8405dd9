//! The external state mark (`HERALD_STATE_MARK`): a file, or a table in a second PostgreSQL
//! database. The database's own mark is always committed first, so that the external one is never
//! ahead of a database that has lost nothing.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, SqlxPostgresConnector,
    sqlx::postgres::{PgConnectOptions, PgPoolOptions},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    ConnectionTrait, StoreError,
    dialect::{column, execute, query_one},
    whole_file,
};

/// The first line of a mark's file.
const HEAD: &str = "herald state mark 1";

/// The second database may take this long to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Why the mark could not be read or written. The address is left out: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum StateMarkError {
    #[error("HERALD_STATE_MARK: the address of the database cannot be understood")]
    Address(#[source] sea_orm::sqlx::Error),
    #[error("HERALD_STATE_MARK: {0} cannot be used")]
    File(String, #[source] io::Error),
    #[error("HERALD_STATE_MARK: {0} is not a mark of Herald's")]
    Unreadable(String),
    #[error("HERALD_STATE_MARK: {0} is the mark of another installation")]
    Foreign(String),
    #[error("HERALD_STATE_MARK: the second database cannot do it now")]
    Database(#[source] StoreError),
    #[error("HERALD_STATE_MARK: the second database gives no answer")]
    Silent,
}

impl From<StoreError> for StateMarkError {
    fn from(error: StoreError) -> Self {
        Self::Database(error)
    }
}

/// Where the mark is kept outside.
#[derive(Clone, Debug)]
pub enum StateMarkLocation {
    File(PathBuf),
    Database(DatabaseConnection),
}

impl StateMarkLocation {
    /// The place that the setting names. Connects to nothing yet.
    pub fn open(place: &SecretString) -> Result<Self, StateMarkError> {
        let place = place.expose_secret();
        if !place.starts_with("postgres://") && !place.starts_with("postgresql://") {
            return Ok(Self::File(PathBuf::from(place)));
        }
        let options = PgConnectOptions::from_str(place)
            .map_err(StateMarkError::Address)?
            .application_name("herald state mark");
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ANSWERS_WITHIN)
            .connect_lazy_with(options);
        Ok(Self::Database(
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool),
        ))
    }

    /// The mark of this installation; none: there never was one.
    pub async fn read(&self, installation: Uuid) -> Result<Option<i64>, StateMarkError> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                blocking(move || read_file(&path, installation)).await
            }
            Self::Database(connection) => {
                in_time(async {
                    make_table(connection).await?;
                    let row = query_one(
                        connection,
                        "SELECT mark FROM herald_state_mark WHERE installation = $1",
                        [installation.to_string().into()],
                    )
                    .await?;
                    Ok(row.map(|row| column(&row, "mark")).transpose()?)
                })
                .await
            }
        }
    }

    /// Moves the mark on; it never goes back.
    pub async fn write(&self, installation: Uuid, mark: i64) -> Result<(), StateMarkError> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                blocking(move || write_file(&path, installation, mark)).await
            }
            Self::Database(connection) => {
                in_time(async {
                    make_table(connection).await?;
                    execute(
                        connection,
                        "INSERT INTO herald_state_mark (installation, mark) VALUES ($1, $2) \
                         ON CONFLICT (installation) DO UPDATE SET \
                         mark = greatest(herald_state_mark.mark, excluded.mark), written_at = now()",
                        [installation.to_string().into(), mark.into()],
                    )
                    .await?;
                    Ok(())
                })
                .await
            }
        }
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, StateMarkError>>,
) -> Result<T, StateMarkError> {
    tokio::time::timeout(ANSWERS_WITHIN, work)
        .await
        .unwrap_or(Err(StateMarkError::Silent))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateMarkError> + Send + 'static,
) -> Result<T, StateMarkError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(StateMarkError::Silent))
}

async fn make_table(connection: &impl ConnectionTrait) -> Result<(), StoreError> {
    // Checked first: creating what exists needs a privilege and takes a lock.
    let there = query_one(
        connection,
        "SELECT to_regclass('herald_state_mark') IS NOT NULL AS present",
        [],
    )
    .await?;
    if there.map_or(Ok(false), |row| column(&row, "present"))? {
        return Ok(());
    }
    execute(
        connection,
        "CREATE TABLE IF NOT EXISTS herald_state_mark (installation text PRIMARY KEY, \
         mark bigint NOT NULL, written_at timestamptz NOT NULL DEFAULT now())",
        [],
    )
    .await?;
    Ok(())
}

fn read_file(path: &Path, installation: Uuid) -> Result<Option<i64>, StateMarkError> {
    let name = || path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A folder that is not there is a mistake or a disk that is not mounted.
            let folder = whole_file::folder_of(path);
            return if folder.is_dir() {
                Ok(None)
            } else {
                Err(StateMarkError::File(name(), error))
            };
        }
        Err(error) => return Err(StateMarkError::File(name(), error)),
    };
    let mut lines = text.lines();
    let (Some(HEAD), Some(owner), Some(mark)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(StateMarkError::Unreadable(name()));
    };
    let mark = mark
        .parse()
        .map_err(|_unreadable| StateMarkError::Unreadable(name()))?;
    if owner != installation.to_string() {
        return Err(StateMarkError::Foreign(name()));
    }
    Ok(Some(mark))
}

fn write_file(path: &Path, installation: Uuid, mark: i64) -> Result<(), StateMarkError> {
    if read_file(path, installation)?.is_some_and(|kept| kept >= mark) {
        return Ok(());
    }
    let put = || -> io::Result<()> {
        // Of this process: several may keep one mark.
        let next = whole_file::beside(path, &format!("{}.next", std::process::id()));
        let mut file = whole_file::create_private(&next)?;
        write!(file, "{HEAD}\n{installation}\n{mark}\n")?;
        file.sync_all()?;
        whole_file::put_in_place(&next, path)
    };
    put().map_err(|error| StateMarkError::File(path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{StateMarkError, read_file, write_file};

    #[test]
    fn a_mark_never_goes_back_and_is_of_one_installation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let (ours, theirs) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(read_file(&path, ours).unwrap(), None);
        write_file(&path, ours, 7).unwrap();
        write_file(&path, ours, 5).unwrap();
        assert_eq!(read_file(&path, ours).unwrap(), Some(7));
        let foreign = write_file(&path, theirs, 9);
        assert!(matches!(foreign, Err(StateMarkError::Foreign(_))));
        assert_eq!(read_file(&path, ours).unwrap(), Some(7));
    }

    #[test]
    fn a_missing_folder_and_a_torn_file_are_no_missing_mark() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Uuid::from_u128(1);
        let away = folder.path().join("not-mounted").join("mark");
        assert!(matches!(
            read_file(&away, ours),
            Err(StateMarkError::File(..))
        ));
        let torn = folder.path().join("mark");
        std::fs::write(&torn, "herald state").unwrap();
        assert!(matches!(
            read_file(&torn, ours),
            Err(StateMarkError::Unreadable(_))
        ));
    }
}
