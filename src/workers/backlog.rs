//! Worker that measures how far processing is behind.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    engine::{Engine, runtime::backlog},
    state::Clock,
};

/// Measures until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("backlog", stop, Duration::from_secs(1), None, async || {
        backlog::turn(&engine, clock.now()).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}
