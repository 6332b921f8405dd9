//! Workers for what becomes due with time: leases, decisions, expiry, service windows, alarms, and
//! changes of the clock.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::{horizon, time::Timestamp},
    engine::{
        Engine,
        delivery::{service_window, silent_senders, sweeper},
        insight::alarms,
        people::identity,
        runtime::clock,
    },
    state::Clock,
    store::StoreError,
};

/// Runs the sweeper once.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(
        if engine.may_claim() && sweeper::turn(engine, now).await? > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        },
    )
}

/// Interval of the search for rows written by a wrong clock.
const MEND_EVERY: Duration = Duration::from_secs(30);

/// Watches the clock by comparing it with a monotonic one.
#[derive(Debug, Default)]
pub struct ClockWatchdog {
    /// The last readings of both clocks.
    last: Option<(Timestamp, Duration)>,
    /// When rows were last repaired, on the monotonic clock.
    mended_at: Option<Duration>,
    /// Until then, on the monotonic clock, nothing is decided because time has passed.
    calm_until: Option<Duration>,
}

impl ClockWatchdog {
    /// Runs one turn. `monotonic` is the time since an arbitrary moment.
    ///
    /// After a clock change rows are repaired first. For one full lease nothing is decided then:
    /// the holder of a lease, here or elsewhere, may be active.
    pub async fn turn(
        &mut self,
        engine: &Engine,
        now: Timestamp,
        monotonic: Duration,
    ) -> Result<WorkerTurnOutcome, StoreError> {
        let stepped = self.step(now, monotonic);
        if let Some(step) = stepped {
            metrics::counter!("herald_clock_steps_total").increment(1);
            tracing::warn!(
                event = "clock.changed",
                seconds = step / 1_000_000,
                "clock jump detected (negative: backwards), or the machine was suspended"
            );
            engine.clock.note(step);
            engine.set_clock_changed(true);
            let lease = engine.settings.policy.lease_seconds.max(0).unsigned_abs();
            self.calm_until = Some(monotonic + Duration::from_secs(lease));
            self.mended_at = None;
        }
        let is_time = self
            .mended_at
            .is_none_or(|at| monotonic.saturating_sub(at) >= MEND_EVERY);
        if is_time {
            clock::mend_turn(engine, now).await?;
            engine.set_clock_changed(false);
            self.mended_at = Some(monotonic);
        }
        if self.calm_until.is_some_and(|until| monotonic < until) {
            return Ok(WorkerTurnOutcome::Idle);
        }
        turn(engine, now).await
    }

    fn step(&mut self, now: Timestamp, monotonic: Duration) -> Option<i64> {
        let (before, then) = self.last.replace((now, monotonic))?;
        let elapsed = monotonic.saturating_sub(then).as_micros();
        horizon::step(before, now, i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// Runs until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let began = Instant::now();
    let mut watchdog = ClockWatchdog::default();
    super::run("watchdog", stop, Duration::from_secs(1), None, async || {
        watchdog.turn(&engine, clock.now(), began.elapsed()).await
    })
    .await;
}

/// Follows the database's clock until stopped. With SQLite it is the machine's.
pub async fn run_clock(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let Some(reference) = clock.reference().filter(|_| !engine.store.is_sqlite()) else {
        return;
    };
    super::run("clock", stop, Duration::from_secs(5), None, async || {
        reference.follow(&engine.store).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}

/// Reports closing service windows and silent senders.
pub async fn run_windows(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("windows", stop, Duration::from_secs(30), None, async || {
        if !engine.may_claim() {
            return Ok(WorkerTurnOutcome::Idle);
        }
        let now = clock.now();
        let reminded = service_window::turn(&engine, now).await?
            + silent_senders::turn(&engine, now).await?
            + identity::decide_due(&engine, now).await?;
        Ok(if reminded > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        })
    })
    .await;
}

/// Raises and clears alarms until stopped.
pub async fn run_alarms(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("alarms", stop, Duration::from_secs(30), None, async || {
        let changed = alarms::turn(&engine, clock.now()).await?;
        Ok(if changed > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        })
    })
    .await;
}

/// Joins parked statuses until stopped.
pub async fn run_parked(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    super::run("parked", stop, Duration::from_secs(5), None, async || {
        let joined = sweeper::parked_turn(&engine, clock.now()).await?;
        Ok(if joined > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        })
    })
    .await;
}
