//! Attempts: one row a call, committed before the call is made.

use entity::attempt;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QueryResult,
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Store, StoreError,
    dialect::{
        HexUuid, SqlListFieldType, by_key, column, execute, list, matching, nullable, query,
        read_row, rows,
    },
};
use crate::{
    domain::{
        facts::{DeliveryFact, DeliveryFactTime, DeliveryFacts},
        notification::{AttemptState, NotificationState},
        outcome::AttemptOutcome,
        time::Timestamp,
    },
    store::DatabaseTransaction,
};

/// The columns [`read`] takes, of an attempt named `a` that may be missing. Those that its
/// notification has as well have names of their own.
pub(super) const STATE: &str = "a.id AS attempt_id, a.number, a.generation AS attempt_generation, a.created_at AS attempt_created_at, \
     a.lease_token, a.sender_id AS attempt_sender_id, a.outcome, a.provider_message_id, a.implied, a.failure AS attempt_failure, a.pricing, a.accepted_at, a.sent_at, a.delivered_at, a.read_at, \
     a.played_at, a.failed_at";

/// The columns of [`STATE`] that hold their values as they are.
#[derive(FromQueryResult)]
struct AttemptRow {
    number: i64,
    attempt_generation: i64,
    attempt_created_at: Timestamp,
    lease_token: Uuid,
    attempt_sender_id: Uuid,
    outcome: Option<String>,
    provider_message_id: Option<String>,
    implied: i64,
    attempt_failure: Option<String>,
    pricing: Option<String>,
    accepted_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
    read_at: Option<Timestamp>,
    played_at: Option<Timestamp>,
    failed_at: Option<Timestamp>,
}

impl AttemptRow {
    const fn at(&self, fact: DeliveryFact) -> Option<Timestamp> {
        match fact {
            DeliveryFact::Accepted => self.accepted_at,
            DeliveryFact::Sent => self.sent_at,
            DeliveryFact::Delivered => self.delivered_at,
            DeliveryFact::Read => self.read_at,
            DeliveryFact::Played => self.played_at,
            DeliveryFact::Failed => self.failed_at,
        }
    }
}

/// Reads an attempt out of the columns of [`STATE`]; none, when the notification has none yet.
pub(super) fn read(row: &QueryResult) -> Result<Option<AttemptState>, StoreError> {
    let Some(id) = nullable::<Uuid>(row, "attempt_id")? else {
        return Ok(None);
    };
    let stored: AttemptRow = read_row(row)?;
    let corrupt = |column| StoreError::Corrupt {
        table: "attempt",
        row: id.to_string(),
        column,
    };
    let outcome = stored
        .outcome
        .as_deref()
        .map(|word| AttemptOutcome::parse(word).ok_or_else(|| corrupt("outcome")))
        .transpose()?;
    let mut facts = DeliveryFacts::default();
    for fact in DeliveryFact::ALL {
        let known = stored.at(fact).map(|at| DeliveryFactTime {
            at,
            implied: DeliveryFacts::is_implied_in(stored.implied, fact),
        });
        facts.restore(fact, known);
    }
    let failure = stored
        .attempt_failure
        .map(|json| serde_json::from_str(&json).map_err(|_unreadable| corrupt("failure")))
        .transpose()?;
    let pricing = stored
        .pricing
        .map(|json| serde_json::from_str(&json).map_err(|_unreadable| corrupt("pricing")))
        .transpose()?;
    Ok(Some(AttemptState {
        id,
        number: stored.number,
        generation: stored.attempt_generation,
        created_at: stored.attempt_created_at,
        lease_token: stored.lease_token,
        sender_id: stored.attempt_sender_id,
        outcome,
        provider_message_id: stored.provider_message_id,
        facts,
        failure,
        pricing,
    }))
}

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

/// Finds attempts by our id, else by the provider's message id.
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

/// An attempt about to be made.
#[derive(Clone, Debug, Serialize)]
pub struct NewAttempt {
    pub id: HexUuid,
    pub notification_id: HexUuid,
    pub number: i64,
    pub generation: i64,
}

/// Commits attempts before their calls are made.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewAttempt],
    sender: Uuid,
    lease_token: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let given = rows(
        tx.get_database_backend(),
        &[
            ("id", SqlListFieldType::Uuid),
            ("notification_id", SqlListFieldType::Uuid),
            ("number", SqlListFieldType::Int),
            ("generation", SqlListFieldType::Int),
        ],
    );
    execute(
        tx,
        format!(
            "INSERT INTO attempt (id, created_at, notification_id, number, generation, sender_id, lease_token, implied) \
             SELECT r.id, $2, r.notification_id, r.number, r.generation, $3, $4, 0 FROM {given}"
        ),
        [list(new)?, now.micros().into(), sender.into(), lease_token.into()],
    )
    .await?;
    Ok(())
}

#[derive(Serialize)]
struct AttemptFactsRow {
    id: HexUuid,
    implied: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pricing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    played: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<i64>,
}

/// Written once for an attempt, when its answer arrives.
#[derive(Serialize)]
struct AttemptAnswerRow<'a> {
    #[serde(flatten)]
    facts: AttemptFactsRow,
    outcome: Option<AttemptOutcome>,
    message: Option<&'a str>,
    #[serde(flatten)]
    record: Option<&'a ProviderCallRecord>,
    answered: Option<i64>,
}

