//! Deleting what is old enough, a little at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::logins;
use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{StoreError, login, retention, secrets},
};

/// Things that one transaction deletes, at most.
const CHUNK: i64 = 200;

/// A transaction deletes no more after this, however slow the disk is: with its
/// commit it stays under the 50 ms that ingest may wait.
const TIME: Duration = Duration::from_millis(10);

/// What giving pages back is called among the kinds of write.
const PAGES: &str = "pages";

/// What wiping is called among the kinds of write.
const SECRETS: &str = "secrets";

/// What forgetting failed logins is called among the kinds of write.
const FAILURES: &str = "login_failures";

/// The digest ledger is kept so long: Meta repeats for 7 days.
const DIGEST_DAYS: i64 = 9;

/// Deletes what is old enough.
#[derive(Debug, Default)]
pub struct Cleaner {
    /// How long the last write of each kind lasted.
    pub lasted: HashMap<&'static str, Duration>,
}

impl Cleaner {
    /// Deletes one chunk of each kind of row that is old enough. Says how many rows
    /// went: as long as it is not none, there may be more.
    ///
    /// Counters and the dedupe ledger stay.
    pub async fn turn(&mut self, engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
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
            let started = Instant::now();
            let gone = engine
                .store
                .write(async |tx| retention::delete(tx, what, before, CHUNK, TIME).await)
                .await?;
            self.lasted.insert(what.name(), started.elapsed());
            metrics::counter!("herald_deleted_rows_total", "what" => what.name()).increment(gone);
            deleted += gone;
        }
        let events_before = now.plus_seconds(-engine.settings.expiry.ordinary_seconds);
        if secrets::any(&engine.store, now, events_before).await? {
            let started = Instant::now();
            let wiped = engine
                .store
                .write(async |tx| secrets::wipe(tx, now, events_before, CHUNK).await)
                .await?;
            self.lasted.insert(SECRETS, started.elapsed());
            metrics::counter!("herald_wiped_rows_total").increment(wiped);
            deleted += wiped;
        }
        let forgotten = now.plus_seconds(-logins::FORGOTTEN_AFTER);
        if login::any_old(&engine.store, forgotten).await? {
            let started = Instant::now();
            deleted += engine
                .store
                .write(async |tx| login::forget_old(tx, forgotten, CHUNK).await)
                .await?;
            self.lasted.insert(FAILURES, started.elapsed());
        }
        if deleted > 0 {
            let started = Instant::now();
            retention::give_back(&engine.store).await?;
            self.lasted.insert(PAGES, started.elapsed());
        }
        Ok(deleted)
    }
}
