//! Expands an event: evaluates its routes and makes notifications, one chunk of recipients at a
//! time.

mod conversation;
mod entry;
mod repeated;
mod unknown;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::entry::{EventRoutingContext, RouteRecipientError};
use super::{EventRouteResult, route::plan, targets, targets::RecipientCursor};
use crate::{
    domain::{route::RouteOutcome, time::Timestamp},
    engine::{
        Engine,
        lifecycle::NotificationLifecycleReport,
        runtime::{bounds, vault::of_event},
    },
    store::{
        DatabaseTransaction, StoreError,
        catalogue::{self, StoredRoute},
        event,
    },
};

/// Progress of an expansion.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EventRoutingCursor {
    /// Routes before this name are finished.
    route: String,
    /// Position among the route's recipients.
    #[serde(flatten)]
    place: RecipientCursor,
    /// Routes that had fired before the event was replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<String>,
}

impl EventRoutingCursor {
    /// The start, without the routes that have fired already.
    pub(super) fn without(done: Vec<String>) -> Self {
        Self {
            done,
            ..Self::default()
        }
    }

    /// Whether nothing has been made of the event, nor of an earlier run.
    const fn is_fresh(&self) -> bool {
        self.route.is_empty()
    }

    /// Whether a route has still to run.
    fn wants(&self, route: &StoredRoute) -> bool {
        route.name >= self.route && !self.done.contains(&route.name)
    }

    /// The start of another route.
    fn at(self, route: String) -> Self {
        Self {
            route,
            place: RecipientCursor::default(),
            done: self.done,
        }
    }
}

/// Expands one more chunk of one unfinished event. Returns whether there was one.
pub async fn expand_turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    if !event::any_unexpanded(&engine.store).await? {
        return Ok(false);
    }
    // They wait while sending is on hold: their recipients may have been reached before.
    if engine.refresh_hold().await?.is_some() {
        return Ok(false);
    }
    let mut tried = None;
    let expanded = engine
        .store
        .write(async |tx| match event::next_unexpanded(tx).await? {
            Some(row) => {
                tried = Some(row.id);
                Ok((true, expand(engine, tx, row, now).await?))
            }
            None => Ok((false, NotificationLifecycleReport::default())),
        })
        .await;
    match (expanded, tried) {
        (Ok((found, report)), _) => {
            report.publish(engine);
            Ok(found)
        }
        // An event that the database refuses must not hold up the others.
        (Err(error), Some(id)) if !error.is_transient() => {
            tracing::error!(event = "event.refused", event.id = %id, %error, "the database refused the remaining messages of this event: they are given up (`herald events show` has the reason)");
            engine
                .store
                .write(async |tx| refuse(tx, id, &error.to_string()).await)
                .await?;
            Ok(true)
        }
        (Err(error), _) => Err(error),
    }
}

/// Ends the expansion of the events received by then. Returns the number.
pub(in crate::engine) async fn end_expansion(
    engine: &Engine,
    before: Timestamp,
    reason: &str,
) -> Result<u64, StoreError> {
    let mut ended = 0;
    loop {
        let ids = event::unexpanded_before(&engine.store, before).await?;
        if ids.is_empty() {
            return Ok(ended);
        }
        for id in ids {
            engine
                .store
                .write(async |tx| refuse(tx, id, reason).await)
                .await?;
            ended += 1;
        }
    }
}

/// Ends the expansion of an event that cannot continue, and records the reason on the event.
async fn refuse(tx: &DatabaseTransaction, id: Uuid, reason: &str) -> Result<(), StoreError> {
    let Some(row) = event::find(tx, id).await? else {
        return Ok(());
    };
    let (mut results, cursor) = progress(&row);
    let bounds = bounds::of_key(tx, row.key_id, row.product.as_deref()).await?;
    let routes = catalogue::routes(tx, &bounds, &row.event_type).await?;
    if let Some(route) = routes.iter().find(|route| cursor.wants(route)) {
        let result = of_route(&mut results, &route.name);
        result.outcome = RouteOutcome::Error;
        result.reason = Some(format!("not every recipient was reached: {reason}"));
    }
    event::set_progress(tx, id, "refused", row.cursor_at, json!(results).to_string()).await
}

/// Results and cursor of an event.
fn progress(row: &entity::event::Model) -> (Vec<EventRouteResult>, EventRoutingCursor) {
    let results = serde_json::from_str(&row.routes).unwrap_or_default();
    let cursor = row
        .cursor_at
        .as_deref()
        .and_then(|cursor| serde_json::from_str(cursor).ok())
        .unwrap_or_default();
    (results, cursor)
}

/// The result of a route, created if absent.
fn of_route<'a>(results: &'a mut Vec<EventRouteResult>, route: &str) -> &'a mut EventRouteResult {
    let place = results.iter().position(|result| result.route == route);
    let result = match place {
        Some(place) => results.remove(place),
        None => EventRouteResult {
            route: route.to_owned(),
            outcome: RouteOutcome::Fired,
            reason: None,
            notifications: 0,
            skipped: 0,
            duplicates: Vec::new(),
        },
    };
    // The route in progress is the last.
    results.push_mut(result)
}

