//! Deletes what is older than it is kept: digests, and later the segments themselves.
//!
//! A digest never outlives its segment: there would be nothing to compare it with.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, QueryResult};
use serde::Serialize;

use super::{HEADS, heads, repeats::digest_key, report_damage, segment_id};
use crate::{
    domain::{callback_id::CallbackSegmentId, time::Timestamp},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            SqlListFieldType, among, column, execute, list, nullable, query, query_one, rows,
        },
        first_id,
    },
};

/// Most bodies of the segments that are deleted together, unless one alone has more.
const MOST_BODIES: i64 = 100;

/// Finds segments from before `$1`.
const OLD: &str = "inbox_segment s WHERE s.id < $1 ORDER BY s.id LIMIT $2";

/// Finds segments from before `$1` that were applied.
const APPLIED: &str = "inbox_segment s WHERE s.id < $1 \
    AND NOT EXISTS (SELECT 1 FROM inbox_pending p WHERE p.segment = s.id) ORDER BY s.id LIMIT $2";

/// Finds segments from before `$1` whose digests are kept.
const WITH_DIGESTS: &str = "inbox_segment s WHERE s.id < $1 \
    AND s.id > coalesce((SELECT segment FROM inbox_digest_horizon WHERE id = 1), 0) ORDER BY s.id LIMIT $2";

/// The first segment of a time.
pub(super) fn first_segment(at: Timestamp) -> CallbackSegmentId {
    CallbackSegmentId::of(first_id(at))
}

/// Whether there are segments from before then.
pub async fn any_segment_before(
    inbox: &impl ConnectionTrait,
    before: Timestamp,
) -> Result<bool, StoreError> {
    Ok(!found(inbox, "s.id", OLD, before, 1).await?.is_empty())
}

/// Whether there are digests of segments from before then.
pub async fn any_digest_before(
    inbox: &impl ConnectionTrait,
    before: Timestamp,
) -> Result<bool, StoreError> {
    Ok(!found(inbox, "s.id", WITH_DIGESTS, before, 1)
        .await?
        .is_empty())
}

