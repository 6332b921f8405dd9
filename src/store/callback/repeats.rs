//! Finds bodies that were stored before.
//!
//! The key of a digest is its first eight bytes. A key that is there may be another body's, so the
//! whole digest is compared with those in the segment. The second body with one key is found by its
//! whole digest, in a table of its own.

use std::collections::{HashMap, HashSet};

use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{CallbackBodyHead, HEADS, heads, segment_id, segments};
use crate::{
    domain::callback_id::{CallbackId, CallbackSegmentId},
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            HexUuid, SqlListFieldType, by_key, column, execute, list, matching, query, rows,
        },
    },
};

/// The key of a digest.
pub(super) fn digest_key(digest: &[u8; 32]) -> i64 {
    digest
        .first_chunk()
        .map_or(0, |key| i64::from_be_bytes(*key))
}

/// A digest of a batch, and the segment that the body is in if it is new.
#[derive(Clone, Copy, Debug)]
pub(super) struct DigestLookup<'a> {
    pub(super) digest: &'a [u8; 32],
    pub(super) key: i64,
    pub(super) segment: CallbackSegmentId,
    /// Of those with this key in the batch, the one whose key is inserted.
    pub(super) is_first_of_key: bool,
}

impl<'a> DigestLookup<'a> {
    pub(super) fn new(digest: &'a [u8; 32], segment: CallbackSegmentId) -> Self {
        Self {
            digest,
            key: digest_key(digest),
            segment,
            is_first_of_key: true,
        }
    }
}

/// A body that was stored before.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownCallback {
    pub(super) digest: [u8; 32],
    /// The callback that it was stored as.
    pub(super) original: CallbackId,
}

/// The heads of the segments that digests were found in.
#[derive(Debug, Default)]
struct KnownHeads(HashMap<CallbackSegmentId, Vec<CallbackBodyHead>>);

impl KnownHeads {
    /// Reads those that are missing. One that is not there, or damaged, has no heads.
    async fn read(
        &mut self,
        inbox: &DatabaseTransaction,
        ids: impl Iterator<Item = CallbackSegmentId>,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<CallbackSegmentId> =
            ids.filter(|id| !self.0.contains_key(id)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        for row in segments(inbox, HEADS, missing).await? {
            let id = segment_id(&row, "id")?;
            match heads(&row) {
                Ok(heads) => drop(self.0.insert(id, heads)),
                Err(error) => super::report_damage(&error),
            }
        }
        Ok(())
    }

    /// Where the body with this digest is in a segment; nothing is known of a segment without heads.
    fn find(&self, segment: CallbackSegmentId, digest: &[u8; 32]) -> DigestComparison {
        let Some(heads) = self.0.get(&segment) else {
            return DigestComparison::NothingToCompare;
        };
        let places = (0_u32..).zip(heads);
        places
            .filter(|(_, head)| head.digest == *digest)
            .map(|(position, _)| DigestComparison::Same(CallbackId::new(segment, position)))
            .next()
            .unwrap_or(DigestComparison::AnotherBody)
    }
}

/// What the comparison of a digest with those of a segment brought.
enum DigestComparison {
    Same(CallbackId),
    /// Another body has the same key.
    AnotherBody,
    /// The segment is gone, or damaged: the body is not kept anywhere else.
    NothingToCompare,
}

#[derive(Serialize)]
struct DigestLookupRow {
    place: usize,
    digest_key: i64,
    digest: String,
    segment: i64,
}

fn lookup_rows<'a>(
    lookups: impl Iterator<Item = (usize, &'a DigestLookup<'a>)>,
) -> Vec<DigestLookupRow> {
    lookups
        .map(|(place, lookup)| DigestLookupRow {
            place,
            digest_key: lookup.key,
            digest: hex::encode(lookup.digest),
            segment: lookup.segment.number(),
        })
        .collect()
}

const LOOKUP: [(&str, SqlListFieldType); 4] = [
    ("place", SqlListFieldType::Int),
    ("digest_key", SqlListFieldType::Int),
    ("digest", SqlListFieldType::Bytes),
    ("segment", SqlListFieldType::Int),
];

