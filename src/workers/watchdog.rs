//! Looks at what time brings: leases, decisions, expiry, and at the clock itself.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Turn;
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

/// Looks once.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<Turn, StoreError> {
    Ok(
        if engine.may_claim() && sweeper::turn(engine, now).await? > 0 {
            Turn::Worked
        } else {
            Turn::Idle
        },
    )
}

/// What was put wrong by a clock is looked for this often.
const MEND_EVERY: Duration = Duration::from_secs(30);

/// The watch over the clock itself: how it goes beside a monotonic one.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// What both clocks said last.
    last: Option<(Timestamp, Duration)>,
    /// When rows were looked over last, on the monotonic clock.
    mended_at: Option<Duration>,
    /// Until then, on the monotonic clock, nothing is decided because time has passed.
    calm_until: Option<Duration>,
}

impl Watchdog {
    /// Looks once. `monotonic` is the time since some moment.
    ///
    /// When the clock was changed, rows are put right first. For one full lease nothing is
    /// decided then: the holder of a lease, here or elsewhere, may be at work.
    pub async fn turn(
        &mut self,
        engine: &Engine,
        now: Timestamp,
        monotonic: Duration,
    ) -> Result<Turn, StoreError> {
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
            return Ok(Turn::Idle);
        }
        turn(engine, now).await
    }

    fn step(&mut self, now: Timestamp, monotonic: Duration) -> Option<i64> {
        let (before, then) = self.last.replace((now, monotonic))?;
        let elapsed = monotonic.saturating_sub(then).as_micros();
        horizon::step(before, now, i64::try_from(elapsed).unwrap_or(i64::MAX))
    }
}

/// Looks until stopped.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let began = Instant::now();
    let mut watchdog = Watchdog::default();
    super::run("watchdog", stop, Duration::from_secs(1), None, async || {
        watchdog.turn(&engine, clock.now(), began.elapsed()).await
    })
    .await;
}

/// Follows the database's clock until stopped. SQLite's is ours.
pub async fn run_clock(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let Some(reference) = clock.reference().filter(|_| !engine.store.is_sqlite()) else {
        return;
    };
    super::run("clock", stop, Duration::from_secs(5), None, async || {
        reference.follow(&engine.store).await?;
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
        let told = service_window::turn(&engine, now).await?
            + silent_senders::turn(&engine, now).await?
            + identity::decide_due(&engine, now).await?;
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
        let joined = sweeper::parked_turn(&engine, clock.now()).await?;
        Ok(if joined > 0 { Turn::Worked } else { Turn::Idle })
    })
    .await;
}
