//! What came by an alias goes to whoever had it then.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::alias;
use crate::{
    domain::{
        identity::{Alias, AliasKind},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{Columns, Type, execute, ids, matching, query, rows},
    },
};

/// A message of a person, as far as it says whose it is and what it opened.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: Uuid,
    pub contact: Uuid,
    /// The surest first.
    pub aliases: Vec<Alias>,
    pub sender: Option<Uuid>,
    pub at: Timestamp,
    pub window_until: Option<Timestamp>,
    pub free_until: Option<Timestamp>,
}

/// What these contacts have written, as far as it is kept.
pub async fn messages(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
) -> Result<Vec<Message>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", Type::Uuid)]);
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
            let mut columns = Columns::of(row);
            let (id, contact) = (columns.take()?, columns.take()?);
            let mut aliases = Vec::new();
            for kind in [AliasKind::UserId, AliasKind::Phone, AliasKind::ParentUserId] {
                let value: Option<String> = columns.take()?;
                if let Some(value) = value {
                    aliases.push(alias("inbound_message", kind.name(), value)?);
                }
            }
            let instant = |value: Option<i64>| value.map(Timestamp::from_micros);
            Ok(Message {
                id,
                contact,
                aliases,
                sender: columns.take()?,
                at: Timestamp::from_micros(columns.take()?),
                window_until: instant(columns.take()?),
                free_until: instant(columns.take()?),
            })
        })
        .collect()
}

/// Says whose a message is.
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

/// Gives a contact what was sent to an alias of its own while it had it. After a move only what
/// was for the number itself: what was for a person by name stays theirs. A turn with the one is
/// none with the other.
pub async fn take_notifications(
    tx: &DatabaseTransaction,
    from: Uuid,
    to: Uuid,
    alias: &Alias,
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
