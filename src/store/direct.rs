//! Statements outside of our transactions: reads, and single writes that are a transaction of their
//! own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::{
    connection::{StoreConnection, StoreConnectionError},
    pool::{ConnectionPool, ConnectionSource},
};

/// A pool whose connections are used for one statement at a time.
#[derive(Clone, Debug)]
pub struct SingleStatementPool {
    pub(super) pool: ConnectionPool,
    pub(super) statements: Arc<AtomicU64>,
}

impl SingleStatementPool {
    async fn run<T>(
        &self,
        into_error: fn(StoreConnectionError) -> DbErr,
        call: impl AsyncFnOnce(&mut StoreConnection) -> Result<T, StoreConnectionError>,
    ) -> Result<T, DbErr> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        let mut lease = self.pool.acquire().await?;
        let done = match self.pool.source() {
            // A pooler in transaction mode gives every transaction a server of its own, and to
            // prepare a statement and to execute it must be one transaction.
            ConnectionSource::Postgres(cluster) if lease.connection.is_pooled() => {
                match lease.connection.script(cluster.begin()).await {
                    Ok(_) => match call(&mut lease.connection).await {
                        Ok(answer) => lease.connection.script("COMMIT").await.map(|_| answer),
                        Err(failure) => {
                            // The connection is closed when even this fails.
                            let undone = lease.connection.script("ROLLBACK").await;
                            if let Err(second) = undone {
                                lease.learn(&second);
                                return Err(into_error(failure));
                            }
                            Err(failure)
                        }
                    },
                    Err(failure) => Err(failure),
                }
            }
            _ => call(&mut lease.connection).await,
        };
        match done {
            Ok(answer) => {
                lease.give_back();
                Ok(answer)
            }
            Err(failure) => {
                lease.give_back_after(&failure);
                Err(into_error(failure))
            }
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let ping = Statement::from_string(self.get_database_backend(), "SELECT 1");
        self.query_one_raw(ping).await?;
        Ok(())
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for SingleStatementPool {
    fn get_database_backend(&self) -> DbBackend {
        match self.pool.source() {
            ConnectionSource::Sqlite(_) => DbBackend::Sqlite,
            ConnectionSource::Postgres(_) => DbBackend::Postgres,
        }
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
