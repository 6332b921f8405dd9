//! Moves messages from an alias to the contact that had the alias at their time.

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasKind},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{SqlListFieldType, execute, ids, matching, query, read_row, rows},
    },
};

/// A person's message: its contact and the window it opened.
#[derive(Clone, Debug)]
pub struct ReattributedInboundMessage {
    pub id: Uuid,
    pub contact: Uuid,
    /// The surest first.
    pub aliases: Vec<ContactAlias>,
    pub sender: Option<Uuid>,
    pub at: Timestamp,
    pub window_until: Option<Timestamp>,
    pub free_until: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct ReattributedInboundMessageRow {
    id: Uuid,
    contact_id: Uuid,
    from_user_id: Option<String>,
    from_phone: Option<String>,
    from_parent_user_id: Option<String>,
    sender_id: Option<Uuid>,
    sent_at: Timestamp,
    window_until: Option<Timestamp>,
    free_entry_until: Option<Timestamp>,
}

impl From<ReattributedInboundMessageRow> for ReattributedInboundMessage {
    fn from(row: ReattributedInboundMessageRow) -> Self {
        let aliases = [
            (ContactAliasKind::UserId, row.from_user_id),
            (ContactAliasKind::Phone, row.from_phone),
            (ContactAliasKind::ParentUserId, row.from_parent_user_id),
        ];
        Self {
            id: row.id,
            contact: row.contact_id,
            aliases: aliases
                .into_iter()
                .filter_map(|(kind, value)| {
                    Some(ContactAlias {
                        kind,
                        value: value?,
                    })
                })
                .collect(),
            sender: row.sender_id,
            at: row.sent_at,
            window_until: row.window_until,
            free_until: row.free_entry_until,
        }
    }
}

/// The stored messages that these contacts have written.
pub async fn messages(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
) -> Result<Vec<ReattributedInboundMessage>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let written = matching(
        backend,
        &given,
        "inbound_message",
        "m",
        "m.contact_id = r.id",
    );
    let found = query(
        tx,
        format!(
            "SELECT m.id, m.contact_id, m.from_user_id, m.from_phone, m.from_parent_user_id, m.sender_id, m.sent_at, \
             m.window_until, m.free_entry_until FROM {written}"
        ),
        [ids(contacts.iter().copied())?],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(ReattributedInboundMessage::from(read_row::<
                ReattributedInboundMessageRow,
            >(row)?))
        })
        .collect()
}

/// Sets the contact of a message.
pub async fn set_contact(
    tx: &DatabaseTransaction,
    message: Uuid,
    contact: Uuid,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE inbound_message SET contact_id = $2 WHERE id = $1",
        [message.into(), contact.into()],
    )
    .await?;
    Ok(())
}

/// Moves to a contact the notifications sent to one of its aliases while it had the alias. After a
/// move only those addressed to the number itself: messages addressed to a person by name stay
/// theirs. A turn with the former contact is dropped.
pub async fn take_notifications(
    tx: &DatabaseTransaction,
    from: Uuid,
    to: Uuid,
    alias: &ContactAlias,
    since: Timestamp,
) -> Result<(), StoreError> {
    let named = if since.micros() > 0 {
        " AND recipient = $3"
    } else {
        ""
    };
    execute(
        tx,
        format!(
            "UPDATE notification SET contact_id = $2, due_at = CASE WHEN held_for = 'turn' THEN updated_at ELSE due_at END, \
             held_for = CASE WHEN held_for = 'turn' THEN NULL ELSE held_for END \
             WHERE contact_id = $1 AND address = $3 AND created_at >= $4{named}"
        ),
        [
            from.into(),
            to.into(),
            alias.value.clone().into(),
            since.micros().max(0).into(),
        ],
    )
    .await?;
    Ok(())
}
