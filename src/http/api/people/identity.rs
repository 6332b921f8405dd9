//! Endpoints for the identity of a contact: its evidence, and operator decisions.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    LimitQuery, by,
    contacts::{ContactAliasView, ContactView, alias_views, view},
    known,
};
use crate::{
    domain::{
        access::AccessBounds,
        field_error::FieldError,
        identity::{ContactAlias, ContactAliasKind},
        phone::Phone,
        recipient::WhatsAppUserId,
        time::Timestamp,
    },
    engine::people::identity,
    http::{
        api::{ProblemDocument, page_size, read_json, wrong},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::{alias, identity as rows},
};

/// The identity of a contact, and its evidence.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactIdentityView {
    contact: Uuid,
    /// The aliases of the person; with `superseded_at`: former ones.
    aliases: Vec<ContactAliasView>,
    /// Contacts merged into this one: their ids redirect here.
    merged: Vec<MergedContactView>,
    /// Contacts that may be the same person, or that are and stay separate.
    open: Vec<AliasConflictView>,
    /// Evidence from the provider, the newest first, at most 200.
    evidence: Vec<IdentityEvidenceView>,
}

/// A contact that was merged into another.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergedContactView {
    contact: Uuid,
    at: String,
}

/// One piece of evidence about aliases.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityEvidenceView {
    /// `seen`, `together`, `parent`, `replaced`, `rotated`, `moved` or `variant`.
    kind: &'static str,
    aliases: Vec<String>,
    /// The account in which it was observed.
    account: Option<String>,
    /// By the provider's clock.
    first_at: String,
    last_at: String,
    /// `message`, `status`, `answer`, `system`, `card`, `preference` or `person`.
    source: String,
    callback: Option<Uuid>,
}

/// The identity of a contact, with its evidence.
///
/// A key of a product gets only the aliases that the product knows, and no evidence.
#[utoipa::path(
    get, path = "/api/v1/contacts/{id}/identity", operation_id = "get_contact_identity", tag = "contacts", params(("id" = Uuid, Path)),
    responses((status = 200, body = ContactIdentityView), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let store = &state.engine.store;
    let reader = store.reader();
    let held = alias::of_contact(reader, &caller.bounds, id).await?;
    let sees_all = matches!(caller.bounds, AccessBounds::All);
    let evidence = if sees_all {
        let aliases: Vec<ContactAlias> = held
            .iter()
            .filter_map(|row| {
                Some(ContactAlias {
                    kind: ContactAliasKind::parse(&row.kind)?,
                    value: row.value.clone(),
                })
            })
            .collect();
        rows::listed(reader, &aliases).await?
    } else {
        Vec::new()
    };
    let merged = if sees_all {
        rows::parts(reader, id).await?
    } else {
        Vec::new()
    };
    let open = alias::conflicts_of(store, &caller.bounds, id).await?;
    Ok(HttpResponse::Ok().json(ContactIdentityView {
        contact: id,
        aliases: alias_views(held),
        merged: merged
            .into_iter()
            .map(|(contact, at)| MergedContactView {
                contact,
                at: at.to_string(),
            })
            .collect(),
        open: open.into_iter().map(AliasConflictView::of).collect(),
        evidence: evidence
            .into_iter()
            .map(|listed| {
                let observation = listed.observation;
                let (one, other) = observation.fact.aliases();
                IdentityEvidenceView {
                    kind: observation.fact.name(),
                    aliases: std::iter::once(one)
                        .chain(other)
                        .map(|alias| alias.value.clone())
                        .collect(),
                    account: Some(observation.scope).filter(|scope| !scope.is_empty()),
                    first_at: observation.first.to_string(),
                    last_at: observation.last.to_string(),
                    source: listed.source,
                    callback: listed.callback_id,
                }
            })
            .collect(),
    }))
}

/// An alias that two contacts claim.
#[derive(Debug, Serialize, ToSchema)]
pub struct AliasConflictView {
    kind: String,
    value: String,
    /// The contact that has it.
    contact: Uuid,
    /// The contact that claims it.
    other: Uuid,
    seen_at: String,
    /// `question`: a new user id was seen at a number, and nothing explains it yet; opt-outs of
    /// either apply to both. `linked`: they are one person with different data given by hand; they
    /// act as one. `contradiction`: the evidence cannot be true together.
    state: String,
    /// By the provider's clock.
    since: Option<String>,
    /// When a question counts as a change of owner, if it is not decided before.
    due_at: Option<String>,
}

