//! Contacts, staff members and groups.

mod email;
mod ensure;
mod manage;
mod product;
mod remove;
mod staff;

pub use email::{ContactEmails, emails_of, ensure_email, sharing};
pub use ensure::{
    ensure_phone, ensure_user_id, insert_contact, remove_contact, set_alias, set_profile,
};
pub use manage::{ContactDetails, ContactFilter, details, page, set_details};
pub use product::{
    ProductContactProfile, contact_by_own_handle, is_only_of, move_to, note_known, note_reached,
    own_names, set_own_details,
};
pub use remove::{
    StaffEntryKind, delete_contact, delete_staff, keep, keep_found, keep_staff, lock, lock_staff,
    refuses_something,
};
pub use staff::{
    StaffGroupSummary, StaffMemberDetails, StaffQuery, count_members, group_of, groups, link_of,
    link_user, set_member, staff_page,
};

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{
    StoreError,
    bounds::{SqlCondition, has_contact, of_aliases, of_catalogue},
    dialect::{
        SqlListFieldType, column, execute, list, matching, nullable, query, query_one, read_row,
        rows,
    },
    new_id,
};
use crate::{
    domain::{access::AccessBounds, phone::Phone, time::Timestamp},
    store::DatabaseTransaction,
};

/// A contact, as far as sending needs it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct RecipientContact {
    pub contact_id: Uuid,
    #[sea_orm(from_alias = "person_name")]
    pub name: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
    /// WhatsApp's user id of a person whose number may be unknown.
    pub user_id: Option<String>,
    /// Where this person's days begin and end: an IANA name.
    pub time_zone: Option<String>,
    /// Where e-mail goes.
    pub email: Option<String>,
}

/// Of several numbers the one given by hand, and then the newest.
macro_rules! phone_order {
    () => {
        "a.given DESC, a.since DESC, a.value"
    };
}

macro_rules! user_id_order {
    () => {
        "a.since DESC, a.created_at DESC, a.value DESC"
    };
}

/// An address of a contact `c`: the only one of its kind, or the first of several. To order even
/// one row, SQLite makes a table: too much for all members of a large group.
///
/// The kind is compared as an expression, which no index has: PostgreSQL keeps a plan from when few
/// contacts had an address of that kind, and would read all of that kind for each contact.
macro_rules! address {
    ($kind:literal, $order:expr) => {
        concat!(
            "(SELECT CASE WHEN count(*) < 2 THEN max(k.value) ELSE (SELECT a.value FROM contact_alias a \
             WHERE a.contact_id = c.id AND a.kind || '' = '",
            $kind,
            "' AND a.superseded_at IS NULL ORDER BY ",
            $order,
            " LIMIT 1) END FROM contact_alias k WHERE k.contact_id = c.id AND k.kind || '' = '",
            $kind,
            "' AND k.superseded_at IS NULL)"
        )
    };
}

/// The columns of a [`RecipientContact`], of a contact `c`.
const PERSON: &str = concat!(
    "c.id AS contact_id, coalesce(c.name, c.profile_name) AS person_name, c.language, ",
    address!("phone", phone_order!()),
    " AS phone, ",
    address!("bsuid", user_id_order!()),
    " AS user_id, c.time_zone, c.email"
);

/// The same as far as a caller knows it; the parameters it has are behind those that are used.
fn person_known(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let Some(product) = bounds.product() else {
        return SqlCondition {
            sql: PERSON.to_owned(),
            values: Vec::new(),
        };
    };
    let mut values = vec![Value::from(product.name.as_str())];
    let mut of_catalogue = String::from("NULL");
    if let Some(catalogue) = &product.catalogue {
        values.push(Value::from(catalogue.as_str()));
        of_catalogue = format!("CASE WHEN c.catalogue = ${} THEN c.", used + values.len());
    }
    let detail = |column: &str| {
        let common = match product.catalogue {
            None => of_catalogue.clone(),
            Some(_) => format!("{of_catalogue}{column} END"),
        };
        format!(
            "coalesce((SELECT b.{column} FROM product_contact b WHERE b.product = ${} AND b.contact_id = c.id), {common})",
            used + 1
        )
    };
    let own = of_aliases(bounds, used + values.len());
    values.extend(own.values);
    let alias = |kind: &str, order: &str| {
        format!(
            "(SELECT a.value FROM contact_alias a WHERE a.contact_id = c.id AND a.kind = '{kind}' \
             AND a.superseded_at IS NULL{} ORDER BY {order} LIMIT 1)",
            own.sql
        )
    };
    SqlCondition {
        sql: format!(
            "c.id AS contact_id, {} AS person_name, {} AS language, {} AS phone, {} AS user_id, {} AS time_zone, {} AS email",
            detail("name"),
            detail("language"),
            alias("phone", phone_order!()),
            alias("bsuid", user_id_order!()),
            detail("time_zone"),
            detail("email")
        ),
        values,
    }
}

