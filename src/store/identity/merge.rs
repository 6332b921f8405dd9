//! Merges two contacts, and separates them again.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, locking, nullable, query, query_one, read_row},
    },
};

/// A contact's own data at the time it was merged into another.
#[derive(Debug, Default, Serialize, Deserialize, FromQueryResult)]
struct MergedContactData {
    name: Option<String>,
    handle: Option<String>,
    #[serde(default)]
    email: Option<String>,
    language: Option<String>,
    time_zone: Option<String>,
    quiet_from: Option<i64>,
    quiet_until: Option<i64>,
    catalogue: Option<String>,
    /// The fields that the other contact did not have: they were moved to it.
    #[sea_orm(skip)]
    moved: Vec<String>,
    /// Staff that was this person.
    #[sea_orm(skip)]
    users: Vec<Uuid>,
    /// Products that had something to say of this contact, and not of the other.
    #[sea_orm(skip)]
    products: Vec<String>,
}

const FIELDS: [&str; 8] = [
    "name",
    "handle",
    "email",
    "language",
    "time_zone",
    "quiet_from",
    "quiet_until",
    "catalogue",
];

/// Merges one contact into another: messages, consent and links move. The caller moves the aliases.
/// The merged contact's id redirects to the other.
pub async fn merge(
    tx: &DatabaseTransaction,
    absorbed: Uuid,
    survivor: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut kept = fields(tx, absorbed).await?;
    let theirs = fields(tx, survivor).await?;
    kept.moved = moved(&kept, &theirs);
    kept.users = users(tx, absorbed).await?;
    kept.products = own_products(tx, absorbed, survivor).await?;
    let detail = serde_json::to_string(&kept).unwrap_or_default();
    execute(
        tx,
        "UPDATE contact SET name = NULL, handle = NULL, email = NULL, language = NULL, time_zone = NULL, quiet_from = NULL, \
         quiet_until = NULL, catalogue = NULL, merged_into = $2, merged_at = $3, merged_detail = $4, identity_id = NULL, \
         unsettled = false WHERE id = $1",
        [
            absorbed.into(),
            survivor.into(),
            now.micros().into(),
            detail.into(),
        ],
    )
    .await?;
    set_fields(tx, survivor, &kept).await?;
    for statement in [
        // No chains: contacts merged into it are merged into the other.
        "UPDATE contact SET merged_into = $2 WHERE merged_into = $1",
        "UPDATE user_account SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE notification SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE inbound_message SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE verification SET contact_id = $2 WHERE contact_id = $1",
        "UPDATE contact SET profile_name = (SELECT a.profile_name FROM contact a WHERE a.id = $1), \
         profile_name_at = (SELECT a.profile_name_at FROM contact a WHERE a.id = $1) WHERE id = $2 \
         AND coalesce(profile_name_at, 0) < (SELECT coalesce(a.profile_name_at, 0) FROM contact a WHERE a.id = $1)",
        "UPDATE contact SET username = (SELECT a.username FROM contact a WHERE a.id = $1), \
         username_at = (SELECT a.username_at FROM contact a WHERE a.id = $1) WHERE id = $2 \
         AND coalesce(username_at, 0) < (SELECT coalesce(a.username_at, 0) FROM contact a WHERE a.id = $1)",
        // The newest of two preferences for one kind and channel.
        "DELETE FROM preference WHERE contact_id = $2 AND EXISTS (SELECT 1 FROM preference p WHERE p.contact_id = $1 \
         AND p.message_kind = preference.message_kind AND p.channel = preference.channel AND p.product = preference.product \
         AND (p.updated_at > preference.updated_at OR (p.updated_at = preference.updated_at AND p.wanted = false)))",
        "DELETE FROM preference WHERE contact_id = $1 AND EXISTS (SELECT 1 FROM preference p WHERE p.contact_id = $2 \
         AND p.message_kind = preference.message_kind AND p.channel = preference.channel AND p.product = preference.product)",
        "UPDATE preference SET contact_id = $2 WHERE contact_id = $1",
        "INSERT INTO product_contact (product, contact_id, created_at, name, handle, email, language, time_zone, quiet_from, quiet_until) \
         SELECT product, $2, created_at, name, NULL, email, language, time_zone, quiet_from, quiet_until FROM product_contact \
         WHERE contact_id = $1 ON CONFLICT (product, contact_id) DO NOTHING",
        "INSERT INTO product_address (product, contact_id, address, created_at) SELECT product, $2, address, created_at \
         FROM product_address WHERE contact_id = $1 ON CONFLICT (product, contact_id, address) DO NOTHING",
        "INSERT INTO conversation (sender_id, contact_id, created_at, last_inbound_at, window_until, pair_next_at, reminder_at, free_entry_until, wake_at, turn_at) \
         SELECT sender_id, $2, created_at, last_inbound_at, window_until, pair_next_at, reminder_at, free_entry_until, wake_at, turn_at \
         FROM conversation WHERE contact_id = $1 ON CONFLICT (sender_id, contact_id) DO UPDATE SET \
         pair_next_at = CASE WHEN coalesce(excluded.pair_next_at, 0) > coalesce(conversation.pair_next_at, 0) THEN excluded.pair_next_at ELSE conversation.pair_next_at END, \
         turn_at = CASE WHEN conversation.turn_at IS NULL OR excluded.turn_at < conversation.turn_at THEN excluded.turn_at ELSE conversation.turn_at END, \
         last_inbound_at = CASE WHEN coalesce(excluded.last_inbound_at, 0) > coalesce(conversation.last_inbound_at, 0) THEN excluded.last_inbound_at ELSE conversation.last_inbound_at END, \
         free_entry_until = CASE WHEN coalesce(excluded.free_entry_until, 0) > coalesce(conversation.free_entry_until, 0) THEN excluded.free_entry_until ELSE conversation.free_entry_until END, \
         wake_at = CASE WHEN coalesce(excluded.window_until, 0) > coalesce(conversation.window_until, 0) THEN excluded.wake_at ELSE conversation.wake_at END, \
         window_until = CASE WHEN coalesce(excluded.window_until, 0) > coalesce(conversation.window_until, 0) THEN excluded.window_until ELSE conversation.window_until END",
    ] {
        execute(tx, statement, [absorbed.into(), survivor.into()]).await?;
    }
    // A product's own handle is unique, so it can only go along once it is free.
    for product in &kept.products {
        let row = query_one(
            tx,
            "SELECT handle FROM product_contact WHERE product = $1 AND contact_id = $2",
            [product.clone().into(), absorbed.into()],
        )
        .await?;
        let handle: Option<String> = row.map_or(Ok(None), |row| nullable(&row, "handle"))?;
        for (contact, handle) in [(absorbed, None), (survivor, handle)] {
            execute(
                tx,
                "UPDATE product_contact SET handle = $3 WHERE product = $1 AND contact_id = $2",
                [product.clone().into(), contact.into(), handle.into()],
            )
            .await?;
        }
    }
    for statement in [
        "DELETE FROM product_address WHERE contact_id = $1",
        "DELETE FROM product_contact WHERE contact_id = $1",
        "DELETE FROM conversation WHERE contact_id = $1",
        "DELETE FROM suppression WHERE contact_id = $1",
    ] {
        execute(tx, statement, [absorbed.into()]).await?;
    }
    Ok(())
}

