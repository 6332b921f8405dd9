//! Workers, queues, and what waits in them.

use std::time::Duration;

use super::{Finding, Urgency};
use crate::{
    domain::{
        access::Bounds,
        alarm::{AlarmKind, Measure},
        backlog::BEHIND_SECONDS,
        own_event::SOURCE,
        time::Timestamp,
    },
    engine::{
        Engine,
        runtime::{
            backlog,
            heartbeat::{self, Pulse},
        },
    },
    store::{StoreError, callback, dead_letter, event, notification, parked},
};

/// Types without a route are looked for so far back, in seconds.
const UNROUTED_SECONDS: i64 = 24 * 60 * 60;

/// So many of them are named.
const UNROUTED_TYPES: i64 = 20;

/// A status may wait so long for its message, in seconds: an answer can be late.
const PARKED_SECONDS: i64 = 10 * 60;

/// That the clock was changed is shown for so long.
const CLOCK_SHOWN: Duration = Duration::from_hours(1);

/// Events that are posted and to which no route listens.
pub(super) async fn unrouted(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let since = now.plus_seconds(-UNROUTED_SECONDS);
    for (kind, count) in event::unrouted_types(&engine.store, SOURCE, since, UNROUTED_TYPES).await?
    {
        let summary =
            format!("No route listens to {kind}: {count} of the newest events made nothing.");
        found.push(
            Finding::new(AlarmKind::EventUnrouted, Urgency::Soon, Measure::flag(true), summary)
                .of(&kind)
                .means(
                    "A product posts it and gets 202; no message comes of it.",
                    "Write a route for it and herald apply, then herald events replay; or let the product stop. Is the type spelled as in the catalogue? herald events list shows what was posted.",
                ),
        );
    }
    Ok(())
}

/// Whether somebody works.
pub(super) async fn workers(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    for (worker, pulse) in heartbeat::pulses(engine, now).await? {
        let (dead, summary) = match pulse {
            Pulse::Alive | Pulse::Nobody => (false, format!("The worker {worker} works.")),
            Pulse::Dead(seconds) => (
                true,
                format!("The worker {worker} has given no sign of life for {seconds} seconds."),
            ),
        };
        let meaning = if worker == "apply" {
            "Callbacks are stored and not applied: nobody learns what was delivered."
        } else {
            "Nothing is sent, and no follow-up fires."
        };
        found.push(
            Finding::new(
                AlarmKind::WorkerDead,
                Urgency::Now,
                Measure::flag(dead),
                summary,
            )
            .of(worker)
            .means(
                meaning,
                "Start herald serve again, and look into its log for why it has stopped.",
            ),
        );
    }
    let step = engine.clock.within(CLOCK_SHOWN);
    if step.is_some() || !engine.may_claim() {
        let way = if step < Some(0) { "back" } else { "forward" };
        let seconds = step.unwrap_or(0).unsigned_abs() / 1_000_000;
        let summary = format!("The clock was put {way} by {seconds} seconds within the last hour.");
        found.push(
            Finding::new(AlarmKind::Clock, Urgency::Soon, Measure::flag(true), summary)
                .local(true)
                .means(
                    "What waited too far ahead was put right. While the clock was ahead, messages may have expired, and timers fired too early.",
                    "Let the machine keep the time by NTP, with a service that slews the clock and does not put it forward or back.",
                ),
        );
    }
    Ok(())
}

/// Whether it is worked off.
pub(super) async fn queues(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let store = &engine.store;
    let age = |since: Option<Timestamp>| {
        since.map_or(0, |since| now.micros_since(since).max(0) / 1_000_000)
    };
    let queue = age(notification::oldest_due(store, &Bounds::All, now).await?);
    let measure = Measure {
        value: queue,
        raise_at: engine.settings.alarms.queue_age_seconds,
        clear_at: engine.settings.alarms.queue_age_seconds / 5,
    };
    let summary = format!("A message has been due for {queue} seconds and is not sent.");
    found.push(
        Finding::new(AlarmKind::QueueAge, Urgency::Now, measure, summary).means(
            "No worker sends, or more is asked for than the number may send.",
            "Look whether herald serve runs (herald check), and whether a sender is slowed down.",
        ),
    );
    let waiting = callback::waiting(store.reader()).await?;
    let measure = Measure {
        value: age(waiting.oldest),
        raise_at: BEHIND_SECONDS,
        clear_at: BEHIND_SECONDS / 5,
    };
    let summary = format!(
        "{} callbacks wait to be applied, the oldest for {} seconds.",
        waiting.callbacks, measure.value
    );
    found.push(
        Finding::new(AlarmKind::CallbacksWaiting, Urgency::Now, measure, summary).means(
            "They are stored, and none is lost. Statuses are shown late, timers wait, and answers to the provider are delayed; what people write and news of the account go first.",
            "Look whether herald serve runs (herald check). If it does, more comes than this machine applies: give the database a faster disk or more memory, or run another process on PostgreSQL.",
        ),
    );
    let is_full = backlog::is_full(engine, &waiting, now).await?;
    let summary = format!(
        "{} callbacks of {} MB wait, and have reached the disk space that applying them needs.",
        waiting.callbacks,
        waiting.bytes / 1_000_000
    );
    found.push(
        Finding::new(AlarmKind::BacklogFull, Urgency::Now, Measure::flag(is_full), summary).means(
            "Statuses are answered 503: the provider sends them again, later and later. What people write and news of the account are taken.",
            "Make room on the disk of the database, or raise HERALD_BACKLOG_MEGABYTES (PostgreSQL) if there is some; then see why callbacks wait.",
        ),
    );
    let dead = dead_letter::count_open(store).await?;
    let measure = Measure {
        value: dead,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{dead} items of callbacks could not be applied.");
    found.push(
        Finding::new(AlarmKind::DeadLetters, Urgency::Soon, measure, summary).means(
            "What they tell is not known; everything else of their callbacks was applied.",
            "Read their reasons, mend what they name, and replay them.",
        ),
    );
    let parked = parked::count_before(store, now.plus_seconds(-PARKED_SECONDS)).await?;
    let measure = Measure {
        value: parked,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{parked} statuses wait for a message that is not known here.");
    found.push(
        Finding::new(AlarmKind::ParkedStatuses, Urgency::Soon, measure, summary).means(
            "Another program sends from the same number, or a backup was restored.",
            "If something else sends from this number, this is as it should be: they are dropped after a day.",
        ),
    );
    Ok(())
}
