//! Saving notifications that were changed.

use sea_orm::{ConnectionTrait, DbBackend};
use serde::Serialize;

use super::{LoadedNotification, insert, open_status, version};
use crate::{
    domain::{
        failure::DeliveryFailure,
        notification::NotificationState,
        settings::DeliveryPolicySettings,
        status::{NotificationEngineState, NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, attempt,
        convert::stored_engine,
        dialect::{HexUuid, SqlListFieldType, by_key, execute, list, rows},
        list_bytes::{ListBytes, ListSlice},
        timeline,
    },
};

/// What a provider's status changes of a message that is on its way.
#[derive(Serialize)]
struct NotificationStatusRow {
    id: HexUuid,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<&'static str>,
    triggered: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wake: Option<i64>,
    /// Its secrets are not needed any more.
    wipe: bool,
    record: ListSlice,
    /// More than its record has changed.
    is_changed: bool,
    version: i64,
}

const STATUS_COLUMNS: [(&str, SqlListFieldType); 9] = [
    ("id", SqlListFieldType::Uuid),
    ("status", SqlListFieldType::Text),
    ("open", SqlListFieldType::Text),
    ("triggered", SqlListFieldType::Int),
    ("wake", SqlListFieldType::Int),
    ("wipe", SqlListFieldType::Bool),
    ("record", SqlListFieldType::Slice),
    ("is_changed", SqlListFieldType::Bool),
    ("version", SqlListFieldType::Int),
];

const SET_STATUS: &str = "updated_at = CASE WHEN r.is_changed THEN $3 ELSE updated_at END, status = r.status, open_status = r.open, \
     triggered = r.triggered, wake_at = r.wake, record = r.record, sealed = CASE WHEN r.wipe AND sealed IS NOT NULL THEN '' ELSE sealed END";

/// All that may change of a notification.
#[derive(Serialize)]
struct NotificationUpdateRow {
    #[serde(flatten)]
    status: NotificationStatusRow,
    engine: &'static str,
    generation: i64,
    replied: bool,
    insists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
}

/// Those that [`STATUS_COLUMNS`] has not.
const OTHER_COLUMNS: [(&str, SqlListFieldType); 9] = [
    ("engine", SqlListFieldType::Text),
    ("generation", SqlListFieldType::Int),
    ("replied", SqlListFieldType::Bool),
    ("insists", SqlListFieldType::Bool),
    ("reason", SqlListFieldType::Text),
    ("failure", SqlListFieldType::Text),
    ("due", SqlListFieldType::Int),
    ("lease", SqlListFieldType::Int),
    ("expires", SqlListFieldType::Int),
];

const SET_OTHERS: &str = "engine_state = r.engine, generation = r.generation, replied = r.replied, insists = r.insists, \
     reason = r.reason, failure = r.failure, due_at = r.due, leased_until = r.lease, expires_at = r.expires, \
     held_for = CASE WHEN r.due IS NULL AND r.engine IN ('held', 'queued') THEN held_for END";

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

/// Whether nothing has changed but what [`NotificationStatusRow`] holds. Most changes are such, and
/// a statement costs by the column.
fn is_status_only(before: &NotificationState, after: &NotificationState) -> bool {
    // All fields, so that a new one is not forgotten.
    let NotificationState {
        id: _,
        created_at: _,
        category: _,
        triggered: _,
        stored_wake_at: _,
        reporting: _,
        has_fallback: _,
        secrets: _,
        attempts: _,
        engine,
        generation,
        replied,
        insists,
        reason,
        failure,
        due_at,
        leased_until,
        expires_at,
    } = before;
    !matches!(
        engine,
        NotificationEngineState::Held | NotificationEngineState::Queued
    ) && *engine == after.engine
        && *generation == after.generation
        && *replied == after.replied
        && *insists == after.insists
        && *reason == after.reason
        && *due_at == after.due_at
        && *leased_until == after.leased_until
        && *expires_at == after.expires_at
        && failure.is_none()
        && shown_failure(after).is_none()
}

/// The failure that its row shows.
fn shown_failure(state: &NotificationState) -> Option<&DeliveryFailure> {
    let status = state.status();
    let is_shown = status.group() == StatusGroup::Failed || status == NotificationStatus::Retrying;
    state.present_failure().filter(|_| is_shown)
}

/// A notification that must be saved.
#[derive(Clone, Copy)]
struct ChangedNotification<'a> {
    after: &'a LoadedNotification,
    /// More than its record has changed.
    is_changed: bool,
    /// Nothing has changed but what [`NotificationStatusRow`] holds.
    is_status_only: bool,
}

