//! Lists callbacks, by the heads of their segments.

use std::collections::HashMap;

use sea_orm::QueryResult;
use serde::Serialize;
use uuid::Uuid;

use super::{
    HEADS,
    counts::{self, CallbackItemCounts},
    heads, pending, report_damage,
    segment::MAX_SEGMENT_BODIES,
    segment_id, segments,
};
use crate::{
    domain::{
        callback_id::{CallbackId, CallbackSegmentId},
        time::Timestamp,
    },
    store::{
        Store, StoreError,
        dialect::{column, query},
        notification,
    },
};

/// Segments that are read together.
const STEP: i64 = 16;

/// A callback as the list shows it.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackListRow {
    pub id: Uuid,
    #[serde(serialize_with = "crate::store::timeline::as_text")]
    pub received_at: Timestamp,
    pub size_bytes: i64,
    /// Its body was erased, as a person whom it concerns was deleted.
    pub erased: bool,
    pub processed: bool,
    pub items: Option<i64>,
    pub dead_items: Option<i64>,
}

/// The newest callbacks.
pub async fn newest(store: &Store, limit: i64) -> Result<Vec<CallbackListRow>, StoreError> {
    before(store, None, limit).await
}

/// The newest callbacks before one of them.
pub async fn before(
    store: &Store,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<CallbackListRow>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut listed = Vec::new();
    let before = before.unwrap_or(Uuid::max());
    let mut last = CallbackSegmentId::of(before);
    while listed.len() < limit {
        let found = query(
            store.inbox().reader(),
            format!(
                "SELECT {HEADS} FROM inbox_segment s WHERE s.id <= $1 ORDER BY s.id DESC LIMIT $2"
            ),
            [last.number().into(), STEP.into()],
        )
        .await?;
        let mut some = listed_in(store, &found).await?;
        some.retain(|row| row.id < before);
        listed.extend(some);
        match found.last() {
            Some(row) if i64::try_from(found.len()).unwrap_or(0) == STEP => {
                let oldest = segment_id(row, "id")?.number();
                last = CallbackSegmentId::from_number(oldest.saturating_sub(1));
            }
            _ => break,
        }
    }
    listed.truncate(limit);
    Ok(listed)
}

/// Callbacks that concern an object, newest first: a wamid, the messages to or from a number, a
/// notification; or the callback of this id.
pub async fn about(
    store: &Store,
    what: &str,
    limit: i64,
) -> Result<Vec<CallbackListRow>, StoreError> {
    let id = Uuid::parse_str(what).unwrap_or_default();
    // For a number, only the newest messages are searched.
    let of_notifications = "SELECT $1 AS id UNION SELECT a.notification_id FROM attempt a WHERE a.provider_message_id = $2 \
         UNION SELECT n.id FROM (SELECT id FROM notification WHERE address = $2 ORDER BY id DESC LIMIT 200) AS n";
    let named = query(store.reader(), of_notifications, [id.into(), what.into()]).await?;
    let mut notifications: Vec<Uuid> = Vec::with_capacity(named.len());
    for row in &named {
        notifications.push(column(row, "id")?);
    }
    let found = query(
        store.reader(),
        format!("SELECT found.callback_id FROM (SELECT t.callback_id FROM timeline t WHERE t.callback_id IS NOT NULL AND t.notification_id IN ({of_notifications}) \
         UNION SELECT callback_id FROM inbound_message WHERE provider_message_id = $2 OR provider_message_id = $4 \
         UNION SELECT i.callback_id FROM (SELECT callback_id, id FROM inbound_message WHERE contact_id IN \
         (SELECT contact_id FROM contact_alias WHERE kind = 'phone' AND value = $2) ORDER BY id DESC LIMIT 200) AS i \
         UNION SELECT callback_id FROM parked_status WHERE provider_message_id = $2) AS found \
         ORDER BY found.callback_id DESC LIMIT $3"),
        [
            id.into(),
            what.into(),
            limit.into(),
            format!("call:{what}").into(),
        ],
    )
    .await?;
    let mut wanted = notification::callbacks_of(store, &notifications).await?;
    wanted.push(id);
    for row in &found {
        wanted.push(column(row, "callback_id")?);
    }
    let mut listed = those(store, &wanted).await?;
    listed.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(listed)
}

