//! Recomputes service windows after messages were moved to another contact.

use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    store::{DatabaseTransaction, StoreError, dialect::execute},
};

/// The window opened by a person's messages to a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceWindowTimes {
    pub last_inbound_at: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub free_until: Option<Timestamp>,
    /// When it must be looked at next.
    pub wake_at: Option<Timestamp>,
}

/// Replaces the stored window; the pair pace stays.
pub async fn reset(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    window: ServiceWindowTimes,
    now: Timestamp,
) -> Result<(), StoreError> {
    let micros = |instant: Option<Timestamp>| instant.map(Timestamp::micros);
    execute(
        tx,
        "INSERT INTO conversation (sender_id, contact_id, created_at, last_inbound_at, window_until, free_entry_until, wake_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (sender_id, contact_id) DO UPDATE SET \
         last_inbound_at = excluded.last_inbound_at, \
         wake_at = CASE WHEN coalesce(conversation.window_until, 0) = coalesce(excluded.window_until, 0) \
         THEN conversation.wake_at ELSE excluded.wake_at END, \
         window_until = excluded.window_until, free_entry_until = excluded.free_entry_until",
        [
            sender.into(),
            contact.into(),
            now.micros().into(),
            micros(window.last_inbound_at).into(),
            micros(window.until).into(),
            micros(window.free_until).into(),
            micros(window.wake_at).into(),
        ],
    )
    .await?;
    Ok(())
}
