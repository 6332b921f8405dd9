//! What was applied: the marks of segments, and of single bodies while a segment is worked body by
//! body.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{
    claim::drop_pending,
    counts::{self, CallbackItemCounts},
    segment_id,
};
use crate::{
    domain::{
        callback_id::{CallbackId, CallbackSegmentId},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{SqlListFieldType, by_key, column, execute, is_sqlite, list, query, rows},
    },
};

/// A segment whose bodies were applied.
#[derive(Clone, Debug)]
pub struct AppliedCallbackSegment {
    pub id: CallbackSegmentId,
    /// Of each body.
    pub counts: Vec<CallbackItemCounts>,
}

/// A body that was applied before its segment.
#[derive(Clone, Copy, Debug)]
pub struct AppliedCallback {
    pub id: CallbackId,
    pub counts: CallbackItemCounts,
}

#[derive(Serialize)]
struct AppliedSegmentRow {
    segment: i64,
    counts: String,
}

const MARK: [(&str, SqlListFieldType); 2] = [
    ("segment", SqlListFieldType::Int),
    ("counts", SqlListFieldType::Bytes),
];

fn mark_rows<'a>(
    marks: impl IntoIterator<Item = &'a AppliedCallbackSegment>,
) -> Vec<AppliedSegmentRow> {
    let mut rows: Vec<AppliedSegmentRow> = marks
        .into_iter()
        .map(|mark| AppliedSegmentRow {
            segment: mark.id.number(),
            counts: hex::encode(counts::encode(&mark.counts)),
        })
        .collect();
    rows.sort_by_key(|row| row.segment);
    rows
}

/// Marks segments as applied. Returns those that another process has applied meanwhile: the caller
/// must leave them alone.
///
/// They wait no more: on PostgreSQL from this transaction on, on SQLite once [`Store`] was given note
/// of them after the commit ([`Store::note_applied_segments`]).
///
/// [`Store`]: crate::store::Store
/// [`Store::note_applied_segments`]: crate::store::Store::note_applied_segments
pub async fn mark_applied(
    main: &DatabaseTransaction,
    marks: &[AppliedCallbackSegment],
    now: Timestamp,
) -> Result<Vec<CallbackSegmentId>, StoreError> {
    let given = rows(main.get_database_backend(), &MARK);
    let marked = query(
        main,
        format!(
            "INSERT INTO inbox_applied (segment, processed_at, counts) SELECT r.segment, $2, r.counts FROM {given} \
             WHERE true ON CONFLICT (segment) DO NOTHING RETURNING segment"
        ),
        [list(&mark_rows(marks))?, now.micros().into()],
    )
    .await?;
    let mut elsewhere: Vec<CallbackSegmentId> = marks.iter().map(|mark| mark.id).collect();
    for row in &marked {
        let own = segment_id(row, "segment")?;
        elsewhere.retain(|id| *id != own);
    }
    if !is_sqlite(main) {
        drop_pending(main, marks.iter().map(|mark| mark.id)).await?;
    }
    Ok(elsewhere)
}

/// Corrects the counts of segments that were marked in the same transaction.
pub async fn correct_segments<'a>(
    main: &DatabaseTransaction,
    marks: impl IntoIterator<Item = &'a AppliedCallbackSegment>,
) -> Result<(), StoreError> {
    let backend = main.get_database_backend();
    let given = rows(backend, &MARK);
    execute(
        main,
        format!(
            "UPDATE inbox_applied SET counts = r.counts FROM {given} WHERE {}",
            by_key(backend, "inbox_applied.segment", "r.segment")
        ),
        [list(&mark_rows(marks))?],
    )
    .await?;
    Ok(())
}

/// Marks a body as applied. Says whether it was not before.
pub async fn mark_body(
    main: &DatabaseTransaction,
    body: &AppliedCallback,
) -> Result<bool, StoreError> {
    let AppliedCallback { id, counts } = body;
    let marked = execute(
        main,
        "INSERT INTO inbox_applied_body (segment, position, items, dead_items) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (segment, position) DO NOTHING",
        [
            id.segment.number().into(),
            i64::from(id.position).into(),
            number(counts.items).into(),
            number(counts.dead_items).into(),
        ],
    )
    .await?;
    Ok(marked.rows_affected() > 0)
}

/// Corrects the counts of a body that was marked in the same transaction.
pub async fn correct_body(
    main: &DatabaseTransaction,
    body: &AppliedCallback,
) -> Result<(), StoreError> {
    let AppliedCallback { id, counts } = body;
    execute(
        main,
        "UPDATE inbox_applied_body SET dead_items = $3 WHERE segment = $1 AND position = $2",
        [
            id.segment.number().into(),
            i64::from(id.position).into(),
            number(counts.dead_items).into(),
        ],
    )
    .await?;
    Ok(())
}

/// The bodies of a segment that were applied before it.
pub async fn applied_bodies(
    main: &impl ConnectionTrait,
    segment: CallbackSegmentId,
) -> Result<BTreeMap<u32, CallbackItemCounts>, StoreError> {
    let found = query(
        main,
        "SELECT position, items, dead_items FROM inbox_applied_body WHERE segment = $1",
        [segment.number().into()],
    )
    .await?;
    let mut applied = BTreeMap::new();
    for row in &found {
        let position: i64 = column(row, "position")?;
        let items: i64 = column(row, "items")?;
        let dead_items: i64 = column(row, "dead_items")?;
        applied.insert(
            u32::try_from(position).unwrap_or(u32::MAX),
            CallbackItemCounts {
                items: items.max(0).unsigned_abs(),
                dead_items: dead_items.max(0).unsigned_abs(),
            },
        );
    }
    Ok(applied)
}

/// The marks of the bodies go when their segment is marked.
pub async fn forget_applied_bodies(
    main: &DatabaseTransaction,
    segment: CallbackSegmentId,
) -> Result<(), StoreError> {
    execute(
        main,
        "DELETE FROM inbox_applied_body WHERE segment = $1",
        [segment.number().into()],
    )
    .await?;
    Ok(())
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
