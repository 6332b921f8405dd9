//! Findings about workers, queues and backlogs.

use std::time::Duration;

use super::{AttentionFinding, FindingUrgency};
use crate::{
    domain::{
        access::AccessBounds,
        alarm::{AlarmKind, AlarmMeasure},
        backlog::BEHIND_SECONDS,
        own_event::SOURCE,
        time::Timestamp,
    },
    engine::{
        Engine,
        runtime::{
            backlog,
            heartbeat::{self, WorkerLiveness},
        },
    },
    store::{StoreError, callback, dead_letter, event, notification, parked},
};

/// How far back events without a route are searched, in seconds.
const UNROUTED_SECONDS: i64 = 24 * 60 * 60;

/// Most types that are named.
const UNROUTED_TYPES: i64 = 20;

/// Normal time that a status may wait for its message, in seconds: an answer can be late.
const PARKED_SECONDS: i64 = 10 * 60;

/// How long a clock change is shown.
const CLOCK_SHOWN: Duration = Duration::from_hours(1);

/// Event types that are posted but have no route.
pub(super) async fn unrouted(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let since = now.plus_seconds(-UNROUTED_SECONDS);
    for (kind, count) in event::unrouted_types(&engine.store, SOURCE, since, UNROUTED_TYPES).await?
    {
        let summary =
            format!("No route listens to {kind}: {count} of the newest events created no message.");
        found.push(
            AttentionFinding::new(AlarmKind::EventUnrouted, FindingUrgency::Soon, AlarmMeasure::flag(true), summary)
                .of(&kind)
                .means(
                    "A product posts it and gets 202, but no message is created.",
                    "Write a route for it and herald apply, then herald events replay; or let the product stop. Is the type spelled as in the catalogue? herald events list shows what was posted.",
                ),
        );
    }
    Ok(())
}

/// Reports workers whose heartbeat has expired.
pub(super) async fn workers(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    for (worker, pulse) in heartbeat::pulses(engine, now).await? {
        let (dead, summary) = match pulse {
            WorkerLiveness::Alive | WorkerLiveness::Missing => {
                (false, format!("The worker {worker} works."))
            }
            WorkerLiveness::Dead(seconds) => (
                true,
                format!("The worker {worker} has had no heartbeat for {seconds} seconds."),
            ),
        };
        let meaning = if worker == "apply" {
            "Callbacks are stored but not applied: deliveries are not known."
        } else {
            "Nothing is sent, and no follow-up fires."
        };
        found.push(
            AttentionFinding::new(
                AlarmKind::WorkerDead,
                FindingUrgency::Now,
                AlarmMeasure::flag(dead),
                summary,
            )
            .of(worker)
            .means(
                meaning,
                "Start herald serve again, and check its log for why it stopped.",
            ),
        );
    }
    let step = engine.clock.within(CLOCK_SHOWN);
    if step.is_some() || !engine.may_claim() {
        let way = if step < Some(0) { "back" } else { "forward" };
        let seconds = step.unwrap_or(0).unsigned_abs() / 1_000_000;
        let summary = format!("The clock was put {way} by {seconds} seconds within the last hour.");
        found.push(
            AttentionFinding::new(AlarmKind::Clock, FindingUrgency::Soon, AlarmMeasure::flag(true), summary)
                .local(true)
                .means(
                    "Timestamps too far in the future were corrected. While the clock was ahead, messages may have expired, and timers may have fired too early.",
                    "Synchronize the machine by NTP, with a service that slews the clock instead of stepping it.",
                ),
        );
    }
    Ok(())
}

/// Reports queues whose oldest entry waits too long.
pub(super) async fn queues(
    engine: &Engine,
    now: Timestamp,
    found: &mut Vec<AttentionFinding>,
) -> Result<(), StoreError> {
    let store = &engine.store;
    let age = |since: Option<Timestamp>| {
        since.map_or(0, |since| now.micros_since(since).max(0) / 1_000_000)
    };
    let queue = age(notification::oldest_due(store, &AccessBounds::All, now).await?);
    let measure = AlarmMeasure {
        value: queue,
        raise_at: engine.settings.alarms.queue_age_seconds,
        clear_at: engine.settings.alarms.queue_age_seconds / 5,
    };
    let summary = format!("A message has been due for {queue} seconds and is not sent.");
    found.push(
        AttentionFinding::new(AlarmKind::QueueAge, FindingUrgency::Now, measure, summary).means(
            "No worker is sending, or more messages are requested than the number may send.",
            "Check whether herald serve runs (herald check), and whether a sender is slowed down.",
        ),
    );
    let waiting = callback::waiting(store.inbox().reader(), store.reader()).await?;
    let measure = AlarmMeasure {
        value: age(waiting.oldest),
        raise_at: BEHIND_SECONDS,
        clear_at: BEHIND_SECONDS / 5,
    };
    let summary = format!(
        "{} callbacks wait to be applied, the oldest for {} seconds.",
        waiting.callbacks, measure.value
    );
    found.push(
        AttentionFinding::new(AlarmKind::CallbacksWaiting, FindingUrgency::Now, measure, summary).means(
            "They are stored, and none is lost. Statuses are shown late, timers wait, and responses to the provider are delayed; inbound messages and account updates are processed first.",
            "Check whether herald serve runs (herald check). If it does, more callbacks arrive than this machine can apply: give the database a faster disk or more memory, or run another process on PostgreSQL.",
        ),
    );
    let is_full = backlog::is_full(engine, &waiting, now).await?;
    let summary = format!(
        "{} callbacks of {} MB wait, and have reached the disk space that applying them needs.",
        waiting.callbacks,
        waiting.bytes / 1_000_000
    );
    found.push(
        AttentionFinding::new(AlarmKind::BacklogFull, FindingUrgency::Now, AlarmMeasure::flag(is_full), summary).means(
            "Statuses are answered 503: the provider repeats them with growing pauses. Inbound messages and account updates are accepted.",
            "Free space on the disk of the database, or raise HERALD_BACKLOG_MEGABYTES (PostgreSQL) if there is enough; then find out why callbacks wait.",
        ),
    );
    let dead = dead_letter::count_open(store).await?;
    let measure = AlarmMeasure {
        value: dead,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{dead} items of callbacks could not be applied.");
    found.push(
        AttentionFinding::new(
            AlarmKind::DeadLetters,
            FindingUrgency::Soon,
            measure,
            summary,
        )
        .means(
            "Their content is missing; the other items of their callbacks were applied.",
            "Read their reasons, fix the causes, and replay them.",
        ),
    );
    let parked = parked::count_before(store, now.plus_seconds(-PARKED_SECONDS)).await?;
    let measure = AlarmMeasure {
        value: parked,
        raise_at: 1,
        clear_at: 0,
    };
    let summary = format!("{parked} statuses wait for an unknown message.");
    found.push(
        AttentionFinding::new(AlarmKind::ParkedStatuses, FindingUrgency::Soon, measure, summary).means(
            "Another program sends from the same number, or a backup was restored.",
            "If another program sends from this number, this is expected: they are dropped after a day.",
        ),
    );
    Ok(())
}