pub(super) async fn expand(
    engine: &Engine,
    tx: &DatabaseTransaction,
    row: entity::event::Model,
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let bounds = bounds::of_key(tx, row.key_id, row.product.as_deref()).await?;
    let routes = catalogue::routes(tx, &bounds, &row.event_type).await?;
    let (mut results, mut cursor) = progress(&row);
    let mut refused = Vec::new();
    let data = data_of(engine, &row);
    let context = json!({
        "data": data.as_ref().unwrap_or(&Value::Null),
        "event": { "id": row.external_id, "source": row.source, "type": row.event_type, "subject": row.subject },
    });
    let mut report = NotificationLifecycleReport::default();
    let about_sender = conversation::sender_of(tx, &row, data.as_ref()).await?;
    if cursor.is_fresh() {
        if let Some(sender) = about_sender {
            let others = conversation::routes_of_others(tx, &routes, &cursor, sender).await?;
            for name in others {
                let result = of_route(&mut results, &name);
                result.outcome = RouteOutcome::DidNotFire;
                result.reason = Some(conversation::OF_ANOTHER_PRODUCT.to_owned());
                cursor.done.push(name);
            }
        }
        let unknown = unknown::find(tx, &bounds, &routes, &cursor, &context).await?;
        // An unknown name in the event itself stops all of it; an unknown name in a route stops
        // only that route.
        let chosen = unknown.iter().find(|unknown| unknown.is_chosen);
        let all = chosen.map(|unknown| (unknown.route.clone(), unknown.reason.clone()));
        for route in routes.iter().filter(|route| cursor.wants(route)) {
            let own = unknown.iter().find(|unknown| unknown.route == route.name);
            let reason = match (own, &all) {
                (Some(own), _) => format!("{}: nothing of it was sent", own.reason),
                (None, Some((of, reason))) => {
                    format!("no message of the event was sent, because of the route {of}: {reason}")
                }
                (None, None) => continue,
            };
            let result = of_route(&mut results, &route.name);
            result.outcome = RouteOutcome::Error;
            result.reason = Some(reason);
            refused.push(route.name.clone());
        }
        cursor.done.append(&mut refused);
    }
    let most = targets::recipients_at_once(tx);
    let mut expanded = 0;
    // By name: a catalogue may be applied while a large event is being expanded.
    while let Some(route) = routes.iter().find(|route| cursor.wants(route)) {
        if expanded >= most {
            break;
        }
        if route.name != cursor.route {
            cursor = cursor.at(route.name.clone());
        }
        let result = of_route(&mut results, &route.name);
        let plan = match &data {
            Some(_) => plan(&route.route, &context),
            None => Err((RouteOutcome::Error, UNREADABLE.to_owned())),
        };
        let done = match plan {
            Err((outcome, reason)) => {
                result.outcome = outcome;
                result.reason = Some(reason);
                true
            }
            Ok(plan) => match plan.recipients.get(cursor.place.recipient) {
                None => {
                    if result.is_empty() {
                        result.reason = Some(NO_RECIPIENT.to_owned());
                    }
                    true
                }
                Some(entry) => {
                    let step = EventRoutingContext {
                        engine,
                        tx,
                        row: &row,
                        bounds: &bounds,
                        route,
                        plan: &plan,
                        about_sender,
                        now,
                    };
                    match step
                        .recipient(entry, cursor.place.after, result, &mut report)
                        .await
                    {
                        Ok((count, next)) => {
                            expanded += count.max(1);
                            cursor.place.pass(next);
                        }
                        Err(RouteRecipientError::Store(error)) => return Err(error),
                        Err(refused) => {
                            // One unknown group must not keep the others from being notified.
                            result.outcome = RouteOutcome::Error;
                            result.reason = Some(refused.to_string());
                            cursor.place.pass(None);
                        }
                    }
                    false
                }
            },
        };
        if done {
            // The smallest name after this one.
            cursor = cursor.at(format!("{}\u{1}", route.name));
        }
    }
    let finished = !routes.iter().any(|route| cursor.wants(route));
    report.wake_expansion = !finished;
    let state = if finished { "expanded" } else { "expanding" };
    let at = if finished {
        None
    } else {
        Some(json!(cursor).to_string())
    };
    event::set_progress(tx, row.id, state, at, json!(results).to_string()).await?;
    Ok(report)
}

const NO_RECIPIENT: &str = "it reached no one: its groups are empty, or all had the message before";

const UNREADABLE: &str =
    "the event's data have been wiped, or are sealed with another HERALD_SECRET_KEY";

/// The event's data; `None` if they are sealed and cannot be opened.
fn data_of(engine: &Engine, row: &entity::event::Model) -> Option<Value> {
    if row.data.is_empty() {
        return None;
    }
    if !row.sealed {
        return Some(serde_json::from_str(&row.data).unwrap_or(Value::Null));
    }
    let opened = engine.vault()?.open(&of_event(row.id), &row.data)?;
    serde_json::from_str(opened.expose_secret()).ok()
}
