//! Notifications: asking for one directly, finding them, and their story.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use entity::{attempt, follow_up, notification, timeline};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::ProblemDocument;
use crate::{
    domain::{
        facts::{Fact, Facts},
        status::{Group, Status},
        time::Timestamp,
    },
    engine::{
        accept::{self, FieldError, Refusal, Request, RequestContent},
        catalogue::OneOrMany,
        manual::{self, Done},
    },
    http::{auth::Client, problem::Problem},
    state::AppState,
    store::{
        attempt as attempts, convert, follow_up as follow_ups, notification as notifications,
        timeline as story,
    },
};

/// A message asked for directly. It is checked completely before anything is stored.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationBody {
    /// A number in E.164, `user:NAME`, `group:NAME` or `contact:NAME`; one or several.
    #[schema(value_type = Vec<String>)]
    to: Recipients,
    /// Whom the message is about, when that is not its recipient.
    about: Option<String>,
    /// A template's name, with `params`; or `text`.
    template: Option<String>,
    language: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Free text: arrives only within 24 hours of the person's last message.
    text: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `otp`, `high`, `normal` (default) or `bulk`.
    priority: Option<String>,
    expires_in_seconds: Option<i64>,
}

/// One recipient or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Recipients {
    One(String),
    Many(Vec<String>),
}

const MAX_LABELS: usize = 8;
const MAX_EXPIRY_SECONDS: i64 = 30 * 24 * 60 * 60;
const MAX_SHORT_BYTES: usize = 256;

fn check(body: NotificationBody) -> Result<Request, Problem> {
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        });
    };
    let content = match (body.template, body.text) {
        (Some(name), None) => Some(RequestContent::Template {
            name,
            language: body.language,
            params: body.params,
        }),
        (None, Some(text)) => Some(RequestContent::Text(text)),
        (Some(_), Some(_)) => {
            refuse("/text", "either `template` or `text`, not both");
            None
        }
        (None, None) => {
            refuse("/template", "`template` or `text` is needed");
            None
        }
    };
    let priority = accept::priority(body.priority.as_deref().unwrap_or("normal"));
    if priority.is_none() {
        refuse("/priority", "otp, high, normal or bulk");
    }
    if body.labels.len() > MAX_LABELS {
        refuse("/labels", "at most 8");
    }
    if body.labels.iter().any(|(name, value)| {
        name.is_empty() || name.len() > MAX_SHORT_BYTES || value.len() > MAX_SHORT_BYTES
    }) {
        refuse(
            "/labels",
            "names and values of at most 256 bytes, names not empty",
        );
    }
    if body
        .reference
        .as_ref()
        .is_some_and(|reference| reference.len() > MAX_SHORT_BYTES)
    {
        refuse("/reference", "at most 256 bytes");
    }
    if body
        .expires_in_seconds
        .is_some_and(|seconds| !(1..=MAX_EXPIRY_SECONDS).contains(&seconds))
    {
        refuse("/expires_in_seconds", "1 to 2592000");
    }
    match (content, priority) {
        (Some(content), Some(priority)) if wrong.is_empty() => Ok(Request {
            to: match body.to {
                Recipients::One(one) => OneOrMany::One(one).into(),
                Recipients::Many(many) => many,
            },
            about: body.about,
            content,
            reference: body.reference,
            labels: body.labels,
            priority,
            expires_after_seconds: body.expires_in_seconds,
        }),
        _ => Err(Problem::Invalid(wrong)),
    }
}

/// The notifications of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationsAnswer {
    notifications: Vec<NotificationSummary>,
}

/// A notification in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationSummary {
    id: Uuid,
    #[schema(value_type = String)]
    status: Status,
    /// `pending`, `sent`, `failed` or `not_sent`.
    #[schema(value_type = String)]
    group: Group,
    /// Why it waits, was skipped or failed.
    reason: Option<String>,
    recipient: Option<String>,
    template: Option<String>,
    event_type: Option<String>,
    reference: Option<String>,
    #[schema(value_type = Object)]
    labels: Value,
    created_at: String,
    updated_at: String,
}

