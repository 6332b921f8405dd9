//! Identity evidence from providers, and the batch of it that is still to be applied.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact},
        time::Timestamp,
    },
    store::identity::IdentityEvidenceSource,
};

/// One item of a provider that refers to a person.
#[derive(Clone, Debug)]
pub(in crate::engine) struct PersonSighting {
    pub aliases: Vec<ContactAlias>,
    pub facts: Vec<ContactAliasFact>,
    /// The account that it was observed in.
    pub scope: String,
    pub at: Timestamp,
    pub source: IdentityEvidenceSource,
    pub callback_id: Option<Uuid>,
    /// Whether a contact is created for a new person.
    pub is_person: bool,
    pub profile_name: Option<String>,
    pub username: Option<String>,
}

/// Sightings that are applied in one transaction: the more, the fewer pages are written for each.
const BATCH_SIZE: usize = 400;

/// The longest that a sighting waits for its batch, in microseconds.
const MAX_WAIT_MICROS: i64 = 500_000;

/// The most that are kept while the database is unavailable.
const CAPACITY: usize = 10_000;

/// Sightings from responses to sends that are not in the database yet.
#[derive(Debug, Default)]
pub struct PendingSightings(Mutex<Vec<(PersonSighting, Timestamp)>>);

impl PendingSightings {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<(PersonSighting, Timestamp)>) -> T) -> T {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept)
    }

    /// Adds sightings. Returns whether the batch should be applied now: it is full, it has waited
    /// long enough, or a number has another form, from which its owner may write at any moment.
    pub(in crate::engine) fn add(&self, sightings: Vec<PersonSighting>, now: Timestamp) -> bool {
        let is_urgent = sightings
            .iter()
            .flat_map(|sighting| &sighting.facts)
            .any(|fact| matches!(fact, ContactAliasFact::Variant { .. }));
        self.change(|kept| {
            kept.extend(sightings.into_iter().map(|sighting| (sighting, now)));
            kept.truncate(CAPACITY);
            is_urgent || kept.len() >= BATCH_SIZE || is_due(kept, now)
        })
    }
}

impl PendingSightings {
    /// Whether the first of them has waited long enough.
    pub(in crate::engine) fn is_due(&self, now: Timestamp) -> bool {
        self.change(|kept| is_due(kept, now))
    }

    /// Takes all of them out.
    pub(in crate::engine) fn take(&self) -> Vec<(PersonSighting, Timestamp)> {
        self.change(std::mem::take)
    }

    /// Puts back what could not be applied, in front of what has come since.
    pub(in crate::engine) fn put_back(&self, taken: Vec<(PersonSighting, Timestamp)>) {
        self.change(|kept| {
            kept.splice(0..0, taken);
            kept.truncate(CAPACITY);
        });
    }
}

/// Whether the first of them has waited long enough, or the clock was changed since.
fn is_due(kept: &[(PersonSighting, Timestamp)], now: Timestamp) -> bool {
    kept.first().is_some_and(|(_, since)| {
        let waited = now.micros_since(*since);
        !(0..MAX_WAIT_MICROS).contains(&waited)
    })
}

#[cfg(test)]
mod tests {
    use super::{
        BATCH_SIZE, CAPACITY, ContactAliasFact, PendingSightings, PersonSighting, Timestamp,
    };
    use crate::{
        domain::identity::{ContactAlias, ContactAliasKind},
        store::identity::IdentityEvidenceSource,
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

    fn alias(kind: ContactAliasKind, value: &str) -> ContactAlias {
        ContactAlias {
            kind,
            value: value.to_owned(),
        }
    }

    fn sighting(fact: ContactAliasFact) -> PersonSighting {
        PersonSighting {
            aliases: Vec::new(),
            facts: vec![fact],
            scope: String::new(),
            at: NOW,
            source: IdentityEvidenceSource::Answer,
            callback_id: None,
            is_person: false,
            profile_name: None,
            username: None,
        }
    }

    fn many(count: usize) -> Vec<PersonSighting> {
        let id = alias(ContactAliasKind::UserId, "US.1");
        vec![sighting(ContactAliasFact::Seen(id)); count]
    }

    #[test]
    fn many_are_learned_at_once_and_no_more_than_so_many_are_kept() {
        let pending = PendingSightings::default();
        assert!(!pending.add(many(BATCH_SIZE - 1), NOW));
        assert!(pending.add(many(1), NOW));
        pending.add(many(CAPACITY), NOW);
        assert_eq!(pending.change(|kept| kept.len()), CAPACITY);
    }

    #[test]
    fn the_other_form_of_a_number_does_not_wait() {
        let variant = ContactAliasFact::Variant {
            sent: alias(ContactAliasKind::Phone, "+5511955500131"),
            answered: alias(ContactAliasKind::Phone, "+551155500131"),
        };
        assert!(PendingSightings::default().add(vec![sighting(variant)], NOW));
    }
}
