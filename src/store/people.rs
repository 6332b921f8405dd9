//! Contacts with their aliases, staff and groups.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde::Serialize;
use uuid::Uuid;

use super::{
    StoreError,
    dialect::{Columns, Type, execute, list, query, query_one, rows},
    new_id,
};
use crate::domain::{phone::Phone, time::Timestamp};

/// A person, as far as sending needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub contact_id: Uuid,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub language: Option<String>,
}

const PERSON: &str = "c.id, c.name, c.language, \
     (SELECT min(a.value) FROM contact_alias a WHERE a.contact_id = c.id AND a.kind = 'phone')";

fn person(row: &sea_orm::QueryResult) -> Result<Person, StoreError> {
    let mut columns = Columns::of(row);
    Ok(Person {
        contact_id: columns.take()?,
        name: columns.take()?,
        language: columns.take()?,
        phone: columns.take()?,
    })
}

pub async fn contact(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<Person>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {PERSON} FROM contact c WHERE c.id = $1"),
        [id.into()],
    )
    .await?;
    row.as_ref().map(person).transpose()
}

/// The contact a catalogue calls by this name.
pub async fn contact_by_handle(
    connection: &impl ConnectionTrait,
    handle: &str,
) -> Result<Option<Person>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {PERSON} FROM contact c WHERE c.handle = $1"),
        [handle.into()],
    )
    .await?;
    row.as_ref().map(person).transpose()
}

pub async fn contact_by_phone(
    connection: &impl ConnectionTrait,
    phone: &Phone,
) -> Result<Option<Person>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {PERSON} FROM contact_alias k JOIN contact c ON c.id = k.contact_id WHERE k.kind = 'phone' AND k.value = $1"),
        [phone.e164().into()],
    )
    .await?;
    row.as_ref().map(person).transpose()
}

/// A member of staff. The person is absent when no contact is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    pub user_id: Uuid,
    pub name: String,
    pub person: Option<Person>,
}

fn staff(row: &sea_orm::QueryResult) -> Result<Staff, StoreError> {
    let mut columns = Columns::of(row);
    let user_id = columns.take()?;
    let name = columns.take()?;
    let contact_id: Option<Uuid> = columns.take()?;
    let contact_name = columns.take()?;
    let language = columns.take()?;
    let phone = columns.take()?;
    let person = contact_id.map(|contact_id| Person {
        contact_id,
        name: contact_name,
        phone,
        language,
    });
    Ok(Staff {
        user_id,
        name,
        person,
    })
}

const STAFF: &str = "u.id, u.name, c.id, c.name, c.language, \
     (SELECT min(a.value) FROM contact_alias a WHERE a.contact_id = c.id AND a.kind = 'phone')";

