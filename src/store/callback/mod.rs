//! The inbox of callbacks.
//!
//! Bodies that come together are stored together: one row of `inbox_segment` for each group commit,
//! endpoint and class. What waits to be applied is in `inbox_pending`, what was applied in
//! `inbox_applied`. `inbox_digest` finds repeats by eight bytes of the digest; the whole digest is in
//! the segment.
//!
//! Functions that need the inbox's tables and the rest of the database (`inbox_applied`,
//! `inbox_applied_body`, and everything that callbacks are applied to) take two connections: on SQLite
//! the two are different files. There a row of `inbox_pending` may be left of a segment that was
//! applied: it counts for nothing, and goes with the next batch (`applied_queue.rs`).

mod applied;
mod applied_queue;
mod claim;
mod counts;
mod erase;
mod forget;
mod forget_applied;
mod list;
mod pending;
mod read;
mod repeats;
pub mod segment;
mod varint;
mod write;

use std::borrow::Cow;

use bytes::Bytes;
use sea_orm::{ConnectionTrait, QueryResult};
use serde::Serialize;

use super::{
    StoreError,
    dialect::{SqlListFieldType, column, list, matching, query, rows},
};
use crate::domain::callback_id::CallbackSegmentId;

pub(in crate::store) use self::applied_queue::rely_on_nothing;
pub use self::{
    applied::{
        AppliedCallback, AppliedCallbackSegment, applied_bodies, correct_body, correct_segments,
        forget_applied_bodies, mark_applied, mark_body,
    },
    applied_queue::{AppliedSegmentQueue, restore_pending},
    claim::{
        CallbackClaimScope, CallbackClaimSizeLimits, ClaimedCallbackSegments,
        UnreadableCallbackSegment, begin_alone, claim, release_all, renew,
    },
    counts::CallbackItemCounts,
    erase::{
        CallbackErasureRange, ErasableCallbackSegment, ErasableCallbackSegments,
        ErasedCallbackSegment, erasable, erase,
    },
    forget::{any_digest_before, any_segment_before, forget_digest_step, forget_segment_step},
    forget_applied::{any_applied_before, forget_applied_step},
    list::{CallbackListRow, about, before, between, newest, one},
    pending::{CallbackBacklog, CallbackChangeCursor, change_cursor, oldest, unowned, waiting},
    read::{StoredCallbackBody, body},
    segment::CallbackBodyHead,
    write::{
        CallbackSegmentLease, NewCallback, NewCallbackSegment, PreparedCallbackSegment,
        StoredCallbackSegment, newest_segment, store_batch,
    },
};

/// The table of segments, in errors.
const SEGMENT: &str = "inbox_segment";

/// A body of a segment.
#[derive(Clone, Debug)]
pub struct CallbackBody {
    pub body: Bytes,
    /// Its bytes were erased, as a person whom it concerns was deleted: nothing is left to be read
    /// or applied.
    pub is_erased: bool,
    /// Labels of the secrets that signed it, if there are several apps.
    pub signed_by: Option<String>,
}

/// Bodies that were stored together, to be applied.
#[derive(Clone, Debug)]
pub struct CallbackSegment {
    pub id: CallbackSegmentId,
    /// Whose callbacks these are: the last part of the webhook's path.
    pub endpoint: Cow<'static, str>,
    /// Each at its position.
    pub bodies: Vec<CallbackBody>,
    /// How often it was claimed: more than once means that a process died while applying it.
    pub tries: i64,
    /// The body that was being applied by itself when it was claimed.
    pub alone_at: Option<u32>,
}

impl CallbackSegment {
    /// The size of its bodies together.
    pub fn size(&self) -> usize {
        self.bodies.iter().map(|body| body.body.len()).sum()
    }
}

/// One row of a list of segments.
#[derive(Debug, Serialize)]
struct SegmentKeyRow {
    segment: i64,
}

/// A list of segments as the JSON parameter of [`rows`] with [`SEGMENT_KEYS`].
fn segment_keys(
    segments: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<sea_orm::Value, StoreError> {
    let keys: Vec<SegmentKeyRow> = segments
        .into_iter()
        .map(|segment| SegmentKeyRow {
            segment: segment.number(),
        })
        .collect();
    list(&keys)
}

/// The fields of [`segment_keys`].
const SEGMENT_KEYS: [(&str, SqlListFieldType); 1] = [("segment", SqlListFieldType::Int)];

/// Reads these columns of segments, those that are there.
async fn segments(
    inbox: &impl ConnectionTrait,
    columns: &str,
    ids: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<Vec<QueryResult>, StoreError> {
    rows_of(inbox, SEGMENT, "s.id", columns, ids).await
}

/// Reads these columns of a table's rows, `s`, that belong to segments by this column.
async fn rows_of(
    connection: &impl ConnectionTrait,
    table: &str,
    key: &str,
    columns: &str,
    ids: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<Vec<QueryResult>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &SEGMENT_KEYS);
    let found = matching(backend, &given, table, "s", &format!("{key} = r.segment"));
    query(
        connection,
        format!("SELECT {columns} FROM {found}"),
        [segment_keys(ids)?],
    )
    .await
}

/// The id of a segment in a row.
fn segment_id(row: &QueryResult, name: &str) -> Result<CallbackSegmentId, StoreError> {
    Ok(CallbackSegmentId::from_number(column(row, name)?))
}

/// A segment that is damaged.
fn corrupt(segment: CallbackSegmentId, column: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: SEGMENT,
        row: segment.number().to_string(),
        column,
    }
}

/// Says that a segment is damaged, where others are not to suffer from it.
fn report_damage(error: &StoreError) {
    tracing::error!(
        event = "callback.segment_damaged",
        %error,
        "a stored segment of callbacks cannot be read"
    );
}

/// What is read of a segment to have its heads.
const HEADS: &str = "s.id, s.bodies, s.size_bytes, s.heads";

/// The heads in a row of [`HEADS`].
fn heads(row: &QueryResult) -> Result<Vec<CallbackBodyHead>, StoreError> {
    let stored: Vec<u8> = column(row, "heads")?;
    segment::decode_heads(&stored, column(row, "bodies")?, column(row, "size_bytes")?)
        .ok_or(corrupt(segment_id(row, "id")?, "heads"))
}
