//! The audit log: who did what.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{ProblemDocument, cut, page_size};
use crate::{
    domain::{audit_action::AuditAction, time::Timestamp},
    http::{
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::audit,
};

/// Filter of audit entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// The object of the action, such as the name of a sender.
    subject: Option<String>,
    /// `next` of the previous page.
    cursor: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// An audit entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntryView {
    id: Uuid,
    at: String,
    /// `key:PREFIX` or `cli:NAME`.
    actor: String,
    #[schema(value_type = AuditAction)]
    action: String,
    subject: String,
    #[schema(value_type = Object)]
    detail: Value,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLogListResponse {
    entries: Vec<AuditEntryView>,
    next: Option<Uuid>,
}

/// Who did what, newest first. Needs an admin key.
#[utoipa::path(
    get, path = "/api/v1/audit", operation_id = "list_audit_entries", tag = "account", params(AuditQuery),
    responses((status = 200, body = AuditLogListResponse), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn list(
    _caller: AuthorizedApiClient<scope::AuditRead>,
    state: web::Data<AppState>,
    query: web::Query<AuditQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let mut rows = audit::newest(
        &state.engine.store,
        query.subject.as_deref(),
        query.cursor,
        limit + 1,
    )
    .await?;
    let next = cut(&mut rows, limit, |row| row.id);
    let entries = rows
        .into_iter()
        .map(|row| AuditEntryView {
            id: row.id,
            at: Timestamp::from_micros(row.created_at).to_string(),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: serde_json::from_str(&row.detail).unwrap_or(Value::Null),
        })
        .collect();
    Ok(HttpResponse::Ok().json(AuditLogListResponse { entries, next }))
}
