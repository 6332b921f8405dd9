//! Claims segments for a process: leases, and what is done body by body.

use std::{borrow::Cow, collections::HashMap};

use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use super::{
    CallbackBody, CallbackSegment, CallbackSegmentLease, HEADS, SEGMENT_KEYS,
    applied_queue::rely_on, corrupt, heads, pending::applied_among, segment,
    segment::MAX_SEGMENT_BODIES, segment_id, segment_keys, segments,
};
use crate::{
    domain::{
        callback_id::{CallbackId, CallbackSegmentId},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{among, by_key, column, execute, locking, nullable, query, rows},
    },
};

/// Segments that are looked at together.
const STEP: i64 = 64;

/// Which bodies are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackClaimScope {
    Urgent,
    Ordinary,
}

/// How much is claimed at once: whole segments, and at least one.
#[derive(Clone, Copy, Debug)]
pub struct CallbackClaimSizeLimits {
    pub bodies: i64,
    pub bytes: i64,
}

/// Segments that were claimed.
#[derive(Debug, Default)]
pub struct ClaimedCallbackSegments {
    pub segments: Vec<CallbackSegment>,
    pub unreadable: Vec<UnreadableCallbackSegment>,
}

/// A segment that is damaged, or is not there.
#[derive(Debug)]
pub struct UnreadableCallbackSegment {
    pub id: CallbackSegmentId,
    /// As far as is known.
    pub bodies: u32,
    pub error: StoreError,
}

/// Claims unprocessed segments whose lease has run out, oldest first.
///
/// A row whose segment was applied is deleted instead.
pub async fn claim(
    inbox: &DatabaseTransaction,
    main: &impl ConnectionTrait,
    which: CallbackClaimScope,
    lease: CallbackSegmentLease,
    now: Timestamp,
    most: CallbackClaimSizeLimits,
) -> Result<ClaimedCallbackSegments, StoreError> {
    let urgent = which == CallbackClaimScope::Urgent;
    let mut taken = TakenSegments::default();
    taken.take(inbox, main, urgent, lease, now, most).await?;
    taken.read(inbox).await
}

/// A claim of a segment.
struct SegmentClaim {
    tries: i64,
    alone_at: Option<u32>,
    bodies: i64,
}

#[derive(Default)]
struct TakenSegments {
    claims: HashMap<CallbackSegmentId, SegmentClaim>,
    bodies: i64,
    bytes: i64,
}

impl TakenSegments {
    /// Takes segments of a class, until they reach these limits.
    async fn take(
        &mut self,
        inbox: &DatabaseTransaction,
        main: &impl ConnectionTrait,
        urgent: bool,
        lease: CallbackSegmentLease,
        now: Timestamp,
        most: CallbackClaimSizeLimits,
    ) -> Result<(), StoreError> {
        let skip = locking(inbox.get_database_backend(), "FOR UPDATE SKIP LOCKED");
        let mut is_first = true;
        loop {
            let due = query(
                inbox,
                format!(
                    "SELECT segment, bodies, size_bytes FROM inbox_pending WHERE urgent = $3 AND leased_until <= $1 \
                     ORDER BY leased_until, segment LIMIT $2 {skip}"
                ),
                [now.micros().into(), STEP.into(), urgent.into()],
            )
            .await?;
            if due.is_empty() {
                return Ok(());
            }
            let mut ids = Vec::with_capacity(due.len());
            for row in &due {
                ids.push(segment_id(row, "segment")?);
            }
            let applied = applied_among(main, ids.iter().copied()).await?;
            if !applied.is_empty() {
                rely_on(inbox, main).await?;
                drop_pending(inbox, applied.iter().copied()).await?;
            }
            let mut wanted = Vec::with_capacity(due.len());
            let mut is_full = false;
            for (row, id) in due.iter().zip(ids) {
                if applied.contains(&id) {
                    continue;
                }
                let bodies: i64 = column(row, "bodies")?;
                let bytes: i64 = column(row, "size_bytes")?;
                is_full = self.bodies + bodies > most.bodies || self.bytes + bytes > most.bytes;
                if is_full && !is_first {
                    break;
                }
                is_first = false;
                self.bodies += bodies;
                self.bytes += bytes;
                wanted.push(id);
            }
            self.lease(inbox, wanted, lease).await?;
            if is_full
                || self.bodies >= most.bodies
                || due.len() < usize::try_from(STEP).unwrap_or(0)
            {
                return Ok(());
            }
        }
    }

