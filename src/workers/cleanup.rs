//! Deletes what is old enough, beside everything else.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{
    domain::time::Timestamp,
    engine::{Engine, retention::Cleaner},
    state::Clock,
    store::StoreError,
};

/// When there was nothing to delete, it is looked again after this.
const NAP: Duration = Duration::from_mins(10);

/// Between two chunks: ingest goes first.
const PAUSE: Duration = Duration::from_millis(100);

/// Deletes a chunk of everything that is old enough.
pub async fn turn(
    cleaner: &mut Cleaner,
    engine: &Engine,
    now: Timestamp,
) -> Result<Turn, StoreError> {
    Ok(if cleaner.turn(engine, now).await? > 0 {
        Turn::Worked
    } else {
        Turn::Idle
    })
}

/// Deletes until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let mut cleaner = Cleaner::default();
    super::run("cleanup", stop, NAP, None, async || {
        let turn = turn(&mut cleaner, &engine, clock.now()).await?;
        if turn == Turn::Worked {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(turn)
    })
    .await;
}
