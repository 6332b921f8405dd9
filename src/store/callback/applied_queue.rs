//! What follows from an apply in the other file of a SQLite database.
//!
//! An apply is one transaction of the main file, with a mark for each segment in `inbox_applied`. The
//! segment's row in the inbox's `inbox_pending` goes afterwards, with the next batch that is stored: no
//! commit of its own. Until then, or if the process ends before, the mark counts: a row whose segment is
//! marked does not wait.
//!
//! The other way round, the inbox notes which commit of the main file its missing rows rely on. Should
//! the main file turn out to be older, because it was restored or replaced, the rows are made anew
//! ([`restore_pending`]): whatever the main file does not know of is applied.

use std::sync::{Mutex, PoisonError};

use sea_orm::ConnectionTrait;

use super::{SEGMENT_KEYS, claim::drop_pending, pending::applied_among, segment_id, segment_keys};
use crate::{
    domain::callback_id::CallbackSegmentId,
    store::{
        DatabaseTransaction, Store, StoreError,
        dialect::{among, column, execute, is_sqlite, query, query_one, rows},
    },
};

/// Segments that were applied, and whose row has not gone yet.
#[derive(Debug, Default)]
pub struct AppliedSegmentQueue(Mutex<AppliedSegments>);

/// Segments that were applied up to a commit of the main file.
#[derive(Clone, Debug, Default)]
struct AppliedSegments {
    segments: Vec<CallbackSegmentId>,
    main_commit: i64,
}

impl AppliedSegments {
    fn add(&mut self, other: Self) {
        self.segments.extend(other.segments);
        self.main_commit = self.main_commit.max(other.main_commit);
    }
}

impl AppliedSegmentQueue {
    fn with<T>(&self, work: impl FnOnce(&mut AppliedSegments) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes everything.
    fn take(&self) -> AppliedSegments {
        self.with(std::mem::take)
    }

    /// Adds what was taken and not dropped, or was applied.
    fn put(&self, segments: AppliedSegments) {
        self.with(|queued| queued.add(segments));
    }
}

impl Store {
    /// Takes note of segments that a committed transaction has marked as applied.
    pub fn note_applied_segments(&self, segments: impl IntoIterator<Item = CallbackSegmentId>) {
        // On PostgreSQL their rows went in the same transaction.
        if self.is_sqlite() {
            self.applied_segments.put(AppliedSegments {
                segments: segments.into_iter().collect(),
                main_commit: self.newest_commit(),
            });
        }
    }

    /// Runs `work` in a transaction of the inbox that also drops what was applied before.
    pub async fn write_inbox<T>(
        &self,
        work: impl AsyncFn(&DatabaseTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let applied = self.applied_segments.take();
        let written = self
            .inbox()
            .write(async |tx| {
                drop_applied(tx, &applied).await?;
                work(tx).await
            })
            .await;
        if written.is_err() {
            self.applied_segments.put(applied);
        }
        written
    }
}

/// Drops the rows of segments that were applied.
async fn drop_applied(
    inbox: &DatabaseTransaction,
    applied: &AppliedSegments,
) -> Result<(), StoreError> {
    if applied.segments.is_empty() {
        return Ok(());
    }
    rely_on_commit(inbox, applied.main_commit).await?;
    drop_pending(inbox, applied.segments.iter().copied()).await
}

/// Notes that rows are missing because of what the main file has now.
pub(super) async fn rely_on(
    inbox: &DatabaseTransaction,
    main: &impl ConnectionTrait,
) -> Result<(), StoreError> {
    if is_sqlite(inbox) {
        rely_on_commit(inbox, stored_commit(main, "number").await?).await?;
    }
    Ok(())
}

async fn rely_on_commit(inbox: &DatabaseTransaction, main_commit: i64) -> Result<(), StoreError> {
    execute(
        inbox,
        "UPDATE commit_marker SET main_number = $1 WHERE main_number < $1",
        [main_commit.into()],
    )
    .await?;
    Ok(())
}

/// For a copy of the inbox, whose main file is not the one that it has been used with:
/// [`restore_pending`] is to look at every segment.
pub(in crate::store) async fn rely_on_nothing(
    inbox: &impl ConnectionTrait,
) -> Result<(), StoreError> {
    let sql = "UPDATE commit_marker SET main_number = $1";
    execute(inbox, sql, [i64::MAX.into()]).await?;
    Ok(())
}

/// Segments that are looked at in one transaction.
const STEP: i64 = 1_000;

/// Makes the rows of segments that the main file does not know as applied, if it is older than the
/// inbox believes, or `is_other`: if one of the files may be another one than before. Returns how many
/// there were; `None` if nothing was looked at.
///
/// To be called before anything is stored or applied.
pub async fn restore_pending(store: &Store, is_other: bool) -> Result<Option<u64>, StoreError> {
    if !store.is_sqlite() {
        return Ok(None);
    }
    let main_commit = stored_commit(store.reader(), "number").await?;
    let relied_on = stored_commit(store.inbox().reader(), "main_number").await?;
    if relied_on <= main_commit && !is_other {
        return Ok(None);
    }
    let mut restored = 0;
    let mut after = i64::MIN;
    loop {
        let found = query(
            store.inbox().reader(),
            "SELECT id FROM inbox_segment WHERE id > $1 ORDER BY id LIMIT $2",
            [after.into(), STEP.into()],
        )
        .await?;
        let mut missing = Vec::with_capacity(found.len());
        for row in &found {
            missing.push(segment_id(row, "id")?);
        }
        let Some(last) = missing.last() else {
            break;
        };
        after = last.number();
        let applied = applied_among(store.reader(), missing.iter().copied()).await?;
        missing.retain(|segment| !applied.contains(segment));
        restored += store
            .inbox()
            .write(async |tx| insert_missing(tx, &missing).await)
            .await?;
    }
    // Last: until then it is begun anew.
    store
        .inbox()
        .write(async |tx| {
            let sql = "UPDATE commit_marker SET main_number = $1";
            execute(tx, sql, [main_commit.into()]).await
        })
        .await?;
    Ok(Some(restored))
}

/// A number of the marker of commits.
async fn stored_commit(file: &impl ConnectionTrait, name: &str) -> Result<i64, StoreError> {
    let row = query_one(file, format!("SELECT {name} FROM commit_marker"), []).await?;
    row.map_or(Ok(0), |row| column(&row, name))
}

/// The rows of these segments that are not there.
async fn insert_missing(
    inbox: &DatabaseTransaction,
    segments: &[CallbackSegmentId],
) -> Result<u64, StoreError> {
    if segments.is_empty() {
        return Ok(0);
    }
    let backend = inbox.get_database_backend();
    let given = rows(backend, &SEGMENT_KEYS);
    let those = among(backend, "id", &format!("SELECT r.segment FROM {given}"));
    let inserted = execute(
        inbox,
        format!(
            "INSERT INTO inbox_pending (segment, urgent, bodies, size_bytes, owner, leased_until, tries) \
             SELECT id, urgent, bodies, size_bytes, NULL, 0, 0 FROM inbox_segment WHERE {those} \
             ON CONFLICT (segment) DO NOTHING"
        ),
        [segment_keys(segments.iter().copied())?],
    )
    .await?;
    Ok(inserted.rows_affected())
}
