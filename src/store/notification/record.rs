//! The record in a notification's row: its attempts with their facts, what rules have planned for
//! it, and the newest lines of its timeline. It is all that a provider's status changes.
//!
//! A version, then attempts and follow-ups in the encoding of `postcard`, then the lines, one after
//! the other: most changes add a line, and the lines before it are not read for that. Instants are
//! offsets from the creation of the notification, in microseconds.

mod attempts;
mod follow_ups;
mod lines;

use entity::notification;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::lines::TimelineTail;
use self::{attempts::StoredAttempt, follow_ups::StoredFollowUp};
use crate::{
    domain::{
        follow_up::PlannedFollowUp, notification::AttemptState, time::Timestamp,
        timeline::TimelineEntry,
    },
    store::StoreError,
};

/// The first byte of a record.
const VERSION: u8 = 1;

/// A record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unreadable")]
pub struct UnreadableRecordError;

impl From<postcard::Error> for UnreadableRecordError {
    fn from(_: postcard::Error) -> Self {
        Self
    }
}

/// What a notification's row holds beside its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotificationRecord {
    pub attempts: Vec<AttemptState>,
    pub follow_ups: Vec<PlannedFollowUp>,
    pub timeline: TimelineTail,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord<'a> {
    #[serde(borrow)]
    attempts: Vec<StoredAttempt<'a>>,
    #[serde(borrow)]
    follow_ups: Vec<StoredFollowUp<'a>>,
}

impl NotificationRecord {
    /// Reads a record; an empty one has nothing.
    pub fn read(bytes: &[u8], created_at: Timestamp) -> Result<Self, UnreadableRecordError> {
        let Some((version, rest)) = bytes.split_first() else {
            return Ok(Self::default());
        };
        if *version != VERSION {
            return Err(UnreadableRecordError);
        }
        let (stored, lines) = postcard::take_from_bytes::<StoredRecord<'_>>(rest)?;
        Ok(Self {
            attempts: stored
                .attempts
                .into_iter()
                .map(|attempt| attempt.restore(created_at))
                .collect::<Result<_, _>>()?,
            follow_ups: stored
                .follow_ups
                .into_iter()
                .map(|follow_up| follow_up.restore(created_at))
                .collect::<Result<_, _>>()?,
            timeline: TimelineTail::stored(lines),
        })
    }

    /// Reads the record of a row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]
    pub fn of(row: &notification::Model) -> Result<Self, StoreError> {
        let bytes = row.record.as_deref().unwrap_or_default();
        Self::read(bytes, Timestamp::from_micros(row.created_at))
            .map_err(|_unreadable| corrupt(row.id))
    }

    /// All lines that the record holds, oldest first.
    pub fn lines(
        &self,
        created_at: Timestamp,
    ) -> Result<Vec<TimelineEntry>, UnreadableRecordError> {
        self.timeline.read(&self.attempts, created_at)
    }

    /// The lines that the record of this row holds, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`]
    pub fn lines_of(&self, row: &notification::Model) -> Result<Vec<TimelineEntry>, StoreError> {
        self.lines(Timestamp::from_micros(row.created_at))
            .map_err(|_unreadable| corrupt(row.id))
    }

    /// The record as it is stored.
    pub fn written(&self, created_at: Timestamp) -> Result<Vec<u8>, UnreadableRecordError> {
        written(&self.attempts, &self.follow_ups, &self.timeline, created_at)
    }
}

/// The error for a record of this notification that cannot be read.
pub(super) fn corrupt(notification: Uuid) -> StoreError {
    StoreError::Corrupt {
        table: "notification",
        row: notification.to_string(),
        column: "record",
    }
}

