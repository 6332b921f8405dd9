//! Heartbeats of workers: which are alive, and which have stopped.

use crate::{
    domain::{horizon, time::Timestamp},
    engine::Engine,
    store::{StoreError, heartbeat},
};

/// The workers of a process: the one that applies callbacks, and all others.
pub const WORKERS: [&str; 2] = ["apply", "work"];

/// Interval of heartbeats, in seconds.
pub const EVERY_SECONDS: i64 = 15;

/// A worker without a heartbeat for so long is dead, in seconds.
pub const DEAD_AFTER_SECONDS: i64 = 60;

/// Rows of dead processes are deleted after this, in seconds.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Writes a heartbeat.
pub async fn beat(engine: &Engine, worker: &str, now: Timestamp) -> Result<(), StoreError> {
    let before = now.plus_seconds(-FORGOTTEN_AFTER_SECONDS);
    engine
        .store
        .write(async |tx| heartbeat::beat(tx, engine.process, worker, before, now).await)
        .await
}

/// Deletes the heartbeats of workers that died before this process starts: its own workers are
/// about to begin, and the outage of the others is no longer an alarm.
pub async fn forget_dead(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let before = now.plus_seconds(-DEAD_AFTER_SECONDS);
    engine
        .store
        .write(async |tx| heartbeat::forget(tx, before).await)
        .await
}

/// Records that a worker of this process stops in order.
pub async fn gone(engine: &Engine, worker: &str) -> Result<(), StoreError> {
    engine
        .store
        .write(async |tx| heartbeat::gone(tx, engine.process, worker).await)
        .await
}

/// State of a kind of worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerLiveness {
    /// Some process has a recent heartbeat.
    Alive,
    /// No recent heartbeat, for so many seconds.
    Dead(i64),
    /// No heartbeat at all: there is no server, or it was stopped in order.
    Missing,
}

/// State of each kind of worker over all processes.
pub async fn pulses(
    engine: &Engine,
    now: Timestamp,
) -> Result<[(&'static str, WorkerLiveness); 2], StoreError> {
    let all = heartbeat::all(&engine.store).await?;
    Ok(WORKERS.map(|worker| {
        let last = all
            .iter()
            .filter(|beat| beat.worker == worker)
            // Written by a clock that was ahead: it says nothing about now.
            .filter(|beat| !horizon::is_ahead(Timestamp::from_micros(beat.seen_at), now))
            .map(|beat| beat.seen_at)
            .max();
        let pulse = last.map_or(WorkerLiveness::Missing, |at| {
            let ago = now.micros_since(Timestamp::from_micros(at)) / 1_000_000;
            if ago > DEAD_AFTER_SECONDS {
                WorkerLiveness::Dead(ago)
            } else {
                WorkerLiveness::Alive
            }
        });
        (worker, pulse)
    }))
}
