//! Endpoints for events that products post.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{ProblemDocument, idempotency, page_size};
use crate::{
    domain::{
        field_error::FieldError,
        own_event::{HeraldEvent, HeraldEventType},
        time::Timestamp,
    },
    engine::intake::{self, EventError, EventReplayOutcome, EventRouteResult, PostedEvent},
    http::{
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::AppState,
    store::{catalogue, event},
};

/// An event, under the names of CloudEvents 1.0. The structured JSON form
/// (`application/cloudevents+json`) is the same document.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct PostEventRequestBody {
    /// Unique within its source. A repeat gets the first answer.
    id: String,
    source: String,
    r#type: String,
    subject: Option<String>,
    /// RFC 3339.
    time: Option<String>,
    #[serde(default)]
    data: Value,
    /// CloudEvents: "1.0", when present.
    specversion: Option<String>,
}

/// The result of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostEventResponse {
    id: Uuid,
    /// This (source, id) was posted before, with the same content.
    duplicate: bool,
    /// Further recipients are still being expanded.
    expanding: bool,
    /// What each route did, or why it did nothing.
    routes: Vec<EventRouteResult>,
    /// The first 100 notifications.
    notifications: Vec<Uuid>,
}

/// Longest name in an envelope, in bytes.
const MAX_NAME_BYTES: usize = 512;

fn check(body: PostEventRequestBody) -> Result<PostedEvent, ApiProblem> {
    let mut wrong = Vec::new();
    let mut named = |pointer: &str, value: &str| {
        if value.trim().is_empty() || value.len() > MAX_NAME_BYTES || value.contains('\0') {
            wrong.push(FieldError {
                pointer: pointer.to_owned(),
                rule: format!("1 to {MAX_NAME_BYTES} bytes, without NUL"),
            });
        }
    };
    named("/id", &body.id);
    named("/source", &body.source);
    named("/type", &body.r#type);
    if let Some(subject) = &body.subject {
        named("/subject", subject);
    }
    let time = body.time.as_deref().map(Timestamp::parse_rfc3339);
    if time == Some(None) {
        wrong.push(FieldError {
            pointer: "/time".to_owned(),
            rule: "RFC 3339".to_owned(),
        });
    }
    if body
        .specversion
        .as_deref()
        .is_some_and(|version| version != "1.0")
    {
        wrong.push(FieldError {
            pointer: "/specversion".to_owned(),
            rule: "1.0, or absent".to_owned(),
        });
    }
    if !wrong.is_empty() {
        return Err(ApiProblem::Invalid(wrong));
    }
    Ok(PostedEvent {
        id: body.id,
        source: body.source,
        event_type: body.r#type,
        subject: body.subject,
        time: time.flatten(),
        data: body.data,
    })
}

/// Posts an event. Never waits for a provider; a failing route does not fail the request.
#[utoipa::path(
    post, path = "/api/v1/events", operation_id = "create_event", tag = "events", request_body = PostEventRequestBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = PostEventResponse),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 403, description = "The key is bound to another source", body = ProblemDocument),
        (status = 409, description = "The same source and id, or the same Idempotency-Key, with another content", body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 503, body = ProblemDocument)
    )
)]
pub async fn post(
    caller: AuthorizedApiClient<scope::EventsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    JsonBody(body): JsonBody<PostEventRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::whole(&request, &caller, json!(body).to_string().as_bytes())?;
    let new = check(body)?;
    if !caller.bounds.has_source(&new.source) {
        let rule = "the key is bound to another source";
        return Err(ApiProblem::Forbidden(format!("/source: {rule}")));
    }
    let poster = intake::EventPoster {
        key: caller.key_id,
        bounds: &caller.bounds,
    };
    let accepted = intake::event(&state.engine, &new, poster, key.as_ref(), state.clock.now())
        .await
        .map_err(|error| match error {
            EventError::Content => ApiProblem::EventConflict,
            EventError::KeyReused => ApiProblem::KeyReused,
            EventError::NoKey => ApiProblem::Internal,
            EventError::Store(error) => error.into(),
        })?;
    let notifications =
        event::notifications(&state.engine.store, &caller.bounds, accepted.id, 100).await?;
    Ok(HttpResponse::Accepted().json(PostEventResponse {
        id: accepted.id,
        duplicate: accepted.duplicate,
        expanding: accepted.expanding,
        routes: accepted.routes,
        notifications,
    }))
}

