//! What answers to calls say of who is who: with every message to somebody new there is something,
//! and together it costs one transaction. What is lost with the process, the statuses of the same
//! messages say again.

use std::sync::{Mutex, PoisonError};

use super::{Sighting, are_known, meet};
use crate::{
    domain::{identity::Fact, time::Timestamp},
    engine::{Engine, inbox::ErrorChain},
    store::StoreError,
};

/// So many are learned together: the more, the fewer pages are written for each.
const TOGETHER: usize = 400;

/// None is kept for longer, in microseconds.
const PATIENCE_MICROS: i64 = 500_000;

/// So many are kept, while the database takes none.
const MOST: usize = 10_000;

/// What is to be learned.
#[derive(Debug, Default)]
pub struct Answered(Mutex<Vec<(Sighting, Timestamp)>>);

impl Answered {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<(Sighting, Timestamp)>) -> T) -> T {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept)
    }

    /// Keeps some. Says whether it is time to learn them: there are many, they have waited long
    /// enough, or a number has another form, by which a person may write at any moment.
    pub(in crate::engine) fn keep(&self, sightings: Vec<Sighting>, now: Timestamp) -> bool {
        let is_urgent = sightings
            .iter()
            .flat_map(|sighting| &sighting.facts)
            .any(|fact| matches!(fact, Fact::Variant { .. }));
        self.change(|kept| {
            kept.extend(sightings.into_iter().map(|sighting| (sighting, now)));
            kept.truncate(MOST);
            is_urgent || kept.len() >= TOGETHER || is_due(kept, now)
        })
    }
}

/// Whether the first of them has waited long enough, or the clock was changed since.
fn is_due(kept: &[(Sighting, Timestamp)], now: Timestamp) -> bool {
    kept.first().is_some_and(|(_, since)| {
        let waited = now.micros_since(*since);
        !(0..PATIENCE_MICROS).contains(&waited)
    })
}

/// Learns what has waited long enough. Says how many there were.
pub async fn learn_due(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if engine.answered.change(|kept| is_due(kept, now)) {
        learn_answered(engine, now).await
    } else {
        Ok(0)
    }
}

/// Learns all of it. Says how many there were.
pub async fn learn_answered(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let taken = engine.answered.change(std::mem::take);
    let sightings: Vec<Sighting> = taken.iter().map(|(sighting, _)| sighting.clone()).collect();
    // Most of them are known for long: nothing is written for these.
    let learned = async {
        if sightings.is_empty() || are_known(engine, &sightings).await? {
            return Ok(());
        }
        engine
            .store
            .write(async |tx| meet(engine, tx, &sightings, now).await.map(drop))
            .await
    };
    if let Err(error) = learned.await {
        tracing::warn!(event = "identity.not_learned", error = %ErrorChain(&error), "what answers say of people is learned later");
        engine.answered.change(|kept| {
            kept.splice(0..0, taken);
            kept.truncate(MOST);
        });
        return Err(error);
    }
    Ok(sightings.len())
}

#[cfg(test)]
mod tests {
    use super::{Answered, Fact, MOST, Sighting, TOGETHER, Timestamp};
    use crate::{
        domain::identity::{Alias, AliasKind},
        store::identity::Source,
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

    fn alias(kind: AliasKind, value: &str) -> Alias {
        Alias {
            kind,
            value: value.to_owned(),
        }
    }

    fn sighting(fact: Fact) -> Sighting {
        Sighting {
            aliases: Vec::new(),
            facts: vec![fact],
            scope: String::new(),
            at: NOW,
            source: Source::Answer,
            callback_id: None,
            is_person: false,
            profile_name: None,
            username: None,
        }
    }

    fn many(count: usize) -> Vec<Sighting> {
        let id = alias(AliasKind::UserId, "US.1");
        vec![sighting(Fact::Seen(id)); count]
    }

    #[test]
    fn many_are_learned_at_once_and_no_more_than_so_many_are_kept() {
        let answered = Answered::default();
        assert!(!answered.keep(many(TOGETHER - 1), NOW));
        assert!(answered.keep(many(1), NOW));
        answered.keep(many(MOST), NOW);
        assert_eq!(answered.change(|kept| kept.len()), MOST);
    }

    #[test]
    fn the_other_form_of_a_number_does_not_wait() {
        let variant = Fact::Variant {
            sent: alias(AliasKind::Phone, "+5511955500131"),
            answered: alias(AliasKind::Phone, "+551155500131"),
        };
        assert!(Answered::default().keep(vec![sighting(variant)], NOW));
    }
}
