//! Erases bodies of segments that were applied.
//!
//! A segment is read and encoded again outside of a transaction, and its row is replaced only if its
//! heads are still the same: each erasure changes them. So no lock is held for longer than the
//! statement takes, and two processes do not undo what the other has erased.

use std::collections::BTreeSet;

use bytes::Bytes;
use sea_orm::ConnectionTrait;

use super::{
    CallbackBodyHead, CallbackClaimSizeLimits, HEADS, corrupt, heads,
    pending::first_waiting,
    report_damage,
    segment::{self, EncodedCallbackSegment},
    segment_id, segments,
};
use crate::{
    domain::callback_id::{CallbackId, CallbackSegmentId},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{column, execute, query},
    },
};

/// Most segments that are read together.
const STEP: i64 = 200;

/// Segments between two, both inclusive.
#[derive(Clone, Copy, Debug)]
pub struct CallbackErasureRange {
    pub next: CallbackSegmentId,
    pub until: CallbackSegmentId,
}

/// A segment whose bodies may be erased.
#[derive(Clone, Debug)]
pub struct ErasableCallbackSegment {
    pub id: CallbackSegmentId,
    /// As they are stored.
    heads: Vec<u8>,
    bodies: Vec<(CallbackBodyHead, Bytes)>,
}

/// A segment without some of its bodies.
#[derive(Clone, Debug)]
pub struct ErasedCallbackSegment {
    id: CallbackSegmentId,
    heads_before: Vec<u8>,
    encoded: EncodedCallbackSegment,
}

/// The next segments of a range.
#[derive(Clone, Debug, Default)]
pub struct ErasableCallbackSegments {
    /// Those that can be read.
    pub segments: Vec<ErasableCallbackSegment>,
    /// The last one that was looked at, also if it is damaged.
    pub last: Option<CallbackSegmentId>,
    /// The one after it is not applied yet.
    pub waits: bool,
}

impl ErasableCallbackSegment {
    /// Each of its bodies that is not erased, with its id.
    pub fn bodies(&self) -> impl Iterator<Item = (CallbackId, &Bytes)> {
        self.all()
            .filter(|(_, head, _)| !head.is_erased)
            .map(|(id, _, body)| (id, body))
    }

    /// The ids of its bodies that are erased.
    pub fn erased(&self) -> impl Iterator<Item = CallbackId> {
        self.all()
            .filter(|(_, head, _)| head.is_erased)
            .map(|(id, _, _)| id)
    }

    fn all(&self) -> impl Iterator<Item = (CallbackId, &CallbackBodyHead, &Bytes)> {
        (0_u32..)
            .zip(&self.bodies)
            .map(|(position, (head, body))| (CallbackId::new(self.id, position), head, body))
    }

    /// The segment without these bodies: each keeps its position and its digest.
    pub fn without(&self, erased: &BTreeSet<CallbackId>) -> ErasedCallbackSegment {
        let left = self.all().map(|(id, head, body)| {
            let is_left = !head.is_erased && !erased.contains(&id);
            let body = is_left.then_some(body.as_ref());
            (&head.digest, head.signed_by.as_deref(), body)
        });
        ErasedCallbackSegment {
            id: self.id,
            heads_before: self.heads.clone(),
            encoded: segment::encode(left),
        }
    }
}

/// The next segments of a range with so many bodies, at least one, up to the first that is not
/// applied. A damaged one is reported, and left out.
pub async fn erasable(
    inbox: &impl ConnectionTrait,
    main: &impl ConnectionTrait,
    range: CallbackErasureRange,
    most: CallbackClaimSizeLimits,
) -> Result<ErasableCallbackSegments, StoreError> {
    let found = query(
        inbox,
        "SELECT id, bodies, size_bytes FROM inbox_segment WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT $3",
        [
            range.next.number().into(),
            range.until.number().into(),
            STEP.into(),
        ],
    )
    .await?;
    let (mut ids, mut bodies, mut bytes) = (Vec::new(), 0, 0);
    for row in &found {
        bodies += column::<i64>(row, "bodies")?;
        bytes += column::<i64>(row, "size_bytes")?;
        if !ids.is_empty() && (bodies > most.bodies || bytes > most.bytes) {
            break;
        }
        ids.push(segment_id(row, "id")?);
    }
    let mut next = ErasableCallbackSegments::default();
    if let Some(first) = first_waiting(inbox, main, &ids).await? {
        ids.retain(|id| *id < first);
        next.waits = true;
    }
    next.last = ids.last().copied();
    let columns = format!("{HEADS}, s.data");
    for row in segments(inbox, &columns, ids).await? {
        match read(&row) {
            Ok(segment) => next.segments.push(segment),
            Err(error @ StoreError::Corrupt { .. }) => report_damage(&error),
            Err(error) => return Err(error),
        }
    }
    next.segments.sort_by_key(|segment| segment.id);
    Ok(next)
}

fn read(row: &sea_orm::QueryResult) -> Result<ErasableCallbackSegment, StoreError> {
    let id = segment_id(row, "id")?;
    let decoded = heads(row)?;
    let data: Vec<u8> = column(row, "data")?;
    let bodies = segment::decode_data(&data, &decoded).ok_or(corrupt(id, "data"))?;
    Ok(ErasableCallbackSegment {
        id,
        heads: column(row, "heads")?,
        bodies: decoded.into_iter().zip(bodies).collect(),
    })
}

/// Replaces segments. [`StoreError::RolledBack`] if one has changed since it was read, or is gone.
pub async fn erase(
    inbox: &DatabaseTransaction,
    erased: &[ErasedCallbackSegment],
) -> Result<(), StoreError> {
    for segment in erased {
        let ErasedCallbackSegment {
            id,
            heads_before,
            encoded,
        } = segment;
        let replaced = execute(
            inbox,
            "UPDATE inbox_segment SET size_bytes = $2, heads = $3, data = $4 WHERE id = $1 AND heads = $5",
            [
                id.number().into(),
                encoded.size_bytes.into(),
                encoded.heads.clone().into(),
                encoded.data.clone().into(),
                heads_before.clone().into(),
            ],
        )
        .await?;
        if replaced.rows_affected() != 1 {
            return Err(StoreError::RolledBack);
        }
    }
    Ok(())
}
