//! Deleting what is old enough, a little at a time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Engine;
use crate::{
    domain::{chunk::Chunk, time::Timestamp},
    store::{StoreError, retention},
};

/// Things that the first transaction of a kind deletes.
const FIRST_CHUNK: u32 = 20;

/// No transaction deletes more, however fast the disk is.
const MOST: u32 = 500;

/// Pages of the file are given back in chunks, too.
const PAGES: &str = "pages";

/// The digest ledger is kept so long: Meta repeats for 7 days.
const DIGEST_DAYS: i64 = 9;

/// Deletes, and remembers how much of each kind fits into a short transaction here.
#[derive(Debug, Default)]
pub struct Cleaner {
    chunks: HashMap<&'static str, Chunk>,
    /// The longest that one of its writes has lasted.
    pub longest: Duration,
}

impl Cleaner {
    /// How much the next write of this kind may do.
    fn chunk(&self, what: &'static str) -> Chunk {
        self.chunks
            .get(what)
            .copied()
            .unwrap_or(Chunk::starting_at(FIRST_CHUNK, MOST))
    }

    /// Learns from what a write of this kind took.
    fn learn(&mut self, what: &'static str, took: Duration) {
        self.longest = self.longest.max(took);
        self.chunks.insert(what, self.chunk(what).after(took));
    }

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
            let chunk = i64::from(self.chunk(what.name()).size());
            let started = Instant::now();
            let gone = engine
                .store
                .write(async |tx| retention::delete(tx, what, before, chunk).await)
                .await?;
            self.learn(what.name(), started.elapsed());
            metrics::counter!("herald_deleted_rows_total", "what" => what.name()).increment(gone);
            deleted += gone;
        }
        if deleted > 0 {
            let pages = i64::from(self.chunk(PAGES).size());
            let started = Instant::now();
            retention::give_back(&engine.store, pages).await?;
            self.learn(PAGES, started.elapsed());
        }
        Ok(deleted)
    }
}
