//! The inbox of callbacks: bodies, the ledger of digests, ownership and leases.

use std::borrow::Cow;

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{
        HexUuid, SqlListFieldType, by_key, column, execute, ids, list, locking, matching, nullable,
        query, query_one, read_row, rows,
    },
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// A body to be stored.
#[derive(Clone, Debug)]
pub struct NewCallback {
    pub id: Uuid,
    /// The last part of the webhook's path.
    pub endpoint: &'static str,
    pub digest: [u8; 32],
    pub body: bytes::Bytes,
    /// How often it occurs in this batch.
    pub copies: i64,
    /// Labels of the secrets that signed it, if there are several apps.
    pub signed_by: Option<String>,
    /// Urgent bodies are applied before the others.
    pub urgent: bool,
}

/// How long the bodies of a batch belong to the process that stores them; one left to the first
/// process that looks is leased until now.
#[derive(Clone, Copy, Debug)]
pub struct CallbackBatchLeases {
    pub owner: Uuid,
    pub urgent: Timestamp,
    pub ordinary: Timestamp,
}

/// A body to be processed.
#[derive(Clone, Debug)]
pub struct CallbackBody {
    pub id: Uuid,
    /// Whose callback it is: the last part of the webhook's path.
    pub endpoint: Cow<'static, str>,
    pub body: bytes::Bytes,
    /// How often it was claimed: more than once means that a process died while applying it.
    pub tries: i64,
    /// Labels of the secrets that signed it, if there are several apps.
    pub signed_by: Option<String>,
}

#[derive(Serialize)]
struct NewCallbackRow {
    id: HexUuid,
    digest: String,
    copies: i64,
    start: usize,
    size: usize,
    urgent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
}

/// Prefix of the bodies of a batch: if all of them were empty, SQLite would take the parameter that
/// carries them for a NULL, and refuse it for ever.
const PAD: &[u8] = b"-";

/// Stores a batch, sorted by digest, in one transaction: the digests first, then the new bodies.
/// Returns the digests that were known.
pub async fn store_batch(
    tx: &DatabaseTransaction,
    batch: &[NewCallback],
    leases: CallbackBatchLeases,
    now: Timestamp,
) -> Result<Vec<[u8; 32]>, StoreError> {
    let Some(endpoint) = batch.first().map(|callback| callback.endpoint) else {
        return Ok(Vec::new());
    };
    let backend = tx.get_database_backend();
    let mut start = 1 + PAD.len();
    let described: Vec<NewCallbackRow> = batch
        .iter()
        .map(|callback| {
            let row = NewCallbackRow {
                id: HexUuid(callback.id),
                digest: hex::encode(callback.digest),
                copies: callback.copies,
                start,
                size: callback.body.len(),
                urgent: callback.urgent,
                signed_by: callback.signed_by.clone(),
            };
            start += callback.body.len();
            row
        })
        .collect();
    let digests = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("digest", SqlListFieldType::Bytes),
            ("copies", SqlListFieldType::Int),
        ],
    );
    let inserted = execute(
        tx,
        format!(
            "INSERT INTO callback_digest (endpoint, digest, callback_id, created_at, times_seen) \
             SELECT $2, r.digest, r.id, $3, r.copies FROM {digests} WHERE true ON CONFLICT (endpoint, digest) DO NOTHING"
        ),
        [list(&described)?, endpoint.into(), now.micros().into()],
    )
    .await?
    .rows_affected();
    let mut repeats = Vec::new();
    let mut fresh: Vec<&NewCallbackRow> = described.iter().collect();
    if usize::try_from(inserted).ok() != Some(batch.len()) {
        let known = matching(
            backend,
            &digests,
            "callback_digest",
            "d",
            "d.endpoint = $2 AND d.digest = r.digest",
        );
        let known = query(
            tx,
            format!("SELECT r.digest FROM {known} WHERE d.callback_id <> r.id"),
            [list(&described)?, endpoint.into()],
        )
        .await?;
        for row in &known {
            let digest: Vec<u8> = column(row, "digest")?;
            repeats.extend(<[u8; 32]>::try_from(digest.as_slice()).ok());
        }
        count_repeats(tx, endpoint, batch, &repeats).await?;
        fresh = described
            .iter()
            .zip(batch)
            .filter(|(_, callback)| !repeats.contains(&callback.digest))
            .map(|(row, _)| row)
            .collect();
    }
    if fresh.is_empty() {
        return Ok(repeats);
    }
    let all = list(&fresh)?;
    let ids = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("start", SqlListFieldType::Int),
            ("size", SqlListFieldType::Int),
            ("urgent", SqlListFieldType::Bool),
            ("signed_by", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO callback (id, created_at, endpoint, size_bytes, owner, leased_until, tries, signed_by, urgent) \
             SELECT r.id, $2, $3, r.size, $4, CASE WHEN r.urgent THEN CAST($5 AS bigint) ELSE CAST($6 AS bigint) END, 0, r.signed_by, r.urgent FROM {ids}"
        ),
        [
            all.clone(),
            now.micros().into(),
            endpoint.into(),
            leases.owner.into(),
            leases.urgent.micros().into(),
            leases.ordinary.micros().into(),
        ],
    )
    .await?;
    // One parameter carries all bodies; each row cuts its own out.
    let mut bodies = Vec::with_capacity(start);
    bodies.extend_from_slice(PAD);
    for callback in batch {
        bodies.extend_from_slice(&callback.body);
    }
    let cut = if backend == sea_orm::DbBackend::Postgres {
        "substring($2::bytea FROM r.start::int FOR r.size::int)"
    } else {
        "substr($2, r.start, r.size)"
    };
    execute(
        tx,
        format!("INSERT INTO callback_body (callback_id, body) SELECT r.id, {cut} FROM {ids}"),
        [all, Value::from(bodies)],
    )
    .await?;
    Ok(repeats)
}

