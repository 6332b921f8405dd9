//! Notifications: loading them for a change, saving changes, the queue, and lists.

mod held;
mod insert;
mod queue;
mod search;
mod waiting;

pub use held::{QueueHoldCause, any_held, any_to_hold, hold, release};
pub use insert::{FallbackTemplate, NewNotification, fresh_state, insert};
pub use queue::{
    ClaimedMessageDelay, ClaimedNotification, LANES, QueueClaimOrder, QueueSenderScope, answerable,
    any_woken, await_open_calls, claim, count_due, delay, extend, oldest_due, woken,
};
pub use search::{
    NotificationListFilter, find, find_all, in_transaction, of_request, open_counts, read_failure,
    search,
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
        HexUuid, SqlListFieldType, by_key, execute, ids, list, locking, matching, query, read_row,
        rows,
    },
};
use crate::{
    domain::{
        category::MessageCategory,
        notification::{MessageSecretsState, NotificationState},
        settings::DeliveryPolicySettings,
        status::{NotificationEngineState, NotificationStatus, StatusGroup},
        time::Timestamp,
        transition::NotificationTransitionSet,
    },
    store::DatabaseTransaction,
};

/// The immutable properties of a notification that counters and follow-ups need.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct NotificationFacets {
    pub sender_id: Option<Uuid>,
    pub channel: String,
    pub template: String,
    pub event_type: Option<String>,
    pub language: Option<String>,
    pub depth: i64,
    pub contact_id: Option<Uuid>,
    pub address: Option<String>,
    pub product: Option<String>,
}

/// A notification as it was read in order to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedNotification {
    pub state: NotificationState,
    pub facets: NotificationFacets,
    /// The row's version when it was read: what [`save`] insists on.
    pub version: i64,
}

const LOADED: &str = "notification.id, notification.created_at, notification.category, notification.engine_state, notification.generation, notification.triggered, notification.replied, notification.insists, notification.reason, \
     notification.failure, notification.due_at, notification.leased_until, notification.expires_at, notification.wake_at, notification.sender_id, notification.channel, notification.template, notification.event_type, notification.language, notification.depth, notification.contact_id, notification.address, notification.product, notification.fallback IS NOT NULL AS has_fallback, coalesce(notification.sealed = '', false) AS is_wiped";

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
    Ok(LoadedNotification {
        state: NotificationState {
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
            attempts: Vec::new(),
        },
        facets: stored.facets,
        version: stored.version,
    })
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

/// Loads notifications with their attempts, in order of id. After a lock it is a
/// statement of its own: another process may have added facts until then.
pub async fn load(
    connection: &impl ConnectionTrait,
    wanted: &[Uuid],
) -> Result<Vec<LoadedNotification>, StoreError> {
    let backend = connection.get_database_backend();
    let given = rows(backend, &[("id", SqlListFieldType::Uuid)]);
    let found = query(
        connection,
        format!(
            "SELECT {LOADED}, {} AS version, {} FROM {given} JOIN notification ON {} LEFT JOIN attempt a ON {}",
            version(backend),
            attempt::STATE,
            by_key(backend, "notification.id", "r.id"),
            by_key(backend, "a.notification_id", "notification.id"),
        ),
        [ids(wanted.iter().copied())?],
    )
    .await?;
    let mut all: Vec<LoadedNotification> = Vec::with_capacity(wanted.len());
    for row in &found {
        let notification = loaded(row)?;
        let attempt = attempt::read(row)?;
        // The attempts of one notification come one after the other.
        match all.last_mut() {
            Some(last) if last.state.id == notification.state.id => {
                last.state.attempts.extend(attempt);
            }
            _ => {
                all.push(notification);
                if let Some(last) = all.last_mut() {
                    last.state.attempts.extend(attempt);
                }
            }
        }
    }
    all.sort_by_key(|loaded| loaded.state.id);
    // Should a plan ever mix them, they are brought together here.
    all.dedup_by(|later, first| {
        let same = later.state.id == first.state.id;
        if same {
            first.state.attempts.append(&mut later.state.attempts);
        }
        same
    });
    for loaded in &mut all {
        loaded.state.attempts.sort_by_key(|attempt| attempt.number);
    }
    Ok(all)
}

#[derive(Serialize)]
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
    state: &NotificationState,
    version: i64,
    policy: &DeliveryPolicySettings,
) -> NotificationUpdateRow {
    let status = state.status();
    NotificationUpdateRow {
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
        version,
    }
}

/// Saves what changed since `before`, notifications first, then their attempts.
///
/// Every change of an attempt comes with one of its notification, so the notification's version
/// guards both: [`StoreError::Conflict`] if a concurrent transaction has changed one since it was
/// read.
pub async fn save(
    tx: &DatabaseTransaction,
    before: &[NotificationState],
    after: &[LoadedNotification],
    records: &[attempt::ProviderCallRecord],
    policy: &DeliveryPolicySettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed_rows: Vec<NotificationUpdateRow> = before
        .iter()
        .zip(after)
        .filter(|(before, after)| {
            *before != &after.state || after.state.wake_at(policy) != before.stored_wake_at
        })
        .map(|(_, after)| saved(&after.state, after.version, policy))
        .collect();
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
                ("version", SqlListFieldType::Int),
            ],
        );
        let saved = execute(
            tx,
            format!(
                "UPDATE notification SET updated_at = $2, engine_state = r.engine, status = r.status, \
                 open_status = r.open, generation = r.generation, triggered = r.triggered, replied = r.replied, insists = r.insists, \
                 reason = r.reason, failure = r.failure, due_at = r.due, \
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
    for (before, after) in before.iter().zip(after) {
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
