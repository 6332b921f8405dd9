//! Endpoints for what people want: preferences of contacts, kinds of message, and opt-outs.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{LimitQuery, by, known};
use crate::{
    domain::{access::AccessBounds, preference::MessagePreference, time::Timestamp},
    engine::{InputError, people},
    http::{
        api::{ProblemDocument, page_size, read_json},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::{Store, preferences as rows, suppression},
};

/// Whether a contact wants a kind of message on a channel.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPreferenceView {
    /// A catalogue's `[[kind]]`; absent: every kind.
    #[serde(default)]
    kind: Option<String>,
    /// Absent: every channel.
    #[serde(default)]
    channel: Option<String>,
    wanted: bool,
}

/// Those that are set, as the API shows them.
pub(super) async fn of_contact(
    store: &Store,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<ContactPreferenceView>, ApiProblem> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    Ok(rows::preferences(store, bounds, contact)
        .await?
        .into_iter()
        .map(|row| ContactPreferenceView {
            kind: some(row.message_kind),
            channel: some(row.channel),
            wanted: row.wanted,
        })
        .collect())
}

/// The preferences of a contact.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPreferences {
    /// The most specific one decides: kind and channel, kind, channel, all. A message without any
    /// matching preference is wanted.
    preferences: Vec<ContactPreferenceView>,
}

/// The preferences of a contact.
#[utoipa::path(
    get, path = "/api/v1/contacts/{id}/preferences", operation_id = "get_contact_preferences", tag = "contacts", params(("id" = Uuid, Path)),
    responses((status = 200, body = ContactPreferences), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let preferences = of_contact(&state.engine.store, &caller.bounds, id).await?;
    Ok(HttpResponse::Ok().json(ContactPreferences { preferences }))
}

/// Replaces all preferences of a contact.
#[utoipa::path(
    put, path = "/api/v1/contacts/{id}/preferences", operation_id = "set_contact_preferences", tag = "contacts", params(("id" = Uuid, Path)), request_body = ContactPreferences,
    responses((status = 200, body = ContactPreferences), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn put(
    caller: AuthorizedApiClient<scope::ContactsWrite>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let body: ContactPreferences = read_json(&body)?;
    let wanted: Vec<MessagePreference> = body
        .preferences
        .into_iter()
        .map(|it| MessagePreference {
            kind: it.kind.unwrap_or_default(),
            channel: it.channel.unwrap_or_default(),
            wanted: it.wanted,
        })
        .collect();
    let set = people::set_preferences(&state.engine.store, by(&caller, &state), id, &wanted).await;
    if let Err(InputError::Invalid(_)) = &set {
        // Deleted meanwhile.
        known(&state, &caller.bounds, id).await?;
    }
    set?;
    let preferences = of_contact(&state.engine.store, &caller.bounds, id).await?;
    Ok(HttpResponse::Ok().json(ContactPreferences { preferences }))
}

/// A kind of message, which recipients may turn off unless it is required.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageKindView {
    name: String,
    description: Option<String>,
    /// It cannot be turned off.
    required: bool,
    catalogue: Option<String>,
}

/// Every kind of message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageKindList {
    message_kinds: Vec<MessageKindView>,
}

/// The kinds of message, and whether recipients may turn them off.
#[utoipa::path(
    get, path = "/api/v1/message-kinds", operation_id = "list_message_kinds", tag = "contacts",
    responses((status = 200, body = MessageKindList), (status = 401, body = ProblemDocument))
)]
pub async fn kinds(
    caller: AuthorizedApiClient<scope::CatalogueRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    let message_kinds = rows::kinds(state.engine.store.reader(), &caller.bounds)
        .await?
        .into_iter()
        .map(|row| MessageKindView {
            name: row.name,
            description: row.description,
            required: row.required,
            catalogue: row.catalogue,
        })
        .collect();
    Ok(HttpResponse::Ok().json(MessageKindList { message_kinds }))
}

/// A contact with an opt-out.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactSuppressionView {
    contact: Uuid,
    scope: String,
    source: String,
    at: String,
}

/// Contacts with an opt-out, newest first.
#[utoipa::path(
    get, path = "/api/v1/suppressions", operation_id = "list_suppressions", tag = "contacts", params(LimitQuery),
    responses((status = 200, body = Vec<ContactSuppressionView>))
)]
pub async fn suppressions(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    query: web::Query<LimitQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let found: Vec<ContactSuppressionView> =
        suppression::list(&state.engine.store, &caller.bounds, limit)
            .await?
            .into_iter()
            .map(|row| ContactSuppressionView {
                contact: row.contact_id,
                scope: row.scope,
                source: row.source,
                at: Timestamp::from_micros(row.provider_at).to_string(),
            })
            .collect();
    Ok(HttpResponse::Ok().json(found))
}
