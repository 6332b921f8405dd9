//! Writes the people of a catalogue.

use uuid::Uuid;

use super::{
    rows::{CatalogueContactRow, CatalogueGroupRow, CatalogueStaffMemberRow},
    write::{CatalogueActor, CatalogueRowError},
};
use crate::{
    domain::{access::AccessBounds, phone::Phone, recipient::WhatsAppUserId},
    store::{
        DatabaseTransaction, StoreError,
        alias::{self, ContactAlias},
        dialect::{column, execute, query_one},
        new_id, people,
    },
};

fn broken(field: &'static str, rule: impl Into<String>) -> CatalogueRowError {
    let rule = rule.into();
    CatalogueRowError::Broken { field, rule }
}

/// The aliases of a contact, each with its catalogue field.
pub fn aliases(row: &CatalogueContactRow) -> Vec<(&'static str, ContactAlias)> {
    let phone = row
        .phone
        .as_deref()
        .and_then(|text| Phone::parse(text).ok());
    let user_id = row.user_id.as_deref().and_then(WhatsAppUserId::parse);
    let phone = phone.map(|phone| ("phone", ContactAlias::of_phone(&phone)));
    let user_id = user_id.map(|user_id| ("user_id", ContactAlias::of_user_id(&user_id)));
    phone.into_iter().chain(user_id).collect()
}

pub(super) async fn contact(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    handle: &str,
    row: &CatalogueContactRow,
) -> Result<(), CatalogueRowError> {
    let aliases = aliases(row);
    let named = people::contact_by_handle(tx, handle).await?;
    let mut known = named.map(|person| person.contact_id);
    for (field, alias) in &aliases {
        let Some(owner) = alias::owner(tx, alias).await? else {
            continue;
        };
        // A contact that wrote before it had a name is given one; a named contact's alias is never
        // taken.
        let is_free = match known {
            Some(known) => known == owner,
            None => people::details(tx, &AccessBounds::All, owner)
                .await?
                .is_none_or(|details| details.handle.is_none()),
        };
        if !is_free {
            return Err(broken(field, "belongs to another contact"));
        }
        known = Some(owner);
    }
    let id = match known {
        Some(known) => known,
        None => people::insert_contact(tx, Some(handle), &[], by.now).await?,
    };
    if !people::lock(tx, id).await? {
        return Err(StoreError::Conflict.into());
    }
    let (from, until) = match row.quiet_hours {
        Some(hours) => {
            let (from, until) = hours.minutes();
            (Some(from), Some(until))
        }
        None => (None, None),
    };
    execute(
        tx,
        "UPDATE contact SET handle = $2, catalogue = $3, name = coalesce($4, name), language = coalesce($5, language), \
         time_zone = coalesce($6, time_zone), quiet_from = coalesce($7, quiet_from), quiet_until = coalesce($8, quiet_until), email = coalesce($9, email) \
         WHERE id = $1",
        [
            id.into(),
            handle.into(),
            by.catalogue.into(),
            row.display_name.clone().into(),
            row.language.clone().into(),
            row.time_zone.clone().into(),
            from.into(),
            until.into(),
            row.email.clone().into(),
        ],
    )
    .await?;
    for (_, alias) in &aliases {
        people::set_alias(tx, id, alias, by.now).await?;
    }
    Ok(())
}

pub(super) async fn user(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: &CatalogueStaffMemberRow,
) -> Result<(), CatalogueRowError> {
    let contact = match row.contact.as_deref() {
        None => None,
        Some(handle) => {
            let Some(person) = people::contact_by_handle(tx, handle).await? else {
                let rule = format!("there is no contact {handle}");
                return Err(broken("contact", rule));
            };
            people::keep_found(tx, person.contact_id).await?;
            Some(person.contact_id)
        }
    };
    execute(
        tx,
        "INSERT INTO user_account (id, created_at, name, contact_id, catalogue) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET contact_id = coalesce(excluded.contact_id, user_account.contact_id), \
         catalogue = excluded.catalogue",
        [
            new_id(by.now).into(),
            by.now.micros().into(),
            name.into(),
            contact.into(),
            by.catalogue.into(),
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn group(
    tx: &DatabaseTransaction,
    by: CatalogueActor<'_>,
    name: &str,
    row: &CatalogueGroupRow,
) -> Result<(), CatalogueRowError> {
    let id = people::ensure_group(tx, name, row.description.as_deref(), by.now)
        .await?
        .0;
    execute(
        tx,
        "UPDATE user_group SET description = coalesce($2, description), catalogue = $3 WHERE id = $1",
        [id.into(), row.description.clone().into(), by.catalogue.into()],
    )
    .await?;
    let Some(wanted) = &row.members else {
        return Ok(());
    };
    let mut members: Vec<Uuid> = Vec::with_capacity(wanted.len());
    for member in wanted {
        let Some(staff) = people::user(tx, &AccessBounds::All, member).await? else {
            let rule = format!("there is no user {member}");
            return Err(broken("members", rule));
        };
        members.push(staff.user_id);
    }
    people::set_members(tx, id, &members, by.now).await?;
    Ok(())
}

/// Groups of other owners that a user is in: removing the user would take it from them. A group
/// that is being handed over was the catalogue's.
pub async fn groups_of_others(
    tx: &DatabaseTransaction,
    user: &str,
    catalogue: &str,
) -> Result<Option<String>, StoreError> {
    let found = query_one(
        tx,
        "SELECT g.name FROM user_group g JOIN group_member m ON m.group_id = g.id JOIN user_account u ON u.id = m.user_id \
         WHERE u.name = $1 AND coalesce(g.catalogue, '') <> $2 AND NOT (g.catalogue IS NULL \
         AND EXISTS (SELECT 1 FROM catalogue_row r WHERE r.kind = 'group' AND r.name = g.name)) ORDER BY g.name LIMIT 1",
        [user.into(), catalogue.into()],
    )
    .await?;
    found.map(|row| column(&row, "name")).transpose()
}
