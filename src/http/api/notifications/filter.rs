//! Lists notifications.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{NotificationListResponse, summary};
use crate::{
    domain::field_error::FieldError,
    engine::insight::notification_filter::{LabelFilter, NotificationCriteria},
    http::{
        api::{ProblemDocument, cut},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::notification as notifications,
};

/// Filter of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NotificationsQuery {
    /// Statuses, separated by commas: see `filter.status` of `POST /api/v1/notifications/retry`.
    /// The words of the statistics mean the groups counted there.
    status: Option<String>,
    /// An event type.
    r#type: Option<String>,
    template: Option<String>,
    /// `whatsapp`, `email`, …
    channel: Option<String>,
    /// `name=value`; if given several times, all must match.
    #[serde(default)]
    label: Vec<String>,
    reference: Option<String>,
    /// A number in E.164, an e-mail address, a user id of WhatsApp, `user:NAME` or `contact:NAME`.
    recipient: Option<String>,
    /// RFC 3339: created at or after.
    since: Option<String>,
    /// RFC 3339: created before.
    until: Option<String>,
    /// `next` of the previous page.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// Parses a query in which a label may occur several times.
fn read(query: &str) -> Result<NotificationsQuery, ApiProblem> {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    let mut label = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == "label" {
            label.push(value.into_owned());
        } else {
            rest.append_pair(&name, &value);
        }
    }
    let read = web::Query::<NotificationsQuery>::from_query(&rest.finish())
        .map_err(|error| ApiProblem::Malformed(error.to_string()))?;
    Ok(NotificationsQuery {
        label,
        ..read.into_inner()
    })
}

/// Lists notifications, newest first.
#[utoipa::path(
    get, path = "/api/v1/notifications", operation_id = "list_notifications", tag = "notifications", params(NotificationsQuery),
    responses((status = 200, body = NotificationListResponse), (status = 400, body = ProblemDocument), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    caller: AuthorizedApiClient<scope::NotificationsRead>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiProblem> {
    let query = read(request.query_string())?;
    let limit = query.limit.unwrap_or(50);
    let filter = NotificationCriteria {
        status: query.status,
        r#type: query.r#type,
        template: query.template,
        channel: query.channel,
        label: LabelFilter(query.label),
        reference: query.reference,
        recipient: query.recipient,
        since: query.since,
        until: query.until,
    };
    let read = filter.read("");
    let mut wrong = read.as_ref().err().cloned().unwrap_or_default();
    if !(1..=200).contains(&limit) {
        wrong.push(FieldError {
            pointer: "limit".to_owned(),
            rule: "1 to 200".to_owned(),
        });
    }
    let filter = match read {
        Ok(filter) if wrong.is_empty() => notifications::NotificationListFilter {
            before: query.cursor,
            limit: limit + 1,
            ..filter
        },
        _ => return Err(ApiProblem::Invalid(wrong)),
    };
    let mut rows = notifications::search(&state.engine.store, &caller.bounds, &filter).await?;
    let next = cut(&mut rows, limit, |row| row.id);
    Ok(HttpResponse::Ok().json(NotificationListResponse {
        notifications: rows.iter().map(summary).collect(),
        next,
    }))
}
