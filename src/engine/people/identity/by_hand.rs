//! Operator decisions about identity: which contacts are one person, and which are not.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use super::settle::{IdentityContactAssignment, settle};
use crate::{
    domain::{
        audit_action::AuditAction,
        identity::{AliasDecision, AliasVerdict, ContactAlias, consent::ConsentStatement},
        preference::ConsentScope,
        time::Timestamp,
    },
    engine::{
        Engine, InputError,
        people::{PeopleActor, note},
    },
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, NewConsentStatement, NewIdentityDecision},
        people, suppression,
    },
};

/// Merges two contacts: from now on they are one person, whatever the evidence says. Returns the
/// contact that stays; the other's id redirects to it.
///
/// Names and handles given by hand must agree; with `overwrite` those of the other contact are
/// dropped.
pub async fn merge(
    engine: &Engine,
    by: PeopleActor<'_>,
    contact: Uuid,
    other: Uuid,
    overwrite: bool,
) -> Result<Uuid, InputError> {
    engine
        .store
        .write_or_refuse(async |tx| {
            identity::lock(tx).await?;
            let (one, two) = both(tx, contact, other).await?;
            if one == two {
                return Err(InputError::field("/other", "they are one contact already"));
            }
            let (mine, theirs) = (own(tx, one).await?, own(tx, two).await?);
            if overwrite {
                people::forget_given(tx, two).await?;
            }
            for (first, second) in pairs(&mine, &theirs) {
                identity::forget_decisions(tx, first, second).await?;
            }
            match (mine.first(), theirs.first()) {
                (Some(first), Some(second)) => {
                    let verdict = AliasVerdict::Link(first.clone(), second.clone());
                    decide(tx, by, verdict).await?;
                    let aliases: BTreeSet<ContactAlias> = mine.iter().chain(&theirs).cloned().collect();
                    settle(engine, tx, aliases, &[], by.now).await?;
                }
                // Evidence can only refer to aliases; this contact has none.
                (_, None) => identity::merge(tx, two, one, by.now).await?,
                (None, Some(_)) => identity::merge(tx, one, two, by.now).await?,
            }
            let stays = people::current(tx, one).await?;
            if people::current(tx, two).await? != stays {
                let rule = "their name, handle or catalogue differs: change one of them, or merge with overwrite";
                return Err(InputError::field("/other", rule));
            }
            let detail = json!({ "merged": two, "into": stays, "overwrite": overwrite });
            let action = AuditAction::ContactMerged;
            note(tx, by, action, &one.to_string(), &detail).await?;
            Ok(stays)
        })
        .await
}

/// Moves aliases to a contact of their own: they are another person, whatever the evidence says.
/// Messages that came from these aliases move along, and an opt-out stays with both. Returns the
/// contact of the aliases: their former one, if there was one.
///
/// If it is undecided whether two contacts are one person, no alias has to be named: they become
/// two, and the number goes to the other.
pub async fn split(
    engine: &Engine,
    by: PeopleActor<'_>,
    contact: Uuid,
    aliases: &[ContactAlias],
) -> Result<Uuid, InputError> {
    engine
        .store
        .write_or_refuse(async |tx| {
            identity::lock(tx).await?;
            let contact = people::current(tx, contact).await?;
            let held = own(tx, contact).await?;
            if let Some(unknown) = aliases.iter().position(|alias| !held.contains(alias)) {
                let rule = "the contact does not have it";
                return Err(InputError::field(&format!("/aliases/{unknown}"), rule));
            }
            let (leaving, staying): (Vec<ContactAlias>, Vec<ContactAlias>) =
                held.into_iter().partition(|alias| aliases.contains(alias));
            let (Some(first), Some(last)) = (leaving.first(), staying.first()) else {
                let rule = "one alias at least must go, and one must stay";
                return Err(InputError::field("/aliases", rule));
            };
            for (one, other) in pairs(&leaving, &staying) {
                identity::forget_decisions(tx, one, other).await?;
                decide(tx, by, AliasVerdict::Apart(one.clone(), other.clone())).await?;
            }
            // The evidence that held each side together may now be on the other.
            for (side, centre) in [(&leaving, first), (&staying, last)] {
                for alias in side.iter().filter(|alias| *alias != centre) {
                    decide(tx, by, AliasVerdict::Link(centre.clone(), alias.clone())).await?;
                }
            }
            let refused = refusals(tx, contact).await?;
            let everything: BTreeSet<ContactAlias> =
                leaving.iter().chain(&staying).cloned().collect();
            // Its current holder: the alias may have belonged to another contact before.
            let needed = [(std::slice::from_ref(first), by.now)];
            let mut settled = settle(engine, tx, everything.clone(), &needed, by.now).await?;
            let leads_to = |settled: &IdentityContactAssignment, alias| {
                let met = settled.whose(std::slice::from_ref(alias), by.now);
                met.map(|met| met.contact)
            };
            if leads_to(&settled, last) != Some(contact) {
                // The contact was found by an alias that leaves, or by one that led there.
                identity::set_anchor(tx, contact, last, by.now).await?;
                settled = settle(engine, tx, everything.clone(), &needed, by.now).await?;
            }
            let Some(theirs) = leads_to(&settled, first) else {
                return Err(StoreError::Conflict.into());
            };
            for statement in refused {
                for contact in [contact, theirs] {
                    let new = NewConsentStatement {
                        contact: Some(contact),
                        aliases: &[],
                        statement: statement.clone(),
                        callback_id: None,
                    };
                    identity::note_statement(tx, &new, by.now).await?;
                }
            }
            settle(engine, tx, everything, &[], by.now).await?;
            let detail = json!({ "contact": theirs, "aliases": leaving.len() });
            let action = AuditAction::ContactSplit;
            note(tx, by, action, &contact.to_string(), &detail).await?;
            Ok(theirs)
        })
        .await
}

