//! What people do by hand.

use uuid::Uuid;

use super::{
    Engine,
    transition::{self, Step},
};
use crate::{
    domain::{
        notification::{Change, Effect},
        time::Timestamp,
    },
    store::StoreError,
};

/// What came of a manual change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Yes,
    /// The state does not allow it; this is why.
    No(&'static str),
    NotFound,
}

/// Queues a notification anew, in a new generation.
pub async fn retry(
    engine: &Engine,
    id: Uuid,
    even_if_delivered: bool,
    now: Timestamp,
) -> Result<Done, StoreError> {
    change(engine, id, Change::RetryAsked { even_if_delivered }, now).await
}

/// Takes a waiting notification out of the queue for good.
pub async fn cancel(
    engine: &Engine,
    id: Uuid,
    reason: String,
    now: Timestamp,
) -> Result<Done, StoreError> {
    change(engine, id, Change::Cancelled { reason }, now).await
}

async fn change(
    engine: &Engine,
    id: Uuid,
    change: Change,
    now: Timestamp,
) -> Result<Done, StoreError> {
    let report = engine
        .store
        .write(async |tx| {
            let lifetime = engine.settings.expires_after_seconds;
            if matches!(change, Change::RetryAsked { .. }) {
                crate::store::notification::extend(tx, id, now.plus_seconds(lifetime), now).await?;
            }
            transition::run(engine, tx, &[Step::new(id, change.clone())], now).await
        })
        .await?;
    report.publish(engine);
    Ok(match report.effects.into_iter().next().flatten() {
        Some(Effect::Applied(_)) => Done::Yes,
        Some(Effect::Ignored(reason)) => Done::No(reason),
        None => Done::NotFound,
    })
}
