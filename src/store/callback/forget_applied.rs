//! Deletes what belongs to forgotten segments outside of the inbox: their marks, dead letters and parked
//! statuses.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::{forget::first_segment, segment_id, segments};
use crate::{
    domain::{callback_id::CallbackSegmentId, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, query, query_one},
    },
};

/// Tables outside of the inbox whose rows belong to segments, and the column with the segment, or with
/// a callback of it.
const OF_SEGMENTS: [(&str, SegmentOwner); 4] = [
    ("parked_status", SegmentOwner::Callback),
    ("dead_letter", SegmentOwner::Callback),
    ("inbox_applied", SegmentOwner::Segment),
    // While it is worked body by body.
    ("inbox_applied_body", SegmentOwner::Segment),
];

/// What a row belongs to.
#[derive(Clone, Copy)]
enum SegmentOwner {
    Callback,
    Segment,
}

impl SegmentOwner {
    const fn column(self) -> &'static str {
        match self {
            Self::Callback => "callback_id",
            Self::Segment => "segment",
        }
    }

    /// The first and the last value that belong to a segment.
    fn bounds(self, segment: CallbackSegmentId) -> (Value, Value) {
        match self {
            Self::Callback => {
                let (first, last) = segment.callbacks();
                (first.into(), last.into())
            }
            Self::Segment => (segment.number().into(), segment.number().into()),
        }
    }

    fn segment(self, row: &QueryResult) -> Result<CallbackSegmentId, StoreError> {
        match self {
            Self::Callback => Ok(CallbackSegmentId::of(column(row, self.column())?)),
            Self::Segment => segment_id(row, self.column()),
        }
    }
}

/// Whether anything outside of the inbox belongs to segments from before then.
pub async fn any_applied_before(
    main: &impl ConnectionTrait,
    before: Timestamp,
) -> Result<bool, StoreError> {
    for (table, owner) in OF_SEGMENTS {
        let sql = format!(
            "SELECT 1 FROM {table} WHERE {} < $1 LIMIT 1",
            owner.column()
        );
        let (first, _) = owner.bounds(first_segment(before));
        if query_one(main, sql, [first]).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes rows outside of the inbox that belong to segments from before then, if these have gone: a
/// segment that is there without its mark would count as not applied. Looks at up to `step` rows of
/// each table; says how many were deleted.
pub async fn forget_applied_step(
    main: &DatabaseTransaction,
    inbox: &impl ConnectionTrait,
    before: Timestamp,
    step: i64,
) -> Result<u64, StoreError> {
    let mut gone = 0;
    for (table, owner) in OF_SEGMENTS {
        let column = owner.column();
        let (bound, _) = owner.bounds(first_segment(before));
        let found = query(
            main,
            format!("SELECT {column} FROM {table} WHERE {column} < $1 ORDER BY {column} LIMIT $2"),
            [bound, step.into()],
        )
        .await?;
        let mut old = Vec::with_capacity(found.len());
        for row in &found {
            old.push(owner.segment(row)?);
        }
        old.dedup();
        for (first, last) in runs_without(&old, &kept_among(inbox, &old).await?) {
            let deleted = execute(
                main,
                format!("DELETE FROM {table} WHERE {column} >= $1 AND {column} <= $2"),
                [owner.bounds(first).0, owner.bounds(last).1],
            )
            .await?;
            gone += deleted.rows_affected();
        }
    }
    Ok(gone)
}

/// Those of these segments that are there.
async fn kept_among(
    inbox: &impl ConnectionTrait,
    ids: &[CallbackSegmentId],
) -> Result<HashSet<CallbackSegmentId>, StoreError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let found = segments(inbox, "s.id", ids.iter().copied()).await?;
    found.iter().map(|row| segment_id(row, "id")).collect()
}

/// The ends of each run of segments without one that is kept.
fn runs_without(
    ids: &[CallbackSegmentId],
    kept: &HashSet<CallbackSegmentId>,
) -> Vec<(CallbackSegmentId, CallbackSegmentId)> {
    let runs = ids.split(|id| kept.contains(id));
    runs.filter_map(|run| Some((*run.first()?, *run.last()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{CallbackSegmentId, runs_without};

    #[test]
    fn a_run_ends_before_what_is_kept() {
        let ids = [1, 2, 5, 6, 7, 9].map(CallbackSegmentId::from_number);
        let ends = |kept: &[i64]| -> Vec<(i64, i64)> {
            let kept: HashSet<_> = kept
                .iter()
                .copied()
                .map(CallbackSegmentId::from_number)
                .collect();
            let runs = runs_without(&ids, &kept).into_iter();
            runs.map(|(first, last)| (first.number(), last.number()))
                .collect()
        };
        assert_eq!(ends(&[]), [(1, 9)]);
        assert_eq!(ends(&[1, 6]), [(2, 5), (7, 9)]);
        assert_eq!(ends(&[5, 9]), [(1, 2), (6, 7)]);
        assert_eq!(ends(&[1, 2, 5, 6, 7, 9]), []);
    }
}
