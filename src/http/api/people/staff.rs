//! Staff and groups.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::contacts::by;
use crate::{
    engine::people::{self, Whom},
    http::{
        api::{ProblemDocument, read_json, wrong},
        auth::{Admin, Client},
        problem::Problem,
    },
    state::AppState,
    store::people::{self as rows, Link},
};

/// A member of staff.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    name: String,
    /// Without one, what is for them is skipped, visibly.
    contact: Option<Uuid>,
    phone: Option<String>,
    groups: Vec<String>,
    catalogue: Option<String>,
}

impl From<Link> for UserView {
    fn from(link: Link) -> Self {
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

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Users {
    users: Vec<UserView>,
}

/// Staff: who is linked to a contact, and who is not.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "people",
    responses((status = 200, body = Users), (status = 401, body = ProblemDocument))
)]
pub async fn users(_client: Client, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let found = rows::links(&state.engine.store).await?;
    let users = found.into_iter().map(UserView::from).collect();
    Ok(HttpResponse::Ok().json(Users { users }))
}

/// Which contact.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// A number in E.164, or `contact:NAME`; `null` takes the link away.
    contact: Option<String>,
}

/// Links a user to a contact; makes the user, if there is none. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/contact", tag = "people", params(("name" = String, Path)), request_body = LinkBody,
    responses((status = 200, body = UserView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn link(
    admin: Admin,
    state: web::Data<AppState>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let body: LinkBody = read_json(&body)?;
    let (store, by) = (&state.engine.store, by(&admin.0, &state));
    match body.contact {
        Some(contact) => {
            let whom = Whom::parse(&contact).map_err(|rule| wrong("/contact", rule))?;
            people::connect(store, by, &name, &whom)
                .await?
                .map_err(Problem::Invalid)?;
        }
        None => people::disconnect(store, by, &name)
            .await?
            .map_err(Problem::Invalid)?,
    }
    let found = rows::links(store).await?;
    let user = found.into_iter().find(|link| link.name == *name);
    let user = user.map(UserView::from).ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok().json(user))
}

/// A group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupView {
    name: String,
    description: Option<String>,
    members: Vec<UserView>,
    catalogue: Option<String>,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Groups {
    groups: Vec<GroupView>,
}

async fn all(state: &AppState) -> Result<Vec<GroupView>, Problem> {
    let store = &state.engine.store;
    let links = rows::links(store).await?;
    let groups = rows::groups(store).await?;
    Ok(groups
        .into_iter()
        .map(|group| GroupView {
            members: links
                .iter()
                .filter(|link| link.groups.contains(&group.name))
                .map(|link| UserView::from(link.clone()))
                .collect(),
            name: group.name,
            description: group.description,
            catalogue: group.catalogue,
        })
        .collect())
}

/// Groups with their members.
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "people",
    responses((status = 200, body = Groups), (status = 401, body = ProblemDocument))
)]
pub async fn groups(_client: Client, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let groups = all(&state).await?;
    Ok(HttpResponse::Ok().json(Groups { groups }))
}

/// What a group is for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupBody {
    description: Option<String>,
}

async fn one(state: &AppState, name: &str) -> Result<GroupView, Problem> {
    let found = all(state).await?;
    let group = found.into_iter().find(|group| group.name == name);
    group.ok_or(Problem::NotFound)
}

/// Makes a group, unless there is one of this name: 201 when it was made, else 200. Needs an
/// admin key.
#[utoipa::path(
    put, path = "/api/v1/groups/{name}", tag = "people", params(("name" = String, Path)), request_body = Option<GroupBody>,
    responses((status = 200, body = GroupView), (status = 201, body = GroupView), (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument))
)]
pub async fn ensure_group(
    admin: Admin,
    state: web::Data<AppState>,
    name: web::Path<String>,
    body: web::Bytes,
) -> Result<HttpResponse, Problem> {
    let body: GroupBody = if body.is_empty() {
        GroupBody::default()
    } else {
        read_json(&body)?
    };
    let (store, by) = (&state.engine.store, by(&admin.0, &state));
    let done = people::ensure_group(store, by, &name, body.description.as_deref())
        .await?
        .map_err(Problem::Invalid)?;
    let mut answer = if done.created {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    Ok(answer.json(one(&state, &name).await?))
}

/// Puts a user into a group. Needs an admin key.
#[utoipa::path(
    put, path = "/api/v1/groups/{name}/members/{user}", tag = "people", params(("name" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = GroupView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn add_member(
    admin: Admin,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (group, user) = path.into_inner();
    people::add_member(&state.engine.store, by(&admin.0, &state), &group, &user)
        .await?
        .map_err(Problem::Invalid)?;
    Ok(HttpResponse::Ok().json(one(&state, &group).await?))
}

/// Takes a user out of a group. Needs an admin key.
#[utoipa::path(
    delete, path = "/api/v1/groups/{name}/members/{user}", tag = "people", params(("name" = String, Path), ("user" = String, Path)),
    responses((status = 200, body = GroupView), (status = 403, body = ProblemDocument), (status = 422, body = ProblemDocument))
)]
pub async fn remove_member(
    admin: Admin,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (group, user) = path.into_inner();
    people::remove_member(&state.engine.store, by(&admin.0, &state), &group, &user)
        .await?
        .map_err(Problem::Invalid)?;
    Ok(HttpResponse::Ok().json(one(&state, &group).await?))
}
