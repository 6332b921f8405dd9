//! Deleting what is old enough, a little at a time.

use super::Engine;
use crate::{
    domain::time::Timestamp,
    store::{StoreError, retention},
};

/// Rows that one transaction deletes, at most: far from 50 ms.
const CHUNK: i64 = 200;

/// The digest ledger is kept so long: Meta repeats for 7 days.
const DIGEST_DAYS: i64 = 9;

/// Deletes one chunk of each kind of row that is old enough. Says how many rows
/// went: as long as it is not none, there may be more.
///
/// Counters and the dedupe ledger stay.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let keep = engine.settings.retention;
    let mut deleted = 0;
    for (what, days) in [
        (retention::What::Bodies, keep.bodies_days),
        (retention::What::Digests, DIGEST_DAYS),
        (retention::What::Timeline, keep.timeline_days),
        (retention::What::Notices, keep.timeline_days),
        (retention::What::Inbound, keep.notifications_days),
        (retention::What::Notifications, keep.notifications_days),
        (retention::What::Events, keep.notifications_days),
        (retention::What::Idempotency, DIGEST_DAYS),
    ] {
        let before = now.plus_seconds(-days * 24 * 60 * 60);
        if !retention::any(&engine.store, what, before).await? {
            continue;
        }
        let gone = engine
            .store
            .write(async |tx| retention::delete(tx, what, before, CHUNK).await)
            .await?;
        metrics::counter!("herald_deleted_rows_total", "what" => what.name()).increment(gone);
        deleted += gone;
    }
    if deleted > 0 {
        retention::give_back(&engine.store).await?;
    }
    Ok(deleted)
}