pub async fn user(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<Staff>, StoreError> {
    let row = query_one(
        connection,
        format!("SELECT {STAFF} FROM user_account u LEFT JOIN contact c ON c.id = u.contact_id WHERE u.name = $1"),
        [name.into()],
    )
    .await?;
    row.as_ref().map(staff).transpose()
}

pub async fn group_exists(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<bool, StoreError> {
    Ok(query_one(
        connection,
        "SELECT id FROM user_group WHERE name = $1",
        [name.into()],
    )
    .await?
    .is_some())
}

/// Up to `limit` members of a group after one of them, in order of their ids.
pub async fn members(
    connection: &impl ConnectionTrait,
    group: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Staff>, StoreError> {
    let found = query(
        connection,
        format!(
            "SELECT {STAFF} FROM user_group g JOIN group_member m ON m.group_id = g.id \
             JOIN user_account u ON u.id = m.user_id LEFT JOIN contact c ON c.id = u.contact_id \
             WHERE g.name = $1 AND u.id > $2 ORDER BY u.id LIMIT $3"
        ),
        [
            group.into(),
            after.unwrap_or(Uuid::nil()).into(),
            limit.into(),
        ],
    )
    .await?;
    found.iter().map(staff).collect()
}

/// A name a person is known by: `phone`, `wa_id`, `bsuid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Alias {
    pub kind: &'static str,
    pub value: String,
}

/// Who is known by these aliases.
pub async fn by_aliases(
    tx: &DatabaseTransaction,
    aliases: &[Alias],
) -> Result<Vec<(String, String, Uuid)>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let given = rows(
        tx.get_database_backend(),
        &[("kind", Type::Text), ("value", Type::Text)],
    );
    let found = query(
        tx,
        format!(
            "SELECT k.kind, k.value, k.contact_id FROM {given} JOIN contact_alias k ON k.kind = r.kind AND k.value = r.value"
        ),
        [list(aliases)?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok((columns.take()?, columns.take()?, columns.take()?))
        })
        .collect()
}

/// Makes a contact with these aliases; an alias that is taken stays where it is.
pub async fn insert_contact(
    tx: &DatabaseTransaction,
    name: Option<&str>,
    aliases: &[Alias],
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = new_id(now);
    execute(
        tx,
        "INSERT INTO contact (id, created_at, name) VALUES ($1, $2, $3)",
        [id.into(), now.micros().into(), name.into()],
    )
    .await?;
    for alias in aliases {
        add_alias(tx, id, alias, now).await?;
    }
    Ok(id)
}

/// Adds an alias unless it is taken.
pub async fn add_alias(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO contact_alias (kind, value, contact_id, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, value) DO NOTHING",
        [
            alias.kind.into(),
            alias.value.clone().into(),
            contact.into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// The contact of a phone number, made if there is none. Two processes may do
/// this at once: the alias decides who wins.
pub async fn ensure_phone(
    tx: &DatabaseTransaction,
    phone: &Phone,
    now: Timestamp,
) -> Result<Person, StoreError> {
    if let Some(person) = contact_by_phone(tx, phone).await? {
        return Ok(person);
    }
    let alias = Alias {
        kind: "phone",
        value: phone.e164().to_owned(),
    };
    let mine = insert_contact(tx, None, &[alias], now).await?;
    let person = contact_by_phone(tx, phone).await?;
    Ok(person.unwrap_or(Person {
        contact_id: mine,
        name: None,
        phone: Some(phone.e164().to_owned()),
        language: None,
    }))
}

/// Notes a message of a person: the window only ever moves forward.
pub async fn open_window(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    at: Timestamp,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO conversation (sender_id, contact_id, created_at, last_inbound_at, window_until) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (sender_id, contact_id) DO UPDATE SET \
         last_inbound_at = CASE WHEN coalesce(conversation.last_inbound_at, 0) < excluded.last_inbound_at \
             THEN excluded.last_inbound_at ELSE conversation.last_inbound_at END, \
         window_until = CASE WHEN coalesce(conversation.window_until, 0) < excluded.window_until \
             THEN excluded.window_until ELSE conversation.window_until END",
        [sender.into(), contact.into(), now.micros().into(), at.micros().into(), until.micros().into()],
    )
    .await?;
    Ok(())
}

/// When the window of a contact ends.
pub async fn window_until(
    connection: &impl ConnectionTrait,
    sender: Uuid,
    contact: Uuid,
) -> Result<Option<Timestamp>, StoreError> {
    let row = query_one(
        connection,
        "SELECT window_until FROM conversation WHERE sender_id = $1 AND contact_id = $2",
        [sender.into(), contact.into()],
    )
    .await?;
    Ok(match row {
        Some(row) => Columns::of(&row)
            .take::<Option<i64>>()?
            .map(Timestamp::from_micros),
        None => None,
    })
}

/// Adds aliases that answers have taught us; one that is taken stays where it is.
pub async fn learn_aliases(
    tx: &DatabaseTransaction,
    learned: &[(Uuid, Alias)],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct Row<'a> {
        kind: &'a str,
        value: &'a str,
        contact: super::dialect::Id,
    }
    let mut described: Vec<Row<'_>> = learned
        .iter()
        .map(|(contact, alias)| Row {
            kind: alias.kind,
            value: &alias.value,
            contact: super::dialect::Id(*contact),
        })
        .collect();
    described.sort_by_key(|row| (row.kind, row.value));
    let given = rows(
        tx.get_database_backend(),
        &[
            ("kind", Type::Text),
            ("value", Type::Text),
            ("contact", Type::Uuid),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO contact_alias (kind, value, contact_id, created_at) SELECT r.kind, r.value, r.contact, $2 \
             FROM {given} WHERE true ON CONFLICT (kind, value) DO NOTHING"
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Makes this the phone number of a contact, instead of any other.
pub async fn set_phone(
    tx: &DatabaseTransaction,
    contact: Uuid,
    phone: &Alias,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM contact_alias WHERE contact_id = $1 AND kind = 'phone' AND value <> $2",
        [contact.into(), phone.value.clone().into()],
    )
    .await?;
    add_alias(tx, contact, phone, now).await
}