const FACTS: [(&str, SqlListFieldType); 10] = [
    ("id", SqlListFieldType::Uuid),
    ("implied", SqlListFieldType::Int),
    ("failure", SqlListFieldType::Text),
    ("pricing", SqlListFieldType::Text),
    ("accepted", SqlListFieldType::Int),
    ("sent", SqlListFieldType::Int),
    ("delivered", SqlListFieldType::Int),
    ("read_time", SqlListFieldType::Int),
    ("played", SqlListFieldType::Int),
    ("failed", SqlListFieldType::Int),
];

const SET_FACTS: &str = "implied = r.implied, failure = r.failure, pricing = r.pricing, accepted_at = r.accepted, sent_at = r.sent, \
     delivered_at = r.delivered, read_at = r.read_time, played_at = r.played, failed_at = r.failed";

/// Saves the attempts that changed, and stores request and response of those that have a record.
pub(super) async fn save(
    tx: &DatabaseTransaction,
    changed: &[(&NotificationState, &NotificationState)],
    records: &[ProviderCallRecord],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut told: Vec<AttemptFactsRow> = Vec::new();
    let mut answered: Vec<AttemptAnswerRow<'_>> = Vec::new();
    for (before, after) in changed {
        for attempt in &after.attempts {
            if before.attempts.contains(attempt) {
                continue;
            }
            let facts = facts_of(attempt);
            let record = records.iter().find(|record| record.id.0 == attempt.id);
            // The message id has an index that most callbacks need not touch.
            let named = before.attempts.iter().any(|known| {
                known.id == attempt.id
                    && known.outcome == attempt.outcome
                    && known.provider_message_id == attempt.provider_message_id
            });
            if named && record.is_none() {
                told.push(facts);
            } else {
                answered.push(AttemptAnswerRow {
                    facts,
                    outcome: attempt.outcome,
                    message: attempt.provider_message_id.as_deref(),
                    record,
                    answered: record.map(|_| now.micros()),
                });
            }
        }
    }
    let backend = tx.get_database_backend();
    let of_the_list = by_key(backend, "attempt.id", "r.id");
    if !told.is_empty() {
        let given = rows(backend, &FACTS);
        execute(
            tx,
            format!("UPDATE attempt SET {SET_FACTS} FROM {given} WHERE {of_the_list}"),
            [list(&told)?],
        )
        .await?;
    }
    if !answered.is_empty() {
        let given = rows(
            backend,
            &[
                &FACTS[..],
                &[
                    ("outcome", SqlListFieldType::Text),
                    ("message", SqlListFieldType::Text),
                    ("http_status", SqlListFieldType::Int),
                    ("request", SqlListFieldType::Text),
                    ("answer", SqlListFieldType::Text),
                    ("answered", SqlListFieldType::Int),
                ],
            ]
            .concat(),
        );
        execute(
            tx,
            format!(
                "UPDATE attempt SET {SET_FACTS}, outcome = r.outcome, provider_message_id = r.message, \
                 http_status = coalesce(r.http_status, attempt.http_status), request = coalesce(r.request, attempt.request), \
                 answer = coalesce(r.answer, attempt.answer), answered_at = coalesce(r.answered, attempt.answered_at) \
                 FROM {given} WHERE {of_the_list}"
            ),
            [list(&answered)?],
        )
        .await?;
    }
    // Records that came too late to change anything are stored all the same.
    let rest: Vec<&ProviderCallRecord> = records
        .iter()
        .filter(|record| answered.iter().all(|row| row.facts.id.0 != record.id.0))
        .collect();
    record(tx, &rest, now).await
}

fn facts_of(attempt: &AttemptState) -> AttemptFactsRow {
    let at = |fact| attempt.facts.get(fact).map(|known| known.at.micros());
    AttemptFactsRow {
        id: HexUuid(attempt.id),
        implied: attempt.facts.implied_mask(),
        failure: attempt
            .failure
            .as_ref()
            .and_then(|failure| serde_json::to_string(failure).ok()),
        pricing: attempt
            .pricing
            .as_ref()
            .and_then(|pricing| serde_json::to_string(pricing).ok()),
        accepted: at(DeliveryFact::Accepted),
        sent: at(DeliveryFact::Sent),
        delivered: at(DeliveryFact::Delivered),
        read_time: at(DeliveryFact::Read),
        played: at(DeliveryFact::Played),
        failed: at(DeliveryFact::Failed),
    }
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

/// Stores request and response.
async fn record(
    tx: &DatabaseTransaction,
    records: &[&ProviderCallRecord],
    now: Timestamp,
) -> Result<(), StoreError> {
    #[derive(Serialize)]
    struct ProviderCallRow<'a> {
        id: HexUuid,
        #[serde(flatten)]
        record: &'a ProviderCallRecord,
    }
    if records.is_empty() {
        return Ok(());
    }
    let described: Vec<ProviderCallRow<'_>> = records
        .iter()
        .map(|record| ProviderCallRow {
            id: record.id,
            record,
        })
        .collect();
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("http_status", SqlListFieldType::Int),
            ("request", SqlListFieldType::Text),
            ("answer", SqlListFieldType::Text),
        ],
    );
    execute(
        tx,
        format!(
            "UPDATE attempt SET http_status = r.http_status, request = r.request, answer = r.answer, answered_at = $2 \
             FROM {given} WHERE {}",
            by_key(backend, "attempt.id", "r.id")
        ),
        [list(&described)?, now.micros().into()],
    )
    .await?;
    Ok(())
}

/// The attempts of one notification, first to last.
pub async fn of_notification(
    store: &Store,
    notification: Uuid,
) -> Result<Vec<attempt::Model>, StoreError> {
    Ok(attempt::Entity::find()
        .filter(attempt::Column::NotificationId.eq(notification))
        .order_by_asc(attempt::Column::Number)
        .all(store.reader())
        .await?)
}
