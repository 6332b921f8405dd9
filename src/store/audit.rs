//! The audit log: who did what.

use entity::audit;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use serde_json::Value;
use uuid::Uuid;

use super::{Store, StoreError, new_id};
use crate::{
    domain::{audit_action::AuditAction, time::Timestamp},
    store::DatabaseTransaction,
};

/// Writes an entry, in the transaction of the change. The actor is such as `key:herald_Ab3dEf9h` or
/// `cli:root`, the subject is the object of the action, and the detail never holds a secret.
pub async fn note(
    tx: &DatabaseTransaction,
    actor: &str,
    action: AuditAction,
    subject: &str,
    detail: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    audit::ActiveModel {
        id: Set(new_id(now)),
        created_at: Set(now.micros()),
        actor: Set(actor.to_owned()),
        action: Set(action.name().to_owned()),
        subject: Set(subject.to_owned()),
        detail: Set(detail.to_string()),
    }
    .insert(tx)
    .await?;
    Ok(())
}

/// The same in a transaction of its own, for what changes no row or has been committed.
pub async fn note_alone(
    store: &Store,
    actor: &str,
    action: AuditAction,
    subject: &str,
    detail: &Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    store
        .write(async |tx| note(tx, actor, action, subject, detail, now).await)
        .await
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

/// The newest entry about a sender; changes of its credentials do not count.
pub async fn newest_of_sender(
    store: &Store,
    name: &str,
) -> Result<Option<audit::Model>, StoreError> {
    Ok(audit::Entity::find()
        .filter(audit::Column::Subject.eq(name))
        .filter(audit::Column::Action.starts_with("sender."))
        .order_by_desc(audit::Column::Id)
        .one(store.reader())
        .await?)
}
