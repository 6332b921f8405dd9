//! Notifications: loading them for a change, saving changes, the queue, and lists.

mod held;
mod insert;
mod loaded;
mod queue;
mod record;
mod replies;
mod search;
mod waiting;

pub use held::{QueueHoldCause, any_held, any_to_hold, hold, release};
pub use insert::{FallbackTemplate, NewNotification, fresh_state, insert};
pub use loaded::{LoadedNotification, NotificationFacets};
pub use queue::{
    ClaimedMessageDelay, ClaimedNotification, LANES, QueueClaimOrder, QueueSenderScope, answerable,
    any_woken, await_open_calls, claim, count_due, delay, extend, oldest_due, stop_timers, woken,
};
pub use record::{NotificationRecord, TimelineTail, UnreadableRecordError};
pub use replies::{erase_replies, of_contacts_after};
pub use search::{
    NotificationListFilter, callbacks_of, find, find_all, in_transaction, of_request, open_counts,
    read_failure, search,
};
pub use waiting::{
    AwaitedTemplate, MessageQueueStage, MessageWaitReason, UnclaimedMessage, awaited_after,
    look_ahead, release_addressed, release_template, release_turns, set_aside, set_recipient,
    take_turns, turn_of,
};

use entity::notification;
use sea_orm::{ActiveEnum, ConnectionTrait, DbBackend, FromQueryResult, QueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::{
    StoreError, attempt,
    convert::{engine, stored_engine},
    dialect::{
        HexBytes, HexUuid, SqlListFieldType, by_key, execute, ids, list, locking, matching, query,
        read_row, rows,
    },
    timeline,
};
use crate::{
    domain::{
        category::MessageCategory,
        facts::DeliveryFacts,
        notification::{AttemptMessageId, AttemptState, MessageSecretsState, NotificationState},
        settings::DeliveryPolicySettings,
        status::{NotificationEngineState, NotificationStatus, StatusGroup},
        time::Timestamp,
        transition::NotificationTransitionSet,
    },
    store::DatabaseTransaction,
};

const LOADED: &str = "notification.id, notification.created_at, notification.category, notification.engine_state, notification.generation, notification.triggered, notification.replied, notification.insists, notification.reason, \
     notification.failure, notification.due_at, notification.leased_until, notification.expires_at, notification.wake_at, notification.sender_id, notification.channel, notification.template, notification.event_type, notification.language, notification.depth, notification.contact_id, notification.address, notification.product, notification.fallback IS NOT NULL AS has_fallback, coalesce(notification.sealed = '', false) AS is_wiped, notification.record";

/// The columns of [`LOADED`], and the version.
#[derive(FromQueryResult)]
struct LoadedNotificationRow {
    id: Uuid,
    created_at: Timestamp,
    category: MessageCategory,
    engine_state: String,
    generation: i64,
    triggered: NotificationTransitionSet,
    replied: bool,
    insists: bool,
    reason: Option<String>,
    failure: Option<String>,
    due_at: Option<Timestamp>,
    leased_until: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    wake_at: Option<Timestamp>,
    #[sea_orm(nested)]
    facets: NotificationFacets,
    has_fallback: bool,
    #[sea_orm(from_alias = "is_wiped")]
    secrets: MessageSecretsState,
    record: Option<Vec<u8>>,
    version: i64,
}

fn loaded(row: &QueryResult) -> Result<LoadedNotification, StoreError> {
    let stored: LoadedNotificationRow = read_row(row)?;
    let id = stored.id;
    let corrupt = |column| StoreError::Corrupt {
        table: "notification",
        row: id.to_string(),
        column,
    };
    let engine_state = notification::StoredEngineState::try_from_value(&stored.engine_state)
        .map_err(|_unreadable| corrupt("engine_state"))?;
    let failure = stored
        .failure
        .map(|json| serde_json::from_str(&json).map_err(|_unreadable| corrupt("failure")))
        .transpose()?;
    let record = stored.record.as_deref().unwrap_or_default();
    let record = NotificationRecord::read(record, stored.created_at)
        .map_err(|_unreadable| record::corrupt(id))?;
    let state = NotificationState {
        id,
        created_at: stored.created_at,
        category: stored.category,
        engine: engine(engine_state),
        generation: stored.generation,
        triggered: stored.triggered,
        replied: stored.replied,
        insists: stored.insists,
        reason: stored.reason,
        failure,
        due_at: stored.due_at,
        leased_until: stored.leased_until,
        expires_at: stored.expires_at,
        stored_wake_at: stored.wake_at,
        has_fallback: stored.has_fallback,
        secrets: stored.secrets,
        attempts: record.attempts,
    };
    Ok(LoadedNotification::stored(
        state,
        stored.facets,
        record.follow_ups,
        record.timeline,
        stored.version,
    ))
}

/// The version of a row: on PostgreSQL the transaction that wrote it. SQLite has
/// one writer, and nothing comes between a read and the write after it.
const fn version(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "notification.xmin::text::bigint",
        _ => "0",
    }
}

