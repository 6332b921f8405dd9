//! Changes the log filter while the process runs.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::ProblemDocument;
use crate::{
    domain::{audit_action::AuditAction, field_error::FieldError},
    http::{
        auth::{AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::AppState,
    store::audit,
};

/// The new filter.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFilterRequestBody {
    /// As in `HERALD_LOG`: such as `info` or `herald=debug`.
    filter: String,
}

/// Sets the log filter of this process until it ends. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/log", operation_id = "set_log_filter", tag = "account", request_body = LogFilterRequestBody,
    responses((status = 200, body = LogFilterRequestBody), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn put(
    caller: AuthorizedApiClient<scope::LogWrite>,
    state: web::Data<AppState>,
    JsonBody(body): JsonBody<LogFilterRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    if (state.set_log_filter)(&body.filter).is_err() {
        return Err(ApiProblem::Invalid(vec![FieldError {
            pointer: "/filter".to_owned(),
            rule: "a filter such as info or herald=debug".to_owned(),
        }]));
    }
    let (actor, now) = (&caller.actor, state.clock.now());
    let (action, detail) = (AuditAction::LogFilter, json!({ "filter": body.filter }));
    audit::note_alone(&state.engine.store, actor, action, "log", &detail, now).await?;
    Ok(HttpResponse::Ok().json(body))
}
