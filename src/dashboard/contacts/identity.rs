//! Section about contacts that may be one person, for deciding it.

use uuid::Uuid;

use super::{HIDDEN, named};
use crate::{
    dashboard::{
        act::{Form, Person},
        fault::Fault,
        moment::Moment,
        shell::Shell,
    },
    domain::{access::Bounds, identity::Alias, phone::Phone, recipient::UserId},
    engine::{
        Engine, InputError,
        people::{By, identity},
    },
    store::{
        Store, StoreError,
        alias::{self, ConflictState},
        people as rows,
    },
};

/// A pair of contacts whose identity is undecided.
pub(super) struct Open {
    pub contact: Uuid,
    pub other: Uuid,
    pub contact_name: String,
    pub other_name: String,
    pub what: &'static str,
    pub alias: String,
    pub due: Option<Moment>,
}

/// Most pairs shown.
const SHOWN: u64 = 20;

/// The newest pairs, or those of one contact.
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
                Some(ConflictState::Linked) => "One person with different names:",
                Some(ConflictState::Contradiction) | None => "Contradicting evidence:",
            },
            alias: person.sees(row.value),
            due: row.due_at.map(|at| shell.zone.micros(at)),
        });
    }
    Ok(all)
}

/// A decision on the page of two contacts, or about the aliases of one.
pub(super) enum Decision {
    Merge { other: Uuid, overwrite: bool },
    Part { other: Uuid },
    Split { alias: Alias },
}

impl Decision {
    pub(super) fn read(form: &Form) -> Result<Self, Fault> {
        let other = || {
            form.text("other")
                .and_then(|text| text.parse::<Uuid>().ok())
                .ok_or(Fault::Form)
        };
        Ok(match form.text("action").unwrap_or_default() {
            "merge" => Self::Merge {
                other: other()?,
                overwrite: form.text("overwrite") == Some("yes"),
            },
            "part" => Self::Part { other: other()? },
            "split" => {
                let text = form.text("alias").unwrap_or_default();
                let alias = match UserId::parse(text) {
                    Some(user_id) => Alias::of_user_id(&user_id),
                    None => {
                        Alias::of_phone(&Phone::parse(text).map_err(|_unreadable| Fault::Form)?)
                    }
                };
                Self::Split { alias }
            }
            _ => return Err(Fault::Form),
        })
    }
}

/// Does what was decided, and says what was done.
pub(super) async fn decide(
    engine: &Engine,
    by: By<'_>,
    contact: Uuid,
    decision: Decision,
) -> Result<&'static str, InputError> {
    Ok(match decision {
        Decision::Merge { other, overwrite } => {
            identity::merge(engine, by, contact, other, overwrite).await?;
            "Contacts merged."
        }
        Decision::Part { other } => {
            identity::part(engine, by, contact, other).await?;
            "Contacts split."
        }
        Decision::Split { alias } => {
            identity::split(engine, by, contact, &[alias]).await?;
            "The alias is another person's now, and messages from it moved along."
        }
    })
}
