//! Contacts that may be one person, for whoever decides it.

use uuid::Uuid;

use super::{HIDDEN, named};
use crate::{
    dashboard::{
        act::{Form, Person},
        fault::Fault,
        moment::Moment,
        shell::Shell,
    },
    domain::{
        access::Bounds, field_error::FieldError, identity::Alias, phone::Phone, recipient::UserId,
    },
    engine::people::{By, identity},
    state::AppState,
    store::{
        Store, StoreError,
        alias::{self, ConflictState},
        people as rows,
    },
};

/// A pair of contacts of which somebody should say whether they are one person.
pub(super) struct Open {
    pub contact: Uuid,
    pub other: Uuid,
    pub contact_name: String,
    pub other_name: String,
    pub what: &'static str,
    pub alias: String,
    pub due: Option<Moment>,
}

/// So many pairs are shown.
const SHOWN: u64 = 20;

/// Pairs of the newest, or of one contact.
pub(super) async fn open(
    store: &Store,
    person: &Person,
    shell: &Shell,
    contact: Option<Uuid>,
) -> Result<Vec<Open>, StoreError> {
    let found = match contact {
        Some(contact) => alias::conflicts_of(store, &Bounds::All, contact).await?,
        None => alias::conflicts(store, &Bounds::All, SHOWN).await?,
    };
    let mut all = Vec::with_capacity(found.len());
    for row in found {
        let name = async |id: Uuid| -> Result<String, StoreError> {
            let Some(found) = rows::contact(store.reader(), id).await? else {
                return Ok(HIDDEN.to_owned());
            };
            let (name, number) = named(person, &found);
            Ok(if name == "—" { number } else { name })
        };
        // The page's own contact comes first.
        let (one, other) = if contact == Some(row.other_id) {
            (row.other_id, row.contact_id)
        } else {
            (row.contact_id, row.other_id)
        };
        all.push(Open {
            contact: one,
            other,
            contact_name: name(one).await?,
            other_name: name(other).await?,
            what: match ConflictState::parse(&row.state) {
                Some(ConflictState::Question) => "A new user id was seen at",
                Some(ConflictState::Linked) => "They are one person and are called differently:",
                Some(ConflictState::Contradiction) | None => "What was said does not fit together:",
            },
            alias: person.sees(row.value),
            due: row.due_at.map(|at| shell.zone.micros(at)),
        });
    }
    Ok(all)
}

/// What somebody has decided on a page, or why that cannot be.
pub(super) async fn decide(
    form: &Form,
    state: &AppState,
    by: By<'_>,
    contact: Uuid,
) -> Result<Result<&'static str, Vec<FieldError>>, Fault> {
    let other = || {
        form.text("other")
            .and_then(|text| text.parse::<Uuid>().ok())
            .ok_or(Fault::Form)
    };
    let engine = &state.engine;
    Ok(match form.text("action").unwrap_or_default() {
        "merge" => {
            let overwrite = form.text("overwrite") == Some("yes");
            identity::merge(engine, by, contact, other()?, overwrite)
                .await?
                .map(|_stays| "Contacts merged.")
        }
        "part" => identity::part(engine, by, contact, other()?)
            .await?
            .map(|()| "Contacts split."),
        "split" => {
            let text = form.text("alias").unwrap_or_default();
            let alias = match UserId::parse(text) {
                Some(user_id) => Alias::of_user_id(&user_id),
                None => Alias::of_phone(&Phone::parse(text).map_err(|_unreadable| Fault::Form)?),
            };
            identity::split(engine, by, contact, &[alias])
                .await?
                .map(|_theirs| "That alias is another person's. What came by it has gone along.")
        }
        _ => return Err(Fault::Form),
    })
}