/// The contact of an id, or the one that it was merged into; `None` if it was deleted.
pub async fn contact(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<RecipientContact>, StoreError> {
    let row = query_one(
        connection,
        format!(
            "SELECT {PERSON} FROM contact c WHERE c.deleted_at IS NULL \
             AND c.id = (SELECT coalesce(m.merged_into, m.id) FROM contact m WHERE m.id = $1)"
        ),
        [id.into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The contact of this id, as events of our own name people, or of this name in a catalogue: of
/// those that the caller knows.
pub async fn contact_named(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    name: &str,
) -> Result<Option<RecipientContact>, StoreError> {
    if let Ok(id) = name.parse()
        && let Some(person) = contact(connection, id).await?
        && has_contact(connection, bounds, person.contact_id).await?
    {
        return Ok(Some(person));
    }
    if let Some(product) = bounds.owner()
        && let Some(own) = contact_by_own_handle(connection, product, name).await?
    {
        return contact(connection, own).await;
    }
    let Some(person) = contact_by_handle(connection, name).await? else {
        return Ok(None);
    };
    let of = details(connection, &AccessBounds::All, person.contact_id).await?;
    let of = of.and_then(|details| details.catalogue);
    let is_known = match bounds {
        AccessBounds::All => true,
        AccessBounds::Product(_) => of.is_some() && bounds.has_catalogue(of.as_deref()),
    };
    Ok(Some(person).filter(|_| is_known))
}

/// The contact a catalogue calls by this name.
pub async fn contact_by_handle(
    connection: &impl ConnectionTrait,
    handle: &str,
) -> Result<Option<RecipientContact>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {PERSON} FROM contact c WHERE c.handle = $1"),
        [handle.into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

pub async fn contact_by_phone(
    connection: &impl ConnectionTrait,
    phone: &Phone,
) -> Result<Option<RecipientContact>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {PERSON} FROM contact_alias k JOIN contact c ON c.id = k.contact_id WHERE k.kind = 'phone' AND k.value = $1 AND k.superseded_at IS NULL"),
        [phone.e164().into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The contacts of many numbers, by number; unknown ones are left out.
pub async fn by_phones(
    connection: &impl ConnectionTrait,
    phones: &[Phone],
) -> Result<Vec<(String, RecipientContact)>, StoreError> {
    #[derive(Serialize)]
    struct ContactPhoneRow<'a> {
        value: &'a str,
    }
    if phones.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<ContactPhoneRow<'_>> = phones
        .iter()
        .map(|phone| ContactPhoneRow {
            value: phone.e164(),
        })
        .collect();
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("value", SqlListFieldType::Text)]);
    let numbers = matching(
        backend,
        &given,
        "contact_alias",
        "k",
        "k.kind = 'phone' AND k.value = r.value",
    );
    let people = matching(backend, &numbers, "contact", "c", "c.id = k.contact_id");
    let found = query(
        connection,
        format!("SELECT {PERSON}, k.value FROM {people} WHERE k.superseded_at IS NULL"),
        [list(&wanted)?],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "value")?, read_row(row)?)))
        .collect()
}

/// A member of staff. The person is absent when no contact is linked.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct StaffMember {
    #[sea_orm(from_alias = "id")]
    pub user_id: Uuid,
    pub name: String,
    #[sea_orm(nested)]
    pub person: Option<RecipientContact>,
}

