//! Endpoints for staff members and groups.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::by;
use crate::{
    domain::access::AccessBounds,
    engine::people::{self, StaffContactSpec},
    http::{
        api::{ProblemDocument, cut, page_size, read_json, wrong},
        auth::{AuthorizedApiClient, scope},
        problem::ApiProblem,
    },
    state::AppState,
    store::people::{self as rows, StaffGroupSummary, StaffMemberDetails, StaffQuery},
};

/// A staff member.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffMemberView {
    name: String,
    /// Without one, messages for the staff member are skipped, with the reason.
    contact: Option<Uuid>,
    phone: Option<String>,
    groups: Vec<String>,
    catalogue: Option<String>,
}

impl From<StaffMemberDetails> for StaffMemberView {
    fn from(link: StaffMemberDetails) -> Self {
        let (contact, phone) = match link.person {
            Some(person) => (Some(person.contact_id), person.phone),
            None => (None, None),
        };
        Self {
            name: link.name,
            contact,
            phone,
            groups: link.groups,
            catalogue: link.catalogue,
        }
    }
}

/// A page of staff members.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffMemberListResponse {
    users: Vec<StaffMemberView>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// Selects a page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StaffMembersQuery {
    /// Prefix of the name.
    query: Option<String>,
    /// `next` of the previous page.
    after: Option<String>,
    /// 1 to 200; 50 if absent.
    limit: Option<u64>,
}

/// A page of all staff members, or of a group.
async fn page(
    state: &AppState,
    bounds: &AccessBounds,
    group: Option<&str>,
    asked: &StaffMembersQuery,
) -> Result<StaffMemberListResponse, ApiProblem> {
    let limit = page_size(asked.limit)?;
    let wanted = StaffQuery {
        group,
        beginning: asked.query.as_deref(),
        after: asked.after.as_deref(),
    };
    let mut found = rows::staff_page(&state.engine.store, bounds, wanted, limit + 1).await?;
    let next = cut(&mut found, limit, |it| it.name.clone());
    let users = found.into_iter().map(StaffMemberView::from).collect();
    Ok(StaffMemberListResponse { users, next })
}