impl<'a> ChangedNotification<'a> {
    fn of(
        before: &NotificationState,
        after: &'a LoadedNotification,
        policy: &DeliveryPolicySettings,
    ) -> Option<Self> {
        let is_changed =
            *before != after.state || after.state.wake_at(policy) != before.stored_wake_at;
        (is_changed || after.is_touched()).then(|| Self {
            after,
            is_changed,
            is_status_only: is_status_only(before, &after.state),
        })
    }

    fn row(
        self,
        policy: &DeliveryPolicySettings,
        bytes: &mut ListBytes,
    ) -> Result<NotificationStatusRow, StoreError> {
        let state = &self.after.state;
        let status = state.status();
        Ok(NotificationStatusRow {
            id: HexUuid(state.id),
            status: status.name(),
            open: open_status(status),
            triggered: state.triggered.mask(),
            wake: state.wake_at(policy).map(Timestamp::micros),
            wipe: is_over(state, status),
            record: bytes.add(&self.after.written()?)?,
            is_changed: self.is_changed,
            version: self.after.version,
        })
    }
}

fn whole_row(state: &NotificationState, status: NotificationStatusRow) -> NotificationUpdateRow {
    NotificationUpdateRow {
        status,
        engine: stored_engine(state.engine),
        generation: state.generation,
        replied: state.replied,
        insists: state.insists,
        reason: state.reason.clone(),
        failure: shown_failure(state).and_then(|failure| serde_json::to_string(failure).ok()),
        due: state.due_at.map(Timestamp::micros),
        lease: state.leased_until.map(Timestamp::micros),
        expires: state.expires_at.map(Timestamp::micros),
    }
}

/// Writes rows, each of which must have the version that it was read with.
async fn update<T: Serialize>(
    tx: &DatabaseTransaction,
    changed: &[T],
    bytes: ListBytes,
    columns: &[(&str, SqlListFieldType)],
    set: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if changed.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let written = execute(
        tx,
        format!(
            "UPDATE notification SET {set} FROM {} WHERE {} AND {} = r.version",
            rows(backend, columns),
            by_key(backend, "notification.id", "r.id"),
            version(backend)
        ),
        [list(changed)?, bytes.into(), now.micros().into()],
    )
    .await?;
    if usize::try_from(written.rows_affected()).ok() == Some(changed.len()) {
        Ok(())
    } else {
        Err(StoreError::Conflict)
    }
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
    let changed: Vec<ChangedNotification<'_>> = before
        .iter()
        .zip(after.iter())
        .filter_map(|(before, after)| ChangedNotification::of(before, after, policy))
        .collect();
    // Rows are locked in order of id by one statement: by two, processes could wait for each other.
    let is_split = tx.get_database_backend() == DbBackend::Sqlite
        || changed.iter().all(|changed| changed.is_status_only);
    let (mut statuses, mut others) = (Vec::with_capacity(changed.len()), Vec::new());
    let (mut of_statuses, mut of_others) = (ListBytes::default(), ListBytes::default());
    for changed in changed {
        if is_split && changed.is_status_only {
            statuses.push(changed.row(policy, &mut of_statuses)?);
        } else {
            let row = changed.row(policy, &mut of_others)?;
            others.push(whole_row(&changed.after.state, row));
        }
    }
    update(tx, &statuses, of_statuses, &STATUS_COLUMNS, SET_STATUS, now).await?;
    let columns = [STATUS_COLUMNS, OTHER_COLUMNS].concat();
    let set = format!("{SET_STATUS}, {SET_OTHERS}");
    update(tx, &others, of_others, &columns, &set, now).await?;
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
    let (mut records, mut bytes) = (Vec::new(), ListBytes::default());
    for loaded in after.iter().filter(|loaded| loaded.is_touched()) {
        records.push(NotificationRecordRow {
            id: HexUuid(loaded.state.id),
            record: bytes.add(&loaded.written()?)?,
        });
    }
    write_records(tx, &records, bytes).await
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
pub(super) struct NotificationRecordRow {
    pub(super) id: HexUuid,
    pub(super) record: ListSlice,
}

pub(super) async fn write_records(
    tx: &DatabaseTransaction,
    records: &[NotificationRecordRow],
    bytes: ListBytes,
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("record", SqlListFieldType::Slice),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE notification SET record = r.record FROM {given} WHERE {}",
            by_key(backend, "notification.id", "r.id")
        ),
        [list(records)?, bytes.into()],
    )
    .await?;
    Ok(())
}
