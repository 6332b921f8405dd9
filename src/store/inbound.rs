//! What people wrote or tapped.

use crate::store::DatabaseTransaction;
use entity::inbound_message;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Store, StoreError, bounds::of_messages, dialect::execute, new_id};
use crate::domain::{
    access::Bounds,
    identity::{Alias, AliasKind},
    time::Timestamp,
};

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
    pub group_id: Option<&'a str>,
    pub media_id: Option<&'a str>,
    /// When it is to be marked as read, if it is.
    pub read_due_at: Option<Timestamp>,
    /// The aliases that it came from.
    pub aliases: &'a [Alias],
    /// Until when it opens the service window, if it does.
    pub window_until: Option<Timestamp>,
    /// Until when it makes messages free, if it does.
    pub free_until: Option<Timestamp>,
}

/// Stores a message once. Says whether it is new.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: New<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let from = |kind: AliasKind| {
        let alias = new.aliases.iter().find(|alias| alias.kind == kind);
        alias.map(|alias| alias.value.clone())
    };
    let inserted = execute(
        tx,
        "INSERT INTO inbound_message (id, created_at, callback_id, sender_id, phone_number_id, contact_id, \
         provider_message_id, kind, text, payload, context_message_id, notification_id, sent_at, item, group_id, media_id, read_due_at, \
         from_phone, from_user_id, from_parent_user_id, window_until, free_entry_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) \
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
            new.group_id.into(),
            new.media_id.into(),
            new.read_due_at.map(Timestamp::micros).into(),
            from(AliasKind::Phone).into(),
            from(AliasKind::UserId).into(),
            from(AliasKind::ParentUserId).into(),
            new.window_until.map(Timestamp::micros).into(),
            new.free_until.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// Which messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub contact: Option<Uuid>,
    pub since: Option<Timestamp>,
    pub before: Option<Uuid>,
}

/// The newest messages that a caller may read.
pub async fn newest(
    store: &Store,
    bounds: &Bounds,
    filter: Filter,
    limit: u64,
) -> Result<Vec<inbound_message::Model>, StoreError> {
    let mut select = inbound_message::Entity::find()
        .filter(of_messages(bounds))
        .order_by_desc(inbound_message::Column::Id)
        .limit(limit);
    if let Some(contact) = filter.contact {
        select = select.filter(inbound_message::Column::ContactId.eq(contact));
    }
    if let Some(since) = filter.since {
        select = select.filter(inbound_message::Column::SentAt.gte(since.micros()));
    }
    if let Some(before) = filter.before {
        select = select.filter(inbound_message::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}

/// One message that a caller may read.
pub async fn find(
    store: &Store,
    bounds: &Bounds,
    id: Uuid,
) -> Result<Option<inbound_message::Model>, StoreError> {
    Ok(inbound_message::Entity::find_by_id(id)
        .filter(of_messages(bounds))
        .one(store.reader())
        .await?)
}

/// Messages of a sender that are to be marked as read, longest due first.
pub async fn to_be_read(
    store: &Store,
    sender: Uuid,
    now: Timestamp,
    limit: u64,
) -> Result<Vec<inbound_message::Model>, StoreError> {
    Ok(inbound_message::Entity::find()
        .filter(inbound_message::Column::ReadDueAt.lte(now.micros()))
        .filter(inbound_message::Column::SenderId.eq(sender))
        .order_by_asc(inbound_message::Column::ReadDueAt)
        .limit(limit)
        .all(store.reader())
        .await?)
}

/// Notes when a message is to be marked as read next; never, when that was done or is given up.
pub async fn set_read_due(
    tx: &DatabaseTransaction,
    id: Uuid,
    due_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE inbound_message SET read_due_at = $2 WHERE id = $1",
        [id.into(), due_at.map(Timestamp::micros).into()],
    )
    .await?;
    Ok(())
}
