//! Computes identities from all evidence about a set of aliases.
//!
//! The evidence is replayed in the order of the provider's time. A phone number has *epochs*: in
//! each it belongs to one person, and a new one begins when it changes hands. A user id has one
//! epoch, unless an operator has cut it off. Epochs are united to persons; evidence that does not
//! fit becomes a question or a contradiction, and both are results.

mod events;
mod same;

pub use same::least_of_each;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use self::{
    events::{AliasEvent, AliasEventKind, events},
    same::{all_aliases, portfolios, spellings},
};
use super::{AliasDecision, AliasVerdict, ContactAlias, ContactAliasFact, ContactAliasObservation};
use crate::domain::time::Timestamp;

/// Before all times.
const ALWAYS: Timestamp = Timestamp::from_micros(i64::MIN);

/// All evidence about some aliases.
#[derive(Clone, Debug, Default)]
pub struct IdentityEvidence {
    pub observations: Vec<ContactAliasObservation>,
    pub decisions: Vec<AliasDecision>,
    /// Aliases without any other evidence.
    pub others: Vec<ContactAlias>,
}

/// A person, valid within one [`ComputedIdentities`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonIndex(usize);

/// One alias of a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersonAliasPeriod {
    pub alias: ContactAlias,
    pub since: Timestamp,
    /// End of a number that was given up, or of a user id that was replaced. The id still belongs
    /// to this person.
    pub until: Option<Timestamp>,
}

/// An unexplained new user id at a known number: the same person with a new id, or another person
/// who got the number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhoneOwnershipQuestion {
    pub phone: ContactAlias,
    /// The person the number belonged to.
    pub owner: PersonIndex,
    /// The person seen with it.
    pub claimant: PersonIndex,
    pub since: Timestamp,
    /// From then on it counts as a move.
    pub due: Timestamp,
}

/// A number that counts as moved because no evidence explained the new user id in time: opt-outs of
/// either person up to then apply to both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptOutInheritance {
    pub owner: PersonIndex,
    pub claimant: PersonIndex,
    pub until: Timestamp,
}

/// Evidence that contradicts other evidence, or an operator's decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityEvidenceConflict {
    pub alias: ContactAlias,
    pub one: PersonIndex,
    pub other: PersonIndex,
}

/// The computed identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputedIdentities {
    /// For each alias: its owners with their start times, the oldest first.
    epochs: BTreeMap<ContactAlias, Vec<(Timestamp, PersonIndex)>>,
    persons: BTreeMap<PersonIndex, Vec<PersonAliasPeriod>>,
    pub questions: Vec<PhoneOwnershipQuestion>,
    pub inheritances: Vec<OptOutInheritance>,
    pub contradictions: Vec<IdentityEvidenceConflict>,
}

impl ComputedIdentities {
    /// The owner of an alias at a time; `None` if nothing is known.
    pub fn person_at(&self, alias: &ContactAlias, at: Timestamp) -> Option<PersonIndex> {
        let epochs = self.epochs.get(alias)?;
        epochs
            .iter()
            .rev()
            .find(|(since, _)| *since <= at)
            .map(|(_, person)| *person)
    }

    /// The person of an item that names some aliases, the most reliable first.
    pub fn person_of(&self, aliases: &[ContactAlias], at: Timestamp) -> Option<PersonIndex> {
        aliases.iter().find_map(|alias| self.person_at(alias, at))
    }

    /// The owners of an alias with their start times, the oldest first.
    pub fn epochs(&self, alias: &ContactAlias) -> &[(Timestamp, PersonIndex)] {
        self.epochs.get(alias).map_or(&[], Vec::as_slice)
    }

    /// Every person with their present and former aliases, in order of alias and time.
    pub fn persons(&self) -> impl Iterator<Item = (PersonIndex, &[PersonAliasPeriod])> {
        self.persons
            .iter()
            .map(|(person, held)| (*person, held.as_slice()))
    }

    /// Every alias with evidence.
    pub fn aliases(&self) -> impl Iterator<Item = &ContactAlias> {
        self.epochs.keys()
    }
}

