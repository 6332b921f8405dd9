//! Verifications: one-time passwords that Herald makes and checks, and the messages that carry them.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{
    StoreError,
    bounds::of_verifications,
    dialect::{column, execute, ids, listed, locking, query, query_one, read_row},
};
use crate::{
    domain::{access::AccessBounds, time::Timestamp, verification::VerificationStatus},
    store::DatabaseTransaction,
};

/// A verification as it is stored.
#[derive(Clone, Debug, FromQueryResult)]
pub struct StoredVerification {
    pub id: Uuid,
    pub created_at: Timestamp,
    pub product: Option<String>,
    #[sea_orm(from_alias = "status")]
    status_word: String,
    pub purpose: String,
    /// As it was written: a number, `contact:NAME`, `user:NAME`.
    pub recipient: String,
    pub contact_id: Option<Uuid>,
    pub failure_subject: Vec<u8>,
    /// The rest of the request (JSON).
    pub request: String,
    pub reference: Option<String>,
    /// Empty once it has ended.
    pub code_sealed: String,
    /// Empty once it has ended.
    pub code_digest: Vec<u8>,
    pub tries: i64,
    pub max_tries: i64,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The message of the last send.
    pub notification_id: Option<Uuid>,
    pub channel: String,
    /// The position of that channel among those that were asked for.
    pub channel_index: i64,
    /// When the next channel is to be tried.
    pub fallback_at: Option<Timestamp>,
}

impl StoredVerification {
    /// The stored status; [`VerificationStatus::at`] has the present one.
    pub fn status(&self) -> Result<VerificationStatus, StoreError> {
        VerificationStatus::parse(&self.status_word).ok_or_else(|| StoreError::Corrupt {
            table: "verification",
            row: self.id.to_string(),
            column: "status",
        })
    }
}

/// A new verification.
#[derive(Debug)]
pub struct NewVerification<'a> {
    pub id: Uuid,
    pub product: Option<&'a str>,
    pub purpose: &'a str,
    pub recipient: &'a str,
    pub contact_id: Option<Uuid>,
    pub failure_subject: Vec<u8>,
    pub request: String,
    pub reference: Option<&'a str>,
    pub code_sealed: String,
    pub code_digest: Vec<u8>,
    pub max_tries: i64,
    pub expires_at: Timestamp,
}

pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewVerification<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO verification (id, created_at, updated_at, product, status, purpose, recipient, contact_id, \
         failure_subject, request, reference, code_sealed, code_digest, tries, max_tries, expires_at, channel, \
         channel_index) VALUES ($1, $2, $2, $3, 'pending', $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, '', 0)",
        [
            new.id.into(),
            now.micros().into(),
            new.product.map(str::to_owned).into(),
            new.purpose.into(),
            new.recipient.into(),
            new.contact_id.into(),
            new.failure_subject.into(),
            new.request.into(),
            new.reference.map(str::to_owned).into(),
            new.code_sealed.into(),
            new.code_digest.into(),
            new.max_tries.into(),
            new.expires_at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// A verification within the caller's bounds.
pub async fn find(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<StoredVerification>, StoreError> {
    found(connection, bounds, id, "").await
}

/// Like [`find`], locked until the transaction ends.
pub async fn lock(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<StoredVerification>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    found(tx, bounds, id, lock).await
}

async fn found(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    id: Uuid,
    lock: &str,
) -> Result<Option<StoredVerification>, StoreError> {
    let within = of_verifications(bounds).piece("v", 1);
    let row = query_one(
        connection,
        format!(
            "SELECT v.* FROM verification v WHERE v.id = $1{} {lock}",
            within.sql
        ),
        std::iter::once(id.into()).chain(within.values),
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// Those of these verifications that are still pending, locked until the transaction ends.
pub async fn lock_pending(
    tx: &DatabaseTransaction,
    which: &[Uuid],
) -> Result<Vec<StoredVerification>, StoreError> {
    let backend = tx.get_database_backend();
    let found = query(
        tx,
        format!(
            "SELECT v.* FROM verification v WHERE v.status = 'pending' AND {} ORDER BY v.id {}",
            listed(backend, "v.id"),
            locking(backend, "FOR UPDATE")
        ),
        [ids(which.iter().copied())?],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Counts one try, before the code is compared: tries that come together are counted one after
/// another. False if none is left, or the verification has ended.
pub async fn count_try(
    tx: &DatabaseTransaction,
    id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let counted = execute(
        tx,
        "UPDATE verification SET tries = tries + 1, updated_at = $2 \
         WHERE id = $1 AND status = 'pending' AND tries < max_tries AND expires_at > $2",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(counted.rows_affected() == 1)
}

/// Ends pending verifications and wipes their codes, also from their messages. Returns how many
/// ended.
pub async fn end(
    tx: &DatabaseTransaction,
    which: &[Uuid],
    status: VerificationStatus,
    now: Timestamp,
) -> Result<u64, StoreError> {
    if which.is_empty() {
        return Ok(0);
    }
    let backend = tx.get_database_backend();
    let ended = execute(
        tx,
        format!(
            "UPDATE verification SET status = $2, ended_at = $3, updated_at = $3, code_sealed = '', code_digest = $4, \
             fallback_at = NULL WHERE status = 'pending' AND {}",
            listed(backend, "id")
        ),
        [
            ids(which.iter().copied())?,
            status.name().into(),
            now.micros().into(),
            Vec::<u8>::new().into(),
        ],
    )
    .await?;
    execute(
        tx,
        format!(
            "UPDATE notification SET sealed = '' WHERE sealed <> '' AND id IN \
             (SELECT notification_id FROM verification_send WHERE {})",
            listed(backend, "verification_id")
        ),
        [ids(which.iter().copied())?],
    )
    .await?;
    Ok(ended.rows_affected())
}

/// Notes a send by the channel at `index`, and when the next one is to be tried.
pub async fn sent(
    tx: &DatabaseTransaction,
    id: Uuid,
    notification: Uuid,
    (channel, index): (&str, i64),
    fallback_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE verification SET notification_id = $2, channel = $3, channel_index = $4, fallback_at = $5, updated_at = $6 \
         WHERE id = $1",
        [
            id.into(),
            notification.into(),
            channel.into(),
            index.into(),
            fallback_at.map(Timestamp::micros).into(),
            now.micros().into(),
        ],
    )
    .await?;
    execute(
        tx,
        "INSERT INTO verification_send (verification_id, notification_id, created_at, channel) VALUES ($1, $2, $3, $4)",
        [
            id.into(),
            notification.into(),
            now.micros().into(),
            channel.into(),
        ],
    )
    .await?;
    Ok(())
}

/// A message by which a code was sent.
#[derive(Clone, Debug, FromQueryResult)]
pub struct VerificationSend {
    pub notification_id: Uuid,
    pub created_at: Timestamp,
    pub channel: String,
    pub status: Option<String>,
    /// Why it was skipped or waits, if it was or does.
    pub reason: Option<String>,
    /// A [`DeliveryFailure`](crate::domain::failure::DeliveryFailure) as JSON, if it failed.
    pub failure: Option<String>,
}

/// The messages of a verification, oldest first.
pub async fn sends(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Vec<VerificationSend>, StoreError> {
    let found = query(
        connection,
        "SELECT s.notification_id, s.created_at, s.channel, n.status, n.reason, n.failure FROM verification_send s \
         LEFT JOIN notification n ON n.id = s.notification_id WHERE s.verification_id = $1 \
         ORDER BY s.created_at, s.notification_id",
        [id.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Which of these messages carry codes, and of which verifications.
pub async fn carried(
    connection: &impl ConnectionTrait,
    notifications: &[Uuid],
) -> Result<HashMap<Uuid, Uuid>, StoreError> {
    if notifications.is_empty() {
        return Ok(HashMap::new());
    }
    let found = query(
        connection,
        format!(
            "SELECT notification_id, verification_id FROM verification_send WHERE {}",
            listed(connection.get_database_backend(), "notification_id")
        ),
        [ids(notifications.iter().copied())?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok((
                column(row, "notification_id")?,
                column(row, "verification_id")?,
            ))
        })
        .collect()
}

/// The messages of these verifications that have not left.
pub async fn unsent(tx: &DatabaseTransaction, which: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        tx,
        format!(
            "SELECT n.id FROM notification n WHERE n.engine_state IN ('queued', 'held', 'retrying') AND n.id IN \
             (SELECT notification_id FROM verification_send WHERE {}) ORDER BY n.id",
            listed(tx.get_database_backend(), "verification_id")
        ),
        [ids(which.iter().copied())?],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Pending verifications whose time is over.
pub async fn expired(
    connection: &impl ConnectionTrait,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        connection,
        "SELECT id FROM verification WHERE status = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2",
        [now.micros().into(), limit.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Pending verifications with another channel whose message has failed, or was not delivered in
/// time: one that ended before `until`.
pub async fn falling_back(
    connection: &impl ConnectionTrait,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        connection,
        "SELECT v.id FROM verification v LEFT JOIN notification n ON n.id = v.notification_id \
         WHERE v.fallback_at IS NOT NULL AND v.status = 'pending' AND v.expires_at > $1 \
         AND (v.fallback_at <= $3 OR n.id IS NULL OR n.ended IS NOT NULL OR n.status IN ('delivered', 'read')) \
         ORDER BY v.expires_at LIMIT $2",
        [
            now.micros().into(),
            limit.into(),
            until.micros().into(),
        ],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// No further channel is tried.
pub async fn stay(tx: &DatabaseTransaction, id: Uuid) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE verification SET fallback_at = NULL WHERE id = $1",
        [id.into()],
    )
    .await?;
    Ok(())
}
