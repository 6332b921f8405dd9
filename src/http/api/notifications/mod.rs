//! Notifications: asking for one directly, finding them, and their story.

mod view;

pub use view::{
    AttemptView, FollowUpView, NotificationDetail, NotificationSummary, NotificationsAnswer, Page,
    TimelineView,
};
use view::{detail, summary};

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::ProblemDocument;
use crate::{
    domain::{
        content::{Content, Interactive, Media, Text},
        status::Status,
        time::Timestamp,
    },
    engine::{
        accept::{self, FieldError, Refusal, Request, RequestContent, TemplateUse},
        catalogue::OneOrMany,
        manual::{self, Done},
    },
    http::{auth::Client, problem::Problem},
    state::AppState,
    store::notification as notifications,
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
    /// Free text, as a string or as `{"body", "preview_url"}`. Like `media` and
    /// `interactive` it arrives only within 24 hours of the person's last message.
    #[schema(value_type = Option<String>)]
    text: Option<TextBody>,
    /// A picture, video, sound, document or sticker.
    media: Option<Media>,
    /// Buttons, a list, a link, or a request for a place or a number.
    interactive: Option<Interactive>,
    /// The template that takes the place of `text`, `media` or `interactive`, once,
    /// when the person has not written in the last 24 hours.
    fallback: Option<FallbackBody>,
    /// The provider's id (`wamid…`) of the message that this one answers.
    reply_to: Option<String>,
    /// RFC 3339: not before then, at most 90 days from now.
    send_at: Option<String>,
    reference: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `otp`, `high`, `normal` (default) or `bulk`.
    priority: Option<String>,
    expires_in_seconds: Option<i64>,
}

/// Free text, with or without options.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum TextBody {
    Plain(String),
    Full(Text),
}

/// A template and its parameters.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackBody {
    template: String,
    language: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Map<String, Value>,
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
const MAX_AHEAD_SECONDS: i64 = 90 * 24 * 60 * 60;

/// What a request wants to say: exactly one thing.
fn content(body: &NotificationBody) -> Result<RequestContent, FieldError> {
    let refused = |pointer: &str, rule: &str| {
        Err(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        })
    };
    let mut free = Vec::new();
    match &body.text {
        Some(TextBody::Plain(text)) => free.push(Content::Text(Text {
            body: text.clone(),
            preview_url: false,
        })),
        Some(TextBody::Full(text)) => free.push(Content::Text(text.clone())),
        None => {}
    }
    free.extend(body.media.clone().map(Content::Media));
    free.extend(body.interactive.clone().map(Content::Interactive));
    match (&body.template, free.pop()) {
        (Some(_), Some(other)) => refused(
            &format!("/{}", field(&other)),
            &format!("either `template` or `{}`, not both", field(&other)),
        ),
        (Some(_), None) if body.fallback.is_some() => {
            refused("/fallback", "a template needs none: it arrives at any time")
        }
        (Some(name), None) => Ok(RequestContent::Template(TemplateUse {
            name: name.clone(),
            language: body.language.clone(),
            params: body.params.clone(),
        })),
        (None, None) => refused(
            "/template",
            "`template`, `text`, `media` or `interactive` is needed",
        ),
        (None, Some(_)) if !free.is_empty() => {
            refused("/text", "one of `text`, `media` and `interactive`")
        }
        (None, Some(_)) if !body.params.is_empty() => {
            refused("/params", "only a template has parameters")
        }
        (None, Some(content)) => Ok(RequestContent::Free {
            content,
            fallback: body.fallback.clone().map(|fallback| TemplateUse {
                name: fallback.template,
                language: fallback.language,
                params: fallback.params,
            }),
        }),
    }
}

const fn field(content: &Content) -> &'static str {
    match content {
        Content::Text(_) => "text",
        Content::Media(_) => "media",
        Content::Interactive(_) => "interactive",
    }
}

fn check(body: NotificationBody, now: Timestamp) -> Result<Request, Problem> {
    let content = content(&body);
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        });
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
    if body
        .reply_to
        .as_ref()
        .is_some_and(|id| !id.starts_with("wamid.") || id.len() > MAX_SHORT_BYTES)
    {
        refuse("/reply_to", "wamid.…, at most 256 bytes");
    }
    let send_at = body.send_at.as_deref().map(Timestamp::parse_rfc3339);
    match send_at {
        Some(None) => refuse("/send_at", "RFC 3339"),
        Some(Some(at)) if at > now.plus_seconds(MAX_AHEAD_SECONDS) => {
            refuse("/send_at", "at most 90 days from now");
        }
        _ => {}
    }
    match (content, priority) {
        (Err(error), _) => {
            wrong.insert(0, error);
            Err(Problem::Invalid(wrong))
        }
        (Ok(content), Some(priority)) if wrong.is_empty() => Ok(Request {
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
            send_at: send_at.flatten().filter(|at| *at > now),
            reply_to: body.reply_to,
        }),
        _ => Err(Problem::Invalid(wrong)),
    }
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
    let now = state.clock.now();
    let request = check(body, now)?;
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
