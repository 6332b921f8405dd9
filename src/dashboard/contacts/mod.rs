//! Pages of contacts: the list, and creating one.

mod contact;
mod identity;
mod suppressed;

pub use contact::{act, one};
pub use suppressed::{lift, page as suppressed};

use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    act::{DashboardForm, SignedInUser},
    fault::DashboardScreenError,
    shell::{DashboardLayout, answered, answered_change, on_to, shown},
};
use crate::{
    domain::{access::AccessBounds, edit::ValueEdit, email::EmailAddress, login::DashboardRole},
    engine::people::{self, ContactChanges, PeopleActor},
    state::AppState,
    store::{alias, people as rows},
};

/// Rows of a page.
const SHOWN: usize = 50;

/// Address of the list.
const HERE: &str = "/dashboard/contacts";

/// Replaces a name that a viewer does not see.
const HIDDEN: &str = "••••••";

#[derive(Debug, Deserialize)]
pub struct ContactsSearch {
    text: Option<String>,
    after: Option<Uuid>,
}

/// A contact in a list.
struct ContactScreenRow {
    id: Uuid,
    name: String,
    /// Its number, or another address.
    number: String,
    language: String,
}

/// An e-mail address, masked unless the user may see it.
fn mailbox(person: &SignedInUser, email: &str) -> String {
    if person.sees_people() {
        return email.to_owned();
    }
    EmailAddress::parse(email).map_or_else(|_| HIDDEN.to_owned(), |it| it.to_string())
}

/// A contact's name and its number or id, masked unless the user may see them.
fn named(person: &SignedInUser, found: &rows::RecipientContact) -> (String, String) {
    let number = found.phone.clone().or_else(|| found.user_id.clone());
    let number = number.map_or_else(|| "—".to_owned(), |it| person.sees(it));
    let name = match &found.name {
        Some(_) if !person.sees_people() => HIDDEN.to_owned(),
        Some(name) => name.clone(),
        None => "—".to_owned(),
    };
    (name, number)
}

#[derive(Template)]
#[template(path = "contacts.html")]
struct ContactsScreen {
    shell: DashboardLayout,
    text: String,
    rows: Vec<ContactScreenRow>,
    next: Option<Uuid>,
    /// Pairs that may be one person.
    open: Vec<identity::ContactPairScreenRow>,
}

pub async fn page(
    person: SignedInUser,
    request: HttpRequest,
    state: web::Data<AppState>,
    search: web::Query<ContactsSearch>,
) -> Result<HttpResponse, DashboardScreenError> {
    let shell = DashboardLayout::new(&request, &state, &person, "Contacts", HERE)?;
    let text = search.text.clone().unwrap_or_default();
    let text = text.trim().replace('\0', "");
    // A user who may not see people may not search for them either: a guess would be confirmed.
    if !text.is_empty() {
        person.needs(DashboardRole::Operator)?;
    }
    let filter = if text.is_empty() {
        rows::ContactFilter::All
    } else {
        rows::ContactFilter::Beginning(&text)
    };
    let limit = u64::try_from(SHOWN).unwrap_or(50) + 1;
    let mut found = rows::page(
        &state.engine.store,
        &AccessBounds::All,
        filter,
        search.after,
        limit,
    )
    .await?;
    let more = found.len() > SHOWN;
    found.truncate(SHOWN);
    let open = if text.is_empty() && search.after.is_none() {
        identity::open(&state.engine.store, &person, &shell, None).await?
    } else {
        Vec::new()
    };
    let page = ContactsScreen {
        open,
        next: found.last().filter(|_| more).map(|it| it.contact_id),
        rows: found
            .iter()
            .map(|it| {
                let (name, mut number) = named(&person, it);
                // Who has no number is known by the mailbox.
                let is_reached = it.phone.is_some() || it.user_id.is_some();
                if let Some(email) = it.email.as_deref().filter(|_| !is_reached) {
                    number = mailbox(&person, email);
                }
                ContactScreenRow {
                    id: it.contact_id,
                    name,
                    number,
                    language: it.language.clone().unwrap_or_default(),
                }
            })
            .collect(),
        text,
        shell,
    };
    shown(&page)
}

/// Creates a contact. A known number selects its contact, which gets this name: only an admin may
/// rename a contact by its number.
pub async fn add(
    form: DashboardForm,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, DashboardScreenError> {
    form.person.needs(DashboardRole::Operator)?;
    let (phone, email) = (form.text("phone"), form.text("email"));
    if phone.is_none() && email.is_none() {
        let why = "A number is needed, such as +12025550123, or an e-mail address.";
        return answered(&request, HERE, Err(vec![why.to_owned()]));
    }
    let given =
        |text: Option<&str>| text.map_or(ValueEdit::Keep, |it| ValueEdit::To(Some(it.to_owned())));
    let changes = ContactChanges {
        name: given(form.text("name")),
        email: given(email),
        ..phone.map(ContactChanges::of).unwrap_or_default()
    };
    let reader = state.engine.store.reader();
    for alias in changes.aliases() {
        if let Some(known) = alias::owner(reader, &alias).await? {
            return Ok(on_to(&format!("{HERE}/{known}")));
        }
    }
    let actor = form.person.actor();
    let by = PeopleActor {
        actor: &actor,
        now: state.clock.now(),
        bounds: &AccessBounds::All,
    };
    match people::save_contact(&state.engine.store, by, None, &changes).await {
        Ok(id) => answered(
            &request,
            &format!("{HERE}/{id}"),
            Ok("Contact created.".to_owned()),
        ),
        Err(error) => answered_change(&request, HERE, Err(error)),
    }
}
