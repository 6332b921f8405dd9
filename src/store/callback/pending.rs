//! What waits to be applied.

use sea_orm::{ConnectionTrait, QueryResult};

use super::{rows_of, segment_id};
use crate::{
    domain::{callback_id::CallbackSegmentId, time::Timestamp},
    store::{
        Store, StoreError,
        dialect::{column, is_sqlite, nullable, query, query_one},
    },
};

/// Bodies that wait to be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackBacklog {
    pub callbacks: i64,
    pub bytes: i64,
    /// When the oldest came.
    pub oldest: Option<Timestamp>,
}

/// The rows of these segments that were applied.
pub(super) async fn applied_rows(
    main: &impl ConnectionTrait,
    segments: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<Vec<QueryResult>, StoreError> {
    let columns = "s.segment, s.counts";
    rows_of(main, "inbox_applied", "s.segment", columns, segments).await
}

/// Which of these segments were applied.
pub(super) async fn applied_among(
    main: &impl ConnectionTrait,
    segments: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<Vec<CallbackSegmentId>, StoreError> {
    let found = applied_rows(main, segments).await?;
    found.iter().map(|row| segment_id(row, "segment")).collect()
}

/// The first of these segments that is not applied.
pub(super) async fn first_waiting(
    inbox: &impl ConnectionTrait,
    main: &impl ConnectionTrait,
    segments: &[CallbackSegmentId],
) -> Result<Option<CallbackSegmentId>, StoreError> {
    let ids = segments.iter().copied();
    let found = rows_of(inbox, "inbox_pending", "s.segment", "s.segment", ids).await?;
    let waiting: Result<Vec<_>, _> = found.iter().map(|row| segment_id(row, "segment")).collect();
    let mut waiting = waiting?;
    if waiting.is_empty() {
        return Ok(None);
    }
    // The row of an applied segment may be left.
    let applied = applied_among(main, waiting.iter().copied()).await?;
    waiting.retain(|id| !applied.contains(id));
    Ok(waiting.into_iter().min())
}

/// A segment that was applied, and has its row in `inbox_pending` all the same.
struct AppliedPendingSegment {
    segment: CallbackSegmentId,
    bodies: i64,
    size_bytes: i64,
}

/// Segments that were applied while their row was not deleted: only on SQLite, and only among those
/// that some process has taken.
async fn leftovers(
    inbox: &impl ConnectionTrait,
    main: &impl ConnectionTrait,
) -> Result<Vec<AppliedPendingSegment>, StoreError> {
    if !is_sqlite(inbox) {
        return Ok(Vec::new());
    }
    let found = query(
        inbox,
        "SELECT segment, bodies, size_bytes FROM inbox_pending WHERE owner IS NOT NULL",
        [],
    )
    .await?;
    let mut taken = Vec::with_capacity(found.len());
    for row in &found {
        taken.push(AppliedPendingSegment {
            segment: segment_id(row, "segment")?,
            bodies: column(row, "bodies")?,
            size_bytes: column(row, "size_bytes")?,
        });
    }
    if taken.is_empty() {
        return Ok(taken);
    }
    let applied = applied_among(main, taken.iter().map(|taken| taken.segment)).await?;
    taken.retain(|taken| applied.contains(&taken.segment));
    Ok(taken)
}

/// What waits to be processed: all of it is looked at.
pub async fn waiting(
    inbox: &impl ConnectionTrait,
    main: &impl ConnectionTrait,
) -> Result<CallbackBacklog, StoreError> {
    let row = query_one(
        inbox,
        "SELECT CAST(coalesce(sum(bodies), 0) AS bigint) AS callbacks, \
         CAST(coalesce(sum(size_bytes), 0) AS bigint) AS bytes FROM inbox_pending",
        [],
    )
    .await?;
    let Some(row) = row else {
        return Ok(CallbackBacklog::default());
    };
    let leftovers = leftovers(inbox, main).await?;
    let bodies: i64 = leftovers.iter().map(|left| left.bodies).sum();
    let bytes: i64 = leftovers.iter().map(|left| left.size_bytes).sum();
    // A segment may have been applied between the two looks.
    let callbacks = (column::<i64>(&row, "callbacks")? - bodies).max(0);
    Ok(CallbackBacklog {
        callbacks,
        bytes: (column::<i64>(&row, "bytes")? - bytes).max(0),
        oldest: match callbacks {
            0 => None,
            _ => oldest(inbox, main).await?,
        },
    })
}

/// When the oldest body came that waits to be processed.
pub async fn oldest(
    inbox: &impl ConnectionTrait,
    main: &impl ConnectionTrait,
) -> Result<Option<Timestamp>, StoreError> {
    let mut after = CallbackSegmentId::from_number(i64::MIN);
    loop {
        let row = query_one(
            inbox,
            "SELECT min(segment) AS segment FROM inbox_pending WHERE segment > $1",
            [after.number().into()],
        )
        .await?;
        let found = row.map_or(Ok(None), |row| nullable::<i64>(&row, "segment"))?;
        let Some(segment) = found.map(CallbackSegmentId::from_number) else {
            return Ok(None);
        };
        if !is_sqlite(inbox) || applied_among(main, [segment]).await?.is_empty() {
            return Ok(Some(segment.received_at()));
        }
        after = segment;
    }
}

/// Whether there are unprocessed bodies whose lease has run out, urgent ones and others.
pub async fn unowned(store: &Store, now: Timestamp) -> Result<(bool, bool), StoreError> {
    let any = |urgent: bool| {
        format!(
            "SELECT segment FROM inbox_pending WHERE urgent = {urgent} AND leased_until <= $1 LIMIT 1"
        )
    };
    let connection = store.inbox().by_index();
    let urgent = query_one(connection, any(true), [now.micros().into()]).await?;
    let ordinary = query_one(connection, any(false), [now.micros().into()]).await?;
    Ok((urgent.is_some(), ordinary.is_some()))
}

/// Two of these are equal as long as no callback came or was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackChangeCursor {
    newest: Option<CallbackSegmentId>,
    waiting: i64,
}

/// Reads it, of the segments before one.
pub async fn change_cursor(
    inbox: &impl ConnectionTrait,
    before: CallbackSegmentId,
) -> Result<CallbackChangeCursor, StoreError> {
    let row = query_one(
        inbox,
        "SELECT (SELECT id FROM inbox_segment WHERE id < $1 ORDER BY id DESC LIMIT 1) AS newest, \
         (SELECT CAST(coalesce(sum(bodies), 0) AS bigint) FROM inbox_pending) AS waiting",
        [before.number().into()],
    )
    .await?;
    let Some(row) = row else {
        return Ok(CallbackChangeCursor::default());
    };
    let newest: Option<i64> = nullable(&row, "newest")?;
    Ok(CallbackChangeCursor {
        newest: newest.map(CallbackSegmentId::from_number),
        waiting: column(&row, "waiting")?,
    })
}
