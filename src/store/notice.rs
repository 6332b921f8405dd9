//! Notices: items from a provider that are neither a message nor a status.

use entity::notice;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Store, StoreError, dialect::execute, new_id};
use crate::{
    domain::{access::AccessBounds, time::Timestamp},
    store::DatabaseTransaction,
};

/// Outcome of an item that has no effect.
pub const NOT_APPLIED: &str = "not_applied";

/// Outcome of an item that was not stored because something else has its id.
pub const DUPLICATE_DIFFERS: &str = "duplicate_differs";

/// A longer value stays with its callback only, in bytes: lists hold many notices.
pub const MAX_VALUE: usize = 64 * 1024;

/// A notice to be kept.
#[derive(Clone, Debug)]
pub struct NewProviderNotice<'a> {
    pub callback_id: Uuid,
    pub pointer: &'a str,
    pub field: &'a str,
    pub account_id: Option<&'a str>,
    pub summary: &'a str,
    /// `applied`, `not_applied`, `duplicate_differs`, or why not.
    pub outcome: &'a str,
    pub provider_at: Option<Timestamp>,
    pub item: &'a str,
}

/// Whether this item of this callback was kept before.
pub async fn is_known(
    tx: &DatabaseTransaction,
    callback: Uuid,
    pointer: &str,
) -> Result<bool, StoreError> {
    let known = notice::Entity::find()
        .filter(notice::Column::CallbackId.eq(callback))
        .filter(notice::Column::Pointer.eq(pointer))
        .one(tx)
        .await?;
    Ok(known.is_some())
}

/// Keeps a notice once.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewProviderNotice<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO notice (id, created_at, callback_id, pointer, field, account_id, summary, outcome, provider_at, item) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (callback_id, pointer) DO NOTHING",
        [
            new_id(now).into(),
            now.micros().into(),
            new.callback_id.into(),
            new.pointer.into(),
            new.field.into(),
            new.account_id.into(),
            new.summary.into(),
            new.outcome.into(),
            new.provider_at.map(Timestamp::micros).into(),
            (if new.item.len() <= MAX_VALUE { new.item } else { "null" }).into(),
        ],
    )
    .await?;
    Ok(())
}

/// The newest notices, of one field if given. They concern whole accounts and belong to no product:
/// a caller with bounds gets none.
pub async fn newest(
    store: &Store,
    bounds: &AccessBounds,
    field: Option<&str>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<notice::Model>, StoreError> {
    if bounds.product().is_some() {
        return Ok(Vec::new());
    }
    let mut select = notice::Entity::find()
        .order_by_desc(notice::Column::Id)
        .limit(limit);
    if let Some(field) = field {
        select = select.filter(notice::Column::Field.eq(field));
    }
    if let Some(before) = before {
        select = select.filter(notice::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}
