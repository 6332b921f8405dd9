//! Claim, send, settle.
//!
//! A claim commits an attempt for a free call slot; the request is written at
//! once; answers are settled in batches. A crash between the two leaves the
//! attempt without an answer, and its lease runs out.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Engine, apply,
    inbox::ErrorChain,
    transition::{self, Report, Step},
};
use crate::{
    domain::{
        failure::{Failure, FailureClass},
        notification::Change,
        outcome::Outcome,
        pace,
        phone::Phone,
        retry,
        template::Body,
        time::Timestamp,
        window,
    },
    providers::{Content, Exchange, Message, Provider, Update},
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, NewAttempt, Record},
        catalogue,
        dialect::Id,
        follow_up, new_id,
        notification::{self, Claimed},
        parked,
        people::{self, Alias},
        sender::{self, Health},
    },
};

/// A claimed attempt whose call is to be made now.
#[derive(Debug)]
pub struct Job {
    pub notification_id: Uuid,
    pub attempt_id: Uuid,
    contact_id: Option<Uuid>,
    /// What to send, or why nothing can be.
    message: Result<Message, Failure>,
}

/// A job whose call has come back.
#[derive(Debug)]
pub struct Answer {
    job: Job,
    exchange: Exchange,
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claim {
    pub jobs: Vec<Job>,
    /// When it is worth asking again, if the pace or a hold said no.
    pub again_at: Option<Timestamp>,
}

/// Whether a sender may send, and how many calls.
enum Permit {
    Calls(i64),
    NotBefore(Timestamp),
}

/// Takes up to `slots` due messages of a sender out of the queue and commits an
/// attempt for each.
pub async fn claim(
    engine: &Engine,
    sender: Uuid,
    slots: i64,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    if slots <= 0
        || notification::oldest_due(&engine.store, now)
            .await?
            .is_none()
    {
        return Ok(Claim::default());
    }
    let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
    // The pace is taken in a short transaction of its own: its row is shared by all processes.
    let permit = engine
        .store
        .write(async |tx| take_pace(tx, sender, slots, lease, now).await)
        .await?;
    let calls = match permit {
        Permit::Calls(calls) => calls,
        Permit::NotBefore(again_at) => {
            return Ok(Claim {
                jobs: Vec::new(),
                again_at: Some(again_at),
            });
        }
    };
    let (jobs, report) = engine
        .store
        .write(async |tx| claim_in(engine, tx, sender, calls, lease, now).await)
        .await?;
    report.publish(engine);
    Ok(Claim {
        jobs,
        again_at: None,
    })
}

async fn take_pace(
    tx: &DatabaseTransaction,
    id: Uuid,
    slots: i64,
    lease: Timestamp,
    now: Timestamp,
) -> Result<Permit, StoreError> {
    let Some(row) = sender::lock(tx, id).await? else {
        return Ok(Permit::NotBefore(now.plus_seconds(1)));
    };
    let mut wanted = slots;
    if row.state == "held" {
        let probe_at = row.probe_at.map_or(now, Timestamp::from_micros);
        if probe_at > now {
            return Ok(Permit::NotBefore(probe_at));
        }
        // One probe at a time: the next may go when this one's lease has run out.
        let health = Health {
            state: "held",
            reason: row.state_reason.clone(),
            failures_in_row: row.failures_in_row,
            probe_at: Some(lease),
        };
        sender::set_health(tx, id, &health, now).await?;
        wanted = 1;
    }
    let grant = pace::take(
        Timestamp::from_micros(row.pace_next_at),
        now,
        row.pace_per_second,
        wanted,
    );
    if grant.calls > 0 && row.pace_per_second > 0 {
        sender::set_pace(tx, id, grant.next_at).await?;
    }
    Ok(match grant.again_at {
        Some(again_at) => Permit::NotBefore(again_at),
        None => Permit::Calls(grant.calls),
    })
}

async fn claim_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sender: Uuid,
    calls: i64,
    lease: Timestamp,
    now: Timestamp,
) -> Result<(Vec<Job>, Report), StoreError> {
    let mut claimed = notification::claim(tx, sender, engine.process, lease, now, calls).await?;
    let mut report = Report::default();
    let children: Vec<Uuid> = claimed
        .iter()
        .filter(|claimed| claimed.follow_up_id.is_some())
        .map(|claimed| claimed.id)
        .collect();
    if !children.is_empty() {
        let overtaken = follow_up::overtaken(tx, &children).await?;
        let steps: Vec<Step> = overtaken
            .iter()
            .map(|id| Step::new(*id, Change::Overtaken))
            .collect();
        report = transition::run(engine, tx, &steps, now).await?;
        claimed.retain(|claimed| !overtaken.contains(&claimed.id));
    }
    let attempts: Vec<NewAttempt> = claimed
        .iter()
        .map(|claimed| NewAttempt {
            id: Id(new_id(now)),
            notification_id: Id(claimed.id),
            number: claimed.attempt_count,
            generation: claimed.generation,
        })
        .collect();
    if !attempts.is_empty() {
        attempt::insert(tx, &attempts, sender, engine.process, now).await?;
    }
    let mut jobs = Vec::with_capacity(claimed.len());
    let mut templates = Templates::default();
    for (claimed, attempt) in claimed.iter().zip(&attempts) {
        jobs.push(Job {
            notification_id: claimed.id,
            attempt_id: attempt.id.0,
            contact_id: claimed.contact_id,
            message: compose(tx, &mut templates, sender, claimed, attempt.id.0, now).await?,
        });
    }
    Ok((jobs, report))
}

