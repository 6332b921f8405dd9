//! Manages and lists staff members and groups.

use std::collections::BTreeMap;

use sea_orm::FromQueryResult;
use serde::Serialize;
use uuid::Uuid;

use super::{RecipientContact, person_known};
use crate::{
    domain::{access::AccessBounds, time::Timestamp},
    store::{
        DatabaseTransaction, Store, StoreError,
        bounds::{SqlCondition, of_catalogue, of_contacts},
        dialect::{
            SqlListFieldType, begins_with, column, execute, list, matching, query, query_one,
            read_row, rows,
        },
        new_id,
    },
};

/// A staff member with its contact and its groups.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct StaffMemberDetails {
    pub name: String,
    #[sea_orm(nested)]
    pub person: Option<RecipientContact>,
    #[sea_orm(skip)]
    pub groups: Vec<String>,
    pub catalogue: Option<String>,
}

/// Which users are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaffQuery<'a> {
    /// Members of this group.
    pub group: Option<&'a str>,
    /// Names that begin with it.
    pub beginning: Option<&'a str>,
    /// Behind this name.
    pub after: Option<&'a str>,
}

/// Users of the caller's catalogue, each with the contact that they are linked to if the caller
/// knows it; the parameters are behind those that are used. A condition may follow.
fn links(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let person = person_known(bounds, used);
    let mut values = person.values;
    let contacts = of_contacts(bounds, used + values.len());
    values.extend(contacts.values);
    let users = of_catalogue(bounds).piece("u", used + values.len());
    values.extend(users.values);
    SqlCondition {
        sql: format!(
            "SELECT u.name, u.catalogue, {} FROM user_account u LEFT JOIN contact c ON c.id = u.contact_id{} \
             WHERE true{}",
            person.sql, contacts.sql, users.sql
        ),
        values,
    }
}

/// Users of the caller's catalogue, linked or not, by name.
pub async fn staff_page(
    store: &Store,
    bounds: &AccessBounds,
    wanted: StaffQuery<'_>,
    limit: u64,
) -> Result<Vec<StaffMemberDetails>, StoreError> {
    let SqlCondition { sql, values } = links(bounds, 4);
    let found = query(
        store.reader(),
        format!(
            "{sql} AND u.name > $1 AND lower(u.name) LIKE lower($3) ESCAPE '\\' AND ($4 = '' OR EXISTS (SELECT 1 FROM group_member m \
             JOIN user_group g ON g.id = m.group_id WHERE m.user_id = u.id AND g.name = $4)) ORDER BY u.name LIMIT $2"
        ),
        [
            clean(wanted.after).into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
            begins_with(&clean(wanted.beginning)).into(),
            clean(wanted.group).into(),
        ]
        .into_iter()
        .chain(values),
    )
    .await?;
    let found: Vec<StaffMemberDetails> = found.iter().map(read_row).collect::<Result<_, _>>()?;
    in_groups(store, bounds, found).await
}

/// One user of the caller's catalogue.
pub async fn link_of(
    store: &Store,
    bounds: &AccessBounds,
    name: &str,
) -> Result<Option<StaffMemberDetails>, StoreError> {
    let SqlCondition { sql, values } = links(bounds, 1);
    let found = query_one(
        store.reader(),
        format!("{sql} AND u.name = $1"),
        std::iter::once(name.into()).chain(values),
    )
    .await?;
    let found: Vec<StaffMemberDetails> = found.iter().map(read_row).collect::<Result<_, _>>()?;
    Ok(in_groups(store, bounds, found).await?.into_iter().next())
}

/// A text without what PostgreSQL takes in no text.
fn clean(text: Option<&str>) -> String {
    text.unwrap_or_default().replace('\0', "")
}

