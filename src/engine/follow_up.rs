//! Follow-ups whose time has come become notifications.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Engine,
    accept::{self, Draft, Mode},
    routing::{self, Target},
    transition::{self, Report},
};
use crate::{
    domain::{recipient::RecipientSpec, template, time::Timestamp, trigger::Triggers},
    store::{
        DatabaseTransaction, StoreError, callback, catalogue, context,
        dialect::Id,
        follow_up::{self, Due},
        new_id, notification, people, sender, timeline,
    },
};
use entity::follow_up::State;

/// Follow-ups that go into one transaction.
const BATCH: i64 = 100;

/// While older callbacks wait, timers wait with them, but no longer than this.
const BACKLOG_PATIENCE_SECONDS: i64 = 120;

/// Fires what is due. Says how many follow-ups were decided. One that the
/// database refuses is ended alone, with its reason.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let candidates = follow_up::due_notifications(&engine.store, now, BATCH).await?;
    if candidates.is_empty() {
        return Ok(0);
    }
    // A receipt may be among the callbacks that are not applied yet.
    let horizon = match callback::waiting(&engine.store).await? {
        (_, Some(oldest)) if now.micros_since(oldest) < BACKLOG_PATIENCE_SECONDS * 1_000_000 => {
            oldest
        }
        _ => now,
    };
    match batch(engine, &candidates, horizon, BATCH, now).await {
        Err(error) if !error.is_transient() => {}
        done => return done,
    }
    let mut count = 0;
    for notification in candidates {
        match batch(engine, &[notification], horizon, BATCH, now).await {
            Ok(decided) => count += decided,
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => count += refuse(engine, notification, horizon, &error, now).await?,
        }
    }
    Ok(count)
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
            // Notifications before follow-ups: the lock order.
            let mut wanted = candidates.to_vec();
            wanted.sort_unstable();
            wanted.dedup();
            notification::lock(tx, &wanted).await?;
            let parents = notification::load(tx, &wanted).await?;
            let mut report = Report::default();
            let mut count = 0;
            for due in follow_up::due(tx, &wanted, horizon, limit).await? {
                let Some(parent) = parents
                    .iter()
                    .find(|parent| parent.state.id == due.notification_id)
                else {
                    continue;
                };
                let reached = if parent.state.generation == due.generation {
                    parent.state.triggered
                } else {
                    Triggers::NONE
                };
                decide(
                    engine,
                    tx,
                    &due,
                    reached,
                    parent.facets.depth,
                    now,
                    &mut report,
                )
                .await?;
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
    tracing::error!(event = "follow_up.refused", notification.id = %notification, %error, "a follow-up cannot be made and is skipped");
    let reason = format!("it cannot be made: {error}");
    engine
        .store
        .write(async |tx| {
            let all = follow_up::due(tx, &[notification], horizon, BATCH).await?;
            for due in &all {
                end(tx, due, State::Skipped, &reason, now).await?;
            }
            Ok(all.len())
        })
        .await
}

async fn decide(
    engine: &Engine,
    tx: &DatabaseTransaction,
    due: &Due,
    reached: Triggers,
    depth: i64,
    now: Timestamp,
    report: &mut Report,
) -> Result<(), StoreError> {
    if !due.unless.intersection(reached).is_empty() {
        return end(tx, due, State::Cancelled, "one of its unless came", now).await;
    }
    let Some(stored) = catalogue::rule(tx, due.rule_id).await? else {
        return end(
            tx,
            due,
            State::Cancelled,
            "the rule does not exist any more",
            now,
        )
        .await;
    };
    if !stored.active && !still_named(engine, tx, &due.rule_name).await? {
        return end(tx, due, State::Cancelled, "the rule was removed", now).await;
    }
    match drafts(engine, tx, due, &stored.rule.send, depth, now).await? {
        Err(reason) => end(tx, due, State::Skipped, &reason, now).await,
        Ok(new) => {
            let rules = engine.in_force(tx).await?;
            let (inserted, made) = transition::introduce(engine, tx, &rules, &new, now).await?;
            report.wake_sender |= made.wake_sender;
            report.wake_timers |= made.wake_timers;
            for (trigger, count) in made.triggered {
                *report.triggered.entry(trigger).or_default() += count;
            }
            metrics::counter!("herald_follow_ups_total", "state" => "fired").increment(1);
            follow_up::settle(tx, due.id, State::Fired, None, now).await?;
            note(
                tx,
                due,
                "follow_up_fired",
                json!({ "rule": due.rule_name, "notifications": inserted }),
                now,
            )
            .await
        }
    }
}

/// A newer version of the rule is in force: the old one keeps its promise.
async fn still_named(
    engine: &Engine,
    tx: &DatabaseTransaction,
    name: &str,
) -> Result<bool, StoreError> {
    let rules = engine.in_force(tx).await?;
    Ok(crate::domain::trigger::Trigger::ALL
        .into_iter()
        .any(|trigger| rules.on(trigger).iter().any(|rule| rule.rule.name == name)))
}

