//! Erases what was made of callbacks: inbound messages, dead letters, parked statuses and notices.

use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            SqlListFieldType, column, execute, ids, listed, matching, nullable, query, rows,
        },
        inbound::InboundProviderId,
    },
};

/// An inbound message, by what says whose it is.
#[derive(Clone, Debug)]
pub struct ErasableInboundMessage {
    pub id: Uuid,
    pub callback: Uuid,
    pub contact: Option<Uuid>,
    /// The provider's.
    pub message_id: String,
    /// The aliases that it came from.
    pub aliases: Vec<String>,
    pub is_erased: bool,
}

/// The messages of the callbacks between two, both inclusive.
pub async fn messages_between(
    connection: &impl ConnectionTrait,
    first: Uuid,
    last: Uuid,
) -> Result<Vec<ErasableInboundMessage>, StoreError> {
    let found = query(
        connection,
        "SELECT id, callback_id, contact_id, provider_message_id, from_phone, from_user_id, from_parent_user_id, erased_at \
         FROM inbound_message WHERE callback_id >= $1 AND callback_id <= $2",
        [first.into(), last.into()],
    )
    .await?;
    let mut messages = Vec::with_capacity(found.len());
    for row in &found {
        let stored: String = column(row, "provider_message_id")?;
        let mut aliases = Vec::new();
        for name in ["from_phone", "from_user_id", "from_parent_user_id"] {
            aliases.extend(nullable::<String>(row, name)?);
        }
        messages.push(ErasableInboundMessage {
            id: column(row, "id")?,
            callback: column(row, "callback_id")?,
            contact: nullable(row, "contact_id")?,
            message_id: InboundProviderId::of(&stored).id().to_owned(),
            aliases,
            is_erased: nullable::<i64>(row, "erased_at")?.is_some(),
        });
    }
    Ok(messages)
}

/// Up to so many messages of these contacts that are not erased.
pub async fn messages_of(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let written = matching(
        backend,
        &given,
        "inbound_message",
        "m",
        "m.contact_id = r.id",
    );
    let found = query(
        connection,
        format!("SELECT m.id FROM {written} WHERE m.erased_at IS NULL LIMIT $2"),
        [ids(contacts.iter().copied())?, limit.into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Erases what people wrote, and by what they are known. The provider's id stays: the message must be
/// recognized when it comes in another callback.
pub async fn erase_messages(
    tx: &DatabaseTransaction,
    messages: &[Uuid],
    now: Timestamp,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let those = listed(tx.get_database_backend(), "id");
    execute(
        tx,
        format!(
            "UPDATE inbound_message SET text = NULL, payload = NULL, item = '', media_id = NULL, group_id = NULL, \
             context_message_id = NULL, from_phone = NULL, from_user_id = NULL, from_parent_user_id = NULL, \
             read_due_at = NULL, window_until = NULL, free_entry_until = NULL, erased_at = $2 \
             WHERE {those} AND erased_at IS NULL"
        ),
        [ids(messages.iter().copied())?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// A notice, by what says whose it is.
#[derive(Clone, Debug)]
pub struct ErasableNotice {
    pub id: Uuid,
    pub outcome: String,
    pub item: String,
}

/// The notices of callbacks.
pub async fn notices_of(
    connection: &impl ConnectionTrait,
    callbacks: &[Uuid],
) -> Result<Vec<ErasableNotice>, StoreError> {
    if callbacks.is_empty() {
        return Ok(Vec::new());
    }
    let those = listed(connection.get_database_backend(), "callback_id");
    let found = query(
        connection,
        format!("SELECT id, outcome, item FROM notice WHERE {those}"),
        [ids(callbacks.iter().copied())?],
    )
    .await?;
    found.iter().map(notice).collect()
}

/// The next notices, in the order of their ids: they are kept for longer than their callbacks.
pub async fn notices_after(
    connection: &impl ConnectionTrait,
    id: Uuid,
    limit: i64,
) -> Result<Vec<ErasableNotice>, StoreError> {
    let found = query(
        connection,
        "SELECT id, outcome, item FROM notice WHERE id > $1 ORDER BY id LIMIT $2",
        [id.into(), limit.into()],
    )
    .await?;
    found.iter().map(notice).collect()
}

fn notice(row: &QueryResult) -> Result<ErasableNotice, StoreError> {
    Ok(ErasableNotice {
        id: column(row, "id")?,
        outcome: column(row, "outcome")?,
        item: column(row, "item")?,
    })
}

/// Erases what else was made of these callbacks: their dead letters, which can no more be replayed,
/// their parked statuses, and the content of these notices.
pub async fn erase_items(
    tx: &DatabaseTransaction,
    callbacks: &[Uuid],
    notices: &[Uuid],
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    if !callbacks.is_empty() {
        let those = listed(backend, "callback_id");
        for table in ["parked_status", "dead_letter"] {
            let given = [ids(callbacks.iter().copied())?];
            execute(tx, format!("DELETE FROM {table} WHERE {those}"), given).await?;
        }
    }
    if !notices.is_empty() {
        let those = listed(backend, "id");
        let given = [ids(notices.iter().copied())?];
        let sql = format!("UPDATE notice SET item = 'null' WHERE {those}");
        execute(tx, sql, given).await?;
    }
    Ok(())
}