async fn found(
    inbox: &impl ConnectionTrait,
    columns: &str,
    which: &str,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<QueryResult>, StoreError> {
    query(
        inbox,
        format!("SELECT {columns} FROM {which}"),
        [first_segment(before).number().into(), limit.into()],
    )
    .await
}

/// A segment that is about to be forgotten.
struct OldSegment {
    id: CallbackSegmentId,
    /// None can be read of one that is damaged.
    digests: Vec<[u8; 32]>,
}

/// The first of these rows of [`HEADS`], as many as go together.
fn first_of(rows: &[QueryResult]) -> Result<Vec<OldSegment>, StoreError> {
    let mut first = Vec::new();
    let mut bodies = 0;
    for row in rows {
        bodies += column::<i64>(row, "bodies")?;
        if bodies > MOST_BODIES && !first.is_empty() {
            break;
        }
        let digests = match heads(row) {
            Ok(heads) => heads.iter().map(|head| head.digest).collect(),
            Err(error) => {
                report_damage(&error);
                Vec::new()
            }
        };
        first.push(OldSegment {
            id: segment_id(row, "id")?,
            digests,
        });
    }
    Ok(first)
}

/// Forgets the digests of up to `step` segments. Says how many rows were deleted, at least one for
/// each segment.
pub async fn forget_digest_step(
    inbox: &DatabaseTransaction,
    before: Timestamp,
    step: i64,
) -> Result<u64, StoreError> {
    let old = first_of(&found(inbox, HEADS, WITH_DIGESTS, before, step).await?)?;
    let Some(last) = old.last().map(|segment| segment.id) else {
        return Ok(0);
    };
    let gone = forget_digests(inbox, &old).await?;
    execute(
        inbox,
        "INSERT INTO inbox_digest_horizon (id, segment) VALUES (1, $1) \
         ON CONFLICT (id) DO UPDATE SET segment = excluded.segment",
        [last.number().into()],
    )
    .await?;
    Ok(gone.max(old.len() as u64))
}

/// Deletes up to `step` segments that do not wait to be applied, with what the inbox has of them. Says
/// how many rows were deleted.
pub async fn forget_segment_step(
    inbox: &DatabaseTransaction,
    before: Timestamp,
    step: i64,
) -> Result<u64, StoreError> {
    let mut old = first_of(&found(inbox, HEADS, APPLIED, before, step).await?)?;
    let Some(first) = old.first().map(|segment| segment.id) else {
        return Ok(0);
    };
    // Whatever lies between two of them goes with them, but for what waits to be applied.
    let row = query_one(
        inbox,
        "SELECT min(segment) AS segment FROM inbox_pending WHERE segment > $1",
        [first.number().into()],
    )
    .await?;
    let waiting = row.map_or(Ok(None), |row| nullable::<i64>(&row, "segment"))?;
    old.retain(|segment| waiting.is_none_or(|waiting| segment.id.number() < waiting));
    let last = old.last().map_or(first, |segment| segment.id);
    let row = query_one(
        inbox,
        "SELECT segment FROM inbox_digest_horizon WHERE id = 1",
        [],
    )
    .await?;
    let horizon = row.map_or(Ok(i64::MIN), |row| column(&row, "segment"))?;
    let remembered: Vec<OldSegment> = old
        .into_iter()
        .filter(|segment| segment.id.number() > horizon)
        .collect();
    let gone = forget_digests(inbox, &remembered).await?;
    let (first_callback, last_callback) = (first.callbacks().0, last.callbacks().1);
    let repeats = execute(
        inbox,
        "DELETE FROM inbox_repeat WHERE callback_id >= $1 AND callback_id <= $2",
        [first_callback.into(), last_callback.into()],
    )
    .await?;
    let segments = execute(
        inbox,
        "DELETE FROM inbox_segment WHERE id >= $1 AND id <= $2",
        [first.number().into(), last.number().into()],
    )
    .await?;
    Ok(gone + repeats.rows_affected() + segments.rows_affected())
}

#[derive(Serialize)]
struct ForgottenDigestRow {
    digest_key: i64,
}

/// Deletes the digests of segments, oldest first. Says how many there were.
async fn forget_digests(
    inbox: &DatabaseTransaction,
    segments: &[OldSegment],
) -> Result<u64, StoreError> {
    let Some(last) = segments.last().map(|segment| segment.id) else {
        return Ok(0);
    };
    let digests = segments.iter().flat_map(|segment| &segment.digests);
    let keys: HashSet<i64> = digests.map(digest_key).collect();
    let mut sorted: Vec<i64> = keys.iter().copied().collect();
    sorted.sort_unstable();
    let sorted: Vec<ForgottenDigestRow> = sorted
        .into_iter()
        .map(|digest_key| ForgottenDigestRow { digest_key })
        .collect();
    let backend = inbox.get_database_backend();
    let given = rows(backend, &[("digest_key", SqlListFieldType::Int)]);
    let those = among(
        backend,
        "digest_key",
        &format!("SELECT r.digest_key FROM {given}"),
    );
    // A key may belong to a newer body by now.
    let gone = execute(
        inbox,
        format!("DELETE FROM inbox_digest WHERE {those} AND segment <= $2"),
        [list(&sorted)?, last.number().into()],
    )
    .await?;
    keep_colliding(inbox, &keys, last).await?;
    Ok(gone.rows_affected())
}

/// Another body with the same key as one that is forgotten is found by the key from now on.
async fn keep_colliding(
    inbox: &DatabaseTransaction,
    forgotten: &HashSet<i64>,
    last: CallbackSegmentId,
) -> Result<(), StoreError> {
    let colliding = query(
        inbox,
        "SELECT digest, segment FROM inbox_digest_collision",
        [],
    )
    .await?;
    for row in &colliding {
        let digest: Vec<u8> = column(row, "digest")?;
        let segment = segment_id(row, "segment")?;
        let key = digest.as_slice().try_into().map_or(0, digest_key);
        let mut is_done = segment <= last;
        if !is_done && forgotten.contains(&key) {
            let moved = execute(
                inbox,
                "INSERT INTO inbox_digest (digest_key, segment) VALUES ($1, $2) ON CONFLICT (digest_key) DO NOTHING",
                [key.into(), segment.number().into()],
            )
            .await?;
            is_done = moved.rows_affected() > 0;
        }
        if is_done {
            execute(
                inbox,
                "DELETE FROM inbox_digest_collision WHERE digest = $1",
                [digest.into()],
            )
            .await?;
        }
    }
    Ok(())
}
