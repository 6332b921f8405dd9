//! Brings contacts into line with computed identities: merges, splits and moves aliases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{
    IdentifiedContact, conflicts, consent,
    load::{LoadedIdentityEvidence, load},
};
use crate::{
    domain::{
        identity::{
            ContactAlias,
            group::{ContactMergePlan, group},
            replay::{ComputedIdentities, PersonIndex, least_of_each, replay},
        },
        time::Timestamp,
        window,
    },
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError, alias,
        identity::{self, AliasHolder, IdentityContact, ServiceWindowTimes},
        notification, suppression,
    },
};

/// The identities, and the contacts that represent them.
#[derive(Debug)]
pub(in crate::engine) struct IdentityContactAssignment {
    pub(super) identities: ComputedIdentities,
    groups: BTreeMap<PersonIndex, ContactMergePlan>,
    /// The person of each contact, including contacts that have been merged into another.
    homes: BTreeMap<Uuid, PersonIndex>,
    /// Contacts that act as one with others, or that are undecided.
    shared: BTreeSet<Uuid>,
    holders: BTreeMap<ContactAlias, AliasHolder>,
}

impl IdentityContactAssignment {
    /// The contact of a person.
    pub(super) fn contact(&self, person: PersonIndex) -> Option<Uuid> {
        self.groups.get(&person).map(|group| group.survivor)
    }

    pub(super) fn person_of_contact(&self, contact: Uuid) -> Option<PersonIndex> {
        self.homes.get(&contact).copied()
    }

    /// Whether this contact is among them.
    pub(super) fn is_about(&self, contact: Uuid) -> bool {
        self.homes.contains_key(&contact)
    }

    /// All contacts involved.
    pub(super) fn contact_ids(&self) -> Vec<Uuid> {
        self.homes.keys().copied().collect()
    }

    /// Contacts that stay separate and act as one, with an alias of theirs.
    pub(super) fn linked(&self) -> Vec<(ContactAlias, Uuid, Uuid)> {
        let alias = |person: PersonIndex| {
            let mut persons = self.identities.persons();
            let held = persons.find(|(other, _)| *other == person)?.1;
            held.first().map(|holding| holding.alias.clone())
        };
        self.groups
            .iter()
            .flat_map(|(person, group)| {
                let alias = alias(*person);
                group
                    .linked
                    .iter()
                    .filter_map(move |linked| Some((alias.clone()?, group.survivor, *linked)))
            })
            .collect()
    }

    /// The contact that holds an alias.
    fn holder(&self, alias: &ContactAlias, person: PersonIndex) -> Option<Uuid> {
        let group = self.groups.get(&person)?;
        // Contacts that stay separate keep their aliases.
        let known = self.holders.get(alias).map(|holder| holder.contact);
        let stays = known.filter(|known| *known == group.survivor || group.linked.contains(known));
        Some(stays.unwrap_or(group.survivor))
    }

    /// The contact of an item that names these aliases.
    pub(super) fn whose(
        &self,
        aliases: &[ContactAlias],
        at: Timestamp,
    ) -> Option<IdentifiedContact> {
        let person = self.identities.person_of(aliases, at)?;
        let alias = aliases
            .iter()
            .find(|alias| self.identities.person_at(alias, at) == Some(person))?;
        let contact = self.holder(alias, person)?;
        Some(IdentifiedContact {
            contact,
            is_shared: self.shared.contains(&contact),
        })
    }
}

