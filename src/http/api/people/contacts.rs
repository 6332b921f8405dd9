//! Endpoints that show contacts, a page of them or one.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::preferences::{self, ContactPreferenceView};
use crate::{
    domain::{
        access::AccessBounds, channel::MessageChannel, email::EmailAddress, phone::Phone,
        quiet::QuietHours, time::Timestamp, window,
    },
    http::{
        api::{ProblemDocument, cut, page_size, wrong},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::{
        address_suppression,
        alias::{self, ContactAlias, ContactAliasKind},
        conversation,
        people::{self, ContactFilter},
        suppression,
    },
};

/// Selects one contact by number or id, or a page of contacts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ContactsQuery {
    /// A number in E.164: the answer is this one person.
    phone: Option<String>,
    /// A business-scoped id: the answer is this one person.
    user_id: Option<String>,
    /// A mailbox: the answer is a page of those who have it.
    email: Option<String>,
    /// Prefix of the name, handle, mailbox or number.
    query: Option<String>,
    /// `next` of the previous page.
    after: Option<Uuid>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// A page of contacts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactListResponse {
    contacts: Vec<ContactSummary>,
    /// Cursor of the next page.
    next: Option<Uuid>,
}

/// A contact in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactSummary {
    id: Uuid,
    name: Option<String>,
    phone: Option<String>,
    user_id: Option<String>,
    /// Where e-mail goes.
    email: Option<String>,
    language: Option<String>,
}

/// A contact.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactView {
    id: Uuid,
    /// As given by hand; otherwise the person's profile name.
    name: Option<String>,
    /// For display: it can pass to another person.
    username: Option<String>,
    /// The contact's name in a catalogue.
    handle: Option<String>,
    /// Where e-mail goes.
    email: Option<String>,
    /// Why that address gets nothing: `bounced` (there is no such mailbox) or `unsubscribed` (but for
    /// what cannot be refused); null if it does.
    email_suppressed: Option<String>,
    /// Staff members linked to this contact.
    users: Vec<String>,
    language: Option<String>,
    time_zone: Option<String>,
    #[schema(value_type = Option<Object>)]
    quiet_hours: Option<QuietHours>,
    /// The catalogue that this contact belongs to.
    catalogue: Option<String>,
    aliases: Vec<ContactAliasView>,
    windows: Vec<ServiceWindowView>,
    wishes: Vec<ContactConsentView>,
    preferences: Vec<ContactPreferenceView>,
}

/// A number or user id of a contact.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactAliasView {
    /// `phone`, `bsuid` or `parent_bsuid`.
    kind: String,
    value: String,
    /// From then on it did not belong to this person any more.
    superseded_at: Option<String>,
}

/// The service window of a contact and a sender.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceWindowView {
    sender: Uuid,
    open: bool,
    until: Option<String>,
    last_message_at: Option<String>,
    /// Messages are free until then: the person came through an advertisement.
    free_entry_until: Option<String>,
}

/// An opt-out or opt-in of a contact.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactConsentView {
    /// `all` or `marketing`.
    scope: String,
    wanted: bool,
    /// `word`, `user_preferences` or `131050`.
    source: String,
    at: String,
}

pub(super) fn alias_views(held: Vec<entity::contact_alias::Model>) -> Vec<ContactAliasView> {
    held.into_iter()
        .map(|row| ContactAliasView {
            kind: row.kind,
            value: row.value,
            superseded_at: text(row.superseded_at),
        })
        .collect()
}

fn text(at: Option<i64>) -> Option<String> {
    at.map(|at| Timestamp::from_micros(at).to_string())
}

