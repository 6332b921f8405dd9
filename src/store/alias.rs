//! The names a person is known by, and what happens when two people claim one.

use crate::store::DatabaseTransaction;
use entity::{contact_alias, contact_conflict};
use sea_orm::{ConnectionTrait, EntityTrait, Statement};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    bounds::{Piece, has_contact, of_aliases, of_contacts},
    dialect::{Columns, Id, Type, execute, list, locking, matching, query, rows},
    new_id,
};
use crate::domain::{access::Bounds, phone::Phone, recipient::UserId, time::Timestamp};

/// A name a person is known by: `phone`, `wa_id`, `bsuid`, `parent_bsuid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Alias {
    pub kind: &'static str,
    pub value: String,
}

impl Alias {
    pub fn of_phone(phone: &Phone) -> Self {
        Self {
            kind: "phone",
            value: phone.e164().to_owned(),
        }
    }

    pub fn of_user_id(user_id: &UserId) -> Self {
        Self {
            kind: if user_id.is_of_parent() {
                "parent_bsuid"
            } else {
                "bsuid"
            },
            value: user_id.as_str().to_owned(),
        }
    }
}

/// Whose a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub kind: String,
    pub value: String,
    pub contact_id: Uuid,
    /// From here on it is not this person's any more.
    pub superseded_at: Option<Timestamp>,
}

/// Who is known by these names.
pub async fn find(
    connection: &impl ConnectionTrait,
    aliases: &[Alias],
) -> Result<Vec<Known>, StoreError> {
    find_and(connection, "", aliases).await
}

/// The same, and keeps those people from being deleted until this transaction ends.
pub async fn find_and_keep(
    tx: &DatabaseTransaction,
    aliases: &[Alias],
) -> Result<Vec<Known>, StoreError> {
    find_and(tx, keeping(tx), aliases).await
}

/// Whoever is being deleted is waited for, and left out then.
fn keeping(tx: &DatabaseTransaction) -> &'static str {
    locking(tx.get_database_backend(), "FOR KEY SHARE OF c")
}

async fn find_and(
    connection: &impl ConnectionTrait,
    clause: &str,
    aliases: &[Alias],
) -> Result<Vec<Known>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("kind", Type::Text), ("value", Type::Text)]);
    let names = matching(
        backend,
        &given,
        "contact_alias",
        "k",
        "k.kind = r.kind AND k.value = r.value",
    );
    let people = matching(backend, &names, "contact", "c", "c.id = k.contact_id");
    let found = query(
        connection,
        format!(
            "SELECT k.kind, k.value, k.contact_id, k.superseded_at FROM {people} WHERE c.deleted_at IS NULL {clause}"
        ),
        [list(aliases)?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Known {
                kind: columns.take()?,
                value: columns.take()?,
                contact_id: columns.take()?,
                superseded_at: columns.take::<Option<i64>>()?.map(Timestamp::from_micros),
            })
        })
        .collect()
}