/// Replays evidence. After `patience_seconds` an unexplained new user id counts as a move.
pub fn replay(
    evidence: &IdentityEvidence,
    patience_seconds: i64,
    now: Timestamp,
) -> ComputedIdentities {
    let mut replay = IdentityEvidenceReplay::of(evidence, patience_seconds, now);
    replay.tie_for_good(evidence);
    for event in events(evidence) {
        replay.apply(event);
    }
    replay.finish(evidence)
}

/// A part of a person, united with others by the evidence.
type IdentityGraphNode = usize;

/// A period in which a number, or an id that was cut off, belongs to one person.
#[derive(Clone, Debug)]
struct AliasOwnershipPeriod {
    since: Timestamp,
    node: IdentityGraphNode,
    /// User ids seen with it, with their portfolio.
    ids: BTreeSet<(String, ContactAlias)>,
    /// A person was seen with it, with or without an id.
    is_seen: bool,
}

impl AliasOwnershipPeriod {
    const fn new(since: Timestamp, node: IdentityGraphNode) -> Self {
        Self {
            since,
            node,
            ids: BTreeSet::new(),
            is_seen: false,
        }
    }
}

#[derive(Debug)]
struct IdentityEvidenceReplay {
    parents: Vec<IdentityGraphNode>,
    /// By the first variant of each alias.
    epochs: BTreeMap<ContactAlias, Vec<AliasOwnershipPeriod>>,
    /// The first variant of numbers that have several.
    spellings: BTreeMap<ContactAlias, ContactAlias>,
    /// The portfolio of each account.
    portfolios: BTreeMap<String, String>,
    /// When two aliases were last decided to be two persons.
    apart: BTreeMap<(ContactAlias, ContactAlias), Timestamp>,
    groups: BTreeMap<Uuid, IdentityGraphNode>,
    /// When each user id was last seen.
    alive: BTreeMap<ContactAlias, Timestamp>,
    questions: BTreeMap<(ContactAlias, IdentityGraphNode, IdentityGraphNode), Timestamp>,
    inheritances: BTreeSet<(IdentityGraphNode, IdentityGraphNode, Timestamp)>,
    contradictions: BTreeSet<(ContactAlias, IdentityGraphNode, IdentityGraphNode)>,
    patience_seconds: i64,
    now: Timestamp,
}

impl IdentityEvidenceReplay {
    fn of(evidence: &IdentityEvidence, patience_seconds: i64, now: Timestamp) -> Self {
        let mut replay = Self {
            parents: Vec::new(),
            epochs: BTreeMap::new(),
            spellings: spellings(evidence),
            portfolios: portfolios(evidence),
            apart: BTreeMap::new(),
            groups: BTreeMap::new(),
            alive: BTreeMap::new(),
            questions: BTreeMap::new(),
            inheritances: BTreeSet::new(),
            contradictions: BTreeSet::new(),
            patience_seconds,
            now,
        };
        for alias in all_aliases(evidence) {
            let first = replay.first_spelling(alias).clone();
            if !replay.epochs.contains_key(&first) {
                let node = replay.node();
                replay
                    .epochs
                    .insert(first, vec![AliasOwnershipPeriod::new(ALWAYS, node)]);
            }
        }
        for observation in &evidence.observations {
            let id = match &observation.fact {
                ContactAliasFact::Together { id, .. } => id,
                ContactAliasFact::Seen(alias) if !alias.is_phone() => alias,
                _ => continue,
            };
            let alive = replay.alive.entry(id.clone()).or_insert(observation.last);
            *alive = (*alive).max(observation.last);
        }
        let mut cuts: Vec<&AliasDecision> = evidence.decisions.iter().collect();
        cuts.sort();
        for AliasDecision { at, verdict } in cuts {
            match verdict {
                AliasVerdict::Apart(one, other) => {
                    let (one, other) = (
                        replay.first_spelling(one).clone(),
                        replay.first_spelling(other).clone(),
                    );
                    replay.apart.insert((one.clone(), other.clone()), *at);
                    replay.apart.insert((other, one), *at);
                }
                AliasVerdict::Cut { alias, group } if !alias.is_phone() => {
                    replay.cut(alias, *group, *at);
                }
                AliasVerdict::Cut { .. } | AliasVerdict::Link(..) => {}
            }
        }
        replay
    }