/// Separates a contact from the one it was merged into, with its own data. An opt-out stays with
/// both.
pub async fn unmerge(
    tx: &DatabaseTransaction,
    contact: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = query_one(
        tx,
        "SELECT merged_into, merged_detail FROM contact WHERE id = $1 AND merged_into IS NOT NULL",
        [contact.into()],
    )
    .await?;
    let Some(row) = row else {
        return Ok(());
    };
    let survivor: Uuid = column(&row, "merged_into")?;
    let detail: Option<String> = nullable(&row, "merged_detail")?;
    let kept: MergedContactData = detail
        .as_deref()
        .and_then(|detail| serde_json::from_str(detail).ok())
        .unwrap_or_default();
    let theirs = fields(tx, survivor).await?;
    for field in FIELDS
        .iter()
        .filter(|field| kept.moved.iter().any(|moved| moved == *field))
    {
        // A change since then belongs to the other.
        if theirs.get(field) == kept.get(field) {
            execute(
                tx,
                format!("UPDATE contact SET {field} = NULL WHERE id = $1"),
                [survivor.into()],
            )
            .await?;
        }
    }
    execute(
        tx,
        "UPDATE contact SET name = $2, handle = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7, \
         catalogue = $8, merged_into = NULL, merged_at = NULL, merged_detail = NULL WHERE id = $1",
        [
            contact.into(),
            kept.name.clone().into(),
            kept.handle.clone().filter(|_| kept.is_free("handle", &theirs)).into(),
            kept.language.clone().into(),
            kept.time_zone.clone().into(),
            kept.quiet_from.into(),
            kept.quiet_until.into(),
            kept.catalogue.clone().filter(|_| kept.is_free("catalogue", &theirs)).into(),
        ],
    )
    .await?;
    for user in &kept.users {
        execute(
            tx,
            "UPDATE user_account SET contact_id = $2 WHERE id = $1 AND contact_id = $3",
            [(*user).into(), contact.into(), survivor.into()],
        )
        .await?;
    }
    for product in &kept.products {
        execute(
            tx,
            "INSERT INTO product_contact (product, contact_id, created_at, name, language, time_zone, quiet_from, quiet_until) \
             SELECT product, $2, $4, name, language, time_zone, quiet_from, quiet_until FROM product_contact \
             WHERE product = $1 AND contact_id = $3 ON CONFLICT (product, contact_id) DO NOTHING",
            [
                product.clone().into(),
                contact.into(),
                survivor.into(),
                now.micros().into(),
            ],
        )
        .await?;
        execute(
            tx,
            "DELETE FROM product_contact WHERE product = $1 AND contact_id = $2",
            [product.clone().into(), survivor.into()],
        )
        .await?;
    }
    execute(
        tx,
        "INSERT INTO preference (contact_id, message_kind, channel, created_at, updated_at, wanted, product) \
         SELECT $2, message_kind, channel, created_at, updated_at, wanted, product FROM preference \
         WHERE contact_id = $1 AND wanted = false ON CONFLICT (contact_id, message_kind, channel, product) DO NOTHING",
        [survivor.into(), contact.into()],
    )
    .await?;
    Ok(())
}