/// Adds a name unless it is taken.
pub async fn add(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
    superseded_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO contact_alias (kind, value, contact_id, created_at, superseded_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (kind, value) DO NOTHING",
        [
            alias.kind.into(),
            alias.value.clone().into(),
            contact.into(),
            now.micros().into(),
            superseded_at.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Gives a name that its owner has lost to somebody else.
pub async fn reassign(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact_alias SET contact_id = $3, superseded_at = NULL WHERE kind = $1 AND value = $2",
        [
            alias.kind.into(),
            alias.value.clone().into(),
            contact.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Notes that a name is its owner's only until `at`; the earliest such word counts.
pub async fn supersede(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
    at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact_alias SET superseded_at = $4 WHERE kind = $1 AND value = $2 AND contact_id = $3 \
         AND (superseded_at IS NULL OR superseded_at > $4)",
        [
            alias.kind.into(),
            alias.value.clone().into(),
            contact.into(),
            at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Of names that answers have taught us, those that are not known as this contact's.
pub async fn unlearned(
    connection: &impl ConnectionTrait,
    learned: &[(Uuid, Alias)],
) -> Result<Vec<(Uuid, Alias)>, StoreError> {
    let aliases: Vec<Alias> = learned.iter().map(|(_, alias)| alias.clone()).collect();
    let known = find(connection, &aliases).await?;
    let is_known = |contact: Uuid, alias: &Alias| {
        known.iter().any(|known| {
            known.contact_id == contact && known.kind == alias.kind && known.value == alias.value
        })
    };
    Ok(learned
        .iter()
        .filter(|(contact, alias)| !is_known(*contact, alias))
        .cloned()
        .collect())
}

/// Adds names that answers have taught us; one that is taken stays where it is,
/// and a claim by another contact is recorded. What is told of somebody who was deleted
/// meanwhile is not kept.
pub async fn learn(
    tx: &DatabaseTransaction,
    learned: &[(Uuid, Alias)],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct Row<'a> {
        kind: &'a str,
        value: &'a str,
        contact: Id,
    }
    let mut described: Vec<Row<'_>> = learned
        .iter()
        .map(|(contact, alias)| Row {
            kind: alias.kind,
            value: &alias.value,
            contact: Id(*contact),
        })
        .collect();
    if described.is_empty() {
        return Ok(());
    }
    let claimed = described.len();
    // Whoever of them is there gets it, be others deleted.
    described.sort_by_key(|row| (row.kind, row.value, row.contact.0));
    described.dedup_by_key(|row| (row.kind, row.value, row.contact.0));
    let given = rows(
        tx.get_database_backend(),
        &[
            ("kind", Type::Text),
            ("value", Type::Text),
            ("contact", Type::Uuid),
        ],
    );
    let added = execute(
        tx,
        format!(
            "INSERT INTO contact_alias (kind, value, contact_id, created_at) SELECT r.kind, r.value, r.contact, $2 \
             FROM {} WHERE c.deleted_at IS NULL {} ON CONFLICT (kind, value) DO NOTHING",
            matching(tx.get_database_backend(), &given, "contact", "c", "c.id = r.contact"),
            keeping(tx)
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    if usize::try_from(added.rows_affected()).ok() == Some(claimed) {
        return Ok(());
    }
    let aliases: Vec<Alias> = learned.iter().map(|(_, alias)| alias.clone()).collect();
    for known in find(tx, &aliases).await? {
        let claims = learned.iter().filter(|(contact, alias)| {
            alias.kind == known.kind && alias.value == known.value && *contact != known.contact_id
        });
        for (contact, alias) in claims.filter(|_| known.superseded_at.is_none()) {
            if super::people::details(tx, &Bounds::All, *contact)
                .await?
                .is_none()
            {
                continue;
            }
            conflict(tx, alias, known.contact_id, *contact, None, now).await?;
        }
    }
    Ok(())
}

/// Records that a name of one contact is claimed by another. Says whether that is news.
pub async fn conflict(
    tx: &DatabaseTransaction,
    alias: &Alias,
    owner: Uuid,
    other: Uuid,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let recorded = execute(
        tx,
        "INSERT INTO contact_conflict (id, created_at, kind, value, contact_id, other_id, callback_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, value, contact_id, other_id) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            alias.kind.into(),
            alias.value.clone().into(),
            owner.into(),
            other.into(),
            callback.into(),
        ],
    )
    .await?;
    Ok(recorded.rows_affected() > 0)
}

/// The names of one contact that the caller knows, by kind.
pub async fn of_contact(
    connection: &impl ConnectionTrait,
    bounds: &Bounds,
    contact: Uuid,
) -> Result<Vec<contact_alias::Model>, StoreError> {
    let Piece { sql, values } = of_aliases(bounds, 1);
    let statement = Statement::from_sql_and_values(
        connection.get_database_backend(),
        format!(
            "SELECT a.* FROM contact_alias a WHERE a.contact_id = $1{sql} ORDER BY a.kind, a.value"
        ),
        std::iter::once(contact.into()).chain(values),
    );
    Ok(contact_alias::Entity::find()
        .from_raw_sql(statement)
        .all(connection)
        .await?)
}

/// Whose name this is today, if the caller knows them by it.
pub async fn owner_known(
    connection: &impl ConnectionTrait,
    bounds: &Bounds,
    kind: &str,
    value: &str,
) -> Result<Option<Uuid>, StoreError> {
    let Some(owner) = owner(connection, kind, value).await? else {
        return Ok(None);
    };
    if !has_contact(connection, bounds, owner).await? {
        return Ok(None);
    }
    let known = of_contact(connection, bounds, owner).await?;
    let is_known = known
        .iter()
        .any(|alias| alias.kind == kind && alias.value == value);
    Ok(is_known.then_some(owner))
}

/// The newest conflicts between contacts of the caller's.
pub async fn conflicts(
    store: &Store,
    bounds: &Bounds,
    limit: u64,
) -> Result<Vec<contact_conflict::Model>, StoreError> {
    let Piece { sql, values } = of_contacts(bounds, 1);
    let own =
        |column: &str| format!("EXISTS (SELECT 1 FROM contact c WHERE c.id = f.{column}{sql})");
    let condition = match bounds {
        Bounds::All => String::new(),
        Bounds::Product(_) => format!("WHERE {} AND {}", own("contact_id"), own("other_id")),
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

/// A name that became another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub kind: String,
    pub old_value: String,
    pub new_value: String,
    pub at: Timestamp,
}

/// Keeps what became of a name, whether or not anybody here has it.
pub async fn link(
    tx: &DatabaseTransaction,
    kind: &str,
    old: &str,
    new: &str,
    at: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO identity_change (kind, old_value, new_value, at, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (kind, old_value, new_value, at) DO NOTHING",
        [
            kind.into(),
            old.into(),
            new.into(),
            at.micros().into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// What became of these names, the earliest change first.
pub async fn links(tx: &DatabaseTransaction, aliases: &[Alias]) -> Result<Vec<Link>, StoreError> {
    if aliases.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("kind", Type::Text), ("value", Type::Text)]);
    let changes = matching(
        backend,
        &given,
        "identity_change",
        "l",
        "l.kind = r.kind AND l.old_value = r.value",
    );
    let found = query(
        tx,
        format!(
            "SELECT l.kind, l.old_value, l.new_value, l.at FROM {changes} ORDER BY l.at, l.new_value"
        ),
        [list(aliases)?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(Link {
                kind: columns.take()?,
                old_value: columns.take()?,
                new_value: columns.take()?,
                at: Timestamp::from_micros(columns.take()?),
            })
        })
        .collect()
}

/// Whether a name came back to its owner after it was given up at `at`: from
/// another name of the same contact.
pub async fn came_back(
    tx: &DatabaseTransaction,
    contact: Uuid,
    alias: &Alias,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let found = query(
        tx,
        "SELECT l.at FROM identity_change l JOIN contact_alias k ON k.kind = l.kind AND k.value = l.old_value \
         WHERE l.kind = $1 AND l.new_value = $2 AND l.at > $3 AND k.contact_id = $4 LIMIT 1",
        [
            alias.kind.into(),
            alias.value.clone().into(),
            at.micros().into(),
            contact.into(),
        ],
    )
    .await?;
    Ok(!found.is_empty())
}

/// Whose name this is today.
pub async fn owner(
    connection: &impl ConnectionTrait,
    kind: &str,
    value: &str,
) -> Result<Option<Uuid>, StoreError> {
    let found = contact_alias::Entity::find_by_id((kind.to_owned(), value.to_owned()))
        .one(connection)
        .await?;
    Ok(found
        .filter(|row| row.superseded_at.is_none())
        .map(|row| row.contact_id))
}
