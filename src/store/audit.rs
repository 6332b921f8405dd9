//! The audit log: who did what.

use entity::audit;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::{Store, StoreError, new_id};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// An audit entry. `detail` never holds a secret.
#[derive(Clone, Debug)]
pub struct NewAuditEntry<'a> {
    /// Such as `key:herald_Ab3dEf9h` or `cli:root`.
    pub actor: &'a str,
    /// Such as `sender.held`.
    pub action: &'a str,
    /// The object of the action.
    pub subject: &'a str,
    /// JSON.
    pub detail: String,
}

pub async fn note(
    tx: &DatabaseTransaction,
    new: NewAuditEntry<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    audit::ActiveModel {
        id: Set(new_id(now)),
        created_at: Set(now.micros()),
        actor: Set(new.actor.to_owned()),
        action: Set(new.action.to_owned()),
        subject: Set(new.subject.to_owned()),
        detail: Set(new.detail),
    }
    .insert(tx)
    .await?;
    Ok(())
}

/// The newest entries, about one subject if it is named.
pub async fn newest(
    store: &Store,
    subject: Option<&str>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<audit::Model>, StoreError> {
    let mut select = audit::Entity::find()
        .order_by_desc(audit::Column::Id)
        .limit(limit);
    if let Some(subject) = subject {
        select = select.filter(audit::Column::Subject.eq(subject));
    }
    if let Some(before) = before {
        select = select.filter(audit::Column::Id.lt(before));
    }
    Ok(select.all(store.reader()).await?)
}

/// The newest entry of a subject whose action begins with this.
pub async fn newest_of(
    store: &Store,
    action: &str,
    subject: &str,
) -> Result<Option<audit::Model>, StoreError> {
    Ok(audit::Entity::find()
        .filter(audit::Column::Subject.eq(subject))
        .filter(audit::Column::Action.starts_with(action))
        .order_by_desc(audit::Column::Id)
        .one(store.reader())
        .await?)
}
