//! Stores credentials, encrypted: only the engine can open them.

use entity::credential;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    QueryOrder,
};
use uuid::Uuid;

use super::{StoreError, dialect::execute};
use crate::{
    domain::{credential::CredentialKind, time::Timestamp},
    store::DatabaseTransaction,
};

/// The table's name: every ciphertext is bound to it and to its row.
pub const TABLE: &str = "credential";

/// A credential to be stored.
#[derive(Clone, Debug)]
pub struct NewCredentialRow {
    pub id: Uuid,
    /// `sender:ID`, or `app:ID` for credentials shared by the numbers of an app.
    pub scope: String,
    pub kind: CredentialKind,
    pub sealed: String,
    pub expires_at: Option<Timestamp>,
    pub added_by: String,
}

pub async fn insert(
    tx: &DatabaseTransaction,
    new: NewCredentialRow,
    now: Timestamp,
) -> Result<credential::Model, StoreError> {
    Ok(credential::ActiveModel {
        id: Set(new.id),
        created_at: Set(now.micros()),
        updated_at: Set(now.micros()),
        scope: Set(new.scope),
        kind: Set(new.kind.name().to_owned()),
        sealed: Set(new.sealed),
        active: Set(true),
        expires_at: Set(new.expires_at.map(Timestamp::micros)),
        added_by: Set(new.added_by),
        age_told_at: Set(None),
        expiry_told_at: Set(None),
    }
    .insert(tx)
    .await?)
}

/// All of them, oldest first.
pub async fn all(connection: &impl ConnectionTrait) -> Result<Vec<credential::Model>, StoreError> {
    Ok(credential::Entity::find()
        .order_by_asc(credential::Column::Id)
        .all(connection)
        .await?)
}

pub async fn find(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<credential::Model>, StoreError> {
    Ok(credential::Entity::find_by_id(id).one(connection).await?)
}

/// The active ones of one kind and scope, newest first.
pub async fn active_of(
    connection: &impl ConnectionTrait,
    scope: &str,
    kind: CredentialKind,
) -> Result<Vec<credential::Model>, StoreError> {
    Ok(credential::Entity::find()
        .filter(credential::Column::Scope.eq(scope))
        .filter(credential::Column::Kind.eq(kind.name()))
        .filter(credential::Column::Active.eq(true))
        .order_by_desc(credential::Column::Id)
        .all(connection)
        .await?)
}

/// Activates or deactivates a credential.
pub async fn set_active(
    tx: &DatabaseTransaction,
    id: Uuid,
    active: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE credential SET active = $2, updated_at = $3 WHERE id = $1",
        [id.into(), active.into(), now.micros().into()],
    )
    .await?;
    Ok(())
}

/// Deletes a credential for good.
pub async fn remove(tx: &DatabaseTransaction, id: Uuid) -> Result<(), StoreError> {
    execute(tx, "DELETE FROM credential WHERE id = $1", [id.into()]).await?;
    Ok(())
}

/// Replaces a ciphertext by the same text, sealed anew.
pub async fn reseal(tx: &DatabaseTransaction, id: Uuid, sealed: &str) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE credential SET sealed = $2 WHERE id = $1",
        [id.into(), sealed.into()],
    )
    .await?;
    Ok(())
}

/// Moves a sender's credentials, except its token, to its app.
pub async fn move_to_app(
    tx: &DatabaseTransaction,
    sender_scope: &str,
    app_scope: &str,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE credential SET scope = $2 WHERE scope = $1 AND kind <> 'access_token'",
        [sender_scope.into(), app_scope.into()],
    )
    .await?;
    Ok(())
}

/// A warning that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialWarning {
    Age,
    Expiry,
}

/// Records that a warning was given. Returns whether it is the first time.
pub async fn tell(
    tx: &DatabaseTransaction,
    id: Uuid,
    what: CredentialWarning,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let column = match what {
        CredentialWarning::Age => "age_told_at",
        CredentialWarning::Expiry => "expiry_told_at",
    };
    let written = execute(
        tx,
        format!("UPDATE credential SET {column} = $2 WHERE id = $1 AND {column} IS NULL"),
        [id.into(), now.micros().into()],
    )
    .await?;
    Ok(written.rows_affected() > 0)
}
