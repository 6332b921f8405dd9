//! A connection pool that lends connections one at a time. A connection returns to the pool only
//! when its borrower declares it unchanged; every other one is closed. So a connection whose
//! transaction state is unknown is never used again.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DbErr, RuntimeErr, SqlxPostgresConnector,
    SqlxSqliteConnector,
    sqlx::{
        self, ConnectOptions as _,
        postgres::PgPoolOptions,
        sqlite::{SqliteConnectOptions, SqlitePoolOptions},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    cluster::PostgresCluster,
    connection::{StoreConnection, StoreConnectionError},
};

/// How long a statement waits for a connection.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// A PostgreSQL connection that was idle for so long is pinged before use.
const ASKED_AFTER: Duration = Duration::from_secs(5);

/// And must answer within this.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// How long a migration waits for SQLite's lock.
const MIGRATION_WAITS: Duration = Duration::from_secs(30);

/// Counts the times that all connections were given up. Shared by the pools of one database.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolGeneration(Arc<AtomicU64>);

impl PoolGeneration {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Connections made until now are closed instead of being lent again.
    pub(super) fn renew(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Where connections come from.
#[derive(Debug)]
pub(super) enum ConnectionSource {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(PostgresCluster),
}

impl ConnectionSource {
    async fn connect(&self) -> Result<StoreConnection, sqlx::Error> {
        match self {
            Self::Sqlite(options) => Ok(StoreConnection::Sqlite(options.connect().await?)),
            Self::Postgres(cluster) => cluster.connect().await,
        }
    }

    /// A connection for what changes the schema, and knows sea-orm's connections only. It is
    /// for one transaction, and to be closed after it. Without a deadline: a migration
    /// may take long.
    pub(super) async fn migrating(&self) -> Result<DatabaseConnection, DbErr> {
        let wrong = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
        match self {
            Self::Sqlite(options) => {
                let options = (**options).clone().busy_timeout(MIGRATION_WAITS);
                let pool = SqlitePoolOptions::new()
                    .max_connections(1)
                    .connect_with(options)
                    .await
                    .map_err(wrong)?;
                Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
            }
            Self::Postgres(cluster) => {
                let options = cluster.options().await.map_err(wrong)?;
                let pool = PgPoolOptions::new()
                    .max_connections(1)
                    .connect_with(options)
                    .await
                    .map_err(wrong)?;
                Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
            }
        }
    }
}

#[derive(Debug)]
struct IdleConnection {
    connection: StoreConnection,
    generation: u64,
    made_at: Instant,
    since: Instant,
}

#[derive(Debug)]
struct SharedPool {
    source: ConnectionSource,
    generation: PoolGeneration,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<IdleConnection>>,
    lifetime: Option<Duration>,
}

/// Up to so many connections.
#[derive(Clone, Debug)]
pub(super) struct ConnectionPool(Arc<SharedPool>);

/// A connection on loan.
#[derive(Debug)]
pub(super) struct ConnectionLease {
    pub connection: StoreConnection,
    shared: Arc<SharedPool>,
    generation: u64,
    made_at: Instant,
    _slot: OwnedSemaphorePermit,
}

impl ConnectionPool {
    /// Connects when a connection is first needed. `lifetime`: how long one is used at most.
    pub(super) fn new(
        source: ConnectionSource,
        size: u32,
        lifetime: Option<Duration>,
        generation: PoolGeneration,
    ) -> Self {
        Self(Arc::new(SharedPool {
            source,
            generation,
            slots: Arc::new(Semaphore::new(size.max(1) as usize)),
            idle: Mutex::default(),
            lifetime,
        }))
    }

    pub(super) fn source(&self) -> &ConnectionSource {
        &self.0.source
    }

    /// Gives up every connection: those on loan when they come back.
    pub(super) fn renew(&self) {
        self.0.generation.renew();
    }

    /// Ends every connection that is not on loan, in order.
    pub(super) async fn close(&self) {
        while let Some(idle) = self.0.take_idle() {
            idle.connection.close().await;
        }
    }

    pub(super) async fn acquire(&self) -> Result<ConnectionLease, DbErr> {
        self.acquire_within(ACQUIRE_WITHIN).await
    }

    async fn acquire_within(&self, patience: Duration) -> Result<ConnectionLease, DbErr> {
        match tokio::time::timeout(patience, self.acquire_now()).await {
            Ok(lease) => lease,
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    async fn acquire_now(&self) -> Result<ConnectionLease, DbErr> {
        let shared = &self.0;
        let Ok(slot) = Arc::clone(&shared.slots).acquire_owned().await else {
            return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed));
        };
        while let Some(mut idle) = shared.take_idle() {
            if idle.generation != shared.generation.now() {
                continue;
            }
            if shared
                .lifetime
                .is_some_and(|lifetime| idle.made_at.elapsed() > lifetime)
            {
                idle.connection.close().await;
                continue;
            }
            if matches!(idle.connection, StoreConnection::Postgres { .. })
                && idle.since.elapsed() > ASKED_AFTER
                && let Err(failure) = idle.connection.ping(ASKED_WITHIN).await
            {
                shared.learn(&failure);
                continue;
            }
            return Ok(ConnectionLease {
                connection: idle.connection,
                shared: Arc::clone(shared),
                generation: idle.generation,
                made_at: idle.made_at,
                _slot: slot,
            });
        }
        // Read before connecting: a renewal meanwhile includes this connection.
        let generation = shared.generation.now();
        let connection = shared
            .source
            .connect()
            .await
            .map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?;
        Ok(ConnectionLease {
            connection,
            shared: Arc::clone(shared),
            generation,
            made_at: Instant::now(),
            _slot: slot,
        })
    }
}

impl SharedPool {
    fn take_idle(&self) -> Option<IdleConnection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn learn(&self, failure: &StoreConnectionError) {
        if failure.condemns_other_connections() {
            self.generation.renew();
        }
    }
}

impl ConnectionLease {
    /// Which generation of connections it is of.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Ends the loan: the connection is as it was. A lease that is dropped closes it.
    pub(super) fn give_back(self) {
        if self.generation != self.shared.generation.now() {
            return;
        }
        let idle = IdleConnection {
            connection: self.connection,
            generation: self.generation,
            made_at: self.made_at,
            since: Instant::now(),
        };
        self.shared
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(idle);
    }

    /// Ends the loan after a failure outside of a transaction.
    pub(super) fn give_back_after(self, failure: &StoreConnectionError) {
        self.shared.learn(failure);
        if failure.leaves_connection_usable() {
            self.give_back();
        }
    }

    /// Takes note of a failure that concerns more than this connection.
    pub(super) fn learn(&self, failure: &StoreConnectionError) {
        self.shared.learn(failure);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sea_orm::{Statement, sqlx::sqlite::SqliteConnectOptions};

    use super::{ConnectionLease, ConnectionPool, ConnectionSource, PoolGeneration};

    fn pool(lifetime: Option<Duration>) -> ConnectionPool {
        let source =
            ConnectionSource::Sqlite(Box::new(SqliteConnectOptions::new().in_memory(true)));
        ConnectionPool::new(source, 1, lifetime, PoolGeneration::default())
    }

    async fn mark(lease: &mut ConnectionLease) {
        lease
            .connection
            .script("CREATE TABLE mark (id)")
            .await
            .unwrap();
    }

    /// Whether it is the connection that was marked: in memory, each has a database of its own.
    async fn is_marked(lease: &mut ConnectionLease) -> bool {
        let read = Statement::from_string(lease.connection.backend(), "SELECT id FROM mark");
        lease.connection.query_all(read).await.is_ok()
    }

    #[tokio::test]
    async fn what_is_given_back_is_lent_again_and_what_is_dropped_is_not() {
        let pool = pool(None);
        let mut lease = pool.acquire().await.unwrap();
        mark(&mut lease).await;
        lease.give_back();
        let mut lease = pool.acquire().await.unwrap();
        assert!(is_marked(&mut lease).await);
        drop(lease);
        let mut lease = pool.acquire().await.unwrap();
        assert!(!is_marked(&mut lease).await);
    }

    #[tokio::test]
    async fn what_was_made_before_all_were_given_up_is_closed() {
        let pool = pool(None);
        let mut lease = pool.acquire().await.unwrap();
        mark(&mut lease).await;
        pool.renew();
        lease.give_back();
        let mut lease = pool.acquire().await.unwrap();
        assert!(!is_marked(&mut lease).await);
        mark(&mut lease).await;
        lease.give_back();
        pool.renew();
        assert!(!is_marked(&mut pool.acquire().await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_connection_is_used_no_longer_than_its_lifetime() {
        let pool = pool(Some(Duration::ZERO));
        let mut lease = pool.acquire().await.unwrap();
        mark(&mut lease).await;
        lease.give_back();
        assert!(!is_marked(&mut pool.acquire().await.unwrap()).await);
    }

    #[tokio::test]
    async fn a_connection_that_does_not_come_is_not_waited_for_without_end() {
        let pool = pool(None);
        let _held = pool.acquire().await.unwrap();
        let waited = pool.acquire_within(Duration::from_millis(1)).await;
        assert!(waited.is_err());
    }
}
