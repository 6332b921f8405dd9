//! Opt-outs and opt-ins: the newest wish of a person for each scope.

use crate::store::DatabaseTransaction;
use entity::suppression;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute};
use crate::domain::{preference::Wish, time::Timestamp};

/// Notes a wish unless a newer one is known. Says whether it is the newest. Of
/// two wishes of one moment the refusal wins, whichever came first.
pub async fn set(
    tx: &DatabaseTransaction,
    contact: Uuid,
    wish: &Wish,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let set = execute(
        tx,
        "INSERT INTO suppression (contact_id, scope, created_at, wanted, source, provider_at, callback_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (contact_id, scope) DO UPDATE SET \
         wanted = excluded.wanted, source = excluded.source, provider_at = excluded.provider_at, \
         callback_id = excluded.callback_id WHERE suppression.provider_at < excluded.provider_at \
         OR (suppression.provider_at = excluded.provider_at AND suppression.wanted = true AND excluded.wanted = false)",
        [
            contact.into(),
            wish.scope.name().into(),
            now.micros().into(),
            wish.wanted.into(),
            wish.source.into(),
            wish.at.micros().into(),
            callback.into(),
        ],
    )
    .await?;
    Ok(set.rows_affected() > 0)
}

/// Who refuses something, newest wish first.
pub async fn list(store: &Store, limit: u64) -> Result<Vec<suppression::Model>, StoreError> {
    Ok(suppression::Entity::find()
        .filter(suppression::Column::Wanted.eq(false))
        .order_by_desc(suppression::Column::ProviderAt)
        .limit(limit)
        .all(store.reader())
        .await?)
}

/// The wishes of one person.
pub async fn of_contact(
    store: &Store,
    contact: Uuid,
) -> Result<Vec<suppression::Model>, StoreError> {
    Ok(suppression::Entity::find()
        .filter(suppression::Column::ContactId.eq(contact))
        .order_by_asc(suppression::Column::Scope)
        .all(store.reader())
        .await?)
}