/// A record as it is stored.
pub(super) fn written(
    attempts: &[AttemptState],
    follow_ups: &[PlannedFollowUp],
    timeline: &TimelineTail,
    created_at: Timestamp,
) -> Result<Vec<u8>, UnreadableRecordError> {
    let stored = StoredRecord {
        attempts: attempts
            .iter()
            .map(|attempt| StoredAttempt::of(attempt, created_at))
            .collect(),
        follow_ups: follow_ups
            .iter()
            .map(|follow_up| StoredFollowUp::of(follow_up, created_at))
            .collect(),
    };
    let bytes = postcard::to_extend(&stored, vec![VERSION])?;
    timeline.append_to(bytes, attempts, created_at)
}

/// An offset as an instant.
const fn at(created_at: Timestamp, offset: i64) -> Timestamp {
    created_at.plus_micros(offset)
}

/// An instant as an offset.
const fn offset(created_at: Timestamp, at: Timestamp) -> i64 {
    at.micros_since(created_at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::NotificationRecord;
    use crate::domain::{
        facts::{DeliveryFact, DeliveryFacts},
        failure::DeliveryFailure,
        follow_up::{PlannedFollowUp, PlannedFollowUpState},
        notification::{AttemptMessageId, AttemptState, VersionedValue},
        outcome::AttemptOutcome,
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
        transition::{NotificationTransition, NotificationTransitionSet},
    };

    const CREATED: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);

    fn any_time() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            (-3_600_000_000_i64..3_600_000_000).prop_map(|step| CREATED.plus_micros(step)),
            any::<i32>().prop_map(|at| Timestamp::from_micros(i64::from(at))),
        ]
    }

    fn any_uuid() -> impl Strategy<Value = Uuid> {
        any::<u128>().prop_map(Uuid::from_u128)
    }

    prop_compose! {
        fn any_attempt()(
            id in any_uuid(), sender_id in any_uuid(), lease_token in any_uuid(),
            number in 1_i64..20, generation in 1_i64..5, created_at in any_time(),
            outcome in prop::option::of(0_usize..AttemptOutcome::ALL.len()),
            known in prop::bool::ANY, reported in prop::collection::vec((0_usize..6, any_time()), 0..6),
            failed in prop::bool::ANY, priced in prop::bool::ANY,
        ) -> AttemptState {
            let outcome = outcome.map(|index| AttemptOutcome::ALL[index]);
            let mut facts = DeliveryFacts::default();
            for (fact, at) in reported {
                facts.add(DeliveryFact::ALL[fact], at);
            }
            let is_over = matches!(outcome, Some(AttemptOutcome::Accepted | AttemptOutcome::Refused | AttemptOutcome::Unavailable));
            AttemptState {
                id, number, generation, created_at, sender_id, outcome, facts,
                lease_token: if is_over { Uuid::nil() } else { lease_token },
                message_id: if known { AttemptMessageId::Stored } else { AttemptMessageId::Unknown },
                failure: failed.then(|| VersionedValue {
                    at: created_at, digest: "0123456789abcdef".to_owned(),
                    value: DeliveryFailure::ours("x", "y", "z"),
                }),
                pricing: priced.then(|| VersionedValue {
                    at: created_at, digest: String::new(), value: json!({ "category": "utility", "billable": true }),
                }),
            }
        }
    }

    prop_compose! {
        fn any_follow_up()(
            id in any_uuid(), rule_id in any_uuid(), rule_name in "[a-z_]{1,12}",
            generation in 1_i64..4, created_at in any_time(), due_at in prop::option::of(any_time()),
            settled_at in prop::option::of(any_time()), reason in prop::option::of("[ -~]{0,20}"),
            trigger in 0_usize..10, state in 0_usize..4, mask in 0_i64..1024, occurrence in "[a-z]{0,8}",
        ) -> PlannedFollowUp {
            let states = [
                PlannedFollowUpState::Pending, PlannedFollowUpState::Cancelled,
                PlannedFollowUpState::Skipped, PlannedFollowUpState::Started,
            ];
            PlannedFollowUp {
                id, created_at, generation, rule_id, rule_name, occurrence, due_at, settled_at, reason,
                trigger: NotificationTransition::ALL[trigger],
                unless: NotificationTransitionSet::from_mask(mask),
                state: states[state],
            }
        }
    }

    prop_compose! {
        fn any_line()(
            kind in 0_usize..TimelineEntryKind::ALL.len(), at in any_time(),
            provider_at in prop::option::of(any_time()), callback_id in prop::option::of(any_uuid()),
            attempt_id in prop::option::of(any_uuid()), detail in prop::option::of("[ -~]{0,40}"),
        ) -> TimelineEntry {
            TimelineEntry {
                at, kind: TimelineEntryKind::ALL[kind], provider_at, attempt_id, callback_id, detail,
            }
        }
    }

    prop_compose! {
        fn any_record()(
            attempts in prop::collection::vec(any_attempt(), 0..4),
            follow_ups in prop::collection::vec(any_follow_up(), 0..4),
            lines in prop::collection::vec((any_line(), prop::option::of(any::<prop::sample::Index>())), 0..8),
        ) -> (NotificationRecord, Vec<TimelineEntry>) {
            let mut record = NotificationRecord { attempts, follow_ups, ..NotificationRecord::default() };
            let mut all = Vec::new();
            for (mut line, attempt) in lines {
                if let Some(attempt) = attempt.filter(|_| !record.attempts.is_empty()) {
                    line.attempt_id = Some(record.attempts[attempt.index(record.attempts.len())].id);
                }
                record.timeline.add(line.clone());
                all.push(line);
            }
            (record, all)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((record, lines) in any_record()) {
            let bytes = record.written(CREATED).unwrap();
            let read = NotificationRecord::read(&bytes, CREATED).unwrap();
            prop_assert_eq!(&read.attempts, &record.attempts);
            prop_assert_eq!(&read.follow_ups, &record.follow_ups);
            prop_assert_eq!(read.lines(CREATED).unwrap(), lines);
            prop_assert_eq!(read.written(CREATED).unwrap(), bytes);
        }

        #[test]
        fn lines_are_added_to_those_that_are_there(
            (record, mut lines) in any_record(), more in any_line(),
        ) {
            let bytes = record.written(CREATED).unwrap();
            let mut read = NotificationRecord::read(&bytes, CREATED).unwrap();
            read.timeline.add(more.clone());
            let bytes = read.written(CREATED).unwrap();
            lines.push(more);
            let again = NotificationRecord::read(&bytes, CREATED).unwrap();
            prop_assert_eq!(again.lines(CREATED).unwrap(), lines);
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![super::VERSION];
            versioned.extend(&bytes);
            for bytes in [bytes, versioned] {
                if let Ok(record) = NotificationRecord::read(&bytes, CREATED) {
                    drop(record.lines(CREATED));
                }
            }
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        assert!(NotificationRecord::read(&[super::VERSION + 1], CREATED).is_err());
    }

    #[test]
    fn a_delivered_message_takes_little_room() {
        let mut facts = DeliveryFacts::default();
        facts.add(DeliveryFact::Read, CREATED.plus_seconds(60));
        let attempt = AttemptState {
            id: Uuid::from_u128(7),
            number: 1,
            generation: 1,
            created_at: CREATED.plus_seconds(1),
            lease_token: Uuid::nil(),
            sender_id: Uuid::from_u128(8),
            outcome: Some(AttemptOutcome::Accepted),
            message_id: AttemptMessageId::Stored,
            facts,
            failure: None,
            pricing: None,
        };
        let mut record = NotificationRecord {
            attempts: vec![attempt],
            ..NotificationRecord::default()
        };
        for second in 1..=3 {
            record.timeline.add(TimelineEntry {
                at: CREATED.plus_seconds(second),
                kind: TimelineEntryKind::Delivered,
                provider_at: Some(CREATED.plus_seconds(second)),
                attempt_id: Some(Uuid::from_u128(7)),
                callback_id: Some(Uuid::from_u128(9)),
                detail: None,
            });
        }
        let size = record.written(CREATED).unwrap().len();
        assert!(size < 200, "{size}");
    }
}