/// Counts bodies that were stored before.
async fn count_repeats(
    tx: &DatabaseTransaction,
    endpoint: &str,
    batch: &[NewCallback],
    repeats: &[[u8; 32]],
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct RepeatedCallbackRow<'a> {
        // Beside each digest, not once for all: SQLite would walk every digest of
        // the endpoint (measured: 36 ms for a few, at 6,000).
        endpoint: &'a str,
        digest: String,
        copies: i64,
    }
    let seen: Vec<RepeatedCallbackRow<'_>> = batch
        .iter()
        .filter(|callback| repeats.contains(&callback.digest))
        .map(|callback| RepeatedCallbackRow {
            endpoint,
            digest: hex::encode(callback.digest),
            copies: callback.copies,
        })
        .collect();
    if seen.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("endpoint", SqlListFieldType::Text),
            ("digest", SqlListFieldType::Bytes),
            ("copies", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE callback_digest SET times_seen = times_seen + r.copies FROM {given} \
             WHERE {} AND callback_digest.digest = r.digest",
            by_key(backend, "callback_digest.endpoint", "r.endpoint"),
        ),
        [list(&seen)?],
    )
    .await?;
    Ok(())
}

/// Which bodies are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackClaimScope {
    Urgent,
    /// Those that are urgent, and then the others.
    All,
}

/// How much is claimed at once.
#[derive(Clone, Copy, Debug)]
pub struct CallbackClaimSizeLimits {
    pub bodies: i64,
    /// Together, unless one alone is larger.
    pub bytes: i64,
}

