//! Claim, send, settle.
//!
//! A claim commits an attempt for a free call slot; the request is written at
//! once; answers are settled in batches. A crash between the two leaves the
//! attempt without an answer, and its lease runs out.

mod compose;
mod gate;
mod settle;

use compose::{Templates, compose};
pub use gate::{Sendable, sendable};
pub use settle::{settle, settle_surely};

use serde_json::json;
use uuid::Uuid;

use super::{
    Engine,
    transition::{self, Report, Step},
};
use crate::{
    domain::{failure::Failure, notification::Change, outcome::Outcome, pace, time::Timestamp},
    providers::{Exchange, Message, Provider},
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, NewAttempt},
        dialect::Id,
        follow_up, new_id, notification,
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
    /// How many were taken, those that were held back included.
    pub taken: usize,
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
    // The pace is charged for what will be sent, not for every free slot.
    let slots = notification::count_due(&engine.store, now, slots).await?;
    if slots <= 0 {
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
                taken: 0,
                again_at: Some(again_at),
            });
        }
    };
    let (jobs, taken, report) = engine
        .store
        .write(async |tx| claim_in(engine, tx, sender, calls, lease, now).await)
        .await?;
    report.publish(engine);
    Ok(Claim {
        jobs,
        taken,
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
        sender::set_health(tx, id, &health, now, now).await?;
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
) -> Result<(Vec<Job>, usize, Report), StoreError> {
    let mut claimed = notification::claim(tx, sender, engine.process, lease, now, calls).await?;
    let taken = claimed.len();
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
    let account = sender::find(tx, sender).await?.and_then(|row| row.waba_id);
    let (withheld, never) =
        gate::hold_back(engine, tx, account.as_deref(), &mut claimed, now).await?;
    report.add(withheld);
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
            message: match never.iter().find(|(id, _)| *id == claimed.id) {
                Some((_, reason)) => Err(gate::never(reason)),
                None => compose(tx, &mut templates, sender, claimed, attempt.id.0, now).await?,
            },
        });
    }
    Ok((jobs, taken, report))
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
