//! API keys and their bounds. Only digests of keys are stored.

use entity::api_key;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    QueryOrder,
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{HexUuid, SqlListFieldType, column, execute, list, nullable, query, query_one, rows},
    new_id,
};
use crate::{
    domain::{
        access::{AccessBounds, ApiKeyRole, ApiKeyScopes, ProductAccess},
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey<'a> {
    pub role: ApiKeyRole,
    pub scopes: ApiKeyScopes,
    /// The product that it is for, and its bounds.
    pub product: &'a ProductAccess,
    /// The beginning of its text, by which people know it.
    pub prefix: &'a str,
    pub digest: Vec<u8>,
    pub expires_at: Option<Timestamp>,
}

pub async fn insert_key(
    tx: &DatabaseTransaction,
    new: NewApiKey<'_>,
    now: Timestamp,
) -> Result<api_key::Model, StoreError> {
    let product = new.product;
    let senders = (!product.senders.is_empty())
        .then(|| serde_json::to_string(&product.senders))
        .transpose()
        .map_err(|error| StoreError::Refused(sea_orm::DbErr::Json(error.to_string())))?;
    Ok(api_key::ActiveModel {
        id: Set(new_id(now)),
        created_at: Set(now.micros()),
        name: Set(product.name.clone()),
        prefix: Set(new.prefix.to_owned()),
        digest: Set(new.digest),
        revoked_at: Set(None),
        role: Set(new.role.name().to_owned()),
        scopes: Set(Some(new.scopes.to_string())),
        source: Set(product.source.clone()),
        senders: Set(senders),
        catalogue: Set(product.catalogue.clone()),
        expires_at: Set(new.expires_at.map(Timestamp::micros)),
        last_used_at: Set(None),
    }
    .insert(tx)
    .await?)
}

/// The bounds of a key's row. Senders that cannot be read are none that there is.
pub fn bounds(row: &api_key::Model) -> AccessBounds {
    let senders = row.senders.as_deref().map(|senders| {
        serde_json::from_str::<Vec<Uuid>>(senders).unwrap_or_else(|_unreadable| vec![Uuid::nil()])
    });
    AccessBounds::of(ProductAccess {
        name: row.name.clone(),
        source: row.source.clone(),
        senders: senders.unwrap_or_default(),
        catalogue: row.catalogue.clone(),
    })
}

/// The scopes in a key's row.
pub fn scopes(row: &api_key::Model) -> ApiKeyScopes {
    ApiKeyScopes::stored(row.scopes.as_deref(), ApiKeyRole::of(&row.role))
}

/// The key with this digest, unless it was revoked or has expired.
pub async fn key_by_digest(
    store: &Store,
    digest: &[u8],
    now: Timestamp,
) -> Result<Option<api_key::Model>, StoreError> {
    let found = api_key::Entity::find()
        .filter(api_key::Column::Digest.eq(digest.to_vec()))
        .filter(api_key::Column::RevokedAt.is_null())
        .one(store.reader())
        .await?;
    Ok(found.filter(|key| key.expires_at.is_none_or(|at| at > now.micros())))
}

/// One key, be it revoked.
pub async fn key(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find_by_id(id).one(connection).await?)
}

pub async fn keys(connection: &impl ConnectionTrait) -> Result<Vec<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find()
        .order_by_asc(api_key::Column::Id)
        .all(connection)
        .await?)
}

/// The senders that a product's keys may send with, all together; empty if one of them may send with
/// any. Keys that are revoked count only if the product has no others.
pub async fn senders_of_product(
    connection: &impl ConnectionTrait,
    product: &str,
) -> Result<Vec<Uuid>, StoreError> {
    let mut all = api_key::Entity::find()
        .filter(api_key::Column::Name.eq(product))
        .all(connection)
        .await?;
    if all.iter().any(|key| key.revoked_at.is_none()) {
        all.retain(|key| key.revoked_at.is_none());
    }
    let mut senders = Vec::new();
    for key in &all {
        let bounds = bounds(key);
        if bounds.senders().is_empty() {
            return Ok(Vec::new());
        }
        senders.extend_from_slice(bounds.senders());
    }
    Ok(senders)
}

/// Waits for other processes that create keys, so that bounds of two products cannot come to overlap.
pub async fn lock_keys(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if !super::dialect::is_sqlite(tx) {
        execute(tx, "LOCK TABLE api_key IN SHARE ROW EXCLUSIVE MODE", []).await?;
    }
    Ok(())
}

/// The key of a prefix that is not revoked.
pub async fn key_of_prefix(
    connection: &impl ConnectionTrait,
    prefix: &str,
) -> Result<Option<api_key::Model>, StoreError> {
    Ok(api_key::Entity::find()
        .filter(api_key::Column::Prefix.eq(prefix))
        .filter(api_key::Column::RevokedAt.is_null())
        .one(connection)
        .await?)
}

/// Revokes a key. Returns whether it was active before.
pub async fn revoke_key(
    tx: &DatabaseTransaction,
    id: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let revoked = execute(
        tx,
        "UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(revoked.rows_affected() > 0)
}

/// Stores when keys were last used; never earlier than the stored time.
pub async fn note_uses(
    tx: &DatabaseTransaction,
    uses: &[(Uuid, Timestamp)],
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct ApiKeyUseRow {
        id: HexUuid,
        at: i64,
    }
    let mut described: Vec<ApiKeyUseRow> = uses
        .iter()
        .map(|(id, at)| ApiKeyUseRow {
            id: HexUuid(*id),
            at: at.micros(),
        })
        .collect();
    described.sort_by_key(|row| row.id.0);
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("at", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE api_key SET last_used_at = r.at FROM {given} \
             WHERE api_key.id = r.id AND coalesce(last_used_at, 0) < r.at"
        ),
        [list(&described)?],
    )
    .await?;
    Ok(())
}

/// The product whose keys are bound to a catalogue: that of a key in use before others.
pub async fn product_of_catalogue(
    connection: &impl ConnectionTrait,
    catalogue: &str,
) -> Result<Option<String>, StoreError> {
    let row = query_one(
        connection,
        "SELECT name FROM api_key WHERE catalogue = $1 \
         ORDER BY CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, id LIMIT 1",
        [catalogue.into()],
    )
    .await?;
    row.map(|row| column(&row, "name")).transpose()
}

/// Sources and catalogues that keys of other products in use are bound to: (product, source,
/// catalogue).
pub async fn bounds_of_others(
    connection: &impl ConnectionTrait,
    product: &str,
    now: Timestamp,
) -> Result<Vec<(String, Option<String>, Option<String>)>, StoreError> {
    let found = query(
        connection,
        "SELECT name, source, catalogue FROM api_key WHERE name <> $1 AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $2) \
         AND (source IS NOT NULL OR catalogue IS NOT NULL) ORDER BY id",
        [product.into(), now.micros().into()],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            Ok((
                column(row, "name")?,
                nullable(row, "source")?,
                nullable(row, "catalogue")?,
            ))
        })
        .collect()
}
