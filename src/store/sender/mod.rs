//! Senders: the accounts that can send, their pace and their holds.

mod health;
mod manage;

pub use health::{
    StoredSenderHealth, any_silent, expects, is_called, set_display_number, set_health,
    set_last_seen, settle_account, silent,
};
pub use manage::{
    NewSenderRow, SenderRowChanges, ensure, forget_trouble, insert, make_default, set,
    set_reported_pace, settings_of, switch,
};

use entity::sender;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute};
use crate::{
    domain::{pace, time::Timestamp},
    store::DatabaseTransaction,
};

/// The sender of an endpoint id.
pub async fn by_endpoint_id(
    connection: &impl ConnectionTrait,
    endpoint_id: &str,
) -> Result<Option<sender::Model>, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::EndpointId.eq(endpoint_id))
        .one(connection)
        .await?)
}

/// Whether any sender names this app.
pub async fn any_of_app(
    connection: &impl ConnectionTrait,
    app_id: Option<&str>,
) -> Result<bool, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::AppId.eq(app_id))
        .one(connection)
        .await?
        .is_some())
}

/// The sender that is used when none is named.
pub async fn default_one(
    connection: &impl ConnectionTrait,
) -> Result<Option<sender::Model>, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::IsDefault.eq(true))
        .one(connection)
        .await?)
}

pub async fn find(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<sender::Model>, StoreError> {
    Ok(sender::Entity::find_by_id(id).one(connection).await?)
}

pub async fn all(store: &Store) -> Result<Vec<sender::Model>, StoreError> {
    Ok(sender::Entity::find()
        .order_by_asc(sender::Column::Id)
        .all(store.reader())
        .await?)
}

/// The sender of a name.
pub async fn by_name(
    connection: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<sender::Model>, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::Name.eq(name))
        .one(connection)
        .await?)
}

/// The sender of a name or an id, as people say it.
pub async fn named(
    connection: &impl ConnectionTrait,
    text: &str,
) -> Result<Option<sender::Model>, StoreError> {
    match Uuid::parse_str(text) {
        Ok(id) => find(connection, id).await,
        Err(_name) => by_name(connection, text).await,
    }
}

/// Locks a sender's row, to take of its pace or to note its health.
pub async fn lock(tx: &DatabaseTransaction, id: Uuid) -> Result<Option<sender::Model>, StoreError> {
    let found = sender::Entity::find_by_id(id);
    // SQLite has one writer, and no word for it.
    let found = if tx.get_database_backend() == DbBackend::Postgres {
        found.lock_exclusive()
    } else {
        found
    };
    Ok(found.one(tx).await?)
}

/// Stores how much of the pace is taken.
pub async fn set_pace(
    tx: &DatabaseTransaction,
    id: Uuid,
    next_at: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET pace_next_at = $2 WHERE id = $1",
        [id.into(), next_at.micros().into()],
    )
    .await?;
    Ok(())
}

/// Stores how much of the pace is taken, unless another process has taken from it since the row was
/// read. Returns whether it was stored.
pub async fn take_pace(
    store: &Store,
    row: &sender::Model,
    next_at: Timestamp,
) -> Result<bool, StoreError> {
    let taken = store
        .write_alone(
            "UPDATE sender SET pace_next_at = $2 WHERE id = $1 AND pace_next_at = $3",
            [
                row.id.into(),
                next_at.micros().into(),
                row.pace_next_at.into(),
            ],
        )
        .await?;
    Ok(taken > 0)
}

/// Gives back the pace taken up to `taken` from `back` on, unless another process has taken from it
/// since.
pub async fn give_back_pace(
    store: &Store,
    id: Uuid,
    taken: Timestamp,
    back: Timestamp,
) -> Result<(), StoreError> {
    store
        .write_alone(
            "UPDATE sender SET pace_next_at = $2 WHERE id = $1 AND pace_next_at = $3",
            [id.into(), back.micros().into(), taken.micros().into()],
        )
        .await?;
    Ok(())
}

/// Slows a sender down after its provider reported a rate limit.
pub async fn slow_down(
    tx: &DatabaseTransaction,
    id: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(row) = lock(tx, id).await? else {
        return Ok(());
    };
    let slowed_at = Timestamp::from_micros(row.slowed_at);
    if let Some(slowed_to) = pace::slower(row.slowed_to, slowed_at, now) {
        execute(
            tx,
            "UPDATE sender SET slowed_to = $2, slowed_at = $3 WHERE id = $1",
            [id.into(), slowed_to.into(), now.micros().into()],
        )
        .await?;
    }
    Ok(())
}

/// Holds the marketing of a sender until a time, if it is not held for longer.
pub async fn hold_marketing(
    tx: &DatabaseTransaction,
    id: Uuid,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET marketing_held_until = $2, updated_at = $3 \
         WHERE id = $1 AND (marketing_held_until IS NULL OR marketing_held_until < $2)",
        [id.into(), until.micros().into(), now.micros().into()],
    )
    .await?;
    Ok(())
}
