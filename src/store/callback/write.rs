//! Stores segments.

use sea_orm::{ConnectionTrait, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{
    repeats::{self, DigestLookup},
    segment::{self, EncodedCallbackSegment},
    segment_id,
};
use crate::{
    domain::{
        callback_id::{CallbackId, CallbackSegmentId},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{HexUuid, SqlListFieldType, execute, list, query_one, rows},
    },
};

/// Ids that are tried until one is free: each that is taken is of another process, in the same
/// quarter of a microsecond.
const MOST_TAKEN_IDS: usize = 4_096;

/// A body to be stored. No two of a batch have the same digest.
#[derive(Clone, Debug)]
pub struct NewCallback {
    /// Of its endpoint, its signers and its bytes.
    pub digest: [u8; 32],
    pub body: bytes::Bytes,
    /// How often it occurs in this batch.
    pub copies: i64,
    /// Labels of the secrets that signed it, if there are several apps.
    pub signed_by: Option<String>,
}

/// Until when a segment belongs to a process.
#[derive(Clone, Copy, Debug)]
pub struct CallbackSegmentLease {
    pub owner: Uuid,
    pub until: Timestamp,
}

/// Bodies of one endpoint and class, to be stored together.
#[derive(Clone, Debug)]
pub struct NewCallbackSegment {
    /// If it is taken, the next free one is used.
    pub id: CallbackSegmentId,
    /// The last part of the webhook's path.
    pub endpoint: &'static str,
    /// Urgent bodies are applied before the others.
    pub urgent: bool,
    /// Without one, it is left to the first process that looks.
    pub lease: Option<CallbackSegmentLease>,
    pub bodies: Vec<NewCallback>,
}

/// A segment as it is stored if all of its bodies are new, encoded before the transaction begins.
#[derive(Debug)]
pub struct PreparedCallbackSegment {
    pub new: NewCallbackSegment,
    encoded: EncodedCallbackSegment,
}

/// What became of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCallbackSegment {
    pub id: CallbackSegmentId,
    /// The bodies that were new, as places in the batch, in the order of their positions.
    pub kept: Vec<usize>,
}

impl NewCallbackSegment {
    /// Encodes it.
    pub fn prepare(self) -> PreparedCallbackSegment {
        let encoded = encode(self.bodies.iter());
        PreparedCallbackSegment { new: self, encoded }
    }
}

fn encode<'a>(bodies: impl Iterator<Item = &'a NewCallback>) -> EncodedCallbackSegment {
    segment::encode(bodies.map(|new| {
        let signed_by = new.signed_by.as_deref();
        (&new.digest, signed_by, Some(new.body.as_ref()))
    }))
}

#[derive(Serialize)]
struct NewDigestRow {
    digest_key: i64,
    segment: i64,
}

#[derive(Serialize)]
struct PendingSegmentRow {
    segment: i64,
    urgent: bool,
    bodies: i64,
    size_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<HexUuid>,
    leased_until: i64,
}

/// Stores a batch: its segments, then their digests, which say what is a repeat. Says what became of
/// each segment.
///
/// A segment has its id before any digest names it: no other process can have the same.
pub async fn store_batch(
    inbox: &DatabaseTransaction,
    batch: &[PreparedCallbackSegment],
    now: Timestamp,
) -> Result<Vec<StoredCallbackSegment>, StoreError> {
    let mut stored = Vec::with_capacity(batch.len());
    for prepared in batch {
        stored.push(StoredCallbackSegment {
            id: insert_segment(inbox, prepared).await?,
            kept: (0..prepared.new.bodies.len()).collect(),
        });
    }
    let lookups = lookups(batch, &stored);
    let known = if insert_digests(inbox, &lookups).await? {
        Vec::new()
    } else {
        repeats::find(inbox, &lookups).await?
    };
    let mut seen = Vec::new();
    for (prepared, stored) in batch.iter().zip(&mut stored) {
        let bodies = &prepared.new.bodies;
        if !known.is_empty() {
            stored.kept.clear();
            for (place, new) in bodies.iter().enumerate() {
                match known.iter().find(|known| known.digest == new.digest) {
                    Some(known) => seen.push((known.original, new.copies)),
                    None => stored.kept.push(place),
                }
            }
            if stored.kept.len() < bodies.len() {
                shrink(inbox, prepared, stored).await?;
            }
        }
        for (position, place) in (0_u32..).zip(&stored.kept) {
            // The first of them is the one that is stored.
            if let Some(more) = bodies.get(*place).map(|new| new.copies - 1)
                && more > 0
            {
                seen.push((CallbackId::new(stored.id, position), more));
            }
        }
    }
    repeats::count(inbox, seen).await?;
    insert_pending(inbox, batch, &stored, now).await?;
    Ok(stored)
}

/// All digests of a batch, in the order in which every process locks them.
fn lookups<'a>(
    batch: &'a [PreparedCallbackSegment],
    stored: &[StoredCallbackSegment],
) -> Vec<DigestLookup<'a>> {
    let mut lookups: Vec<DigestLookup<'a>> = batch
        .iter()
        .zip(stored)
        .flat_map(|(prepared, stored)| {
            let bodies = prepared.new.bodies.iter();
            bodies.map(|new| DigestLookup::new(&new.digest, stored.id))
        })
        .collect();
    lookups.sort_unstable_by_key(|lookup| lookup.digest);
    let mut last = None;
    for lookup in &mut lookups {
        lookup.is_first_of_key = last != Some(lookup.key);
        last = Some(lookup.key);
    }
    lookups
}

