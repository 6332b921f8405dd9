//! Applies the identity evidence in responses to calls, in batches: every message to a new contact
//! brings some, and a batch costs one transaction. Evidence that is lost with the process comes
//! again in the statuses of the same messages.

use super::{are_known, meet};
use crate::{
    domain::time::Timestamp,
    engine::{Engine, runtime::sighting::PersonSighting},
    error::ErrorChain,
    store::StoreError,
};

/// Applies the pending evidence if it has waited long enough. Returns the number of items.
pub async fn learn_due(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if engine.pending_sightings.is_due(now) {
        learn_answered(engine, now).await
    } else {
        Ok(0)
    }
}

/// Applies all pending evidence. Returns the number of items.
pub async fn learn_answered(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let taken = engine.pending_sightings.take();
    let sightings: Vec<PersonSighting> =
        taken.iter().map(|(sighting, _)| sighting.clone()).collect();
    // Most of it is known already: nothing is written for that.
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
        tracing::warn!(event = "identity.not_learned", error = %ErrorChain(&error), "what responses to sent messages say about recipients' numbers and user ids could not be stored: retrying");
        engine.pending_sightings.put_back(taken);
        return Err(error);
    }
    Ok(sightings.len())
}