/// Adds which groups they are in.
async fn in_groups(
    store: &Store,
    bounds: &AccessBounds,
    mut found: Vec<StaffMemberDetails>,
) -> Result<Vec<StaffMemberDetails>, StoreError> {
    #[derive(Serialize)]
    struct StaffNameRow<'a> {
        name: &'a str,
    }
    if found.is_empty() {
        return Ok(found);
    }
    let names: Vec<StaffNameRow<'_>> = found
        .iter()
        .map(|it| StaffNameRow { name: &it.name })
        .collect();
    let backend = store.backend();
    let given = rows(backend, &[("name", SqlListFieldType::Text)]);
    let users = matching(backend, &given, "user_account", "u", "u.name = r.name");
    let members = matching(backend, &users, "group_member", "m", "m.user_id = u.id");
    let groups = matching(backend, &members, "user_group", "g", "g.id = m.group_id");
    let SqlCondition { sql, values } = of_catalogue(bounds).piece("g", 1);
    let members = query(
        store.by_index(),
        format!("SELECT u.name AS user_name, g.name AS group_name FROM {groups} WHERE true{sql} ORDER BY g.name"),
        std::iter::once(list(&names)?).chain(values),
    )
    .await?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &members {
        let user: String = column(row, "user_name")?;
        let group = column(row, "group_name")?;
        groups.entry(user).or_default().push(group);
    }
    for it in &mut found {
        it.groups = groups.remove(&it.name).unwrap_or_default();
    }
    Ok(found)
}

/// Links a staff member to a contact, or to none; creates the staff member if needed. Returns
/// whether it was created.
pub async fn link_user(
    tx: &DatabaseTransaction,
    name: &str,
    contact: Option<Uuid>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let made = execute(
        tx,
        "INSERT INTO user_account (id, created_at, name, contact_id) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            name.into(),
            contact.into(),
        ],
    )
    .await?;
    if made.rows_affected() > 0 {
        return Ok(true);
    }
    execute(
        tx,
        "UPDATE user_account SET contact_id = $2 WHERE name = $1",
        [name.into(), contact.into()],
    )
    .await?;
    Ok(false)
}

/// A group with how many are in it.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct StaffGroupSummary {
    pub name: String,
    pub description: Option<String>,
    pub members: i64,
    pub catalogue: Option<String>,
}

/// Groups of the caller's catalogue, with how many members each has that the caller may know of.
fn all_groups(bounds: &AccessBounds, used: usize) -> SqlCondition {
    let groups = of_catalogue(bounds).piece("g", used);
    let mut values = groups.values;
    let users = of_catalogue(bounds).piece("u", used + values.len());
    values.extend(users.values);
    SqlCondition {
        sql: format!(
            "SELECT g.name, g.description, g.catalogue, (SELECT count(*) FROM group_member m \
             JOIN user_account u ON u.id = m.user_id WHERE m.group_id = g.id{}) AS members FROM user_group g WHERE true{}",
            users.sql, groups.sql
        ),
        values,
    }
}

/// Every group of the caller's catalogue, by name.
pub async fn groups(
    store: &Store,
    bounds: &AccessBounds,
) -> Result<Vec<StaffGroupSummary>, StoreError> {
    let SqlCondition { sql, values } = all_groups(bounds, 0);
    let found = query(store.reader(), format!("{sql} ORDER BY g.name"), values).await?;
    found.iter().map(read_row).collect()
}

/// One group of the caller's catalogue.
pub async fn group_of(
    store: &Store,
    bounds: &AccessBounds,
    name: &str,
) -> Result<Option<StaffGroupSummary>, StoreError> {
    let SqlCondition { sql, values } = all_groups(bounds, 1);
    let found = query_one(
        store.reader(),
        format!("{sql} AND g.name = $1"),
        std::iter::once(clean(Some(name)).into()).chain(values),
    )
    .await?;
    found.as_ref().map(read_row).transpose()
}

pub async fn count_members(tx: &DatabaseTransaction, group: &str) -> Result<i64, StoreError> {
    let row = query_one(
        tx,
        "SELECT count(*) AS members FROM group_member m JOIN user_group g ON g.id = m.group_id WHERE g.name = $1",
        [group.into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "members"))
}

/// Adds a staff member to a group, or removes it. Returns whether anything changed.
pub async fn set_member(
    tx: &DatabaseTransaction,
    group: &str,
    user: &str,
    is_in: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = if is_in {
        execute(
            tx,
            "INSERT INTO group_member (group_id, user_id, created_at) SELECT g.id, u.id, $3 FROM user_group g, user_account u \
             WHERE g.name = $1 AND u.name = $2 ON CONFLICT DO NOTHING",
            [group.into(), user.into(), now.micros().into()],
        )
        .await?
    } else {
        execute(
            tx,
            "DELETE FROM group_member WHERE group_id IN (SELECT id FROM user_group WHERE name = $1) \
             AND user_id IN (SELECT id FROM user_account WHERE name = $2)",
            [group.into(), user.into()],
        )
        .await?
    };
    Ok(done.rows_affected() > 0)
}
