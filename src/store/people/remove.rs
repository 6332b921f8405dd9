//! People, staff and groups that are taken away.

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    store::{
        StoreError,
        dialect::{execute, locking, query_one},
    },
};

/// Keeps a contact from being deleted until this transaction ends. Says whether there is one.
pub async fn keep(tx: &DatabaseTransaction, contact: Uuid) -> Result<bool, StoreError> {
    let backend = tx.get_database_backend();
    let clause = locking(backend, "FOR KEY SHARE");
    let sql = format!("SELECT id FROM contact WHERE id = $1 AND deleted_at IS NULL {clause}");
    Ok(query_one(tx, sql, [contact.into()]).await?.is_some())
}

/// The same for a contact that was found a moment ago: if it was deleted meanwhile, the work is
/// done again.
pub async fn keep_found(tx: &DatabaseTransaction, contact: Uuid) -> Result<(), StoreError> {
    if keep(tx, contact).await? {
        Ok(())
    } else {
        Err(StoreError::Overtaken)
    }
}

/// Waits for whoever keeps a contact. Until this transaction ends, nobody keeps it.
pub async fn lock(tx: &DatabaseTransaction, contact: Uuid) -> Result<(), StoreError> {
    let clause = locking(tx.get_database_backend(), "FOR UPDATE");
    let sql = format!("SELECT id FROM contact WHERE id = $1 {clause}");
    query_one(tx, sql, [contact.into()]).await?;
    Ok(())
}

/// Whether a person has opted out of something, or does not want a kind of message.
pub async fn refuses_something(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<bool, StoreError> {
    let found = query_one(
        connection,
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM suppression WHERE contact_id = $1 AND wanted = false) \
         OR EXISTS (SELECT 1 FROM preference WHERE contact_id = $1 AND wanted = false)",
        [contact.into()],
    )
    .await?;
    Ok(found.is_some())
}

/// Takes everything away that is known of a person. Of one who refuses something, the names and
/// the refusals stay: without them, the next message to this number would go out.
pub async fn delete_contact(
    tx: &DatabaseTransaction,
    contact: Uuid,
    refuses: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    execute(
        tx,
        "UPDATE contact SET name = NULL, handle = NULL, language = NULL, time_zone = NULL, quiet_from = NULL, \
         quiet_until = NULL, catalogue = NULL, deleted_at = $2 WHERE id = $1",
        [
            contact.into(),
            (!refuses).then_some(now.micros()).into(),
        ],
    )
    .await?;
    let statements: &[&str] = if refuses {
        &[
            "DELETE FROM suppression WHERE contact_id = $1 AND wanted = true",
            "DELETE FROM preference WHERE contact_id = $1 AND wanted = true",
        ]
    } else {
        &[
            "DELETE FROM contact_alias WHERE contact_id = $1",
            "DELETE FROM suppression WHERE contact_id = $1",
            "DELETE FROM preference WHERE contact_id = $1",
        ]
    };
    let everywhere = [
        "DELETE FROM conversation WHERE contact_id = $1",
        "DELETE FROM contact_conflict WHERE contact_id = $1 OR other_id = $1",
    ];
    for statement in statements.iter().chain(&everywhere) {
        execute(tx, *statement, [contact.into()]).await?;
    }
    Ok(())
}

/// Takes a user away, out of all groups. Says whether there was one.
pub async fn delete_user(tx: &DatabaseTransaction, name: &str) -> Result<bool, StoreError> {
    execute(
        tx,
        "DELETE FROM group_member WHERE user_id IN (SELECT id FROM user_account WHERE name = $1)",
        [name.into()],
    )
    .await?;
    let done = execute(
        tx,
        "DELETE FROM user_account WHERE name = $1",
        [name.into()],
    )
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes a group away; its members stay. Says whether there was one.
pub async fn delete_group(tx: &DatabaseTransaction, name: &str) -> Result<bool, StoreError> {
    execute(
        tx,
        "DELETE FROM group_member WHERE group_id IN (SELECT id FROM user_group WHERE name = $1)",
        [name.into()],
    )
    .await?;
    let done = execute(tx, "DELETE FROM user_group WHERE name = $1", [name.into()]).await?;
    Ok(done.rows_affected() > 0)
}
