//! The newest lines of a timeline in a record.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{UnreadableRecordError, at, offset};
use crate::domain::{
    notification::AttemptState,
    time::Timestamp,
    timeline::{TimelineEntry, TimelineEntryKind},
};

/// The newest lines of a timeline: those of before as they are stored, and new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineTail {
    stored: Vec<u8>,
    added: Vec<TimelineEntry>,
}

/// A line without its detail has so many bytes, or fewer.
const LINE_BYTES: usize = 56;

#[derive(Serialize, Deserialize)]
struct StoredLine<'a> {
    kind: u8,
    at: i64,
    provider_at: Option<i64>,
    attempt: StoredLineAttempt,
    callback: Option<[u8; 16]>,
    #[serde(borrow)]
    detail: Option<Cow<'a, str>>,
}

/// The attempt that a line is about.
#[derive(Serialize, Deserialize)]
enum StoredLineAttempt {
    None,
    /// Its position among the record's attempts, to which others are only added.
    Position(u32),
    Id([u8; 16]),
}

impl StoredLineAttempt {
    fn of(id: Option<Uuid>, attempts: &[AttemptState]) -> Self {
        let Some(id) = id else { return Self::None };
        let position = attempts.iter().position(|attempt| attempt.id == id);
        position
            .and_then(|position| u32::try_from(position).ok())
            .map_or(Self::Id(id.into_bytes()), Self::Position)
    }

    fn id(&self, attempts: &[AttemptState]) -> Result<Option<Uuid>, UnreadableRecordError> {
        match self {
            Self::None => Ok(None),
            Self::Position(position) => {
                let position = usize::try_from(*position).unwrap_or(usize::MAX);
                let attempt = attempts.get(position).ok_or(UnreadableRecordError)?;
                Ok(Some(attempt.id))
            }
            Self::Id(id) => Ok(Some(Uuid::from_bytes(*id))),
        }
    }
}

impl TimelineTail {
    pub(super) fn stored(lines: &[u8]) -> Self {
        Self {
            stored: lines.to_vec(),
            added: Vec::new(),
        }
    }

    pub fn add(&mut self, line: TimelineEntry) {
        self.added.push(line);
    }

    /// Its new lines have been stored.
    pub(in crate::store::notification) fn mark_stored(
        &mut self,
        attempts: &[AttemptState],
        created_at: Timestamp,
    ) -> Result<(), UnreadableRecordError> {
        self.stored = self.append_to(Vec::new(), attempts, created_at)?;
        self.added.clear();
        Ok(())
    }

    /// Whether there are lines that are not stored yet.
    pub const fn has_new(&self) -> bool {
        !self.added.is_empty()
    }

    /// Bytes that the lines take, or a few more.
    pub(in crate::store::notification) fn size(&self) -> usize {
        let added = self.added.iter().map(|line| {
            let detail = line.detail.as_ref().map_or(0, String::len);
            LINE_BYTES + detail
        });
        self.stored.len() + added.sum::<usize>()
    }

    /// All lines, oldest first.
    pub(in crate::store::notification) fn read(
        &self,
        attempts: &[AttemptState],
        created_at: Timestamp,
    ) -> Result<Vec<TimelineEntry>, UnreadableRecordError> {
        let mut lines = Vec::new();
        let mut rest = self.stored.as_slice();
        while !rest.is_empty() {
            let (line, after) = postcard::take_from_bytes::<StoredLine<'_>>(rest)?;
            lines.push(TimelineEntry {
                at: at(created_at, line.at),
                kind: kind_of(line.kind),
                provider_at: line.provider_at.map(|offset| at(created_at, offset)),
                attempt_id: line.attempt.id(attempts)?,
                callback_id: line.callback.map(Uuid::from_bytes),
                detail: line.detail.map(Cow::into_owned),
            });
            rest = after;
        }
        lines.extend(self.added.iter().cloned());
        Ok(lines)
    }

    /// Adds the lines to the end of a record.
    pub(super) fn append_to(
        &self,
        mut bytes: Vec<u8>,
        attempts: &[AttemptState],
        created_at: Timestamp,
    ) -> Result<Vec<u8>, UnreadableRecordError> {
        bytes.extend_from_slice(&self.stored);
        for line in &self.added {
            let stored = StoredLine {
                kind: kind_code(line.kind),
                at: offset(created_at, line.at),
                provider_at: line.provider_at.map(|at| offset(created_at, at)),
                attempt: StoredLineAttempt::of(line.attempt_id, attempts),
                callback: line.callback_id.map(Uuid::into_bytes),
                detail: line.detail.as_deref().map(Cow::Borrowed),
            };
            bytes = postcard::to_extend(&stored, bytes)?;
        }
        Ok(bytes)
    }
}

/// The number for a kind, which never changes: rows hold it.
const fn kind_code(kind: TimelineEntryKind) -> u8 {
    match kind {
        TimelineEntryKind::Queued => 0,
        TimelineEntryKind::Skipped => 1,
        TimelineEntryKind::ValueUnread => 2,
        TimelineEntryKind::Held => 3,
        TimelineEntryKind::AddressChanged => 4,
        TimelineEntryKind::NumberChangedHands => 5,
        TimelineEntryKind::Superseded => 6,
        TimelineEntryKind::Suppressed => 7,
        TimelineEntryKind::Accepted => 8,
        TimelineEntryKind::HeldByProvider => 9,
        TimelineEntryKind::Sent => 10,
        TimelineEntryKind::Delivered => 11,
        TimelineEntryKind::Read => 12,
        TimelineEntryKind::Played => 13,
        TimelineEntryKind::Failed => 14,
        TimelineEntryKind::Replied => 15,
        TimelineEntryKind::DetailsAdded => 16,
        TimelineEntryKind::RetryScheduled => 17,
        TimelineEntryKind::Deferred => 18,
        TimelineEntryKind::OutcomeUnknown => 19,
        TimelineEntryKind::LeaseExpired => 20,
        TimelineEntryKind::LateResponse => 21,
        TimelineEntryKind::GaveUp => 22,
        TimelineEntryKind::ResendScheduled => 23,
        TimelineEntryKind::Expired => 24,
        TimelineEntryKind::Stale => 25,
        TimelineEntryKind::Cancelled => 26,
        TimelineEntryKind::RetryRequested => 27,
        TimelineEntryKind::SendNowRequested => 28,
        TimelineEntryKind::Ignored => 29,
        TimelineEntryKind::ClockChanged => 30,
        TimelineEntryKind::RuleDidNotFire => 31,
        TimelineEntryKind::RecipientUnknown => 32,
        TimelineEntryKind::RuleFired => 33,
        TimelineEntryKind::RuleSkipped => 34,
        TimelineEntryKind::RuleCancelled => 35,
        TimelineEntryKind::RuleOverruled => 36,
        TimelineEntryKind::Unrecognized => u8::MAX,
    }
}

fn kind_of(code: u8) -> TimelineEntryKind {
    let found = TimelineEntryKind::ALL
        .iter()
        .find(|kind| kind_code(**kind) == code);
    found.copied().unwrap_or(TimelineEntryKind::Unrecognized)
}
