//! What answers to calls say of who is who: with every message to somebody new there is something,
//! and together it costs one transaction. What is lost with the process, the statuses of the same
//! messages say again.

use super::{are_known, meet};
use crate::{
    domain::time::Timestamp,
    engine::{Engine, runtime::sighting::Sighting},
    error::ErrorChain,
    store::StoreError,
};

/// Learns what has waited long enough. Says how many there were.
pub async fn learn_due(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if engine.pending_sightings.is_due(now) {
        learn_answered(engine, now).await
    } else {
        Ok(0)
    }
}

/// Learns all of it. Says how many there were.
pub async fn learn_answered(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let taken = engine.pending_sightings.take();
    let sightings: Vec<Sighting> = taken.iter().map(|(sighting, _)| sighting.clone()).collect();
    // Most of them are known for long: nothing is written for these.
    let learned = async {
        if sightings.is_empty() || are_known(engine, &sightings).await? {
            return Ok(());
        }
        engine
            .store
            .write(async |tx| meet(engine, tx, &sightings, now).await.map(drop))
            .await
    };
    if let Err(error) = learned.await {
        tracing::warn!(event = "identity.not_learned", error = %ErrorChain(&error), "identity evidence from send responses could not be stored: retrying");
        engine.pending_sightings.put_back(taken);
        return Err(error);
    }
    Ok(sightings.len())
}
