//! Worker that checks whether the database is in the state it was left in.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    engine::{Engine, runtime::lineage},
    state::Clock,
};

/// Lost commits are noticed after at most this time even if nothing is sent, and otherwise at the
/// next claim.
const NAP: Duration = Duration::from_secs(5);

/// Compares until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("lineage", stop, NAP, None, async || {
        lineage::turn(&engine, clock.now()).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}
