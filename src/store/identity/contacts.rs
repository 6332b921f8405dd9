//! Contacts as identities see them: their aliases, and which of them are one person.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::{alias, for_change, values};
use crate::{
    domain::{
        identity::{ContactAlias, group::DeclaredContactData},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            HexUuid, SqlListFieldType, column, execute, ids, list, locking, matching, nullable,
            query, read_row, rows as given_rows,
        },
        new_id,
    },
};

/// A contact that was not deleted.
#[derive(Clone, Debug)]
pub struct IdentityContact {
    pub id: Uuid,
    /// It is the person that had this alias then.
    pub anchor: Option<(ContactAlias, Timestamp)>,
    pub merged_into: Option<Uuid>,
    pub identity_id: Option<Uuid>,
    pub is_unsettled: bool,
    pub given: DeclaredContactData,
}

/// The holder of an alias, as lists and sends look it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasHolder {
    pub alias: ContactAlias,
    pub contact: Uuid,
    pub since: Timestamp,
    pub superseded_at: Option<Timestamp>,
    /// By a person or a product, at this time; and not only by the provider.
    pub given_at: Option<Timestamp>,
}

/// A product, and the name and handle that it has given.
type ProductContactName = (String, Option<String>, Option<String>);

#[derive(FromQueryResult)]
struct ProductContactNameRow {
    contact_id: Uuid,
    product: String,
    name: Option<String>,
    handle: Option<String>,
}

#[derive(FromQueryResult)]
struct IdentityContactRow {
    id: Uuid,
    anchor_kind: Option<String>,
    anchor: Option<String>,
    anchor_at: Option<Timestamp>,
    merged_into: Option<Uuid>,
    identity_id: Option<Uuid>,
    unsettled: bool,
    name: Option<String>,
    handle: Option<String>,
    catalogue: Option<String>,
}

/// These contacts, kept from being changed by others until the transaction ends.
pub async fn rows(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
) -> Result<Vec<IdentityContact>, StoreError> {
    if contacts.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let mut in_order = contacts.to_vec();
    in_order.sort_unstable();
    in_order.dedup();
    let given = given_rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let listed = matching(backend, &given, "contact", "c", "c.id = r.id");
    let found = query(
        tx,
        format!(
            "SELECT c.id, c.anchor_kind, c.anchor, c.anchor_at, c.merged_into, c.identity_id, c.unsettled, \
             c.name, c.handle, c.catalogue FROM {listed} WHERE c.deleted_at IS NULL {}",
            for_change(tx)
        ),
        [ids(in_order.iter().copied())?],
    )
    .await?;
    let products = matching(
        backend,
        &given,
        "product_contact",
        "p",
        "p.contact_id = r.id",
    );
    let of_products = query(
        tx,
        format!("SELECT p.contact_id, p.product, p.name, p.handle FROM {products}"),
        [ids(in_order)?],
    )
    .await?;
    let mut by_contact: HashMap<Uuid, Vec<ProductContactName>> = HashMap::new();
    for row in &of_products {
        let row: ProductContactNameRow = read_row(row)?;
        let said = (row.product, row.name, row.handle);
        by_contact.entry(row.contact_id).or_default().push(said);
    }
    found
        .iter()
        .map(|row| {
            let row: IdentityContactRow = read_row(row)?;
            let anchor = match (row.anchor_kind, row.anchor, row.anchor_at) {
                (Some(kind), Some(value), Some(at)) => Some((alias("contact", &kind, value)?, at)),
                _ => None,
            };
            let mut products = by_contact.remove(&row.id).unwrap_or_default();
            products.sort();
            Ok(IdentityContact {
                id: row.id,
                anchor,
                merged_into: row.merged_into,
                identity_id: row.identity_id,
                is_unsettled: row.unsettled,
                given: DeclaredContactData {
                    name: row.name,
                    handle: row.handle,
                    catalogue: row.catalogue,
                    products,
                },
            })
        })
        .collect()
}

