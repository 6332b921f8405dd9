//! How often something happened lately to a subject: rows that are locked while they are read and
//! changed, so that what comes together is counted one after another.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{
    Store, StoreError,
    dialect::{column, execute, locking, query_one, read_row},
};
use crate::{
    domain::{time::Timestamp, word_enum::words},
    store::DatabaseTransaction,
};

words! {
    /// What is counted.
    pub enum VerificationLimitKind {
        /// Wrong codes for an address and a purpose.
        Failures = "failures",
        /// Codes sent to an address.
        Address = "address",
        /// Codes sent to a block of numbers.
        Prefix = "prefix",
        /// Codes sent for a client of the caller.
        Client = "client",
    }
}

/// The times of one subject.
#[derive(Clone, Debug, Default)]
pub struct VerificationLimitTimes {
    /// In microseconds.
    pub times: Vec<i64>,
    pub locked_until: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct StoredTimes {
    times: String,
    locked_until: Option<Timestamp>,
}

/// The times of a subject, locked until the transaction ends. Several are locked in the order of
/// their kinds.
pub async fn lock(
    tx: &DatabaseTransaction,
    kind: VerificationLimitKind,
    subject: &[u8],
    now: Timestamp,
) -> Result<VerificationLimitTimes, StoreError> {
    // There must be a row to be locked: the first ones may come together.
    execute(
        tx,
        "INSERT INTO verification_limit (kind, subject, created_at, touched_at, times) VALUES ($1, $2, $3, $3, '[]') \
         ON CONFLICT (kind, subject) DO NOTHING",
        [kind.name().into(), subject.to_vec().into(), now.micros().into()],
    )
    .await?;
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let row = query_one(
        tx,
        format!("SELECT times, locked_until FROM verification_limit WHERE kind = $1 AND subject = $2 {lock}"),
        [kind.name().into(), subject.to_vec().into()],
    )
    .await?;
    let Some(row) = row else {
        // Deleted between the two statements, because it was old.
        return Err(StoreError::Conflict);
    };
    let stored: StoredTimes = read_row(&row)?;
    let times = serde_json::from_str(&stored.times).map_err(|_unreadable| StoreError::Corrupt {
        table: "verification_limit",
        row: kind.name().to_owned(),
        column: "times",
    })?;
    Ok(VerificationLimitTimes {
        times,
        locked_until: stored.locked_until,
    })
}

/// Stores the times of a subject that [`lock`] has locked.
pub async fn save(
    tx: &DatabaseTransaction,
    kind: VerificationLimitKind,
    subject: &[u8],
    times: &VerificationLimitTimes,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE verification_limit SET times = $3, locked_until = $4, touched_at = $5 WHERE kind = $1 AND subject = $2",
        [
            kind.name().into(),
            subject.to_vec().into(),
            format!("{:?}", times.times).into(),
            times.locked_until.map(Timestamp::micros).into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// How many subjects are locked.
pub async fn count_locked(store: &Store, now: Timestamp) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM verification_limit WHERE locked_until > $1",
        [now.micros().into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}

/// Whether there are rows that nothing has touched since.
pub async fn any_old(store: &Store, before: Timestamp) -> Result<bool, StoreError> {
    let row = query_one(
        store.by_index(),
        "SELECT 1 FROM verification_limit WHERE touched_at < $1 LIMIT 1",
        [before.micros().into()],
    )
    .await?;
    Ok(row.is_some())
}

/// Deletes up to `limit` rows that nothing has touched since. Returns the number.
pub async fn forget_old(
    tx: &DatabaseTransaction,
    before: Timestamp,
    limit: i64,
) -> Result<u64, StoreError> {
    let gone = execute(
        tx,
        "DELETE FROM verification_limit WHERE touched_at < $1 AND (kind, subject) IN \
         (SELECT kind, subject FROM verification_limit WHERE touched_at < $1 ORDER BY touched_at LIMIT $2)",
        [before.micros().into(), limit.into()],
    )
    .await?;
    Ok(gone.rows_affected())
}
