//! Conversations of a sender and a contact: the service window.

use std::collections::HashSet;

use entity::conversation;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::{
    Store, StoreError,
    bounds::of_windows,
    dialect::{
        SqlListFieldType, column, execute, ids, locking, matching, nullable, query, query_one,
        read_row, rows,
    },
};
use crate::{
    domain::{access::AccessBounds, time::Timestamp, window},
    store::DatabaseTransaction,
};

/// A message or a call from a person.
#[derive(Clone, Copy, Debug)]
pub struct ServiceWindowOpening {
    pub sender: Uuid,
    pub contact: Uuid,
    pub at: Timestamp,
    /// End of the service window that it opens.
    pub until: Timestamp,
    /// When the window is to be reported; `None` if it was over before the message arrived.
    pub wake_at: Option<Timestamp>,
    /// End of the free period, if the message came through an advertisement.
    pub free_until: Option<Timestamp>,
}

/// Records it: the window only ever moves forward.
pub async fn open_window(
    tx: &DatabaseTransaction,
    heard: ServiceWindowOpening,
    now: Timestamp,
) -> Result<(), StoreError> {
    let later = |column: &str| {
        format!(
            "{column} = CASE WHEN coalesce(conversation.{column}, 0) < coalesce(excluded.{column}, 0) \
             THEN excluded.{column} ELSE conversation.{column} END"
        )
    };
    execute(
        tx,
        format!(
            "INSERT INTO conversation (sender_id, contact_id, created_at, last_inbound_at, window_until, wake_at, free_entry_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (sender_id, contact_id) DO UPDATE SET \
             wake_at = CASE WHEN coalesce(conversation.window_until, 0) < excluded.window_until \
             THEN excluded.wake_at ELSE conversation.wake_at END, {}, {}, {}",
            later("last_inbound_at"),
            later("window_until"),
            later("free_entry_until"),
        ),
        [
            heard.sender.into(),
            heard.contact.into(),
            now.micros().into(),
            heard.at.micros().into(),
            heard.until.micros().into(),
            heard.wake_at.map(Timestamp::micros).into(),
            heard.free_until.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(())
}

/// How a conversation of the sender `$2` is found.
pub(super) const PAIR: &str = "c.sender_id = $2 AND c.contact_id = r.id";

/// End of a contact's window.
pub async fn window_until(
    connection: &impl ConnectionTrait,
    sender: Uuid,
    contact: Uuid,
) -> Result<Option<Timestamp>, StoreError> {
    let row = query_one(
        connection,
        "SELECT window_until FROM conversation WHERE sender_id = $1 AND contact_id = $2",
        [sender.into(), contact.into()],
    )
    .await?;
    row.map_or(Ok(None), |row| nullable(&row, "window_until"))
}

/// The contacts among these that may get free text at a time, in one statement.
pub async fn open_at(
    connection: &impl ConnectionTrait,
    sender: Uuid,
    contacts: &[Uuid],
    at: Timestamp,
) -> Result<HashSet<Uuid>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let pairs = matching(backend, &given, "conversation", "c", PAIR);
    let found = query(
        connection,
        format!("SELECT c.contact_id, c.window_until FROM {pairs}"),
        [ids(contacts.iter().copied())?, sender.into()],
    )
    .await?;
    let mut open = HashSet::new();
    for row in &found {
        if window::is_open(nullable(row, "window_until")?, at) {
            open.insert(column(row, "contact_id")?);
        }
    }
    Ok(open)
}

/// Whether the closing or the end of a window is due to be reported.
pub async fn any_woken(store: &Store, now: Timestamp) -> Result<bool, StoreError> {
    Ok(query_one(
        store.by_index(),
        "SELECT contact_id FROM conversation WHERE wake_at IS NOT NULL AND wake_at <= $1 ORDER BY wake_at LIMIT 1",
        [now.micros().into()],
    )
    .await?
    .is_some())
}

/// A window that is closing or closed.
#[derive(Clone, Copy, Debug)]
pub struct DueServiceWindow {
    pub sender: Uuid,
    pub contact: Uuid,
    pub until: Timestamp,
}

/// Locks windows that are due to be reported, longest due first.
pub async fn woken(
    tx: &DatabaseTransaction,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DueServiceWindow>, StoreError> {
    let skip = locking(tx.get_database_backend(), "FOR UPDATE SKIP LOCKED");
    let found = query(
        tx,
        format!(
            "SELECT sender_id, contact_id, window_until FROM conversation \
             WHERE wake_at IS NOT NULL AND wake_at <= $1 ORDER BY wake_at LIMIT $2 {skip}"
        ),
        [now.micros().into(), limit.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let until: Option<Timestamp> = nullable(row, "window_until")?;
            Ok(DueServiceWindow {
                sender: column(row, "sender_id")?,
                contact: column(row, "contact_id")?,
                until: until.unwrap_or_default(),
            })
        })
        .collect()
}

/// A window that closes soon.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ClosingServiceWindow {
    /// The person's name or number.
    pub who: String,
    #[sea_orm(from_alias = "window_until")]
    pub until: Timestamp,
}

/// The windows that close next.
pub async fn closing(
    store: &Store,
    after: Timestamp,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<ClosingServiceWindow>, StoreError> {
    // By the index of the contact, never by that of the kind.
    let found = query(
        store.reader(),
        "SELECT coalesce(c.name, (SELECT min(a.value) FROM contact_alias a WHERE a.contact_id = w.contact_id \
         AND a.kind || '' = 'phone' AND a.superseded_at IS NULL), 'a contact without a number') AS who, w.window_until \
         FROM conversation w LEFT JOIN contact c ON c.id = w.contact_id \
         WHERE w.window_until IS NOT NULL AND w.window_until > $1 AND w.window_until <= $2 ORDER BY w.window_until LIMIT $3",
        [
            after.micros().into(),
            before.micros().into(),
            limit.into(),
        ],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Sets when a window is to be reported next.
pub async fn set_wake(
    tx: &DatabaseTransaction,
    sender: Uuid,
    contact: Uuid,
    wake_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE conversation SET wake_at = $3 WHERE sender_id = $1 AND contact_id = $2",
        [
            sender.into(),
            contact.into(),
            wake_at.map(Timestamp::micros).into(),
        ],
    )
    .await?;
    Ok(())
}

/// The conversations of one contact.
pub async fn of_contact(
    store: &Store,
    bounds: &AccessBounds,
    contact: Uuid,
) -> Result<Vec<conversation::Model>, StoreError> {
    Ok(conversation::Entity::find()
        .filter(conversation::Column::ContactId.eq(contact))
        .filter(of_windows(bounds, contact))
        // Without a window, the row only holds the pair pace.
        .filter(conversation::Column::WindowUntil.is_not_null())
        .order_by_asc(conversation::Column::SenderId)
        .all(store.reader())
        .await?)
}
