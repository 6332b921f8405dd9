//! Deletes contacts, staff members and groups.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::insert_contact;
use crate::{
    domain::time::Timestamp,
    store::{
        DatabaseTransaction, StoreError,
        dialect::{execute, locking, query_one},
        notification,
    },
};

/// Locks a contact against deletion until this transaction ends. Returns whether it exists.
pub async fn keep(tx: &DatabaseTransaction, contact: Uuid) -> Result<bool, StoreError> {
    held(tx, contact, "FOR KEY SHARE").await
}

/// The same for a contact that was found a moment ago: if it was deleted meanwhile, the work is
/// done again.
pub async fn keep_found(tx: &DatabaseTransaction, contact: Uuid) -> Result<(), StoreError> {
    if keep(tx, contact).await? {
        Ok(())
    } else {
        Err(StoreError::Conflict)
    }
}

/// Waits for transactions that lock or change a contact, and keeps others out until this one ends.
/// Returns whether the contact exists.
pub async fn lock(tx: &DatabaseTransaction, contact: Uuid) -> Result<bool, StoreError> {
    held(tx, contact, "FOR UPDATE").await
}

async fn held(
    tx: &DatabaseTransaction,
    contact: Uuid,
    clause: &'static str,
) -> Result<bool, StoreError> {
    let clause = locking(tx.get_database_backend(), clause);
    let sql = format!("SELECT id FROM contact WHERE id = $1 AND deleted_at IS NULL {clause}");
    Ok(query_one(tx, sql, [contact.into()]).await?.is_some())
}

/// Staff members or groups, as catalogues name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaffEntryKind {
    User,
    Group,
}

impl StaffEntryKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::User => "user_account",
            Self::Group => "user_group",
        }
    }
}

/// Locks a staff member or a group against deletion until this transaction ends. Returns whether it
/// exists.
pub async fn keep_staff(
    tx: &DatabaseTransaction,
    kind: StaffEntryKind,
    name: &str,
) -> Result<bool, StoreError> {
    staff_held(tx, kind, name, "FOR KEY SHARE").await
}

/// Waits for transactions that lock a staff member or a group. Returns whether it exists.
pub async fn lock_staff(
    tx: &DatabaseTransaction,
    kind: StaffEntryKind,
    name: &str,
) -> Result<bool, StoreError> {
    staff_held(tx, kind, name, "FOR UPDATE").await
}

async fn staff_held(
    tx: &DatabaseTransaction,
    kind: StaffEntryKind,
    name: &str,
    clause: &'static str,
) -> Result<bool, StoreError> {
    let clause = locking(tx.get_database_backend(), clause);
    let table = kind.table();
    let sql = format!("SELECT id FROM {table} WHERE name = $1 {clause}");
    Ok(query_one(tx, sql, [name.into()]).await?.is_some())
}

/// Whether a reachable contact has opted out of something, or turned off a kind of message.
pub async fn refuses_something(
    connection: &impl ConnectionTrait,
    contact: Uuid,
) -> Result<bool, StoreError> {
    let found = query_one(
        connection,
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM contact_alias WHERE contact_id = $1) \
         AND (EXISTS (SELECT 1 FROM suppression WHERE contact_id = $1 AND wanted = false) \
         OR EXISTS (SELECT 1 FROM preference WHERE contact_id = $1 AND wanted = false))",
        [contact.into()],
    )
    .await?;
    Ok(found.is_some())
}

