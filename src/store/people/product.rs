//! Products' own data about contacts, and the addresses by which they know them. One product's data
//! are neither read nor changed by another.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::ContactDetails;
use crate::{
    domain::{access::ProductAccess, quiet::QuietHours, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            HexUuid, SqlListFieldType, column, execute, ids, list, query, query_one, read_row, rows,
        },
        notification::NewNotification,
    },
};

/// A contact that a product knows, and its known address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ProductContactRow<'a> {
    product: &'a str,
    contact: HexUuid,
    address: &'a str,
}

/// Stores which contacts products reach with new notifications, and at which address.
pub async fn note_reached(
    tx: &DatabaseTransaction,
    new: &[NewNotification],
    now: Timestamp,
) -> Result<(), StoreError> {
    let reached = new.iter().filter_map(|new| {
        Some(ProductContactRow {
            product: new.product.as_deref()?,
            contact: HexUuid(new.contact_id?),
            address: new.address.as_deref().unwrap_or_default(),
        })
    });
    note(tx, reached.collect(), now).await
}

/// Stores that a product knows a contact, and at which addresses.
pub async fn note_known(
    tx: &DatabaseTransaction,
    product: &str,
    contact: Uuid,
    addresses: &[&str],
    now: Timestamp,
) -> Result<(), StoreError> {
    let contact = HexUuid(contact);
    let known = addresses
        .iter()
        .copied()
        .chain([""])
        .map(|address| ProductContactRow {
            product,
            contact,
            address,
        });
    note(tx, known.collect(), now).await
}

