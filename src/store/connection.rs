//! One connection to the database. Every call on it has a deadline, and an error says whether the
//! connection can be used again.

use std::{future::Future, io, time::Duration};

use sea_orm::{
    DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sea_query::Values,
    sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, Row, SqliteConnection},
};
use sea_query_sqlx::SqlxValues;

/// A connection of either database.
#[derive(Debug)]
pub(super) enum StoreConnection {
    Sqlite(SqliteConnection),
    Postgres {
        connection: Box<PgConnection>,
        /// A call without an answer fails after this: the server's host may have vanished
        /// without a word, and TCP alone would wait for many minutes.
        patience: Duration,
        /// A pooler in transaction mode stands between: settings and statements last for one
        /// transaction.
        pooled: bool,
    },
}

/// Why a call on a connection failed.
#[derive(Debug)]
pub(super) struct StoreConnectionError(pub sqlx::Error);

impl From<sqlx::Error> for StoreConnectionError {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl StoreConnectionError {
    /// The statement was refused and the connection is as good as before. Any other error leaves
    /// the connection in an unknown state.
    pub(super) fn leaves_connection_usable(&self) -> bool {
        match &self.0 {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some(code) if code.len() < 5 => !leaves_doubt(code),
                code => !is_server_gone(code),
            },
            sqlx::Error::RowNotFound
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. } => true,
            _ => false,
        }
    }

    /// The server is gone, silent, or no longer the one that may be written to: connections
    /// made before are not to be used.
    pub(super) fn condemns_other_connections(&self) -> bool {
        match &self.0 {
            sqlx::Error::Io(error) => error.kind() == io::ErrorKind::TimedOut,
            sqlx::Error::Database(error) => is_server_gone(error.code().as_deref()),
            _ => false,
        }
    }

    /// SQLite: another connection holds the lock (SQLITE_BUSY, SQLITE_LOCKED).
    pub(super) fn is_busy(&self) -> bool {
        match &self.0 {
            sqlx::Error::Database(error) => error
                .code()
                .filter(|code| code.len() < 5)
                .and_then(|code| code.parse::<u32>().ok())
                .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
            _ => false,
        }
    }

    pub(super) fn into_query_error(self) -> DbErr {
        DbErr::Query(RuntimeErr::SqlxError(self.0.into()))
    }

    pub(super) fn into_exec_error(self) -> DbErr {
        DbErr::Exec(RuntimeErr::SqlxError(self.0.into()))
    }
}

/// SQLite may end a transaction by itself at NOMEM, INTERRUPT, IOERR, CORRUPT, FULL ("Response To
/// Errors Within A Transaction"), and cannot be trusted after CANTOPEN, MISUSE or NOTADB. After READONLY
/// neither: a connection that was opened while the file system took no writes refuses them for good.
fn leaves_doubt(code: &str) -> bool {
    code.parse::<u32>().map_or(true, |code| {
        matches!(code & 0xff, 7 | 8 | 9 | 10 | 11 | 13 | 14 | 21 | 26)
    })
}

/// PostgreSQL, appendix A: 57P01 to 57P03 and 57P05 end the session, 25006 comes from a server that
/// has become a standby, class 08 is the connection itself.
fn is_server_gone(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25006")
            || (code.len() == 5 && code.starts_with("08"))
    })
}

/// A query of sqlx's, of either database, made of a statement of sea-orm's. Kept prepared or not:
/// sqlx gives a prepared statement a name even where it has no room to remember it.
macro_rules! query {
    ($statement:expr, persistent = $persistent:expr) => {
        sqlx::query_with(
            AssertSqlSafe($statement.sql),
            SqlxValues($statement.values.unwrap_or(Values(Vec::new()))),
        )
        .persistent($persistent)
    };
}

impl StoreConnection {
    pub(super) const fn backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres { .. } => DbBackend::Postgres,
        }
    }

    /// Whether statements need a transaction to get the session's settings.
    pub(super) const fn is_pooled(&self) -> bool {
        matches!(self, Self::Postgres { pooled: true, .. })
    }

    pub(super) async fn execute(
        &mut self,
        statement: Statement,
    ) -> Result<ExecResult, StoreConnectionError> {
        match self {
            Self::Sqlite(connection) => Ok(query!(statement, persistent = true)
                .execute(&mut *connection)
                .await?
                .into()),
            Self::Postgres {
                connection,
                patience,
                pooled,
            } => {
                let call = query!(statement, persistent = !*pooled).execute(&mut **connection);
                Ok(within(*patience, call).await?.into())
            }
        }
    }

    pub(super) async fn query_one(
        &mut self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, StoreConnectionError> {
        match self {
            Self::Sqlite(connection) => Ok(query!(statement, persistent = true)
                .fetch_optional(&mut *connection)
                .await?
                .map(Into::into)),
            Self::Postgres {
                connection,
                patience,
                pooled,
            } => {
                let call =
                    query!(statement, persistent = !*pooled).fetch_optional(&mut **connection);
                Ok(within(*patience, call).await?.map(Into::into))
            }
        }
    }

    pub(super) async fn query_all(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<QueryResult>, StoreConnectionError> {
        match self {
            Self::Sqlite(connection) => {
                let rows = query!(statement, persistent = true)
                    .fetch_all(&mut *connection)
                    .await?;
                Ok(rows.into_iter().map(Into::into).collect())
            }
            Self::Postgres {
                connection,
                patience,
                pooled,
            } => {
                let call = query!(statement, persistent = !*pooled).fetch_all(&mut **connection);
                let rows = within(*patience, call).await?;
                Ok(rows.into_iter().map(Into::into).collect())
            }
        }
    }

    /// Runs statements that are not kept prepared, one after the other, in one trip.
    pub(super) async fn script(&mut self, sql: &str) -> Result<ExecResult, StoreConnectionError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => Ok(script.execute(&mut *connection).await?.into()),
            Self::Postgres {
                connection,
                patience,
                ..
            } => Ok(within(*patience, script.execute(&mut **connection))
                .await?
                .into()),
        }
    }

    /// The same for a script that answers one row, with a `number`. On SQLite only.
    pub(super) async fn number(&mut self, sql: &'static str) -> Result<i64, StoreConnectionError> {
        match self {
            Self::Sqlite(connection) => {
                let rows = sqlx::raw_sql(sql).fetch_all(&mut *connection).await?;
                let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
                Ok(row.try_get("number")?)
            }
            Self::Postgres { .. } => Err(StoreConnectionError(sqlx::Error::RowNotFound)),
        }
    }

    /// Whether the other side answers at all.
    pub(super) async fn ping(&mut self, within_time: Duration) -> Result<(), StoreConnectionError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.ping().await?),
            Self::Postgres { connection, .. } => within(within_time, connection.ping()).await,
        }
    }

    /// Ends the connection in order, when nothing is wrong with it.
    pub(super) async fn close(self) {
        // An error of a server that is being left does not matter.
        match self {
            Self::Sqlite(connection) => drop(connection.close().await),
            Self::Postgres {
                connection,
                patience,
                ..
            } => drop(within(patience, connection.close()).await),
        }
    }
}

/// A call that fails when it has no answer in time.
pub(super) async fn within<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreConnectionError> {
    match tokio::time::timeout(patience, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreConnectionError(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the database did not answer within {patience:?}"),
        )))),
    }
}