    async fn lease(
        &mut self,
        inbox: &DatabaseTransaction,
        wanted: Vec<CallbackSegmentId>,
        lease: CallbackSegmentLease,
    ) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let backend = inbox.get_database_backend();
        let given = rows(backend, &SEGMENT_KEYS);
        let claimed = query(
            inbox,
            format!(
                "UPDATE inbox_pending SET owner = $2, leased_until = $3, tries = tries + 1 FROM {given} \
                 WHERE {} RETURNING inbox_pending.segment, inbox_pending.bodies, inbox_pending.tries, inbox_pending.alone_at",
                by_key(backend, "inbox_pending.segment", "r.segment")
            ),
            [
                segment_keys(wanted)?,
                lease.owner.into(),
                lease.until.micros().into(),
            ],
        )
        .await?;
        for row in &claimed {
            let alone_at: Option<i64> = nullable(row, "alone_at")?;
            let claim = SegmentClaim {
                tries: column(row, "tries")?,
                alone_at: alone_at.and_then(|position| u32::try_from(position).ok()),
                bodies: column(row, "bodies")?,
            };
            self.claims.insert(segment_id(row, "segment")?, claim);
        }
        Ok(())
    }

    /// Reads what was taken, oldest first.
    async fn read(
        mut self,
        inbox: &DatabaseTransaction,
    ) -> Result<ClaimedCallbackSegments, StoreError> {
        let mut claimed = ClaimedCallbackSegments::default();
        if self.claims.is_empty() {
            return Ok(claimed);
        }
        let columns = format!("{HEADS}, s.endpoint, s.data");
        for row in segments(inbox, &columns, self.claims.keys().copied()).await? {
            let id = segment_id(&row, "id")?;
            let Some(claim) = self.claims.remove(&id) else {
                continue;
            };
            match bodies(id, &row) {
                Ok(bodies) => claimed.segments.push(CallbackSegment {
                    id,
                    endpoint: Cow::Owned(column(&row, "endpoint")?),
                    bodies,
                    tries: claim.tries,
                    alone_at: claim.alone_at,
                }),
                Err(error) => claimed.unreadable.push(unreadable(id, &claim, error)),
            }
        }
        // A row that is missing is damage, too.
        for (id, claim) in &self.claims {
            let error = corrupt(*id, "id");
            claimed.unreadable.push(unreadable(*id, claim, error));
        }
        claimed.segments.sort_by_key(|segment| segment.id);
        Ok(claimed)
    }
}

fn unreadable(
    id: CallbackSegmentId,
    claim: &SegmentClaim,
    error: StoreError,
) -> UnreadableCallbackSegment {
    let most = u32::try_from(MAX_SEGMENT_BODIES).unwrap_or(u32::MAX);
    UnreadableCallbackSegment {
        id,
        bodies: u32::try_from(claim.bodies).unwrap_or(most).min(most),
        error,
    }
}

/// The bodies in a row with heads and data.
pub(super) fn bodies(
    id: CallbackSegmentId,
    row: &QueryResult,
) -> Result<Vec<CallbackBody>, StoreError> {
    let heads = heads(row)?;
    let data: Vec<u8> = column(row, "data")?;
    let bodies = segment::decode_data(&data, &heads).ok_or(corrupt(id, "data"))?;
    let all = heads.into_iter().zip(bodies);
    Ok(all
        .map(|(head, body)| CallbackBody {
            body,
            is_erased: head.is_erased,
            signed_by: head.signed_by,
        })
        .collect())
}

/// Segments that were applied wait no more.
pub(super) async fn drop_pending(
    inbox: &DatabaseTransaction,
    segments: impl IntoIterator<Item = CallbackSegmentId>,
) -> Result<(), StoreError> {
    let mut segments: Vec<CallbackSegmentId> = segments.into_iter().collect();
    if segments.is_empty() {
        return Ok(());
    }
    segments.sort_unstable();
    let backend = inbox.get_database_backend();
    let given = rows(backend, &SEGMENT_KEYS);
    let those = among(
        backend,
        "segment",
        &format!("SELECT r.segment FROM {given}"),
    );
    execute(
        inbox,
        format!("DELETE FROM inbox_pending WHERE {those}"),
        [segment_keys(segments)?],
    )
    .await?;
    Ok(())
}

/// Renews the leases of segments that are still being processed.
pub async fn renew(
    inbox: &DatabaseTransaction,
    segments: &[CallbackSegmentId],
    lease: CallbackSegmentLease,
) -> Result<(), StoreError> {
    // Every process locks rows in one order.
    let mut segments = segments.to_vec();
    segments.sort_unstable();
    let backend = inbox.get_database_backend();
    let given = rows(backend, &SEGMENT_KEYS);
    execute(
        inbox,
        format!(
            "UPDATE inbox_pending SET leased_until = $2 FROM {given} WHERE {} AND inbox_pending.owner = $3",
            by_key(backend, "inbox_pending.segment", "r.segment")
        ),
        [
            segment_keys(segments)?,
            lease.until.micros().into(),
            lease.owner.into(),
        ],
    )
    .await?;
    Ok(())
}

/// Notes that a body is about to be applied by itself, and renews its segment's lease: should the
/// process end over it, the next one knows. Says whether the segment still belongs to this process.
pub async fn begin_alone(
    inbox: &DatabaseTransaction,
    callback: CallbackId,
    lease: CallbackSegmentLease,
) -> Result<bool, StoreError> {
    let noted = execute(
        inbox,
        "UPDATE inbox_pending SET alone_at = $2, leased_until = $3 WHERE segment = $1 AND owner = $4",
        [
            callback.segment.number().into(),
            i64::from(callback.position).into(),
            lease.until.micros().into(),
            lease.owner.into(),
        ],
    )
    .await?;
    Ok(noted.rows_affected() > 0)
}

/// On SQLite the process that holds the file's lock is the only one: any other owner of a lease is
/// dead.
pub async fn release_all(inbox: &DatabaseTransaction, owner: Uuid) -> Result<u64, StoreError> {
    let released = execute(
        inbox,
        "UPDATE inbox_pending SET leased_until = 0 WHERE owner IS NULL OR owner <> $1",
        [owner.into()],
    )
    .await?;
    Ok(released.rows_affected())
}
