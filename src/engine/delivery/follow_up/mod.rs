//! Turns due follow-ups into notifications, one chunk of recipients at a time.

mod children;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::children::{FollowUpError, FollowUpMessageChunk};
use crate::{
    domain::{
        recipient::is_staff, time::Timestamp, timeline::TimelineEntryKind,
        transition::NotificationTransitionSet,
    },
    engine::{
        Engine,
        intake::{
            fallback::{self, FallbackPlan},
            targets::{self, RecipientCursor},
        },
        lifecycle::{self, NotificationLifecycleReport},
        runtime::{
            backlog,
            isolate::{IsolatedPiece, isolate},
            turn::TransactionContext,
        },
    },
    store::{
        DatabaseTransaction, StoreError, catalogue,
        follow_up::{self, DueFollowUp},
        notification::{self, LoadedNotification, NewNotification},
        timeline,
    },
};
use entity::follow_up::FollowUpState;

/// Follow-ups per transaction.
const BATCH: i64 = 100;

/// Most messages named by the timeline entry of a rule that fired.
const SHOWN: usize = 100;

/// Progress of a follow-up that has more recipients than one transaction takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct FollowUpCursor {
    #[serde(flatten)]
    place: RecipientCursor,
    /// Number of messages made so far.
    count: usize,
    /// The first of them.
    made: Vec<Uuid>,
}

impl FollowUpCursor {
    fn of(due: &DueFollowUp) -> Self {
        let stored = due.cursor.as_deref();
        stored
            .and_then(|cursor| serde_json::from_str(cursor).ok())
            .unwrap_or_default()
    }

    /// Why the follow-up ends, prefixed with what it has done.
    fn explain(&self, reason: &str) -> String {
        match self.count {
            0 => reason.to_owned(),
            count => format!("{reason}, after {count} of its messages had been created"),
        }
    }
}

/// Fires due follow-ups. Returns the number decided. One that the database refuses is ended alone,
/// with its reason.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let mut candidates = follow_up::due_notifications(&engine.store, now, BATCH).await?;
    // They wait while sending is on hold: the messages they would make may have been sent before.
    if candidates.is_empty() || engine.refresh_hold().await?.is_some() {
        return Ok(0);
    }
    // A receipt may be among the callbacks that are not applied yet.
    let horizon = backlog::timers_until(engine, now).await?;
    // A notification is refused once, however many of its follow-ups are due.
    let mut seen = HashSet::with_capacity(candidates.len());
    candidates.retain(|notification| seen.insert(*notification));
    let pieces = isolate(&candidates, async |piece| {
        batch(engine, piece, horizon, BATCH, now).await
    })
    .await?;
    let mut count = 0;
    for IsolatedPiece { items, result } in pieces {
        match result {
            Ok(decided) => count += decided,
            Err(error) => {
                for notification in items {
                    count += refuse(engine, *notification, horizon, &error, now).await?;
                }
            }
        }
    }
    Ok(count)
}

/// Cancels the follow-ups that were due by then, in batches. Returns the number.
pub(in crate::engine) async fn cancel_due_before(
    engine: &Engine,
    before: Timestamp,
    reason: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut cancelled = 0;
    loop {
        let mut wanted = follow_up::due_notifications(&engine.store, before, BATCH).await?;
        // Lock order: notifications before follow-ups, sorted.
        wanted.sort_unstable();
        wanted.dedup();
        let count = engine
            .store
            .write(async |tx| {
                notification::lock(tx, &wanted).await?;
                let mut loaded = notification::load(tx, &wanted).await?;
                start(tx, &wanted, &mut loaded, before).await?;
                let all = follow_up::due(tx, &wanted, before, BATCH).await?;
                for due in &all {
                    let reason = FollowUpCursor::of(due).explain(reason);
                    end(tx, due, FollowUpState::Cancelled, &reason, now).await?;
                }
                Ok(all.len())
            })
            .await?;
        if count == 0 {
            return Ok(cancelled);
        }
        cancelled += u64::try_from(count).unwrap_or(0);
    }
}

