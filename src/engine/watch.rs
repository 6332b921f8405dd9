//! What happens because time passes: leases that run out, decisions about
//! unknown outcomes, expiry, staleness, queues that are held or released.

use super::{
    Engine, apply,
    transition::{self, Step},
};
use crate::{
    domain::{notification::Change, time::Timestamp},
    store::{StoreError, notification, parked},
};

/// Rows that go into one transaction.
const BATCH: i64 = 200;

/// Looks at what is due to be looked at. Says how many.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if !notification::any_woken(&engine.store, now).await? {
        return Ok(0);
    }
    let (count, report) = engine
        .store
        .write(async |tx| {
            let woken = notification::woken(tx, now, BATCH).await?;
            let steps: Vec<Step> = woken
                .iter()
                .map(|id| Step::new(*id, Change::Woken))
                .collect();
            let report = transition::run(engine, tx, &steps, now).await?;
            Ok((woken.len(), report))
        })
        .await?;
    report.publish(engine);
    Ok(count)
}

/// Joins parked statuses whose message has become known, and forgets those of
/// nobody. Says how many. An answer and its status may be committed at the same
/// time by two processes, neither seeing the other's: this is who looks again.
pub async fn parked_turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if parked::count(&engine.store).await? == 0 {
        return Ok(0);
    }
    let oldest = now.plus_seconds(-engine.settings.parked_seconds);
    let (count, report) = engine
        .store
        .write(async |tx| {
            let found = parked::joinable(tx, BATCH).await?;
            let mut ids = Vec::with_capacity(found.len());
            let mut steps = Vec::with_capacity(found.len());
            for joinable in found {
                ids.push(joinable.parked.id);
                if let Ok(update) = serde_json::from_str(&joinable.parked.update) {
                    steps.extend(apply::update_step(
                        &update,
                        joinable.notification_id,
                        joinable.attempt_id,
                        joinable.parked.callback_id,
                    ));
                }
            }
            let report = transition::run(engine, tx, &steps, now).await?;
            parked::remove(tx, &ids).await?;
            let forgotten = parked::expire(tx, oldest, BATCH).await?;
            metrics::counter!("herald_parked_forgotten_total").increment(forgotten);
            Ok((ids.len(), report))
        })
        .await?;
    report.publish(engine);
    Ok(count)
}

/// Moves due messages out of the queue while nothing can be sent. Says how many.
pub async fn hold(engine: &Engine, reason: &str, now: Timestamp) -> Result<u64, StoreError> {
    if notification::oldest_due(&engine.store, now)
        .await?
        .is_none()
    {
        return Ok(0);
    }
    engine
        .store
        .write(async |tx| notification::hold(tx, reason, now, BATCH).await)
        .await
}

/// Puts held messages back. Says how many.
pub async fn release(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    engine
        .store
        .write(async |tx| notification::release(tx, now, BATCH).await)
        .await
}
