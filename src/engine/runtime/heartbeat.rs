//! Signs of life: who works, and who has stopped.

use crate::{
    domain::{horizon, time::Timestamp},
    engine::Engine,
    store::{StoreError, heartbeat},
};

/// The workers of a process: those that apply callbacks, and all others.
pub const WORKERS: [&str; 2] = ["apply", "work"];

/// A worker gives a sign of life so often, in seconds.
pub const EVERY_SECONDS: i64 = 15;

/// Whoever has given none for so long is dead, in seconds.
pub const DEAD_AFTER_SECONDS: i64 = 60;

/// What is left of a dead process is forgotten after this, in seconds.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 60 * 60;

/// Gives a sign of life.
pub async fn beat(engine: &Engine, worker: &str, now: Timestamp) -> Result<(), StoreError> {
    let before = now.plus_seconds(-FORGOTTEN_AFTER_SECONDS);
    engine
        .store
        .write(async |tx| heartbeat::beat(tx, engine.process, worker, before, now).await)
        .await
}

/// Forgets workers that died before this process starts: its own are about to begin, and
/// that others were dead meanwhile is no alarm any more.
pub async fn forget_dead(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let before = now.plus_seconds(-DEAD_AFTER_SECONDS);
    engine
        .store
        .write(async |tx| heartbeat::forget(tx, before).await)
        .await
}

/// Says that a worker of this process stops in order.
pub async fn gone(engine: &Engine, worker: &str) -> Result<(), StoreError> {
    engine
        .store
        .write(async |tx| heartbeat::gone(tx, engine.process, worker).await)
        .await
}

/// How a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Some process has been seen at it.
    Alive,
    /// Nobody has, for so many seconds.
    Dead(i64),
    /// Nobody ever was: there is no server, or it has stopped in order.
    Nobody,
}

/// How each kind of worker does, over all processes.
pub async fn pulses(
    engine: &Engine,
    now: Timestamp,
) -> Result<[(&'static str, Pulse); 2], StoreError> {
    let all = heartbeat::all(&engine.store).await?;
    Ok(WORKERS.map(|worker| {
        let last = all
            .iter()
            .filter(|beat| beat.worker == worker)
            // By a clock that was ahead: it says nothing of now.
            .filter(|beat| !horizon::is_ahead(Timestamp::from_micros(beat.seen_at), now))
            .map(|beat| beat.seen_at)
            .max();
        let pulse = last.map_or(Pulse::Nobody, |at| {
            let ago = now.micros_since(Timestamp::from_micros(at)) / 1_000_000;
            if ago > DEAD_AFTER_SECONDS {
                Pulse::Dead(ago)
            } else {
                Pulse::Alive
            }
        });
        (worker, pulse)
    }))
}
