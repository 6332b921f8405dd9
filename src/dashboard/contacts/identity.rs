//! Section about contacts that may be one person, for deciding it.

use uuid::Uuid;

use super::{HIDDEN, named};
use crate::{
    dashboard::{
        act::{DashboardForm, SignedInUser},
        fault::DashboardScreenError,
        moment::DisplayTime,
        shell::DashboardLayout,
    },
    domain::{
        access::AccessBounds, identity::ContactAlias, phone::Phone, recipient::WhatsAppUserId,
    },
    engine::{
        Engine, InputError,
        people::{PeopleActor, identity},
    },
    store::{
        Store, StoreError,
        alias::{self, ContactIdentityConflictKind},
        people as rows,
    },
};

/// A pair of contacts whose identity is undecided.
pub(super) struct ContactPairScreenRow {
    pub contact: Uuid,
    pub other: Uuid,
    pub contact_name: String,
    pub other_name: String,
    pub what: &'static str,
    pub alias: String,
    pub due: Option<DisplayTime>,
}

/// Most pairs shown.
const SHOWN: u64 = 20;

/// The newest pairs, or those of one contact.
pub(super) async fn open(
    store: &Store,
    person: &SignedInUser,
    shell: &DashboardLayout,
    contact: Option<Uuid>,
) -> Result<Vec<ContactPairScreenRow>, StoreError> {
    let found = match contact {
        Some(contact) => alias::conflicts_of(store, &AccessBounds::All, contact).await?,
        None => alias::conflicts(store, &AccessBounds::All, SHOWN).await?,
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
        all.push(ContactPairScreenRow {
            contact: one,
            other,
            contact_name: name(one).await?,
            other_name: name(other).await?,
            what: match ContactIdentityConflictKind::parse(&row.state) {
                Some(ContactIdentityConflictKind::Question) => "A new user id was seen at",
                Some(ContactIdentityConflictKind::Linked) => "Evidence says they are one person, but their names, handles or catalogues differ:",
                Some(ContactIdentityConflictKind::Contradiction) | None => "The evidence contradicts itself about",
            },
            alias: person.sees(row.value),
            due: row.due_at.map(|at| shell.zone.micros(at)),
        });
    }
    Ok(all)
}

/// A decision on the page of two contacts, or about the aliases of one.
pub(super) enum ContactIdentityDecisionForm {
    Merge { other: Uuid, overwrite: bool },
    Part { other: Uuid },
    Split { alias: ContactAlias },
}

impl ContactIdentityDecisionForm {
    pub(super) fn read(form: &DashboardForm) -> Result<Self, DashboardScreenError> {
        let other = || {
            form.text("other")
                .and_then(|text| text.parse::<Uuid>().ok())
                .ok_or(DashboardScreenError::Form)
        };
        Ok(match form.text("action").unwrap_or_default() {
            "merge" => Self::Merge {
                other: other()?,
                overwrite: form.text("overwrite") == Some("yes"),
            },
            "part" => Self::Part { other: other()? },
            "split" => {
                let text = form.text("alias").unwrap_or_default();
                let alias = match WhatsAppUserId::parse(text) {
                    Some(user_id) => ContactAlias::of_user_id(&user_id),
                    None => ContactAlias::of_phone(
                        &Phone::parse(text).map_err(|_unreadable| DashboardScreenError::Form)?,
                    ),
                };
                Self::Split { alias }
            }
            _ => return Err(DashboardScreenError::Form),
        })
    }
}

/// Does what was decided, and says what was done.
pub(super) async fn decide(
    engine: &Engine,
    by: PeopleActor<'_>,
    contact: Uuid,
    decision: ContactIdentityDecisionForm,
) -> Result<&'static str, InputError> {
    Ok(match decision {
        ContactIdentityDecisionForm::Merge { other, overwrite } => {
            identity::merge(engine, by, contact, other, overwrite).await?;
            "Contacts merged."
        }
        ContactIdentityDecisionForm::Part { other } => {
            identity::part(engine, by, contact, other).await?;
            "Recorded: they are two people."
        }
        ContactIdentityDecisionForm::Split { alias } => {
            identity::split(engine, by, contact, &[alias]).await?;
            "The alias is another person's now, and messages from it moved along."
        }
    })
}
