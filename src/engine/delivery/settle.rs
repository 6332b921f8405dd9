//! Stores the results of calls in batches.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    CompletedDeliveryJob, DeliveryJob,
    failure_effects::{self, FailedMessage},
    health::ProviderAnswerSummary,
    status_updates,
};
use crate::{
    domain::{
        access::AccessBounds, notification::NotificationChange, outcome::ProviderCallOutcome,
        time::Timestamp,
    },
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleChange},
        people::identity::{self, ReportedRecipient},
        runtime::send_waiters::SendResult,
    },
    error::ErrorChain,
    providers::{MessageStatusUpdate, ProviderExchange},
    store::{
        StoreError, attempt::ProviderCallRecord, dialect::HexUuid,
        identity::IdentityEvidenceSource, made_at, notification, parked, sender,
    },
};

/// Stores the results of calls, joins statuses that arrived before them, and updates the sender's
/// health.
pub async fn settle(
    engine: &Engine,
    sender: Uuid,
    answers: &[CompletedDeliveryJob],
    jitter_permille: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if answers.is_empty() {
        return Ok(());
    }
    // If everything was accepted, earlier failures do not affect the messages.
    let all_accepted = answers.iter().all(|answer| {
        matches!(
            answer.exchange.outcome,
            ProviderCallOutcome::Accepted { .. }
        )
    });
    let before = if all_accepted {
        0
    } else {
        let row = sender::find(engine.store.by_index(), sender).await?;
        row.map_or(0, |row| row.failures_in_row)
    };
    let mut seen = ProviderAnswerSummary::new(answers, before, now);
    let mut steps = Vec::with_capacity(answers.len());
    let may_resolve = engine.may_resolve(Some(sender));
    for answer in answers {
        seen.note(answer);
        steps.push(NotificationLifecycleChange {
            notification_id: answer.job.notification_id,
            change: NotificationChange::SendCompleted {
                attempt: answer.job.attempt_id,
                lease_token: engine.process,
                outcome: answer.exchange.outcome.clone(),
                may_resolve,
                provider_in_a_row: seen.in_a_row,
                jitter_permille,
            },
            attempt_id: Some(answer.job.attempt_id),
            callback_id: None,
            occurrence: None,
            provider_at: None,
            detail: describe(&answer.exchange),
        });
    }
    let records: Vec<ProviderCallRecord> = answers
        .iter()
        .map(|answer| ProviderCallRecord {
            id: HexUuid(answer.job.attempt_id),
            http_status: answer.exchange.http_status,
            request: answer.exchange.request.to_string(),
            answer: answer.exchange.answer.clone(),
        })
        .collect();
    let known: Vec<parked::KnownAttemptIds> = answers
        .iter()
        .map(|answer| parked::KnownAttemptIds {
            our_id: HexUuid(answer.job.attempt_id),
            message: match &answer.exchange.outcome {
                ProviderCallOutcome::Accepted {
                    provider_message_id,
                    ..
                } => Some(provider_message_id.clone()),
                ProviderCallOutcome::Refused(_)
                | ProviderCallOutcome::Unavailable { .. }
                | ProviderCallOutcome::Unknown { .. } => None,
            },
        })
        .collect();
    let ring = engine.keyring();
    let scope = ring
        .account(sender)
        .and_then(|account| account.account_id.clone())
        .unwrap_or_default();
    let report = engine
        .store
        .write(async |tx| {
            let mut parked = parked::of(tx, &known).await?;
            parked.retain(|parked| ring.speaks_for(parked.endpoint_id.as_deref(), sender));
            let joined = join_parked(&parked, answers);
            let mut all = steps.clone();
            all.extend(joined.iter().filter_map(|(update, job, callback)| {
                status_updates::step(update, job.notification_id, job.attempt_id, *callback)
            }));
            let report = lifecycle::run_recorded(engine, tx, &all, &records, now).await?;
            let matched: Vec<status_updates::MatchedStatusUpdate<'_>> = joined
                .iter()
                .map(
                    |(update, job, callback)| status_updates::MatchedStatusUpdate {
                        notification_id: job.notification_id,
                        attempt_id: job.attempt_id,
                        scope: &scope,
                        callback_id: *callback,
                        update,
                    },
                )
                .collect();
            status_updates::learn(engine, tx, &matched, &report, now).await?;
            for answer in answers {
                if let ProviderCallOutcome::Refused(failure) = &answer.exchange.outcome {
                    let about = FailedMessage {
                        sender,
                        contact: answer.job.contact_id,
                        recipient: recipient(answer),
                        scope: &scope,
                        template: answer.job.template(),
                    };
                    failure_effects::of_failure(engine, tx, about, failure, now, None, now).await?;
                }
            }
            parked::remove(
                tx,
                &parked.iter().map(|parked| parked.id).collect::<Vec<_>>(),
            )
            .await?;
            Ok(report)
        })
        .await?;
    report.publish(engine);
    tell(engine, answers, now).await;
    for answer in answers {
        say(answer);
    }
    learn_names(engine, &scope, answers, now).await;
    note_health(engine, sender, &seen, now).await
}

/// Notifies requests that wait for these notifications; the rows are read once for all of them. A
/// waiter that is not notified polls.
async fn tell(engine: &Engine, answers: &[CompletedDeliveryJob], now: Timestamp) {
    let ids = answers.iter().map(|answer| answer.job.notification_id);
    let wanted = engine.send_waiters.waited_for(ids);
    if wanted.is_empty() {
        return;
    }
    let rows = match notification::find_all(&engine.store, &AccessBounds::All, &wanted).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(event = "send.results_not_read", error = %ErrorChain(&error), "the results of a batch could not be read from the database: API requests that wait for them (`Prefer: wait`) look again themselves, nothing is lost");
            return;
        }
    };
    engine.send_waiters.tell(rows.into_iter().map(|row| {
        let accepted = answers.iter().any(|answer| {
            answer.job.notification_id == row.id
                && matches!(
                    answer.exchange.outcome,
                    ProviderCallOutcome::Accepted { .. }
                )
        });
        let accepted_at = accepted.then_some(now);
        (row.id, SendResult { row, accepted_at })
    }));
}

