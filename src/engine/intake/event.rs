//! Accepts events: stores each once and answers without waiting for a provider.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    expand::expand,
    idempotency::{IdempotencyKey, IdempotencyVerdict, idempotent},
};
use crate::{
    domain::{
        access::AccessBounds,
        own_event::{EventDeduplicationKey, HeraldEvent, SOURCE},
        route::RouteOutcome,
        status::NotificationStatus,
        time::Timestamp,
    },
    engine::{Engine, lifecycle::NotificationLifecycleReport, runtime::vault::of_event},
    store::{DatabaseTransaction, StoreError, TransactionWorkError, event, new_id},
};

/// An event as a product posts it.
#[derive(Clone, Debug, PartialEq)]
pub struct PostedEvent {
    pub id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    pub time: Option<Timestamp>,
    pub data: Value,
}

/// What a route did with an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRouteResult {
    pub route: String,
    pub outcome: RouteOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of notifications made, including skipped ones.
    #[serde(default)]
    pub notifications: usize,
    #[serde(default)]
    pub skipped: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<DuplicateNotification>,
}

impl EventRouteResult {
    /// Whether the route made nothing and gave no reason.
    pub(super) const fn is_empty(&self) -> bool {
        self.notifications == 0 && self.duplicates.is_empty() && self.reason.is_none()
    }
}

/// A notification that was not made because its deduplication key was used before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DuplicateNotification {
    /// The notification that was made by it.
    pub of: Uuid,
    #[schema(value_type = String)]
    pub status: NotificationStatus,
    pub hint: String,
}

/// Result of posting an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedEvent {
    pub id: Uuid,
    pub duplicate: bool,
    /// Further recipients are still being expanded.
    pub expanding: bool,
    pub routes: Vec<EventRouteResult>,
}

/// The API client that posts an event: its bounds apply to everything made from it.
#[derive(Clone, Copy, Debug)]
pub struct EventPoster<'a> {
    /// The API key it was posted with.
    pub key: Uuid,
    pub bounds: &'a AccessBounds,
}

/// Why an event is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Its (source, id) exists with different content.
    #[error("an event of this source and id has another content")]
    Content,
    /// Its idempotency key was used for a different request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Its data are secret, and no key is configured to seal them.
    #[error("there is no key to seal what the event says with")]
    NoKey,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransactionWorkError for EventError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused => Err(refused),
        }
    }
}

fn digest(new: &PostedEvent) -> Vec<u8> {
    let content = json!([
        new.event_type,
        new.subject,
        new.time.map(Timestamp::micros),
        new.data
    ]);
    Sha256::digest(content.to_string().as_bytes()).to_vec()
}

/// Raises an event of Herald's own in a transaction that is under way, unless the same was raised
/// before: appends it to the stream, and expands its routes.
pub async fn raise(
    engine: &Engine,
    tx: &DatabaseTransaction,
    own: &HeraldEvent,
    occurrence: &EventDeduplicationKey<'_>,
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    metrics::counter!("herald_own_events_total").increment(1);
    let new = PostedEvent {
        id: occurrence.id(own),
        source: SOURCE.to_owned(),
        event_type: own.type_name().into_owned(),
        subject: None,
        time: None,
        data: own.data(),
    };
    let data = new.data.to_string();
    let stored = stored(&new, None, &data, digest(&new), now);
    if !event::insert(tx, stored, now).await? {
        return Ok(NotificationLifecycleReport::default());
    }
    tx.emit(own, now)?;
    match event::by_external_id(tx, &new.source, &new.id).await? {
        Some(row) => expand(engine, tx, row, now).await,
        None => Ok(NotificationLifecycleReport::default()),
    }
}

fn stored<'a>(
    new: &'a PostedEvent,
    poster: Option<EventPoster<'a>>,
    data: &'a str,
    digest: Vec<u8>,
    now: Timestamp,
) -> event::NewEventRow<'a> {
    let product = poster.and_then(|poster| poster.bounds.owner());
    event::NewEventRow {
        product,
        key_id: poster.filter(|_| product.is_some()).map(|it| it.key),
        id: new_id(now),
        source: &new.source,
        external_id: &new.id,
        event_type: &new.event_type,
        subject: new.subject.as_deref(),
        occurred_at: new.time,
        data,
        sealed: false,
        digest,
    }
}

/// Scope of these idempotency keys.
const OPERATION: &str = "POST /api/v1/events";

/// Stores an event and expands its first recipients in one transaction. It never waits for a
/// provider, and a failing route does not fail the producer.
pub async fn event(
    engine: &Engine,
    new: &PostedEvent,
    poster: EventPoster<'_>,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<AcceptedEvent, EventError> {
    let digest = digest(new);
    let (accepted, report) = engine
        .store
        .write_or_refuse::<_, EventError, _>(async |tx| {
            let data = new.data.to_string();
            let mut row = stored(new, Some(poster), &data, digest.clone(), now);
            let sealed;
            if engine
                .catalogue_snapshot(tx)
                .await?
                .is_sensitive(&new.event_type)
            {
                let vault = engine.vault();
                match vault.and_then(|vault| vault.seal_row(&of_event(row.id), &data).ok()) {
                    Some(text) => sealed = text,
                    None => return Err(EventError::NoKey),
                }
                row = event::NewEventRow {
                    data: &sealed,
                    sealed: true,
                    digest: engine.fingerprint(&digest),
                    ..row
                };
            }
            let fresh = event::insert(tx, row, now).await?;
            let Some(row) = event::by_external_id(tx, &new.source, &new.id).await? else {
                let corrupt = StoreError::Corrupt {
                    table: "event",
                    row: new.id.clone(),
                    column: "external_id",
                };
                return Err(corrupt.into());
            };
            let verdict = idempotent(engine, tx, key, OPERATION, row.id, now).await?;
            if verdict == IdempotencyVerdict::KeyReused {
                return Err(EventError::KeyReused);
            }
            if !fresh {
                // An event of another product is not mentioned. One that was posted before keys had
                // bounds belongs to this product by its source.
                let is_other = row.product.is_some()
                    && poster.bounds.owner().is_some()
                    && row.product.as_deref() != poster.bounds.owner();
                if is_other || !engine.is_fingerprint(&row.digest, &digest) {
                    // Committed: its idempotency key is used.
                    return Ok((None, NotificationLifecycleReport::default()));
                }
                return Ok((
                    Some(accepted(&row, true)),
                    NotificationLifecycleReport::default(),
                ));
            }
            let report = expand(engine, tx, row.clone(), now).await?;
            let row = event::find(tx, row.id).await?.unwrap_or(row);
            Ok((Some(accepted(&row, false)), report))
        })
        .await?;
    report.publish(engine);
    let accepted = accepted.ok_or(EventError::Content)?;
    if !accepted.duplicate {
        tracing::info!(event = "event.accepted", event.id = %accepted.id, event.kind = new.event_type, routes = accepted.routes.len(), "an event was accepted");
    }
    Ok(accepted)
}

fn accepted(row: &entity::event::Model, duplicate: bool) -> AcceptedEvent {
    AcceptedEvent {
        id: row.id,
        duplicate,
        expanding: row.state == "expanding",
        routes: serde_json::from_str(&row.routes).unwrap_or_default(),
    }
}
