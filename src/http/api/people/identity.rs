//! Why somebody is one person: what is known, and what people have decided.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    AliasView, ConflictView, ContactView, alias_views,
    contacts::{by, known},
    view,
};
use crate::{
    domain::{
        access::Bounds,
        field_error::FieldError,
        identity::{Alias, AliasKind},
        phone::Phone,
        recipient::UserId,
        time::Timestamp,
    },
    engine::people::identity,
    http::{
        api::{ProblemDocument, read_json},
        auth::{Allowed, scope},
        problem::Problem,
    },
    state::AppState,
    store::{alias, identity as rows},
};

/// Who somebody is, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentityView {
    contact: Uuid,
    /// What the person is known by; with `superseded_at`: was.
    aliases: Vec<AliasView>,
    /// Contacts that have become a part of this one: their ids lead here.
    merged: Vec<MergedView>,
    /// Contacts that may be the same person, or are and stay two.
    open: Vec<ConflictView>,
    /// What the provider has said, the newest first, at most 200.
    evidence: Vec<EvidenceView>,
}

/// A contact that has become a part of another.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergedView {
    contact: Uuid,
    at: String,
}

/// One thing that was said about aliases.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceView {
    /// `seen`, `together`, `parent`, `replaced`, `rotated`, `moved` or `variant`.
    kind: &'static str,
    aliases: Vec<String>,
    /// The account that it was observed in.
    account: Option<String>,
    /// By the provider's clock.
    first_at: String,
    last_at: String,
    /// `message`, `status`, `answer`, `system`, `card`, `preference` or `person`.
    source: String,
    callback: Option<Uuid>,
}

/// Why somebody is one person: what the provider has said of their aliases. To a key of a product
/// only the aliases that it knows are shown, and no evidence.
#[utoipa::path(
    get, path = "/api/v1/contacts/{id}/identity", operation_id = "get_contact_identity", tag = "contacts", params(("id" = Uuid, Path)),
    responses((status = 200, body = IdentityView), (status = 404, body = ProblemDocument))
)]
pub async fn get(
    caller: Allowed<scope::ContactsRead>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let store = &state.engine.store;
    let reader = store.reader();
    let held = alias::of_contact(reader, &caller.bounds, id).await?;
    let sees_all = matches!(caller.bounds, Bounds::All);
    let evidence = if sees_all {
        let aliases: Vec<Alias> = held
            .iter()
            .filter_map(|row| {
                Some(Alias {
                    kind: AliasKind::parse(&row.kind)?,
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
    Ok(HttpResponse::Ok().json(IdentityView {
        contact: id,
        aliases: alias_views(held),
        merged: merged
            .into_iter()
            .map(|(contact, at)| MergedView {
                contact,
                at: at.to_string(),
            })
            .collect(),
        open: open.into_iter().map(ConflictView::of).collect(),
        evidence: evidence
            .into_iter()
            .map(|listed| {
                let observation = listed.observation;
                let (one, other) = observation.fact.aliases();
                EvidenceView {
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

/// Two contacts that are one person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeBody {
    contact: Uuid,
    other: Uuid,
    /// Takes away what is said of `other` (name, handle, catalogue) where it differs. `false`, if
    /// absent: then such a merge is refused.
    #[serde(default)]
    overwrite: bool,
}

/// Makes two contacts one. Messages, preferences, links and memberships go along; the id that is
/// given up leads to the other for ever. It can be taken back with `split`.
#[utoipa::path(
    post, path = "/api/v1/contacts/merge", operation_id = "merge_contacts", tag = "contacts", request_body = MergeBody,
    responses((status = 200, description = "The contact that stays", body = ContactView), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn merge(
    caller: Allowed<scope::ContactsMerge>,
    state: web::Data<AppState>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let body: MergeBody = read_json(&body)?;
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

/// What of a contact is another person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitBody {
    /// Numbers and user ids of the contact that are another person's.
    #[serde(default)]
    aliases: Vec<String>,
    /// Instead: another contact, of which it is open whether it is the same person. It is not; a
    /// number in question is the other's.
    other: Option<Uuid>,
}

/// Says that a contact is two persons. What came by the aliases goes along, a refusal stays with
/// both, and no evidence makes them one again.
#[utoipa::path(
    post, path = "/api/v1/contacts/{id}/split", operation_id = "split_contact", tag = "contacts", params(("id" = Uuid, Path)), request_body = SplitBody,
    responses((status = 200, description = "The other person's contact", body = ContactView), (status = 403, body = ProblemDocument),
        (status = 404, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn split(
    caller: Allowed<scope::ContactsMerge>,
    state: web::Data<AppState>,
    id: web::Path<Uuid>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let id = known(&state, &caller.bounds, *id).await?;
    let body: SplitBody = read_json(&body)?;
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
                .collect::<Result<Vec<Alias>, FieldError>>()
                .map_err(|wrong| Problem::Invalid(vec![wrong]))?;
            identity::split(&state.engine, by, id, &aliases).await?
        }
        _ => {
            return Err(super::wrong(
                "/aliases",
                "either aliases or other".to_owned(),
            ));
        }
    };
    Ok(HttpResponse::Ok().json(view(&state, &caller.bounds, other).await?))
}

fn parse(text: &str) -> Option<Alias> {
    match UserId::parse(text) {
        Some(user_id) => Some(Alias::of_user_id(&user_id)),
        None => Phone::parse(text).ok().map(|phone| Alias::of_phone(&phone)),
    }
}

impl ConflictView {
    pub(super) fn of(row: entity::contact_conflict::Model) -> Self {
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