/// Contacts of the person who had one of these aliases at some time.
pub async fn anchored(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
) -> Result<Vec<Uuid>, StoreError> {
    let backend = connection.get_database_backend();
    let given = given_rows(backend, &[("value", SqlListFieldType::Text)]);
    let found = matching(
        backend,
        &given,
        "contact",
        "c",
        "c.anchor = r.value AND c.anchor IS NOT NULL",
    );
    let found = query(
        connection,
        format!("SELECT c.id FROM {found} WHERE c.deleted_at IS NULL"),
        [list(&values(aliases))?],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Contacts that have become a part of one of these.
pub async fn merged_into(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let backend = connection.get_database_backend();
    let given = given_rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let found = matching(
        backend,
        &given,
        "contact",
        "c",
        "c.merged_into = r.id AND c.merged_into IS NOT NULL",
    );
    let found = query(
        connection,
        format!("SELECT c.id FROM {found} WHERE c.deleted_at IS NULL"),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

const HOLDER: &str = "k.kind, k.value, k.contact_id, k.since, k.superseded_at, CASE WHEN k.given THEN k.created_at END AS given_at";

/// The columns of [`HOLDER`].
#[derive(FromQueryResult)]
struct StoredAliasHolderRow {
    kind: String,
    value: String,
    contact_id: Uuid,
    since: Timestamp,
    superseded_at: Option<Timestamp>,
    given_at: Option<Timestamp>,
}

impl TryFrom<StoredAliasHolderRow> for AliasHolder {
    type Error = StoreError;

    fn try_from(row: StoredAliasHolderRow) -> Result<Self, StoreError> {
        Ok(Self {
            alias: alias("contact_alias", &row.kind, row.value)?,
            contact: row.contact_id,
            since: row.since,
            superseded_at: row.superseded_at,
            given_at: row.given_at,
        })
    }
}

fn holder(row: &sea_orm::QueryResult) -> Result<AliasHolder, StoreError> {
    read_row::<StoredAliasHolderRow>(row)?.try_into()
}

/// The holders of these aliases.
pub async fn holders(
    connection: &impl ConnectionTrait,
    aliases: &[ContactAlias],
) -> Result<Vec<AliasHolder>, StoreError> {
    let backend = connection.get_database_backend();
    let given = given_rows(
        backend,
        &[
            ("kind", SqlListFieldType::Text),
            ("value", SqlListFieldType::Text),
        ],
    );
    let found = matching(
        backend,
        &given,
        "contact_alias",
        "k",
        "k.kind = r.kind AND k.value = r.value",
    );
    let found = query(
        connection,
        format!("SELECT {HOLDER} FROM {found}"),
        [list(aliases)?],
    )
    .await?;
    found.iter().map(holder).collect()
}

/// All aliases of these contacts.
pub async fn aliases_of(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
) -> Result<Vec<AliasHolder>, StoreError> {
    let backend = connection.get_database_backend();
    let given = given_rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let found = matching(backend, &given, "contact_alias", "k", "k.contact_id = r.id");
    let found = query(
        connection,
        format!("SELECT {HOLDER} FROM {found}"),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    found.iter().map(holder).collect()
}

/// Creates the contact of a person who has this alias at this time.
pub async fn insert(
    tx: &DatabaseTransaction,
    anchor: &ContactAlias,
    at: Timestamp,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = new_id(now);
    execute(
        tx,
        "INSERT INTO contact (id, created_at, anchor_kind, anchor, anchor_at) VALUES ($1, $2, $3, $4, $5)",
        [
            id.into(),
            now.micros().into(),
            anchor.kind.name().into(),
            anchor.value.clone().into(),
            at.micros().into(),
        ],
    )
    .await?;
    Ok(id)
}

/// Sets the alias by which a contact is found from then on.
pub async fn set_anchor(
    tx: &DatabaseTransaction,
    contact: Uuid,
    anchor: &ContactAlias,
    at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact SET anchor_kind = $2, anchor = $3, anchor_at = $4 WHERE id = $1",
        [
            contact.into(),
            anchor.kind.name().into(),
            anchor.value.clone().into(),
            at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores the holder of an alias. One that was not given by hand counts as the provider's.
pub async fn set_holder(
    tx: &DatabaseTransaction,
    alias: &ContactAlias,
    contact: Uuid,
    since: Timestamp,
    superseded_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO contact_alias (kind, value, contact_id, created_at, since, superseded_at, given, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, false, $4) ON CONFLICT (kind, value) DO UPDATE SET \
         given = CASE WHEN contact_alias.contact_id = excluded.contact_id THEN contact_alias.given ELSE false END, \
         contact_id = excluded.contact_id, since = excluded.since, superseded_at = excluded.superseded_at, \
         seen_at = coalesce(contact_alias.seen_at, excluded.seen_at)",
        [
            alias.kind.name().into(),
            alias.value.clone().into(),
            contact.into(),
            now.micros().into(),
            since.micros().max(0).into(),
            superseded_at.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Stores which contacts a contact acts as one with, and whether one of its numbers is disputed.
pub async fn flag(
    tx: &DatabaseTransaction,
    contact: Uuid,
    identity: Option<Uuid>,
    is_unsettled: bool,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact SET identity_id = $2, unsettled = $3 WHERE id = $1",
        [contact.into(), identity.into(), is_unsettled.into()],
    )
    .await?;
    Ok(())
}

/// The holder of an alias, with what matters for a sighting.
#[derive(Clone, Debug)]
pub struct AliasHolderState {
    pub holder: AliasHolder,
    /// The owner of one of the contact's numbers is undecided.
    pub is_unsettled: bool,
    /// The contact acts as one with another.
    pub is_linked: bool,
}

/// The holders of these aliases. Their contacts are locked against deletion until the transaction
/// ends.
pub async fn known(
    tx: &DatabaseTransaction,
    aliases: &[ContactAlias],
) -> Result<Vec<AliasHolderState>, StoreError> {
    let backend = tx.get_database_backend();
    let given = given_rows(
        backend,
        &[
            ("kind", SqlListFieldType::Text),
            ("value", SqlListFieldType::Text),
        ],
    );
    let held = matching(
        backend,
        &given,
        "contact_alias",
        "k",
        "k.kind = r.kind AND k.value = r.value",
    );
    let contacts = matching(backend, &held, "contact", "c", "c.id = k.contact_id");
    let keep = locking(backend, "FOR KEY SHARE OF c");
    let found = query(
        tx,
        format!(
            "SELECT {HOLDER}, c.unsettled, c.identity_id IS NOT NULL AS is_linked FROM {contacts} WHERE c.deleted_at IS NULL {keep}"
        ),
        [list(aliases)?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(AliasHolderState {
                holder: holder(row)?,
                is_unsettled: column(row, "unsettled")?,
                is_linked: column(row, "is_linked")?,
            })
        })
        .collect()
}

/// A contact, and those that act as one with it.
pub async fn together(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        connection,
        "SELECT o.id FROM contact c JOIN contact o ON o.identity_id = c.identity_id WHERE c.id = $1 AND c.identity_id IS NOT NULL",
        [contact.into()],
    )
    .await?;
    let mut all = vec![contact];
    for row in &found {
        all.push(column(row, "id")?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The contacts that have become a part of one, and when.
pub async fn parts(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<Vec<(Uuid, Timestamp)>, StoreError> {
    let found = query(
        connection,
        "SELECT id, merged_at FROM contact WHERE merged_into = $1 AND merged_into IS NOT NULL ORDER BY merged_at, id",
        [contact.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let at: Option<Timestamp> = nullable(row, "merged_at")?;
            Ok((column(row, "id")?, at.unwrap_or_default()))
        })
        .collect()
}

/// Stores the holders of new aliases, as the provider reported them.
pub async fn add_holders(
    tx: &DatabaseTransaction,
    added: &[(ContactAlias, Uuid)],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(serde::Serialize)]
    struct AliasHolderRow<'a> {
        kind: &'static str,
        value: &'a str,
        contact: HexUuid,
    }
    if added.is_empty() {
        return Ok(());
    }
    let described: Vec<AliasHolderRow<'_>> = added
        .iter()
        .map(|(alias, contact)| AliasHolderRow {
            kind: alias.kind.name(),
            value: &alias.value,
            contact: HexUuid(*contact),
        })
        .collect();
    let given = given_rows(
        tx.get_database_backend(),
        &[
            ("kind", SqlListFieldType::Text),
            ("value", SqlListFieldType::Text),
            ("contact", SqlListFieldType::Uuid),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO contact_alias (kind, value, contact_id, created_at, given, seen_at) \
             SELECT r.kind, r.value, r.contact, $2, false, $2 FROM {given} WHERE true ON CONFLICT (kind, value) DO NOTHING"
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    Ok(())
}
