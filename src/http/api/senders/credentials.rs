//! Endpoints for the credentials of a sender, which are write-only.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{credential::CredentialKind, field_error::FieldError},
    engine::admin::senders::{self, NewCredential},
    http::{
        api::{ProblemDocument, idempotency, instant, read_json},
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
};

use super::{SenderView, answer, by, found, nonce, view};

/// A credential to be stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreCredentialRequestBody {
    /// `access_token`, `app_secret` or `verify_token`.
    kind: String,
    /// Never shown again.
    #[schema(value_type = String, write_only)]
    value: SecretString,
    /// RFC 3339: when its issuer stops accepting it.
    expires_at: Option<String>,
}

fn read(body: StoreCredentialRequestBody, at: &str) -> Result<NewCredential, ApiProblem> {
    let kind = CredentialKind::parse(&body.kind).ok_or_else(|| {
        ApiProblem::Invalid(vec![FieldError {
            pointer: format!("{at}/kind"),
            rule: format!(
                "one of {}",
                CredentialKind::ALL.map(CredentialKind::name).join(", ")
            ),
        }])
    })?;
    let expires_at = body
        .expires_at
        .as_deref()
        .map(|text| instant(&format!("{at}/expires_at"), text))
        .transpose()?;
    Ok(NewCredential {
        kind,
        value: body.value,
        expires_at,
    })
}

pub(super) fn read_all(
    all: Vec<StoreCredentialRequestBody>,
) -> Result<Vec<NewCredential>, ApiProblem> {
    all.into_iter()
        .enumerate()
        .map(|(position, body)| read(body, &format!("/credentials/{position}")))
        .collect()
}

/// Adds a credential to a sender; it is used from the next call on.
///
/// A new access token replaces the old one; app secrets and verify tokens stay valid side by side.
/// Needs an admin key. With an `Idempotency-Key`, once.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials", operation_id = "create_sender_credential", tag = "senders", params(("sender" = String, Path)), request_body = StoreCredentialRequestBody,
    responses((status = 201, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn add(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    named: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::whole(&request, &caller, &body)?;
    let new = read(read_json(&body)?, "")?;
    let row = found(&state, &caller.bounds, &named).await?;
    let by = by(&state, &caller, key.as_ref());
    senders::add_credential(&state.engine, by, row.id, &new, nonce()?).await?;
    let row = found(&state, &caller.bounds, &row.id.to_string()).await?;
    Ok(HttpResponse::Created().json(view::one(&state, &caller, row).await?))
}

async fn switched(
    caller: &AuthenticatedApiClient,
    state: &AppState,
    (named, id): (String, Uuid),
    active: bool,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(state, &caller.bounds, &named).await?;
    senders::set_active(&state.engine, by(state, caller, None), row.id, id, active).await?;
    answer(state, caller, row.id).await
}

/// Activates a credential again. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials/{id}/activate", operation_id = "activate_credential", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn activate(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, ApiProblem> {
    switched(&caller, &state, path.into_inner(), true).await
}

/// Deactivates a credential; without another, the environment's is used. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials/{id}/deactivate", operation_id = "deactivate_credential", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn deactivate(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, ApiProblem> {
    switched(&caller, &state, path.into_inner(), false).await
}

/// Deletes a credential for good. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/senders/{sender}/credentials/{id}", operation_id = "delete_sender_credential", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn remove(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, ApiProblem> {
    let (named, id) = path.into_inner();
    let row = found(&state, &caller.bounds, &named).await?;
    senders::remove(&state.engine, by(&state, &caller, None), row.id, id).await?;
    answer(&state, &caller, row.id).await
}
