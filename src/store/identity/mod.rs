//! Evidence and decisions about identity, statements of consent, and the contacts derived from
//! them. The rules are in [`crate::domain::identity`].

mod consent;
mod contacts;
mod decision;
mod evidence;
mod first_id;
mod merge;
mod reattribute;
mod windows;

pub use consent::{
    NewConsentStatement, StoredConsentStatement, note as note_statement, state_again, statements,
};
pub use contacts::{
    AliasHolder, AliasHolderState, IdentityContact, add_holders, aliases_of, anchored, flag,
    holders, insert as insert_contact, known, merged_into, parts, rows as contact_rows, set_anchor,
    set_holder, together,
};
pub use decision::{
    NewIdentityDecision, about as decisions_about, forget as forget_decisions,
    note as note_decision,
};
pub use evidence::{
    IdentityEvidenceListRow, IdentityEvidenceSource, IdentityEvidenceStoreOutcome,
    NewIdentityEvidence, about as evidence_about, add as add_evidence, are_noted, listed, note,
};
pub use first_id::{PhoneUserIdPair, unmentioned};
pub use merge::{merge, unmerge};
pub use reattribute::{ReattributedInboundMessage, messages, set_contact, take_notifications};
pub use windows::{ServiceWindowTimes, reset as reset_windows};

use serde::Serialize;

use super::{
    DatabaseTransaction, StoreError,
    dialect::{locking, query},
};
use crate::domain::identity::{ContactAlias, ContactAliasKind};

/// The key of the advisory lock under which identities change: "identity" in ASCII.
const LOCK_KEY: i64 = 0x6964_656e_7469_7479;

/// Serializes changes of identities until this transaction ends. SQLite has a single writer anyway.
pub async fn lock(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    if !super::dialect::is_sqlite(tx) {
        query(
            tx,
            "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked",
            [LOCK_KEY.into()],
        )
        .await?;
    }
    Ok(())
}

/// Keeps others from changing these contacts until this transaction ends.
fn for_change(tx: &DatabaseTransaction) -> &'static str {
    locking(
        sea_orm::ConnectionTrait::get_database_backend(tx),
        "FOR NO KEY UPDATE OF c",
    )
}

/// One row of a list of aliases.
#[derive(Debug, Serialize)]
struct AliasValueRow<'a> {
    value: &'a str,
}

fn values(aliases: &[ContactAlias]) -> Vec<AliasValueRow<'_>> {
    aliases
        .iter()
        .map(|alias| AliasValueRow {
            value: &alias.value,
        })
        .collect()
}

/// An alias as it was stored. The kind was written by us.
fn alias(table: &'static str, kind: &str, value: String) -> Result<ContactAlias, StoreError> {
    let Some(kind) = ContactAliasKind::parse(kind) else {
        return Err(StoreError::Corrupt {
            table,
            row: value,
            column: "kind",
        });
    };
    Ok(ContactAlias { kind, value })
}
