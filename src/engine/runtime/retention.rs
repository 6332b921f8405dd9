//! How long each kind of row is kept; deletes rows that have passed that time, a few at a time.
//!
//! A kind is a variant of [`RetainedRowKind`], which has its SQL: it does not compile without a time
//! here.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::logins;
use crate::{
    domain::{settings::RetentionSettings, time::Timestamp},
    engine::Engine,
    store::{
        StoreError, login,
        retention::{self, DeletionLimits, RetainedRowKind},
        secrets, verification_limit,
    },
};

/// Most rows deleted per transaction.
const CHUNK: i64 = 200;

/// However slow the disk is, a transaction stays with its commit below the 50 ms that ingest may wait.
const LIMITS: DeletionLimits = DeletionLimits {
    most: CHUNK,
    time: Duration::from_millis(10),
};

/// Metric label of the vacuum step.
const PAGES: &str = "pages";

/// Metric label of wiping secrets.
const SECRETS: &str = "secrets";

/// Metric label of deleting failed sign-ins.
const FAILURES: &str = "login_failures";

/// Metric label of deleting what no limit of one-time passwords counts any more.
const LIMITS_OF_CODES: &str = "verification_limits";

/// The longest time in which sends and wrong codes are counted or locked, with an hour to spare.
const VERIFICATION_LIMITS_SECONDS: i64 = 2 * 60 * 60;

/// Retention of the ledgers of digests and idempotency keys: Meta repeats for 7 days.
const DIGEST_DAYS: i64 = 9;

/// Retention of the stream of Herald's own events, unless what they are about goes before: who reads
/// the stream may be away for so long.
const CHANGES_DAYS: i64 = 14;

/// How many days a kind of row is kept.
const fn kept_days(what: RetainedRowKind, keep: &RetentionSettings) -> i64 {
    match what {
        RetainedRowKind::Bodies => keep.bodies_days,
        RetainedRowKind::Digests | RetainedRowKind::Idempotency => DIGEST_DAYS,
        RetainedRowKind::Changes if keep.notifications_days < CHANGES_DAYS => {
            keep.notifications_days
        }
        RetainedRowKind::Changes => CHANGES_DAYS,
        RetainedRowKind::Timeline | RetainedRowKind::Notices => keep.timeline_days,
        RetainedRowKind::Inbound
        | RetainedRowKind::Notifications
        | RetainedRowKind::Events
        | RetainedRowKind::Verifications => keep.notifications_days,
    }
}

/// Deletes rows that have passed their retention time.
#[derive(Debug, Default)]
pub struct RetentionCleaner {
    /// Duration of the last write of each kind.
    pub lasted: HashMap<&'static str, Duration>,
}

impl RetentionCleaner {
    /// Deletes one chunk of each kind of row. Returns the number of deleted rows; unless it is
    /// zero, there may be more.
    ///
    /// Counters and the deduplication ledger stay.
    pub async fn turn(&mut self, engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
        let keep = engine.settings.retention;
        let mut deleted = 0;
        for what in RetainedRowKind::ALL.iter().copied() {
            let before = now.plus_seconds(-kept_days(what, &keep) * 24 * 60 * 60);
            if !retention::any(&engine.store, what, before).await? {
                continue;
            }
            let started = Instant::now();
            let gone = retention::delete(&engine.store, what, before, now, LIMITS).await?;
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
        let uncounted = now.plus_seconds(-VERIFICATION_LIMITS_SECONDS);
        if verification_limit::any_old(&engine.store, uncounted).await? {
            let started = Instant::now();
            deleted += engine
                .store
                .write(async |tx| verification_limit::forget_old(tx, uncounted, CHUNK).await)
                .await?;
            self.lasted.insert(LIMITS_OF_CODES, started.elapsed());
        }
        if deleted > 0 {
            let started = Instant::now();
            retention::give_back(&engine.store).await?;
            self.lasted.insert(PAGES, started.elapsed());
        }
        Ok(deleted)
    }
}
