//! Moves notifications from state to state: loads them under lock, applies changes, saves them, and
//! writes what follows (timeline, follow-ups, counters, events) in the same transaction. A batch
//! costs a handful of statements.

mod consequences;
mod report;

use serde_json::{Value, json};
use uuid::Uuid;

use self::consequences::ChangeConsequences;
pub use self::report::{NotificationLifecycleReport, ProviderUpdatedNotification};
use super::{
    Engine,
    runtime::{
        catalogue_cache::CatalogueSnapshot,
        refusals::{RecipientRefusals, RefusalSubject},
    },
};
use crate::{
    domain::{
        notification::{NotificationChange, NotificationChangeEffect, NotificationState},
        preference,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
        transition::NotificationTransition,
    },
    store::{
        DatabaseTransaction, StoreError, attempt, notification,
        notification::{LoadedNotification, NotificationFacets},
        people,
    },
};

/// One change of one notification, and its origin.
#[derive(Clone, Debug)]
pub struct NotificationLifecycleChange {
    pub notification_id: Uuid,
    pub change: NotificationChange,
    pub attempt_id: Option<Uuid>,
    pub callback_id: Option<Uuid>,
    /// For a reply that names the message it answers: the inbound message.
    pub occurrence: Option<String>,
    /// When it happened by the provider's clock.
    pub provider_at: Option<Timestamp>,
    /// Details for the timeline.
    pub detail: Option<Value>,
}

impl NotificationLifecycleChange {
    pub const fn new(notification_id: Uuid, change: NotificationChange) -> Self {
        Self {
            notification_id,
            change,
            attempt_id: None,
            callback_id: None,
            occurrence: None,
            provider_at: None,
            detail: None,
        }
    }
}

/// Applies a batch of changes. Facts of one notification may come in any order and any number of
/// times.
pub async fn run(
    engine: &Engine,
    tx: &DatabaseTransaction,
    steps: &[NotificationLifecycleChange],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    if steps.is_empty() {
        return Ok(NotificationLifecycleReport::default());
    }
    run_recorded(engine, tx, steps, &[], now).await
}

/// Like [`run`], for the answers to calls: also stores the record of each call.
pub async fn run_recorded(
    engine: &Engine,
    tx: &DatabaseTransaction,
    steps: &[NotificationLifecycleChange],
    records: &[attempt::ProviderCallRecord],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let wanted = notifications(steps);
    notification::lock(tx, &wanted).await?;
    let loaded = notification::load(tx, &wanted).await?;
    change(engine, tx, loaded, steps, records, now).await
}

