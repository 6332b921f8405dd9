//! Attempts: one row a call that came back, with its request and answer, found by the provider's
//! id of the message. Its facts are in the row of its notification.

use entity::{attempt, notification};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{HexUuid, SqlListFieldType, column, execute, list, matching, query, rows},
    notification::NotificationRecord,
};
use crate::{
    domain::{
        notification::{AttemptMessageId, AttemptState, NotificationState},
        outcome::AttemptOutcome,
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// A question: which attempt is this?
#[derive(Clone, Debug, Serialize)]
pub struct AttemptLookup {
    /// Position in the caller's list.
    pub position: usize,
    pub our_id: Option<HexUuid>,
    pub message: String,
}

/// Where an attempt was found.
#[derive(Clone, Copy, Debug)]
pub struct AttemptMatch {
    pub position: usize,
    pub attempt_id: Uuid,
    pub notification_id: Uuid,
    pub sender_id: Uuid,
}

/// Finds attempts by our id, else by the provider's message id. One that was not answered yet is
/// not found: only its notification has it.
pub async fn find(
    tx: &DatabaseTransaction,
    wanted: &[AttemptLookup],
) -> Result<Vec<AttemptMatch>, StoreError> {
    let backend = tx.get_database_backend();
    let mut found = Vec::with_capacity(wanted.len());
    let by_our_id: Vec<&AttemptLookup> = wanted
        .iter()
        .filter(|lookup| lookup.our_id.is_some())
        .collect();
    if !by_our_id.is_empty() {
        let given = rows(
            backend,
            &[
                ("position", SqlListFieldType::Int),
                ("our_id", SqlListFieldType::Uuid),
            ],
        );
        let ours = matching(backend, &given, "attempt", "a", "a.id = r.our_id");
        let answer = query(
            tx,
            format!("SELECT r.position, a.id, a.notification_id, a.sender_id FROM {ours}"),
            [list(&by_our_id)?],
        )
        .await?;
        read_found(&answer, &mut found)?;
    }
    let known: std::collections::HashSet<usize> =
        found.iter().map(|found| found.position).collect();
    let by_message: Vec<&AttemptLookup> = wanted
        .iter()
        .filter(|lookup| !known.contains(&lookup.position))
        .collect();
    if !by_message.is_empty() {
        let given = rows(
            backend,
            &[
                ("position", SqlListFieldType::Int),
                ("message", SqlListFieldType::Text),
            ],
        );
        let known = matching(
            backend,
            &given,
            "attempt",
            "a",
            "a.provider_message_id = r.message",
        );
        let answer = query(
            tx,
            format!("SELECT r.position, a.id, a.notification_id, a.sender_id FROM {known}"),
            [list(&by_message)?],
        )
        .await?;
        read_found(&answer, &mut found)?;
    }
    Ok(found)
}

fn read_found(answer: &[QueryResult], found: &mut Vec<AttemptMatch>) -> Result<(), StoreError> {
    for row in answer {
        let position: i64 = column(row, "position")?;
        found.push(AttemptMatch {
            position: usize::try_from(position).unwrap_or(usize::MAX),
            attempt_id: column(row, "id")?,
            notification_id: column(row, "notification_id")?,
            sender_id: column(row, "sender_id")?,
        });
    }
    Ok(())
}

/// The record of a call, for the audit.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderCallRecord {
    #[serde(skip)]
    pub id: HexUuid,
    pub http_status: Option<u16>,
    pub request: String,
    pub answer: Option<String>,
}

#[derive(Serialize)]
struct AttemptRow<'a> {
    id: HexUuid,
    notification_id: HexUuid,
    sender_id: HexUuid,
    number: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<AttemptOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(flatten)]
    record: Option<&'a ProviderCallRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<i64>,
}

/// Stores what became known of calls: their outcomes, the provider's ids of their messages, and
/// their records, which are kept however late they come.
pub(super) async fn save(
    tx: &DatabaseTransaction,
    changed: &[(&NotificationState, &NotificationState)],
    records: &[ProviderCallRecord],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut described: Vec<AttemptRow<'_>> = Vec::new();
    for (before, after) in changed {
        for attempt in &after.attempts {
            let record = records.iter().find(|record| record.id.0 == attempt.id);
            // The message id has an index that most callbacks need not touch.
            let is_known = before.attempts.iter().any(|known| {
                known.id == attempt.id
                    && known.outcome == attempt.outcome
                    && known.message_id == attempt.message_id
            });
            if is_known && record.is_none() {
                continue;
            }
            described.push(AttemptRow {
                id: HexUuid(attempt.id),
                notification_id: HexUuid(after.id),
                sender_id: HexUuid(attempt.sender_id),
                number: attempt.number,
                outcome: attempt.outcome,
                message: match &attempt.message_id {
                    AttemptMessageId::New(id) => Some(id),
                    AttemptMessageId::Unknown | AttemptMessageId::Stored => None,
                },
                record,
                answered: record.map(|_| now.micros()),
            });
        }
    }
    if described.is_empty() {
        return Ok(());
    }
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("notification_id", SqlListFieldType::Uuid),
            ("sender_id", SqlListFieldType::Uuid),
            ("number", SqlListFieldType::Int),
            ("outcome", SqlListFieldType::Text),
            ("message", SqlListFieldType::Text),
            ("http_status", SqlListFieldType::Int),
            ("request", SqlListFieldType::Text),
            ("answer", SqlListFieldType::Text),
            ("answered", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO attempt (id, notification_id, sender_id, number, outcome, provider_message_id, http_status, request, answer, answered_at) \
             SELECT r.id, r.notification_id, r.sender_id, r.number, r.outcome, r.message, r.http_status, r.request, r.answer, r.answered \
             FROM {given} WHERE true ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, \
             provider_message_id = coalesce(excluded.provider_message_id, attempt.provider_message_id), \
             http_status = coalesce(excluded.http_status, attempt.http_status), request = coalesce(excluded.request, attempt.request), \
             answer = coalesce(excluded.answer, attempt.answer), answered_at = coalesce(excluded.answered_at, attempt.answered_at)"
        ),
        [list(&described)?],
    )
    .await?;
    Ok(())
}

/// An attempt with the record of its call, if that came back.
#[derive(Clone, Debug)]
pub struct AttemptDetails {
    pub state: AttemptState,
    pub call: Option<attempt::Model>,
}

/// The attempts of one notification, first to last.
pub async fn of_notification(
    store: &Store,
    row: &notification::Model,
) -> Result<Vec<AttemptDetails>, StoreError> {
    let calls = attempt::Entity::find()
        .filter(attempt::Column::NotificationId.eq(row.id))
        .all(store.reader())
        .await?;
    let mut attempts = NotificationRecord::of(row)?.attempts;
    attempts.sort_by_key(|attempt| attempt.number);
    Ok(attempts
        .into_iter()
        .map(|state| AttemptDetails {
            call: calls.iter().find(|call| call.id == state.id).cloned(),
            state,
        })
        .collect())
}
