//! Worker that notifies open dashboard pages of changes.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    engine::{Engine, runtime::live_pages},
    state::Clock,
};

/// Least time between two notifications.
const NAP: Duration = Duration::from_secs(1);

/// Checks until stopped; then ends all subscriptions.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("live", stop, NAP, Some(&engine.live.opened), async || {
        live_pages::turn(&engine, clock.now()).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
    engine.live.end();
}