/// Computes the identities of these aliases and of everything they lead to, and brings contacts
/// into line. For each entry of `needed`, the aliases in an item and its time, a contact exists
/// afterwards.
pub(in crate::engine) async fn settle(
    engine: &Engine,
    tx: &DatabaseTransaction,
    aliases: BTreeSet<ContactAlias>,
    needed: &[(&[ContactAlias], Timestamp)],
    now: Timestamp,
) -> Result<IdentityContactAssignment, StoreError> {
    identity::lock(tx).await?;
    let loaded = load(tx, aliases).await?;
    let patience = engine.settings.people.identity_patience_seconds;
    let identities = replay(&loaded.evidence, patience, now);
    let mut contacts = loaded.contacts.clone();
    let mut homes = homes(&contacts, &identities);
    // A contact with inbound messages is kept even if they turn out to be another person's.
    let restless = restless(&loaded, &identities, &homes);
    let written = identity::messages(tx, &restless).await?;
    let writers = written
        .iter()
        .map(|message| (message.aliases.as_slice(), message.at));
    for (aliases, at) in needed.iter().copied().chain(writers) {
        let Some(person) = identities.person_of(aliases, at) else {
            continue;
        };
        if homes.values().any(|home| *home == person) {
            continue;
        }
        let Some(anchor) = aliases
            .iter()
            .find(|alias| identities.person_at(alias, at) == Some(person))
        else {
            continue;
        };
        let id = identity::insert_contact(tx, anchor, at, now).await?;
        homes.insert(id, person);
        let row = IdentityContact {
            id,
            anchor: Some((anchor.clone(), at)),
            merged_into: None,
            identity_id: None,
            is_unsettled: false,
            given: crate::domain::identity::group::DeclaredContactData::default(),
        };
        contacts.insert(id, row);
    }
    let mut by_person: BTreeMap<PersonIndex, Vec<Uuid>> = BTreeMap::new();
    for (contact, person) in &homes {
        by_person.entry(*person).or_default().push(*contact);
    }
    let groups: BTreeMap<PersonIndex, ContactMergePlan> = by_person
        .into_iter()
        .filter_map(|(person, ids)| {
            let given = ids
                .into_iter()
                .filter_map(|id| Some((id, contacts.get(&id)?.given.clone())));
            Some((person, group(given.collect())?))
        })
        .collect();
    let undecided: BTreeSet<PersonIndex> = identities
        .questions
        .iter()
        .flat_map(|question| [question.owner, question.claimant])
        .collect();
    let shared = groups
        .iter()
        .filter(|(person, group)| undecided.contains(person) || !group.linked.is_empty())
        .flat_map(|(_, group)| std::iter::once(group.survivor).chain(group.linked.iter().copied()))
        .collect();
    let settled = IdentityContactAssignment {
        identities,
        groups,
        homes,
        shared,
        holders: loaded.holders.clone(),
    };
    let is_merged = merge(tx, &settled, &contacts, now).await?;
    flag(tx, &settled, &contacts, &undecided).await?;
    let moves = hold(tx, &settled, now).await?;
    if is_merged || !moves.is_empty() || !restless.is_empty() {
        for (alias, from, to, since) in &moves {
            identity::take_notifications(tx, *from, *to, alias, *since).await?;
        }
        reattribute(engine, tx, &settled, now).await?;
    }
    restate(tx, &settled, &loaded, now).await?;
    conflicts::write(tx, &settled, now).await?;
    Ok(settled)
}

/// Contacts whose evidence also concerns an alias that several persons had: inbound messages from
/// it may be another person's.
fn restless(
    loaded: &LoadedIdentityEvidence,
    identities: &ComputedIdentities,
    homes: &BTreeMap<Uuid, PersonIndex>,
) -> Vec<Uuid> {
    let passed_on: Vec<&ContactAlias> = identities
        .aliases()
        .filter(|alias| identities.epochs(alias).len() > 1)
        .collect();
    let is_any_unsettled = loaded.contacts.values().any(|row| row.is_unsettled);
    // Aliases stored at a contact that is another person.
    let strays: BTreeSet<Uuid> = loaded
        .holders
        .values()
        .filter(|holder| {
            let home = homes.get(&holder.contact);
            let epochs = identities.epochs(&holder.alias);
            home.is_none_or(|home| epochs.iter().all(|(_, person)| person != home))
        })
        .map(|holder| holder.contact)
        .collect();
    if passed_on.is_empty() && !is_any_unsettled && strays.is_empty() {
        return Vec::new();
    }
    let observed = loaded
        .evidence
        .observations
        .iter()
        .map(|it| it.fact.aliases());
    let decided = loaded
        .evidence
        .decisions
        .iter()
        .map(|it| it.verdict.aliases());
    let mut pairs: Vec<(&ContactAlias, &ContactAlias)> = observed
        .chain(decided)
        .filter_map(|(one, other)| Some((one, other?)))
        .collect();
    let mut of_contact: BTreeMap<Uuid, Vec<&ContactAlias>> = BTreeMap::new();
    for holder in loaded.holders.values() {
        of_contact
            .entry(holder.contact)
            .or_default()
            .push(&holder.alias);
    }
    for row in loaded.contacts.values() {
        let anchor = row.anchor.iter().map(|(alias, _)| alias);
        of_contact.entry(row.id).or_default().extend(anchor);
        let whole = row
            .merged_into
            .and_then(|whole| loaded.contacts.get(&whole));
        let theirs = whole
            .and_then(|whole| whole.anchor.as_ref())
            .map(|(alias, _)| alias);
        of_contact.entry(row.id).or_default().extend(theirs);
    }
    for aliases in of_contact.values() {
        if let [first, rest @ ..] = aliases.as_slice() {
            pairs.extend(rest.iter().map(|other| (*first, *other)));
        }
    }
    let component = least_of_each(pairs);
    let of = |alias: &ContactAlias| component.get(&alias).copied().cloned();
    let touched: BTreeSet<ContactAlias> = passed_on
        .iter()
        .map(|alias| of(alias).unwrap_or_else(|| (*alias).clone()))
        .collect();
    of_contact
        .iter()
        .filter(|(contact, aliases)| {
            let row = loaded.contacts.get(contact);
            strays.contains(contact)
                || row.is_some_and(|row| row.is_unsettled)
                || aliases
                    .iter()
                    .any(|alias| touched.contains(&of(alias).unwrap_or_else(|| (*alias).clone())))
        })
        .map(|(contact, _)| *contact)
        .collect()
}

