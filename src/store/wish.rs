//! What people want: opt-outs, preferences and quiet hours, read in one statement.

use std::collections::HashMap;

use crate::store::DatabaseTransaction;
use entity::preference;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{Columns, Type, execute, ids, matching, query, rows},
};
use crate::domain::{
    preference::{Preference, Quiet, Scope, Wishes},
    quiet::{self, QuietHours},
    time::Timestamp,
};

/// What these people want. Who is not in it wants everything, at any time.
pub async fn of(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
) -> Result<HashMap<Uuid, Wishes>, StoreError> {
    let mut all: HashMap<Uuid, Wishes> = HashMap::new();
    if contacts.is_empty() {
        return Ok(all);
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", Type::Uuid)]);
    let suppressed = matching(backend, &given, "suppression", "s", "s.contact_id = r.id");
    let preferred = matching(backend, &given, "preference", "p", "p.contact_id = r.id");
    let listed = matching(backend, &given, "contact", "c", "c.id = r.id");
    let found = query(
        connection,
        format!(
            "SELECT 1, s.contact_id, s.scope, '', CAST(0 AS bigint), CAST(0 AS bigint) \
             FROM {suppressed} WHERE s.wanted = false \
             UNION ALL SELECT 2, p.contact_id, p.message_kind, p.channel, CASE WHEN p.wanted THEN 1 ELSE 0 END, 0 \
             FROM {preferred} \
             UNION ALL SELECT 3, c.id, coalesce(c.time_zone, 'UTC'), '', c.quiet_from, c.quiet_until \
             FROM {listed} WHERE c.quiet_from IS NOT NULL \
             UNION ALL SELECT 4, c.id, '', '', 0, 0 \
             FROM {listed} WHERE c.deleted_at IS NOT NULL"
        ),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    for row in &found {
        let mut columns = Columns::of(row);
        let part: i32 = columns.take()?;
        let wishes = all.entry(columns.take()?).or_default();
        let (one, two): (String, String) = (columns.take()?, columns.take()?);
        let (from, until): (i64, i64) = (columns.take()?, columns.take()?);
        match part {
            1 if one == Scope::Marketing.name() => wishes.refused.push(Scope::Marketing),
            1 => wishes.refused.push(Scope::All),
            2 => wishes.preferences.push(Preference {
                kind: one,
                channel: two,
                wanted: from == 1,
            }),
            4 => wishes.is_deleted = true,
            _ => {
                let hours = QuietHours::stored(Some(from), Some(until));
                wishes.quiet = hours
                    .zip(quiet::zone(&one))
                    .map(|(hours, zone)| Quiet { hours, zone });
            }
        }
    }
    Ok(all)
}

/// The preferences of one person.
pub async fn preferences(
    store: &Store,
    contact: Uuid,
) -> Result<Vec<preference::Model>, StoreError> {
    Ok(preference::Entity::find()
        .filter(preference::Column::ContactId.eq(contact))
        .order_by_asc(preference::Column::MessageKind)
        .order_by_asc(preference::Column::Channel)
        .all(store.reader())
        .await?)
}

/// Puts these in the place of whatever a person preferred.
pub async fn replace_preferences(
    tx: &DatabaseTransaction,
    contact: Uuid,
    wanted: &[Preference],
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM preference WHERE contact_id = $1",
        [contact.into()],
    )
    .await?;
    for it in wanted {
        set_preference(tx, contact, it, now).await?;
    }
    Ok(())
}

/// Notes one preference of a person, in the place of the same one before.
pub async fn set_preference(
    tx: &DatabaseTransaction,
    contact: Uuid,
    it: &Preference,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO preference (contact_id, message_kind, channel, created_at, updated_at, wanted) \
         VALUES ($1, $2, $3, $4, $4, $5) ON CONFLICT (contact_id, message_kind, channel) \
         DO UPDATE SET wanted = excluded.wanted, updated_at = excluded.updated_at",
        [
            contact.into(),
            it.kind.clone().into(),
            it.channel.clone().into(),
            now.micros().into(),
            it.wanted.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Takes one preference of a person away.
pub async fn forget_preference(
    tx: &DatabaseTransaction,
    contact: Uuid,
    kind: &str,
    channel: &str,
) -> Result<(), StoreError> {
    execute(
        tx,
        "DELETE FROM preference WHERE contact_id = $1 AND message_kind = $2 AND channel = $3",
        [contact.into(), kind.into(), channel.into()],
    )
    .await?;
    Ok(())
}

/// Kinds of message, by name.
pub async fn kinds(
    connection: &impl ConnectionTrait,
) -> Result<Vec<entity::message_kind::Model>, StoreError> {
    Ok(entity::message_kind::Entity::find()
        .order_by_asc(entity::message_kind::Column::Name)
        .all(connection)
        .await?)
}
