//! Wipes secrets that are not needed any more.

use super::{
    Store, StoreError,
    dialect::{execute, query_one},
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// Secrets of messages that have expired, whatever their state: no further update has come.
const OF_NOTIFICATIONS: &str =
    "SELECT id FROM notification WHERE sealed <> '' AND expires_at <= $1 LIMIT $2";

/// Secrets of messages that should have gone by another channel since `$1`, and have not.
const OF_FALLBACKS: &str = "SELECT notification_id FROM channel_fallback WHERE sealed IS NOT NULL AND due_at <= $1 LIMIT $2";

/// How long a message waits for its other channel with its secrets, in seconds.
const FALLBACK_SECONDS: i64 = 60 * 60;

/// Data of events whose messages are all finished. A route that failed may be corrected and run
/// again until the event is older than `$1`.
const OF_EVENTS: &str = "SELECT e.id FROM event e WHERE e.sealed AND e.state <> 'expanding' \
     AND (e.created_at <= $1 OR e.routes NOT LIKE '%\"outcome\":\"error\"%') \
     AND NOT EXISTS (SELECT 1 FROM notification n WHERE n.event_id = e.id AND (n.sealed <> '' OR n.open_status IS NOT NULL)) \
     LIMIT $2";

/// Whether there is anything to wipe: events older than `events_before` are wiped whatever the
/// state of their routes.
pub async fn any(
    store: &Store,
    now: Timestamp,
    events_before: Timestamp,
) -> Result<bool, StoreError> {
    for (sql, at) in [
        (OF_NOTIFICATIONS, now),
        (OF_FALLBACKS, now.plus_seconds(-FALLBACK_SECONDS)),
        (OF_EVENTS, events_before),
    ] {
        let bound = [at.micros().into(), 1_i64.into()];
        if query_one(store.by_index(), sql, bound).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Wipes up to `most` of each. Says how many.
pub async fn wipe(
    tx: &DatabaseTransaction,
    now: Timestamp,
    events_before: Timestamp,
    most: i64,
) -> Result<u64, StoreError> {
    let mut wiped = 0;
    // The conditions are repeated: a transaction that waits for a row's lock evaluates them again.
    for (change, found, still, at) in [
        (
            "UPDATE notification SET sealed = '' WHERE id IN",
            OF_NOTIFICATIONS,
            "sealed <> '' AND expires_at <= $1",
            now,
        ),
        (
            "UPDATE channel_fallback SET sealed = NULL WHERE notification_id IN",
            OF_FALLBACKS,
            "sealed IS NOT NULL AND due_at <= $1",
            now.plus_seconds(-FALLBACK_SECONDS),
        ),
        (
            "UPDATE event SET data = '', sealed = false WHERE id IN",
            OF_EVENTS,
            "sealed AND state <> 'expanding'",
            events_before,
        ),
    ] {
        let bound = [at.micros().into(), most.into()];
        let done = execute(tx, format!("{change} ({found}) AND {still}"), bound).await?;
        wiped += done.rows_affected();
    }
    Ok(wiped)
}
