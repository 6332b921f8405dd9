//! Verifies commits on SQLite: a separate connection must find the number that a commit wrote.
//!
//! A COMMIT that returned is trusted only after a reader has seen its effect. Concurrent commits
//! share one look.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{dialect::column, direct::SingleStatementPool, transaction::CommitTrace};

/// A reader that takes longer proves nothing, and contradicts nothing.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

const NUMBER: &str = "SELECT number FROM commit_marker";

/// What a reader found of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommitDurabilityVerdict {
    /// It is there.
    Found,
    /// The reader was busy or failed.
    NotLooked,
    /// The reader sees a database without it.
    Missing,
}

#[derive(Debug, Default)]
struct CommitDurabilityState {
    /// The generation of connections that the last commit not found was made by.
    missed_in: Option<u64>,
}

/// Looks for commits.
#[derive(Debug)]
pub(super) struct CommitDurabilityChecker {
    reader: SingleStatementPool,
    /// The highest number that was found.
    highest: AtomicI64,
    seen: Mutex<CommitDurabilityState>,
    /// Cancelled when commits are not found although the writer has been reopened: the
    /// process must end, as nothing that it acknowledges can be believed.
    pub hopeless: CancellationToken,
}

impl CommitDurabilityChecker {
    pub(super) async fn close(&self) {
        self.reader.pool.close().await;
    }

    pub(super) fn new(reader: SingleStatementPool, hopeless: CancellationToken) -> Self {
        Self {
            reader,
            highest: AtomicI64::new(0),
            seen: Mutex::default(),
            hopeless,
        }
    }

    /// The highest number that was found until now: a commit that begins now must pass it.
    pub(super) fn highest(&self) -> i64 {
        self.highest.load(Ordering::Acquire)
    }

    /// Looks for a commit. `before`: [`Self::highest`] before it began. `reopen` closes the writing
    /// connection.
    pub(super) async fn look(
        &self,
        committed: CommitTrace,
        before: i64,
        reopen: impl FnOnce(),
    ) -> CommitDurabilityVerdict {
        let mut seen = self.seen.lock().await;
        // A number that was found before says that the database went back.
        if committed.number > before {
            if committed.number <= self.highest() {
                return CommitDurabilityVerdict::Found;
            }
            let Some(found) = self.found().await else {
                metrics::counter!("herald_commits_unproved_total").increment(1);
                return CommitDurabilityVerdict::NotLooked;
            };
            if found >= committed.number {
                self.highest.store(found, Ordering::Release);
                seen.missed_in = None;
                return CommitDurabilityVerdict::Found;
            }
        }
        metrics::counter!("herald_commits_missing_total").increment(1);
        match seen.missed_in {
            Some(generation) if generation < committed.generation => {
                tracing::error!(
                    event = "store.commit_missing",
                    "a commit of the reopened write connection is missing, too: exiting"
                );
                self.hopeless.cancel();
            }
            Some(_) => {}
            None => {
                tracing::error!(
                    event = "store.commit_missing",
                    "a commit is missing from the database: reported as failed, reopening the write connection"
                );
                seen.missed_in = Some(committed.generation);
                reopen();
            }
        }
        CommitDurabilityVerdict::Missing
    }

    /// The number as the reader sees it.
    async fn found(&self) -> Option<i64> {
        let statement = Statement::from_string(DbBackend::Sqlite, NUMBER);
        let looked = tokio::time::timeout(LOOK_WITHIN, self.reader.query_one_raw(statement)).await;
        match looked {
            Ok(Ok(Some(row))) => column(&row, "number").ok(),
            _ => None,
        }
    }
}