/// Claims unprocessed bodies whose lease has run out, oldest first.
pub async fn claim(
    tx: &DatabaseTransaction,
    which: CallbackClaimScope,
    owner: Uuid,
    leased_until: Timestamp,
    now: Timestamp,
    most: CallbackClaimSizeLimits,
) -> Result<Vec<CallbackBody>, StoreError> {
    let backend = tx.get_database_backend();
    let skip = locking(backend, "FOR UPDATE SKIP LOCKED");
    let mut due = Vec::new();
    let classes: &[bool] = match which {
        CallbackClaimScope::Urgent => &[true],
        CallbackClaimScope::All => &[true, false],
    };
    for urgent in classes {
        // A part is for the others: were there ever more that is urgent than can be applied, they
        // would wait for ever.
        let kept = if *urgent { most.bodies / 4 } else { 0 };
        let left = most.bodies - kept - i64::try_from(due.len()).unwrap_or(i64::MAX);
        if left <= 0 {
            break;
        }
        let found = query(
            tx,
            format!(
                "SELECT id, size_bytes FROM callback WHERE processed_at IS NULL AND urgent = $3 AND leased_until <= $1 \
                 ORDER BY leased_until LIMIT $2 {skip}"
            ),
            [now.micros().into(), left.into(), (*urgent).into()],
        )
        .await?;
        due.extend(found);
    }
    let mut wanted = Vec::with_capacity(due.len());
    let mut taken_bytes = 0;
    for row in &due {
        let id: Uuid = column(row, "id")?;
        let size: i64 = column(row, "size_bytes")?;
        if !wanted.is_empty() && taken_bytes + size > most.bytes {
            break;
        }
        taken_bytes += size;
        wanted.push(id);
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let claimed = query(
        tx,
        format!(
            "UPDATE callback SET owner = $2, leased_until = $3, tries = tries + 1 FROM {given} \
             WHERE {} RETURNING callback.id, callback.tries, callback.signed_by, callback.endpoint",
            by_key(backend, "callback.id", "r.id")
        ),
        [
            ids(wanted.iter().copied())?,
            owner.into(),
            leased_until.micros().into(),
        ],
    )
    .await?;
    let mut bodies = Vec::with_capacity(claimed.len());
    for row in &claimed {
        bodies.push(CallbackBody {
            id: column(row, "id")?,
            tries: column(row, "tries")?,
            signed_by: nullable(row, "signed_by")?,
            endpoint: Cow::Owned(column(row, "endpoint")?),
            body: bytes::Bytes::new(),
        });
    }
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let stored = query(
        tx,
        format!(
            "SELECT b.callback_id, b.body FROM {}",
            matching(
                backend,
                &given,
                "callback_body",
                "b",
                "b.callback_id = r.id"
            )
        ),
        [ids(bodies.iter().map(|body| body.id))?],
    )
    .await?;
    for row in &stored {
        let id: Uuid = column(row, "callback_id")?;
        let content: Vec<u8> = column(row, "body")?;
        if let Some(body) = bodies.iter_mut().find(|body| body.id == id) {
            body.body = content.into();
        }
    }
    bodies.sort_by_key(|body| body.id);
    Ok(bodies)
}

/// Content of a processed body.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessedCallbackBody {
    pub id: HexUuid,
    pub items: i64,
    pub dead_items: i64,
}

/// Marks bodies as processed. Returns those that another process has processed meanwhile: the
/// caller must leave them alone.
pub async fn mark_processed(
    tx: &DatabaseTransaction,
    batch: &[ProcessedCallbackBody],
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("items", SqlListFieldType::Int),
            ("dead_items", SqlListFieldType::Int),
        ],
    );
    let parameter = list(batch)?;
    // Not `IS NULL`, which would let the planner read the whole index of those that wait.
    let marked = execute(
        tx,
        format!(
            "UPDATE callback SET processed_at = $2, items = r.items, dead_items = r.dead_items FROM {given} \
             WHERE {} AND coalesce(callback.processed_at, 0) = 0",
            by_key(backend, "callback.id", "r.id")
        ),
        [parameter.clone(), now.micros().into()],
    )
    .await?
    .rows_affected();
    if usize::try_from(marked).ok() == Some(batch.len()) {
        return Ok(Vec::new());
    }
    let mut done_elsewhere = Vec::new();
    let found = query(
        tx,
        format!(
            "SELECT c.id FROM {} WHERE c.processed_at <> $2",
            matching(backend, &given, "callback", "c", "c.id = r.id")
        ),
        [parameter, now.micros().into()],
    )
    .await?;
    for row in &found {
        done_elsewhere.push(column(row, "id")?);
    }
    Ok(done_elsewhere)
}

