//! Endpoints that set the default sender, and hold or release one.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SenderView, answer, by, found, view};
use crate::{
    engine::admin::{operator_actions, senders},
    http::{
        api::{ProblemDocument, read_json, wrong},
        auth::{AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::AppState,
};

/// Longest reason, in characters.
const MAX_REASON: usize = 200;

/// Makes a sender the default. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/default", operation_id = "set_default_sender", tag = "senders", params(("sender" = String, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn make_default(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    named: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, &named).await?;
    senders::make_default(&state.engine, by(&state, &caller, None), row.id).await?;
    answer(&state, &caller, row.id).await
}

/// Why a sender is held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderHoldRequestBody {
    reason: String,
}

/// Holds a sender: requests are accepted and wait, and expire as usual. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/hold", operation_id = "hold_sender", tag = "senders", params(("sender" = String, Path)), request_body = SenderHoldRequestBody,
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn hold(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    named: web::Path<String>,
    JsonBody(asked): JsonBody<SenderHoldRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, &named).await?;
    let reason = asked.reason.trim();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(wrong("/reason", format!("1 to {MAX_REASON} characters")));
    }
    senders::hold(&state.engine, by(&state, &caller, None), row.id, reason).await?;
    answer(&state, &caller, row.id).await
}

/// Options of a release.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderReleaseRequestBody {
    /// Messages requested longer ago than this, in seconds, are not sent any more.
    discard_older_than_seconds: Option<i64>,
    /// Only report what would be discarded; the sender stays as it is.
    #[serde(default)]
    dry_run: bool,
}

/// A released sender, and the number of discarded messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct SenderReleaseResponse {
    discarded: u64,
    sender: SenderView,
}

/// Releases a held sender. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/release", operation_id = "release_sender", tag = "senders", params(("sender" = String, Path)), request_body = SenderReleaseRequestBody,
    responses((status = 200, body = SenderReleaseResponse), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn release(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    named: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let asked: SenderReleaseRequestBody = if body.is_empty() {
        SenderReleaseRequestBody::default()
    } else {
        read_json(&body)?
    };
    let row = found(&state, &caller.bounds, &named).await?;
    let (engine, by) = (&state.engine, by(&state, &caller, None));
    let mut discarded = operator_actions::BulkActionReport::default();
    if let Some(seconds) = asked.discard_older_than_seconds {
        if seconds < 0 {
            return Err(wrong("/discard_older_than_seconds", "0 or more".to_owned()));
        }
        let before = by.now.plus_seconds(seconds.saturating_neg());
        discarded = senders::discard(engine, by, row.id, before, asked.dry_run)
            .await?
            .ok_or(ApiProblem::NotFound)?;
    }
    if !asked.dry_run {
        senders::release(engine, by, row.id).await?;
    }
    let row = found(&state, &caller.bounds, &row.id.to_string()).await?;
    Ok(HttpResponse::Ok().json(SenderReleaseResponse {
        discarded: discarded.changed,
        sender: view::one(&state, &caller, row).await?,
    }))
}