/// Template bodies, read and taken apart once in a claim.
#[derive(Default)]
struct Templates {
    known: Vec<(String, Option<String>, Option<Arc<Prepared>>)>,
}

struct Prepared {
    language: String,
    named: bool,
    body: Result<Body, String>,
}

impl Templates {
    async fn get(
        &mut self,
        tx: &DatabaseTransaction,
        name: &str,
        language: Option<&str>,
    ) -> Result<Option<Arc<Prepared>>, StoreError> {
        if let Some((_, _, known)) = self
            .known
            .iter()
            .find(|(known, in_language, _)| known == name && in_language.as_deref() == language)
        {
            return Ok(known.clone());
        }
        let prepared = catalogue::template(tx, name, language).await?.map(|row| {
            Arc::new(Prepared {
                language: row.language,
                named: row.parameter_format == "NAMED",
                body: Body::parse(&row.body).map_err(|error| error.to_string()),
            })
        });
        self.known.push((
            name.to_owned(),
            language.map(str::to_owned),
            prepared.clone(),
        ));
        Ok(prepared)
    }
}

/// Writes the message at the moment of sending: the window and the template are
/// judged now, not when it was queued.
async fn compose(
    tx: &DatabaseTransaction,
    templates: &mut Templates,
    sender: Uuid,
    claimed: &Claimed,
    attempt_id: Uuid,
    now: Timestamp,
) -> Result<Result<Message, Failure>, StoreError> {
    let fix = |title: &str, meaning: &str, remedy: &str| Failure {
        class: FailureClass::FixRequest,
        ..Failure::ours(title, meaning, remedy)
    };
    let Some(to) = claimed
        .address
        .as_deref()
        .and_then(|address| Phone::parse(address).ok())
    else {
        return Ok(Err(fix(
            "no_address",
            "The recipient has no usable phone number.",
            "Give the contact a number in E.164.",
        )));
    };
    let sensitive = claimed.category == "authentication";
    if claimed.kind == "text" {
        let until = match claimed.contact_id {
            Some(contact) => people::window_until(tx, sender, contact).await?,
            None => None,
        };
        if !window::is_open(until, now) {
            return Ok(Err(Failure {
                class: FailureClass::NeedsTemplate,
                ..Failure::ours(
                    "window_closed",
                    "The person has not written in the last 24 hours: free text may not be sent.",
                    "Send a template, or wait until the person writes.",
                )
            }));
        }
        let body = claimed.body.clone().unwrap_or_default();
        return Ok(Ok(Message {
            attempt_id,
            to,
            content: Content::Text { body },
            sensitive,
        }));
    }
    let Some(prepared) = templates
        .get(tx, &claimed.template, claimed.language.as_deref())
        .await?
    else {
        return Ok(Err(fix(
            "template_unknown",
            "The catalogue has no template of this name any more.",
            "Apply the catalogue that has it, then retry.",
        )));
    };
    let body = match &prepared.body {
        Ok(body) => body,
        Err(error) => {
            return Ok(Err(fix(
                "template_unreadable",
                error,
                "Mend the template in its catalogue, then retry.",
            )));
        }
    };
    let params: Value = serde_json::from_str(&claimed.params).unwrap_or(Value::Null);
    match body.parameters(&params) {
        Ok(values) => {
            let names = body
                .expressions
                .iter()
                .map(|expression| prepared.named.then(|| expression.clone()));
            let content = Content::Template {
                name: claimed.template.clone(),
                language: prepared.language.clone(),
                parameters: names.zip(values).collect(),
            };
            Ok(Ok(Message {
                attempt_id,
                to,
                content,
                sensitive,
            }))
        }
        Err(error) => Ok(Err(fix(
            "parameters",
            &format!("The template cannot be filled: {error}."),
            "Mend the parameters, then send it anew.",
        ))),
    }
}

