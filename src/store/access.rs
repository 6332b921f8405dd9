//! API keys: only their digests are kept.

use crate::store::DatabaseTransaction;
use entity::api_key;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::{Store, StoreError, new_id};
use crate::domain::time::Timestamp;

pub async fn insert_key(
    tx: &DatabaseTransaction,
    name: &str,
    role: &str,
    prefix: &str,
    digest: Vec<u8>,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = new_id(now);
    api_key::ActiveModel {
        id: Set(id),
        created_at: Set(now.micros()),
        name: Set(name.to_owned()),
        prefix: Set(prefix.to_owned()),
        digest: Set(digest),
        revoked_at: Set(None),
        role: Set(role.to_owned()),
    }
    .insert(tx)
    .await?;
    Ok(id)
}

/// The key with this digest, unless it was revoked.
pub async fn key_by_digest(
    store: &Store,
    digest: &[u8],
) -> Result<Option<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find()
        .filter(api_key::Column::Digest.eq(digest.to_vec()))
        .filter(api_key::Column::RevokedAt.is_null())
        .one(store.reader())
        .await?)
}

pub async fn keys(store: &Store) -> Result<Vec<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find()
        .order_by_asc(api_key::Column::Id)
        .all(store.reader())
        .await?)
}

/// Revokes a key by its prefix. Says whether there was one.
pub async fn revoke_key(
    tx: &DatabaseTransaction,
    prefix: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let revoked = super::dialect::execute(
        tx,
        "UPDATE api_key SET revoked_at = $2 WHERE prefix = $1 AND revoked_at IS NULL",
        [prefix.into(), now.micros().into()],
    )
    .await?;
    Ok(revoked.rows_affected() > 0)
}
