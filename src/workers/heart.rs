//! Signs of life of the thread it runs on, and of the keys that are used.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
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

/// Gives a sign of life again and again; when stopped in order, takes it back.
pub async fn run(engine: Arc<Engine>, worker: &'static str, clock: Clock, stop: CancellationToken) {
    let every = Duration::from_secs(EVERY_SECONDS.unsigned_abs());
    super::run("heart", stop, every, None, async || {
        heartbeat::beat(&engine, worker, clock.now()).await?;
        access::write_uses(&engine, clock.now()).await?;
        Ok(Turn::Idle)
    })
    .await;
    if let Err(error) = heartbeat::gone(&engine, worker).await {
        tracing::warn!(event = "heartbeat.left", %error, "the stop of this process could not be recorded");
    }
}