/// Counts items that became dead letters while they were applied, one for each entry.
pub async fn count_dead(tx: &DatabaseTransaction, callbacks: &[Uuid]) -> Result<(), StoreError> {
    for id in callbacks {
        execute(
            tx,
            "UPDATE callback SET dead_items = coalesce(dead_items, 0) + 1 WHERE id = $1",
            [(*id).into()],
        )
        .await?;
    }
    Ok(())
}

/// Renews the leases of bodies that are still being processed.
pub async fn renew(
    tx: &DatabaseTransaction,
    bodies: &[Uuid],
    owner: Uuid,
    until: Timestamp,
) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    execute(
        tx,
        format!(
            "UPDATE callback SET leased_until = $2 FROM {given} WHERE {} AND callback.owner = $3 \
             AND coalesce(callback.processed_at, 0) = 0",
            by_key(backend, "callback.id", "r.id")
        ),
        [
            ids(bodies.iter().copied())?,
            until.micros().into(),
            owner.into(),
        ],
    )
    .await?;
    Ok(())
}

/// On SQLite the process that holds the file's lock is the only one: any other owner of a lease is
/// dead.
pub async fn release_all(tx: &DatabaseTransaction, owner: Uuid) -> Result<u64, StoreError> {
    let released = execute(
        tx,
        "UPDATE callback SET leased_until = 0 WHERE processed_at IS NULL AND owner <> $1",
        [owner.into()],
    )
    .await?;
    Ok(released.rows_affected())
}

/// Bodies that wait to be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromQueryResult)]
pub struct CallbackBacklog {
    pub callbacks: i64,
    pub bytes: i64,
    /// When the oldest came.
    pub oldest: Option<Timestamp>,
}

/// What waits to be processed: all of it is looked at.
pub async fn waiting(connection: &impl ConnectionTrait) -> Result<CallbackBacklog, StoreError> {
    let row = query_one(
        connection,
        "SELECT count(*) AS callbacks, CAST(coalesce(sum(size_bytes), 0) AS bigint) AS bytes, min(created_at) AS oldest \
         FROM callback WHERE processed_at IS NULL",
        [],
    )
    .await?;
    row.map_or_else(|| Ok(CallbackBacklog::default()), |row| read_row(&row))
}

/// When the oldest body came that waits to be processed.
pub async fn oldest(store: &Store) -> Result<Option<Timestamp>, StoreError> {
    let row = query_one(
        store.by_index(),
        "SELECT min(created_at) AS oldest FROM callback WHERE processed_at IS NULL",
        [],
    )
    .await?;
    let Some(row) = row else { return Ok(None) };
    nullable(&row, "oldest")
}

/// The body of one callback, for replay and for people, with the labels of its signature.
pub async fn body(
    connection: &impl ConnectionTrait,
    id: Uuid,
) -> Result<Option<CallbackBody>, StoreError> {
    let row = query_one(
        connection,
        "SELECT b.body, c.signed_by, c.endpoint FROM callback_body b JOIN callback c ON c.id = b.callback_id WHERE c.id = $1",
        [id.into()],
    )
    .await?;
    row.map(|row| {
        let body: Vec<u8> = column(&row, "body")?;
        Ok(CallbackBody {
            id,
            body: body.into(),
            tries: 0,
            signed_by: nullable(&row, "signed_by")?,
            endpoint: Cow::Owned(column(&row, "endpoint")?),
        })
    })
    .transpose()
}

/// A callback as the list shows it.
#[derive(Debug, Serialize, FromQueryResult)]
pub struct CallbackListRow {
    pub id: Uuid,
    #[sea_orm(from_alias = "created_at")]
    #[serde(serialize_with = "super::timeline::as_text")]
    pub received_at: Timestamp,
    pub size_bytes: i64,
    pub processed: bool,
    pub items: Option<i64>,
    pub dead_items: Option<i64>,
}