/// Undecided identities processed in one turn.
const DECIDED_AT_ONCE: u64 = 50;

/// Decides identities that no evidence has explained in time. Returns the number.
pub async fn decide_due(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let due = alias::due_questions(&engine.store, now, DECIDED_AT_ONCE).await?;
    let count = due.len();
    if count > 0 {
        engine
            .store
            .write(async |tx| {
                let aliases = due.iter().cloned().collect();
                settle(engine, tx, aliases, &[], now).await.map(drop)
            })
            .await?;
    }
    Ok(count)
}

/// The person of each contact.
fn homes(
    contacts: &BTreeMap<Uuid, IdentityContact>,
    identities: &ComputedIdentities,
) -> BTreeMap<Uuid, PersonIndex> {
    contacts
        .values()
        .filter_map(|row| {
            let (alias, at) = row.anchor.as_ref()?;
            Some((row.id, identities.person_at(alias, *at)?))
        })
        .collect()
}

/// Merges contacts that are one person, and splits those that are two. Returns whether anything
/// changed.
async fn merge(
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    contacts: &BTreeMap<Uuid, IdentityContact>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut is_changed = false;
    let was = |contact: &Uuid| contacts.get(contact).and_then(|row| row.merged_into);
    for group in settled.groups.values() {
        // Whatever contacts its parts belonged to, all belong to the survivor in the end.
        let is_ours = |whole: Uuid| whole == group.survivor || group.absorbed.contains(&whole);
        let own = std::iter::once(&group.survivor).chain(&group.linked);
        let strayed = group
            .absorbed
            .iter()
            .filter(|contact| was(contact).is_some_and(|whole| !is_ours(whole)));
        for contact in own.chain(strayed).filter(|contact| was(contact).is_some()) {
            identity::unmerge(tx, *contact, now).await?;
            is_changed = true;
        }
    }
    for group in settled.groups.values() {
        for contact in &group.absorbed {
            let whole = was(contact);
            let is_part_of_ours = whole.is_some_and(|whole| group.absorbed.contains(&whole));
            if whole == Some(group.survivor) || is_part_of_ours {
                continue;
            }
            identity::merge(tx, *contact, group.survivor, now).await?;
            is_changed = true;
            metrics::counter!("herald_contacts_merged_total").increment(1);
            tracing::info!(
                event = "contact.merged",
                contact.id = %group.survivor,
                absorbed = %contact,
                "contacts merged"
            );
        }
    }
    Ok(is_changed)
}

async fn flag(
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    contacts: &BTreeMap<Uuid, IdentityContact>,
    undecided: &BTreeSet<PersonIndex>,
) -> Result<(), StoreError> {
    for (person, group) in &settled.groups {
        let identity = (!group.linked.is_empty()).then_some(group.survivor);
        let is_unsettled = undecided.contains(person);
        for contact in std::iter::once(&group.survivor).chain(&group.linked) {
            let is_so = contacts
                .get(contact)
                .is_some_and(|row| row.identity_id == identity && row.is_unsettled == is_unsettled);
            if !is_so {
                identity::flag(tx, *contact, identity, is_unsettled).await?;
            }
        }
    }
    Ok(())
}

/// An alias that moved from one contact to another, with the time from which it belongs to the
/// other.
type AliasMove = (ContactAlias, Uuid, Uuid, Timestamp);

