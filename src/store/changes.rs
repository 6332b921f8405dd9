//! The stream of Herald's own events: what happened, in the order in which it was committed.
//!
//! [`DatabaseTransaction::emit`] keeps an event until its transaction commits. The last statement
//! before COMMIT takes the next sequence numbers and stores all events of the transaction as one
//! row of `change_batch`: compressed, with the number of its last event as the key. So the numbers
//! are those of the order of commits, and have no gaps: a transaction that is rolled back takes
//! none. Taking them locks the one row of `change_head`, until COMMIT has ended.
//!
//! A reader asks for what comes after the last number that it has seen. If the first event that it
//! gets has not the next number, those between were deleted (`RetainedRowKind::Changes`).

mod erase;

use std::{
    borrow::Cow,
    io::{self, Read},
};

use sea_orm::{DbErr, QueryResult, Value};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    DatabaseTransaction, Store, StoreError,
    dialect::{column, execute, is_sqlite, query, query_one},
};
use crate::domain::{own_event::HeraldEvent, time::Timestamp};

pub use self::erase::{ErasableEventBatches, ErasedEventBatch, erasable, erase};

/// zstd's fastest usual level: a transaction waits for it.
const LEVEL: i32 = 1;

/// A batch that has reached this size, uncompressed, is complete: further events of the transaction
/// make another one.
const BATCH_BYTES: usize = 1024 * 1024;

/// No batch is larger than this, uncompressed: a row that claims to be is damaged.
const MAX_BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// Most events of one read.
pub const MAX_EVENTS: usize = 1000;

/// A read that has reached this size ends with that event.
const READ_BYTES: usize = 8 * 1024 * 1024;

/// Takes the numbers and stores the batch under the last of them.
const APPEND_POSTGRES: &str = "WITH head AS (UPDATE change_head SET last = last + $1 WHERE id = 1 RETURNING last) \
     INSERT INTO change_batch (last, count, created_at, events) SELECT last, $1, $2, $3 FROM head";

/// The same for SQLite, where a statement changes one table. There is one writer.
const ADVANCE_SQLITE: &str = "UPDATE change_head SET last = last + $1 WHERE id = 1";
const APPEND_SQLITE: &str = "INSERT INTO change_batch (last, count, created_at, events) \
     SELECT last, $1, $2, $3 FROM change_head WHERE id = 1";

/// An event as a batch has it: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct EventLine<'a, D> {
    r#type: Cow<'a, str>,
    at: Timestamp,
    data: D,
}

/// Events that become one row.
#[derive(Debug)]
struct EventBatch {
    lines: Vec<u8>,
    count: i64,
    at: Timestamp,
}

/// What a transaction has emitted so far.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    batches: Vec<EventBatch>,
}

impl PendingEvents {
    pub(super) fn push(&mut self, event: &HeraldEvent, at: Timestamp) -> Result<(), StoreError> {
        let line = EventLine {
            r#type: event.type_name(),
            at,
            data: event.payload(),
        };
        let line = serde_json::to_vec(&line)
            .map_err(|error| StoreError::Refused(DbErr::Json(error.to_string())))?;
        let open = self.batches.last_mut();
        if let Some(batch) = open.filter(|batch| batch.lines.len() < BATCH_BYTES) {
            batch.add(&line, at);
        } else {
            let mut batch = EventBatch {
                lines: Vec::with_capacity(line.len() + 1),
                count: 0,
                at,
            };
            batch.add(&line, at);
            self.batches.push(batch);
        }
        Ok(())
    }
}

impl EventBatch {
    fn add(&mut self, line: &[u8], at: Timestamp) {
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
        self.count += 1;
        self.at = self.at.max(at);
    }
}

/// Stores what a transaction has emitted: its last statement, or none.
pub(super) async fn append(
    tx: &DatabaseTransaction,
    pending: PendingEvents,
) -> Result<(), StoreError> {
    for batch in pending.batches {
        let events = pack(&batch.lines)
            .map_err(|error| StoreError::Refused(DbErr::Custom(error.to_string())))?;
        let values: [Value; 3] = [batch.count.into(), batch.at.micros().into(), events.into()];
        let appended = if is_sqlite(tx) {
            execute(tx, ADVANCE_SQLITE, [batch.count.into()]).await?;
            execute(tx, APPEND_SQLITE, values).await?
        } else {
            execute(tx, APPEND_POSTGRES, values).await?
        };
        // It says nothing of what is being written: no item may be given up for it.
        if appended.rows_affected() != 1 {
            return Err(StoreError::Transient(DbErr::RecordNotFound(
                "change_head has no row".to_owned(),
            )));
        }
    }
    Ok(())
}

/// An event of the stream.
#[derive(Clone, Debug)]
pub struct StreamedEvent {
    /// The first of all events is 1.
    pub sequence: i64,
    /// When Herald recorded it.
    pub at: Timestamp,
    pub event_type: String,
    /// What it carries, as JSON.
    pub data: Box<RawValue>,
}

