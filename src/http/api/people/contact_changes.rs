//! Endpoints that create, change and delete contacts.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    by,
    contacts::{ContactView, view},
    known,
};
use crate::{
    domain::{access::AccessBounds, edit::ValueEdit, quiet::QuietHours},
    engine::{
        InputError,
        people::{self, ContactChanges, ContactDeletion},
        runtime::access::ApiKeyRole,
    },
    http::{
        api::{ProblemDocument, read_json},
        auth::{AuthenticatedApiClient, AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::{alias, people as rows},
};

/// The data of a contact. An absent field stays unchanged; `null` removes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveContactRequestBody {
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: ValueEdit<String>,
    /// Its name in requests and routes: `contact:HANDLE`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    handle: ValueEdit<String>,
    /// In E.164.
    phone: Option<String>,
    /// WhatsApp's user id of a person whose number may be unknown: `US.13491208655302741918`.
    user_id: Option<String>,
    /// Where e-mail goes.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: ValueEdit<String>,
    /// Such as `en`, `en_US` or `hi`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    language: ValueEdit<String>,
    /// As in the tz database: `Africa/Harare`. UTC, if absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    time_zone: ValueEdit<String>,
    /// `{"from": "21:00", "until": "07:00"}`: only codes, required kinds and messages of high
    /// priority are sent then; the rest waits.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    quiet_hours: ValueEdit<QuietHours>,
}

impl From<SaveContactRequestBody> for ContactChanges {
    fn from(body: SaveContactRequestBody) -> Self {
        Self {
            name: body.name,
            handle: body.handle,
            phone: body.phone,
            user_id: body.user_id,
            email: body.email,
            language: body.language,
            time_zone: body.time_zone,
            quiet_hours: body.quiet_hours,
        }
    }
}

/// Creates a contact. A known number or user id changes its contact instead.
#[utoipa::path(
    post, path = "/api/v1/contacts", operation_id = "create_contact", tag = "contacts", request_body = SaveContactRequestBody,
    responses((status = 201, body = ContactView), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn add(
    caller: AuthorizedApiClient<scope::ContactsWrite>,
    state: web::Data<AppState>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let body: SaveContactRequestBody = read_json(&body)?;
    let id = save(&caller, &state, None, body).await?;
    Ok(HttpResponse::Created().json(view(&state, &caller.bounds, id).await?))
}

/// Changes a contact.
#[utoipa::path(
    patch, path = "/api/v1/contacts/{id}", operation_id = "update_contact", tag = "contacts", params(("id" = Uuid, Path)), request_body = SaveContactRequestBody,
    responses((status = 200, body = ContactView), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn change(
    caller: AuthorizedApiClient<scope::ContactsWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let body: SaveContactRequestBody = read_json(&body)?;
    let id = save(&caller, &state, Some(id), body).await?;
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, id).await?))
}

/// Deletes a contact: names, preferences, service windows.
///
/// Waiting messages are cancelled; the record of sent messages stays for its retention time. If the
/// contact has an opt-out, its number and the opt-out stay. What the person wrote and the callbacks
/// that concern the person are erased soon after. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/contacts/{id}", operation_id = "delete_contact", tag = "contacts", params(("id" = Uuid, Path)),
    responses((status = 200, body = ContactDeletion), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, description = "Staff, a route or a rule is linked to this person", body = ProblemDocument))
)]
pub async fn delete(
    caller: AuthorizedApiClient<scope::ContactsDelete>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let deleted = people::delete_contact(&state.engine, by(&caller, &state), id).await?;
    Ok(HttpResponse::Ok().json(deleted))
}

async fn save(
    client: &AuthenticatedApiClient,
    state: &AppState,
    id: Option<Uuid>,
    body: SaveContactRequestBody,
) -> Result<Uuid, ApiProblem> {
    let changes = ContactChanges::from(body);
    may_change(client, state, id, &changes).await?;
    let saved = people::save_contact(&state.engine.store, by(client, state), id, &changes).await;
    if let (Err(InputError::Invalid(_)), Some(id)) = (&saved, id) {
        // Deleted meanwhile.
        known(state, &client.bounds, id).await?;
    }
    Ok(saved?)
}

const NAMED: &str = "only an admin key may change where messages go for staff, and for people whom a catalogue or an admin has named";

/// Only an admin may change where messages for staff members go, and those for contacts named by a
/// catalogue or an admin: another number or name would send them to another person.
async fn may_change(
    client: &AuthenticatedApiClient,
    state: &AppState,
    id: Option<Uuid>,
    changes: &ContactChanges,
) -> Result<(), ApiProblem> {
    // A product's changes are its own: they do not redirect other products' messages.
    if client.bounds.product().is_some() {
        return Ok(());
    }
    let reader = state.engine.store.reader();
    let mut owners = Vec::new();
    for alias in changes.aliases() {
        owners.push(alias::owner(reader, &alias).await?);
    }
    let known = id.or_else(|| owners.iter().flatten().next().copied());
    let Some(target) = known.filter(|_| client.role != ApiKeyRole::Admin) else {
        return Ok(());
    };
    let leads_elsewhere =
        changes.handle != ValueEdit::Keep || owners.iter().any(|owner| *owner != Some(target));
    let (handle, users) = rows::names(reader, target).await?;
    let details = rows::details(reader, &AccessBounds::All, target)
        .await?
        .unwrap_or_default();
    let is_named = handle.is_some() || !users.is_empty() || details.catalogue.is_some();
    if is_named && leads_elsewhere {
        return Err(ApiProblem::Forbidden(NAMED.to_owned()));
    }
    Ok(())
}