/// Updates the sender's health from the answers. Nothing waits for this; after a crash the next
/// answer repeats it.
async fn note_health(
    engine: &Engine,
    sender: Uuid,
    seen: &ProviderAnswerSummary<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(row) = sender::find(engine.store.by_index(), sender).await? else {
        return Ok(());
    };
    // Written once only: all processes share the sender's row.
    let reporting = engine.channel_of(Some(sender)).reporting();
    if seen.good_answer && reporting.is_expected() && row.unheard_since.is_none() {
        engine
            .store
            .write(async |tx| sender::expects(tx, sender, now).await)
            .await?;
    }
    seen.write(engine, &row, now).await
}

/// Logs one line per call: ids and codes, never a number or a text.
fn say(answer: &CompletedDeliveryJob) {
    let (notification, attempt) = (answer.job.notification_id, answer.job.attempt_id);
    match &answer.exchange.outcome {
        ProviderCallOutcome::Accepted { .. } => {
            tracing::info!(event = "send.accepted", notification.id = %notification, attempt.id = %attempt, "accepted by the provider");
        }
        ProviderCallOutcome::Refused(failure) => {
            tracing::error!(event = "send.refused", notification.id = %notification, attempt.id = %attempt, code = failure.code, "refused by the provider");
        }
        ProviderCallOutcome::Unavailable { reason } => {
            tracing::error!(event = "send.unavailable", notification.id = %notification, attempt.id = %attempt, reason, "the provider could not be reached: the message was not sent and waits for another attempt");
        }
        ProviderCallOutcome::Unknown { reason } => {
            tracing::error!(event = "send.unknown", notification.id = %notification, attempt.id = %attempt, reason, "send outcome unknown: the response was lost");
        }
    }
}

fn describe(exchange: &ProviderExchange) -> Option<Value> {
    match &exchange.outcome {
        ProviderCallOutcome::Accepted { .. } => None,
        ProviderCallOutcome::Refused(failure) => Some(
            json!({ "code": failure.code, "title": failure.title, "meaning": failure.meaning }),
        ),
        ProviderCallOutcome::Unavailable { reason } | ProviderCallOutcome::Unknown { reason } => {
            Some(json!({ "reason": reason }))
        }
    }
}

/// Parked statuses that belong to these answers, with their attempts.
fn join_parked<'a>(
    parked: &[parked::ParkedStatusUpdate],
    answers: &'a [CompletedDeliveryJob],
) -> Vec<(MessageStatusUpdate, &'a DeliveryJob, Uuid)> {
    parked
        .iter()
        .filter_map(|parked| {
            let update: MessageStatusUpdate = serde_json::from_str(&parked.update).ok()?;
            let answer = answers.iter().find(|answer| {
                update.our_id.is_some_and(|our_id| our_id.attempt == answer.job.attempt_id)
                    || matches!(&answer.exchange.outcome, ProviderCallOutcome::Accepted { provider_message_id, .. }
                        if *provider_message_id == update.provider_message_id)
            })?;
            Some((update, &answer.job, parked.callback_id))
        })
        .collect()
}

/// The recipient as the provider reports it for a call.
fn recipient(answer: &CompletedDeliveryJob) -> ReportedRecipient<'_> {
    let (wa_id, user_id) = match &answer.exchange.outcome {
        ProviderCallOutcome::Accepted { wa_id, user_id, .. } => {
            (wa_id.as_deref(), user_id.as_deref())
        }
        ProviderCallOutcome::Refused(_)
        | ProviderCallOutcome::Unavailable { .. }
        | ProviderCallOutcome::Unknown { .. } => (None, None),
    };
    ReportedRecipient {
        address: answer.job.message.as_ref().ok().map(|it| &it.to),
        wa_id,
        user_id,
        parent_user_id: None,
    }
}

/// Learns from the answer which user id and which form of the number belong to the recipient; never
/// guessed. Settling does not wait for it.
async fn learn_names(
    engine: &Engine,
    scope: &str,
    answers: &[CompletedDeliveryJob],
    now: Timestamp,
) {
    let sightings = answers
        .iter()
        .filter_map(|answer| {
            let at = made_at(answer.job.attempt_id);
            recipient(answer).sighting(scope, at, IdentityEvidenceSource::Answer)
        })
        .collect();
    if engine.pending_sightings.add(sightings, now) {
        // An error is logged inside, and the sightings are tried again later.
        drop(identity::learn_answered(engine, now).await);
    }
}

/// Settles with retries until the database accepts it: a dropped answer would become an unknown
/// outcome without need.
pub async fn settle_surely(
    engine: &Engine,
    sender: Uuid,
    answers: &[CompletedDeliveryJob],
    jitter_permille: i64,
    now: Timestamp,
) {
    for pause_millis in [50, 100, 200, 500, 1000, 2000, 5000, 5000, 5000, 5000] {
        match settle(engine, sender, answers, jitter_permille, now).await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(event = "send.settle_failed", error = %ErrorChain(&error), "send results could not be stored: retrying");
                tokio::time::sleep(std::time::Duration::from_millis(pause_millis)).await;
            }
        }
    }
    tracing::error!(
        event = "send.settle_lost",
        count = answers.len(),
        "send results could not be stored and are given up: the outcome of their attempts is unknown"
    );
}
