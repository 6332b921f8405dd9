//! Endpoints for API keys. Need an admin key.

use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ProblemDocument, instant};
use crate::{
    domain::{
        access::{ApiKeyRole, ApiKeyScope, ApiKeyScopes},
        field_error::FieldError,
        time::Timestamp,
    },
    engine::runtime::access::{self, ApiKeySpec},
    http::{
        auth::{AuthorizedApiClient, scope},
        body::JsonBody,
        problem::ApiProblem,
    },
    state::{AppState, random_bytes},
    store::{access as rows, sender},
};

/// A key to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequestBody {
    /// The product it belongs to: all keys of a product see the same.
    product: String,
    /// `product` (default) or `admin`.
    role: Option<String>,
    /// Such as `events:write`; absent: all scopes that its role allows.
    scopes: Option<Vec<String>>,
    /// It has no bounds, and sees the rows of every product.
    #[serde(default)]
    all: bool,
    /// It posts only events of this source, or of one that begins with it.
    source: Option<String>,
    /// Names or ids: it sends only with these, and reads messages to them.
    #[serde(default)]
    senders: Vec<String>,
    /// It uses only what this catalogue defines.
    catalogue: Option<String>,
    /// RFC 3339.
    expires_at: Option<String>,
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyView {
    id: Uuid,
    product: String,
    /// The beginning of its text.
    prefix: String,
    /// `product` or `admin`.
    role: &'static str,
    scopes: Vec<&'static str>,
    /// It has no bounds.
    all: bool,
    source: Option<String>,
    /// By name.
    senders: Vec<String>,
    catalogue: Option<String>,
    created_at: String,
    expires_at: Option<String>,
    /// To the minute.
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

/// A created key.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedApiKeyView {
    /// The key itself: shown now, and never again.
    key: String,
    #[serde(flatten)]
    view: ApiKeyView,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyList {
    keys: Vec<ApiKeyView>,
}

fn text(at: Option<i64>) -> Option<String> {
    at.map(|at| Timestamp::from_micros(at).to_string())
}

fn view(row: entity::api_key::Model, senders: &[entity::sender::Model]) -> ApiKeyView {
    let bounds = rows::bounds(&row);
    ApiKeyView {
        id: row.id,
        role: ApiKeyRole::of(&row.role).name(),
        scopes: rows::scopes(&row).iter().map(ApiKeyScope::name).collect(),
        all: bounds.product().is_none(),
        senders: bounds
            .senders()
            .iter()
            .map(|id| {
                let named = senders.iter().find(|sender| sender.id == *id);
                named.map_or_else(|| id.to_string(), |sender| sender.name.clone())
            })
            .collect(),
        product: row.name,
        prefix: row.prefix,
        source: row.source,
        catalogue: row.catalogue,
        created_at: Timestamp::from_micros(row.created_at).to_string(),
        expires_at: text(row.expires_at),
        last_used_at: text(row.last_used_at),
        revoked_at: text(row.revoked_at),
    }
}

/// All keys, including revoked ones.
#[utoipa::path(
    get, path = "/api/v1/keys", operation_id = "list_api_keys", tag = "keys",
    responses((status = 200, body = ApiKeyList), (status = 401, body = ProblemDocument), (status = 403, body = ProblemDocument))
)]
pub async fn list(
    _caller: AuthorizedApiClient<scope::KeysRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    let store = &state.engine.store;
    let senders = sender::all(store).await?;
    let found = rows::keys(store.reader()).await?;
    let keys = found.into_iter().map(|row| view(row, &senders)).collect();
    Ok(HttpResponse::Ok().json(ApiKeyList { keys }))
}

fn read(body: ApiKeyRequestBody) -> Result<ApiKeySpec, ApiProblem> {
    let mut wrong = Vec::new();
    let mut refuse = |pointer: String, rule: String| wrong.push(FieldError { pointer, rule });
    let role = match body.role.as_deref() {
        None | Some("product") => ApiKeyRole::Product,
        Some("admin") => ApiKeyRole::Admin,
        Some(_) => {
            refuse("/role".to_owned(), "product or admin".to_owned());
            ApiKeyRole::Product
        }
    };
    let scopes = body.scopes.map(|names| {
        let mut scopes = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            match ApiKeyScope::parse(name) {
                Some(scope) => scopes.push(scope),
                None => refuse(
                    format!("/scopes/{place}"),
                    format!("one of {}", ApiKeyScopes::of(ApiKeyRole::Admin)),
                ),
            }
        }
        scopes
    });
    if !wrong.is_empty() {
        return Err(ApiProblem::Invalid(wrong));
    }
    Ok(ApiKeySpec {
        product: body.product,
        role,
        scopes,
        all: body.all,
        source: body.source,
        senders: body.senders,
        catalogue: body.catalogue,
        expires_at: body
            .expires_at
            .as_deref()
            .map(|text| instant("/expires_at", text))
            .transpose()?,
    })
}

/// Creates a key.
///
/// Its text is in this response and nowhere else. It may do no more than the key that creates it.
#[utoipa::path(
    post, path = "/api/v1/keys", operation_id = "create_api_key", tag = "keys", request_body = ApiKeyRequestBody,
    responses((status = 201, body = CreatedApiKeyView), (status = 401, body = ProblemDocument), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn create(
    caller: AuthorizedApiClient<scope::KeysWrite>,
    state: web::Data<AppState>,
    JsonBody(body): JsonBody<ApiKeyRequestBody>,
) -> Result<HttpResponse, ApiProblem> {
    let wanted = read(body)?;
    if !caller.scopes.covers(wanted.scopes()) {
        let rule =
            "a key cannot create one that may do more than itself: name the scopes of the new key";
        return Err(ApiProblem::Forbidden(rule.to_owned()));
    }
    let random = random_bytes().map_err(|_none| ApiProblem::Internal)?;
    let (store, now) = (&state.engine.store, state.clock.now());
    let made = access::create_key(store, &caller.actor, &wanted, &random, now).await?;
    let senders = sender::all(store).await?;
    Ok(HttpResponse::Created().json(CreatedApiKeyView {
        key: made.key.text.expose_secret().to_owned(),
        view: view(made.row, &senders),
    }))
}

/// Revokes a key: it is invalid from now on. What it has created stays.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", operation_id = "revoke_api_key", tag = "keys", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 401, body = ProblemDocument), (status = 403, body = ProblemDocument),
        (status = 404, description = "No key in use has this id", body = ProblemDocument))
)]
pub async fn revoke(
    caller: AuthorizedApiClient<scope::KeysWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let now = state.clock.now();
    if !access::revoke_key(&state.engine.store, &caller.actor, *id, now).await? {
        return Err(ApiProblem::NotFound);
    }
    Ok(HttpResponse::NoContent().finish())
}