/// Staff members, and the contacts they are linked to.
#[utoipa::path(
    get, path = "/api/v1/users", operation_id = "list_users", tag = "people", params(StaffMembersQuery),
    responses((status = 200, body = StaffMemberListResponse), (status = 401, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn users(
    caller: AuthorizedApiClient<scope::StaffRead>,
    state: web::Data<AppState>,
    asked: web::Query<StaffMembersQuery>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(page(&state, &caller.bounds, None, &asked).await?))
}

async fn user_of(
    state: &AppState,
    bounds: &AccessBounds,
    name: &str,
) -> Result<StaffMemberView, ApiProblem> {
    let found = rows::link_of(&state.engine.store, bounds, name).await?;
    found.map(StaffMemberView::from).ok_or(ApiProblem::NotFound)
}

/// A staff member.
#[utoipa::path(
    get, path = "/api/v1/users/{name}", operation_id = "get_user", tag = "people", params(("name" = String, Path)),
    responses((status = 200, body = StaffMemberView), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn user(
    caller: AuthorizedApiClient<scope::StaffRead>,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(user_of(&state, &caller.bounds, &name).await?))
}

/// Creates a staff member without a contact, unless the name exists.
///
/// 201 if it was created, otherwise 200. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/users/{name}", operation_id = "put_user", tag = "people", params(("name" = String, Path)),
    responses((status = 200, body = StaffMemberView), (status = 201, body = StaffMemberView), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn ensure_user(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    let made = people::ensure_user(&state.engine.store, by(&caller, &state), &name).await?;
    let mut answer = if made {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    Ok(answer.json(user_of(&state, &caller.bounds, &name).await?))
}

/// Deletes a staff member, also from all groups.
///
/// Refused while a route or a rule names it. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", operation_id = "delete_user", tag = "people", params(("name" = String, Path)),
    responses((status = 204), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn delete_user(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    user_of(&state, &caller.bounds, &name).await?;
    people::delete_user(&state.engine.store, by(&caller, &state), &name).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The contact to link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StaffLinkRequestBody {
    /// A number in E.164, or `contact:NAME`; `null` removes the link.
    contact: Option<String>,
}

/// Links a staff member to a contact, creating it if needed. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/contact", operation_id = "link_user", tag = "people", params(("name" = String, Path)), request_body = StaffLinkRequestBody,
    responses((status = 200, body = StaffMemberView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn link(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let body: StaffLinkRequestBody = read_json(&body)?;
    let (store, by) = (&state.engine.store, by(&caller, &state));
    match body.contact {
        Some(contact) => {
            let whom = StaffContactSpec::parse(&contact).map_err(|rule| wrong("/contact", rule))?;
            people::connect(store, by, &name, &whom).await?;
        }
        None => people::disconnect(store, by, &name).await?,
    }
    Ok(HttpResponse::Ok().json(user_of(&state, &caller.bounds, &name).await?))
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffGroupView {
    name: String,
    description: Option<String>,
    /// Number of members.
    members: i64,
    catalogue: Option<String>,
}

impl From<StaffGroupSummary> for StaffGroupView {
    fn from(group: StaffGroupSummary) -> Self {
        Self {
            name: group.name,
            description: group.description,
            members: group.members,
            catalogue: group.catalogue,
        }
    }
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct StaffGroupList {
    groups: Vec<StaffGroupView>,
}

/// Groups, with their numbers of members.
#[utoipa::path(
    get, path = "/api/v1/groups", operation_id = "list_groups", tag = "people",
    responses((status = 200, body = StaffGroupList), (status = 401, body = ProblemDocument))
)]
pub async fn groups(
    caller: AuthorizedApiClient<scope::StaffRead>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, ApiProblem> {
    let found = rows::groups(&state.engine.store, &caller.bounds).await?;
    let groups = found.into_iter().map(StaffGroupView::from).collect();
    Ok(HttpResponse::Ok().json(StaffGroupList { groups }))
}

/// The members of a group.
#[utoipa::path(
    get, path = "/api/v1/groups/{name}/members", operation_id = "list_group_members", tag = "people", params(("name" = String, Path), StaffMembersQuery),
    responses((status = 200, body = StaffMemberListResponse), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn members(
    caller: AuthorizedApiClient<scope::StaffRead>,
    state: web::Data<AppState>,
    name: web::Path<String>,
    asked: web::Query<StaffMembersQuery>,
) -> Result<HttpResponse, ApiProblem> {
    one(&state, &caller.bounds, &name).await?;
    Ok(HttpResponse::Ok().json(page(&state, &caller.bounds, Some(&name), &asked).await?))
}

/// The description of a group.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StaffGroupRequestBody {
    description: Option<String>,
}

async fn one(
    state: &AppState,
    bounds: &AccessBounds,
    name: &str,
) -> Result<StaffGroupView, ApiProblem> {
    let found = rows::group_of(&state.engine.store, bounds, name).await?;
    found.map(StaffGroupView::from).ok_or(ApiProblem::NotFound)
}

/// A group.
#[utoipa::path(
    get, path = "/api/v1/groups/{name}", operation_id = "get_group", tag = "people", params(("name" = String, Path)),
    responses((status = 200, body = StaffGroupView), (status = 401, body = ProblemDocument), (status = 404, body = ProblemDocument))
)]
pub async fn group(
    caller: AuthorizedApiClient<scope::StaffRead>,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    Ok(HttpResponse::Ok().json(one(&state, &caller.bounds, &name).await?))
}

/// Deletes a group; its members stay. Refused while a route or a rule names it. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/groups/{name}", operation_id = "delete_group", tag = "people", params(("name" = String, Path)),
    responses((status = 204), (status = 403, body = ProblemDocument), (status = 404, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn delete_group(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiProblem> {
    one(&state, &caller.bounds, &name).await?;
    people::delete_group(&state.engine.store, by(&caller, &state), &name).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Creates a group, unless the name exists.
///
/// 201 if it was created, otherwise 200. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/groups/{name}", operation_id = "put_group", tag = "people", params(("name" = String, Path)), request_body = Option<StaffGroupRequestBody>,
    responses((status = 200, body = StaffGroupView), (status = 201, body = StaffGroupView), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn ensure_group(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, ApiProblem> {
    let body: StaffGroupRequestBody = if body.is_empty() {
        StaffGroupRequestBody::default()
    } else {
        read_json(&body)?
    };
    let (store, by) = (&state.engine.store, by(&caller, &state));
    let done = people::ensure_group(store, by, &name, body.description.as_deref()).await?;
    let mut answer = if done.created {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    Ok(answer.json(one(&state, &caller.bounds, &name).await?))
}

/// Adds a staff member to a group. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/groups/{name}/members/{user}", operation_id = "add_group_member", tag = "people", params(("name" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = StaffGroupView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn add_member(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiProblem> {
    let (group, user) = path.into_inner();
    people::add_member(&state.engine.store, by(&caller, &state), &group, &user).await?;
    Ok(HttpResponse::Ok().json(one(&state, &caller.bounds, &group).await?))
}

/// Removes a staff member from a group. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/groups/{name}/members/{user}", operation_id = "remove_group_member", tag = "people", params(("name" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = StaffGroupView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn remove_member(
    caller: AuthorizedApiClient<scope::StaffWrite>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiProblem> {
    let (group, user) = path.into_inner();
    people::remove_member(&state.engine.store, by(&caller, &state), &group, &user).await?;
    Ok(HttpResponse::Ok().json(one(&state, &caller.bounds, &group).await?))
}
