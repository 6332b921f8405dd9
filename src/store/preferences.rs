//! Opt-outs, preferences and quiet hours, read in one statement.

use std::collections::HashMap;

use entity::preference;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::{
    Store, StoreError,
    bounds::of_catalogue,
    dialect::{SqlListFieldType, execute, ids, matching, query, read_row, rows},
};
use crate::{
    domain::{
        access::AccessBounds,
        preference::{ConsentScope, MessagePreference, PersonQuietHours, PersonRefusals},
        quiet::{self, QuietHours},
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// One choice of a contact; the meaning of its columns depends on the part of the statement.
#[derive(FromQueryResult)]
struct PersonRefusalRow {
    /// 1: an opt-out, 2: a preference, 3: quiet hours, 4: a deleted contact.
    part: i32,
    contact_id: Uuid,
    /// Empty: of no product.
    product: String,
    /// A scope, a kind of message, or a time zone.
    name: String,
    channel: String,
    /// 1 if the kind of message is wanted, or when quiet hours begin.
    wanted_or_from: i64,
    quiet_until: i64,
}

/// Opt-outs, preferences and quiet hours of these contacts. A contact that is missing wants
/// everything, at any time.
pub async fn of(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
) -> Result<HashMap<Uuid, PersonRefusals>, StoreError> {
    let mut all: HashMap<Uuid, PersonRefusals> = HashMap::new();
    if contacts.is_empty() {
        return Ok(all);
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let suppressed = matching(backend, &given, "suppression", "s", "s.contact_id = r.id");
    let preferred = matching(backend, &given, "preference", "p", "p.contact_id = r.id");
    let of_product = matching(
        backend,
        &given,
        "product_contact",
        "b",
        "b.contact_id = r.id",
    );
    let listed = matching(backend, &given, "contact", "c", "c.id = r.id");
    let found = query(
        connection,
        format!(
            "SELECT 1 AS part, s.contact_id, '' AS product, s.scope AS name, '' AS channel, CAST(0 AS bigint) AS wanted_or_from, \
             CAST(0 AS bigint) AS quiet_until \
             FROM {suppressed} WHERE s.wanted = false \
             UNION ALL SELECT 2, p.contact_id, p.product, p.message_kind, p.channel, CASE WHEN p.wanted THEN 1 ELSE 0 END, 0 \
             FROM {preferred} \
             UNION ALL SELECT 3, c.id, '', coalesce(c.time_zone, 'UTC'), '', c.quiet_from, c.quiet_until \
             FROM {listed} WHERE c.quiet_from IS NOT NULL \
             UNION ALL SELECT 3, b.contact_id, b.product, coalesce(b.time_zone, 'UTC'), '', b.quiet_from, b.quiet_until \
             FROM {of_product} WHERE b.quiet_from IS NOT NULL \
             UNION ALL SELECT 4, c.id, '', '', '', 0, 0 \
             FROM {listed} WHERE c.deleted_at IS NOT NULL"
        ),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    for row in &found {
        let PersonRefusalRow {
            part,
            contact_id,
            product,
            name,
            channel,
            wanted_or_from,
            quiet_until,
        } = read_row(row)?;
        let wishes = all.entry(contact_id).or_default();
        match part {
            1 if name == ConsentScope::Marketing.name() => {
                wishes.refused.push(ConsentScope::Marketing);
            }
            1 => wishes.refused.push(ConsentScope::All),
            2 => {
                let preference = MessagePreference {
                    kind: name,
                    channel,
                    wanted: wanted_or_from == 1,
                };
                if product.is_empty() {
                    wishes.preferences.push(preference);
                } else {
                    let own = wishes.of_products.entry(product).or_default();
                    own.preferences.push(preference);
                }
            }
            4 => wishes.is_deleted = true,
            _ => {
                let hours = QuietHours::stored(Some(wanted_or_from), Some(quiet_until));
                let quiet = hours
                    .zip(quiet::zone(&name))
                    .map(|(hours, zone)| PersonQuietHours { hours, zone });
                if product.is_empty() {
                    wishes.quiet = quiet;
                } else {
                    wishes.of_products.entry(product).or_default().quiet = quiet;
                }
            }
        }
    }
    Ok(all)
}

/// The owner of preferences: a product, or the shared ones.
fn owner(bounds: &AccessBounds) -> &str {
    bounds.owner().unwrap_or_default()
}

/// The preferences of one person, as far as the caller has set them.
pub async fn preferences(
    store: &Store,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<preference::Model>, StoreError> {
    Ok(preference::Entity::find()
        .filter(preference::Column::ContactId.eq(contact))
        .filter(preference::Column::Product.eq(owner(bounds)))
        .order_by_asc(preference::Column::MessageKind)
        .order_by_asc(preference::Column::Channel)
        .all(store.reader())
        .await?)
}

/// Puts these in the place of whatever a person preferred, as far as the caller has set it.
pub async fn replace_preferences(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    contact: Uuid,
    wanted: &[MessagePreference],
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM preference WHERE contact_id = $1 AND product = $2",
        [contact.into(), owner(bounds).into()],
    )
    .await?;
    for it in wanted {
        set_preference(tx, bounds, contact, it, now).await?;
    }
    Ok(())
}

/// Stores one preference of a contact, replacing an earlier one.
pub async fn set_preference(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    contact: Uuid,
    it: &MessagePreference,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO preference (contact_id, message_kind, channel, created_at, updated_at, wanted, product) \
         VALUES ($1, $2, $3, $4, $4, $5, $6) ON CONFLICT (contact_id, message_kind, channel, product) \
         DO UPDATE SET wanted = excluded.wanted, updated_at = excluded.updated_at",
        [
            contact.into(),
            it.kind.clone().into(),
            it.channel.clone().into(),
            now.micros().into(),
            it.wanted.into(),
            owner(bounds).into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes one preference of a person away that no product has set.
pub async fn forget_preference(
    tx: &DatabaseTransaction,
    contact: Uuid,
    kind: &str,
    channel: &str,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM preference WHERE contact_id = $1 AND message_kind = $2 AND channel = $3 AND product = ''",
        [contact.into(), kind.into(), channel.into()],
    )
    .await?;
    Ok(())
}

/// Kinds of message that a caller may use, by name.
pub async fn kinds(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
) -> Result<Vec<entity::message_kind::Model>, StoreError> {
    Ok(entity::message_kind::Entity::find()
        .filter(of_catalogue(bounds).condition())
        .order_by_asc(entity::message_kind::Column::Name)
        .all(connection)
        .await?)
}
