//! Manages people: contacts with their identity and preferences, staff members and groups; and erases
//! what is left of them. Every change is audited.

mod contacts;
pub mod erasure;
pub mod identity;
mod own;
mod removal;
mod staff;
pub mod suppressions;

pub use contacts::{ContactChanges, forget_preference, prefer, save_contact, set_preferences};
pub use removal::{ContactDeletion, delete_contact, delete_group, delete_user};
pub use staff::{
    SavedStaffGroup, StaffContactSpec, add_member, connect, disconnect, ensure_group, ensure_user,
    remove_member,
};

use serde_json::Value;

use crate::{
    domain::{access::AccessBounds, audit_action::AuditAction, time::Timestamp},
    store::{DatabaseTransaction, StoreError, audit},
};

/// The actor of a change, and its time.
#[derive(Clone, Copy, Debug)]
pub struct PeopleActor<'a> {
    pub actor: &'a str,
    pub now: Timestamp,
    /// The contacts that the actor may see and change.
    pub bounds: &'a AccessBounds,
}

/// Writes an audit entry.
pub(super) async fn note(
    tx: &DatabaseTransaction,
    by: PeopleActor<'_>,
    action: AuditAction,
    subject: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    audit::note(tx, by.actor, action, subject, detail, by.now).await
}