/// Starts the planned follow-ups of these notifications that are due by then.
async fn start(
    tx: &DatabaseTransaction,
    wanted: &[Uuid],
    loaded: &mut [LoadedNotification],
    until: Timestamp,
) -> Result<(), StoreError> {
    // Of a notification that has been deleted, or cannot be read, only the timers are left.
    let mut gone = wanted.to_vec();
    gone.retain(|id| loaded.iter().all(|loaded| loaded.state.id != *id));
    follow_up::forget_timers(tx, &gone, until).await?;
    follow_up::start(tx, loaded, until).await
}

/// Decides the due follow-ups of these notifications in one transaction.
async fn batch(
    engine: &Engine,
    candidates: &[Uuid],
    horizon: Timestamp,
    limit: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let (count, report) = engine
        .store
        .write(async |tx| {
            // Lock order: notifications before follow-ups.
            let mut wanted = candidates.to_vec();
            wanted.sort_unstable();
            wanted.dedup();
            notification::lock(tx, &wanted).await?;
            let mut parents = notification::load(tx, &wanted).await?;
            start(tx, &wanted, &mut parents, horizon).await?;
            let turn = TransactionContext { engine, tx, now };
            let mut report = NotificationLifecycleReport::default();
            let mut count = 0;
            let mut made = 0;
            for due in follow_up::due(tx, &wanted, horizon, limit).await? {
                if made >= targets::recipients_at_once(tx) {
                    break;
                }
                let Some(parent) = parents
                    .iter()
                    .find(|parent| parent.state.id == due.notification_id)
                else {
                    continue;
                };
                let reached = if parent.state.generation == due.generation {
                    parent.state.triggered
                } else {
                    NotificationTransitionSet::NONE
                };
                let (count_made, came) =
                    decide(turn, &due, reached, parent.facets.depth, horizon).await?;
                made += count_made;
                report.add(came);
                count += 1;
            }
            Ok((count, report))
        })
        .await?;
    report.publish(engine);
    Ok(count)
}

/// Ends the due follow-ups of a notification that the database refuses.
async fn refuse(
    engine: &Engine,
    notification: Uuid,
    horizon: Timestamp,
    error: &StoreError,
    now: Timestamp,
) -> Result<usize, StoreError> {
    tracing::error!(event = "follow_up.refused", notification.id = %notification, %error, "the database refused the due follow-ups of this notification: they are skipped for good, with the reason on its timeline");
    let reason = format!("it cannot be created: {error}");
    engine
        .store
        .write(async |tx| {
            notification::lock(tx, &[notification]).await?;
            // What an unreadable record holds stays as it is: without timers it is asked no more.
            let mut loaded = notification::load_readable(tx, &[notification]).await?;
            start(tx, &[notification], &mut loaded, horizon).await?;
            let all = follow_up::due(tx, &[notification], horizon, BATCH).await?;
            for due in &all {
                let reason = FollowUpCursor::of(due).explain(&reason);
                end(tx, due, FollowUpState::Skipped, &reason, now).await?;
            }
            Ok(all.len())
        })
        .await
}