async fn end(
    tx: &DatabaseTransaction,
    due: &Due,
    state: State,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (kind, name) = match state {
        State::Cancelled => ("follow_up_cancelled", "cancelled"),
        State::Pending | State::Fired | State::Skipped => ("follow_up_skipped", "skipped"),
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
    due: &Due,
    kind: &'static str,
    detail: Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = timeline::Entry {
        notification_id: Id(due.notification_id),
        id: Id(new_id(now)),
        kind,
        provider_at: None,
        attempt_id: None,
        callback_id: None,
        detail: Some(detail.to_string()),
    };
    timeline::insert(tx, &[entry], now).await
}

/// The messages a rule sends, or why it cannot.
async fn drafts(
    engine: &Engine,
    tx: &DatabaseTransaction,
    due: &Due,
    send: &crate::domain::rule::Send,
    depth: i64,
    now: Timestamp,
) -> Result<Result<Vec<notification::NewNotification>, String>, StoreError> {
    let Some((_, context)) = context::load(tx, &[due.notification_id])
        .await?
        .into_iter()
        .next()
    else {
        return Ok(Err("the notification does not exist any more".to_owned()));
    };
    let Some(parent) = notification::in_transaction(tx, due.notification_id).await? else {
        return Ok(Err("the notification does not exist any more".to_owned()));
    };
    let mut params = serde_json::Map::new();
    for (name, source) in &send.params {
        match template::render_text(source, &context) {
            Ok(value) => drop(params.insert(name.clone(), Value::String(value))),
            Err(error) => return Ok(Err(format!("its parameter {name}: {error}"))),
        }
    }
    let original = original(tx, &parent).await?;
    let mut targets: Vec<Target> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    for entry in &send.to {
        let rendered = match template::render_text(entry, &context) {
            Ok(rendered) => rendered,
            Err(error) => return Ok(Err(format!("its recipient {entry}: {error}"))),
        };
        let spec = match RecipientSpec::parse(&rendered) {
            Ok(spec) => spec,
            Err(error) => return Ok(Err(format!("its recipient {entry}: {error}"))),
        };
        let mut after: Option<Uuid> = None;
        loop {
            match routing::resolve(tx, &spec, Some(&original), after, now).await? {
                Ok(page) => {
                    targets.extend(page.targets);
                    after = page.next;
                }
                // One unknown name must not keep the others from hearing.
                Err(missing) => {
                    unknown.push(missing.0);
                    break;
                }
            }
            if after.is_none() {
                break;
            }
        }
    }
    for missing in &unknown {
        note(
            tx,
            due,
            "recipient_unknown",
            json!({ "rule": due.rule_name, "reason": missing }),
            now,
        )
        .await?;
    }
    if targets.is_empty() {
        return Ok(Err(if unknown.is_empty() {
            "nobody is in its groups".to_owned()
        } else {
            unknown.join("; ")
        }));
    }
    let from = match &send.sender {
        // Whoever hears from one number is not reminded from another.
        None if send.to.iter().all(|to| to == "same") => parent.sender_id,
        None => None,
        Some(named) => match sender::named(tx, named).await? {
            Some(row) => Some(row.id),
            None => return Ok(Err(format!("there is no sender named {named}"))),
        },
    };
    let draft = Draft {
        event_id: parent.event_id,
        route: None,
        event_type: parent.event_type.clone(),
        follow_up_id: Some(due.id),
        parent_id: Some(parent.id),
        rule: Some(due.rule_name.clone()),
        depth: depth + 1,
        channel: send.channel.clone(),
        sender_id: from,
        template: send.template.clone(),
        language: None,
        default_language: send.language.clone(),
        params: Value::Object(params),
        // The one an alert is about is whom the notification was for.
        subject_contact_id: parent.contact_id,
        reference: parent.reference.clone(),
        labels: serde_json::from_str(&parent.labels).unwrap_or_default(),
        priority: parent.priority,
        expires_after_seconds: None,
        send_at: None,
        reply_to: None,
        message_kind: send.kind.clone().or_else(|| parent.message_kind.clone()),
        mode: send
            .mode
            .as_deref()
            .and_then(Mode::parse)
            .unwrap_or_default(),
        fallback_template: send.fallback_template.clone(),
    };
    let reading = &mut accept::Reading::default();
    accept::compose(engine, tx, reading, &draft, accept::unique(targets), now).await
}

async fn original(
    tx: &DatabaseTransaction,
    parent: &entity::notification::Model,
) -> Result<Target, StoreError> {
    let person = match parent.contact_id {
        Some(contact) => people::contact(tx, contact).await?,
        None => None,
    };
    Ok(Target {
        recipient: parent.recipient.clone().unwrap_or_default(),
        contact_id: parent.contact_id,
        address: parent.address.clone(),
        language: person.as_ref().and_then(|it| it.language.clone()),
        name: person.and_then(|person| person.name),
        skipped: parent
            .address
            .is_none()
            .then(|| "the contact has no phone number".to_owned()),
    })
}
