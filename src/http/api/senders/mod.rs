//! Endpoints for senders: their settings, credentials and state.

pub mod credentials;
pub mod switch;
mod view;

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProblemDocument, idempotency};
use crate::{
    domain::{access::AccessBounds, edit::ValueEdit},
    engine::{
        admin::senders::{self, SenderAdminActor},
        intake::idempotency::IdempotencyKey,
    },
    http::{
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::{AppState, random_bytes},
    store::sender::{self, NewSenderRow, SenderRowChanges},
};
pub use view::SenderView;

/// A sender to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSenderRequestBody {
    name: String,
    /// `meta`, if absent.
    kind: Option<String>,
    /// Meta's id of the number.
    phone_number_id: Option<String>,
    /// What another provider than Meta calls the sender.
    endpoint_id: Option<String>,
    /// Meta's id of the business account.
    waba_id: Option<String>,
    /// Meta's id of the app that is subscribed. Numbers of one app share its secrets.
    app_id: Option<String>,
    api_version: Option<String>,
    api_base: Option<String>,
    /// What another kind of provider needs, by name.
    #[serde(default)]
    settings: BTreeMap<String, String>,
    /// Absent: as the provider reports it. 0: unlimited.
    messages_per_second: Option<i64>,
    /// Write-only.
    #[serde(default)]
    credentials: Vec<credentials::StoreCredentialRequestBody>,
}

/// The fields to change: an absent one stays, `null` removes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateSenderRequestBody {
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    waba_id: ValueEdit<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    app_id: ValueEdit<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    api_version: ValueEdit<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    api_base: ValueEdit<String>,
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    messages_per_second: ValueEdit<i64>,
}

/// The actor of a change.
fn by<'a>(
    state: &AppState,
    caller: &'a AuthenticatedApiClient,
    key: Option<&'a IdempotencyKey>,
) -> SenderAdminActor<'a> {
    SenderAdminActor {
        actor: &caller.actor,
        now: state.clock.now(),
        key,
    }
}

/// The sender of an address, by id or name, within the caller's bounds.
async fn found(
    state: &AppState,
    bounds: &AccessBounds,
    named: &str,
) -> Result<entity::sender::Model, ApiProblem> {
    sender::named(state.engine.store.reader(), named)
        .await?
        .filter(|row| bounds.has_sender(row.id))
        .ok_or(ApiProblem::NotFound)
}

/// The sender as it is after a change.
async fn answer(
    state: &AppState,
    caller: &AuthenticatedApiClient,
    id: Uuid,
) -> Result<HttpResponse, ApiProblem> {
    let row = sender::find(state.engine.store.reader(), id).await?;
    let row = row.ok_or(ApiProblem::NotFound)?;
    Ok(HttpResponse::Ok().json(view::one(state, caller, row).await?))
}

/// Random bytes for a credential.
fn nonce() -> Result<[u8; 24], ApiProblem> {
    random_bytes().map_err(|_none| ApiProblem::Internal)
}

/// All senders.
#[utoipa::path(
    get, path = "/api/v1/senders", operation_id = "list_senders", tag = "senders",
    responses((status = 200, body = Vec<SenderView>))
)]
pub async fn list(
    caller: AuthorizedApiClient<scope::SendersRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(view::all(&state, &caller).await?))
}

/// One sender, by its id or its name. Its credentials are shown, masked, to admin keys.
#[utoipa::path(
    get, path = "/api/v1/senders/{sender}", operation_id = "get_sender", tag = "senders", params(("sender" = String, Path)),
    responses((status = 200, body = SenderView), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::SendersRead>,
    state: web::Data<AppState>,
    named: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, &named).await?;
    Ok(HttpResponse::Ok().json(view::one(&state, &caller, row).await?))
}

/// Adds a sender. Needs an admin key. With an `Idempotency-Key`, once.
#[utoipa::path(
    post, path = "/api/v1/senders", operation_id = "create_sender", tag = "senders", request_body = CreateSenderRequestBody,
    responses((status = 201, body = SenderView), (status = 403, body = ProblemDocument), (status = 409, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn add(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let key = idempotency::whole(&request, &caller, &body)?;
    let asked: CreateSenderRequestBody = super::read_json(&body)?;
    let credentials = credentials::read_all(asked.credentials)?;
    let new = NewSenderRow {
        kind: asked
            .kind
            .unwrap_or_else(|| state.engine.providers().default_kind().to_owned()),
        name: asked.name,
        endpoint_id: asked.phone_number_id.or(asked.endpoint_id),
        account_id: asked.waba_id,
        app_id: asked.app_id,
        settings: [
            ("api_version", asked.api_version),
            ("api_base", asked.api_base),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .chain(asked.settings)
        .collect(),
        per_second: asked.messages_per_second,
    };
    let by = by(&state, &caller, key.as_ref());
    let nonces = credentials
        .iter()
        .map(|_| nonce())
        .collect::<Result<Vec<_>, _>>()?;
    let id = senders::add(&state.engine, by, &new, &credentials, &nonces).await?;
    let row = found(&state, &caller.bounds, &id.to_string()).await?;
    Ok(HttpResponse::Created().json(view::one(&state, &caller, row).await?))
}

/// Changes the settings of a sender. Needs an admin key.
#[utoipa::path(
    patch, path = "/api/v1/senders/{sender}", operation_id = "update_sender", tag = "senders", params(("sender" = String, Path)), request_body = UpdateSenderRequestBody,
    responses((status = 200, body = SenderView), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn change(
    caller: AuthorizedApiClient<scope::SendersWrite>,
    state: web::Data<AppState>,
    named: web::Path<String>,
    JsonBody(asked): JsonBody<UpdateSenderRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let row = found(&state, &caller.bounds, &named).await?;

    let changes = SenderRowChanges {
        name: asked.name,
        account_id: asked.waba_id,
        app_id: asked.app_id,
        settings: [
            ("api_version", asked.api_version),
            ("api_base", asked.api_base),
        ]
        .into_iter()
        .filter(|(_, edit)| *edit != ValueEdit::Keep)
        .map(|(name, edit)| (name.to_owned(), edit))
        .collect(),
        per_second: asked.messages_per_second,
    };
    let by = by(&state, &caller, None);
    senders::set(&state.engine, by, row.id, &changes).await?;
    answer(&state, &caller, row.id).await
}