/// Decides one follow-up, or makes one more chunk of its messages. Returns the number of
/// recipients.
async fn decide(
    turn: TransactionContext<'_>,
    due: &DueFollowUp,
    reached: NotificationTransitionSet,
    depth: i64,
    horizon: Timestamp,
) -> Result<(usize, NotificationLifecycleReport), StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let cursor = FollowUpCursor::of(due);
    let stop = async |state: FollowUpState, reason: &str| {
        let reason = cursor.explain(reason);
        let ended = end(tx, due, state, &reason, now).await;
        ended.map(|()| (0, NotificationLifecycleReport::default()))
    };
    if !due.unless.intersection(reached).is_empty() {
        return stop(FollowUpState::Cancelled, "one of its `unless` happened").await;
    }
    let Some(stored) = catalogue::rule(tx, due.rule_id).await? else {
        return stop(FollowUpState::Cancelled, "the rule does not exist any more").await;
    };
    if !stored.active && !still_named(engine, tx, &due.rule_name).await? {
        return stop(FollowUpState::Cancelled, "the rule was removed").await;
    }
    let chunk = children::next(turn, due, &stored.rule.send, depth, &cursor).await;
    let FollowUpMessageChunk { new, place } = match chunk {
        Ok(chunk) => chunk,
        Err(FollowUpError::Store(error)) => return Err(error),
        Err(refused) => return stop(FollowUpState::Skipped, &refused.to_string()).await,
    };
    let rules = engine.catalogue_snapshot(tx).await?;
    let (inserted, report) = lifecycle::introduce(engine, tx, &rules, &new, now).await?;
    let alerts: Vec<&NewNotification> = new
        .iter()
        .filter(|new| inserted.contains(&new.id) && is_staff(&new.recipient))
        .collect();
    if let Some(alert) = alerts.first() {
        let none = FallbackPlan::default();
        let plan = none.of_alert(turn, stored.rule.send.channel, alert.sender_id);
        fallback::plan(turn, &alerts, &plan.await?).await?;
    }
    let made = cursor.made.iter().chain(&inserted).copied();
    let count = cursor.count + inserted.len();
    if let Some(place) = place {
        let cursor = FollowUpCursor {
            place,
            count,
            made: made.take(SHOWN).collect(),
        };
        // After whatever else is due, but not after callbacks that arrived meanwhile.
        follow_up::set_cursor(tx, due.id, json!(cursor).to_string(), horizon).await?;
        return Ok((new.len().max(1), report));
    }
    metrics::counter!("herald_follow_ups_total", "state" => "fired").increment(1);
    follow_up::settle(tx, due.id, FollowUpState::Fired, None, now).await?;
    let mut detail = json!({
        "rule": due.rule_name, "notifications": made.take(SHOWN).collect::<Vec<_>>(),
    });
    if count > SHOWN
        && let Some(detail) = detail.as_object_mut()
    {
        detail.insert("count".to_owned(), json!(count));
    }
    note(tx, due, TimelineEntryKind::RuleFired, detail, now).await?;
    Ok((new.len(), report))
}

/// Whether a rule of this name is still in force. If a newer version is, follow-ups of the old
/// version continue.
async fn still_named(
    engine: &Engine,
    tx: &DatabaseTransaction,
    name: &str,
) -> Result<bool, StoreError> {
    let rules = engine.catalogue_snapshot(tx).await?;
    Ok(crate::domain::transition::NotificationTransition::ALL
        .into_iter()
        .any(|trigger| rules.on(trigger).iter().any(|rule| rule.rule.name == name)))
}

async fn end(
    tx: &DatabaseTransaction,
    due: &DueFollowUp,
    state: FollowUpState,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (kind, name) = match state {
        FollowUpState::Cancelled => (TimelineEntryKind::RuleCancelled, "cancelled"),
        FollowUpState::Pending | FollowUpState::Fired | FollowUpState::Skipped => {
            (TimelineEntryKind::RuleSkipped, "skipped")
        }
    };
    metrics::counter!("herald_follow_ups_total", "state" => name).increment(1);
    follow_up::settle(tx, due.id, state, Some(reason.to_owned()), now).await?;
    note(
        tx,
        due,
        kind,
        json!({ "rule": due.rule_name, "reason": reason }),
        now,
    )
    .await
}

async fn note(
    tx: &DatabaseTransaction,
    due: &DueFollowUp,
    kind: TimelineEntryKind,
    detail: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let detail = Some(detail.to_string());
    timeline::note(tx, due.notification_id, kind, detail, now).await
}
