//! Senders: the accounts that can send, their pace and whether they are held.

use entity::sender;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction,
    EntityTrait, QueryFilter,
};
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{execute, locking, query_one},
    new_id,
};
use crate::domain::time::Timestamp;

/// The sender of a phone-number id, made if there is none. The environment's
/// credentials belong to it.
pub async fn ensure(
    tx: &DatabaseTransaction,
    phone_number_id: &str,
    waba_id: Option<&str>,
    pace_per_second: i64,
    now: Timestamp,
) -> Result<sender::Model, StoreError> {
    let found = sender::Entity::find()
        .filter(sender::Column::PhoneNumberId.eq(phone_number_id))
        .one(tx)
        .await?;
    if let Some(found) = found {
        let mut changed: sender::ActiveModel = found.into();
        changed.waba_id = Set(waba_id.map(str::to_owned));
        changed.pace_per_second = Set(pace_per_second);
        changed.updated_at = Set(now.micros());
        return Ok(changed.update(tx).await?);
    }
    let first = sender::Entity::find().one(tx).await?.is_none();
    let new = sender::ActiveModel {
        id: Set(new_id(now)),
        created_at: Set(now.micros()),
        updated_at: Set(now.micros()),
        kind: Set("meta".to_owned()),
        name: Set(format!("meta {phone_number_id}")),
        phone_number_id: Set(Some(phone_number_id.to_owned())),
        waba_id: Set(waba_id.map(str::to_owned)),
        api_version: Set(None),
        base_url: Set(None),
        credentials: Set(None),
        is_default: Set(first),
        state: Set("active".to_owned()),
        state_reason: Set(None),
        pace_per_second: Set(pace_per_second),
        pace_next_at: Set(0),
        failures_in_row: Set(0),
        probe_at: Set(None),
    };
    // Another process may be making it at this moment.
    sender::Entity::insert(new)
        .on_conflict_do_nothing()
        .exec(tx)
        .await?;
    by_phone_number_id(tx, phone_number_id)
        .await?
        .ok_or(StoreError::Corrupt {
            table: "sender",
            row: "the new one".to_owned(),
            column: "phone_number_id",
        })
}

/// The sender of a phone-number id.
pub async fn by_phone_number_id(
    connection: &impl ConnectionTrait,
    phone_number_id: &str,
) -> Result<Option<sender::Model>, StoreError> {
    Ok(sender::Entity::find()
        .filter(sender::Column::PhoneNumberId.eq(phone_number_id))
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
    Ok(sender::Entity::find().all(store.reader()).await?)
}

/// Locks a sender's row, to take of its pace or to note its health.
pub async fn lock(tx: &DatabaseTransaction, id: Uuid) -> Result<Option<sender::Model>, StoreError> {
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    if query_one(
        tx,
        format!("SELECT id FROM sender WHERE id = $1 {lock}"),
        [id.into()],
    )
    .await?
    .is_none()
    {
        return Ok(None);
    }
    find(tx, id).await
}

/// Notes how much of the pace is taken.
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

/// What is known of a sender's ability to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub state: &'static str,
    pub reason: Option<String>,
    pub failures_in_row: i64,
    pub probe_at: Option<Timestamp>,
}

pub async fn set_health(
    tx: &DatabaseTransaction,
    id: Uuid,
    health: &Health,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE sender SET state = $2, state_reason = $3, failures_in_row = $4, probe_at = $5, updated_at = $6 WHERE id = $1",
        [
            id.into(),
            health.state.into(),
            health.reason.clone().into(),
            health.failures_in_row.into(),
            health.probe_at.map(Timestamp::micros).into(),
            now.micros().into(),
        ],
    )
    .await?;
    Ok(())
}