/// Locks notifications in order of id.
pub async fn lock(tx: &DatabaseTransaction, wanted: &[Uuid]) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let lock = locking(backend, "FOR UPDATE OF n");
    if lock.is_empty() {
        return Ok(());
    }
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let found = matching(backend, &given, "notification", "n", "n.id = r.id");
    let mut in_order = wanted.to_vec();
    in_order.sort_unstable();
    query(
        tx,
        format!("SELECT n.id FROM {found} {lock}"),
        [ids(in_order)?],
    )
    .await?;
    Ok(())
}

/// Loads notifications with their records, in order of id. After a lock it is a statement of its
/// own: another process may have added facts until then.
pub async fn load(
    connection: &impl ConnectionTrait,
    wanted: &[Uuid],
) -> Result<Vec<LoadedNotification>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let found = query(
        connection,
        format!(
            "SELECT {LOADED}, {} AS version FROM {given} JOIN notification ON {}",
            version(backend),
            by_key(backend, "notification.id", "r.id"),
        ),
        [ids(wanted.iter().copied())?],
    )
    .await?;
    let mut all = found.iter().map(loaded).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|loaded| loaded.state.id);
    Ok(all)
}

/// Like [`load`], for work that goes on without those that cannot be read: they are left out.
pub async fn load_readable(
    connection: &impl ConnectionTrait,
    wanted: &[Uuid],
) -> Result<Vec<LoadedNotification>, StoreError> {
    match load(connection, wanted).await {
        Err(StoreError::Corrupt { .. }) => {}
        loaded => return loaded,
    }
    let mut all = Vec::with_capacity(wanted.len());
    for id in wanted {
        match load(connection, &[*id]).await {
            Ok(loaded) => all.extend(loaded),
            Err(StoreError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[derive(Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column, or says how a column is written"
)]
struct NotificationUpdateRow {
    id: HexUuid,
    engine: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<&'static str>,
    generation: i64,
    triggered: i64,
    replied: bool,
    insists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wake: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// Its secrets are not needed any more.
    wipe: bool,
    record: HexBytes,
    /// More than its record has changed.
    is_changed: bool,
    version: i64,
}

/// Whether the secrets of a message are not needed any more. A message that was given up may still
/// get a status and be retried: its secrets go when it expires.
fn is_over(state: &NotificationState, status: NotificationStatus) -> bool {
    status.is_final()
        && status != NotificationStatus::GaveUp
        && matches!(
            state.engine,
            NotificationEngineState::Settled
                | NotificationEngineState::Skipped
                | NotificationEngineState::Cancelled
                | NotificationEngineState::Expired
        )
}

/// The status of a notification that is not finished; `None` for the others.
pub const fn open_status(status: NotificationStatus) -> Option<&'static str> {
    match status.group() {
        StatusGroup::Pending => Some(status.name()),
        StatusGroup::Sent | StatusGroup::Failed | StatusGroup::NotSent => None,
    }
}

fn saved(
    loaded: &LoadedNotification,
    is_changed: bool,
    policy: &DeliveryPolicySettings,
) -> Result<NotificationUpdateRow, StoreError> {
    let state = &loaded.state;
    let status = state.status();
    Ok(NotificationUpdateRow {
        id: HexUuid(state.id),
        engine: stored_engine(state.engine),
        status: status.name(),
        open: open_status(status),
        generation: state.generation,
        triggered: state.triggered.mask(),
        replied: state.replied,
        insists: state.insists,
        reason: state.reason.clone(),
        failure: if status.group() == StatusGroup::Failed || status == NotificationStatus::Retrying
        {
            state
                .present_failure()
                .and_then(|failure| serde_json::to_string(failure).ok())
        } else {
            None
        },
        due: state.due_at.map(Timestamp::micros),
        wake: state.wake_at(policy).map(Timestamp::micros),
        lease: state.leased_until.map(Timestamp::micros),
        expires: state.expires_at.map(Timestamp::micros),
        wipe: is_over(state, status),
        record: HexBytes(loaded.written()?),
        is_changed,
        version: loaded.version,
    })
}

/// Saves what changed since `before`: notifications with their records, the lines for which a
/// record has no room, and what became known of calls.
///
/// The notification's version guards all of it: [`StoreError::Conflict`] if a concurrent
/// transaction has changed one since it was read.
pub async fn save(
    tx: &DatabaseTransaction,
    before: &[NotificationState],
    after: &mut [LoadedNotification],
    records: &[attempt::ProviderCallRecord],
    policy: &DeliveryPolicySettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    spill(tx, after).await?;
    let mut changed_rows: Vec<NotificationUpdateRow> = Vec::with_capacity(after.len());
    for (before, after) in before.iter().zip(after.iter()) {
        let is_changed =
            *before != after.state || after.state.wake_at(policy) != before.stored_wake_at;
        if is_changed || after.is_touched() {
            changed_rows.push(saved(after, is_changed, policy)?);
        }
    }
    if !changed_rows.is_empty() {
        let backend = tx.get_database_backend();
        let given = rows(
            backend,
            &[
                ("id", SqlListFieldType::Uuid),
                ("engine", SqlListFieldType::Text),
                ("status", SqlListFieldType::Text),
                ("open", SqlListFieldType::Text),
                ("generation", SqlListFieldType::Int),
                ("triggered", SqlListFieldType::Int),
                ("replied", SqlListFieldType::Bool),
                ("insists", SqlListFieldType::Bool),
                ("reason", SqlListFieldType::Text),
                ("failure", SqlListFieldType::Text),
                ("due", SqlListFieldType::Int),
                ("wake", SqlListFieldType::Int),
                ("lease", SqlListFieldType::Int),
                ("expires", SqlListFieldType::Int),
                ("wipe", SqlListFieldType::Bool),
                ("record", SqlListFieldType::Bytes),
                ("is_changed", SqlListFieldType::Bool),
                ("version", SqlListFieldType::Int),
            ],
        );
        let saved = execute(
            tx,
            format!(
                "UPDATE notification SET updated_at = CASE WHEN r.is_changed THEN $2 ELSE updated_at END, engine_state = r.engine, status = r.status, \
                 open_status = r.open, generation = r.generation, triggered = r.triggered, replied = r.replied, insists = r.insists, \
                 reason = r.reason, failure = r.failure, due_at = r.due, record = r.record, \
                 held_for = CASE WHEN r.due IS NULL AND r.engine IN ('held', 'queued') THEN held_for END, wake_at = r.wake, leased_until = r.lease, expires_at = r.expires, \
                 sealed = CASE WHEN r.wipe AND sealed IS NOT NULL THEN '' ELSE sealed END \
                 FROM {given} WHERE {} AND {} = r.version",
                by_key(backend, "notification.id", "r.id"),
                version(backend)
            ),
            [list(&changed_rows)?, now.micros().into()],
        )
        .await?;
        if usize::try_from(saved.rows_affected()).ok() != Some(changed_rows.len()) {
            return Err(StoreError::Conflict);
        }
    }
    for (before, after) in before.iter().zip(after.iter()) {
        if before.has_fallback && !after.state.has_fallback {
            insert::fall_back(tx, after.state.id).await?;
        }
    }
    let changed: Vec<(&NotificationState, &NotificationState)> = before
        .iter()
        .zip(after.iter().map(|after| &after.state))
        .collect();
    attempt::save(tx, &changed, records, now).await
}

/// Saves only the records of notifications that this transaction has locked, changed or made.
pub async fn save_records(
    tx: &DatabaseTransaction,
    after: &mut [LoadedNotification],
) -> Result<(), StoreError> {
    spill(tx, after).await?;
    let mut records = Vec::new();
    for loaded in after.iter().filter(|loaded| loaded.is_touched()) {
        records.push(NotificationRecordRow {
            id: HexUuid(loaded.state.id),
            record: HexBytes(loaded.written()?),
        });
    }
    write_records(tx, &records).await
}

/// Moves lines for which a record has no room into the table of the timeline.
async fn spill(
    tx: &DatabaseTransaction,
    after: &mut [LoadedNotification],
) -> Result<(), StoreError> {
    let mut spilled = Vec::new();
    for loaded in after.iter_mut().filter(|loaded| loaded.is_touched()) {
        let id = loaded.state.id;
        let lines = loaded.spilled()?;
        spilled.extend(lines.into_iter().map(|line| (id, line)));
    }
    timeline::insert(tx, &spilled).await
}

#[derive(Serialize)]
struct NotificationRecordRow {
    id: HexUuid,
    record: HexBytes,
}

async fn write_records(
    tx: &DatabaseTransaction,
    records: &[NotificationRecordRow],
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("record", SqlListFieldType::Bytes),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE notification SET record = r.record FROM {given} WHERE {}",
            by_key(backend, "notification.id", "r.id")
        ),
        [list(records)?],
    )
    .await?;
    Ok(())
}

/// An attempt about to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewAttempt<'a> {
    pub id: Uuid,
    pub claimed: &'a ClaimedNotification,
}

/// Commits attempts before their calls are made, each in the record of its notification.
pub async fn begin_attempts(
    tx: &DatabaseTransaction,
    new: &[NewAttempt<'_>],
    sender: Uuid,
    lease_token: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut records = Vec::with_capacity(new.len());
    for NewAttempt { id, claimed } in new {
        let corrupt = |_unreadable| record::corrupt(claimed.id);
        let stored = claimed.record.as_deref().unwrap_or_default();
        let mut record = NotificationRecord::read(stored, claimed.created_at).map_err(corrupt)?;
        record.attempts.push(AttemptState {
            id: *id,
            number: claimed.attempt_count,
            generation: claimed.generation,
            created_at: now,
            lease_token,
            sender_id: sender,
            outcome: None,
            message_id: AttemptMessageId::Unknown,
            facts: DeliveryFacts::default(),
            failure: None,
            pricing: None,
        });
        records.push(NotificationRecordRow {
            id: HexUuid(claimed.id),
            record: HexBytes(record.written(claimed.created_at).map_err(corrupt)?),
        });
    }
    write_records(tx, &records).await
}