/// A member of staff of the caller's catalogue.
pub async fn user(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    name: &str,
) -> Result<Option<StaffMember>, StoreError> {
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("u", 1);
    let row = query_one(
        connection,
        format!("SELECT u.id, u.name, {PERSON} FROM user_account u LEFT JOIN contact c ON c.id = u.contact_id WHERE u.name = $1{sql}"),
        std::iter::once(name.into()).chain(values),
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// Whether there is a member of staff of this name, of the caller's catalogue.
pub async fn user_exists(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    name: &str,
) -> Result<bool, StoreError> {
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("u", 1);
    Ok(query_one(
        connection,
        format!("SELECT u.id FROM user_account u WHERE u.name = $1{sql}"),
        std::iter::once(name.into()).chain(values),
    )
    .await?
    .is_some())
}

/// Whether there is a group of this name, of the caller's catalogue.
pub async fn group_exists(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    name: &str,
) -> Result<bool, StoreError> {
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("g", 1);
    Ok(query_one(
        connection,
        format!("SELECT g.id FROM user_group g WHERE g.name = $1{sql}"),
        std::iter::once(name.into()).chain(values),
    )
    .await?
    .is_some())
}

/// The group of a name, created if there is none. Returns whether it was created.
pub async fn ensure_group(
    tx: &DatabaseTransaction,
    name: &str,
    description: Option<&str>,
    now: Timestamp,
) -> Result<(Uuid, bool), StoreError> {
    let id = new_id(now);
    let made = execute(
        tx,
        "INSERT INTO user_group (id, created_at, name, description) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        [id.into(), now.micros().into(), name.into(), description.into()],
    )
    .await?;
    if made.rows_affected() > 0 {
        return Ok((id, true));
    }
    let row = query_one(
        tx,
        "SELECT id FROM user_group WHERE name = $1",
        [name.into()],
    )
    .await?;
    match row {
        Some(row) => Ok((column(&row, "id")?, false)),
        None => Err(StoreError::Corrupt {
            table: "user_group",
            row: name.to_owned(),
            column: "id",
        }),
    }
}

/// Makes these users the members of a group.
pub async fn set_members(
    tx: &DatabaseTransaction,
    group: Uuid,
    users: &[Uuid],
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM group_member WHERE group_id = $1",
        [group.into()],
    )
    .await?;
    for user in users {
        execute(
            tx,
            "INSERT INTO group_member (group_id, user_id, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            [group.into(), (*user).into(), now.micros().into()],
        )
        .await?;
    }
    Ok(())
}

/// Up to `limit` members of a group after one of them, in order of their ids.
pub async fn members(
    connection: &impl ConnectionTrait,
    group: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StaffMember>, StoreError> {
    let found = query(
        connection,
        format!(
            "SELECT u.id, u.name, {PERSON} FROM (SELECT m.user_id FROM group_member m \
             WHERE m.group_id = (SELECT g.id FROM user_group g WHERE g.name = $1) AND m.user_id > $2 \
             ORDER BY m.user_id LIMIT $3) AS p JOIN user_account u ON u.id = p.user_id \
             LEFT JOIN contact c ON c.id = u.contact_id ORDER BY u.id"
        ),
        [
            group.into(),
            after.unwrap_or(Uuid::nil()).into(),
            limit.into(),
        ],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// The catalogue's name of a contact, and the users that are this person, regardless of bounds.
pub async fn names(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<(Option<String>, Vec<String>), StoreError> {
    let handle = query_one(
        connection,
        "SELECT handle FROM contact WHERE id = $1",
        [contact.into()],
    )
    .await?;
    let handle = handle.map_or(Ok(None), |row| nullable(&row, "handle"))?;
    let users = query(
        connection,
        "SELECT name FROM user_account WHERE contact_id = $1 ORDER BY name",
        [contact.into()],
    )
    .await?;
    let users = users
        .iter()
        .map(|row| column(row, "name"))
        .collect::<Result<_, _>>()?;
    Ok((handle, users))
}

/// The users that are this person, of the caller's catalogue.
pub async fn users_of(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<String>, StoreError> {
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("u", 1);
    let users = query(
        connection,
        format!("SELECT u.name FROM user_account u WHERE u.contact_id = $1{sql} ORDER BY u.name"),
        std::iter::once(contact.into()).chain(values),
    )
    .await?;
    users.iter().map(|row| column(row, "name")).collect()
}

/// Whether there was such a contact, and it was deleted.
pub async fn is_deleted(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<bool, StoreError> {
    let row = query_one(
        connection,
        "SELECT id FROM contact WHERE id = $1 AND deleted_at IS NOT NULL",
        [contact.into()],
    )
    .await?;
    Ok(row.is_some())
}

/// The contact of an id, or the one that it has become a part of.
pub async fn current(connection: &impl ConnectionTrait, contact: Uuid) -> Result<Uuid, StoreError> {
    let row = query_one(
        connection,
        "SELECT merged_into FROM contact WHERE id = $1 AND merged_into IS NOT NULL",
        [contact.into()],
    )
    .await?;
    row.map_or(Ok(contact), |row| column(&row, "merged_into"))
}

/// Removes the data given by hand of a contact: another contact's apply.
pub async fn forget_given(tx: &DatabaseTransaction, contact: Uuid) -> Result<(), StoreError> {
    for statement in [
        "UPDATE contact SET name = NULL, handle = NULL, catalogue = NULL WHERE id = $1",
        "UPDATE product_contact SET name = NULL, handle = NULL WHERE contact_id = $1",
    ] {
        execute(tx, statement, [contact.into()]).await?;
    }
    Ok(())
}