/// One contact, by its id or that of one that was merged into it.
pub(super) async fn view(
    state: &AppState,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<ContactView, ApiProblem> {
    let store = &state.engine.store;
    let now = state.clock.now();
    let id = people::current(store.reader(), id).await?;
    let details = people::details(store.reader(), bounds, id)
        .await?
        .ok_or(ApiProblem::NotFound)?;
    let suppressed = match &details.email {
        Some(address) => {
            address_suppression::find(store.reader(), MessageChannel::Email, address).await?
        }
        None => None,
    };
    Ok(ContactView {
        id,
        name: details.name.or(details.profile_name),
        username: details.username,
        handle: details.handle,
        email: details.email,
        email_suppressed: suppressed.map(|row| row.reason),
        users: people::users_of(store.reader(), bounds, id).await?,
        language: details.language,
        time_zone: details.time_zone,
        quiet_hours: details.quiet_hours,
        catalogue: details.catalogue,
        preferences: preferences::of_contact(store, bounds, id).await?,
        aliases: alias_views(alias::of_contact(store.reader(), bounds, id).await?),
        windows: conversation::of_contact(store, bounds, id)
            .await?
            .into_iter()
            .map(|row| ServiceWindowView {
                sender: row.sender_id,
                open: window::is_open(row.window_until.map(Timestamp::from_micros), now),
                until: text(row.window_until),
                last_message_at: text(row.last_inbound_at),
                free_entry_until: text(row.free_entry_until),
            })
            .collect(),
        wishes: suppression::of_contact(store, id)
            .await?
            .into_iter()
            .map(|row| ContactConsentView {
                scope: row.scope,
                wanted: row.wanted,
                source: row.source,
                at: Timestamp::from_micros(row.provider_at).to_string(),
            })
            .collect(),
    })
}

/// Contacts, or one by number or business-scoped id.
#[utoipa::path(
    get, path = "/api/v1/contacts", operation_id = "list_contacts", tag = "contacts", params(ContactsQuery),
    responses((status = 200, description = "One person, or a page", body = ContactListResponse), (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn find(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    query: web::Query<ContactsQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let reader = state.engine.store.reader();
    let selecting = [&query.phone, &query.user_id, &query.email, &query.query];
    if selecting.into_iter().flatten().count() > 1 {
        let rule = "one of phone, user_id, email and query";
        return Err(wrong("query", rule.to_owned()));
    }
    let found = match (&query.phone, &query.user_id) {
        (None, None) => return page(&state, &caller.bounds, &query).await,
        (Some(phone), _) => {
            let phone = Phone::parse(&with_plus(phone))
                .map_err(|error| wrong("phone", error.to_string()))?;
            alias::owner_known(reader, &caller.bounds, &ContactAlias::of_phone(&phone)).await?
        }
        (_, Some(user_id)) => {
            let bounds = &caller.bounds;
            let id = |kind| ContactAlias {
                kind,
                value: user_id.clone(),
            };
            match alias::owner_known(reader, bounds, &id(ContactAliasKind::UserId)).await? {
                Some(owner) => Some(owner),
                // The id that spans linked portfolios.
                None => {
                    alias::owner_known(reader, bounds, &id(ContactAliasKind::ParentUserId)).await?
                }
            }
        }
    };
    let id = found.ok_or(ApiProblem::NotFound)?;
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, id).await?))
}

/// A `+` in a query is a blank unless it was written `%2B`; neither number nor mailbox has blanks.
fn with_plus(text: &str) -> String {
    text.replace(' ', "+")
}

async fn page(
    state: &AppState,
    bounds: &AccessBounds,
    query: &ContactsQuery,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let store = &state.engine.store;
    let mailbox = match &query.email {
        Some(text) => Some(
            EmailAddress::parse(&with_plus(text))
                .map_err(|error| wrong("email", error.to_string()))?,
        ),
        None => None,
    };
    let filter = match (&mailbox, &query.query) {
        (None, None) => ContactFilter::All,
        (None, Some(beginning)) => ContactFilter::Beginning(beginning),
        (Some(mailbox), _) => ContactFilter::Mailbox(mailbox),
    };
    let mut found = people::page(store, bounds, filter, query.after, limit + 1).await?;
    let next = cut(&mut found, limit, |person| person.contact_id);
    let contacts = found
        .into_iter()
        .map(|person| ContactSummary {
            id: person.contact_id,
            name: person.name,
            phone: person.phone,
            user_id: person.user_id,
            email: person.email,
            language: person.language,
        })
        .collect();
    Ok(HttpResponse::Ok().json(ContactListResponse { contacts, next }))
}

/// One contact.
#[utoipa::path(
    get, path = "/api/v1/contacts/{id}", operation_id = "get_contact", tag = "contacts", params(("id" = Uuid, Path)),
    responses((status = 200, body = ContactView), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, *id).await?))
}