/// Stores the contact of each alias.
async fn hold(
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    now: Timestamp,
) -> Result<Vec<AliasMove>, StoreError> {
    // A number may return to a person who gave it up.
    let mut until: BTreeMap<(&ContactAlias, PersonIndex, Timestamp), Timestamp> = BTreeMap::new();
    for (person, held) in settled.identities.persons() {
        for holding in held {
            if let Some(end) = holding.until {
                until.insert((&holding.alias, person, holding.since), end);
            }
        }
    }
    let mut moves = Vec::new();
    for alias in settled.identities.aliases() {
        let epochs = settled.identities.epochs(alias);
        // The person who has it now, or had it last.
        let Some((place, (since, person))) = epochs
            .iter()
            .enumerate()
            .rev()
            .find(|(_, (_, person))| settled.groups.contains_key(person))
        else {
            // Its former owner is otherwise unknown: their contact becomes the next owner's.
            if settled.holders.contains_key(alias) {
                alias::remove(tx, alias).await?;
            }
            continue;
        };
        let Some(contact) = settled.holder(alias, *person) else {
            continue;
        };
        let superseded_at = epochs
            .get(place + 1)
            .map(|(lost, _)| *lost)
            .or_else(|| until.get(&(alias, *person, *since)).copied());
        let known = settled.holders.get(alias);
        let since = Timestamp::from_micros(since.micros().max(0));
        let is_so = known.is_some_and(|known| {
            known.contact == contact && known.since == since && known.superseded_at == superseded_at
        });
        if is_so {
            continue;
        }
        identity::set_holder(tx, alias, contact, since, superseded_at, now).await?;
        if superseded_at.is_none() {
            notification::release_addressed(tx, contact, now).await?;
        }
        if let Some(known) = known.filter(|known| known.contact != contact) {
            moves.push((alias.clone(), known.contact, contact, since));
        }
    }
    Ok(moves)
}

/// Moves inbound messages to the contacts of the persons who wrote them, and recomputes their
/// service windows.
async fn reattribute(
    engine: &Engine,
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contacts = settled.contact_ids();
    let messages = identity::messages(tx, &contacts).await?;
    let mut windows: HashMap<(Uuid, Uuid), ServiceWindowTimes> = HashMap::new();
    for message in &messages {
        let owner = settled
            .whose(&message.aliases, message.at)
            .map_or(message.contact, |met| met.contact);
        if owner != message.contact {
            identity::set_contact(tx, message.id, owner).await?;
        }
        let Some(sender) = message.sender else {
            continue;
        };
        // The contact that loses messages may have none left.
        windows.entry((sender, message.contact)).or_default();
        for contact in settled.together_with(owner) {
            let window = windows.entry((sender, contact)).or_default();
            window.last_inbound_at = window.last_inbound_at.max(Some(message.at));
            window.until = window.until.max(message.window_until);
            window.free_until = window.free_until.max(message.free_until);
        }
    }
    let closing = engine.settings.people.window_closing_seconds;
    for ((sender, contact), mut window) in windows {
        window.wake_at = window
            .until
            .and_then(|until| window::first_look(until, closing, now));
        identity::reset_windows(tx, sender, contact, window, now).await?;
    }
    Ok(())
}

impl IdentityContactAssignment {
    /// A contact, and those that act as one with it.
    fn together_with(&self, contact: Uuid) -> Vec<Uuid> {
        let group = self
            .homes
            .get(&contact)
            .and_then(|person| self.groups.get(person));
        match group {
            None => vec![contact],
            Some(group) => std::iter::once(group.survivor)
                .chain(group.linked.iter().copied())
                .collect(),
        }
    }
}

/// Recomputes consent: a statement applies to the person who made it.
async fn restate(
    tx: &DatabaseTransaction,
    settled: &IdentityContactAssignment,
    loaded: &LoadedIdentityEvidence,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contacts = settled.contact_ids();
    let said = identity::statements(tx, &loaded.evidence.others, &contacts).await?;
    let known = suppression::of_these(tx, &contacts).await?;
    if said.is_empty() && known.is_empty() {
        return Ok(());
    }
    let holds = consent::by_person(settled, &said);
    for (person, group) in &settled.groups {
        let none = Vec::new();
        let holds = holds.get(person).unwrap_or(&none);
        for contact in std::iter::once(&group.survivor).chain(&group.linked) {
            identity::state_again(tx, *contact, holds, now).await?;
        }
    }
    Ok(())
}
