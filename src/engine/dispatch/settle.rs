//! What the calls brought is written down, in batches.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Job};
use crate::engine::{
    Engine,
    apply::{self, Told},
    inbox::ErrorChain,
    transition::{self, Step},
};
use crate::{
    domain::{
        failure::{Failure, FailureClass},
        notification::Change,
        outcome::Outcome,
        preference::{Scope, Wish},
        retry,
        time::Timestamp,
    },
    providers::{Exchange, Update},
    store::{
        StoreError,
        alias::{self, Alias},
        attempt::{self, Record},
        dialect::Id,
        made_at, parked,
        sender::{self, Health},
        suppression,
    },
};

/// Meta's code for a person who wants no marketing of this sender any more.
const OPTED_OUT: i64 = 131_050;

/// Writes down what the calls brought, joins statuses that came before, and
/// notes the provider's health.
pub async fn settle(
    engine: &Engine,
    sender: Uuid,
    answers: &[Answer],
    jitter_permille: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if answers.is_empty() {
        return Ok(());
    }
    let health = sender::find(engine.store.reader(), sender).await?;
    let before = health.as_ref().map_or(0, |row| row.failures_in_row);
    let mut in_a_row = before;
    let mut trouble: Option<&Failure> = None;
    let mut good_answer = false;
    // An attempt's id says when its call began.
    let began = answers
        .iter()
        .map(|answer| made_at(answer.job.attempt_id))
        .min()
        .unwrap_or(now);
    let mut steps = Vec::with_capacity(answers.len());
    for answer in answers {
        match &answer.exchange.outcome {
            // No call was made: it says nothing about the provider.
            _ if answer.job.message.is_err() => {}
            // Asked to slow down: no trouble, and no sign that trouble is over.
            Outcome::Refused(failure) if failure.class == FailureClass::Pace => {}
            outcome if outcome.is_provider_trouble() => in_a_row += 1,
            Outcome::Refused(failure)
                if matches!(failure.class, FailureClass::Token | FailureClass::Account) =>
            {
                trouble = Some(failure);
            }
            _ => {
                in_a_row = 0;
                good_answer = true;
            }
        }
        steps.push(Step {
            notification_id: answer.job.notification_id,
            change: Change::Answered {
                attempt: answer.job.attempt_id,
                lease_token: engine.process,
                outcome: answer.exchange.outcome.clone(),
                provider_in_a_row: in_a_row,
                jitter_permille,
            },
            attempt_id: Some(answer.job.attempt_id),
            callback_id: None,
            occurrence: None,
            provider_at: None,
            detail: describe(&answer.exchange),
        });
    }
    let records: Vec<Record> = answers
        .iter()
        .map(|answer| Record {
            id: Id(answer.job.attempt_id),
            http_status: answer.exchange.http_status,
            request: answer.exchange.request.to_string(),
            answer: answer.exchange.answer.clone(),
        })
        .collect();
    let known: Vec<parked::Known> = answers
        .iter()
        .map(|answer| parked::Known {
            our_id: Id(answer.job.attempt_id),
            message: match &answer.exchange.outcome {
                Outcome::Accepted {
                    provider_message_id,
                    ..
                } => Some(provider_message_id.clone()),
                Outcome::Refused(_) | Outcome::Unavailable { .. } | Outcome::Unknown { .. } => None,
            },
        })
        .collect();
    // Written once: a sender's row is everybody's.
    let expects = good_answer
        && health
            .as_ref()
            .is_some_and(|row| row.unheard_since.is_none());
    let report = engine
        .store
        .write(async |tx| {
            let parked = parked::of(tx, &known).await?;
            let joined = join_parked(&parked, answers);
            let mut all = steps.clone();
            all.extend(joined.iter().filter_map(|(update, job, callback)| {
                apply::update_step(update, job.notification_id, job.attempt_id, *callback)
            }));
            let report = transition::run(engine, tx, &all, now).await?;
            let told: Vec<Told<'_>> = joined
                .iter()
                .map(|(update, job, callback)| Told {
                    notification_id: job.notification_id,
                    callback_id: *callback,
                    update,
                })
                .collect();
            apply::learn(tx, &told, &report, now).await?;
            attempt::record(tx, &records, now).await?;
            if expects {
                sender::expects(tx, sender, now).await?;
            }
            for answer in answers {
                if let (Outcome::Refused(failure), Some(contact)) =
                    (&answer.exchange.outcome, answer.job.contact_id)
                    && failure.code == Some(OPTED_OUT)
                {
                    let wish = Wish {
                        scope: Scope::Marketing,
                        wanted: false,
                        source: "131050",
                        at: now,
                    };
                    suppression::set(tx, contact, &wish, None, now).await?;
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
    for answer in answers {
        say(answer);
    }
    learn_names(engine, answers, now).await?;
    note_health(
        engine,
        sender,
        in_a_row,
        before,
        good_answer,
        trouble,
        health.as_ref().map(|row| row.state.as_str()),
        began,
        now,
    )
    .await
}

/// One line for each call that was made: ids and codes, never a number or a text.
fn say(answer: &Answer) {
    let (notification, attempt) = (answer.job.notification_id, answer.job.attempt_id);
    match &answer.exchange.outcome {
        Outcome::Accepted { .. } => {
            tracing::info!(event = "send.accepted", notification.id = %notification, attempt.id = %attempt, "accepted by the provider");
        }
        Outcome::Refused(failure) => {
            tracing::error!(event = "send.refused", notification.id = %notification, attempt.id = %attempt, code = failure.code, "refused by the provider");
        }
        Outcome::Unavailable { reason } => {
            tracing::error!(event = "send.unavailable", notification.id = %notification, attempt.id = %attempt, reason, "the provider cannot be reached");
        }
        Outcome::Unknown { reason } => {
            tracing::error!(event = "send.unknown", notification.id = %notification, attempt.id = %attempt, reason, "nobody knows whether it was sent");
        }
    }
}

fn describe(exchange: &Exchange) -> Option<Value> {
    match &exchange.outcome {
        Outcome::Accepted { .. } => None,
        Outcome::Refused(failure) => Some(
            json!({ "code": failure.code, "title": failure.title, "meaning": failure.meaning }),
        ),
        Outcome::Unavailable { reason } | Outcome::Unknown { reason } => {
            Some(json!({ "reason": reason }))
        }
    }
}

/// Statuses that came before the answer, with the attempts they are about.
fn join_parked<'a>(
    parked: &[parked::Parked],
    answers: &'a [Answer],
) -> Vec<(Update, &'a Job, Uuid)> {
    parked
        .iter()
        .filter_map(|parked| {
            let update: Update = serde_json::from_str(&parked.update).ok()?;
            let answer = answers.iter().find(|answer| {
                update.our_id == Some(answer.job.attempt_id)
                    || matches!(&answer.exchange.outcome, Outcome::Accepted { provider_message_id, .. }
                        if *provider_message_id == update.provider_message_id)
            })?;
            Some((update, &answer.job, parked.callback_id))
        })
        .collect()
}

/// The `wa_id` is learned from the answer, never guessed.
async fn learn_names(
    engine: &Engine,
    answers: &[Answer],
    now: Timestamp,
) -> Result<(), StoreError> {
    let learned: Vec<(Uuid, Alias)> = answers
        .iter()
        .filter_map(
            |answer| match (&answer.exchange.outcome, answer.job.contact_id) {
                (
                    Outcome::Accepted {
                        wa_id: Some(wa_id), ..
                    },
                    Some(contact),
                ) => Some((
                    contact,
                    Alias {
                        kind: "wa_id",
                        value: wa_id.clone(),
                    },
                )),
                _ => None,
            },
        )
        .collect();
    if learned.is_empty() {
        return Ok(());
    }
    engine
        .store
        .write(async |tx| alias::learn(tx, &learned, now).await)
        .await
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one batch of answers says of a sender"
)]
async fn note_health(
    engine: &Engine,
    sender: Uuid,
    in_a_row: i64,
    before: i64,
    good_answer: bool,
    trouble: Option<&Failure>,
    state: Option<&str>,
    began: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let health = if let Some(failure) = trouble {
        Health {
            state: "held",
            reason: Some(format!(
                "{} (code {})",
                failure.meaning,
                failure.counted_as()
            )),
            failures_in_row: in_a_row,
            probe_at: Some(now.plus_seconds(60)),
        }
    } else if in_a_row >= retry::BREAKER_THRESHOLD {
        Health {
            state: "held",
            reason: Some("provider unavailable".to_owned()),
            failures_in_row: in_a_row,
            probe_at: Some(now.plus_micros(retry::probe_after_micros(in_a_row))),
        }
    } else if (good_answer && state == Some("held")) || in_a_row != before {
        Health {
            state: "active",
            reason: None,
            failures_in_row: in_a_row,
            probe_at: None,
        }
    } else {
        return Ok(());
    };
    if health.state == "held" && state != Some("held") {
        tracing::error!(event = "sender.held", sender.id = %sender, reason = health.reason.as_deref(), "the sender is held: its queue waits");
    }
    if health.state == "active" && state == Some("held") {
        tracing::info!(event = "sender.released", sender.id = %sender, "the sender can send again");
    }
    engine
        .store
        .write(async |tx| sender::set_health(tx, sender, &health, began, now).await)
        .await
}

/// Settles until the database takes it: an answer that is dropped would be an
/// unknown outcome for nothing.
pub async fn settle_surely(
    engine: &Engine,
    sender: Uuid,
    answers: &[Answer],
    jitter_permille: i64,
    now: Timestamp,
) {
    for pause_millis in [50, 100, 200, 500, 1000, 2000, 5000, 5000, 5000, 5000] {
        match settle(engine, sender, answers, jitter_permille, now).await {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(event = "send.settle_failed", error = %ErrorChain(&error), "answers could not be written down: trying again");
                tokio::time::sleep(std::time::Duration::from_millis(pause_millis)).await;
            }
        }
    }
    tracing::error!(
        event = "send.settle_lost",
        count = answers.len(),
        "answers were not written down: their attempts become unknown"
    );
}
