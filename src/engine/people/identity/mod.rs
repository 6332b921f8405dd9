//! Maintains identities: stores evidence from callbacks and responses, and keeps contacts in line
//! with it.
//!
//! The rules are in [`crate::domain::identity`]; this module reads and writes, and applies the
//! result to messages, inbound messages and consent. Most items refer to a contact that is
//! undisputed: for these nothing is computed or written.

mod answered;
mod by_hand;
mod conflicts;
mod consent;
mod first_id;
mod load;
mod settle;

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact, ContactAliasKind, ContactAliasObservation},
        phone::Phone,
        recipient::MessageAddress,
        time::Timestamp,
    },
    engine::{Engine, runtime::sighting::PersonSighting},
    providers::PersonIds,
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, IdentityEvidenceSource, NewIdentityEvidence},
        people,
    },
};

pub use answered::{learn_answered, learn_due};
pub use by_hand::{merge, part, split};
pub(in crate::engine) use consent::state;
pub use settle::decide_due;
pub(in crate::engine) use settle::settle;

impl PersonSighting {
    /// The sighting of a person who wrote, called or stated a preference.
    pub(in crate::engine) fn of(
        ids: &PersonIds,
        scope: Option<&str>,
        at: Timestamp,
        source: IdentityEvidenceSource,
        callback: Uuid,
    ) -> Self {
        let aliases = aliases(ids);
        Self {
            facts: facts(&aliases),
            aliases,
            scope: scope.unwrap_or_default().to_owned(),
            at,
            source,
            callback_id: Some(callback),
            is_person: true,
            profile_name: ids.name.clone(),
            // Some payloads have it with a leading `@`, as it is displayed.
            username: ids
                .username
                .as_deref()
                .map(|it| it.trim_start_matches('@').to_owned()),
        }
    }
}