fn summary(row: &notification::Model) -> NotificationSummary {
    let status = convert::status(row.status);
    let failure = notifications::read_failure(row.failure.as_deref());
    NotificationSummary {
        id: row.id,
        status,
        group: status.group(),
        reason: row
            .reason
            .clone()
            .or_else(|| failure.map(|failure| failure.title)),
        recipient: row.recipient.clone(),
        template: Some(row.template.clone()).filter(|template| !template.is_empty()),
        event_type: row.event_type.clone(),
        reference: row.reference.clone(),
        labels: parsed(&row.labels),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
    }
}

fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

/// Asks for a message. With an `Idempotency-Key`, a repeat is answered like the first.
#[utoipa::path(
    post, path = "/api/v1/notifications", tag = "notifications", request_body = NotificationBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 202, body = NotificationsAnswer),
        (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, description = "The Idempotency-Key was used with another body", body = ProblemDocument),
        (status = 422, body = ProblemDocument), (status = 503, body = ProblemDocument)
    )
)]
pub async fn post(
    client: Client,
    http_request: HttpRequest,
    state: web::Data<AppState>,
    body: web::Json<NotificationBody>,
) -> Result<HttpResponse, Problem> {
    let key = match http_request
        .headers()
        .get("Idempotency-Key")
        .map(|key| key.to_str())
    {
        Some(Ok(key)) if !key.is_empty() && key.len() <= MAX_SHORT_BYTES => Some(key.to_owned()),
        Some(_) => {
            return Err(Problem::Malformed(
                "Idempotency-Key: 1 to 256 visible characters".to_owned(),
            ));
        }
        None => None,
    };
    let body = body.into_inner();
    let fingerprint = Sha256::digest(json!(body).to_string().as_bytes()).to_vec();
    let request = check(body)?;
    let now = state.clock.now();
    let ids = accept::request(
        &state.engine,
        &client.id,
        key.as_deref(),
        fingerprint,
        &request,
        now,
    )
    .await?
    .map_err(|refusal| match refusal {
        Refusal::Fields(fields) => Problem::Invalid(fields),
        Refusal::KeyReused => Problem::KeyReused,
    })?;
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(row) = notifications::find(&state.engine.store, id).await? {
            rows.push(summary(&row));
        }
    }
    Ok(HttpResponse::Accepted().json(NotificationsAnswer {
        notifications: rows,
    }))
}

/// What a list may ask for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Statuses, separated by commas.
    status: Option<String>,
    /// An event type.
    r#type: Option<String>,
    template: Option<String>,
    /// `name=value`
    label: Option<String>,
    reference: Option<String>,
    /// A number in E.164, `user:NAME` or `contact:NAME`.
    recipient: Option<String>,
    /// RFC 3339: created at or after.
    since: Option<String>,
    /// From `next` of the page before.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// A page of notifications, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    notifications: Vec<NotificationSummary>,
    /// The cursor of the next page; absent on the last.
    next: Option<Uuid>,
}

