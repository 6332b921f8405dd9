//! Worker that erases what callbacks hold of deleted people.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::time::Timestamp,
    engine::{Engine, people::erasure},
    state::Clock,
    store::StoreError,
};

/// Pause after a turn without anything to erase: a command beside the server wakes no worker.
const NAP: Duration = Duration::from_secs(5);

/// Pause between two steps: ingest has priority.
const PAUSE: Duration = Duration::from_millis(20);

/// Erases a little.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(if erasure::turn(engine, now).await? {
        WorkerTurnOutcome::Worked
    } else {
        WorkerTurnOutcome::Idle
    })
}

/// Erases until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let wake = Some(&engine.erasures_added);
    super::run("erasure", stop, NAP, wake, async || {
        let turn = turn(&engine, clock.now()).await?;
        if turn == WorkerTurnOutcome::Worked {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(turn)
    })
    .await;
}
