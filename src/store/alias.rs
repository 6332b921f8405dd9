//! Aliases of contacts, and conflicts: contacts that may be one person.

use entity::{contact_alias, contact_conflict};
use sea_orm::{ConnectionTrait, EntityTrait, Statement};
use serde::Serialize;
use uuid::Uuid;

pub use crate::domain::identity::{ContactAlias, ContactAliasKind};

use super::{
    DatabaseTransaction, Store, StoreError,
    bounds::{SqlCondition, has_contact, of_aliases, of_contacts},
    dialect::{HexUuid, SqlListFieldType, column, execute, ids, list, listed, query_one, rows},
    new_id,
};
use crate::domain::{access::AccessBounds, time::Timestamp};

/// The aliases of one contact that the caller knows, by kind.
pub async fn of_contact(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<contact_alias::Model>, StoreError> {
    let SqlCondition { sql, values } = of_aliases(bounds, 1);
    let statement = Statement::from_sql_and_values(
        connection.get_database_backend(),
        format!(
            "SELECT a.* FROM contact_alias a WHERE a.contact_id = $1{sql} \
             ORDER BY a.superseded_at IS NOT NULL, a.kind, a.value"
        ),
        std::iter::once(contact.into()).chain(values),
    );
    Ok(contact_alias::Entity::find()
        .from_raw_sql(statement)
        .all(connection)
        .await?)
}

/// The current owner of an alias.
pub async fn owner(
    connection: &impl ConnectionTrait,
    alias: &ContactAlias,
) -> Result<Option<Uuid>, StoreError> {
    let key = (alias.kind.name().to_owned(), alias.value.clone());
    let found = contact_alias::Entity::find_by_id(key)
        .one(connection)
        .await?;
    Ok(found
        .filter(|row| row.superseded_at.is_none())
        .map(|row| row.contact_id))
}

/// The current owner of an alias, if the caller knows the contact by it.
pub async fn owner_known(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    alias: &ContactAlias,
) -> Result<Option<Uuid>, StoreError> {
    let Some(owner) = owner(connection, alias).await? else {
        return Ok(None);
    };
    if !has_contact(connection, bounds, owner).await? {
        return Ok(None);
    }
    let known = of_contact(connection, bounds, owner).await?;
    let is_known = known
        .iter()
        .any(|known| known.kind == alias.kind.name() && known.value == alias.value);
    Ok(is_known.then_some(owner))
}

/// Gives a contact an alias that it does not have, or that its owner has lost: set by a person or a
/// product.
pub async fn give(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &ContactAlias,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO contact_alias (kind, value, contact_id, created_at, given) VALUES ($1, $2, $3, $4, true) \
         ON CONFLICT (kind, value) DO UPDATE SET contact_id = excluded.contact_id, superseded_at = NULL, given = true, \
         created_at = CASE WHEN contact_alias.given THEN contact_alias.created_at ELSE excluded.created_at END, \
         since = CASE WHEN contact_alias.contact_id = excluded.contact_id AND contact_alias.superseded_at IS NULL \
         THEN contact_alias.since ELSE excluded.created_at END \
         WHERE contact_alias.contact_id = excluded.contact_id OR (contact_alias.superseded_at IS NOT NULL AND contact_alias.kind = 'phone')",
        [
            alias.kind.name().into(),
            alias.value.clone().into(),
            contact.into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Ends the ownership of a number at `at`.
pub async fn supersede(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &ContactAlias,
    at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact_alias SET superseded_at = $4 WHERE kind = $1 AND value = $2 AND contact_id = $3 \
         AND (superseded_at IS NULL OR superseded_at > $4)",
        [
            alias.kind.name().into(),
            alias.value.clone().into(),
            contact.into(),
            at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Removes an alias from its owner.
pub async fn remove(tx: &DatabaseTransaction, alias: &ContactAlias) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM contact_alias WHERE kind = $1 AND value = $2",
        [alias.kind.name().into(), alias.value.clone().into()],
    )
    .await?;
    Ok(())
}

/// Why two contacts may be one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactIdentityConflictKind {
    /// A new user id was seen at a number, and nothing explains it yet.
    Question,
    /// Evidence that cannot be true together, or against what a person decided.
    Contradiction,
    /// They are one person, but names given by hand differ: they act as one.
    Linked,
}

impl ContactIdentityConflictKind {
    pub const ALL: [Self; 3] = [Self::Question, Self::Contradiction, Self::Linked];

    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Contradiction => "contradiction",
            Self::Linked => "linked",
        }
    }

    /// Reads [`ContactIdentityConflictKind::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Two contacts that may be one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactIdentityConflict {
    pub alias: ContactAlias,
    pub contact: Uuid,
    pub other: Uuid,
    pub state: ContactIdentityConflictKind,
    pub since: Timestamp,
    /// When a question counts as a move.
    pub due_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct ContactIdentityConflictRow<'a> {
    id: HexUuid,
    kind: &'static str,
    value: &'a str,
    contact: HexUuid,
    other: HexUuid,
    state: &'static str,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
}

