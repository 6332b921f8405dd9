//! A person says which contacts are one person, and which are not.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use super::settle::{Settled, settle};
use crate::{
    domain::{
        identity::{Alias, Decision, Verdict, consent::Statement},
        preference::Scope,
        time::Timestamp,
    },
    engine::{
        Engine, InputError,
        people::{By, note},
    },
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, NewDecision, NewStatement},
        people, suppression,
    },
};

/// Makes two contacts one: from then on they are one person, whatever evidence says. Gives back
/// the contact that stays; the other's id leads to it.
///
/// What people say of both must agree, or the other contact's name and handle are taken away with
/// `overwrite`.
pub async fn merge(
    engine: &Engine,
    by: By<'_>,
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
                    let verdict = Verdict::Link(first.clone(), second.clone());
                    decide(tx, by, verdict).await?;
                    let aliases: BTreeSet<Alias> = mine.iter().chain(&theirs).cloned().collect();
                    settle(engine, tx, aliases, &[], by.now).await?;
                }
                // Without an alias no evidence can speak of it.
                (_, None) => identity::merge(tx, two, one, by.now).await?,
                (None, Some(_)) => identity::merge(tx, one, two, by.now).await?,
            }
            let stays = people::current(tx, one).await?;
            if people::current(tx, two).await? != stays {
                let rule = "what is said of them differs (name, handle or catalogue): change one of them, or merge with overwrite";
                return Err(InputError::field("/other", rule));
            }
            let detail = json!({ "merged": two, "into": stays, "overwrite": overwrite });
            note(tx, by, "contact.merged", &one.to_string(), &detail).await?;
            Ok(stays)
        })
        .await
}

/// Takes aliases out of a contact, to a contact of their own: they are another person, whatever
/// evidence says. What came by them goes along; what is refused stays with both. Gives back their
/// contact: the one that they were of before, if there was one.
///
/// Of two contacts of which it is not decided whether they are one person, none of the aliases
/// need be named: they are two then, and the number is the other's.
pub async fn split(
    engine: &Engine,
    by: By<'_>,
    contact: Uuid,
    aliases: &[Alias],
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
            let (leaving, staying): (Vec<Alias>, Vec<Alias>) =
                held.into_iter().partition(|alias| aliases.contains(alias));
            let (Some(first), Some(last)) = (leaving.first(), staying.first()) else {
                let rule = "one alias at least must go, and one must stay";
                return Err(InputError::field("/aliases", rule));
            };
            for (one, other) in pairs(&leaving, &staying) {
                identity::forget_decisions(tx, one, other).await?;
                decide(tx, by, Verdict::Apart(one.clone(), other.clone())).await?;
            }
            // Whatever held each side together may be on the other.
            for (side, centre) in [(&leaving, first), (&staying, last)] {
                for alias in side.iter().filter(|alias| *alias != centre) {
                    decide(tx, by, Verdict::Link(centre.clone(), alias.clone())).await?;
                }
            }
            let refused = refusals(tx, contact).await?;
            let everything: BTreeSet<Alias> = leaving.iter().chain(&staying).cloned().collect();
            // Whoever has it now: it may have been somebody's before.
            let needed = [(std::slice::from_ref(first), by.now)];
            let mut settled = settle(engine, tx, everything.clone(), &needed, by.now).await?;
            let leads_to = |settled: &Settled, alias| {
                let met = settled.whose(std::slice::from_ref(alias), by.now);
                met.map(|met| met.contact)
            };
            if leads_to(&settled, last) != Some(contact) {
                // The contact was found by what goes, or by what led there.
                identity::set_anchor(tx, contact, last, by.now).await?;
                settled = settle(engine, tx, everything.clone(), &needed, by.now).await?;
            }
            let Some(theirs) = leads_to(&settled, first) else {
                return Err(StoreError::Conflict.into());
            };
            for statement in refused {
                for contact in [contact, theirs] {
                    let new = NewStatement {
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
            note(tx, by, "contact.split", &contact.to_string(), &detail).await?;
            Ok(theirs)
        })
        .await
}

/// Decides that two contacts of which it was open are two persons: a number in question is the
/// other's from when that one was seen with it.
pub async fn part(
    engine: &Engine,
    by: By<'_>,
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
                // A number can pass from one to the other: only ids say who is who.
                if !first.is_phone() && !second.is_phone() {
                    decide(tx, by, Verdict::Apart(first.clone(), second.clone())).await?;
                }
            }
            let aliases = mine.into_iter().chain(theirs).collect();
            settle(engine, tx, aliases, &[], by.now).await?;
            let detail = json!({ "other": two });
            note(tx, by, "contact.parted", &one.to_string(), &detail).await?;
            Ok(())
        })
        .await
}

/// Two contacts that are there, or whole persons that they are parts of.
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

/// The aliases that a contact has now, ids first.
async fn own(tx: &DatabaseTransaction, contact: Uuid) -> Result<Vec<Alias>, StoreError> {
    let mut held: Vec<Alias> = identity::aliases_of(tx, &[contact])
        .await?
        .into_iter()
        .filter(|holder| holder.superseded_at.is_none())
        .map(|holder| holder.alias)
        .collect();
    held.sort_by(|one, other| (one.is_phone(), one).cmp(&(other.is_phone(), other)));
    Ok(held)
}

fn pairs<'a>(one: &'a [Alias], other: &'a [Alias]) -> impl Iterator<Item = (&'a Alias, &'a Alias)> {
    one.iter()
        .flat_map(move |first| other.iter().map(move |second| (first, second)))
}

async fn decide(tx: &DatabaseTransaction, by: By<'_>, verdict: Verdict) -> Result<(), StoreError> {
    let new = NewDecision {
        decision: Decision {
            at: by.now,
            verdict,
        },
        actor: by.actor,
    };
    identity::note_decision(tx, new, by.now).await
}

/// What a contact refuses now.
async fn refusals(tx: &DatabaseTransaction, contact: Uuid) -> Result<Vec<Statement>, StoreError> {
    Ok(suppression::of_these(tx, &[contact])
        .await?
        .into_iter()
        .filter(|row| !row.wanted)
        .map(|row| Statement {
            scope: if row.scope == Scope::Marketing.name() {
                Scope::Marketing
            } else {
                Scope::All
            },
            at: Timestamp::from_micros(row.provider_at),
            is_wanted: false,
            source: row.source,
        })
        .collect())
}
