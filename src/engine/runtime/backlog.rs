//! Measures how far processing is behind the stored callbacks, and reacts: acknowledgements are
//! delayed, timers wait, and ordinary callbacks are refused before they take the disk space that
//! processing needs.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    domain::{
        backlog::{self, OldestCallback},
        settings::BacklogLimits,
        time::Timestamp,
    },
    engine::Engine,
    store::{
        StoreError,
        callback::{self, CallbackBacklog},
        space,
    },
};

/// Interval of measurements, in microseconds.
const LOOK_MICROS: i64 = 1_000_000;

/// At most one part in so many of the time is spent measuring, however large the backlog.
const PAUSE_PER_LOOK: u32 = 20;

/// With up to so many callbacks, timers ask the database for the oldest one; beyond that they use
/// the last measurement.
const FEW: i64 = 10_000;

/// The last measurement of the backlog.
#[derive(Debug)]
pub struct CallbackBacklogMonitor {
    limits: BacklogLimits,
    lag_micros: AtomicI64,
    is_full: AtomicBool,
    measured: Mutex<CallbackBacklogMeasurement>,
}

#[derive(Clone, Copy, Debug, Default)]
struct CallbackBacklogMeasurement {
    callbacks: i64,
    oldest: Option<OldestCallback>,
    at: Timestamp,
    next_at: Timestamp,
}

impl CallbackBacklogMonitor {
    pub fn new(limits: BacklogLimits) -> Self {
        Self {
            limits,
            lag_micros: AtomicI64::new(0),
            is_full: AtomicBool::new(false),
            measured: Mutex::default(),
        }
    }

    /// How long to delay the acknowledgement of a stored callback.
    pub fn answer_delay(&self) -> Duration {
        backlog::answer_delay(
            self.lag_micros.load(Ordering::Acquire),
            self.limits.answer_delay,
        )
    }

    /// Whether an ordinary callback would take the space that processing needs.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut CallbackBacklogMeasurement),
    ) -> CallbackBacklogMeasurement {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut measured);
        *measured
    }
}

/// Measures the backlog if it is due.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let last = engine.backlog.change(|_| {});
    // A clock that was put back makes a measurement due.
    if now < last.next_at && now >= last.at {
        return Ok(());
    }
    measure(engine, now).await
}

/// Measures the backlog, and derives the reactions.
pub async fn measure(engine: &Engine, now: Timestamp) -> Result<(), StoreError> {
    let started = Instant::now();
    let (inbox, main) = (engine.store.inbox().by_index(), engine.store.by_index());
    let waiting = callback::waiting(inbox, main).await?;
    let lag = backlog::lag_micros(waiting.oldest, now);
    let is_full = is_full(engine, &waiting, now).await?;
    let pause = started.elapsed() * PAUSE_PER_LOOK;
    let pause = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
    engine.backlog.change(|measured| {
        *measured = CallbackBacklogMeasurement {
            callbacks: waiting.callbacks,
            oldest: OldestCallback::next(measured.oldest, waiting.oldest, now),
            at: now,
            next_at: now.plus_micros(pause.max(LOOK_MICROS)),
        };
    });
    let before = engine.backlog.lag_micros.swap(lag, Ordering::AcqRel);
    let was_full = engine.backlog.is_full.swap(is_full, Ordering::AcqRel);
    let (callbacks, seconds) = (waiting.callbacks, lag / 1_000_000);
    match (backlog::is_behind(before), backlog::is_behind(lag)) {
        (false, true) => tracing::warn!(
            event = "callbacks.behind",
            callbacks,
            seconds,
            "callbacks arrive faster than they are applied: delaying responses and timers"
        ),
        (true, false) => tracing::info!(
            event = "callbacks.caught_up",
            callbacks,
            seconds,
            "callback backlog cleared"
        ),
        _ => {}
    }
    match (was_full, is_full) {
        (false, true) => tracing::error!(
            event = "callbacks.no_room",
            callbacks,
            bytes = waiting.bytes,
            "too little disk space for more waiting callbacks: statuses get 503 until there is room; inbound messages and account updates are still accepted"
        ),
        (true, false) => {
            tracing::info!(
                event = "callbacks.room",
                callbacks,
                "there is disk space for waiting callbacks again: statuses are accepted"
            );
        }
        _ => {}
    }
    Ok(())
}

/// Whether the backlog has reached the space reserved for processing it.
pub(in crate::engine) async fn is_full(
    engine: &Engine,
    waiting: &CallbackBacklog,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if !backlog::is_behind(backlog::lag_micros(waiting.oldest, now)) {
        return Ok(false);
    }
    let limits = engine.backlog.limits;
    Ok(match space::free_bytes(&engine.store).await? {
        Some(free) => free < limits.reserved_disk_bytes,
        None => waiting.bytes >= limits.backlog_bytes,
    })
}

/// Timers that are due by this moment may fire: see [`backlog::timers_until`].
pub async fn timers_until(engine: &Engine, now: Timestamp) -> Result<Timestamp, StoreError> {
    let last = engine.backlog.change(|_| {});
    if last.callbacks > FEW {
        return Ok(backlog::timers_until(last.oldest, now));
    }
    let (inbox, main) = (engine.store.inbox().by_index(), engine.store.by_index());
    let oldest = callback::oldest(inbox, main).await?;
    let known = engine
        .backlog
        .change(|measured| measured.oldest = OldestCallback::next(measured.oldest, oldest, now));
    Ok(backlog::timers_until(known.oldest, now))
}
