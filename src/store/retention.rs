//! Deletes old rows by key, oldest first.
//!
//! Ids are UUIDs of version 7, in order of time: the primary key finds old rows without an index of
//! its own.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::{
    Store, StoreError, callback,
    dialect::{among, column, execute, ids, listed, locking, query, query_one},
    first_id, notification, setting,
};
use crate::{
    domain::{time::Timestamp, word_enum::words},
    store::DatabaseTransaction,
};

words! {
    /// A kind of row that is not kept for ever, with the word for it in metrics. How long it is kept
    /// is in `engine/runtime/retention.rs`.
    pub enum RetainedRowKind {
        /// Callbacks with their bodies, dead letters and parked statuses.
        Bodies = "callbacks",
        Digests = "digests",
        Timeline = "timeline",
        Notices = "notices",
        Inbound = "inbound",
        /// Notifications with attempts, labels and follow-ups. Open ones stay.
        Notifications = "notifications",
        Events = "events",
        /// Batches of the stream. Each goes by its own age: the age of another one says nothing of it,
        /// as clocks may jump.
        Changes = "changes",
        Idempotency = "idempotency",
        /// Verifications that have ended, with what was sent for them.
        Verifications = "verifications",
    }
}

impl RetainedRowKind {
    /// Finds up to `$2` keys older than `$1`.
    const fn oldest(self) -> &'static str {
        match self {
            // Both are found in the inbox.
            Self::Bodies | Self::Digests => "",
            Self::Timeline => {
                "SELECT notification_id AS id FROM timeline WHERE notification_id < $1 ORDER BY notification_id LIMIT $2"
            }
            Self::Notices => "SELECT id FROM notice WHERE id < $1 ORDER BY id LIMIT $2",
            Self::Inbound => "SELECT id FROM inbound_message WHERE id < $1 ORDER BY id LIMIT $2",
            Self::Notifications => {
                "SELECT id FROM notification WHERE id < $1 AND updated_at < $3 AND due_at IS NULL \
                 AND engine_state NOT IN ('queued', 'held', 'sending', 'retrying', 'unknown') ORDER BY id LIMIT $2"
            }
            Self::Events => {
                "SELECT id FROM event WHERE id < $1 AND state <> 'expanding' ORDER BY id LIMIT $2"
            }
            Self::Changes => {
                "SELECT last FROM change_batch WHERE created_at < $1 ORDER BY created_at LIMIT $2"
            }
            Self::Verifications => {
                "SELECT id FROM verification WHERE id < $1 AND status <> 'pending' ORDER BY id LIMIT $2"
            }
            Self::Idempotency => {
                "SELECT idempotency_key FROM idempotency WHERE created_at < $1 LIMIT $2"
            }
        }
    }

    /// Tables from which rows are deleted, with the column of their owner.
    const fn tables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Timeline => &[("timeline", "notification_id")],
            Self::Notices => &[("notice", "id")],
            Self::Inbound => &[("inbound_message", "id")],
            Self::Notifications => &[
                ("timeline", "notification_id"),
                ("notification_label", "notification_id"),
                ("follow_up", "notification_id"),
                ("channel_fallback", "notification_id"),
                ("attempt", "notification_id"),
                ("notification", "id"),
            ],
            Self::Events => &[("event", "id")],
            Self::Verifications => &[
                ("verification_send", "verification_id"),
                ("verification", "id"),
            ],
            Self::Bodies | Self::Digests | Self::Changes | Self::Idempotency => &[],
        }
    }

    /// The parameters of [`Self::oldest`].
    fn bounds(self, before: Timestamp, limit: i64) -> Vec<Value> {
        match self {
            Self::Changes | Self::Idempotency => vec![before.micros().into(), limit.into()],
            // An old notification with a recent attempt stays: a status of a deleted attempt would
            // look as if the database had lost it.
            Self::Notifications => vec![
                first_id(before).into(),
                limit.into(),
                before.micros().into(),
            ],
            _ => vec![first_id(before).into(), limit.into()],
        }
    }
}

/// Whether there is anything so old.
pub async fn any(
    store: &Store,
    what: RetainedRowKind,
    before: Timestamp,
) -> Result<bool, StoreError> {
    let found = match what {
        RetainedRowKind::Bodies => {
            let inbox = store.inbox().by_index();
            return Ok(callback::any_segment_before(inbox, before).await?
                || callback::any_applied_before(store.by_index(), before).await?);
        }
        RetainedRowKind::Digests => {
            return callback::any_digest_before(store.inbox().by_index(), before).await;
        }
        _ => query_one(store.by_index(), what.oldest(), what.bounds(before, 1)).await?,
    };
    if found.is_some() || what != RetainedRowKind::Timeline {
        return Ok(found.is_some());
    }
    let since = lines_forgotten(store.by_index()).await?;
    let bounds = [since.into(), first_id(before).into()];
    let found = query_one(
        store.by_index(),
        "SELECT id FROM notification WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1",
        bounds,
    )
    .await?;
    Ok(found.is_some())
}

/// The setting with the last notification whose record has lost its lines because of their age.
const LINES_FORGOTTEN: &str = "timeline_lines_forgotten";

async fn lines_forgotten(connection: &impl ConnectionTrait) -> Result<Uuid, StoreError> {
    let kept = setting::get(connection, LINES_FORGOTTEN).await?;
    Ok(kept
        .and_then(|text| Uuid::parse_str(&text).ok())
        .unwrap_or_default())
}

