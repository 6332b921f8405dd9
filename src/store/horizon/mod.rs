//! Timestamps in rows that lie further in the future than possible: found, counted, and repaired.
//!
//! The limits are in [`crate::domain::horizon`]. A row that waits for such a time becomes due at
//! once; a lease, a hold or a link gets its full duration again from the time of the repair, as its
//! holder may be active.

mod columns;
mod mend;

pub use mend::{
    FutureTimestampMessage, TimestampLimitRepairOutcome, TimestampLimitRepairPlan, find, mend,
    mend_inbox,
};

use std::collections::BTreeMap;

use uuid::Uuid;

use self::columns::{WRONG_PLANS, WRONG_TIMERS, columns, of_messages};
use super::{
    SingleStatementPool, Store, StoreError, callback,
    dialect::{column, nullable, query_one},
    first_id, made_at,
};
use crate::domain::{
    callback_id::CallbackSegmentId,
    horizon::{FutureTimestampLimits, StoredTimestampKind, TOLERANCE_MICROS},
    time::Timestamp,
};

/// The tables whose rows show how far the clock has been: their ids contain the time.
const WITNESSES: [&str; 5] = ["notification", "attempt", "event", "follow_up", "audit"];

/// Rows that were made at instants that are still to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FutureTimestampTraces {
    /// The newest of each kind that shows it.
    newest: [Option<Uuid>; WITNESSES.len()],
    newest_segment: Option<CallbackSegmentId>,
    /// Instants that are kept for later lie further ahead than they can.
    pub any_wrong: bool,
}

impl FutureTimestampTraces {
    /// How far the clock has been ahead of now, if it was.
    pub fn latest(&self) -> Option<Timestamp> {
        let newest = self.newest.iter().flatten().max().map(|id| made_at(*id));
        newest.max(self.newest_segment.map(CallbackSegmentId::received_at))
    }

    /// The traces after the repair: ids keep the time they were made with.
    #[must_use]
    pub fn mended(self) -> Self {
        Self {
            any_wrong: false,
            ..self
        }
    }

    pub fn any(&self) -> bool {
        self.any_wrong || self.latest().is_some()
    }
}

/// Looks for traces of a clock that was ahead of now: a look at the end of a few
/// indexes, and at small tables.
pub async fn traces(
    store: &Store,
    horizon: &FutureTimestampLimits,
    now: Timestamp,
) -> Result<FutureTimestampTraces, StoreError> {
    let newest: Vec<String> = WITNESSES
        .iter()
        .map(|table| {
            format!(
                "(SELECT id FROM {table} WHERE id > $1 ORDER BY id DESC LIMIT 1) AS newest_{table}"
            )
        })
        .collect();
    let after = first_id(now.plus_micros(TOLERANCE_MICROS));
    let row = query_one(
        store.reader(),
        format!("SELECT {}", newest.join(", ")),
        [after.into()],
    )
    .await?;
    let mut traces = FutureTimestampTraces::default();
    if let Some(row) = &row {
        for (newest, table) in traces.newest.iter_mut().zip(WITNESSES) {
            *newest = nullable(row, &format!("newest_{table}"))?;
        }
    }
    let inbox = store.inbox().reader();
    let (after, last) = (
        CallbackSegmentId::of(after),
        CallbackSegmentId::from_number(i64::MAX),
    );
    traces.newest_segment = callback::newest_segment(inbox, after, last).await?;
    for column in columns(horizon).iter().filter(|column| column.is_cheap) {
        if traces.any_wrong {
            break;
        }
        let found = query_one(
            reader(store, column.is_of_inbox),
            format!(
                "SELECT 1 FROM {} WHERE {} > $1 AND {} LIMIT 1",
                column.table, column.name, column.only
            ),
            [column.bound(now).into()],
        )
        .await?;
        traces.any_wrong = found.is_some();
    }
    Ok(traces)
}

/// How many instants of each kind lie further ahead than they can. Walks tables: for a
/// command.
pub async fn count(
    store: &Store,
    horizon: &FutureTimestampLimits,
    now: Timestamp,
) -> Result<BTreeMap<StoredTimestampKind, i64>, StoreError> {
    let main = store.reader();
    let mut asked: Vec<(StoredTimestampKind, &SingleStatementPool, String, i64)> = columns(horizon)
        .iter()
        .map(|column| {
            let condition = format!("{} > $1 AND {}", column.name, column.only);
            let sql = format!(
                "SELECT count(*) AS count FROM {} WHERE {condition}",
                column.table
            );
            let reader = reader(store, column.is_of_inbox);
            (column.kind, reader, sql, column.bound(now))
        })
        .collect();
    asked.extend(of_messages(horizon).iter().map(|of| {
        let sql = format!(
            "SELECT count(*) AS count FROM notification WHERE {}",
            of.wrong
        );
        (of.kind, main, sql, of.bound(now))
    }));
    asked.push((
        StoredTimestampKind::Timer,
        main,
        format!("SELECT count(*) AS count FROM follow_up WHERE {WRONG_TIMERS}"),
        now.plus_micros(TOLERANCE_MICROS).micros(),
    ));
    let mut counts = BTreeMap::new();
    let mut add = |kind, count: i64| {
        if count > 0 {
            *counts.entry(kind).or_default() += count;
        }
    };
    for (kind, reader, sql, bound) in asked {
        let row = query_one(reader, sql, [bound.into()]).await?;
        add(kind, row.map_or(Ok(0), |row| column(&row, "count"))?);
    }
    let bound = now.plus_micros(TOLERANCE_MICROS);
    let row = query_one(
        store.reader(),
        format!("SELECT count(*) AS count FROM follow_up_timer WHERE {WRONG_PLANS}"),
        [bound.micros().into(), first_id(bound).into()],
    )
    .await?;
    let planned = row.map_or(Ok(0), |row| column(&row, "count"))?;
    add(StoredTimestampKind::Timer, planned);
    Ok(counts)
}

/// Where tables are read.
fn reader(store: &Store, of_inbox: bool) -> &SingleStatementPool {
    if of_inbox {
        store.inbox().reader()
    } else {
        store.reader()
    }
}
