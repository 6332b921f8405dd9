//! A write transaction on a connection of its own, begun and ended in plain SQL.
//!
//! sqlx counts the depth of transactions on a connection, and a ROLLBACK that fails leaves the
//! count unchanged: SQLite ends a transaction by itself when the disk is full, the ROLLBACK finds
//! none, and the next COMMIT then only releases a savepoint inside a transaction that is never
//! ended. A connection therefore returns to its pool only when the database has reported that no
//! transaction is open on it.

use std::sync::{
    self, Arc, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::Mutex;

use super::{
    StoreError,
    changes::PendingEvents,
    connection::{StoreConnection, StoreConnectionError},
    pool::{ConnectionLease, ConnectionPool, ConnectionSource},
};
use crate::domain::{own_event::HeraldEvent, time::Timestamp};

/// Ends a transaction that wrote, and counts it. SQLite refuses the last statement while a
/// transaction is open on the connection (pragma `synchronous`): that reads the
/// connection's autocommit flag. It must not be kept prepared, or nothing would be read.
const COMMIT_SQLITE: &str = "UPDATE commit_marker SET number = number + 1 RETURNING number; \
     COMMIT; PRAGMA synchronous = FULL";

/// The same for a transaction of which nothing stays.
const ROLLBACK_SQLITE: &str = "ROLLBACK; PRAGMA synchronous = FULL";

/// The trace of a commit that a reader can find. On SQLite only.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommitTrace {
    pub number: i64,
    pub generation: u64,
}

/// A transaction that is open. Dropped, its connection is closed, which ends it.
#[derive(Debug)]
pub struct Transaction {
    backend: DbBackend,
    state: Mutex<TransactionState>,
    statements: Arc<AtomicU64>,
    emitted: sync::Mutex<PendingEvents>,
}

#[derive(Debug)]
struct TransactionState {
    lease: ConnectionLease,
    /// A statement failed, or was not waited for: PostgreSQL has aborted the transaction, and SQLite
    /// may have ended it. Either way nothing more of it may be done.
    failed: bool,
    /// The connection cannot be used again.
    broken: bool,
}

impl Transaction {
    /// Begins a transaction that writes. SQLite takes the write lock at once.
    pub(super) async fn begin(
        pool: &ConnectionPool,
        statements: &Arc<AtomicU64>,
    ) -> Result<Self, DbErr> {
        let mut lease = pool.acquire().await?;
        let backend = lease.connection.backend();
        let begun = match pool.source() {
            ConnectionSource::Sqlite(_) => {
                // Refused by SQLite inside of a transaction: autocommit is verified with it.
                let begin = Statement::from_string(backend, "BEGIN IMMEDIATE");
                lease.connection.execute(begin).await
            }
            ConnectionSource::Postgres(cluster) => lease.connection.script(cluster.begin()).await,
        };
        if let Err(failure) = begun {
            if failure.is_busy() {
                lease.give_back();
            } else {
                lease.learn(&failure);
            }
            return Err(failure.into_query_error());
        }
        Ok(Self {
            backend,
            state: Mutex::new(TransactionState {
                lease,
                failed: false,
                broken: false,
            }),
            statements: Arc::clone(statements),
            emitted: sync::Mutex::default(),
        })
    }

    /// Appends an event to the stream ([`super::changes`]) when the transaction commits. If it does
    /// not commit, nothing has happened.
    pub fn emit(&self, event: &HeraldEvent, now: Timestamp) -> Result<(), StoreError> {
        self.emitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event, now)
    }

    /// What has been emitted since the last call.
    pub(super) fn take_emitted(&self) -> PendingEvents {
        std::mem::take(&mut *self.emitted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Commits. After an error the changes may be there or not, and the connection is closed.
    pub(super) async fn commit(self) -> Result<Option<CommitTrace>, DbErr> {
        let mut state = self.state.into_inner();
        if state.failed {
            state.rollback().await;
            return Err(DbErr::Custom(
                "a statement of the transaction had failed: nothing of it was committed".to_owned(),
            ));
        }
        let generation = state.lease.generation();
        let committed = match self.backend {
            DbBackend::Sqlite => state
                .lease
                .connection
                .number(COMMIT_SQLITE)
                .await
                .map(|number| Some(CommitTrace { number, generation })),
            _ => state.lease.connection.script("COMMIT").await.map(|_| None),
        };
        match committed {
            Ok(committed) => {
                state.lease.give_back();
                Ok(committed)
            }
            Err(failure) => {
                state.lease.learn(&failure);
                Err(failure.into_query_error())
            }
        }
    }

    /// Undoes everything. A connection on which that fails is closed, which undoes it as well.
    pub(super) async fn rollback(self) {
        self.state.into_inner().rollback().await;
    }

    async fn run<T>(
        &self,
        into_error: fn(StoreConnectionError) -> DbErr,
        call: impl AsyncFnOnce(&mut StoreConnection) -> Result<T, StoreConnectionError>,
    ) -> Result<T, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock().await;
        if state.failed {
            return Err(DbErr::Custom(
                "a statement of the transaction has failed before".to_owned(),
            ));
        }
        // Until it has answered: a caller that stops waiting leaves it so.
        state.failed = true;
        match call(&mut state.lease.connection).await {
            Ok(answer) => {
                state.failed = false;
                Ok(answer)
            }
            Err(failure) => {
                state.broken |= !failure.leaves_connection_usable();
                state.lease.learn(&failure);
                Err(into_error(failure))
            }
        }
    }
}

impl TransactionState {
    async fn rollback(mut self) {
        if self.broken {
            return;
        }
        let script = match self.lease.connection.backend() {
            DbBackend::Sqlite => ROLLBACK_SQLITE,
            _ => "ROLLBACK",
        };
        match self.lease.connection.script(script).await {
            Ok(_) => self.lease.give_back(),
            Err(failure) => self.lease.learn(&failure),
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.run(StoreConnectionError::into_exec_error, async |connection| {
            connection.execute(statement).await
        })
        .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.run(StoreConnectionError::into_exec_error, async |connection| {
            connection.script(sql).await
        })
        .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.run(StoreConnectionError::into_query_error, async |connection| {
            connection.query_one(statement).await
        })
        .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.run(StoreConnectionError::into_query_error, async |connection| {
            connection.query_all(statement).await
        })
        .await
    }
}