/// Finds notifications, newest first.
#[utoipa::path(
    get, path = "/api/v1/notifications", tag = "notifications", params(ListQuery),
    responses((status = 200, body = Page), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    _client: Client,
    state: web::Data<AppState>,
    query: web::Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, rule: String| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule,
        });
    };
    let mut statuses = Vec::new();
    for name in query
        .status
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match Status::parse(name) {
            Some(status) => statuses.push(status),
            None => refuse(
                "status",
                format!("one of {}", Status::ALL.map(Status::name).join(" ")),
            ),
        }
    }
    let label = query.label.as_deref().map(|label| label.split_once('='));
    if label == Some(None) {
        refuse("label", "name=value".to_owned());
    }
    let since = query.since.as_deref().map(Timestamp::parse_rfc3339);
    if since == Some(None) {
        refuse("since", "RFC 3339".to_owned());
    }
    let limit = query.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        refuse("limit", "1 to 200".to_owned());
    }
    if !wrong.is_empty() {
        return Err(Problem::Invalid(wrong));
    }
    let by_number = query
        .recipient
        .as_deref()
        .is_some_and(|recipient| recipient.starts_with('+'));
    let filter = notifications::Filter {
        statuses,
        template: query.template,
        event_type: query.r#type,
        label: label
            .flatten()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        reference: query.reference,
        address: query.recipient.clone().filter(|_| by_number),
        recipient: query.recipient.filter(|_| !by_number),
        since: since.flatten(),
        before: query.cursor,
        limit: limit + 1,
    };
    let mut rows = notifications::search(&state.engine.store, &filter).await?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if more {
        rows.pop();
    }
    let next = if more {
        rows.last().map(|row| row.id)
    } else {
        None
    };
    Ok(HttpResponse::Ok().json(Page {
        notifications: rows.iter().map(summary).collect(),
        next,
    }))
}

/// A notification with its whole story.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationDetail {
    #[serde(flatten)]
    summary: NotificationSummary,
    generation: i64,
    category: String,
    channel: String,
    language: Option<String>,
    /// The text as the person reads it; absent for one-time passwords.
    text: Option<String>,
    event: Option<Uuid>,
    route: Option<String>,
    /// The notification this one follows up, and by which rule.
    parent: Option<Uuid>,
    rule: Option<String>,
    due_at: Option<String>,
    expires_at: Option<String>,
    /// Why it failed, in the provider's words and in plain ones.
    #[schema(value_type = Option<Object>)]
    failure: Option<Value>,
    attempts: Vec<AttemptView>,
    follow_ups: Vec<FollowUpView>,
    timeline: Vec<TimelineView>,
}

/// One call to the provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    id: Uuid,
    number: i64,
    generation: i64,
    created_at: String,
    outcome: Option<String>,
    answered_at: Option<String>,
    http_status: Option<i64>,
    provider_message_id: Option<String>,
    /// Each fact with its time, and whether it is implied by a later one.
    #[schema(value_type = Object)]
    facts: Value,
    #[schema(value_type = Option<Object>)]
    failure: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pricing: Option<Value>,
    #[schema(value_type = Option<Object>)]
    request: Option<Value>,
    answer: Option<String>,
}

/// What a rule decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct FollowUpView {
    id: Uuid,
    rule: String,
    on: String,
    /// `pending`, `fired`, `cancelled` or `skipped`.
    state: String,
    due_at: Option<String>,
    reason: Option<String>,
}

/// One line of the story.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineView {
    at: String,
    kind: String,
    /// When it happened by the provider's clock.
    provider_at: Option<String>,
    attempt: Option<Uuid>,
    callback: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
}

fn attempt_view(row: attempt::Model) -> AttemptView {
    let facts: Map<String, Value> = Fact::ALL
        .into_iter()
        .zip([
            row.accepted_at,
            row.sent_at,
            row.delivered_at,
            row.read_at,
            row.played_at,
            row.failed_at,
        ])
        .filter_map(|(fact, at)| {
            let known =
                json!({ "at": time(at?), "implied": Facts::is_implied_in(row.implied, fact) });
            Some((fact.name().to_owned(), known))
        })
        .collect();
    let value_of = |versioned: Option<String>| {
        versioned
            .map(|json| parsed(&json))
            .and_then(|json| json.get("value").cloned())
    };
    AttemptView {
        id: row.id,
        number: row.number,
        generation: row.generation,
        created_at: time(row.created_at),
        outcome: row.outcome,
        answered_at: row.answered_at.map(time),
        http_status: row.http_status,
        provider_message_id: row.provider_message_id,
        facts: Value::Object(facts),
        failure: value_of(row.failure),
        pricing: value_of(row.pricing),
        request: row.request.as_deref().map(parsed),
        answer: row.answer,
    }
}

