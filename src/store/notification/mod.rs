//! Notifications: loading them for a change, saving changes, the queue, and lists.

mod held;
mod insert;
mod loaded;
mod queue;
mod record;
mod replies;
mod save;
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
use save::{NotificationRecordRow, write_records};
pub use save::{save, save_records};
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
use uuid::Uuid;

use super::{
    StoreError,
    convert::engine,
    dialect::{HexUuid, SqlListFieldType, by_key, ids, locking, matching, query, read_row, rows},
    list_bytes::ListBytes,
};
use crate::{
    domain::{
        category::MessageCategory,
        channel::DeliveryReporting,
        facts::DeliveryFacts,
        notification::{AttemptMessageId, AttemptState, MessageSecretsState, NotificationState},
        status::{NotificationStatus, StatusGroup},
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
        reporting: DeliveryReporting::of(&stored.facets.channel),
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

/// The status of a notification that is not finished; `None` for the others.
pub const fn open_status(status: NotificationStatus) -> Option<&'static str> {
    match status.group() {
        StatusGroup::Pending => Some(status.name()),
        StatusGroup::Sent | StatusGroup::Failed | StatusGroup::NotSent => None,
    }
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
    let mut bytes = ListBytes::default();
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
        let record = record.written(claimed.created_at).map_err(corrupt)?;
        records.push(NotificationRecordRow {
            id: HexUuid(claimed.id),
            record: bytes.add(&record)?,
        });
    }
    write_records(tx, &records, bytes).await
}
