//! The time that this process works by, and what becomes of rows when a clock was changed.
//!
//! On PostgreSQL it is the database's: how far that is from this machine's is measured
//! again and again, and in between a monotonic clock counts. So processes agree, and a
//! machine whose clock is wrong harms nothing. On SQLite it is the machine's.

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
    domain::{horizon::Kind, time::Timestamp, timeline::TimelineKind},
    engine::Engine,
    store::{Store, StoreError, horizon, setting, timeline},
};

/// What the machine's clock says.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that asks what time it is"
)]
pub fn machine_now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
}

/// What goes on evenly between two measures.
#[derive(Debug)]
enum Local {
    /// The machine's monotonic clock, from when it was first asked.
    Machine,
    /// Stands still until it is set: for tests.
    Fixed(Arc<AtomicI64>),
}

impl Local {
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

    /// The same as others see it, who may set it.
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

/// The database's time, as far as it is known; before it was asked for the first time,
/// the machine's.
#[derive(Debug)]
pub struct Reference {
    local: Local,
    /// How far the database's clock is ahead of the local one, in microseconds.
    ahead: AtomicI64,
    is_measured: AtomicBool,
}

/// A process works with one database.
pub static OF_PROCESS: Reference = Reference::new(Local::Machine);

impl Reference {
    const fn new(local: Local) -> Self {
        Self {
            local,
            ahead: AtomicI64::new(0),
            is_measured: AtomicBool::new(false),
        }
    }

    /// One of a machine whose clock says this: for tests.
    pub const fn of(machine: Arc<AtomicI64>) -> Self {
        Self::new(Local::Fixed(machine))
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

    /// Measures how far the database's clock is ahead. What is within the round trip is
    /// no difference. An error leaves what was measured before.
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

/// After a change of the clock, what was written by the clock before is looked for again
/// and again for so long.
const SETTLING: Duration = Duration::from_mins(5);

/// What this process has seen of changed clocks.
#[derive(Debug, Default)]
pub struct Changes(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The last step: when, on the monotonic clock, and by how much.
    step: Option<(Instant, i64)>,
    /// Of what was made by a clock that was ahead, everything up to here is put right.
    mended: horizon::Traces,
}

impl Changes {
    /// Notes that the clock was put forward, or back (negative).
    pub fn note(&self, step_micros: i64) {
        *self.lock() = Seen {
            step: Some((Instant::now(), step_micros)),
            mended: horizon::Traces::default(),
        };
    }

    /// By how much the clock was changed within this time, in microseconds, if it was.
    pub fn within(&self, time: Duration) -> Option<i64> {
        self.lock()
            .step
            .filter(|(at, _)| at.elapsed() < time)
            .map(|(_, step)| step)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts right what a clock that was ahead has left behind: see [`horizon`]. Says how many
/// instants that were.
pub async fn mend_turn(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let bounds = engine.settings.horizon();
    let traces = horizon::traces(&engine.store, &bounds, now).await?;
    let known = traces == engine.clock.lock().mended;
    // What was being written when the clock was changed comes a little later.
    let lately = engine.clock.within(SETTLING).is_some();
    if !traces.any() || (known && !lately) {
        return Ok(0);
    }
    let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
    let all_mended = loop {
        let found = horizon::find(&engine.store, &bounds, now).await?;
        let chunk = engine
            .store
            .write(async |tx| {
                let chunk = horizon::mend(tx, &found, &bounds, now).await?;
                let waiting = chunk.messages.iter().filter(|it| it.kind != Kind::Stale);
                for message in waiting {
                    let detail = json!({
                        "instant": message.kind.name(), "was": message.was.to_string(),
                    });
                    let id = message.notification_id;
                    timeline::note(
                        tx,
                        id,
                        TimelineKind::ClockChanged,
                        Some(detail.to_string()),
                        now,
                    )
                    .await?;
                }
                Ok(chunk)
            })
            .await?;
        if chunk.counts.is_empty() {
            // What another transaction is changing at this moment is looked at again.
            break found.is_empty();
        }
        for (kind, count) in chunk.counts {
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
pub fn said(counts: impl Iterator<Item = (Kind, u64)>) -> String {
    let parts: Vec<String> = counts
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    parts.join(", ")
}