impl AliasConflictView {
    fn of(row: entity::contact_conflict::Model) -> Self {
        let instant = |at: i64| Timestamp::from_micros(at).to_string();
        Self {
            kind: row.kind,
            value: row.value,
            contact: row.contact_id,
            other: row.other_id,
            seen_at: instant(row.created_at),
            state: row.state,
            since: (row.since > 0).then(|| instant(row.since)),
            due_at: row.due_at.map(instant),
        }
    }
}

/// Contacts that may be one person, or are one and stay separate.
///
/// An operator should decide (`merge`, `split`).
#[utoipa::path(
    get, path = "/api/v1/contacts/conflicts", operation_id = "list_contact_conflicts", tag = "contacts", params(LimitQuery),
    responses((status = 200, body = Vec<AliasConflictView>))
)]
pub async fn conflicts(
    caller: AuthorizedApiClient<scope::ContactsRead>,
    state: web::Data<AppState>,
    query: web::Query<LimitQuery>,
) -> Result<HttpResponse, ApiProblem> {
    let limit = page_size(query.limit)?;
    let found: Vec<AliasConflictView> =
        alias::conflicts(&state.engine.store, &caller.bounds, limit)
            .await?
            .into_iter()
            .map(AliasConflictView::of)
            .collect();
    Ok(HttpResponse::Ok().json(found))
}

/// Two contacts that are one person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeContactsRequestBody {
    contact: Uuid,
    other: Uuid,
    /// Drops the name, handle and catalogue of `other` where they differ. `false`, if absent: then
    /// such a merge is refused.
    #[serde(default)]
    overwrite: bool,
}

/// Merges two contacts.
///
/// Messages, preferences, links and memberships move; the id that is given up redirects to the
/// other for ever. `split` reverses it.
#[utoipa::path(
    post, path = "/api/v1/contacts/merge", operation_id = "merge_contacts", tag = "contacts", request_body = MergeContactsRequestBody,
    responses((status = 200, description = "The contact that stays", body = ContactView), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn merge(
    caller: AuthorizedApiClient<scope::ContactsMerge>,
    state: web::Data<AppState>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let body: MergeContactsRequestBody = read_json(&body)?;
    let stays = identity::merge(
        &state.engine,
        by(&caller, &state),
        body.contact,
        body.other,
        body.overwrite,
    )
    .await?;
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, stays).await?))
}

/// The part of a contact that is another person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitContactRequestBody {
    /// Numbers and user ids of the contact that belong to another person.
    #[serde(default)]
    aliases: Vec<String>,
    /// Instead: another contact whose identity is undecided. It is not the same person, and a
    /// disputed number belongs to it.
    other: Option<Uuid>,
}

/// Splits a contact into two persons.
///
/// Messages that came from the aliases move along, an opt-out stays with both, and no evidence
/// merges them again.
#[utoipa::path(
    post, path = "/api/v1/contacts/{id}/split", operation_id = "split_contact", tag = "contacts", params(("id" = Uuid, Path)), request_body = SplitContactRequestBody,
    responses((status = 200, description = "The other person's contact", body = ContactView), (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn split(
    caller: AuthorizedApiClient<scope::ContactsMerge>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let body: SplitContactRequestBody = read_json(&body)?;
    let by = by(&caller, &state);
    let other = match (body.other, body.aliases.as_slice()) {
        (Some(other), []) => {
            identity::part(&state.engine, by, id, other).await?;
            other
        }
        (None, [_, ..]) => {
            let aliases = body.aliases.iter().enumerate().map(|(place, text)| {
                parse(text).ok_or_else(|| FieldError {
                    pointer: format!("/aliases/{place}"),
                    rule: "a number in E.164, or a user id such as US.13491208655302741918"
                        .to_owned(),
                })
            });
            let aliases = aliases
                .collect::<Result<Vec<ContactAlias>, FieldError>>()
                .map_err(|wrong| ApiProblem::Invalid(vec![wrong]))?;
            identity::split(&state.engine, by, id, &aliases).await?
        }
        _ => {
            return Err(wrong("/aliases", "either aliases or other".to_owned()));
        }
    };
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, other).await?))
}

fn parse(text: &str) -> Option<ContactAlias> {
    match WhatsAppUserId::parse(text) {
        Some(user_id) => Some(ContactAlias::of_user_id(&user_id)),
        None => Phone::parse(text)
            .ok()
            .map(|phone| ContactAlias::of_phone(&phone)),
    }
}
