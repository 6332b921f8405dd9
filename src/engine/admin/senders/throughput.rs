//! What providers say of their numbers: how much each may send per second, and how people write it.

use uuid::Uuid;

use crate::{
    domain::{horizon, time::Timestamp},
    engine::Engine,
    providers::{AskError, MessageSender, NumberFacts},
    store::{StoreError, sender},
};

/// A number is asked about again after this.
const AGAIN_SECONDS: i64 = 6 * 60 * 60;

/// A provider that did not answer is asked again after this.
const AGAIN_AFTER_TROUBLE_SECONDS: i64 = 5 * 60;

/// Asks, if it is time. Says whether anything was learnt.
pub async fn turn(
    engine: &Engine,
    provider: &dyn MessageSender,
    id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(row) = sender::find(engine.store.reader(), id).await? else {
        return Ok(false);
    };
    let asked_at = row.pace_asked_at.map(Timestamp::from_micros);
    if asked_at.is_some_and(|at| horizon::is_recent(at, now, AGAIN_SECONDS * 1_000_000)) {
        return Ok(false);
    }
    let (facts, asked_at) = match provider.number().await {
        Ok(facts) => (facts, now),
        // It is no error of the message that waits: the usual pace is kept meanwhile.
        Err(AskError::Unsupported) => (NumberFacts::default(), now),
        Err(_) => (
            NumberFacts::default(),
            now.plus_seconds(AGAIN_AFTER_TROUBLE_SECONDS - AGAIN_SECONDS),
        ),
    };
    let reported = facts.per_second;
    let display_number = facts.display_number.as_deref();
    engine
        .store
        .write(async |tx| {
            sender::set_display_number(tx, id, display_number, now).await?;
            sender::set_reported_pace(tx, id, reported, asked_at).await
        })
        .await?;
    if reported.is_some() && reported != row.pace_reported {
        tracing::info!(event = "sender.throughput", sender.id = %id, per_second = reported, "provider throughput limit");
    }
    Ok(reported.is_some())
}
