//! Workers that fire follow-ups, look after verifications, and expand events with many recipients.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        delivery::{channel_fallback, follow_up},
        intake, verification,
    },
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

/// Ends codes whose time is over, and sends those that did not arrive by their next channel.
pub async fn verification_turn(
    engine: &Engine,
    now: Timestamp,
) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(
        if engine.may_claim() && verification::turn(engine, now).await? > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        },
    )
}

/// Sends what did not arrive by its next channel.
pub async fn fallback_turn(
    engine: &Engine,
    now: Timestamp,
) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(
        if engine.may_claim() && channel_fallback::turn(engine, now).await? > 0 {
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

/// Looks after verifications until stopped.
pub async fn verifications(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run(
        "verifications",
        stop,
        Duration::from_secs(1),
        None,
        async || verification_turn(&engine, clock.now()).await,
    )
    .await;
}

/// Looks after messages with another channel until stopped.
pub async fn fallbacks(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run(
        "fallbacks",
        stop,
        Duration::from_secs(1),
        None,
        async || fallback_turn(&engine, clock.now()).await,
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