/// The number of the last event that was committed; 0 if there is none.
pub async fn last(store: &Store) -> Result<i64, StoreError> {
    let head = query_one(
        store.reader(),
        "SELECT last FROM change_head WHERE id = 1",
        [],
    )
    .await?;
    let head = head.ok_or_else(|| StoreError::Corrupt {
        table: "change_head",
        row: "1".to_owned(),
        column: "last",
    })?;
    column(&head, "last")
}

/// The events after this number, in order: up to `limit`, and no more than [`MAX_EVENTS`]. There
/// may be more though there are fewer than `limit`; if there is none, this was the last one.
///
/// What cannot be read is an error that names its row. Events before it come first, in a read of
/// their own.
pub async fn after(
    store: &Store,
    sequence: i64,
    limit: usize,
) -> Result<Vec<StreamedEvent>, StoreError> {
    let limit = limit.min(MAX_EVENTS);
    let Some(until) = last_wanted(store, sequence, limit).await? else {
        return Ok(Vec::new());
    };
    let batches = query(
        store.reader(),
        "SELECT last, count, events FROM change_batch WHERE last > $1 AND last <= $2 ORDER BY last",
        [sequence.into(), until.into()],
    )
    .await?;
    let mut found = FoundEvents {
        events: Vec::new(),
        bytes: 0,
        limit,
    };
    for row in &batches {
        match found.add(row, sequence) {
            Err(StoreError::Corrupt { .. }) if !found.events.is_empty() => break,
            added => added?,
        }
        if found.is_full() {
            break;
        }
    }
    Ok(found.events)
}

/// The key of the last batch that is needed for so many events; none if there are no events.
async fn last_wanted(
    store: &Store,
    sequence: i64,
    limit: usize,
) -> Result<Option<i64>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let heads = query(
        store.reader(),
        "SELECT last, count FROM change_batch WHERE last > $1 ORDER BY last LIMIT $2",
        [sequence.into(), limit.into()],
    )
    .await?;
    let (mut until, mut events) = (None, 0);
    for row in &heads {
        let last: i64 = column(row, "last")?;
        let count: i64 = column(row, "count")?;
        until = Some(last);
        // Those of the first batch may have been read in part.
        events = count
            .min(last.saturating_sub(sequence))
            .saturating_add(events);
        if events >= limit {
            break;
        }
    }
    Ok(until)
}

/// What a read has found so far.
struct FoundEvents {
    events: Vec<StreamedEvent>,
    bytes: usize,
    limit: usize,
}

impl FoundEvents {
    fn is_full(&self) -> bool {
        self.events.len() >= self.limit || self.bytes >= READ_BYTES
    }

    /// Adds the events of a batch after this number, as many as there is room for; of a damaged
    /// batch none.
    fn add(&mut self, row: &QueryResult, after: i64) -> Result<(), StoreError> {
        let last: i64 = column(row, "last")?;
        let count: i64 = column(row, "count")?;
        let events: Vec<u8> = column(row, "events")?;
        self.read(&events, last, count, after)
            .ok_or_else(|| StoreError::Corrupt {
                table: "change_batch",
                row: last.to_string(),
                column: "events",
            })
    }

    fn read(&mut self, events: &[u8], last: i64, count: i64, after: i64) -> Option<()> {
        let before = self.events.len();
        let lines = unpack(events, MAX_BATCH_BYTES)?;
        let read = self.read_lines(&lines, last, count, after);
        if read.is_none() {
            self.events.truncate(before);
        }
        read
    }

    fn read_lines(&mut self, lines: &[u8], last: i64, count: i64, after: i64) -> Option<()> {
        let lines: Vec<&[u8]> = lines
            .strip_suffix(b"\n")?
            .split(|byte| *byte == b'\n')
            .collect();
        if i64::try_from(lines.len()).ok()? != count {
            return None;
        }
        let first = last.checked_sub(count)?.checked_add(1)?;
        for (sequence, line) in (first..).zip(lines) {
            if self.is_full() {
                break;
            }
            if sequence <= after {
                continue;
            }
            let line: EventLine<'_, Box<RawValue>> = serde_json::from_slice(line).ok()?;
            self.bytes += line.data.get().len();
            self.events.push(StreamedEvent {
                sequence,
                at: line.at,
                event_type: line.r#type.into_owned(),
                data: line.data,
            });
        }
        Some(())
    }
}

/// With a checksum: a damaged row does not read as another one.
fn pack(lines: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(lines)
}