/// Deletes everything about a contact. If it has an opt-out, its aliases and opt-outs go to a new
/// contact, which is returned: without them, the next message to this number would go out.
pub async fn delete_contact(
    tx: &DatabaseTransaction,
    contact: Uuid,
    refuses: bool,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    execute(
        tx,
        "UPDATE contact SET name = NULL, handle = NULL, email = NULL, language = NULL, time_zone = NULL, quiet_from = NULL, \
         quiet_until = NULL, catalogue = NULL, deleted_at = $2 WHERE id = $1",
        [contact.into(), now.micros().into()],
    )
    .await?;
    let heir = if refuses {
        let heir = insert_contact(tx, None, &[], now).await?;
        for statement in [
            "UPDATE contact SET anchor_kind = (SELECT c.anchor_kind FROM contact c WHERE c.id = $1), \
             anchor = (SELECT c.anchor FROM contact c WHERE c.id = $1), \
             anchor_at = (SELECT c.anchor_at FROM contact c WHERE c.id = $1) WHERE id = $2",
            "UPDATE contact_alias SET contact_id = $2 WHERE contact_id = $1",
            "UPDATE consent SET contact_id = $2 WHERE contact_id = $1 OR contact_id IN \
             (SELECT id FROM contact WHERE merged_into = $1)",
            // Opt-outs and preferences move as well: they may exist without a statement.
            "UPDATE suppression SET contact_id = $2 WHERE contact_id = $1",
            "UPDATE preference SET contact_id = $2 WHERE contact_id = $1",
        ] {
            execute(tx, statement, [contact.into(), heir.into()]).await?;
        }
        Some(heir)
    } else {
        // Evidence about the aliases concerns no other contact.
        for statement in [
            "DELETE FROM identity_evidence WHERE one IN (SELECT value FROM contact_alias WHERE contact_id = $1) \
             OR other IN (SELECT value FROM contact_alias WHERE contact_id = $1)",
            "DELETE FROM identity_decision WHERE one IN (SELECT value FROM contact_alias WHERE contact_id = $1) \
             OR other IN (SELECT value FROM contact_alias WHERE contact_id = $1)",
            "DELETE FROM consent WHERE phone IN (SELECT value FROM contact_alias WHERE contact_id = $1) \
             OR user_id IN (SELECT value FROM contact_alias WHERE contact_id = $1) OR contact_id = $1 \
             OR contact_id IN (SELECT id FROM contact WHERE merged_into = $1)",
        ] {
            execute(tx, statement, [contact.into()]).await?;
        }
        None
    };
    // Its parts go with it: they had names of their own.
    execute(
        tx,
        "UPDATE contact SET deleted_at = $2, merged_detail = NULL, anchor = NULL, anchor_kind = NULL, anchor_at = NULL, \
         profile_name = NULL, username = NULL WHERE merged_into = $1",
        [contact.into(), now.micros().into()],
    )
    .await?;
    // Messages that wait for a turn with the contact are examined once more, and not sent.
    notification::release_turns(tx, contact, now).await?;
    for statement in [
        "UPDATE contact SET anchor = NULL, anchor_kind = NULL, anchor_at = NULL, identity_id = NULL, unsettled = false, \
         profile_name = NULL, profile_name_at = NULL, username = NULL, username_at = NULL WHERE id = $1",
        "DELETE FROM contact_alias WHERE contact_id = $1",
        "DELETE FROM suppression WHERE contact_id = $1",
        "DELETE FROM preference WHERE contact_id = $1",
        "DELETE FROM product_address WHERE contact_id = $1",
        "DELETE FROM product_contact WHERE contact_id = $1",
        "DELETE FROM verification_send WHERE verification_id IN (SELECT id FROM verification WHERE contact_id = $1)",
        "DELETE FROM verification WHERE contact_id = $1",
        "DELETE FROM conversation WHERE contact_id = $1",
        "DELETE FROM contact_conflict WHERE contact_id = $1 OR other_id = $1",
    ] {
        execute(tx, statement, [contact.into()]).await?;
    }
    Ok(heir)
}

/// Deletes a staff member, also from all groups, or a group, whose members stay.
pub async fn delete_staff(
    tx: &DatabaseTransaction,
    kind: StaffEntryKind,
    name: &str,
) -> Result<(), StoreError> {
    let (table, column) = (kind.table(), kind.name());
    for statement in [
        format!(
            "DELETE FROM group_member WHERE {column}_id IN (SELECT id FROM {table} WHERE name = $1)"
        ),
        format!("DELETE FROM {table} WHERE name = $1"),
    ] {
        execute(tx, statement, [name.into()]).await?;
    }
    Ok(())
}
