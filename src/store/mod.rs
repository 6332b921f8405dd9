//! All database access: functions grouped by kind of row, without traits.
//!
//! One function, [`Store::write`], opens every write transaction. Inside it only SQL is awaited,
//! tables are touched in one order (inbox, conversation, notification, attempt, follow-up,
//! counter, the stream of events) and rows in the order of their keys. Lists travel as one JSON parameter,
//! not as thousands ([`dialect::rows`]), and what is long in them as another ([`list_bytes`]).

pub mod access;
pub mod account_fact;
pub mod address_suppression;
pub mod alarm;
pub mod alias;
pub mod attempt;
pub mod audit;
pub mod backup;
pub mod bounds;
pub mod callback;
pub mod callback_erasure;
pub mod catalogue;
pub mod changes;
pub mod channel_fallback;
pub mod checkpoint;
mod cluster;
pub mod connect;
mod connection;
pub mod context;
pub mod conversation;
pub mod convert;
pub mod counter;
pub mod credential;
pub mod dead_letter;
pub mod dedupe;
pub mod dialect;
mod direct;
pub mod event;
pub mod files;
pub mod follow_up;
pub mod heartbeat;
pub mod hold;
pub mod horizon;
pub mod idempotency;
pub mod identity;
pub mod inbound;
pub mod lineage;
pub mod list_bytes;
pub mod live;
pub mod login;
pub mod migrate;
pub mod notice;
pub mod notification;
pub mod pair;
pub mod parked;
pub mod people;
mod pool;
pub mod preferences;
mod proof;
pub mod retention;
pub mod secrets;
pub mod sender;
pub mod session;
pub mod setting;
pub mod space;
pub mod sqlite_file;
pub mod state_mark;
pub mod suppression;
pub mod template_sync;
pub mod timeline;
mod transaction;
pub mod verification;
pub mod verification_limit;
pub mod whole_file;

mod writable;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use direct::SingleStatementPool;
pub use sea_orm::ConnectionTrait;
use sea_orm::{DbBackend, DbErr, RuntimeErr, Value, sqlx};
use tokio_util::sync::CancellationToken;
pub use transaction::Transaction as DatabaseTransaction;
use uuid::Uuid;

use proof::{CommitDurabilityChecker, CommitDurabilityVerdict};

use crate::domain::{callback_id::CallbackSegmentId, time::Timestamp};

/// No write transaction should last longer: storing callbacks waits for it.
const LONG_WRITE: Duration = Duration::from_millis(50);

/// How often a transaction is tried that loses to a concurrent one.
const WRITE_TRIES: u32 = 6;

/// What can go wrong with storage.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Passes by itself, or is fixed without changing the request: connection, lock, deadlock, full
    /// disk. Never a reason to give up an item.
    #[error("the database cannot do it now")]
    Transient(#[source] DbErr),
    /// The same statement with the same values will fail again.
    #[error("the database refuses it")]
    Refused(#[source] DbErr),
    /// A row holds what no version of this program writes.
    #[error("the row {row} of {table} holds an unreadable {column}")]
    Corrupt {
        table: &'static str,
        row: String,
        column: &'static str,
    },
    /// A concurrent transaction changed a row since it was read: the work is repeated.
    #[error("another process was faster")]
    Conflict,
    /// The work itself decided to roll back.
    #[error("rolled back on request")]
    RolledBack,
    /// The schema is one that this program cannot use: no repetition helps.
    #[error(transparent)]
    ForeignSchema(#[from] migrate::ForeignSchemaError),
}

impl StoreError {
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_) | Self::Conflict)
    }

    /// Another transaction won; the same one may be repeated at once.
    fn is_conflict(&self) -> bool {
        let error = match self {
            Self::Transient(error) => error,
            Self::Conflict => return true,
            Self::Refused(_) | Self::Corrupt { .. } | Self::RolledBack | Self::ForeignSchema(_) => {
                return false;
            }
        };
        match database_code(error).as_deref() {
            Some("40001" | "40P01" | "55P03") => true,
            Some(code) => code
                .parse::<u32>()
                .is_ok_and(|code| matches!(code & 0xff, 5 | 6)),
            None => false,
        }
    }

    /// The disk has no room, fails, or cannot be written to. SQLite: READONLY, IOERR, FULL; PostgreSQL:
    /// 53100, 58030 (a file cannot be written) and 58P01.
    fn is_of_the_disk(&self) -> bool {
        let (Self::Transient(error) | Self::Refused(error)) = self else {
            return false;
        };
        match database_code(error).as_deref() {
            Some(code) if code.len() < 5 => code
                .parse::<u32>()
                .is_ok_and(|code| matches!(code & 0xff, 8 | 10 | 13)),
            Some(code) => matches!(code, "53100" | "58030" | "58P01"),
            None => false,
        }
    }

    /// SQLite's result code, if it is SQLite's error.
    pub fn sqlite_code(&self) -> Option<u32> {
        let (Self::Transient(error) | Self::Refused(error)) = self else {
            return None;
        };
        database_code(error)?.parse().ok()
    }

    /// The SQLite file is damaged, or no database: its CORRUPT and NOTADB.
    pub fn is_damage(&self) -> bool {
        self.sqlite_code()
            .is_some_and(|code| matches!(code & 0xff, 11 | 26))
    }

    /// A unique key is taken already.
    pub fn is_unique_violation(&self) -> bool {
        match self {
            Self::Refused(error) => matches!(
                error.sql_err(),
                Some(sea_orm::SqlErr::UniqueConstraintViolation(_))
            ),
            Self::Transient(_)
            | Self::Corrupt { .. }
            | Self::Conflict
            | Self::RolledBack
            | Self::ForeignSchema(_) => false,
        }
    }
}