impl MergedContactData {
    fn get(&self, field: &str) -> Option<String> {
        match field {
            "name" => self.name.clone(),
            "handle" => self.handle.clone(),
            "email" => self.email.clone(),
            "language" => self.language.clone(),
            "time_zone" => self.time_zone.clone(),
            "quiet_from" => self.quiet_from.map(|minutes| minutes.to_string()),
            "quiet_until" => self.quiet_until.map(|minutes| minutes.to_string()),
            "catalogue" => self.catalogue.clone(),
            _ => None,
        }
    }

    /// Whether a field can go back: the other had none of its own, and has not got another since.
    fn is_free(&self, field: &str, theirs: &Self) -> bool {
        self.moved.iter().any(|moved| moved == field) && theirs.get(field) == self.get(field)
    }
}

fn moved(kept: &MergedContactData, theirs: &MergedContactData) -> Vec<String> {
    FIELDS
        .iter()
        .filter(|field| kept.get(field).is_some() && theirs.get(field).is_none())
        .map(|field| (*field).to_owned())
        .collect()
}

async fn fields(tx: &DatabaseTransaction, contact: Uuid) -> Result<MergedContactData, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR NO KEY UPDATE");
    let row = query_one(
        tx,
        format!(
            "SELECT {} FROM contact WHERE id = $1 {lock}",
            FIELDS.join(", ")
        ),
        [contact.into()],
    )
    .await?;
    let Some(row) = row else {
        return Err(StoreError::Conflict);
    };
    read_row(&row)
}

async fn set_fields(
    tx: &DatabaseTransaction,
    contact: Uuid,
    kept: &MergedContactData,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact SET name = coalesce(name, $2), handle = coalesce(handle, $3), language = coalesce(language, $4), \
         time_zone = coalesce(time_zone, $5), quiet_from = coalesce(quiet_from, $6), quiet_until = coalesce(quiet_until, $7), \
         catalogue = coalesce(catalogue, $8), email = coalesce(email, $9) WHERE id = $1",
        [
            contact.into(),
            kept.name.clone().into(),
            kept.handle.clone().into(),
            kept.language.clone().into(),
            kept.time_zone.clone().into(),
            kept.quiet_from.into(),
            kept.quiet_until.into(),
            kept.catalogue.clone().into(),
            kept.email.clone().into(),
        ],
    )
    .await?;
    Ok(())
}

async fn users(tx: &DatabaseTransaction, contact: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        tx,
        "SELECT id FROM user_account WHERE contact_id = $1 ORDER BY id",
        [contact.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Products that know the first contact and not the second.
async fn own_products(
    tx: &DatabaseTransaction,
    one: Uuid,
    other: Uuid,
) -> Result<Vec<String>, StoreError> {
    let found = query(
        tx,
        "SELECT p.product FROM product_contact p WHERE p.contact_id = $1 AND NOT EXISTS \
         (SELECT 1 FROM product_contact o WHERE o.product = p.product AND o.contact_id = $2) ORDER BY p.product",
        [one.into(), other.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "product")).collect()
}
