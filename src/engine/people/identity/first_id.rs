//! Fast path for the first user id that a number gets: it comes with every message to a new
//! contact, and no identities have to be computed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::evidence;
use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact},
        time::Timestamp,
    },
    engine::runtime::sighting::PersonSighting,
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, AliasHolderState, NewIdentityEvidence, PhoneUserIdPair},
    },
};

/// Adds first user ids to the contacts of their numbers, with the evidence. Returns for each
/// sighting its contact if it was of this kind, so that it needs no further work.
///
/// This applies if a settled contact has the number now, no contact has the id, and no other
/// evidence or decision concerns either of them.
pub(super) async fn add(
    tx: &DatabaseTransaction,
    sightings: &[PersonSighting],
    known: &HashMap<ContactAlias, AliasHolderState>,
    now: Timestamp,
) -> Result<Vec<Option<Uuid>>, StoreError> {
    let mut owners = vec![None; sightings.len()];
    let candidates: Vec<(usize, FirstUserIdCandidate<'_>)> = sightings
        .iter()
        .enumerate()
        .filter_map(|(position, sighting)| Some((position, candidate(sighting, known)?)))
        .collect();
    if candidates.is_empty() {
        return Ok(owners);
    }
    let mut named: BTreeMap<&ContactAlias, usize> = BTreeMap::new();
    for fact in sightings.iter().flat_map(|sighting| &sighting.facts) {
        let (one, other) = fact.aliases();
        for alias in std::iter::once(one).chain(other) {
            *named.entry(alias).or_default() += 1;
        }
    }
    // Within a batch, only an alias that is named once is unambiguous.
    let is_clear = |(_, it): &(usize, FirstUserIdCandidate<'_>)| {
        named.get(it.phone) == Some(&1) && named.get(it.id) == Some(&1)
    };
    let clear: Vec<(usize, FirstUserIdCandidate<'_>)> =
        candidates.into_iter().filter(is_clear).collect();
    // Two processes may learn two first ids of one number at the same time.
    identity::lock(tx).await?;
    let pairs: Vec<PhoneUserIdPair<'_>> = clear
        .iter()
        .map(|(position, it)| PhoneUserIdPair {
            position: *position,
            phone: &it.phone.value,
            id: &it.id.value,
        })
        .collect();
    let first: BTreeSet<usize> = identity::unmentioned(tx, &pairs)
        .await?
        .into_iter()
        .collect();
    let mut added = Vec::with_capacity(first.len());
    let mut noted: Vec<NewIdentityEvidence> = Vec::with_capacity(first.len());
    for (position, it) in clear
        .iter()
        .filter(|(position, _)| first.contains(position))
    {
        if let (Some(owner), Some(sighting)) = (owners.get_mut(*position), sightings.get(*position))
        {
            *owner = Some(it.contact);
            added.push((it.id.clone(), it.contact));
            noted.extend(evidence(sighting));
        }
    }
    identity::add_evidence(tx, &noted, now).await?;
    identity::add_holders(tx, &added, now).await?;
    Ok(owners)
}

/// A number, a new user id, and the contact of the number.
struct FirstUserIdCandidate<'a> {
    phone: &'a ContactAlias,
    id: &'a ContactAlias,
    contact: Uuid,
}

fn candidate<'a>(
    sighting: &'a PersonSighting,
    known: &HashMap<ContactAlias, AliasHolderState>,
) -> Option<FirstUserIdCandidate<'a>> {
    let [ContactAliasFact::Together { phone, id }] = sighting.facts.as_slice() else {
        return None;
    };
    let holder = known.get(phone)?;
    let is_clear = !sighting.is_person
        && !holder.is_unsettled
        && !holder.is_linked
        && holder.holder.superseded_at.is_none()
        && sighting.at >= holder.holder.since
        && !known.contains_key(id);
    is_clear.then_some(FirstUserIdCandidate {
        phone,
        id,
        contact: holder.holder.contact,
    })
}