/// Replaces the open conflicts between these contacts.
pub async fn write_conflicts(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
    all: &[ContactIdentityConflict],
    now: Timestamp,
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let (first, second) = (listed(backend, "contact_id"), listed(backend, "other_id"));
    execute(
        tx,
        format!("DELETE FROM contact_conflict WHERE {first} AND {second}"),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    if all.is_empty() {
        return Ok(());
    }
    let described: Vec<ContactIdentityConflictRow<'_>> = all
        .iter()
        .map(|conflict| ContactIdentityConflictRow {
            id: HexUuid(new_id(now)),
            kind: conflict.alias.kind.name(),
            value: &conflict.alias.value,
            contact: HexUuid(conflict.contact),
            other: HexUuid(conflict.other),
            state: conflict.state.name(),
            since: conflict.since.micros(),
            due_at: conflict.due_at.map(Timestamp::micros),
        })
        .collect();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("kind", SqlListFieldType::Text),
            ("value", SqlListFieldType::Text),
            ("contact", SqlListFieldType::Uuid),
            ("other", SqlListFieldType::Uuid),
            ("state", SqlListFieldType::Text),
            ("since", SqlListFieldType::Int),
            ("due_at", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO contact_conflict (id, created_at, kind, value, contact_id, other_id, state, since, due_at) \
             SELECT r.id, $2, r.kind, r.value, r.contact, r.other, r.state, r.since, r.due_at FROM {given} WHERE true \
             ON CONFLICT (kind, value, contact_id, other_id) DO NOTHING"
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// The newest conflicts between contacts of the caller's.
pub async fn conflicts(
    store: &Store,
    bounds: &AccessBounds,
    limit: u64,
) -> Result<Vec<contact_conflict::Model>, StoreError> {
    let SqlCondition { sql, values } = of_contacts(bounds, 1);
    let own =
        |column: &str| format!("EXISTS (SELECT 1 FROM contact c WHERE c.id = f.{column}{sql})");
    let condition = match bounds {
        AccessBounds::All => String::new(),
        AccessBounds::Product(_) => format!("WHERE {} AND {}", own("contact_id"), own("other_id")),
    };
    let statement = Statement::from_sql_and_values(
        store.backend(),
        format!("SELECT f.* FROM contact_conflict f {condition} ORDER BY f.id DESC LIMIT $1"),
        std::iter::once(i64::try_from(limit).unwrap_or(i64::MAX).into()).chain(values),
    );
    Ok(contact_conflict::Entity::find()
        .from_raw_sql(statement)
        .all(store.reader())
        .await?)
}

/// How many conflicts there are, up to `most`.
pub async fn count_conflicts(store: &Store, most: u64) -> Result<i64, StoreError> {
    let row = query_one(
        store.reader(),
        "SELECT count(*) AS count FROM (SELECT 1 FROM contact_conflict LIMIT $1) AS f",
        [i64::try_from(most).unwrap_or(i64::MAX).into()],
    )
    .await?;
    row.map_or(Ok(0), |row| column(&row, "count"))
}

/// The open conflicts of one contact, as far as the caller knows the other contact.
pub async fn conflicts_of(
    store: &Store,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<contact_conflict::Model>, StoreError> {
    let SqlCondition { sql, values } = of_contacts(bounds, 1);
    let statement = Statement::from_sql_and_values(
        store.backend(),
        format!(
            "SELECT f.* FROM contact_conflict f JOIN contact c ON c.id = CASE WHEN f.contact_id = $1 THEN f.other_id ELSE f.contact_id END \
             WHERE (f.contact_id = $1 OR f.other_id = $1){sql} ORDER BY f.id DESC"
        ),
        std::iter::once(contact.into()).chain(values),
    );
    Ok(contact_conflict::Entity::find()
        .from_raw_sql(statement)
        .all(store.reader())
        .await?)
}

/// The contact last seen at a contact's number, while the owner is undecided.
pub async fn claimant(
    connection: &impl ConnectionTrait,
    contact: Uuid,
    number: &str,
) -> Result<Option<Uuid>, StoreError> {
    let row = query_one(
        connection,
        "SELECT other_id FROM contact_conflict WHERE contact_id = $1 AND value = $2 AND state = 'question' \
         ORDER BY since DESC LIMIT 1",
        [contact.into(), number.into()],
    )
    .await?;
    row.map(|row| column(&row, "other_id")).transpose()
}

/// Aliases of questions that nothing has decided in time, the longest due first.
pub async fn due_questions(
    store: &Store,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<ContactAlias>, StoreError> {
    let statement = Statement::from_sql_and_values(
        store.backend(),
        "SELECT * FROM contact_conflict WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT $2",
        [
            now.micros().into(),
            i64::try_from(limit).unwrap_or(i64::MAX).into(),
        ],
    );
    let found = contact_conflict::Entity::find()
        .from_raw_sql(statement)
        .all(store.by_index())
        .await?;
    Ok(found
        .into_iter()
        .filter_map(|row| {
            Some(ContactAlias {
                kind: ContactAliasKind::parse(&row.kind)?,
                value: row.value,
            })
        })
        .collect())
}