const LISTED: &str = "c.id, c.created_at, c.size_bytes, c.processed_at IS NOT NULL AS processed, c.items, c.dead_items FROM callback c";

/// The newest callbacks.
pub async fn newest(store: &Store, limit: i64) -> Result<Vec<CallbackListRow>, StoreError> {
    let found = query(
        store.reader(),
        format!("SELECT {LISTED} ORDER BY c.id DESC LIMIT $1"),
        [limit.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// The newest callbacks before one of them.
pub async fn before(
    store: &Store,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<CallbackListRow>, StoreError> {
    let Some(before) = before else {
        return newest(store, limit).await;
    };
    let found = query(
        store.reader(),
        format!("SELECT {LISTED} WHERE c.id < $2 ORDER BY c.id DESC LIMIT $1"),
        [limit.into(), before.into()],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// Callbacks that concern an object, newest first: a wamid, the messages to or from a number, a
/// notification; or the callback of this id.
pub async fn about(
    store: &Store,
    what: &str,
    limit: i64,
) -> Result<Vec<CallbackListRow>, StoreError> {
    let id = Uuid::parse_str(what).unwrap_or_default();
    // For a number, only the newest messages are searched.
    let found = query(
        store.reader(),
        format!(
            "SELECT {LISTED} WHERE c.id IN (SELECT $1 \
             UNION SELECT t.callback_id FROM timeline t WHERE t.callback_id IS NOT NULL AND t.notification_id IN (\
             SELECT $1 UNION SELECT a.notification_id FROM attempt a WHERE a.provider_message_id = $2 \
             UNION SELECT n.id FROM (SELECT id FROM notification WHERE address = $2 ORDER BY id DESC LIMIT 200) AS n) \
             UNION SELECT callback_id FROM inbound_message WHERE provider_message_id = $2 OR provider_message_id = $4 \
             UNION SELECT i.callback_id FROM (SELECT callback_id, id FROM inbound_message WHERE contact_id IN \
             (SELECT contact_id FROM contact_alias WHERE kind = 'phone' AND value = $2) ORDER BY id DESC LIMIT 200) AS i \
             UNION SELECT callback_id FROM parked_status WHERE provider_message_id = $2) \
             ORDER BY c.id DESC LIMIT $3"
        ),
        [
            id.into(),
            what.into(),
            limit.into(),
            format!("call:{what}").into(),
        ],
    )
    .await?;
    found.iter().map(read_row).collect()
}

/// One callback.
pub async fn one(store: &Store, id: Uuid) -> Result<Option<CallbackListRow>, StoreError> {
    let row = query_one(
        store.reader(),
        format!("SELECT {LISTED} WHERE c.id = $1"),
        [id.into()],
    )
    .await?;
    row.as_ref().map(read_row).transpose()
}

/// The callbacks of a time, oldest first, whose bodies are still kept.
pub async fn between(
    store: &Store,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let found = query(
        store.reader(),
        "SELECT c.id FROM callback c JOIN callback_body b ON b.callback_id = c.id \
         WHERE c.created_at >= $1 AND c.created_at < $2 ORDER BY c.id",
        [since.micros().into(), until.micros().into()],
    )
    .await?;
    found.iter().map(|row| column(row, "id")).collect()
}

/// Whether there are unprocessed bodies whose lease has run out, urgent ones and others.
pub async fn unowned(store: &Store, now: Timestamp) -> Result<(bool, bool), StoreError> {
    let any = |urgent: bool| {
        format!(
            "SELECT id FROM callback WHERE processed_at IS NULL AND urgent = {urgent} AND leased_until <= $1 LIMIT 1"
        )
    };
    let connection = store.by_index();
    let urgent = query_one(connection, any(true), [now.micros().into()]).await?;
    let ordinary = query_one(connection, any(false), [now.micros().into()]).await?;
    Ok((urgent.is_some(), ordinary.is_some()))
}