    fn node(&mut self) -> IdentityGraphNode {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn first_spelling<'a>(&'a self, alias: &'a ContactAlias) -> &'a ContactAlias {
        self.spellings.get(alias).unwrap_or(alias)
    }

    fn root(&self, node: IdentityGraphNode) -> IdentityGraphNode {
        let mut root = node;
        while let Some(parent) = self
            .parents
            .get(root)
            .copied()
            .filter(|parent| *parent != root)
        {
            root = parent;
        }
        root
    }

    fn are_one(&self, one: IdentityGraphNode, other: IdentityGraphNode) -> bool {
        self.root(one) == self.root(other)
    }

    /// Unites two persons, unless they were decided to be two. Returns whether they are one.
    fn unite(&mut self, one: IdentityGraphNode, other: IdentityGraphNode) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return true;
        }
        if self.are_apart(one, other) {
            return false;
        }
        // The lower index, so that the result does not depend on the order of arguments.
        if let Some(parent) = self.parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
        true
    }

    fn are_apart(&self, one: IdentityGraphNode, other: IdentityGraphNode) -> bool {
        !self.apart.is_empty()
            && self
                .members(one)
                .any(|alias| self.parted_from(other, alias).is_some())
    }

    /// When an alias, in its first variant, was last decided not to belong to this person.
    fn parted_from(&self, node: IdentityGraphNode, alias: &ContactAlias) -> Option<Timestamp> {
        if self.apart.is_empty() {
            return None;
        }
        self.members(node)
            .filter_map(|own| self.apart_since(own, alias))
            .max()
    }

    /// The present and former aliases of a person.
    fn members(&self, node: IdentityGraphNode) -> impl Iterator<Item = &ContactAlias> {
        let root = self.root(node);
        self.epochs
            .iter()
            .filter(move |(_, epochs)| epochs.iter().any(|epoch| self.root(epoch.node) == root))
            .map(|(alias, _)| alias)
    }

    /// Evidence gives a number to a person although it was decided not to be theirs: the number
    /// stays where it is, and its holder at the time of the decision is another person from then
    /// on.
    fn refuse(&mut self, phone: &ContactAlias, at: Timestamp, decided_at: Timestamp) {
        if at < decided_at {
            let somebody = self.node();
            self.begin(phone, at, somebody);
        }
    }

    /// When two aliases, in their first variants, were decided to be two persons.
    fn apart_since(&self, one: &ContactAlias, other: &ContactAlias) -> Option<Timestamp> {
        self.apart.get(&(one.clone(), other.clone())).copied()
    }

    fn epochs_of(&self, alias: &ContactAlias) -> &[AliasOwnershipPeriod] {
        self.epochs
            .get(self.first_spelling(alias))
            .map_or(&[], Vec::as_slice)
    }

    fn node_at(&self, alias: &ContactAlias, at: Timestamp) -> Option<IdentityGraphNode> {
        let epochs = self.epochs_of(alias);
        epochs
            .iter()
            .rev()
            .find(|epoch| epoch.since <= at)
            .map(|epoch| epoch.node)
    }

    fn current(&self, alias: &ContactAlias) -> Option<&AliasOwnershipPeriod> {
        self.epochs_of(alias).last()
    }

    fn current_mut(&mut self, alias: &ContactAlias) -> Option<&mut AliasOwnershipPeriod> {
        let first = self.first_spelling(alias).clone();
        self.epochs
            .get_mut(&first)
            .and_then(|epochs| epochs.last_mut())
    }

    /// Starts an epoch: the alias belongs to this person from then on.
    fn begin(&mut self, alias: &ContactAlias, since: Timestamp, node: IdentityGraphNode) {
        let first = self.first_spelling(alias).clone();
        let epochs = self.epochs.entry(first).or_default();
        epochs.retain(|epoch| epoch.since != since || epoch.since == ALWAYS);
        epochs.push(AliasOwnershipPeriod::new(since, node));
    }

    fn cut(&mut self, alias: &ContactAlias, group: Uuid, at: Timestamp) {
        let node = if let Some(node) = self.groups.get(&group) {
            *node
        } else {
            let node = self.node();
            self.groups.insert(group, node);
            node
        };
        self.begin(alias, at, node);
    }

    /// Evidence that needs no order: user ids that were replaced or appear together.
    fn tie_for_good(&mut self, evidence: &IdentityEvidence) {
        let mut ties: BTreeSet<(&ContactAlias, &ContactAlias, Timestamp)> = BTreeSet::new();
        for ContactAliasObservation {
            fact, first, last, ..
        } in &evidence.observations
        {
            match fact {
                ContactAliasFact::Replaced { old, new } => {
                    ties.insert((old, new, *first));
                }
                ContactAliasFact::Parent { id, parent } => {
                    ties.insert((id, parent, *first));
                    ties.insert((id, parent, *last));
                }
                ContactAliasFact::Seen(_)
                | ContactAliasFact::Together { .. }
                | ContactAliasFact::Rotated { .. }
                | ContactAliasFact::Moved { .. }
                | ContactAliasFact::Variant { .. } => {}
            }
        }
        let linked = evidence
            .decisions
            .iter()
            .filter_map(|decision| match &decision.verdict {
                AliasVerdict::Link(one, other) if !one.is_phone() && !other.is_phone() => {
                    Some((one, other, decision.at))
                }
                _ => None,
            });
        // Operator decisions come first.
        let linked: BTreeSet<_> = linked.collect();
        for (one, other, at) in linked.into_iter().chain(ties) {
            self.tie(one, other, at);
        }
    }

    fn tie(&mut self, one: &ContactAlias, other: &ContactAlias, at: Timestamp) {
        let (Some(first), Some(second)) = (self.node_at(one, at), self.node_at(other, at)) else {
            return;
        };
        if !self.unite(first, second) {
            self.contradictions.insert((other.clone(), first, second));
        }
    }

    fn apply(&mut self, AliasEvent { at, kind }: AliasEvent<'_>) {
        match kind {
            AliasEventKind::Moved { from, to } => self.moved(from, to, at),
            AliasEventKind::Cut { alias, group } => self.cut(alias, group, at),
            AliasEventKind::Linked { one, other } => self.tie(one, other, at),
            AliasEventKind::Together {
                phone,
                id,
                scope,
                is_first,
            } => self.together(phone, id, scope, is_first, at),
            AliasEventKind::Seen { phone } => {
                if let Some(epoch) = self.current_mut(phone) {
                    epoch.is_seen = true;
                }
            }
        }
    }

    /// A person has another number from now on.
    fn moved(&mut self, from: &ContactAlias, to: &ContactAlias, at: Timestamp) {
        if self.first_spelling(from) == self.first_spelling(to) {
            return;
        }
        let Some(owner) = self.current(from).map(|epoch| epoch.node) else {
            return;
        };
        let free = self.node();
        self.begin(from, at, free);
        let Some((taken, is_somebodys)) = self
            .current(to)
            .map(|epoch| (epoch.node, epoch.is_seen || !epoch.ids.is_empty()))
        else {
            return;
        };
        if self.are_one(taken, owner) {
            return;
        }
        let first = self.first_spelling(to).clone();
        if let Some(decided_at) = self.parted_from(owner, &first) {
            self.contradictions.insert((to.clone(), taken, owner));
            self.refuse(to, at, decided_at);
            return;
        }
        // No one was ever seen at it: it was recorded before the person had moved.
        if is_somebodys || !self.unite(taken, owner) {
            self.begin(to, at, owner);
        }
    }

    /// A number and a user id appeared together.
    fn together(
        &mut self,
        phone: &ContactAlias,
        id: &ContactAlias,
        scope: &str,
        is_first: bool,
        at: Timestamp,
    ) {
        let portfolio = self
            .portfolios
            .get(scope)
            .map_or_else(|| scope.to_owned(), Clone::clone);
        let (Some(epoch), Some(claimant)) = (self.current(phone), self.node_at(id, at)) else {
            return;
        };
        let owner = epoch.node;
        let before: Vec<ContactAlias> = epoch
            .ids
            .iter()
            .filter(|(of, _)| *of == portfolio)
            .map(|(_, id)| id.clone())
            .collect();
        if !self.are_one(owner, claimant) && before.is_empty() {
            // The first user id seen at this number determines its owner.
            if !self.unite(owner, claimant) {
                self.contradictions.insert((phone.clone(), owner, claimant));
                return;
            }
        }
        if self.are_one(owner, claimant) {
            if let Some(epoch) = self.current_mut(phone) {
                epoch.ids.insert((portfolio, id.clone()));
            }
            return;
        }
        let first = self.first_spelling(phone).clone();
        if let Some(decided_at) = self.parted_from(claimant, &first) {
            self.contradictions.insert((phone.clone(), owner, claimant));
            self.refuse(phone, at, decided_at);
            return;
        }
        let is_asked = self
            .questions
            .contains_key(&(first.clone(), owner, claimant));
        if is_asked && !is_first {
            return;
        }
        let is_decided = before
            .iter()
            .any(|known| self.apart_since(known, id).is_some())
            || before
                .iter()
                .any(|known| self.alive.get(known).is_some_and(|alive| *alive > at))
            || !is_first;
        let due = at.plus_seconds(self.patience_seconds);
        if !is_decided && self.now < due {
            self.questions.insert((first, owner, claimant), at);
            return;
        }
        if !is_decided {
            self.inheritances.insert((owner, claimant, due));
        }
        if !is_first {
            // It went back and forth: the person seen last has it, and an operator should check.
            self.contradictions.insert((phone.clone(), owner, claimant));
        }
        self.begin(phone, at, claimant);
        if let Some(epoch) = self.current_mut(phone) {
            epoch.ids.insert((portfolio, id.clone()));
        }
    }

    fn finish(&self, evidence: &IdentityEvidence) -> ComputedIdentities {
        let mut identities = ComputedIdentities::default();
        let person = |node: IdentityGraphNode| PersonIndex(self.root(node));
        let replaced: BTreeMap<&ContactAlias, Timestamp> = evidence
            .observations
            .iter()
            .filter_map(|observation| match &observation.fact {
                ContactAliasFact::Replaced { old, .. } => Some((old, observation.first)),
                _ => None,
            })
            .collect();
        for alias in all_aliases(evidence) {
            let epochs = self.epochs_of(alias);
            let mut whose: Vec<(Timestamp, PersonIndex)> = Vec::with_capacity(epochs.len());
            for (place, epoch) in epochs.iter().enumerate() {
                let index = person(epoch.node);
                if whose.last().is_some_and(|(_, last)| *last == index) {
                    continue;
                }
                whose.push((epoch.since, index));
                let later = epochs.get(place + 1..).unwrap_or_default();
                let lost = later.iter().find(|later| person(later.node) != index);
                let held = identities.persons.entry(index).or_default();
                held.push(PersonAliasPeriod {
                    alias: alias.clone(),
                    since: epoch.since,
                    until: lost
                        .map(|later| later.since)
                        .or_else(|| replaced.get(alias).copied()),
                });
            }
            identities.epochs.insert(alias.clone(), whose);
        }
        for held in identities.persons.values_mut() {
            held.sort();
        }
        identities.questions = self
            .questions
            .iter()
            .filter(|((_, owner, claimant), _)| !self.are_one(*owner, *claimant))
            .map(|((phone, owner, claimant), since)| PhoneOwnershipQuestion {
                phone: phone.clone(),
                owner: person(*owner),
                claimant: person(*claimant),
                since: *since,
                due: since.plus_seconds(self.patience_seconds),
            })
            .collect();
        identities.inheritances = self
            .inheritances
            .iter()
            .filter(|(owner, claimant, _)| !self.are_one(*owner, *claimant))
            .map(|(owner, claimant, until)| OptOutInheritance {
                owner: person(*owner),
                claimant: person(*claimant),
                until: *until,
            })
            .collect();
        let mut contradictions: Vec<IdentityEvidenceConflict> = self
            .contradictions
            .iter()
            .filter(|(_, one, other)| !self.are_one(*one, *other))
            .map(|(alias, one, other)| IdentityEvidenceConflict {
                alias: alias.clone(),
                one: person(*one).min(person(*other)),
                other: person(*one).max(person(*other)),
            })
            .collect();
        contradictions.sort();
        contradictions.dedup();
        identities.contradictions = contradictions;
        identities
    }
}

#[cfg(test)]
mod tests;