/// The error of work in a transaction that may refuse: storage's, or a refusal of its own.
pub trait TransactionWorkError: From<StoreError> {
    /// Storage's error; or itself, if it is a refusal.
    fn into_store(self) -> Result<StoreError, Self>;
}

impl TransactionWorkError for StoreError {
    fn into_store(self) -> Result<StoreError, Self> {
        Ok(self)
    }
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn database_code(error: &DbErr) -> Option<String> {
    match sqlx_error(error)? {
        sqlx::Error::Database(error) => error.code().map(std::borrow::Cow::into_owned),
        _ => None,
    }
}

impl From<DbErr> for StoreError {
    /// Only errors that certainly lie in the values count as refused; everything else may pass, and
    /// must never cost an item.
    fn from(error: DbErr) -> Self {
        let refused = match (&error, sqlx_error(&error)) {
            (_, Some(sqlx::Error::Database(inner))) => match inner.code().as_deref() {
                // SQLite's primary result codes: ERROR, TOOBIG, CONSTRAINT, MISMATCH, RANGE.
                Some(code) if code.len() < 5 => code
                    .parse::<u32>()
                    .is_ok_and(|code| matches!(code & 0xff, 1 | 18 | 19 | 20 | 25)),
                // PostgreSQL: cardinality, data exception, integrity, program limit.
                Some(code) => ["21", "22", "23", "54"]
                    .iter()
                    .any(|class| code.starts_with(class)),
                None => false,
            },
            (
                _,
                Some(
                    sqlx::Error::ColumnDecode { .. }
                    | sqlx::Error::Decode(_)
                    | sqlx::Error::Encode(_)
                    | sqlx::Error::ColumnNotFound(_)
                    | sqlx::Error::ColumnIndexOutOfBounds { .. },
                ),
            )
            | (
                DbErr::Type(_)
                | DbErr::Json(_)
                | DbErr::RecordNotFound(_)
                | DbErr::TryIntoErr { .. },
                _,
            ) => true,
            _ => false,
        };
        if refused {
            Self::Refused(error)
        } else {
            Self::Transient(error)
        }
    }
}

/// The database. PostgreSQL: two pools. SQLite: two files, each with one writer and a pool of
/// readers; the second one has the inbox of callbacks.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SingleStatementPool,
    reader: SingleStatementPool,
    backend: DbBackend,
    /// SQLite: the file with the inbox.
    inbox: Option<Arc<Store>>,
    /// Segments of the inbox that were applied here since it was written to.
    applied_segments: Arc<callback::AppliedSegmentQueue>,
    /// Write transactions committed since the start.
    writes: Arc<AtomicU64>,
    /// SQLite: the number of the newest commit.
    newest_commit: Arc<AtomicI64>,
    writable: Arc<writable::WritableCheck>,
    /// SQLite: looks whether commits are there.
    proof: Option<Arc<CommitDurabilityChecker>>,
    /// The last segment of callbacks that this process has made.
    last_segment: Arc<AtomicI64>,
    /// SQLite's connection for writing the log back; a server's only.
    checkpointer: Option<SingleStatementPool>,
    /// Held while the process lives: refuses a second `serve` on one SQLite file.
    _lock: Option<Arc<std::fs::File>>,
}

impl Store {
    pub const fn backend(&self) -> DbBackend {
        self.backend
    }

    pub fn is_sqlite(&self) -> bool {
        self.backend == DbBackend::Sqlite
    }