/// The aliases in an item, most reliable first.
pub(in crate::engine) fn aliases(ids: &PersonIds) -> Vec<ContactAlias> {
    let id = |kind, value: &Option<String>| value.clone().map(|value| ContactAlias { kind, value });
    [
        id(ContactAliasKind::UserId, &ids.user_id),
        ids.wa_id.as_deref().map(ContactAlias::of_wa_id),
        id(ContactAliasKind::ParentUserId, &ids.parent_user_id),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The facts that follow from aliases appearing together.
pub(in crate::engine) fn facts(aliases: &[ContactAlias]) -> Vec<ContactAliasFact> {
    let of = |kind| aliases.iter().find(|alias| alias.kind == kind).cloned();
    let (phone, id, parent) = (
        of(ContactAliasKind::Phone),
        of(ContactAliasKind::UserId),
        of(ContactAliasKind::ParentUserId),
    );
    let mut facts = Vec::new();
    match (&phone, &id) {
        (Some(phone), Some(id)) => facts.push(ContactAliasFact::Together {
            phone: phone.clone(),
            id: id.clone(),
        }),
        (Some(alias), None) | (None, Some(alias)) => {
            facts.push(ContactAliasFact::Seen(alias.clone()));
        }
        (None, None) => {}
    }
    match (id, phone, parent) {
        (Some(id), _, Some(parent)) => facts.push(ContactAliasFact::Parent { id, parent }),
        (None, Some(phone), Some(id)) => facts.push(ContactAliasFact::Together { phone, id }),
        (None, None, Some(parent)) => facts.push(ContactAliasFact::Seen(parent)),
        (_, _, None) => {}
    }
    facts
}

/// The recipient of a message as named by a response or a status.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct ReportedRecipient<'a> {
    /// The address that the message was sent to.
    pub address: Option<&'a MessageAddress>,
    /// The provider's form of the number.
    pub wa_id: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub parent_user_id: Option<&'a str>,
}

impl ReportedRecipient<'_> {
    /// The aliases, most reliable first. The number is the one that was sent to.
    pub(in crate::engine) fn aliases(&self) -> Vec<ContactAlias> {
        let id = |kind, value: Option<&str>| {
            value.map(|value| ContactAlias {
                kind,
                value: value.to_owned(),
            })
        };
        let sent_to = match self.address {
            Some(MessageAddress::Phone(phone)) => Some(ContactAlias::of_phone(phone)),
            Some(MessageAddress::UserId(_) | MessageAddress::Email(_)) | None => None,
        };
        let sent_to_id = match self.address {
            Some(MessageAddress::UserId(user_id)) => Some(user_id.as_str()),
            Some(MessageAddress::Phone(_) | MessageAddress::Email(_)) | None => None,
        };
        [
            id(ContactAliasKind::UserId, self.user_id.or(sent_to_id)),
            sent_to,
            id(ContactAliasKind::ParentUserId, self.parent_user_id),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The evidence in it, if there is any. A number other than the one sent to is the same line
    /// only if it is a known variant of it; otherwise the item is about that other number.
    pub(in crate::engine) fn sighting(
        &self,
        scope: &str,
        at: Timestamp,
        source: IdentityEvidenceSource,
    ) -> Option<PersonSighting> {
        let mut aliases = self.aliases();
        let mut variant = None;
        // Most answers repeat the number that was sent to: parsing costs more than comparing.
        if let (Some(MessageAddress::Phone(sent)), Some(wa_id)) = (self.address, self.wa_id)
            && sent.e164().strip_prefix('+') != Some(wa_id)
            && let Ok(answered) = Phone::from_wa_id(wa_id)
            && answered != *sent
        {
            let answered_alias = ContactAlias::of_phone(&answered);
            if answered.is_variant_of(sent) {
                variant = Some(ContactAliasFact::Variant {
                    sent: ContactAlias::of_phone(sent),
                    answered: answered_alias,
                });
            } else {
                tracing::warn!(
                    event = "identity.other_number",
                    "the provider answered with a number other than the one the message was sent to: nothing is concluded about the latter"
                );
                metrics::counter!("herald_identity_contradictions_total").increment(1);
                for alias in aliases.iter_mut().filter(|alias| alias.is_phone()) {
                    *alias = answered_alias.clone();
                }
            }
        }
        let mut facts = facts(&aliases);
        facts.retain(|fact| !matches!(fact, ContactAliasFact::Seen(_)));
        facts.extend(variant);
        (!facts.is_empty()).then(|| PersonSighting {
            aliases,
            facts,
            scope: scope.to_owned(),
            at,
            source,
            callback_id: None,
            is_person: false,
            profile_name: None,
            username: None,
        })
    }
}

/// The contact that an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct IdentifiedContact {
    pub contact: Uuid,
    /// This person's statements may apply to further contacts.
    pub is_shared: bool,
}

/// Whether everything in these is known already: checked before anything is written.
pub(in crate::engine) async fn are_known(
    engine: &Engine,
    sightings: &[PersonSighting],
) -> Result<bool, StoreError> {
    let all: Vec<NewIdentityEvidence> = sightings.iter().flat_map(evidence).collect();
    identity::are_noted(engine.store.by_index(), &all).await
}

fn evidence(sighting: &PersonSighting) -> impl Iterator<Item = NewIdentityEvidence> + '_ {
    sighting.facts.iter().map(|fact| NewIdentityEvidence {
        observation: ContactAliasObservation {
            fact: fact.clone(),
            scope: sighting.scope.clone(),
            first: sighting.at,
            last: sighting.at,
        },
        source: sighting.source,
        callback_id: sighting.callback_id,
    })
}

/// The contact of an item, and those that act as one with it.
pub(in crate::engine) async fn together(
    tx: &DatabaseTransaction,
    met: IdentifiedContact,
) -> Result<Vec<Uuid>, StoreError> {
    if met.is_shared {
        identity::together(tx, met.contact).await
    } else {
        Ok(vec![met.contact])
    }
}

