//! People as they are managed and listed.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use uuid::Uuid;

use super::{PERSON, Person, person};
use crate::{
    domain::{quiet::QuietHours, time::Timestamp},
    store::{
        Store, StoreError,
        dialect::{Columns, execute, query, query_one},
        new_id,
    },
};

/// What is known of a contact beside its aliases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub name: Option<String>,
    pub handle: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    pub quiet_hours: Option<QuietHours>,
    pub catalogue: Option<String>,
}

pub async fn details(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<Option<Details>, StoreError> {
    let row = query_one(
        connection,
        "SELECT name, handle, language, time_zone, quiet_from, quiet_until, catalogue FROM contact WHERE id = $1",
        [contact.into()],
    )
    .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok(Details {
            name: columns.take()?,
            handle: columns.take()?,
            language: columns.take()?,
            time_zone: columns.take()?,
            quiet_hours: QuietHours::stored(columns.take()?, columns.take()?),
            catalogue: columns.take()?,
        })
    })
    .transpose()
}

pub async fn set_details(
    tx: &DatabaseTransaction,
    contact: Uuid,
    details: &Details,
) -> Result<(), StoreError> {
    let (from, until) = details
        .quiet_hours
        .map(QuietHours::minutes)
        .map_or((None, None), |(from, until)| (Some(from), Some(until)));
    execute(
        tx,
        "UPDATE contact SET name = $2, handle = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7 WHERE id = $1",
        [
            contact.into(),
            details.name.clone().into(),
            details.handle.clone().into(),
            details.language.clone().into(),
            details.time_zone.clone().into(),
            from.into(),
            until.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Contacts after an id, in its order. With a text: whose name, handle or number begins
/// with it.
pub async fn page(
    store: &Store,
    text: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Person>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let after = after.unwrap_or(Uuid::nil());
    let escaped = text.map(|text| {
        let text = text
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        format!("{text}%")
    });
    let found = match escaped {
        None => {
            query(
                store.reader(),
                format!("SELECT {PERSON} FROM contact c WHERE c.id > $1 ORDER BY c.id LIMIT $2"),
                [after.into(), limit.into()],
            )
            .await?
        }
        Some(beginning) => {
            query(
                store.reader(),
                format!(
                    "SELECT {PERSON} FROM contact c WHERE c.id > $1 AND (lower(c.name) LIKE lower($3) ESCAPE '\\' \
                     OR lower(c.handle) LIKE lower($3) ESCAPE '\\' OR c.id IN (SELECT a.contact_id FROM contact_alias a \
                     WHERE a.kind = 'phone' AND a.value LIKE $3 ESCAPE '\\')) ORDER BY c.id LIMIT $2"
                ),
                [after.into(), limit.into(), beginning.into()],
            )
            .await?
        }
    };
    found.iter().map(person).collect()
}

/// A user with the contact that they are linked to, and their groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub person: Option<Person>,
    pub groups: Vec<String>,
    pub catalogue: Option<String>,
}

/// Every user, linked or not, by name.
pub async fn links(store: &Store) -> Result<Vec<Link>, StoreError> {
    let found = query(
        store.reader(),
        format!(
            "SELECT u.name, u.catalogue, u.contact_id, {PERSON} FROM user_account u LEFT JOIN contact c ON c.id = u.contact_id ORDER BY u.name"
        ),
        [],
    )
    .await?;
    let members = query(
        store.reader(),
        "SELECT u.name, g.name FROM group_member m JOIN user_account u ON u.id = m.user_id \
         JOIN user_group g ON g.id = m.group_id ORDER BY u.name, g.name",
        [],
    )
    .await?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &members {
        let mut columns = Columns::of(row);
        groups
            .entry(columns.take()?)
            .or_default()
            .push(columns.take()?);
    }
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            let name: String = columns.take()?;
            let catalogue = columns.take()?;
            let linked: Option<Uuid> = columns.take()?;
            let person = match linked {
                None => None,
                Some(_) => Some(Person {
                    contact_id: columns.take()?,
                    name: columns.take()?,
                    language: columns.take()?,
                    phone: columns.take()?,
                    user_id: columns.take()?,
                }),
            };
            let groups = groups.remove(&name).unwrap_or_default();
            Ok(Link {
                name,
                person,
                groups,
                catalogue,
            })
        })
        .collect()
}

/// Links a user to a contact, or to none; makes the user, if there is none. Says whether it did.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub description: Option<String>,
    pub members: i64,
    pub catalogue: Option<String>,
}

/// Every group, by name.
pub async fn groups(store: &Store) -> Result<Vec<Group>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT g.name, g.description, g.catalogue, (SELECT count(*) FROM group_member m WHERE m.group_id = g.id) \
         FROM user_group g ORDER BY g.name",
        [],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Group {
                name: columns.take()?,
                description: columns.take()?,
                catalogue: columns.take()?,
                members: columns.take()?,
            })
        })
        .collect()
}

pub async fn count_members(tx: &DatabaseTransaction, group: &str) -> Result<i64, StoreError> {
    let row = query_one(
        tx,
        "SELECT count(*) FROM group_member m JOIN user_group g ON g.id = m.group_id WHERE g.name = $1",
        [group.into()],
    )
    .await?;
    row.map_or(Ok(0), |row| Columns::of(&row).take())
}

/// Puts a user into a group, or takes them out of it. Says whether that changed anything.
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
