//! Looks at what nobody else will: leases, decisions, expiry.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{
    domain::time::Timestamp,
    engine::{Engine, alarms, silence, watch, window},
    state::Clock,
    store::StoreError,
};

/// Looks once.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<Turn, StoreError> {
    Ok(
        if engine.may_claim() && watch::turn(engine, now).await? > 0 {
            Turn::Worked
        } else {
            Turn::Idle
        },
    )
}

/// Looks until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("watchdog", stop, Duration::from_secs(1), None, async || {
        turn(&engine, clock.now()).await
    })
    .await;
}

/// Compares clocks until stopped.
pub async fn run_clock(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("clock", stop, Duration::from_secs(30), None, async || {
        watch::clock_turn(&engine, || clock.now()).await?;
        Ok(Turn::Idle)
    })
    .await;
}

/// Tells of windows that are closing, and of senders of which nothing is heard.
pub async fn run_windows(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("windows", stop, Duration::from_secs(30), None, async || {
        if !engine.may_claim() {
            return Ok(Turn::Idle);
        }
        let now = clock.now();
        let told = window::turn(&engine, now).await? + silence::turn(&engine, now).await?;
        Ok(if told > 0 { Turn::Worked } else { Turn::Idle })
    })
    .await;
}

/// Raises and clears alarms until stopped.
pub async fn run_alarms(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("alarms", stop, Duration::from_secs(30), None, async || {
        let changed = alarms::turn(&engine, clock.now()).await?;
        Ok(if changed > 0 {
            Turn::Worked
        } else {
            Turn::Idle
        })
    })
    .await;
}

/// Looks at parked statuses until stopped.
pub async fn run_parked(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("parked", stop, Duration::from_secs(5), None, async || {
        let joined = watch::parked_turn(&engine, clock.now()).await?;
        Ok(if joined > 0 { Turn::Worked } else { Turn::Idle })
    })
    .await;
}
