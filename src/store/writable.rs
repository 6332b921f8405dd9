//! Whether the database takes writes, by writing: a disk that is full is seen in no other way.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Store, StoreError, dialect};

/// A write that only asks whether writing works may take no longer.
const WITHIN: Duration = Duration::from_secs(2);

/// And is made no more often: a question in between gets the last answer.
const EVERY: Duration = Duration::from_secs(1);

/// The last answer, and when it was given.
#[derive(Debug, Default)]
pub(super) struct Writable(Mutex<Option<(Instant, bool)>>);

impl Store {
    /// Writes something of no meaning, to learn whether the database takes writes.
    pub async fn is_writable(&self) -> bool {
        let mut last = self.writable.0.lock().await;
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
