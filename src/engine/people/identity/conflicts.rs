//! Stores undecided identities for people to decide.

use uuid::Uuid;

use super::settle::IdentityContactAssignment;
use crate::{
    domain::{identity::ContactAlias, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        alias::{self, ContactIdentityConflict, ContactIdentityConflictKind},
    },
};

/// Replaces the stored list of contacts that may be one person.
pub(super) async fn write(
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut all: Vec<ContactIdentityConflict> = Vec::new();
    for question in &settled.identities.questions {
        let (Some(owner), Some(claimant)) = (
            settled.contact(question.owner),
            settled.contact(question.claimant),
        ) else {
            continue;
        };
        all.push(conflict(
            &question.phone,
            owner,
            claimant,
            ContactIdentityConflictKind::Question,
            question.since,
            Some(question.due),
        ));
    }
    for contradiction in &settled.identities.contradictions {
        let (Some(one), Some(other)) = (
            settled.contact(contradiction.one),
            settled.contact(contradiction.other),
        ) else {
            continue;
        };
        let state = ContactIdentityConflictKind::Contradiction;
        all.push(conflict(&contradiction.alias, one, other, state, now, None));
    }
    for (alias, survivor, linked) in settled.linked() {
        let state = ContactIdentityConflictKind::Linked;
        all.push(conflict(&alias, survivor, linked, state, now, None));
    }
    alias::write_conflicts(tx, &settled.contact_ids(), &all, now).await
}

fn conflict(
    alias: &ContactAlias,
    contact: Uuid,
    other: Uuid,
    state: ContactIdentityConflictKind,
    since: Timestamp,
    due_at: Option<Timestamp>,
) -> ContactIdentityConflict {
    ContactIdentityConflict {
        alias: alias.clone(),
        contact,
        other,
        state,
        since,
        due_at,
    }
}
