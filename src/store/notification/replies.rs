//! Erases from timelines what deleted people replied.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{load_readable, save_records};
use crate::{
    domain::timeline::{TimelineEntryKind, without_reply},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, ids, listed, locking, nullable, query},
    },
};

/// The next notifications to these contacts, in the order of their ids.
pub async fn of_contacts_after(
    connection: &impl ConnectionTrait,
    contacts: &[Uuid],
    id: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let mut next = Vec::new();
    for contact in contacts {
        let found = query(
            connection,
            "SELECT id FROM notification WHERE contact_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            [(*contact).into(), id.into(), limit.into()],
        )
        .await?;
        for row in &found {
            next.push(column(row, "id")?);
        }
    }
    next.sort_unstable();
    next.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(next)
}

/// Erases what the timelines of these notifications say of replies, but that there were some.
pub async fn erase_replies(
    tx: &DatabaseTransaction,
    notifications: &[Uuid],
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let given = || ids(notifications.iter().copied());
    let lock = locking(backend, "FOR UPDATE");
    let those = listed(backend, "id");
    query(
        tx,
        format!("SELECT id FROM notification WHERE {those} ORDER BY id {lock}"),
        [given()?],
    )
    .await?;
    let mut loaded = load_readable(tx, notifications).await?;
    for loaded in &mut loaded {
        match loaded.erase_replies() {
            // One that cannot be read stops no other.
            Ok(()) | Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    save_records(tx, &mut loaded).await?;
    let those = listed(backend, "notification_id");
    let lines = query(
        tx,
        format!(
            "SELECT notification_id, id, detail FROM timeline WHERE {those} AND kind IN ($2, $3)"
        ),
        [
            given()?,
            TimelineEntryKind::Replied.name().into(),
            TimelineEntryKind::Ignored.name().into(),
        ],
    )
    .await?;
    for line in &lines {
        let detail: Option<String> = nullable(line, "detail")?;
        let Some(left) = detail.as_deref().and_then(without_reply) else {
            continue;
        };
        let (notification, id): (Uuid, Uuid) =
            (column(line, "notification_id")?, column(line, "id")?);
        execute(
            tx,
            "UPDATE timeline SET detail = $3 WHERE notification_id = $1 AND id = $2",
            [notification.into(), id.into(), left.into()],
        )
        .await?;
    }
    Ok(())
}
