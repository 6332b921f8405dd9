//! Opt-outs and opt-ins: the newest statement of a contact for each scope.

use entity::suppression;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Statement};
use uuid::Uuid;

use super::{
    Store, StoreError,
    bounds::{SqlCondition, of_contacts},
    dialect::execute,
};
use crate::{
    domain::{access::AccessBounds, preference::ConsentChange, time::Timestamp},
    store::DatabaseTransaction,
};

/// Stores a statement unless a newer one is known. Returns whether it is the newest. Of two
/// statements with the same time the opt-out wins, whichever came first.
pub async fn set(
    tx: &DatabaseTransaction,
    contact: Uuid,
    wish: &ConsentChange,
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

/// Opt-outs of contacts within the caller's bounds, newest first.
pub async fn list(
    store: &Store,
    bounds: &AccessBounds,
    limit: u64,
) -> Result<Vec<suppression::Model>, StoreError> {
    let SqlCondition { sql, values } = of_contacts(bounds, 1);
    let own = format!("EXISTS (SELECT 1 FROM contact c WHERE c.id = s.contact_id{sql})");
    let statement = Statement::from_sql_and_values(
        store.backend(),
        format!(
            "SELECT s.* FROM suppression s WHERE s.wanted = false AND {own} \
             ORDER BY s.provider_at DESC LIMIT $1"
        ),
        std::iter::once(i64::try_from(limit).unwrap_or(i64::MAX).into()).chain(values),
    );
    Ok(suppression::Entity::find()
        .from_raw_sql(statement)
        .all(store.reader())
        .await?)
}

/// The opt-outs and opt-ins of one person.
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

/// The opt-outs and opt-ins of these contacts.
pub async fn of_these(
    tx: &DatabaseTransaction,
    contacts: &[Uuid],
) -> Result<Vec<suppression::Model>, StoreError> {
    Ok(suppression::Entity::find()
        .filter(suppression::Column::ContactId.is_in(contacts.iter().copied()))
        .all(tx)
        .await?)
}