    /// Closes the connections at the end of a server, the writer's last: it writes SQLite's
    /// log back and removes it, so that the file alone is the database.
    pub async fn close(&self) {
        if let Some(inbox) = &self.inbox {
            Box::pin(inbox.close()).await;
        }
        if let Some(proof) = &self.proof {
            proof.close().await;
        }
        if let Some(checkpointer) = &self.checkpointer {
            checkpointer.pool.close().await;
        }
        self.reader.pool.close().await;
        self.writer.pool.close().await;
    }

    /// The database with the inbox of callbacks, but for what was applied: on SQLite a file of its
    /// own, so that storing callbacks does not wait for applying them, nor the other way round. No
    /// statement or transaction concerns both.
    pub fn inbox(&self) -> &Self {
        self.inbox.as_deref().unwrap_or(self)
    }

    /// Each file of the database, the main one first: on PostgreSQL it is one.
    pub fn files(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.inbox.as_deref())
    }

    /// The id of a new segment of the inbox: after those that this process has made.
    pub fn new_segment_id(&self, now: Timestamp) -> CallbackSegmentId {
        let after = |last| CallbackSegmentId::after(CallbackSegmentId::from_number(last), now);
        let mut last = self.last_segment.load(Ordering::Relaxed);
        loop {
            let new = after(last);
            let exchanged = self.last_segment.compare_exchange_weak(
                last,
                new.number(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return new,
                Err(other) => last = other,
            }
        }
    }

    /// For reads that need no transaction.
    pub const fn reader(&self) -> &SingleStatementPool {
        &self.reader
    }

    /// For reads that find few rows by an index, as the workers' looks do: on PostgreSQL nothing
    /// but an index is used here, whatever the planner believes of the table's size.
    pub const fn by_index(&self) -> &SingleStatementPool {
        match self.backend {
            DbBackend::Postgres => &self.writer,
            _ => &self.reader,
        }
    }

    /// The writing connection outside [`Store::write`]: for tests that take the
    /// database away.
    #[doc(hidden)]
    pub const fn raw_writer(&self) -> &SingleStatementPool {
        &self.writer
    }

    /// Statements sent to the database since the start.
    pub fn statements(&self) -> u64 {
        self.writer.statements.load(Ordering::Relaxed)
    }

    /// Write transactions committed since the start.
    pub fn writes(&self) -> u64 {
        let of_inbox = self.inbox.as_ref().map_or(0, |inbox| inbox.writes());
        self.writes.load(Ordering::Relaxed) + of_inbox
    }

    /// SQLite: the number of the newest commit, or of an older one if there was none since the start.
    fn newest_commit(&self) -> i64 {
        self.newest_commit.load(Ordering::Acquire)
    }

    /// Runs `work` in a write transaction and commits it. A transaction that
    /// lost against another is repeated: `work` must not have effects elsewhere.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnMut(&DatabaseTransaction) -> Result<T, StoreError>,
    {
        self.write_or_refuse(work).await
    }

    /// The same for work that may refuse: what it refuses leaves nothing behind, and is not
    /// repeated.
    // Compiled anew for each caller: what does not depend on `work` is in functions of its own.
    pub async fn write_or_refuse<T, E, F>(&self, mut work: F) -> Result<T, E>
    where
        E: TransactionWorkError,
        F: AsyncFnMut(&DatabaseTransaction) -> Result<T, E>,
    {
        let mut tries = 0;
        loop {
            let error = match self.begin().await {
                Ok(begun) => match Box::pin(work(&begun.tx)).await {
                    Ok(value) => match self.commit(begun).await {
                        Ok(()) => return Ok(value),
                        Err(error) => error,
                    },
                    Err(error) => match error.into_store() {
                        Ok(error) => self.roll_back(begun, error).await,
                        Err(refused) => {
                            self.roll_back(begun, StoreError::RolledBack).await;
                            return Err(refused);
                        }
                    },
                },
                Err(error) => error,
            };
            tries += 1;
            if !repeats(&error, tries).await {
                return Err(error.into());
            }
        }
    }

    /// One statement that is a transaction of its own. Says how many rows it changed.
    pub async fn write_alone(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let done = dialect::execute(&self.writer, sql, values).await?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        Ok(done.rows_affected())
    }

    /// Cancelled when commits are not found in the database though its connection was
    /// reopened. The process must end then.
    pub fn commits_missing(&self) -> Option<CancellationToken> {
        self.proof.as_ref().map(|proof| proof.hopeless.clone())
    }

    async fn begin(&self) -> Result<OpenWriteTransaction, StoreError> {
        let proven = self.proof.as_ref().map_or(0, |proof| proof.highest());
        // An error in beginning a transaction does not concern its content.
        let tx = DatabaseTransaction::begin(&self.writer.pool, &self.writer.statements)
            .await
            .map_err(StoreError::Transient)?;
        Ok(OpenWriteTransaction {
            tx,
            started: Instant::now(),
            proven,
        })
    }

    async fn commit(&self, begun: OpenWriteTransaction) -> Result<(), StoreError> {
        let emitted = begun.tx.take_emitted();
        if let Err(error) = changes::append(&begun.tx, emitted).await {
            return Err(self.roll_back(begun, error).await);
        }
        let committed = begun.tx.commit().await.map_err(StoreError::from);
        self.count_write(begun.started);
        let committed = committed.inspect_err(|error| self.writable.learn(error))?;
        if let Some(committed) = committed {
            self.newest_commit
                .fetch_max(committed.number, Ordering::AcqRel);
        }
        let pool = &self.writer.pool;
        if let (Some(proof), Some(committed)) = (&self.proof, committed)
            && proof.look(committed, begun.proven, || pool.renew()).await
                == CommitDurabilityVerdict::Missing
        {
            return Err(StoreError::Transient(DbErr::Custom(
                "what was committed is not in the database".to_owned(),
            )));
        }
        Ok(())
    }

    /// Rolls back because of this error, which is the one to report: the first.
    async fn roll_back(&self, begun: OpenWriteTransaction, error: StoreError) -> StoreError {
        begun.tx.rollback().await;
        self.count_write(begun.started);
        self.writable.learn(&error);
        error
    }

    fn count_write(&self, started: Instant) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let lasted = started.elapsed();
        metrics::histogram!("herald_write_seconds").record(lasted.as_secs_f64());
        if lasted > LONG_WRITE {
            metrics::counter!("herald_long_writes_total").increment(1);
        }
    }
}