/// One callback.
pub async fn one(store: &Store, id: Uuid) -> Result<Option<CallbackListRow>, StoreError> {
    Ok(those(store, &[id]).await?.into_iter().next())
}

/// The callbacks of a time, oldest first, whose bodies are still kept.
pub async fn between(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        store.inbox().reader(),
        "SELECT id, bodies FROM inbox_segment WHERE id >= $1 AND id < $2 ORDER BY id",
        [
            CallbackSegmentId::at(since).number().into(),
            CallbackSegmentId::at(until).number().into(),
        ],
    )
    .await?;
    let mut ids = Vec::new();
    for row in &found {
        ids.extend(callbacks(segment_id(row, "id")?, column(row, "bodies")?));
    }
    Ok(ids)
}

/// The callbacks of a segment with so many bodies.
fn callbacks(segment: CallbackSegmentId, bodies: i64) -> impl DoubleEndedIterator<Item = Uuid> {
    let most = u32::try_from(MAX_SEGMENT_BODIES).unwrap_or(u32::MAX);
    let count = u32::try_from(bodies).unwrap_or(0).min(most);
    (0..count).map(move |position| CallbackId::new(segment, position).uuid())
}

/// Those of these callbacks that are kept, newest first.
async fn those(store: &Store, wanted: &[Uuid]) -> Result<Vec<CallbackListRow>, StoreError> {
    let mut ids: Vec<CallbackSegmentId> = wanted
        .iter()
        .filter_map(|id| Some(CallbackId::read(*id)?.segment))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = segments(store.inbox().reader(), HEADS, ids).await?;
    let mut listed = listed_in(store, &found).await?;
    listed.retain(|row| wanted.contains(&row.id));
    listed.sort_by_key(|row| std::cmp::Reverse(row.id));
    Ok(listed)
}

/// The callbacks of segments in the order of these rows of [`HEADS`], of each the newest first.
async fn listed_in(
    store: &Store,
    found: &[QueryResult],
) -> Result<Vec<CallbackListRow>, StoreError> {
    let mut ids = Vec::with_capacity(found.len());
    for row in found {
        ids.push(segment_id(row, "id")?);
    }
    let mut applied = applied(store, &ids).await?;
    let mut listed = Vec::new();
    for (row, segment) in found.iter().zip(ids) {
        // Of one that is damaged, it is shown at least that it is there.
        let heads = heads(row).unwrap_or_else(|error| {
            report_damage(&error);
            Vec::new()
        });
        let counts = applied.remove(&segment);
        let callbacks = callbacks(segment, column(row, "bodies")?).enumerate();
        let mut of_segment: Vec<CallbackListRow> = callbacks
            .map(|(place, id)| {
                let items = counts.as_ref().and_then(|counts| counts.get(place));
                let number = |of: fn(&CallbackItemCounts) -> u64| {
                    items.map(|items| i64::try_from(of(items)).unwrap_or(i64::MAX))
                };
                CallbackListRow {
                    id,
                    received_at: segment.received_at(),
                    size_bytes: heads
                        .get(place)
                        .map_or(0, |head| i64::try_from(head.size).unwrap_or(i64::MAX)),
                    erased: heads.get(place).is_some_and(|head| head.is_erased),
                    processed: counts.is_some(),
                    items: number(|items| items.items),
                    dead_items: number(|items| items.dead_items),
                }
            })
            .collect();
        of_segment.reverse();
        listed.extend(of_segment);
    }
    Ok(listed)
}

/// The counts of those of these segments that were applied.
async fn applied(
    store: &Store,
    segments: &[CallbackSegmentId],
) -> Result<HashMap<CallbackSegmentId, Vec<CallbackItemCounts>>, StoreError> {
    let found = pending::applied_rows(store.reader(), segments.iter().copied()).await?;
    let mut applied = HashMap::new();
    for row in &found {
        let stored: Vec<u8> = column(row, "counts")?;
        let counts = counts::decode(&stored).unwrap_or_default();
        applied.insert(segment_id(row, "segment")?, counts);
    }
    Ok(applied)
}