async fn note(
    tx: &DatabaseTransaction,
    mut known: Vec<ProductContactRow<'_>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if known.is_empty() {
        return Ok(());
    }
    // Processes lock rows in one order.
    known.sort_by(|one, other| {
        (one.product, one.contact.0, one.address).cmp(&(
            other.product,
            other.contact.0,
            other.address,
        ))
    });
    known.dedup();
    let given = rows(
        tx.get_database_backend(),
        &[
            ("product", SqlListFieldType::Text),
            ("contact", SqlListFieldType::Uuid),
            ("address", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO product_contact (product, contact_id, created_at) \
             SELECT DISTINCT r.product, r.contact, CAST($2 AS bigint) FROM {given} WHERE true ON CONFLICT DO NOTHING"
        ),
        [list(&known)?, now.micros().into()],
    )
    .await?;
    known.retain(|row| !row.address.is_empty());
    if known.is_empty() {
        return Ok(());
    }
    execute(
        tx,
        format!(
            "INSERT INTO product_address (product, contact_id, address, created_at) \
             SELECT r.product, r.contact, r.address, $2 FROM {given} WHERE true ON CONFLICT DO NOTHING"
        ),
        [list(&known)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A product's name for a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct ProductContactProfile {
    pub name: Option<String>,
    pub language: Option<String>,
    pub time_zone: Option<String>,
    /// A catalogue defines this person: its name is for every product that sends to them.
    pub is_of_catalogue: bool,
}

/// A product's names for these contacts.
pub async fn own_names(
    connection: &impl ConnectionTrait,
    product: &str,
    contacts: &[Uuid],
) -> Result<HashMap<Uuid, ProductContactProfile>, StoreError> {
    if contacts.is_empty() {
        return Ok(HashMap::new());
    }
    let given = rows(
        connection.get_database_backend(),
        &[("id", SqlListFieldType::Uuid)],
    );
    let found = query(
        connection,
        format!(
            "SELECT c.id, p.name, p.language, p.time_zone, c.catalogue IS NOT NULL AS is_of_catalogue FROM {given} CROSS JOIN contact c \
             LEFT JOIN product_contact p ON p.product = $2 AND p.contact_id = c.id WHERE c.id = r.id"
        ),
        [ids(contacts.iter().copied())?, product.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((column(row, "id")?, read_row(row)?)))
        .collect()
}

/// The contact that a product calls by this handle.
pub async fn contact_by_own_handle(
    connection: &impl ConnectionTrait,
    product: &str,
    handle: &str,
) -> Result<Option<Uuid>, StoreError> {
    let row = query_one(
        connection,
        "SELECT contact_id FROM product_contact WHERE product = $1 AND handle = $2",
        [product.into(), handle.into()],
    )
    .await?;
    row.map(|row| column(&row, "contact_id")).transpose()
}

/// Stores a product's data about a contact that it knows.
pub async fn set_own_details(
    tx: &DatabaseTransaction,
    product: &str,
    contact: Uuid,
    details: &ContactDetails,
) -> Result<(), StoreError> {
    let (from, until) = details
        .quiet_hours
        .map(QuietHours::minutes)
        .map_or((None, None), |(from, until)| (Some(from), Some(until)));
    execute(
        tx,
        "UPDATE product_contact SET name = $3, handle = $4, language = $5, time_zone = $6, quiet_from = $7, quiet_until = $8, email = $9 \
         WHERE product = $1 AND contact_id = $2",
        [
            product.into(),
            contact.into(),
            details.name.clone().into(),
            details.handle.clone().into(),
            details.language.clone().into(),
            details.time_zone.clone().into(),
            from.into(),
            until.into(),
            details.email.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Moves a product's contact to another one: its preferences move along, and the product does not
/// know the first contact any more.
pub async fn move_to(
    tx: &DatabaseTransaction,
    product: &str,
    from: Uuid,
    to: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    note_known(tx, product, to, &[], now).await?;
    for statement in [
        "DELETE FROM preference WHERE product = $1 AND contact_id = $3 AND EXISTS \
         (SELECT 1 FROM preference f WHERE f.product = $1 AND f.contact_id = $2)",
        "UPDATE preference SET contact_id = $3 WHERE product = $1 AND contact_id = $2",
    ] {
        execute(tx, statement, [product.into(), from.into(), to.into()]).await?;
    }
    for statement in [
        "DELETE FROM product_address WHERE product = $1 AND contact_id = $2",
        "DELETE FROM product_contact WHERE product = $1 AND contact_id = $2",
    ] {
        execute(tx, statement, [product.into(), from.into()]).await?;
    }
    Ok(())
}

/// Whether a contact is known to one product only, so that it may change the number: to no other
/// product, catalogue or user; no other has sent to them, and they have written to no other's
/// sender.
pub async fn is_only_of(
    tx: &DatabaseTransaction,
    product: &ProductAccess,
    contact: Uuid,
) -> Result<bool, StoreError> {
    let senders: Vec<String> = (3..3 + product.senders.len())
        .map(|place| format!(" AND v.sender_id <> ${place}"))
        .collect();
    let row = query_one(
        tx,
        format!(
            "SELECT c.id FROM contact c WHERE c.id = $1 AND c.catalogue IS NULL AND c.name IS NULL AND c.handle IS NULL \
             AND EXISTS (SELECT 1 FROM product_contact p WHERE p.contact_id = c.id AND p.product = $2) \
             AND NOT EXISTS (SELECT 1 FROM product_contact p WHERE p.contact_id = c.id AND p.product <> $2) \
             AND NOT EXISTS (SELECT 1 FROM user_account u WHERE u.contact_id = c.id) \
             AND NOT EXISTS (SELECT 1 FROM conversation v WHERE v.contact_id = c.id AND v.last_inbound_at IS NOT NULL{}) \
             AND NOT EXISTS (SELECT 1 FROM notification n WHERE n.contact_id = c.id AND coalesce(n.product, '') <> $2)",
            senders.concat()
        ),
        [contact.into(), product.name.as_str().into()]
            .into_iter()
            .chain(product.senders.iter().copied().map(Into::into)),
    )
    .await?;
    Ok(row.is_some())
}
