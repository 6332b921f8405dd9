//! What people wrote or tapped.

use entity::inbound_message;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute, new_id};
use crate::domain::time::Timestamp;

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct New<'a> {
    pub callback_id: Uuid,
    pub sender_id: Option<Uuid>,
    pub phone_number_id: &'a str,
    pub contact_id: Option<Uuid>,
    pub provider_message_id: &'a str,
    pub kind: &'a str,
    pub text: Option<&'a str>,
    pub payload: Option<&'a str>,
    pub context_message_id: Option<&'a str>,
    pub notification_id: Option<Uuid>,
    pub sent_at: Timestamp,
    pub item: &'a str,
}

/// Stores a message once. Says whether it is new.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: New<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = execute(
        tx,
        "INSERT INTO inbound_message (id, created_at, callback_id, sender_id, phone_number_id, contact_id, \
         provider_message_id, kind, text, payload, context_message_id, notification_id, sent_at, item) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (provider_message_id, phone_number_id) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            new.callback_id.into(),
            new.sender_id.into(),
            new.phone_number_id.into(),
            new.contact_id.into(),
            new.provider_message_id.into(),
            new.kind.into(),
            new.text.into(),
            new.payload.into(),
            new.context_message_id.into(),
            new.notification_id.into(),
            new.sent_at.micros().into(),
            new.item.into(),
        ],
    )
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// The newest messages; of one contact, when it is named.
pub async fn newest(
    store: &Store,
    contact: Option<Uuid>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<inbound_message::Model>, StoreError> {
    let mut select = inbound_message::Entity::find()
        .order_by_desc(inbound_message::Column::Id)
        .limit(limit);
    if let Some(contact) = contact {
        select = select.filter(inbound_message::Column::ContactId.eq(contact));
    }
    if let Some(before) = before {
        select = select.filter(inbound_message::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}
