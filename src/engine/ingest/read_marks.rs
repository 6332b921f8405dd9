//! Marks inbound messages as read (blue ticks), if that is switched on.

use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    providers::{MessageSender, ProviderQueryError},
    store::{
        StoreError,
        inbound::{self, InboundProviderId},
    },
};

/// Messages marked in one turn.
const BATCH: u64 = 20;

/// Seconds until an unreachable provider is tried again; nothing waits for a tick.
const AGAIN_SECONDS: i64 = 60;

/// Messages older than this are not marked any more.
const GIVE_UP_SECONDS: i64 = 60 * 60;

/// Marks due messages. Returns the number processed.
pub async fn turn(
    engine: &Engine,
    provider: &dyn MessageSender,
    sender: Uuid,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let due = inbound::to_be_read(&engine.store, sender, now, BATCH).await?;
    // While sending is on hold, no call is made: a restored database does not know which calls were
    // made before.
    if due.is_empty() || engine.refresh_hold().await?.is_some() {
        return Ok(0);
    }
    for message in &due {
        let message_id = InboundProviderId::of(&message.provider_message_id).id();
        let marked = match provider.inbox() {
            Some(inbox) => inbox.mark_read(message_id).await,
            None => Err(ProviderQueryError::Unsupported),
        };
        let young = now.micros_since(Timestamp::from_micros(message.created_at))
            < GIVE_UP_SECONDS * 1_000_000;
        let again = match marked {
            Err(ProviderQueryError::Unreachable) if young => Some(now.plus_seconds(AGAIN_SECONDS)),
            _ => None,
        };
        let result = if marked.is_ok() { "marked" } else { "failed" };
        metrics::counter!("herald_read_marks_total", "result" => result).increment(1);
        engine
            .store
            .write(async |tx| inbound::set_read_due(tx, message.id, again).await)
            .await?;
    }
    Ok(due.len())
}