/// Decides that two contacts whose identity was undecided are two persons. A disputed number
/// belongs to the other one from its first sighting there.
pub async fn part(
    engine: &Engine,
    by: PeopleActor<'_>,
    contact: Uuid,
    other: Uuid,
) -> Result<(), InputError> {
    engine
        .store
        .write_or_refuse(async |tx| {
            identity::lock(tx).await?;
            let (one, two) = both(tx, contact, other).await?;
            if one == two {
                let rule = "they are one contact: name the aliases that are another person's";
                return Err(InputError::field("/aliases", rule));
            }
            let (mine, theirs) = (own(tx, one).await?, own(tx, two).await?);
            for (first, second) in pairs(&mine, &theirs) {
                identity::forget_decisions(tx, first, second).await?;
                // A number can pass from one person to the other: only user ids prove identity.
                if !first.is_phone() && !second.is_phone() {
                    decide(tx, by, AliasVerdict::Apart(first.clone(), second.clone())).await?;
                }
            }
            let aliases = mine.into_iter().chain(theirs).collect();
            settle(engine, tx, aliases, &[], by.now).await?;
            let detail = json!({ "other": two });
            let action = AuditAction::ContactParted;
            note(tx, by, action, &one.to_string(), &detail).await?;
            Ok(())
        })
        .await
}

/// Two existing contacts, or the whole persons they belong to.
async fn both(
    tx: &DatabaseTransaction,
    contact: Uuid,
    other: Uuid,
) -> Result<(Uuid, Uuid), InputError> {
    let mut found = Vec::with_capacity(2);
    for (pointer, id) in [("/contact", contact), ("/other", other)] {
        let id = people::current(tx, id).await?;
        if !people::lock(tx, id).await? {
            return Err(InputError::field(pointer, "there is no such contact"));
        }
        found.push(id);
    }
    match found.as_slice() {
        [one, two] => Ok((*one, *two)),
        _ => Err(InputError::field("", "two contacts are needed")),
    }
}

/// The current aliases of a contact, user ids first.
async fn own(tx: &DatabaseTransaction, contact: Uuid) -> Result<Vec<ContactAlias>, StoreError> {
    let mut held: Vec<ContactAlias> = identity::aliases_of(tx, &[contact])
        .await?
        .into_iter()
        .filter(|holder| holder.superseded_at.is_none())
        .map(|holder| holder.alias)
        .collect();
    held.sort_by(|one, other| (one.is_phone(), one).cmp(&(other.is_phone(), other)));
    Ok(held)
}

fn pairs<'a>(
    one: &'a [ContactAlias],
    other: &'a [ContactAlias],
) -> impl Iterator<Item = (&'a ContactAlias, &'a ContactAlias)> {
    one.iter()
        .flat_map(move |first| other.iter().map(move |second| (first, second)))
}

async fn decide(
    tx: &DatabaseTransaction,
    by: PeopleActor<'_>,
    verdict: AliasVerdict,
) -> Result<(), StoreError> {
    let new = NewIdentityDecision {
        decision: AliasDecision {
            at: by.now,
            verdict,
        },
        actor: by.actor,
    };
    identity::note_decision(tx, new, by.now).await
}

/// The current opt-outs of a contact.
async fn refusals(
    tx: &DatabaseTransaction,
    contact: Uuid,
) -> Result<Vec<ConsentStatement>, StoreError> {
    Ok(suppression::of_these(tx, &[contact])
        .await?
        .into_iter()
        .filter(|row| !row.wanted)
        .map(|row| ConsentStatement {
            scope: if row.scope == ConsentScope::Marketing.name() {
                ConsentScope::Marketing
            } else {
                ConsentScope::All
            },
            at: Timestamp::from_micros(row.provider_at),
            is_wanted: false,
            source: row.source,
        })
        .collect())
}
