//! Checks whether the database accepts writes, by writing: a full disk is detected in no other way.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Store, StoreError, dialect};

/// A write that only asks whether writing works may take no longer.
const WITHIN: Duration = Duration::from_secs(2);

/// And is made no more often: a question in between gets the last answer.
const EVERY: Duration = Duration::from_secs(1);

/// A write that failed for want of room says no for so long: small ones may still succeed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The last answer, and when it was given; and when a write last failed because of the disk.
#[derive(Debug, Default)]
pub(super) struct WritableCheck {
    last: tokio::sync::Mutex<Option<(Instant, bool)>>,
    failed_at: Mutex<Option<Instant>>,
}

impl WritableCheck {
    /// Takes note of a write that failed.
    pub(super) fn learn(&self, error: &StoreError) {
        if error.is_of_the_disk() {
            *self
                .failed_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn failed_lately(&self) -> bool {
        self.failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|at| at.elapsed() < AFTER_FAILURE)
    }
}

impl Store {
    /// Whether the database takes writes, on SQLite in both files: none has just failed because of
    /// the disk, and one of no meaning succeeds.
    pub async fn is_writable(&self) -> bool {
        if let Some(inbox) = &self.inbox
            && !inbox.is_file_writable().await
        {
            return false;
        }
        self.is_file_writable().await
    }

    async fn is_file_writable(&self) -> bool {
        if self.writable.failed_lately() {
            return false;
        }
        let mut last = self.writable.last.lock().await;
        if let Some((at, writable)) = *last
            && at.elapsed() < EVERY
        {
            return writable;
        }
        let written = tokio::time::timeout(WITHIN, self.try_writing()).await;
        let writable = matches!(written, Ok(Ok(())));
        *last = Some((Instant::now(), writable));
        writable
    }

    async fn try_writing(&self) -> Result<(), StoreError> {
        self.write(async |tx| {
            if !self.is_sqlite() {
                // On SQLite every commit does it.
                let statement = "UPDATE commit_marker SET number = number + 1";
                dialect::execute(tx, statement, []).await?;
            }
            Ok(())
        })
        .await
    }
}
