//! People as somebody manages them: contacts and what they want, staff and groups. Each
//! change is written down.

mod contacts;
pub mod identity;
mod own;
mod removal;
mod staff;

pub use contacts::{ContactChanges, forget_preference, prefer, save_contact, set_preferences};
pub use removal::{Deleted, delete_contact, delete_group, delete_user};
pub use staff::{
    Group, Whom, add_member, connect, disconnect, ensure_group, ensure_user, remove_member,
};

use serde_json::Value;

use crate::{
    domain::{access::Bounds, time::Timestamp},
    store::{DatabaseTransaction, StoreError, audit},
};

/// Who does it, and when.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub actor: &'a str,
    pub now: Timestamp,
    /// Which contacts they may see and change.
    pub bounds: &'a Bounds,
}

/// Writes down who did what to whom.
pub(super) async fn note(
    tx: &DatabaseTransaction,
    by: By<'_>,
    action: &str,
    subject: &str,
    detail: &Value,
) -> Result<(), StoreError> {
    let entry = audit::New {
        actor: by.actor,
        action,
        subject,
        detail: detail.to_string(),
    };
    audit::note(tx, entry, by.now).await
}