async fn insert_segment(
    inbox: &DatabaseTransaction,
    prepared: &PreparedCallbackSegment,
) -> Result<CallbackSegmentId, StoreError> {
    let PreparedCallbackSegment { new, encoded } = prepared;
    let mut id = new.id;
    for _ in 0..MOST_TAKEN_IDS {
        let inserted = execute(
            inbox,
            "INSERT INTO inbox_segment (id, endpoint, urgent, bodies, size_bytes, heads, data) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
            [
                id.number().into(),
                new.endpoint.into(),
                new.urgent.into(),
                encoded.bodies.into(),
                encoded.size_bytes.into(),
                encoded.heads.clone().into(),
                encoded.data.clone().into(),
            ],
        )
        .await?;
        if inserted.rows_affected() > 0 {
            return Ok(id);
        }
        id = id.next();
    }
    Err(StoreError::Conflict)
}

/// Inserts the digests that are not there. Says whether none of them was.
async fn insert_digests(
    inbox: &DatabaseTransaction,
    lookups: &[DigestLookup<'_>],
) -> Result<bool, StoreError> {
    let new: Vec<NewDigestRow> = lookups
        .iter()
        .filter(|lookup| lookup.is_first_of_key)
        .map(|lookup| NewDigestRow {
            digest_key: lookup.key,
            segment: lookup.segment.number(),
        })
        .collect();
    let given = rows(
        inbox.get_database_backend(),
        &[
            ("digest_key", SqlListFieldType::Int),
            ("segment", SqlListFieldType::Int),
        ],
    );
    let inserted = execute(
        inbox,
        format!(
            "INSERT INTO inbox_digest (digest_key, segment) SELECT r.digest_key, r.segment FROM {given} \
             WHERE true ON CONFLICT (digest_key) DO NOTHING"
        ),
        [list(&new)?],
    )
    .await?;
    Ok(usize::try_from(inserted.rows_affected()).ok() == Some(lookups.len()))
}

/// Leaves the bodies of a segment that are kept; without any, it goes.
async fn shrink(
    inbox: &DatabaseTransaction,
    prepared: &PreparedCallbackSegment,
    stored: &StoredCallbackSegment,
) -> Result<(), StoreError> {
    let id: Value = stored.id.number().into();
    if stored.kept.is_empty() {
        execute(inbox, "DELETE FROM inbox_segment WHERE id = $1", [id]).await?;
        return Ok(());
    }
    let bodies = &prepared.new.bodies;
    let encoded = encode(stored.kept.iter().filter_map(|place| bodies.get(*place)));
    execute(
        inbox,
        "UPDATE inbox_segment SET bodies = $2, size_bytes = $3, heads = $4, data = $5 WHERE id = $1",
        [
            id,
            encoded.bodies.into(),
            encoded.size_bytes.into(),
            encoded.heads.into(),
            encoded.data.into(),
        ],
    )
    .await?;
    Ok(())
}

/// What was stored waits to be applied.
async fn insert_pending(
    inbox: &DatabaseTransaction,
    batch: &[PreparedCallbackSegment],
    stored: &[StoredCallbackSegment],
    now: Timestamp,
) -> Result<(), StoreError> {
    let pending: Vec<PendingSegmentRow> = batch
        .iter()
        .zip(stored)
        .filter(|(_, stored)| !stored.kept.is_empty())
        .map(|(prepared, stored)| {
            let NewCallbackSegment {
                urgent,
                lease,
                bodies,
                ..
            } = &prepared.new;
            let kept = stored.kept.iter().filter_map(|place| bodies.get(*place));
            let size: usize = kept.map(|new| new.body.len()).sum();
            PendingSegmentRow {
                segment: stored.id.number(),
                urgent: *urgent,
                bodies: i64::try_from(stored.kept.len()).unwrap_or(i64::MAX),
                size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
                owner: lease.map(|lease| HexUuid(lease.owner)),
                leased_until: lease.map_or(now, |lease| lease.until).micros(),
            }
        })
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    let given = rows(
        inbox.get_database_backend(),
        &[
            ("segment", SqlListFieldType::Int),
            ("urgent", SqlListFieldType::Bool),
            ("bodies", SqlListFieldType::Int),
            ("size_bytes", SqlListFieldType::Int),
            ("owner", SqlListFieldType::Uuid),
            ("leased_until", SqlListFieldType::Int),
        ],
    );
    execute(
        inbox,
        format!(
            "INSERT INTO inbox_pending (segment, urgent, bodies, size_bytes, owner, leased_until, tries) \
             SELECT r.segment, r.urgent, r.bodies, r.size_bytes, r.owner, r.leased_until, 0 FROM {given}"
        ),
        [list(&pending)?],
    )
    .await?;
    Ok(())
}

/// The newest segment within these bounds, both exclusive.
pub async fn newest_segment(
    inbox: &impl ConnectionTrait,
    after: CallbackSegmentId,
    before: CallbackSegmentId,
) -> Result<Option<CallbackSegmentId>, StoreError> {
    let row = query_one(
        inbox,
        "SELECT id FROM inbox_segment WHERE id > $1 AND id < $2 ORDER BY id DESC LIMIT 1",
        [after.number().into(), before.number().into()],
    )
    .await?;
    row.map(|row| segment_id(&row, "id")).transpose()
}
