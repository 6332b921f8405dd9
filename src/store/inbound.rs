//! Inbound messages: what people wrote or tapped.

use std::borrow::Cow;

use entity::inbound_message;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Store, StoreError, bounds::of_messages, dialect::execute, new_id};
use crate::{
    domain::{
        access::AccessBounds,
        identity::{ContactAlias, ContactAliasKind},
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// A provider's id with its name space: the id of a voice call may also be that of a message, such
/// as of the voicemail that the call ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundProviderId<'a> {
    Message(&'a str),
    Call(&'a str),
}

const CALL: &str = "call:";
const MESSAGE: &str = "message:";

impl<'a> InboundProviderId<'a> {
    /// As it is stored, in one column: no two are stored alike.
    fn stored(self) -> Cow<'a, str> {
        match self {
            Self::Call(id) => Cow::Owned(format!("{CALL}{id}")),
            Self::Message(id) if id.starts_with(CALL) || id.starts_with(MESSAGE) => {
                Cow::Owned(format!("{MESSAGE}{id}"))
            }
            Self::Message(id) => Cow::Borrowed(id),
        }
    }

    /// The id that is stored.
    pub fn of(stored: &'a str) -> Self {
        match (stored.strip_prefix(CALL), stored.strip_prefix(MESSAGE)) {
            (Some(id), _) => Self::Call(id),
            (None, Some(id)) => Self::Message(id),
            (None, None) => Self::Message(stored),
        }
    }

    /// The provider's id.
    pub const fn id(self) -> &'a str {
        match self {
            Self::Message(id) | Self::Call(id) => id,
        }
    }
}

/// A message to be stored.
#[derive(Clone, Debug)]
pub struct NewInboundMessage<'a> {
    pub callback_id: Uuid,
    pub sender_id: Option<Uuid>,
    pub endpoint_id: &'a str,
    pub contact_id: Option<Uuid>,
    pub provider_id: InboundProviderId<'a>,
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
    pub aliases: &'a [ContactAlias],
    /// Until when it opens the service window, if it does.
    pub window_until: Option<Timestamp>,
    /// Until when it makes messages free, if it does.
    pub free_until: Option<Timestamp>,
}

/// Stores a message once. Returns whether it is new.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewInboundMessage<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let from = |kind: ContactAliasKind| {
        let alias = new.aliases.iter().find(|alias| alias.kind == kind);
        alias.map(|alias| alias.value.clone())
    };
    let inserted = execute(
        tx,
        "INSERT INTO inbound_message (id, created_at, callback_id, sender_id, endpoint_id, contact_id, \
         provider_message_id, kind, text, payload, context_message_id, notification_id, sent_at, item, group_id, media_id, read_due_at, \
         from_phone, from_user_id, from_parent_user_id, window_until, free_entry_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) \
         ON CONFLICT (provider_message_id, endpoint_id) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            new.callback_id.into(),
            new.sender_id.into(),
            new.endpoint_id.into(),
            new.contact_id.into(),
            new.provider_id.stored().into_owned().into(),
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
            from(ContactAliasKind::Phone).into(),
            from(ContactAliasKind::UserId).into(),
            from(ContactAliasKind::ParentUserId).into(),
            new.window_until.map(Timestamp::micros).into(),
            new.free_until.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(inserted.rows_affected() > 0)
}

/// The message or call of an id at a number, locked.
pub async fn lock(
    tx: &DatabaseTransaction,
    id: InboundProviderId<'_>,
    endpoint_id: &str,
) -> Result<Option<inbound_message::Model>, StoreError> {
    let found = inbound_message::Entity::find()
        .filter(inbound_message::Column::ProviderMessageId.eq(id.stored().into_owned()))
        .filter(inbound_message::Column::EndpointId.eq(endpoint_id));
    // SQLite has one writer, and no word for it.
    let found = if tx.get_database_backend() == DbBackend::Postgres {
        found.lock_exclusive()
    } else {
        found
    };
    Ok(found.one(tx).await?)
}

/// Replaces the stored record of a call.
pub async fn set_call(
    tx: &DatabaseTransaction,
    id: Uuid,
    item: &str,
    contact_id: Option<Uuid>,
    media_id: Option<&str>,
    sent_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE inbound_message SET item = $2, contact_id = coalesce(contact_id, $3), media_id = $4, sent_at = $5 WHERE id = $1",
        [
            id.into(),
            item.into(),
            contact_id.into(),
            media_id.into(),
            sent_at.micros().into(),
        ],
    )
    .await?;
    Ok(())
}

/// Messages by the provider's ids, within the caller's bounds.
pub async fn of_provider_ids(
    store: &Store,
    bounds: &AccessBounds,
    ids: &[&str],
) -> Result<Vec<inbound_message::Model>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let stored = ids
        .iter()
        .map(|id| InboundProviderId::Message(id).stored().into_owned());
    Ok(inbound_message::Entity::find()
        .filter(of_messages(bounds))
        .filter(inbound_message::Column::ProviderMessageId.is_in(stored))
        .all(store.reader())
        .await?)
}

/// Which messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundListFilter {
    pub contact: Option<Uuid>,
    pub since: Option<Timestamp>,
    pub before: Option<Uuid>,
}

/// The newest messages that a caller may read.
pub async fn newest(
    store: &Store,
    bounds: &AccessBounds,
    filter: InboundListFilter,
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
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<Option<inbound_message::Model>, StoreError> {
    Ok(inbound_message::Entity::find_by_id(id)
        .filter(of_messages(bounds))
        .one(connection)
        .await?)
}

/// The sender that a message was written to which the provider calls this, if a caller may read it.
pub async fn sender_of(
    connection: &impl ConnectionTrait,
    bounds: &AccessBounds,
    message: &str,
) -> Result<Option<Uuid>, StoreError> {
    let stored = InboundProviderId::Message(message).stored();
    let found = inbound_message::Entity::find()
        .filter(inbound_message::Column::ProviderMessageId.eq(stored.as_ref()))
        .filter(of_messages(bounds))
        .one(connection)
        .await?;
    Ok(found.and_then(|row| row.sender_id))
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

/// Sets when a message is to be marked as read next; never, once that is done or given up.
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

/// Stores until when a message or call opened the service window.
pub async fn set_window(
    tx: &DatabaseTransaction,
    id: Uuid,
    until: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE inbound_message SET window_until = $2 WHERE id = $1",
        [id.into(), until.micros().into()],
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::InboundProviderId;

    #[test]
    fn ids_of_different_name_spaces_are_never_stored_alike() {
        let ids = [
            "wacid.1",
            "call:wacid.1",
            "message:wacid.1",
            "message:call:wacid.1",
            "",
        ];
        let mut stored = std::collections::HashSet::new();
        for id in ids {
            for of in [InboundProviderId::Message(id), InboundProviderId::Call(id)] {
                let text = of.stored().into_owned();
                assert_eq!(InboundProviderId::of(&text), of);
                assert!(stored.insert(text), "{of:?}");
            }
        }
    }
}
