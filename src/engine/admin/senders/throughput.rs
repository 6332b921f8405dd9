//! Reads from providers how many messages a number may send per second, and its displayed form.

use uuid::Uuid;

use crate::{
    domain::{horizon, time::Timestamp},
    engine::Engine,
    providers::{MessageSender, ProviderQueryError, SenderNumberFacts},
    store::{StoreError, sender},
};

/// Interval between two queries for a number.
const AGAIN_SECONDS: i64 = 6 * 60 * 60;

/// Interval after a provider did not answer.
const AGAIN_AFTER_TROUBLE_SECONDS: i64 = 5 * 60;

/// Queries the provider if it is due. Returns whether anything was learned.
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
        // This is no error of a waiting message: the usual pace applies meanwhile.
        Err(ProviderQueryError::Unsupported) => (SenderNumberFacts::default(), now),
        Err(_) => (
            SenderNumberFacts::default(),
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
        tracing::info!(event = "sender.throughput", sender.id = %id, per_second = reported, "the provider reported a new limit of messages per second for this sender");
    }
    Ok(reported.is_some())
}