/// The notifications of a batch, each once, sorted by id.
fn notifications(steps: &[NotificationLifecycleChange]) -> Vec<Uuid> {
    let mut wanted: Vec<Uuid> = steps.iter().map(|step| step.notification_id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// Like [`run`], without waiting for locks, and with notifications that this transaction has just
/// read, sorted by id: it must not have changed them since, as they are saved as a whole. If another
/// transaction has changed one of them meanwhile, it returns [`StoreError::Conflict`] and writes
/// nothing.
pub async fn run_unlocked(
    engine: &Engine,
    tx: &DatabaseTransaction,
    mut loaded: Vec<LoadedNotification>,
    steps: &[NotificationLifecycleChange],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    if steps.is_empty() {
        return Ok(NotificationLifecycleReport::default());
    }
    let mut missing = notifications(steps);
    let is_there = |id: &Uuid| {
        let found = loaded.binary_search_by_key(id, |loaded| loaded.state.id);
        found.is_ok()
    };
    missing.retain(|id| !is_there(id));
    loaded.extend(notification::load(tx, &missing).await?);
    loaded.sort_by_key(|loaded| loaded.state.id);
    change(engine, tx, loaded, steps, &[], now).await
}

async fn change(
    engine: &Engine,
    tx: &DatabaseTransaction,
    mut loaded: Vec<LoadedNotification>,
    steps: &[NotificationLifecycleChange],
    records: &[attempt::ProviderCallRecord],
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let mut report = NotificationLifecycleReport::default();
    let policy = &engine.settings.policy;
    let rules = engine.catalogue_snapshot(tx).await?;
    let before: Vec<NotificationState> = loaded.iter().map(|loaded| loaded.state.clone()).collect();
    let mut follow = ChangeConsequences::new(engine, now);
    let mut replies: Vec<(usize, String)> = Vec::new();
    for step in steps {
        let found = loaded.binary_search_by_key(&step.notification_id, |loaded| loaded.state.id);
        let Some((index, current)) = found
            .ok()
            .and_then(|index| loaded.get_mut(index).map(|loaded| (index, loaded)))
        else {
            report.effects.push(None);
            continue;
        };
        let effect = current.state.on(&step.change, now, policy);
        if matches!(
            &step.change,
            NotificationChange::StatusReported {
                failure: Some(_),
                ..
            }
        ) {
            report.note_update(current, false);
        }
        if let (NotificationChange::Replied, Some(occurrence)) = (&step.change, &step.occurrence) {
            replies.push((index, occurrence.clone()));
        }
        let (kind, detail) = match &effect {
            NotificationChangeEffect::Applied(kind) => {
                report.applied += 1;
                (*kind, step.detail.clone())
            }
            // A timer that finds nothing due is not an event in a message's life.
            NotificationChangeEffect::Ignored(_)
                if matches!(step.change, NotificationChange::TimerFired { .. }) =>
            {
                report.ignored += 1;
                report.effects.push(Some(effect));
                continue;
            }
            NotificationChangeEffect::Ignored(reason) => {
                report.ignored += 1;
                let mut detail = step.detail.clone().unwrap_or_else(|| json!({}));
                if let Some(object) = detail.as_object_mut() {
                    object.insert("reason".to_owned(), json!(reason));
                    if let NotificationChange::StatusReported { fact, .. } = &step.change {
                        object.insert("status".to_owned(), json!(fact.name()));
                    }
                }
                (TimelineEntryKind::Ignored, Some(detail))
            }
        };
        current.note(TimelineEntry {
            at: now,
            kind,
            provider_at: step.provider_at,
            attempt_id: step.attempt_id,
            callback_id: step.callback_id,
            detail: detail.map(|detail| detail.to_string()),
        });
        report.effects.push(Some(effect));
    }
    for (index, (current, before)) in loaded.iter_mut().zip(&before).enumerate() {
        let new = current.state.finish(before, now, policy);
        if !new.is_empty() {
            follow.cancel(current, new);
            if new.contains(NotificationTransition::Delivered)
                && before.triggered.contains(NotificationTransition::Failed)
            {
                follow.overruled.push(current.state.id);
            }
            if new.contains(NotificationTransition::Failed)
                || new.contains(NotificationTransition::Expired)
            {
                follow.failed.push(current.state.id);
            }
            if new.contains(NotificationTransition::Sent)
                || new.contains(NotificationTransition::Failed)
            {
                report.note_update(current, true);
            }
            for trigger in new.iter() {
                *report.triggered.entry(trigger).or_default() += 1;
                report.reached.push((current.state.id, trigger));
                follow.raise(&current.state, &current.facets, trigger);
                // A reply that names its message is an occurrence of its own.
                let named = trigger == NotificationTransition::Replied
                    && replies.iter().any(|(at, _)| *at == index);
                if !named {
                    follow.start((index, current), trigger, "", &rules);
                }
            }
        }
        report.wake_sender |= current.state.due_at.is_some_and(|due| due <= now);
        if current.state != *before {
            follow.count(Some(before), &current.state, &current.facets);
        }
    }
    for (index, occurrence) in replies {
        if let Some(current) = loaded.get(index) {
            let trigger = NotificationTransition::Replied;
            follow.start((index, current), trigger, &occurrence, &rules);
        }
    }
    let timers = follow.plan(&mut loaded);
    notification::save(tx, &before, &mut loaded, records, policy, now).await?;
    follow.write(tx, &mut loaded, timers, &mut report).await?;
    Ok(report)
}

/// Skips notifications whose recipient has refused them, with a timeline entry.
async fn without_refused(
    tx: &DatabaseTransaction,
    rules: &CatalogueSnapshot,
    new: &[notification::NewNotification],
) -> Result<Vec<notification::NewNotification>, StoreError> {
    let mut new = new.to_vec();
    let subjects: Vec<RefusalSubject<'_>> = new.iter().map(subject).collect();
    let refusals = RecipientRefusals::load(tx, &subjects).await?;
    for new in new.iter_mut().filter(|new| new.skipped.is_none()) {
        let message = preference::MessageTraits {
            category: new.category,
            kind: new.message_kind.as_deref(),
            required: rules.is_required(new.message_kind.as_deref()),
            channel: &new.channel,
            product: new.product.as_deref(),
        };
        new.skipped = refusals.refusal(subject(new), message);
    }
    Ok(new)
}

fn subject(new: &notification::NewNotification) -> RefusalSubject<'_> {
    RefusalSubject {
        contact: new.contact_id,
        recipient: Some(&new.recipient),
    }
}

/// Stores new notifications with their first timeline entry, their counters, and what skipping them
/// starts. Returns the ids of those that are new.
pub async fn introduce(
    engine: &Engine,
    tx: &DatabaseTransaction,
    rules: &CatalogueSnapshot,
    new: &[notification::NewNotification],
    now: Timestamp,
) -> Result<(Vec<Uuid>, NotificationLifecycleReport), StoreError> {
    let mut report = NotificationLifecycleReport::default();
    if new.is_empty() {
        return Ok((Vec::new(), report));
    }
    let new = &without_refused(tx, rules, new).await?;
    let mut follow = ChangeConsequences::new(engine, now);
    let mut made: Vec<LoadedNotification> = Vec::with_capacity(new.len());
    for new in new {
        let facets = NotificationFacets {
            sender_id: new.sender_id,
            channel: new.channel.clone(),
            template: new.template.clone(),
            event_type: new.event_type.clone(),
            language: new.language.clone(),
            depth: new.depth,
            contact_id: new.contact_id,
            address: new.address.clone(),
            product: new.product.clone(),
        };
        let mut loaded = LoadedNotification::new(notification::fresh_state(new, now), facets);
        let why = json!({ "route": new.route, "rule": new.rule, "reason": new.skipped });
        let kind = if new.skipped.is_some() {
            TimelineEntryKind::Skipped
        } else {
            TimelineEntryKind::Queued
        };
        loaded.note(follow.line(kind, &why));
        for unread in &new.unread {
            loaded.note(follow.line(TimelineEntryKind::ValueUnread, &json!(unread)));
        }
        let before = loaded.state.clone();
        loaded.state.finish(&before, now, &engine.settings.policy);
        made.push(loaded);
    }
    let inserted = notification::insert(tx, new, &made, now).await?;
    people::note_reached(tx, new, now).await?;
    made.retain(|made| inserted.contains(&made.state.id));
    for (index, made) in made.iter().enumerate() {
        for trigger in made.state.triggered.iter() {
            *report.triggered.entry(trigger).or_default() += 1;
            report.reached.push((made.state.id, trigger));
            follow.raise(&made.state, &made.facets, trigger);
            follow.start((index, made), trigger, "", rules);
        }
        follow.count(None, &made.state, &made.facets);
        report.wake_sender |= made.state.due_at.is_some();
    }
    let timers = if follow.has_starts() {
        for made in &mut made {
            made.mark_saved()?;
        }
        let timers = follow.plan(&mut made);
        notification::save_records(tx, &mut made).await?;
        timers
    } else {
        Vec::new()
    };
    follow.write(tx, &mut made, timers, &mut report).await?;
    Ok((inserted, report))
}