/// Stores the evidence in items, and returns the contact of each. Any order and batching of the
/// same items gives the same persons.
pub(in crate::engine) async fn meet(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sightings: &[PersonSighting],
    now: Timestamp,
) -> Result<Vec<Option<IdentifiedContact>>, StoreError> {
    let named: BTreeSet<&ContactAlias> = sightings
        .iter()
        .flat_map(|sighting| {
            let of_facts = sighting.facts.iter().flat_map(|fact| {
                let (one, other) = fact.aliases();
                std::iter::once(one).chain(other)
            });
            sighting.aliases.iter().chain(of_facts)
        })
        .collect();
    if named.is_empty() {
        return Ok(sightings.iter().map(|_| None).collect());
    }
    let named: Vec<ContactAlias> = named.into_iter().cloned().collect();
    let known: HashMap<ContactAlias, identity::AliasHolderState> = identity::known(tx, &named)
        .await?
        .into_iter()
        .map(|known| (known.holder.alias.clone(), known))
        .collect();
    let first = first_id::add(tx, sightings, &known, now).await?;
    let rest = sightings
        .iter()
        .zip(&first)
        .filter(|(_, first)| first.is_none());
    let evidence: Vec<NewIdentityEvidence> =
        rest.flat_map(|(sighting, _)| evidence(sighting)).collect();
    let mut noted = identity::note(tx, &evidence, now).await?.into_iter();
    let mut unclear: BTreeSet<ContactAlias> = BTreeSet::new();
    let mut met: Vec<Option<IdentifiedContact>> = Vec::with_capacity(sightings.len());
    let mut quiet: Vec<bool> = Vec::with_capacity(sightings.len());
    for (sighting, first) in sightings.iter().zip(first) {
        if let Some(contact) = first {
            quiet.push(false);
            met.push(Some(IdentifiedContact {
                contact,
                is_shared: false,
            }));
            continue;
        }
        let mut is_news = false;
        let mut is_later = false;
        for noted in noted.by_ref().take(sighting.facts.len()) {
            is_news |= noted.is_news;
            is_later |= noted.is_later;
        }
        let agreed = agreed(sighting, &known);
        let is_quiet =
            !is_news && agreed.is_some_and(|(_, is_unsettled)| !(is_unsettled && is_later));
        quiet.push(is_quiet);
        if is_quiet {
            met.push(agreed.map(|(known, is_unsettled)| IdentifiedContact {
                contact: known.holder.contact,
                is_shared: is_unsettled || known.is_linked,
            }));
            continue;
        }
        met.push(None);
        unclear.extend(sighting.aliases.iter().cloned());
        for fact in &sighting.facts {
            let (one, other) = fact.aliases();
            unclear.extend(std::iter::once(one).chain(other).cloned());
        }
    }
    if !unclear.is_empty() {
        let needed: Vec<(&[ContactAlias], Timestamp)> = sightings
            .iter()
            .zip(&met)
            .filter(|(sighting, met)| met.is_none() && sighting.is_person)
            .map(|(sighting, _)| (sighting.aliases.as_slice(), sighting.at))
            .collect();
        let settled = settle(engine, tx, unclear, &needed, now).await?;
        for (sighting, met) in sightings.iter().zip(&mut met) {
            // A contact that was undisputed may have been merged because of the other items.
            let is_touched = met.is_none_or(|met| settled.is_about(met.contact));
            if is_touched {
                *met = settled.whose(&sighting.aliases, sighting.at);
            }
        }
    }
    for ((sighting, met), is_quiet) in sightings.iter().zip(&met).zip(quiet) {
        // Statuses are many and repeat themselves: only new evidence is followed up.
        if let Some(met) = met
            && !(is_quiet && sighting.source == IdentityEvidenceSource::Status)
            && (sighting.profile_name.is_some() || sighting.username.is_some())
        {
            people::set_profile(
                tx,
                met.contact,
                sighting.profile_name.as_deref(),
                sighting.username.as_deref(),
                sighting.at,
            )
            .await?;
        }
    }
    Ok(met)
}

/// The contact that has all aliases of an item, if none of them is disputed at that time, and
/// whether something else about the contact is.
fn agreed<'a>(
    sighting: &PersonSighting,
    known: &'a HashMap<ContactAlias, identity::AliasHolderState>,
) -> Option<(&'a identity::AliasHolderState, bool)> {
    let mut all = sighting.aliases.iter().map(|alias| known.get(alias));
    let first = all.next()??;
    let has = |other: &identity::AliasHolderState| {
        // A replaced user id still belongs to this person.
        let is_current = other.holder.superseded_at.is_none() || !other.holder.alias.is_phone();
        other.holder.contact == first.holder.contact
            && is_current
            && sighting.at >= other.holder.since
    };
    let is_agreed = has(first) && all.all(|other| other.is_some_and(has));
    is_agreed.then_some((first, first.is_unsettled))
}