fn follow_up_view(row: follow_up::Model) -> FollowUpView {
    FollowUpView {
        id: row.id,
        rule: row.rule_name,
        on: row.trigger_name,
        state: convert::follow_up_state(row.state).to_owned(),
        due_at: row.due_at.map(time),
        reason: row.reason,
    }
}

fn timeline_view(row: timeline::Model) -> TimelineView {
    TimelineView {
        at: time(row.at),
        kind: row.kind,
        provider_at: row.provider_at.map(time),
        attempt: row.attempt_id,
        callback: row.callback_id,
        detail: row.detail.as_deref().map(parsed),
    }
}

/// A notification with attempts, facts, follow-ups and timeline.
#[utoipa::path(
    get, path = "/api/v1/notifications/{id}", tag = "notifications", params(("id" = Uuid, Path)),
    responses((status = 200, body = NotificationDetail), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    _client: Client,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(detail(&state, *id).await?))
}

async fn detail(state: &AppState, id: Uuid) -> Result<NotificationDetail, Problem> {
    let store = &state.engine.store;
    let row = notifications::find(store, id)
        .await?
        .ok_or(Problem::NotFound)?;
    let attempts = attempts::of_notification(store, id).await?;
    let follow_ups = follow_ups::of_notification(store, id).await?;
    let timeline = story::of_notification(store, id).await?;
    Ok(NotificationDetail {
        summary: summary(&row),
        generation: row.generation,
        category: row.category,
        channel: row.channel,
        language: row.language,
        text: row.body,
        event: row.event_id.filter(|_| row.route.is_some()),
        route: row.route,
        parent: row.parent_id,
        rule: row.rule,
        due_at: row.due_at.map(time),
        expires_at: row.expires_at.map(time),
        failure: row.failure.as_deref().map(parsed),
        attempts: attempts.into_iter().map(attempt_view).collect(),
        follow_ups: follow_ups.into_iter().map(follow_up_view).collect(),
        timeline: timeline.into_iter().map(timeline_view).collect(),
    })
}

/// How a retry is meant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryBody {
    /// Needed for what was delivered or may have been: a second copy is accepted.
    #[serde(default)]
    even_if_delivered: bool,
}

/// Sends a notification again, in a new generation.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/retry", tag = "notifications", params(("id" = Uuid, Path)), request_body = Option<RetryBody>,
    responses(
        (status = 202, body = NotificationDetail), (status = 401, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)
    )
)]
pub async fn retry(
    _client: Client,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: bytes::Bytes,
) -> Result<HttpResponse, Problem> {
    let body: RetryBody = if body.iter().all(u8::is_ascii_whitespace) {
        RetryBody::default()
    } else {
        serde_json::from_slice(&body).map_err(|_unreadable| {
            Problem::Malformed("the body is empty or {\"even_if_delivered\": true}".to_owned())
        })?
    };
    done(
        &manual::retry(
            &state.engine,
            *id,
            body.even_if_delivered,
            state.clock.now(),
        )
        .await?,
    )?;
    Ok(HttpResponse::Accepted().json(detail(&state, *id).await?))
}

/// Takes a waiting notification out of the queue for good.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/cancel", tag = "notifications", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = NotificationDetail), (status = 401, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)
    )
)]
pub async fn cancel(
    _client: Client,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    done(
        &manual::cancel(
            &state.engine,
            *id,
            "cancelled by a person".to_owned(),
            state.clock.now(),
        )
        .await?,
    )?;
    Ok(HttpResponse::Ok().json(detail(&state, *id).await?))
}

fn done(done: &Done) -> Result<(), Problem> {
    match done {
        Done::Yes => Ok(()),
        Done::No(reason) => Err(Problem::State(reason)),
        Done::NotFound => Err(Problem::NotFound),
    }
}
