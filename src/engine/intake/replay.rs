//! Replays an event after its routes were corrected.

use serde_json::json;
use uuid::Uuid;

use super::{
    EventRouteResult,
    expand::{EventRoutingCursor, expand},
};
use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, route::RouteOutcome, time::Timestamp,
    },
    engine::{Engine, runtime::bounds},
    store::{StoreError, audit, catalogue, event},
};

/// Result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventReplayOutcome {
    /// Results of the routes that ran now; routes that had fired before were left out.
    Yes(Vec<EventRouteResult>),
    NotFound,
    /// Refused, with the reason.
    No(&'static str),
}

/// Runs the routes of an event that have not fired, within the caller's bounds. No recipient gets a
/// message twice: a route that has fired is left out, and one that failed after some recipients
/// continues with the others.
pub async fn replay(
    engine: &Engine,
    bounds: &AccessBounds,
    id: Uuid,
    actor: &str,
    now: Timestamp,
) -> Result<EventReplayOutcome, StoreError> {
    let (done, report) = engine
        .store
        .write(async |tx| {
            let nothing = crate::engine::lifecycle::NotificationLifecycleReport::default;
            let Some(row) = event::lock(tx, bounds, id).await? else {
                return Ok((EventReplayOutcome::NotFound, nothing()));
            };
            if row.state == "expanding" {
                return Ok((EventReplayOutcome::No("the messages of this event are still being created"), nothing()));
            }
            if row.data.is_empty() {
                let why = "the data of this event were sensitive and have been wiped: post it again under a new id";
                return Ok((EventReplayOutcome::No(why), nothing()));
            }
            let before: Vec<EventRouteResult> = serde_json::from_str(&row.routes).unwrap_or_default();
            let known: Vec<String> = before.iter().map(|it| it.route.clone()).collect();
            let fired: Vec<EventRouteResult> = before
                .into_iter()
                .filter(|result| result.outcome == RouteOutcome::Fired)
                .collect();
            let mut done: Vec<String> = fired.iter().map(|it| it.route.clone()).collect();
            let own = bounds::of_key(tx, row.key_id, row.product.as_deref()).await?;
            let routes = catalogue::routes(tx, &own, &row.event_type).await?;
            // A route that fired and is gone may have been renamed: its recipients must not get the
            // message again under the new name.
            let is_gone = |name: &String| !routes.iter().any(|route| route.name == *name);
            if done.iter().any(is_gone) {
                let unheard = routes.iter().map(|route| route.name.clone());
                done.extend(unheard.filter(|name| !known.contains(name)));
            }
            let cursor = EventRoutingCursor::without(done);
            let routes = json!(fired).to_string();
            let cursor = Some(json!(cursor).to_string());
            event::set_progress(tx, id, "expanding", cursor, routes).await?;
            let action = AuditAction::EventReplayed;
            audit::note(tx, actor, action, &id.to_string(), &json!({}), now).await?;
            let Some(row) = event::find(tx, id).await? else {
                return Ok((EventReplayOutcome::NotFound, nothing()));
            };
            let report = expand(engine, tx, row, now).await?;
            let routes = event::find(tx, id).await?.map(|row| row.routes);
            let results = routes.and_then(|routes| serde_json::from_str(&routes).ok());
            Ok((EventReplayOutcome::Yes(results.unwrap_or_default()), report))
        })
        .await?;
    report.publish(engine);
    Ok(done)
}
