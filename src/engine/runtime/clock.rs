//! The time of this process, and the repair of rows after a clock change.
//!
//! On PostgreSQL it is the database's time: its offset from this machine is measured regularly, and
//! a monotonic clock counts in between. So processes agree, and a machine whose clock is wrong does
//! no harm. On SQLite it is the machine's time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    domain::{horizon::StoredTimestampKind, time::Timestamp, timeline::TimelineEntryKind},
    engine::Engine,
    store::{Store, StoreError, horizon, setting, timeline},
};

/// The time of the machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that asks what time it is"
)]
pub fn machine_now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
}

/// The clock that counts between two measurements.
#[derive(Debug)]
enum LocalClock {
    /// The machine's monotonic clock, from its first use.
    Machine,
    /// Stands still until it is set: for tests.
    Fixed(Arc<AtomicI64>),
}

impl LocalClock {
    fn now(&self) -> Timestamp {
        static FIRST: LazyLock<(Instant, Timestamp)> =
            LazyLock::new(|| (Instant::now(), machine_now()));
        match self {
            Self::Machine => {
                let (instant, first) = *FIRST;
                first.plus_micros(micros(instant.elapsed()))
            }
            Self::Fixed(micros) => Timestamp::from_micros(micros.load(Ordering::Acquire)),
        }
    }

    /// The same clock as a shared value that a test can set.
    fn machine(&self) -> Timestamp {
        match self {
            Self::Machine => machine_now(),
            Self::Fixed(_) => self.now(),
        }
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The database's time as last measured; before the first measurement, the machine's.
#[derive(Debug)]
pub struct DatabaseClock {
    local: LocalClock,
    /// Offset of the database's clock from the local one, in microseconds; positive if ahead.
    ahead: AtomicI64,
    is_measured: AtomicBool,
}

/// A process works with one database.
pub static OF_PROCESS: DatabaseClock = DatabaseClock::new(LocalClock::Machine);

impl DatabaseClock {
    const fn new(local: LocalClock) -> Self {
        Self {
            local,
            ahead: AtomicI64::new(0),
            is_measured: AtomicBool::new(false),
        }
    }

    /// A reference for a machine whose clock has this value: for tests.
    pub const fn of(machine: Arc<AtomicI64>) -> Self {
        Self::new(LocalClock::Fixed(machine))
    }

    pub fn now(&self) -> Timestamp {
        if self.is_measured.load(Ordering::Acquire) {
            self.reckoned()
        } else {
            self.local.machine()
        }
    }

    fn reckoned(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Acquire);
        self.local.now().plus_micros(ahead)
    }

    /// Measures the offset of the database's clock. An offset within the round-trip time counts as
    /// none. On an error the last measurement stays.
    pub async fn follow(&self, store: &Store) -> Result<(), StoreError> {
        let Some(more) = setting::clock_ahead_micros(store, || self.reckoned()).await? else {
            return Ok(());
        };
        self.ahead.fetch_add(more, Ordering::AcqRel);
        self.is_measured.store(true, Ordering::Release);
        let machine = self.reckoned().micros_since(self.local.machine());
        metrics::gauge!("herald_clock_difference_seconds")
            .set(Duration::from_micros(machine.unsigned_abs()).as_secs_f64());
        Ok(())
    }
}

/// For so long after a clock change, rows written by the wrong clock are searched for repeatedly.
const SETTLING: Duration = Duration::from_mins(5);

/// The clock changes that this process has noticed.
#[derive(Debug, Default)]
pub struct ClockChanges(Mutex<ClockChangeState>);

#[derive(Debug, Default)]
struct ClockChangeState {
    /// The last step: its time on the monotonic clock, and its size.
    step: Option<(Instant, i64)>,
    /// Rows from a clock that was ahead have been repaired up to here.
    mended: horizon::FutureTimestampTraces,
}

impl ClockChanges {
    /// Records that the clock was put forward, or back (negative).
    pub fn note(&self, step_micros: i64) {
        *self.lock() = ClockChangeState {
            step: Some((Instant::now(), step_micros)),
            mended: horizon::FutureTimestampTraces::default(),
        };
    }

    /// The change of the clock within this time, in microseconds, if there was one.
    pub fn within(&self, time: Duration) -> Option<i64> {
        self.lock()
            .step
            .filter(|(at, _)| at.elapsed() < time)
            .map(|(_, step)| step)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ClockChangeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Repairs timestamps written by a clock that was ahead: see [`horizon`]. Returns the number
/// repaired.
pub async fn mend_turn(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let bounds = engine.settings.horizon();
    let traces = horizon::traces(&engine.store, &bounds, now).await?;
    let known = traces == engine.clock.lock().mended;
    // Rows that were being written during the change appear a little later.
    let lately = engine.clock.within(SETTLING).is_some();
    if !traces.any() || (known && !lately) {
        return Ok(0);
    }
    let mut counts: BTreeMap<StoredTimestampKind, u64> = BTreeMap::new();
    let all_mended = loop {
        let found = horizon::find(&engine.store, &bounds, now).await?;
        let of_inbox = engine
            .store
            .inbox()
            .write(async |tx| horizon::mend_inbox(tx, &bounds, now).await)
            .await?;
        let chunk = engine
            .store
            .write(async |tx| {
                let chunk = horizon::mend(tx, &found, &bounds, now).await?;
                let waiting = chunk
                    .messages
                    .iter()
                    .filter(|it| it.kind != StoredTimestampKind::Stale);
                for message in waiting {
                    let detail = json!({
                        "instant": message.kind.name(), "was": message.was.to_string(),
                    });
                    let id = message.notification_id;
                    timeline::note(
                        tx,
                        id,
                        TimelineEntryKind::ClockChanged,
                        Some(detail.to_string()),
                        now,
                    )
                    .await?;
                }
                Ok(chunk)
            })
            .await?;
        if chunk.counts.is_empty() && of_inbox.counts.is_empty() {
            // Rows that another transaction is changing are checked again.
            break found.is_empty();
        }
        for (kind, count) in chunk.counts.into_iter().chain(of_inbox.counts) {
            *counts.entry(kind).or_default() += count;
        }
    };
    if all_mended {
        engine.clock.lock().mended = traces.mended();
    }
    for (kind, count) in &counts {
        metrics::counter!("herald_clock_corrected_total", "instant" => kind.name())
            .increment(*count);
    }
    if !counts.is_empty() {
        let kinds = said(counts.iter().map(|(kind, count)| (*kind, *count)));
        tracing::warn!(
            event = "clock.corrected",
            kinds,
            "clock change detected: timestamps too far in the future were corrected"
        );
        engine.wake_senders();
        engine.followed_up.notify_one();
    }
    Ok(counts.values().sum())
}

/// Kinds with their counts, for people.
pub fn said(counts: impl Iterator<Item = (StoredTimestampKind, u64)>) -> String {
    let parts: Vec<String> = counts
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    parts.join(", ")
}
