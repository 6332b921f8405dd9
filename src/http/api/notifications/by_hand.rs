//! Operator actions: retry, cancel and send now, for one notification or all that match.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{NotificationDetail, detail};
use crate::{
    domain::field_error::FieldError,
    engine::{
        admin::operator_actions::{self, OperatorAction, OperatorActionOutcome},
        insight::notification_filter::NotificationCriteria,
    },
    http::{
        api::{ProblemDocument, idempotency, read_json},
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
};

/// Options of a retry.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryNotificationRequestBody {
    /// Required for a message that was or may have been delivered: the recipient may get a second
    /// copy.
    #[serde(default)]
    even_if_delivered: bool,
}

async fn one(
    request: &HttpRequest,
    client: &AuthenticatedApiClient,
    state: &web::Data<AppState>,
    id: Uuid,
    action: OperatorAction,
    body: &[u8],
) -> Result<NotificationDetail, ApiProblem> {
    let key = idempotency::whole(request, client, body)?;
    let now = state.clock.now();
    match operator_actions::one(&state.engine, &client.bounds, id, action, key.as_ref(), now)
        .await?
    {
        OperatorActionOutcome::Yes => detail(state, &client.bounds, id).await,
        OperatorActionOutcome::No(reason) => Err(ApiProblem::State(reason)),
        OperatorActionOutcome::NotFound => Err(ApiProblem::NotFound),
        OperatorActionOutcome::KeyReused => Err(ApiProblem::KeyReused),
    }
}

/// Sends a notification again, in a new generation.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/retry", operation_id = "retry_notification", tag = "notifications",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = Option<RetryNotificationRequestBody>,
    responses(
        (status = 202, body = NotificationDetail), (status = 401, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)
    )
)]
pub async fn retry(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: bytes::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let meant: RetryNotificationRequestBody = if body.iter().all(u8::is_ascii_whitespace) {
        RetryNotificationRequestBody::default()
    } else {
        read_json(&body)?
    };
    let action = OperatorAction::Retry {
        even_if_delivered: meant.even_if_delivered,
    };
    let detail = one(&request, &caller, &state, *id, action, &body).await?;
    Ok(HttpResponse::Accepted().json(detail))
}

/// Cancels a waiting notification for good.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/cancel", operation_id = "cancel_notification", tag = "notifications", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = NotificationDetail), (status = 401, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)
    )
)]
pub async fn cancel(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let detail = one(&request, &caller, &state, *id, OperatorAction::Cancel, &[]).await?;
    Ok(HttpResponse::Ok().json(detail))
}

/// Ends a notification's back-off, or its wait for `send_at`. The pace still applies.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/send-now", operation_id = "send_notification_now", tag = "notifications", params(("id" = Uuid, Path)),
    responses(
        (status = 202, body = NotificationDetail), (status = 401, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 409, body = ProblemDocument)
    )
)]
pub async fn send_now(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let detail = one(&request, &caller, &state, *id, OperatorAction::SendNow, &[]).await?;
    Ok(HttpResponse::Accepted().json(detail))
}

/// An action on all notifications that match.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkActionRequestBody {
    /// Which notifications. An empty filter means all, and needs `all`.
    #[serde(default)]
    filter: NotificationCriteria,
    #[serde(default)]
    all: bool,
    /// Only report what would happen.
    #[serde(default)]
    dry_run: bool,
    /// For a retry: includes messages that were or may have been delivered.
    #[serde(default)]
    even_if_delivered: bool,
    /// `next` of the previous answer.
    cursor: Option<Uuid>,
}

/// The result of one chunk.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkActionResponse {
    dry_run: bool,
    /// Number of matching notifications in this chunk (at most 100).
    matched: u64,
    /// Number that were changed, or would be.
    changed: u64,
    /// Why the others were left unchanged, with their numbers.
    left_alone: BTreeMap<String, u64>,
    /// The `cursor` of the next chunk; absent after the last.
    next: Option<Uuid>,
}

async fn many(
    request: &HttpRequest,
    client: &AuthenticatedApiClient,
    state: &web::Data<AppState>,
    body: &[u8],
    action: fn(&BulkActionRequestBody) -> OperatorAction,
) -> Result<HttpResponse, ApiProblem> {
    let read: BulkActionRequestBody = read_json(body)?;
    if read.filter.is_empty() && !read.all {
        return Err(ApiProblem::Invalid(vec![FieldError {
            pointer: "/filter".to_owned(),
            rule: "a filter, or \"all\": true".to_owned(),
        }]));
    }
    let action = action(&read);
    let mut filter = read.filter.read("/filter/").map_err(ApiProblem::Invalid)?;
    filter.before = read.cursor;
    let key = idempotency::whole(request, client, body)?;
    let now = state.clock.now();
    let batch = operator_actions::chunk(
        &state.engine,
        &client.bounds,
        &filter,
        action,
        read.dry_run,
        key.as_ref(),
        now,
    )
    .await?;
    Ok(HttpResponse::Ok().json(BulkActionResponse {
        dry_run: read.dry_run,
        matched: batch.matched,
        changed: batch.changed,
        left_alone: batch.left_alone,
        next: batch.next,
    }))
}

/// Sends the matching notifications again, a chunk at a time; follow `next`.
#[utoipa::path(
    post, path = "/api/v1/notifications/retry", operation_id = "retry_notifications", tag = "notifications", request_body = BulkActionRequestBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 200, body = BulkActionResponse), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)
    )
)]
pub async fn retry_many(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    body: bytes::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    many(&request, &caller, &state, &body, |body| {
        OperatorAction::Retry {
            even_if_delivered: body.even_if_delivered,
        }
    })
    .await
}

/// Cancels the matching notifications for good, a chunk at a time; follow `next`.
#[utoipa::path(
    post, path = "/api/v1/notifications/cancel", operation_id = "cancel_notifications", tag = "notifications", request_body = BulkActionRequestBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 200, body = BulkActionResponse), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)
    )
)]
pub async fn cancel_many(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    body: bytes::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    many(&request, &caller, &state, &body, |_| OperatorAction::Cancel).await
}

/// Ends the waits of the matching notifications, a chunk at a time; follow `next`.
#[utoipa::path(
    post, path = "/api/v1/notifications/send-now", operation_id = "send_notifications_now", tag = "notifications", request_body = BulkActionRequestBody,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 200, body = BulkActionResponse), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument)
    )
)]
pub async fn send_now_many(
    caller: AuthorizedApiClient<scope::NotificationsWrite>,
    request: HttpRequest,
    state: web::Data<AppState>,
    body: bytes::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    many(&request, &caller, &state, &body, |_| {
        OperatorAction::SendNow
    })
    .await
}
