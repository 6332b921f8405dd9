//! Messages that go by another channel unless they are delivered in time.

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{
    StoreError,
    dialect::{column, execute, ids, listed, locking, query, query_one, read_row},
};
use crate::{
    domain::{
        channel::MessageChannel,
        time::Timestamp,
        transition::{NotificationTransition, NotificationTransitionSet},
    },
    store::DatabaseTransaction,
};

/// What is to be done if a message does not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFallback {
    pub notification_id: Uuid,
    /// The channels that are left, in their order.
    pub channels: Vec<MessageChannel>,
    pub after_seconds: i64,
    /// The secrets of the message, as they are sealed in it.
    pub sealed: Option<String>,
}

#[derive(FromQueryResult)]
struct StoredFallback {
    notification_id: Uuid,
    channels: String,
    after_seconds: i64,
    sealed: Option<String>,
}

/// Transitions after which a message needs no other channel.
pub fn arrived() -> NotificationTransitionSet {
    [
        NotificationTransition::Delivered,
        NotificationTransition::Read,
        NotificationTransition::Played,
        NotificationTransition::Replied,
    ]
    .into_iter()
    .collect()
}

/// Plans it; due at once, or after its time.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &ChannelFallback,
    due_at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO channel_fallback (notification_id, created_at, channels, after_seconds, due_at, sealed) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (notification_id) DO NOTHING",
        [
            new.notification_id.into(),
            now.micros().into(),
            words(&new.channels).into(),
            new.after_seconds.into(),
            due_at.micros().into(),
            new.sealed.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

/// What these messages had planned is due: they have failed.
pub async fn wake(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
    now: Timestamp,
) -> Result<bool, StoreError> {
    if notifications.is_empty() {
        return Ok(false);
    }
    let woken = execute(
        tx,
        format!(
            "UPDATE channel_fallback SET due_at = $2 WHERE child_id IS NULL AND due_at > $2 AND {}",
            listed(tx.get_database_backend(), "notification_id")
        ),
        [ids(notifications.iter().copied())?, now.micros().into()],
    )
    .await?;
    Ok(woken.rows_affected() > 0)
}

/// Messages whose time has come.
pub async fn due(
    connection: &impl ConnectionTrait,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        connection,
        "SELECT notification_id FROM channel_fallback WHERE due_at <= $1 AND child_id IS NULL ORDER BY due_at LIMIT $2",
        [now.micros().into(), limit.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| column(row, "notification_id"))
        .collect()
}

/// What a message has planned, if it has not happened, locked until the transaction ends.
pub async fn lock(
    tx: &DatabaseTransaction,
    notification: Uuid,
) -> Result<Option<ChannelFallback>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let row = query_one(
        tx,
        format!(
            "SELECT notification_id, channels, after_seconds, sealed FROM channel_fallback \
             WHERE notification_id = $1 AND child_id IS NULL {lock}"
        ),
        [notification.into()],
    )
    .await?;
    let Some(row) = row else { return Ok(None) };
    let stored: StoredFallback = read_row(&row)?;
    let words: Vec<String> =
        serde_json::from_str(&stored.channels).map_err(|_unreadable| StoreError::Corrupt {
            table: "channel_fallback",
            row: notification.to_string(),
            column: "channels",
        })?;
    Ok(Some(ChannelFallback {
        notification_id: stored.notification_id,
        channels: words
            .iter()
            .filter_map(|word| MessageChannel::parse(word))
            .collect(),
        after_seconds: stored.after_seconds,
        sealed: stored.sealed,
    }))
}

/// Another message has taken its place.
pub async fn sent(
    tx: &DatabaseTransaction,
    notification: Uuid,
    child: Uuid,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE channel_fallback SET child_id = $2, sealed = NULL WHERE notification_id = $1",
        [notification.into(), child.into()],
    )
    .await?;
    Ok(())
}

/// It is decided later.
pub async fn put_off(
    tx: &DatabaseTransaction,
    notification: Uuid,
    until: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE channel_fallback SET due_at = $2 WHERE notification_id = $1",
        [notification.into(), until.micros().into()],
    )
    .await?;
    Ok(())
}

/// Only these channels are left.
pub async fn set_channels(
    tx: &DatabaseTransaction,
    notification: Uuid,
    channels: &[MessageChannel],
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE channel_fallback SET channels = $2 WHERE notification_id = $1",
        [notification.into(), words(channels).into()],
    )
    .await?;
    Ok(())
}

/// Channels as they are stored.
fn words(channels: &[MessageChannel]) -> String {
    let names: Vec<&str> = channels.iter().map(|channel| channel.name()).collect();
    serde_json::json!(names).to_string()
}

/// It is not needed.
pub async fn remove(tx: &DatabaseTransaction, notification: Uuid) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM channel_fallback WHERE notification_id = $1",
        [notification.into()],
    )
    .await?;
    Ok(())
}

/// Those of these messages that stand in for one that has arrived after all. The first ones are
/// locked against changes: a receipt is either seen here, or applied after this transaction.
pub async fn not_needed(
    tx: &DatabaseTransaction,
    children: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let backend = tx.get_database_backend();
    let parents = query(
        tx,
        format!(
            "SELECT p.id, f.child_id FROM channel_fallback f JOIN notification p ON p.id = f.notification_id \
             WHERE {} ORDER BY p.id {}",
            listed(backend, "f.child_id"),
            locking(backend, "FOR NO KEY UPDATE OF p")
        ),
        [ids(children.iter().copied())?],
    )
    .await?;
    let mut locked = Vec::with_capacity(parents.len());
    for row in &parents {
        locked.push((column::<Uuid>(row, "id")?, column::<Uuid>(row, "child_id")?));
    }
    // Read after the locks, so that what was committed while waiting for them is seen.
    let found = query(
        tx,
        format!(
            "SELECT id FROM notification WHERE (triggered & $2) <> 0 AND {}",
            listed(backend, "id")
        ),
        [
            ids(locked.iter().map(|(parent, _)| *parent))?,
            arrived().mask().into(),
        ],
    )
    .await?;
    let mut arrived = Vec::with_capacity(found.len());
    for row in &found {
        arrived.push(column::<Uuid>(row, "id")?);
    }
    Ok(locked
        .into_iter()
        .filter(|(parent, _)| arrived.contains(parent))
        .map(|(_, child)| child)
        .collect())
}
