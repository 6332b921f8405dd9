//! Workers that fire follow-ups, and expand events with many recipients.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::time::Timestamp,
    engine::{Engine, delivery::follow_up, intake},
    state::Clock,
    store::StoreError,
};

/// Fires due follow-ups.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(
        if engine.may_claim() && follow_up::turn(engine, now).await? > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        },
    )
}

/// Expands one chunk of one event.
pub async fn expand_turn(engine: &Engine, now: Timestamp) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(
        if engine.may_claim() && intake::expand_turn(engine, now).await? {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        },
    )
}

/// Fires until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run(
        "timers",
        stop,
        Duration::from_secs(1),
        Some(&engine.followed_up),
        async || turn(&engine, clock.now()).await,
    )
    .await;
}

/// Expands until stopped.
pub async fn expand(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run(
        "expand",
        stop,
        Duration::from_secs(2),
        Some(&engine.unexpanded),
        async || expand_turn(&engine, clock.now()).await,
    )
    .await;
}
