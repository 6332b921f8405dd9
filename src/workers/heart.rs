//! Worker that writes heartbeats of its thread, and the last uses of API keys.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    engine::{
        Engine,
        runtime::{
            access,
            heartbeat::{self, EVERY_SECONDS},
        },
    },
    state::Clock,
};

/// Writes heartbeats; when stopped in order, deletes the last one.
pub async fn run(engine: Arc<Engine>, worker: &'static str, clock: Clock, stop: CancellationToken) {
    let every = Duration::from_secs(EVERY_SECONDS.unsigned_abs());
    super::run("heart", stop, every, None, async || {
        heartbeat::beat(&engine, worker, clock.now()).await?;
        access::write_uses(&engine, clock.now()).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
    if let Err(error) = heartbeat::gone(&engine, worker).await {
        tracing::warn!(event = "heartbeat.left", %error, "the orderly stop of this process could not be recorded: its worker may be reported as dead");
    }
}