/// A write transaction that has begun.
struct OpenWriteTransaction {
    tx: DatabaseTransaction,
    started: Instant,
    /// The highest commit that had been found before.
    proven: i64,
}

/// Whether a write is tried again after this error, and waits until then.
async fn repeats(error: &StoreError, tries: u32) -> bool {
    if !error.is_conflict() || tries >= WRITE_TRIES {
        return false;
    }
    metrics::counter!("herald_write_conflicts_total").increment(1);
    tokio::time::sleep(Duration::from_millis(1 << tries)).await;
    true
}

/// A new id: UUIDv7 of `now`, in order within a process.
///
/// RFC 9562, 6.2, methods 3 and 1: 12 bits of sub-millisecond time, then a
/// counter of 30 bits, then 32 random bits.
pub fn new_id(now: Timestamp) -> Uuid {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let micros = now.micros().max(0).unsigned_abs();
    let fraction = (micros % 1000) * 4096 / 1000;
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed) & 0x3fff_ffff;
    let random = Uuid::new_v4().as_u128() & 0xffff_ffff;
    let low = u128::from(sequence) << 32 | random;
    Uuid::from_u128(
        u128::from(micros / 1000) << 80 | 0x7 << 76 | u128::from(fraction) << 64 | 0b10 << 62 | low,
    )
}

/// The least UUID of version 7 of a moment.
pub fn first_id(at: Timestamp) -> Uuid {
    let millis = u128::from((at.micros().max(0) / 1000).unsigned_abs());
    Uuid::from_u128(millis << 80 | 0x7 << 76 | 0b10 << 62)
}

/// When an id of version 7 was made, to the millisecond.
pub fn made_at(id: Uuid) -> Timestamp {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(0);
    Timestamp::from_micros(millis * 1000)
}

#[cfg(test)]
mod tests {
    use super::{first_id, made_at, new_id};
    use crate::domain::time::Timestamp;

    #[test]
    fn the_first_id_of_a_moment_is_before_all_of_it_and_after_all_before() {
        let at = Timestamp::from_unix_seconds(1_763_692_800);
        assert!(first_id(at) <= new_id(at));
        assert!(new_id(at.plus_micros(-1000)) < first_id(at));
        assert_eq!(made_at(new_id(at)), at);
    }

    #[test]
    fn ids_are_version_7_and_in_order() {
        let now = Timestamp::from_micros(1_750_030_073_123_456);
        let ids: Vec<_> = (0..100).map(|step| new_id(now.plus_micros(step))).collect();
        assert!(ids.is_sorted());
        assert!(
            ids.iter()
                .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        );
        let same: Vec<_> = (0..100).map(|_| new_id(now)).collect();
        assert!(same.windows(2).filter(|pair| pair[0] < pair[1]).count() >= 98);
    }
}