/// An event as it was posted, and its result.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventDetail {
    #[serde(flatten)]
    answer: PostEventResponse,
    source: String,
    external_id: String,
    r#type: String,
    subject: Option<String>,
    /// When it happened, as posted.
    time: Option<String>,
    /// As posted; null if they are sensitive: those are never shown.
    #[schema(value_type = Object)]
    data: Value,
    sensitive: bool,
    /// No route listens to its type: no message was created.
    unrouted: bool,
    at: String,
}

/// An event, and its result.
#[utoipa::path(
    get, path = "/api/v1/events/{id}", operation_id = "get_event", tag = "events", params(("id" = Uuid, Path)),
    responses((status = 200, body = EventDetail), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::EventsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    shown(&caller, &state, *id).await
}

async fn shown(
    caller: &AuthenticatedApiClient,
    state: &AppState,
    id: Uuid,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let row = event::shown(store, &caller.bounds, id)
        .await?
        .ok_or(ApiProblem::NotFound)?;
    let notifications = event::notifications(store, &caller.bounds, row.id, 100).await?;
    let routes: Vec<EventRouteResult> = serde_json::from_str(&row.routes).unwrap_or_default();
    let expanding = row.state == "expanding";
    let data = (!row.sealed).then(|| serde_json::from_str(&row.data).ok());
    Ok(HttpResponse::Ok().json(EventDetail {
        unrouted: routes.is_empty() && !expanding,
        answer: PostEventResponse {
            id: row.id,
            duplicate: false,
            expanding,
            routes,
            notifications,
        },
        source: row.source,
        external_id: row.external_id,
        r#type: row.event_type,
        subject: row.subject,
        time: row
            .occurred_at
            .map(|at| Timestamp::from_micros(at).to_string()),
        data: data.flatten().unwrap_or(Value::Null),
        sensitive: row.sealed,
        at: Timestamp::from_micros(row.created_at).to_string(),
    }))
}

/// A kind of event in a catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventTypeView {
    r#type: String,
    description: Option<String>,
    /// Its data are sealed, never shown, and wiped in the end.
    sensitive: bool,
    /// Example data.
    #[schema(value_type = Option<Object>)]
    example: Option<Value>,
    catalogue: Option<String>,
}

/// A type of event that Herald itself raises, with the source `herald`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeraldEventTypeView {
    /// What is in braces is the provider's word: `herald.template.{status}`.
    r#type: HeraldEventType,
    /// When it is raised.
    description: &'static str,
    /// Routes of catalogues can answer it, like an event of a product.
    routable: bool,
    /// Where the schema of its `data` is, relative to `/api/v1/`.
    schema: String,
    /// One for each form that its `data` has.
    examples: Vec<HeraldEventExample>,
}

/// An event as a route sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeraldEventExample {
    r#type: String,
    #[schema(value_type = Object)]
    data: Value,
}

impl HeraldEventTypeView {
    fn of(own: HeraldEventType) -> Self {
        Self {
            r#type: own,
            description: own.description(),
            routable: own.is_routable(),
            schema: format!("openapi.json#/components/schemas/{}", own.schema()),
            examples: own.examples().iter().map(HeraldEventExample::of).collect(),
        }
    }
}