/// Which bodies of a batch were stored before, after the keys of those that were not have been
/// inserted. The others are found from now on.
pub(super) async fn find(
    inbox: &DatabaseTransaction,
    lookups: &[DigestLookup<'_>],
) -> Result<Vec<KnownCallback>, StoreError> {
    let mut heads = KnownHeads::default();
    let mut known = Vec::new();
    let found = segments_of(
        inbox,
        lookups.iter().enumerate(),
        "inbox_digest",
        "d.digest_key = r.digest_key",
    )
    .await?;
    // What was inserted just now names its own segment.
    let hits: Vec<(usize, &DigestLookup<'_>, CallbackSegmentId)> = found
        .into_iter()
        .filter_map(|(place, segment)| Some((place, lookups.get(place)?, segment)))
        .filter(|(_, lookup, segment)| !(lookup.is_first_of_key && lookup.segment == *segment))
        .collect();
    // A body of this batch is no repeat of itself: the key there is that of another one.
    let own: HashSet<CallbackSegmentId> = lookups.iter().map(|lookup| lookup.segment).collect();
    let stored = hits.iter().map(|hit| hit.2).filter(|id| !own.contains(id));
    heads.read(inbox, stored).await?;
    let (mut stale, mut colliding) = (Vec::new(), Vec::new());
    for (place, lookup, segment) in hits {
        let compared = if own.contains(&segment) {
            DigestComparison::AnotherBody
        } else {
            heads.find(segment, lookup.digest)
        };
        match compared {
            DigestComparison::Same(original) => known.push(KnownCallback {
                digest: *lookup.digest,
                original,
            }),
            DigestComparison::NothingToCompare if lookup.is_first_of_key => {
                stale.push((place, lookup));
            }
            DigestComparison::NothingToCompare | DigestComparison::AnotherBody => {
                colliding.push((place, lookup));
            }
        }
    }
    take_over(inbox, &stale, "inbox_digest", "digest_key").await?;
    if !colliding.is_empty() {
        known.extend(find_colliding(inbox, &colliding, &mut heads).await?);
    }
    Ok(known)
}

/// The same for bodies whose key belongs to another body.
async fn find_colliding(
    inbox: &DatabaseTransaction,
    colliding: &[(usize, &DigestLookup<'_>)],
    heads: &mut KnownHeads,
) -> Result<Vec<KnownCallback>, StoreError> {
    let given = rows(inbox.get_database_backend(), &LOOKUP);
    let lookups = || colliding.iter().map(|(place, lookup)| (*place, *lookup));
    execute(
        inbox,
        format!(
            "INSERT INTO inbox_digest_collision (digest, segment) SELECT r.digest, r.segment FROM {given} \
             WHERE true ON CONFLICT (digest) DO NOTHING"
        ),
        [list(&lookup_rows(lookups()))?],
    )
    .await?;
    let found = segments_of(
        inbox,
        lookups(),
        "inbox_digest_collision",
        "d.digest = r.digest",
    )
    .await?;
    let hits: Vec<(usize, &DigestLookup<'_>, CallbackSegmentId)> = found
        .into_iter()
        .filter_map(|(place, segment)| {
            let (_, lookup) = colliding.iter().find(|known| known.0 == place)?;
            Some((place, *lookup, segment))
        })
        .filter(|(_, lookup, segment)| lookup.segment != *segment)
        .collect();
    heads.read(inbox, hits.iter().map(|hit| hit.2)).await?;
    let (mut known, mut stale) = (Vec::new(), Vec::new());
    for (place, lookup, segment) in hits {
        match heads.find(segment, lookup.digest) {
            DigestComparison::Same(original) => known.push(KnownCallback {
                digest: *lookup.digest,
                original,
            }),
            DigestComparison::NothingToCompare | DigestComparison::AnotherBody => {
                stale.push((place, lookup));
            }
        }
    }
    take_over(inbox, &stale, "inbox_digest_collision", "digest").await?;
    Ok(known)
}

/// The segments that a table names for digests, by their places.
async fn segments_of<'a>(
    inbox: &DatabaseTransaction,
    lookups: impl Iterator<Item = (usize, &'a DigestLookup<'a>)>,
    table: &str,
    key: &str,
) -> Result<Vec<(usize, CallbackSegmentId)>, StoreError> {
    let backend = inbox.get_database_backend();
    let found = matching(backend, &rows(backend, &LOOKUP), table, "d", key);
    let found = query(
        inbox,
        format!("SELECT r.place, d.segment FROM {found}"),
        [list(&lookup_rows(lookups))?],
    )
    .await?;
    let mut named = Vec::with_capacity(found.len());
    for row in &found {
        let place: i64 = column(row, "place")?;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        named.push((place, segment_id(row, "segment")?));
    }
    Ok(named)
}

/// Digests of segments that are gone become those of new bodies.
async fn take_over(
    inbox: &DatabaseTransaction,
    stale: &[(usize, &DigestLookup<'_>)],
    table: &str,
    key: &str,
) -> Result<(), StoreError> {
    if stale.is_empty() {
        return Ok(());
    }
    let backend = inbox.get_database_backend();
    let given = rows(backend, &LOOKUP);
    let same = by_key(backend, &format!("{table}.{key}"), &format!("r.{key}"));
    execute(
        inbox,
        format!("UPDATE {table} SET segment = r.segment FROM {given} WHERE {same}"),
        [list(&lookup_rows(stale.iter().copied()))?],
    )
    .await?;
    Ok(())
}

/// Counts bodies that came again, so many times each.
pub(super) async fn count(
    inbox: &DatabaseTransaction,
    mut seen: Vec<(CallbackId, i64)>,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct RepeatedCallbackRow {
        callback_id: HexUuid,
        times_seen: i64,
    }
    if seen.is_empty() {
        return Ok(());
    }
    seen.sort_unstable();
    // With the first time, of which there is no row.
    let seen: Vec<RepeatedCallbackRow> = seen
        .into_iter()
        .map(|(original, times)| RepeatedCallbackRow {
            callback_id: HexUuid(original.uuid()),
            times_seen: 1 + times,
        })
        .collect();
    let given = rows(
        inbox.get_database_backend(),
        &[
            ("callback_id", SqlListFieldType::Uuid),
            ("times_seen", SqlListFieldType::Int),
        ],
    );
    execute(
        inbox,
        format!(
            "INSERT INTO inbox_repeat (callback_id, times_seen) SELECT r.callback_id, r.times_seen FROM {given} \
             WHERE true ON CONFLICT (callback_id) DO UPDATE SET times_seen = inbox_repeat.times_seen + excluded.times_seen - 1"
        ),
        [list(&seen)?],
    )
    .await?;
    Ok(())
}
