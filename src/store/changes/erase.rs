//! Erases from the stream what a deleted person is called and wrote.
//!
//! Events keep their places and numbers. A batch is replaced only if it is still the one that was
//! read, so that two processes do not undo what the other has erased.

use std::borrow::Cow;

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::Value;

use super::{EventLine, MAX_BATCH_BYTES, pack, unpack};
use crate::{
    domain::{own_event::without_person, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, query},
    },
};

/// Most batches that are read together.
const STEP: i64 = 50;

/// No further batch is read after so many bytes of events.
const STEP_BYTES: usize = 1024 * 1024;

/// A batch without what was to be erased.
#[derive(Clone, Debug)]
pub struct ErasedEventBatch {
    last: i64,
    before: Vec<u8>,
    after: Vec<u8>,
}

/// The next batches of the stream.
#[derive(Clone, Debug, Default)]
pub struct ErasableEventBatches {
    pub erased: Vec<ErasedEventBatch>,
    /// The number of the last event that was looked at; none if there are no more.
    pub last: Option<i64>,
}

/// Reads the next batches after one event up to another, and erases what a person is called and wrote
/// from those events that `concerns` finds, by their JSON, and that are from no later than it says. A
/// damaged batch is reported, and left.
pub async fn erasable(
    connection: &impl ConnectionTrait,
    after: i64,
    until: i64,
    concerns: impl Fn(&[u8]) -> Option<Timestamp>,
) -> Result<ErasableEventBatches, StoreError> {
    let found = query(
        connection,
        "SELECT last, events FROM change_batch WHERE last > $1 AND last <= $2 ORDER BY last LIMIT $3",
        [after.into(), until.into(), STEP.into()],
    )
    .await?;
    let mut next = ErasableEventBatches::default();
    let mut bytes = 0;
    for row in &found {
        let last: i64 = column(row, "last")?;
        let before: Vec<u8> = column(row, "events")?;
        next.last = Some(last);
        let Some(lines) = unpack(&before, MAX_BATCH_BYTES) else {
            let error = StoreError::Corrupt {
                table: "change_batch",
                row: last.to_string(),
                column: "events",
            };
            tracing::error!(event = "changes.batch_damaged", %error, "a batch of the stream cannot be read");
            continue;
        };
        bytes += lines.len();
        if let Some(lines) = without(&lines, &concerns) {
            let after = pack(&lines)
                .map_err(|error| StoreError::Refused(DbErr::Custom(error.to_string())))?;
            next.erased.push(ErasedEventBatch {
                last,
                before,
                after,
            });
        }
        if bytes >= STEP_BYTES {
            break;
        }
    }
    Ok(next)
}

/// The lines of a batch after the erasure; none if nothing changes.
fn without(lines: &[u8], concerns: &impl Fn(&[u8]) -> Option<Timestamp>) -> Option<Vec<u8>> {
    let mut is_changed = false;
    let mut left = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        match concerns(line).and_then(|until| erased(line, until)) {
            Some(line) => {
                left.extend_from_slice(&line);
                left.push(b'\n');
                is_changed = true;
            }
            None => left.extend_from_slice(line),
        }
    }
    is_changed.then_some(left)
}

fn erased(line: &[u8], until: Timestamp) -> Option<Vec<u8>> {
    let line: EventLine<'_, Value> = serde_json::from_slice(line).ok()?;
    if line.at > until {
        return None;
    }
    let data = without_person(&line.r#type, &line.data)?;
    let left = EventLine {
        r#type: Cow::Borrowed(line.r#type.as_ref()),
        at: line.at,
        data,
    };
    serde_json::to_vec(&left).ok()
}

/// Replaces batches. [`StoreError::RolledBack`] if one has changed since it was read, or is gone.
pub async fn erase(
    tx: &DatabaseTransaction,
    erased: &[ErasedEventBatch],
) -> Result<(), StoreError> {
    for batch in erased {
        let replaced = execute(
            tx,
            "UPDATE change_batch SET events = $2 WHERE last = $1 AND events = $3",
            [
                batch.last.into(),
                batch.after.clone().into(),
                batch.before.clone().into(),
            ],
        )
        .await?;
        if replaced.rows_affected() != 1 {
            return Err(StoreError::RolledBack);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::PendingEvents, without};
    use crate::domain::{own_event::HeraldEventType, time::Timestamp};

    #[test]
    fn only_events_about_the_person_change_and_none_goes() {
        let mut pending = PendingEvents::default();
        for kind in HeraldEventType::ALL {
            for event in kind.examples() {
                pending
                    .push(&event, Timestamp::from_unix_seconds(1_767_225_600))
                    .unwrap();
            }
        }
        let lines = &pending.batches[0].lines;
        let now = Timestamp::from_unix_seconds(1_767_225_600);
        assert_eq!(without(lines, &|_| None), None);
        assert_eq!(
            without(lines, &|_| Some(now.plus_seconds(-1))),
            None,
            "they are later"
        );
        let left = without(lines, &|_| Some(now)).unwrap();
        let split = |lines: &[u8]| {
            let text = String::from_utf8(lines.to_vec()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let (before, after) = (split(lines), split(&left));
        assert_eq!(before.len(), after.len());
        let changed = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| one != other);
        assert_eq!(changed.count(), 3, "a message and two windows");
        assert_eq!(
            without(&left, &|_| Some(now)),
            None,
            "nothing is left to be erased"
        );
    }
}