impl HeraldEventExample {
    fn of(own: &HeraldEvent) -> Self {
        Self {
            r#type: own.type_name().into_owned(),
            data: own.data(),
        }
    }
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventTypeListResponse {
    /// What products post, as the catalogues describe it.
    event_types: Vec<EventTypeView>,
    /// What Herald itself raises.
    own_event_types: Vec<HeraldEventTypeView>,
}

/// What may be posted, as the catalogues describe it: other types are taken too, and make
/// what their routes say. And what Herald itself raises.
#[utoipa::path(
    get, path = "/api/v1/event-types", operation_id = "list_event_types", tag = "events",
    responses((status = 200, body = EventTypeListResponse), (status = 401, body = ProblemDocument))
)]
pub async fn types(
    caller: AuthorizedApiClient<scope::CatalogueRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    let event_types = catalogue::event_types(&state.engine.store, &caller.bounds)
        .await?
        .into_iter()
        .map(|row| EventTypeView {
            r#type: row.name,
            description: row.description,
            sensitive: row.sensitive,
            example: row
                .example
                .and_then(|example| serde_json::from_str(&example).ok()),
            catalogue: row.catalogue,
        })
        .collect();
    let own = HeraldEventType::ALL.iter().copied();
    Ok(HttpResponse::Ok().json(EventTypeListResponse {
        event_types,
        own_event_types: own.map(HeraldEventTypeView::of).collect(),
    }))
}

/// Filter of events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only of this type.
    r#type: Option<String>,
    /// Only those with a route that could not be evaluated.
    #[serde(default)]
    errors: bool,
    /// Only those whose type has no route.
    #[serde(default)]
    unrouted: bool,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// An event in a list, without its data.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventSummary {
    id: Uuid,
    source: String,
    external_id: String,
    r#type: String,
    at: String,
    /// Further recipients are still being expanded.
    expanding: bool,
    /// What each route did, or why it did nothing.
    routes: Vec<EventRouteResult>,
}

/// Events, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    events: Vec<EventSummary>,
}

/// Posted events, newest first.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "list_events", tag = "events", params(EventsQuery),
    responses((status = 200, body = EventList), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    caller: AuthorizedApiClient<scope::EventsRead>,
    state: web::Data<AppState>,
    query: web::Query<EventsQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = i64::try_from(page_size(query.limit)?).unwrap_or(1);
    let found = event::newest(
        &state.engine.store,
        &caller.bounds,
        query.r#type.as_deref(),
        event::EventListFilter {
            errors: query.errors,
            unrouted: query.unrouted,
        },
        limit,
    )
    .await?;
    let events = found
        .into_iter()
        .map(|row| EventSummary {
            id: row.id,
            source: row.source,
            external_id: row.external_id,
            r#type: row.event_type,
            at: Timestamp::from_micros(row.created_at).to_string(),
            expanding: row.state == "expanding",
            routes: serde_json::from_str(&row.routes).unwrap_or_default(),
        })
        .collect();
    Ok(HttpResponse::Ok().json(EventList { events }))
}

/// Runs the routes of an event again.
///
/// Only those that did not fire or could not be evaluated, after the catalogue was corrected. No
/// recipient gets a message twice.
#[utoipa::path(
    post, path = "/api/v1/events/{id}/replay", operation_id = "replay_event", tag = "events", params(("id" = Uuid, Path)),
    responses((status = 200, body = EventDetail), (status = 404, body = ProblemDocument),
        (status = 409, description = "It is still being expanded, or its sealed data have been wiped", body = ProblemDocument))
)]
pub async fn replay(
    caller: AuthorizedApiClient<scope::EventsWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let now = state.clock.now();
    match intake::replay(&state.engine, &caller.bounds, *id, &caller.actor, now).await? {
        EventReplayOutcome::Yes(_) => shown(&caller, &state, *id).await,
        EventReplayOutcome::NotFound => Err(ApiProblem::NotFound),
        EventReplayOutcome::No(why) => Err(ApiProblem::State(why)),
    }
}
