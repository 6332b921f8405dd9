//! Facts of one attempt, as its provider reported them. Facts are only ever added.

use serde::Serialize;

use super::time::Timestamp;

/// One thing that a provider can report about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryFact {
    Accepted,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

impl DeliveryFact {
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Played,
        Self::Failed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
            Self::Failed => "failed",
        }
    }

    /// The fact that must have happened before: `played` implies `read`, and so on down to
    /// `accepted`. A `failed` from a callback implies `accepted`.
    const fn implies(self) -> &'static [Self] {
        match self {
            Self::Accepted => &[],
            Self::Sent | Self::Failed => &[Self::Accepted],
            Self::Delivered => &[Self::Accepted, Self::Sent],
            Self::Read => &[Self::Accepted, Self::Sent, Self::Delivered],
            Self::Played => &[Self::Accepted, Self::Sent, Self::Delivered, Self::Read],
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::Sent => 1,
            Self::Delivered => 2,
            Self::Read => 3,
            Self::Played => 4,
            Self::Failed => 5,
        }
    }
}

/// When a fact happened by the provider's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryFactTime {
    pub at: Timestamp,
    /// It was not reported, but a later fact implies it.
    pub implied: bool,
}

/// The facts of one attempt, each with its earliest time.
///
/// Adding is commutative, associative and idempotent: a reported fact outranks an implied one, and
/// among equals the earlier time wins. The order in which callbacks arrive therefore never matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFacts {
    known: [Option<DeliveryFactTime>; 6],
}

impl DeliveryFacts {
    /// Adds a reported fact with everything it implies. Returns whether anything changed.
    pub fn add(&mut self, fact: DeliveryFact, at: Timestamp) -> bool {
        let before = *self;
        self.merge(fact, DeliveryFactTime { at, implied: false });
        for earlier in fact.implies() {
            self.merge(*earlier, DeliveryFactTime { at, implied: true });
        }
        *self != before
    }

    /// Adds a refusal that was the answer itself: nothing was accepted.
    pub fn add_refusal(&mut self, at: Timestamp) {
        self.merge(
            DeliveryFact::Failed,
            DeliveryFactTime { at, implied: false },
        );
    }

    /// Restores a stored fact.
    pub fn restore(&mut self, fact: DeliveryFact, known: Option<DeliveryFactTime>) {
        if let Some(slot) = self.known.get_mut(fact.index()) {
            *slot = known;
        }
    }

    fn merge(&mut self, fact: DeliveryFact, new: DeliveryFactTime) {
        if let Some(slot) = self.known.get_mut(fact.index()) {
            *slot = Some(match *slot {
                None => new,
                Some(old) if old.implied == new.implied => DeliveryFactTime {
                    at: old.at.min(new.at),
                    implied: old.implied,
                },
                Some(old) if old.implied => new,
                Some(old) => old,
            });
        }
    }

    pub fn get(&self, fact: DeliveryFact) -> Option<DeliveryFactTime> {
        self.known.get(fact.index()).copied().flatten()
    }

    pub fn has(&self, fact: DeliveryFact) -> bool {
        self.get(fact).is_some()
    }

    /// Whether anything has been reported beyond acceptance.
    pub fn is_reported(&self) -> bool {
        DeliveryFact::ALL
            .into_iter()
            .any(|fact| fact != DeliveryFact::Accepted && self.has(fact))
    }

    pub fn is_empty(&self) -> bool {
        self.known.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DeliveryFact, DeliveryFacts};
    use crate::domain::time::Timestamp;

    fn any_fact() -> impl Strategy<Value = (DeliveryFact, Timestamp)> {
        (0_usize..6, 0_i64..5)
            .prop_map(|(index, at)| (DeliveryFact::ALL[index], Timestamp::from_micros(at)))
    }

    proptest! {
        #[test]
        fn any_order_and_any_duplication_end_in_the_same_facts(
            reported in prop::collection::vec(any_fact(), 0..8),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let mut straight = DeliveryFacts::default();
            for (fact, at) in &reported {
                straight.add(*fact, *at);
            }
            let mut shuffled = DeliveryFacts::default();
            if !reported.is_empty() {
                for index in order {
                    let (fact, at) = reported[index.index(reported.len())];
                    shuffled.add(fact, at);
                }
            }
            for (fact, at) in reported.iter().rev() {
                shuffled.add(*fact, *at);
            }
            prop_assert_eq!(straight, shuffled);
        }
    }

    #[test]
    fn a_read_implies_everything_before_it() {
        let mut facts = DeliveryFacts::default();
        facts.add(DeliveryFact::Read, Timestamp::from_micros(9));
        assert!(facts.get(DeliveryFact::Delivered).unwrap().implied);
        assert!(!facts.get(DeliveryFact::Read).unwrap().implied);
        assert!(!facts.has(DeliveryFact::Played));
        facts.add(DeliveryFact::Delivered, Timestamp::from_micros(11));
        assert_eq!(
            facts.get(DeliveryFact::Delivered).unwrap().at,
            Timestamp::from_micros(11)
        );
    }
}
