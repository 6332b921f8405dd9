//! Credentials of a sender: written, never read.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{answer, by, found, nonce, view};
use crate::{
    domain::credential::Kind,
    engine::{
        accept::FieldError,
        senders::{self, NewCredential},
    },
    http::{
        api::{ProblemDocument, idempotency, instant, read_json},
        auth::Admin,
        problem::Problem,
    },
    state::AppState,
};

use super::SenderView;

/// A credential, on its way in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialBody {
    /// `access_token`, `app_secret` or `verify_token`.
    kind: String,
    /// Never shown again.
    #[schema(value_type = String, write_only)]
    value: SecretString,
    /// RFC 3339: when its issuer will not take it any more.
    expires_at: Option<String>,
}

fn read(body: CredentialBody, at: &str) -> Result<NewCredential, Problem> {
    let kind = Kind::parse(&body.kind).ok_or_else(|| {
        Problem::Invalid(vec![FieldError {
            pointer: format!("{at}/kind"),
            rule: format!("one of {}", Kind::ALL.map(Kind::name).join(", ")),
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

pub(super) fn read_all(all: Vec<CredentialBody>) -> Result<Vec<NewCredential>, Problem> {
    all.into_iter()
        .enumerate()
        .map(|(position, body)| read(body, &format!("/credentials/{position}")))
        .collect()
}

/// Gives a sender another credential; it is used from the next call on. A new access
/// token takes the place of the old one; app secrets and verify tokens are good beside
/// each other. Needs an admin key. With an `Idempotency-Key`, once.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials", tag = "senders", params(("sender" = String, Path)), request_body = CredentialBody,
    responses((status = 201, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 409, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn add(
    admin: Admin,
    state: web::Data<AppState>,
    named: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let key = idempotency::whole(&request, &admin.0, &body)?;
    let new = read(read_json(&body)?, "")?;
    let row = found(&state, &named).await?;
    let by = by(&state, &admin, key.as_ref());
    senders::add_credential(&state.engine, by, row.id, &new, nonce()?).await??;
    let row = found(&state, &row.id.to_string()).await?;
    Ok(HttpResponse::Created().json(view::one(&state, &admin.0, row).await?))
}

async fn switched(
    admin: &Admin,
    state: &AppState,
    (named, id): (String, Uuid),
    active: bool,
) -> Result<HttpResponse, Problem> {
    let row = found(state, &named).await?;
    senders::set_active(&state.engine, by(state, admin, None), row.id, id, active).await??;
    answer(state, admin, row.id).await
}

/// Puts a credential into use again. Needs an admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials/{id}/activate", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn activate(
    admin: Admin,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, Problem> {
    switched(&admin, &state, path.into_inner(), true).await
}

/// Takes a credential out of use; without another, the environment's is used. Needs an
/// admin key.
#[utoipa::path(
    post, path = "/api/v1/senders/{sender}/credentials/{id}/deactivate", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn deactivate(
    admin: Admin,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, Problem> {
    switched(&admin, &state, path.into_inner(), false).await
}

/// Forgets a credential for good. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/senders/{sender}/credentials/{id}", tag = "senders",
    params(("sender" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn remove(
    admin: Admin,
    state: web::Data<AppState>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, Problem> {
    let (named, id) = path.into_inner();
    let row = found(&state, &named).await?;
    senders::remove(&state.engine, by(&state, &admin, None), row.id, id).await??;
    answer(&state, &admin, row.id).await
}
