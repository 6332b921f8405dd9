//! Worker that deletes rows past their retention time.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::time::Timestamp,
    engine::{Engine, runtime::retention::RetentionCleaner},
    state::Clock,
    store::StoreError,
};

/// Pause after a turn without anything to delete.
const NAP: Duration = Duration::from_mins(10);

/// How long nothing is deleted after a clock change.
const KEPT_AFTER_A_CHANGE: Duration = Duration::from_hours(1);

/// Pause between two chunks: ingest has priority.
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes a chunk of every kind of row that is old enough.
pub async fn turn(
    cleaner: &mut RetentionCleaner,
    engine: &Engine,
    now: Timestamp,
) -> Result<WorkerTurnOutcome, StoreError> {
    // A clock that was put forward by months can be corrected before any data are lost.
    if engine.clock.within(KEPT_AFTER_A_CHANGE).is_some() {
        return Ok(WorkerTurnOutcome::Idle);
    }
    Ok(if cleaner.turn(engine, now).await? > 0 {
        WorkerTurnOutcome::Worked
    } else {
        WorkerTurnOutcome::Idle
    })
}

/// Deletes until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let mut cleaner = RetentionCleaner::default();
    super::run("cleanup", stop, NAP, None, async || {
        let turn = turn(&mut cleaner, &engine, clock.now()).await?;
        if turn == WorkerTurnOutcome::Worked {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(turn)
    })
    .await;
}