/// Takes the lines out of the records of the next old notifications. Returns how many it looked at.
async fn forget_lines(
    tx: &DatabaseTransaction,
    before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let since = lines_forgotten(tx).await?;
    let lock = locking(tx.get_database_backend(), "FOR UPDATE");
    let found = query(
        tx,
        format!(
            "SELECT id FROM notification WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3 {lock}"
        ),
        [since.into(), first_id(before).into(), STEP.into()],
    )
    .await?;
    let mut wanted = Vec::with_capacity(found.len());
    for row in &found {
        wanted.push(column::<Uuid>(row, "id")?);
    }
    let Some(last) = wanted.last() else {
        return Ok(0);
    };
    let mut loaded = notification::load_readable(tx, &wanted).await?;
    for loaded in &mut loaded {
        loaded.forget_lines();
    }
    notification::save_records(tx, &mut loaded).await?;
    setting::put(tx, LINES_FORGOTTEN, &last.to_string(), now).await?;
    Ok(found.len() as u64)
}

/// Keys that are deleted between two looks at the clock.
pub const STEP: i64 = 10;

/// A limit on what one transaction deletes.
#[derive(Clone, Copy, Debug)]
pub struct DeletionLimits {
    /// Most keys.
    pub most: i64,
    /// Nothing more is begun after this time.
    pub time: Duration,
}

impl DeletionLimits {
    /// Works in steps of [`STEP`] keys until there is nothing more, or a limit is reached. Returns the
    /// number of deleted rows.
    async fn steps(
        self,
        mut step: impl AsyncFnMut() -> Result<u64, StoreError>,
    ) -> Result<u64, StoreError> {
        let started = Instant::now();
        let mut gone = 0;
        for _ in 0..self.most.div_euclid(STEP) {
            let deleted = step().await?;
            gone += deleted;
            if deleted == 0 || started.elapsed() >= self.time {
                break;
            }
        }
        Ok(gone)
    }
}

/// Deletes older rows with everything that belongs to them, within limits for each transaction.
/// Returns the number of deleted rows.
pub async fn delete(
    store: &Store,
    what: RetainedRowKind,
    before: Timestamp,
    now: Timestamp,
    limits: DeletionLimits,
) -> Result<u64, StoreError> {
    match what {
        RetainedRowKind::Bodies => delete_bodies(store, before, limits).await,
        RetainedRowKind::Digests => {
            store
                .inbox()
                .write(async |tx| {
                    limits
                        .steps(async || callback::forget_digest_step(tx, before, STEP).await)
                        .await
                })
                .await
        }
        _ => {
            store
                .write(async |tx| {
                    limits
                        .steps(async || {
                            let step = delete_step(tx, what, before).await?;
                            match what {
                                RetainedRowKind::Timeline => {
                                    Ok(step + forget_lines(tx, before, now).await?)
                                }
                                _ => Ok(step),
                            }
                        })
                        .await
                })
                .await
        }
    }
}

/// Segments first: what is left of them elsewhere is found without them.
async fn delete_bodies(
    store: &Store,
    before: Timestamp,
    limits: DeletionLimits,
) -> Result<u64, StoreError> {
    // On SQLite, rows of applied segments may be left that would keep these.
    let segments = store
        .write_inbox(async |tx| {
            limits
                .steps(async || callback::forget_segment_step(tx, before, STEP).await)
                .await
        })
        .await?;
    let inbox = store.inbox().by_index();
    let elsewhere = store
        .write(async |tx| {
            let step = async || {
                // On PostgreSQL it is one database, and a second connection might not be free.
                if store.is_sqlite() {
                    callback::forget_applied_step(tx, inbox, before, STEP).await
                } else {
                    callback::forget_applied_step(tx, tx, before, STEP).await
                }
            };
            limits.steps(step).await
        })
        .await?;
    Ok(segments + elsewhere)
}

async fn delete_step(
    tx: &DatabaseTransaction,
    what: RetainedRowKind,
    before: Timestamp,
) -> Result<u64, StoreError> {
    match what {
        RetainedRowKind::Idempotency => {
            let gone = execute(
                tx,
                "DELETE FROM idempotency WHERE (client, idempotency_key, operation) IN \
                 (SELECT client, idempotency_key, operation FROM idempotency WHERE created_at < $1 LIMIT $2)",
                what.bounds(before, STEP),
            )
            .await?;
            return Ok(gone.rows_affected());
        }
        RetainedRowKind::Changes => {
            let old = among(tx.get_database_backend(), "last", what.oldest());
            let gone = execute(
                tx,
                format!("DELETE FROM change_batch WHERE {old}"),
                what.bounds(before, STEP),
            )
            .await?;
            return Ok(gone.rows_affected());
        }
        _ => {}
    }
    let found = query(tx, what.oldest(), what.bounds(before, STEP)).await?;
    let mut keys = Vec::with_capacity(found.len());
    for row in &found {
        keys.push(column::<Uuid>(row, "id")?);
    }
    keys.dedup();
    let backend = tx.get_database_backend();
    let mut gone = 0;
    for (table, column) in what.tables() {
        let deleted = execute(
            tx,
            format!("DELETE FROM {table} WHERE {}", listed(backend, column)),
            [ids(keys.iter().copied())?],
        )
        .await?;
        gone += deleted.rows_affected();
    }
    Ok(gone)
}

/// Pages of 4 KiB that SQLite gives back at a time.
const PAGES_GIVEN_BACK: i64 = 100;

/// Gives space back to the system. PostgreSQL does it by itself.
pub async fn give_back(store: &Store) -> Result<(), StoreError> {
    if store.is_sqlite() {
        for file in store.files() {
            query(
                &file.writer,
                format!("PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})"),
                [],
            )
            .await?;
        }
    }
    Ok(())
}
