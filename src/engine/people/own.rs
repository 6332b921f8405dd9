//! Contacts as one product maintains them: its data about a person are its own, and it cannot
//! change a number by which other products know that person.

use serde_json::json;
use uuid::Uuid;

use super::{
    PeopleActor,
    contacts::{ContactChanges, gone, merge, named},
    note,
};
use crate::{
    domain::{access::ProductAccess, audit_action::AuditAction},
    engine::InputError,
    store::{
        DatabaseTransaction, Store, StoreError,
        alias::{self, ContactAlias},
        bounds, notification, people,
    },
};

/// Changes a product's data about a contact, or creates the contact. A number or user id that
/// exists already selects its contact, whoever created it; other products' data about it stay
/// hidden.
pub(super) async fn save(
    store: &Store,
    by: PeopleActor<'_>,
    product: &ProductAccess,
    id: Option<Uuid>,
    changes: &ContactChanges,
    aliases: &[(&'static str, ContactAlias)],
) -> Result<Uuid, InputError> {
    let name = product.name.as_str();
    store
        .write_or_refuse(async |tx| {
            if let Some(id) = id
                && !bounds::has_contact(tx, by.bounds, id).await?
            {
                return Err(gone());
            }
            let target = target(tx, by, product, id, aliases).await?;
            let contact = target.contact;
            if !people::lock(tx, contact).await? {
                return Err(StoreError::Conflict.into());
            }
            let from = id.unwrap_or(contact);
            let known = people::details(tx, by.bounds, from).await?;
            let mut details = known.unwrap_or_default();
            merge(&mut details, changes);
            if let Some(handle) = &details.handle
                && let Some(other) = people::contact_by_own_handle(tx, name, handle).await?
                && other != from
            {
                return Err(InputError::field("/handle", "belongs to another contact"));
            }
            if from != contact {
                people::move_to(tx, name, from, contact, by.now).await?;
            }
            let mut own = Vec::with_capacity(aliases.len());
            for (_, alias) in aliases {
                if target.is_own {
                    people::set_alias(tx, contact, alias, by.now).await?;
                }
                if alias::owner(tx, alias).await? == Some(contact) {
                    own.push(alias.value.as_str());
                }
            }
            people::note_known(tx, name, contact, &own, by.now).await?;
            people::set_own_details(tx, name, contact, &details).await?;
            if changes.email.given().is_some() {
                notification::release_addressed(tx, contact, by.now).await?;
            }
            let detail = json!({ "fields": named(changes), "product": name });
            let action = AuditAction::ContactChanged;
            note(tx, by, action, &contact.to_string(), &detail).await?;
            Ok(contact)
        })
        .await
}

/// The contact to be changed.
struct ContactChangeTarget {
    contact: Uuid,
    /// No other product knows this contact: its numbers may be changed.
    is_own: bool,
}

async fn target(
    tx: &DatabaseTransaction,
    by: PeopleActor<'_>,
    product: &ProductAccess,
    id: Option<Uuid>,
    aliases: &[(&'static str, ContactAlias)],
) -> Result<ContactChangeTarget, InputError> {
    let mut leads_to = None;
    let mut is_new = false;
    for (pointer, alias) in aliases {
        let owner = alias::owner(tx, alias).await?;
        if owner.is_some() && owner == id {
            continue;
        }
        // Two contacts that the product knows stay two; those of others are not mentioned.
        let known = alias::owner_known(tx, by.bounds, alias).await?;
        let meant = id.or(leads_to);
        if known.is_some() && meant.is_some() && known != meant {
            return Err(InputError::field(pointer, "belongs to another contact"));
        }
        is_new |= owner.is_none();
        leads_to = leads_to.or(owner);
    }
    let contact = match (leads_to, id) {
        (Some(contact), _) => contact,
        (None, Some(id)) if !is_new || people::is_only_of(tx, product, id).await? => id,
        (None, _) => {
            let contact = people::insert_contact(tx, None, &[], by.now).await?;
            return Ok(ContactChangeTarget {
                contact,
                is_own: true,
            });
        }
    };
    let is_own = people::is_only_of(tx, product, contact).await?;
    Ok(ContactChangeTarget { contact, is_own })
}
