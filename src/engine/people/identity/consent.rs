//! Applies opt-outs and consent to the whole person, whichever alias they came from.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    IdentifiedContact,
    settle::{IdentityContactAssignment, settle},
};
use crate::{
    domain::{
        identity::{
            ContactAlias,
            consent::{ConsentStatement, newest},
            replay::PersonIndex,
        },
        preference::{ConsentChange, ConsentScope},
        time::Timestamp,
    },
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, NewConsentStatement, StoredConsentStatement},
        suppression,
    },
};

/// Stores a statement of a person. Returns whether it is the newest.
pub(in crate::engine) async fn state(
    engine: &Engine,
    tx: &DatabaseTransaction,
    met: IdentifiedContact,
    aliases: &[ContactAlias],
    wish: &ConsentChange,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let statement = ConsentStatement {
        scope: wish.scope,
        at: wish.at,
        is_wanted: wish.wanted,
        source: wish.source.to_owned(),
    };
    let new = NewConsentStatement {
        contact: aliases.is_empty().then_some(met.contact),
        aliases,
        statement,
        callback_id: callback,
    };
    if !identity::note_statement(tx, &new, now).await? {
        return Ok(false);
    }
    let is_newest = suppression::set(tx, met.contact, wish, callback, now).await?;
    if met.is_shared {
        settle(engine, tx, aliases.iter().cloned().collect(), &[], now).await?;
    }
    Ok(is_newest)
}

/// The statements in force for each person.
pub(super) fn by_person(
    settled: &IdentityContactAssignment,
    all: &[StoredConsentStatement],
) -> BTreeMap<PersonIndex, Vec<(ConsentStatement, Option<Uuid>)>> {
    let identities = &settled.identities;
    let mut said: BTreeMap<PersonIndex, Vec<&StoredConsentStatement>> = BTreeMap::new();
    for stated in all {
        let person = match stated.contact {
            Some(contact) => settled.person_of_contact(contact),
            None => identities.person_of(&stated.aliases, stated.statement.at),
        };
        if let Some(person) = person {
            said.entry(person).or_default().push(stated);
        }
    }
    let own = said.clone();
    // Time decided that they are two persons: opt-outs up to then stay with both.
    for it in &identities.inheritances {
        for (to, from) in [(it.owner, it.claimant), (it.claimant, it.owner)] {
            let by_then = own
                .get(&from)
                .into_iter()
                .flatten()
                .copied()
                .filter(|stated| stated.statement.at < it.until);
            let refused = hold(by_then)
                .into_values()
                .filter(|it| !it.statement.is_wanted);
            said.entry(to).or_default().extend(refused);
        }
    }
    let mut holds: BTreeMap<PersonIndex, BTreeMap<ConsentScope, &StoredConsentStatement>> = said
        .iter()
        .map(|(person, said)| (*person, hold(said.iter().copied())))
        .collect();
    // They may be one person: an opt-out of either applies to both, whatever the other has agreed
    // to since.
    let before = holds.clone();
    for question in &identities.questions {
        let (owner, claimant) = (question.owner, question.claimant);
        for (to, from) in [(owner, claimant), (claimant, owner)] {
            let theirs = before.get(&from).into_iter().flatten();
            for (scope, stated) in theirs.filter(|(_, stated)| !stated.statement.is_wanted) {
                let mine = holds.entry(to).or_default();
                if mine.get(scope).is_none_or(|mine| mine.statement.is_wanted) {
                    mine.insert(*scope, stated);
                }
            }
        }
    }
    holds
        .into_iter()
        .map(|(person, holds)| {
            let holds = holds
                .into_values()
                .map(|stated| (stated.statement.clone(), stated.callback_id));
            (person, holds.collect())
        })
        .collect()
}

/// The newest statement of each scope.
fn hold<'a>(
    said: impl Iterator<Item = &'a StoredConsentStatement>,
) -> BTreeMap<ConsentScope, &'a StoredConsentStatement> {
    let said: Vec<&StoredConsentStatement> = said.collect();
    newest(said.iter().map(|stated| &stated.statement))
        .into_iter()
        .filter_map(|(scope, held)| {
            let stated = said
                .iter()
                .find(|stated| std::ptr::eq(&raw const stated.statement, held))?;
            Some((scope, *stated))
        })
        .collect()
}
