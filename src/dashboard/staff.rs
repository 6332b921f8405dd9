//! Pages of staff members: their contacts and groups.

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    act::{DashboardForm, SignedInUser},
    fault::DashboardScreenError,
    shell::{DashboardLayout, answered, answered_change, shown},
};
use crate::{
    domain::{access::AccessBounds, login::DashboardRole},
    engine::people::{self, PeopleActor, StaffContactSpec},
    state::AppState,
    store::people::{self as rows, StaffMemberDetails, StaffQuery},
};

/// Rows of a page.
const SHOWN: usize = 50;

/// Address of the list.
const HERE: &str = "/dashboard/staff";

#[derive(Debug, Deserialize)]
pub struct StaffSearch {
    text: Option<String>,
    after: Option<String>,
}

/// A staff member in a list.
struct StaffScreenRow {
    name: String,
    contact: Option<Uuid>,
    number: String,
    groups: Vec<String>,
}

fn row(person: &SignedInUser, link: StaffMemberDetails) -> StaffScreenRow {
    let contact = link.person.as_ref().map(|it| it.contact_id);
    let number = link.person.and_then(|it| it.phone.or(it.user_id));
    StaffScreenRow {
        name: link.name,
        contact,
        number: number.map_or_else(String::new, |it| person.sees(it)),
        groups: link.groups,
    }
}

/// A page of staff members, and the cursor of the next one.
async fn page_of(
    state: &AppState,
    person: &SignedInUser,
    group: Option<&str>,
    text: Option<&str>,
    after: Option<&str>,
) -> Result<(Vec<StaffScreenRow>, Option<String>), DashboardScreenError> {
    let wanted = StaffQuery {
        group,
        beginning: text,
        after,
    };
    let limit = u64::try_from(SHOWN).unwrap_or(50) + 1;
    let mut found =
        rows::staff_page(&state.engine.store, &AccessBounds::All, wanted, limit).await?;
    let more = found.len() > SHOWN;
    found.truncate(SHOWN);
    let next = found.last().filter(|_| more).map(|it| it.name.clone());
    let rows = found.into_iter().map(|it| row(person, it)).collect();
    Ok((rows, next))
}

#[derive(Template)]
#[template(path = "staff.html")]
struct StaffScreen {
    shell: DashboardLayout,
    text: String,
    groups: Vec<rows::StaffGroupSummary>,
    rows: Vec<StaffScreenRow>,
    next: Option<String>,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<StaffSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(&request, &state, &person, "Staff", HERE)?;
    let clean = |text: &Option<String>| text.as_deref().unwrap_or("").trim().replace('\0', "");
    let (text, after) = (clean(&search.text), clean(&search.after));
    let (rows, next) = page_of(&state, &person, None, Some(&text), Some(&after)).await?;
    let page = StaffScreen {
        groups: rows::groups(&state.engine.store, &AccessBounds::All).await?,
        text,
        rows,
        next,
        shell,
    };
    shown(&page)
}

#[derive(Template)]
#[template(path = "group.html")]
struct StaffGroupScreen {
    shell: DashboardLayout,
    group: rows::StaffGroupSummary,
    rows: Vec<StaffScreenRow>,
    next: Option<String>,
}

pub async fn group(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
    search: web::Query<StaffSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let Some(group) = rows::group_of(&state.engine.store, &AccessBounds::All, &name).await? else {
        return Err(DashboardScreenError::NotFound);
    };
    let shell = DashboardLayout::new(&request, &state, &person, group.name.clone(), HERE)?;
    let after = search.after.as_deref();
    let (rows, next) = page_of(&state, &person, Some(&group.name), None, after).await?;
    shown(&StaffGroupScreen {
        shell,
        group,
        rows,
        next,
    })
}

/// The address of a group's page.
fn address_of(group: &str) -> String {
    let group: String = form_urlencoded::byte_serialize(group.as_bytes()).collect();
    format!("{HERE}/groups/{}", group.replace('+', "%20"))
}

/// Only an admin may change staff: another number would send messages for a staff member to another
/// person.
pub async fn act(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Admin)?;
    let store = &state.engine.store;
    let actor = form.person.actor();
    let by = PeopleActor {
        actor: &actor,
        now: state.clock.now(),
        bounds: &AccessBounds::All,
    };
    let text = |name: &str| form.text(name).unwrap_or_default();
    let (user, group) = (text("user"), text("group"));
    let of_group = address_of(group);
    let (address, result) = match text("action") {
        "connect" => {
            let whom = match StaffContactSpec::parse(text("contact")) {
                Ok(whom) => whom,
                Err(why) => return answered(&request, HERE, Err(vec![format!("contact: {why}")])),
            };
            let done = people::connect(store, by, user, &whom).await;
            (
                HERE,
                done.map(|made| {
                    if made {
                        "User created and linked: messages for the user go to this contact."
                    } else {
                        "Link changed: messages for this user go to the new contact from now on."
                    }
                }),
            )
        }
        "disconnect" => {
            let done = people::disconnect(store, by, user).await;
            (
                HERE,
                done.map(|()| "Link removed: messages for this user are skipped from now on, with the reason."),
            )
        }
        "user" => {
            let done = people::ensure_user(store, by, user).await;
            let done = done.map(|made| {
                if made {
                    "User created without a contact: messages for the user are skipped until one is linked."
                } else {
                    "A user of this name exists already."
                }
            });
            (HERE, done)
        }
        "delete-user" => {
            let done = people::delete_user(store, by, user).await;
            (
                HERE,
                done.map(|()| "User deleted and removed from all groups."),
            )
        }
        "delete-group" => {
            let done = people::delete_group(store, by, group).await;
            let address = if done.is_ok() { HERE } else { &of_group };
            (address, done.map(|()| "Group deleted; its members stay."))
        }
        "ensure" => {
            let done = people::ensure_group(store, by, group, form.text("description")).await;
            let done = done.map(|it| {
                if it.created {
                    "Group created. Add its first member."
                } else {
                    "A group of this name exists already."
                }
            });
            (HERE, done)
        }
        "add" => {
            let done = people::add_member(store, by, group, user).await;
            (of_group.as_str(), done.map(|_new| "Member added."))
        }
        "remove" => {
            let done = people::remove_member(store, by, group, user).await;
            (of_group.as_str(), done.map(|_was| "Member removed."))
        }
        _ => return Err(DashboardScreenError::Form),
    };
    answered_change(&request, address, result)
}