/// Makes the call of a job.
pub async fn call(provider: &dyn Provider, job: Job) -> Answer {
    let exchange = match &job.message {
        Ok(message) => provider.send(message).await,
        Err(failure) => Exchange {
            request: json!("no call was made"),
            http_status: None,
            answer: None,
            outcome: Outcome::Refused(failure.clone()),
        },
    };
    metrics::counter!("herald_sends_total", "outcome" => exchange.outcome.name()).increment(1);
    Answer { job, exchange }
}

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
    let mut steps = Vec::with_capacity(answers.len());
    for answer in answers {
        match &answer.exchange.outcome {
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
    let report = engine
        .store
        .write(async |tx| {
            let parked = parked::of(tx, &known).await?;
            let joined = join_parked(&parked, answers);
            let mut all = steps.clone();
            all.extend(joined);
            let report = transition::run(engine, tx, &all, now).await?;
            attempt::record(tx, &records, now).await?;
            parked::remove(
                tx,
                &parked.iter().map(|parked| parked.id).collect::<Vec<_>>(),
            )
            .await?;
            Ok(report)
        })
        .await?;
    report.publish(engine);
    learn_names(engine, answers, now).await?;
    note_health(
        engine,
        sender,
        in_a_row,
        before,
        good_answer,
        trouble,
        health.as_ref().map(|row| row.state.as_str()),
        now,
    )
    .await
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

/// Statuses that came before the answer, as changes of the attempts they are about.
fn join_parked(parked: &[parked::Parked], answers: &[Answer]) -> Vec<Step> {
    parked
        .iter()
        .filter_map(|parked| {
            let update: Update = serde_json::from_str(&parked.update).ok()?;
            let answer = answers.iter().find(|answer| {
                update.our_id == Some(answer.job.attempt_id)
                    || matches!(&answer.exchange.outcome, Outcome::Accepted { provider_message_id, .. }
                        if *provider_message_id == update.provider_message_id)
            })?;
            apply::update_step(&update, answer.job.notification_id, answer.job.attempt_id, parked.callback_id)
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
        .write(async |tx| people::learn_aliases(tx, &learned, now).await)
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
        .write(async |tx| sender::set_health(tx, sender, &health, now).await)
        .await
}

/// Claims, calls and settles once, one batch: for tests and for commands.
pub async fn turn(
    engine: &Engine,
    provider: &dyn Provider,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let slots = i64::try_from(engine.settings.send_slots).unwrap_or(1);
    let claim = claim(engine, sender, slots, now).await?;
    let answers =
        futures_util::future::join_all(claim.jobs.into_iter().map(|job| call(provider, job))).await;
    settle(engine, sender, &answers, jitter_permille, now).await?;
    Ok(answers.len())
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
