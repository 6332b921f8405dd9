//! Attempts in a record.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{UnreadableRecordError, at, offset};
use crate::domain::{
    facts::{DeliveryFact, DeliveryFactTime, DeliveryFacts},
    notification::{AttemptMessageId, AttemptState, VersionedValue},
    outcome::AttemptOutcome,
    time::Timestamp,
};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredAttempt<'a> {
    id: [u8; 16],
    number: i64,
    generation: i64,
    created: i64,
    sender: [u8; 16],
    /// Of an attempt that may still be answered.
    lease: Option<[u8; 16]>,
    outcome: u8,
    has_message_id: bool,
    /// Bit = position in [`DeliveryFact::ALL`].
    known: u8,
    implied: u8,
    /// Of the known facts, in their order.
    facts: Vec<i64>,
    #[serde(borrow)]
    failure: Option<StoredVersion<'a>>,
    #[serde(borrow)]
    pricing: Option<StoredVersion<'a>>,
}

/// A [`VersionedValue`], its value as JSON.
#[derive(Serialize, Deserialize)]
struct StoredVersion<'a> {
    at: i64,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

impl<'a> StoredVersion<'a> {
    fn of<T: Serialize>(version: &'a VersionedValue<T>, created_at: Timestamp) -> Option<Self> {
        Some(Self {
            at: offset(created_at, version.at),
            digest: Cow::Borrowed(&version.digest),
            value: Cow::Owned(serde_json::to_string(&version.value).ok()?),
        })
    }

    fn restore<T: DeserializeOwned>(
        self,
        created_at: Timestamp,
    ) -> Result<VersionedValue<T>, UnreadableRecordError> {
        Ok(VersionedValue {
            at: at(created_at, self.at),
            digest: self.digest.into_owned(),
            value: serde_json::from_str(&self.value).map_err(|_json| UnreadableRecordError)?,
        })
    }
}

/// The number for an outcome; 0 stands for none. It never changes.
const fn outcome_code(outcome: AttemptOutcome) -> u8 {
    match outcome {
        AttemptOutcome::Accepted => 1,
        AttemptOutcome::Refused => 2,
        AttemptOutcome::Unavailable => 3,
        AttemptOutcome::Unknown => 4,
    }
}

fn outcome_of(code: u8) -> Result<Option<AttemptOutcome>, UnreadableRecordError> {
    if code == 0 {
        return Ok(None);
    }
    let found = AttemptOutcome::ALL
        .iter()
        .find(|outcome| outcome_code(**outcome) == code);
    found.copied().map(Some).ok_or(UnreadableRecordError)
}

impl<'a> StoredAttempt<'a> {
    pub(super) fn of(attempt: &'a AttemptState, created_at: Timestamp) -> Self {
        let known: Vec<(usize, DeliveryFactTime)> = DeliveryFact::ALL
            .into_iter()
            .enumerate()
            .filter_map(|(bit, fact)| Some((bit, attempt.facts.get(fact)?)))
            .collect();
        let mask = |wanted: &dyn Fn(&DeliveryFactTime) -> bool| {
            let bits = known.iter().filter(|(_, fact)| wanted(fact));
            bits.fold(0, |mask, (bit, _)| mask | 1 << bit)
        };
        let is_open = matches!(attempt.outcome, None | Some(AttemptOutcome::Unknown));
        Self {
            id: attempt.id.into_bytes(),
            number: attempt.number,
            generation: attempt.generation,
            created: offset(created_at, attempt.created_at),
            sender: attempt.sender_id.into_bytes(),
            lease: is_open.then(|| attempt.lease_token.into_bytes()),
            outcome: attempt.outcome.map_or(0, outcome_code),
            has_message_id: attempt.message_id != AttemptMessageId::Unknown,
            known: mask(&|_| true),
            implied: mask(&|fact| fact.implied),
            facts: known
                .iter()
                .map(|(_, fact)| offset(created_at, fact.at))
                .collect(),
            failure: attempt
                .failure
                .as_ref()
                .and_then(|failure| StoredVersion::of(failure, created_at)),
            pricing: attempt
                .pricing
                .as_ref()
                .and_then(|pricing| StoredVersion::of(pricing, created_at)),
        }
    }

    pub(super) fn restore(
        self,
        created_at: Timestamp,
    ) -> Result<AttemptState, UnreadableRecordError> {
        let mut facts = DeliveryFacts::default();
        let mut times = self.facts.iter();
        for (bit, fact) in DeliveryFact::ALL.into_iter().enumerate() {
            if self.known & (1 << bit) != 0 {
                let known = DeliveryFactTime {
                    at: at(created_at, *times.next().ok_or(UnreadableRecordError)?),
                    implied: self.implied & (1 << bit) != 0,
                };
                facts.restore(fact, Some(known));
            }
        }
        Ok(AttemptState {
            id: Uuid::from_bytes(self.id),
            number: self.number,
            generation: self.generation,
            created_at: at(created_at, self.created),
            lease_token: self.lease.map(Uuid::from_bytes).unwrap_or_default(),
            sender_id: Uuid::from_bytes(self.sender),
            outcome: outcome_of(self.outcome)?,
            message_id: if self.has_message_id {
                AttemptMessageId::Stored
            } else {
                AttemptMessageId::Unknown
            },
            facts,
            failure: self
                .failure
                .map(|failure| failure.restore(created_at))
                .transpose()?,
            pricing: self
                .pricing
                .map(|pricing| pricing.restore(created_at))
                .transpose()?,
        })
    }
}