/// What was packed; none if it is no such thing, or larger than `most`.
fn unpack(events: &[u8], most: u64) -> Option<Vec<u8>> {
    let decoder = zstd::stream::read::Decoder::with_buffer(events).ok()?;
    let mut lines = Vec::new();
    let read = decoder.take(most + 1).read_to_end(&mut lines).ok()?;
    (u64::try_from(read).ok()? <= most).then_some(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BATCH_BYTES, FoundEvents, PendingEvents, StreamedEvent, pack, unpack};
    use crate::domain::{
        own_event::{
            HeraldEvent, HeraldEventType,
            payload::{AccountUpdateData, SenderSilenceData},
        },
        time::Timestamp,
    };

    /// What a row with these bytes, whose last event is `last`, gives to a reader.
    fn read(
        events: &[u8],
        last: i64,
        count: i64,
        after: i64,
        limit: usize,
    ) -> Option<Vec<StreamedEvent>> {
        let mut found = FoundEvents {
            events: Vec::new(),
            bytes: 0,
            limit,
        };
        found.read(events, last, count, after)?;
        Some(found.events)
    }

    fn any_event() -> impl Strategy<Value = HeraldEvent> {
        let examples: Vec<HeraldEvent> = HeraldEventType::ALL
            .iter()
            .flat_map(|kind| kind.examples())
            .collect();
        prop_oneof![
            prop::sample::select(examples),
            ".*".prop_map(|text| HeraldEvent::SenderSilent(SenderSilenceData {
                sender: text.clone(),
                since: None,
                remedy: text,
            })),
        ]
    }

    fn packed(events: &[(HeraldEvent, i64)]) -> Vec<u8> {
        let mut pending = PendingEvents::default();
        for (event, at) in events {
            pending.push(event, Timestamp::from_micros(*at)).unwrap();
        }
        assert_eq!(pending.batches.len(), 1);
        pack(&pending.batches[0].lines).unwrap()
    }

    proptest! {
        #[test]
        fn a_batch_is_read_as_it_was_written_from_any_place_in_any_pieces(
            events in prop::collection::vec((any_event(), any::<i64>()), 1..20),
            before in 0_i64..1000,
            skipped in 0_i64..25,
            limit in 1_usize..30,
        ) {
            let count = i64::try_from(events.len()).unwrap();
            let bytes = packed(&events);
            let found = read(&bytes, before + count, count, before + skipped, limit).unwrap();
            let wanted: Vec<_> = (before + 1..)
                .zip(&events)
                .filter(|(sequence, _)| *sequence > before + skipped)
                .take(limit)
                .collect();
            prop_assert_eq!(found.len(), wanted.len());
            for (found, (sequence, (event, at))) in found.iter().zip(wanted) {
                prop_assert_eq!(found.sequence, sequence);
                prop_assert_eq!(found.at, Timestamp::from_micros(*at));
                prop_assert_eq!(&found.event_type, &*event.type_name());
                let data: serde_json::Value = serde_json::from_str(found.data.get()).unwrap();
                prop_assert_eq!(data, event.data());
            }
        }

        #[test]
        fn bytes_that_are_no_batch_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes, 5, 5, 0, 10).is_none());
        }

        #[test]
        fn a_batch_that_was_cut_or_changed_is_refused(
            events in prop::collection::vec((any_event(), any::<i64>()), 1..5),
            place in any::<prop::sample::Index>(),
            other in 1_u8..,
        ) {
            let mut bytes = packed(&events);
            let count = i64::try_from(events.len()).unwrap();
            let place = place.index(bytes.len());
            prop_assert!(read(&bytes[..place], count, count, 0, 10).is_none());
            bytes[place] ^= other;
            let changed = read(&bytes, count, count, 0, 10);
            // What zstd does not use may be another: it says the same.
            prop_assert!(changed.is_none_or(|found| found.len() == events.len()));
        }
    }

    #[test]
    fn a_batch_of_another_number_of_events_is_refused() {
        let event = HeraldEventType::SenderSilent.examples().remove(0);
        let bytes = packed(&[(event.clone(), 1), (event, 2)]);
        assert!(read(&bytes, 2, 2, 0, 10).is_some());
        for count in [-1, 0, 1, 3] {
            assert!(read(&bytes, 2, count, 0, 10).is_none(), "{count}");
        }
    }

    #[test]
    fn a_batch_that_grows_without_end_is_refused() {
        let bytes = pack(&vec![b' '; 100_000]).unwrap();
        assert!(bytes.len() < 1000);
        assert!(unpack(&bytes, 99_999).is_none());
        assert_eq!(unpack(&bytes, 100_000).unwrap().len(), 100_000);
    }

    #[test]
    fn much_of_one_transaction_becomes_several_batches() {
        let large = HeraldEvent::AccountChanged {
            property: "review".to_owned(),
            data: AccountUpdateData {
                account: None,
                number: None,
                summary: "x".repeat(BATCH_BYTES * 2 / 3),
                value: serde_json::Value::Null,
            },
        };
        let mut pending = PendingEvents::default();
        for _ in 0..5 {
            pending.push(&large, Timestamp::default()).unwrap();
        }
        let counts: Vec<i64> = pending.batches.iter().map(|batch| batch.count).collect();
        assert_eq!(counts, [2, 2, 1]);
    }
}
