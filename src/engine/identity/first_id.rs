//! The first user id that answers and statuses name for a number: with every message to somebody
//! new one comes, and there is nothing to compute.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::Sighting;
use crate::{
    domain::{
        identity::{Alias, Fact},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, Known},
    },
};

/// Adds first ids to the contacts of their numbers. Says which sightings need nothing more.
///
/// That is so where a settled contact has the number now, nobody has the id, and no other evidence
/// and no decision names either of them.
pub(super) async fn add(
    tx: &DatabaseTransaction,
    sightings: &[&Sighting],
    known: &HashMap<Alias, Known>,
    now: Timestamp,
) -> Result<Vec<bool>, StoreError> {
    let mut named: BTreeMap<&Alias, usize> = BTreeMap::new();
    for sighting in sightings {
        for fact in &sighting.facts {
            let (one, other) = fact.aliases();
            for alias in std::iter::once(one).chain(other) {
                *named.entry(alias).or_default() += 1;
            }
        }
    }
    let candidates: Vec<Option<(&Alias, &Alias, Uuid)>> = sightings
        .iter()
        .map(|sighting| {
            candidate(sighting, known).filter(|(phone, id, _)| {
                // Of what comes together, only what is named once is clear.
                named.get(phone) == Some(&1) && named.get(id) == Some(&1)
            })
        })
        .collect();
    let aliases: Vec<Alias> = candidates
        .iter()
        .flatten()
        .flat_map(|(phone, id, _)| [(*phone).clone(), (*id).clone()])
        .collect();
    if aliases.is_empty() {
        return Ok(vec![false; sightings.len()]);
    }
    // Two processes may hear of two first ids of one number.
    identity::lock(tx).await?;
    let mut others: BTreeMap<Alias, usize> = BTreeMap::new();
    for observation in identity::evidence_about(tx, &aliases).await? {
        // The one of this sighting is found by both of its aliases.
        let (one, other) = observation.fact.aliases();
        if matches!(observation.fact, Fact::Seen(_)) {
            continue;
        }
        for alias in std::iter::once(one).chain(other) {
            *others.entry(alias.clone()).or_default() += 1;
        }
    }
    for decision in identity::decisions_about(tx, &aliases).await? {
        let (one, other) = decision.verdict.aliases();
        for alias in std::iter::once(one).chain(other) {
            *others.entry(alias.clone()).or_default() += 3;
        }
    }
    let is_first = |alias: &Alias| others.get(alias).is_some_and(|count| *count <= 2);
    let mut added = Vec::new();
    let done = candidates
        .into_iter()
        .map(|candidate| {
            let clear = candidate.filter(|(phone, id, _)| is_first(phone) && is_first(id));
            added.extend(clear.map(|(_, id, contact)| (id.clone(), contact)));
            clear.is_some()
        })
        .collect();
    identity::add_holders(tx, &added, now).await?;
    Ok(done)
}

/// The number, the id and the contact of the number, if it may be so.
fn candidate<'a>(
    sighting: &'a Sighting,
    known: &HashMap<Alias, Known>,
) -> Option<(&'a Alias, &'a Alias, Uuid)> {
    let [Fact::Together { phone, id }] = sighting.facts.as_slice() else {
        return None;
    };
    let holder = known.get(phone)?;
    let is_clear = !sighting.is_person
        && !holder.is_unsettled
        && !holder.is_linked
        && holder.holder.superseded_at.is_none()
        && sighting.at >= holder.holder.since
        && !known.contains_key(id);
    is_clear.then_some((phone, id, holder.holder.contact))
}
