//! Erases from stored own events what a person is called and wrote.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    domain::own_event::SOURCE,
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, query},
    },
};

/// An own event that routes answer.
#[derive(Clone, Debug)]
pub struct ErasableEvent {
    pub id: Uuid,
    pub external_id: String,
    pub event_type: String,
    /// Its routes are being run: they read its data.
    pub is_expanding: bool,
    /// As JSON.
    pub data: String,
}

/// The next own events, in the order of their external ids.
pub async fn own_events_after(
    connection: &impl ConnectionTrait,
    external_id: &str,
    limit: i64,
) -> Result<Vec<ErasableEvent>, StoreError> {
    let found = query(
        connection,
        "SELECT id, external_id, event_type, state, data FROM event WHERE source = $1 AND external_id > $2 \
         ORDER BY external_id LIMIT $3",
        [SOURCE.into(), external_id.into(), limit.into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(ErasableEvent {
                id: column(row, "id")?,
                external_id: column(row, "external_id")?,
                event_type: column(row, "event_type")?,
                is_expanding: column::<String>(row, "state")? == "expanding",
                data: column(row, "data")?,
            })
        })
        .collect()
}

/// Replaces the data of an event.
pub async fn erase_event(tx: &DatabaseTransaction, id: Uuid, data: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE event SET data = $2 WHERE id = $1",
        [id.into(), data.into()],
    )
    .await?;
    Ok(())
}
