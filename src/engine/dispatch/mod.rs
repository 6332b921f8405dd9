//! Claim, send, settle.
//!
//! A claim commits an attempt for a free call slot; the request is written at
//! once; answers are settled in batches. A crash between the two leaves the
//! attempt without an answer, and its lease runs out.

mod compose;
mod gate;
mod health;
mod pairs;
mod settle;

use compose::{Templates, compose};
pub use gate::{Sendable, sendable};
pub use settle::{settle, settle_surely};

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use uuid::Uuid;

use super::{
    Engine,
    inbox::ErrorChain,
    transition::{self, Report, Step},
};
use crate::{
    domain::{
        failure::Failure,
        notification::Change,
        outcome::Outcome,
        pace::{self, Grant, Lane},
        time::Timestamp,
    },
    providers::{Exchange, Message, Provider},
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, NewAttempt},
        dialect::Id,
        follow_up, new_id,
        notification::{self, Claimed, Whose},
        sender::{self, Health},
    },
};

/// A claimed attempt whose call is to be made at its time.
#[derive(Debug)]
pub struct Job {
    pub notification_id: Uuid,
    pub attempt_id: Uuid,
    /// When the sender's pace lets it go.
    pub not_before: Timestamp,
    /// How far its sender's calls lie apart, in microseconds.
    pub interval_micros: i64,
    pub lane: Lane,
    contact_id: Option<Uuid>,
    template: Option<(String, String)>,
    /// What to send, or why nothing can be.
    message: Result<Message, Failure>,
}

impl Job {
    /// Name and language of its template.
    fn template(&self) -> Option<(&str, &str)> {
        self.template
            .as_ref()
            .map(|(name, language)| (name.as_str(), language.as_str()))
    }
}

/// A job whose call has come back.
#[derive(Debug)]
pub struct Answer {
    job: Job,
    exchange: Exchange,
}

impl Answer {
    pub const fn lane(&self) -> Lane {
        self.job.lane
    }
}

/// Calls that may be made at the same time, still.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    /// For one-time passwords.
    pub otp: i64,
    pub ordinary: i64,
}

impl Slots {
    /// As many for each.
    pub const fn each(slots: i64) -> Self {
        Self {
            otp: slots,
            ordinary: slots,
        }
    }
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claim {
    pub jobs: Vec<Job>,
    /// How many were taken, those that were held back included.
    pub taken: usize,
    /// When it is worth asking again, if the pace or a hold said no.
    pub again_at: Option<Timestamp>,
    /// A held sender is due for a probe: its provider is to be knocked at first.
    knock: bool,
    /// What the sender sends with has changed since this process last looked.
    outdated: bool,
}

/// Why nothing may be claimed now.
enum NotNow {
    Until(Timestamp),
    Knock,
}

/// How many calls of a lane a sender may make, and when.
struct Permit {
    lane: Lane,
    grant: Grant,
}

/// The lane of one-time passwords; the others follow by importance.
const OTP: i64 = 0;

/// Which lane goes first, claim after claim: all get their turn, the important
/// ones more often.
const TURNS: [[i64; 3]; 8] = [
    [1, 2, 3],
    [2, 1, 3],
    [1, 2, 3],
    [1, 2, 3],
    [2, 1, 3],
    [1, 2, 3],
    [2, 1, 3],
    [3, 1, 2],
];

/// Takes due messages of a sender out of the queue, as many as there are slots
/// and its pace allows, and commits an attempt for each.
pub async fn claim(
    engine: &Engine,
    sender: Uuid,
    slots: Slots,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    claim_as(engine, sender, slots, true, now).await
}

/// The same, and a message is risked on a held sender only when its provider answers
/// at all: one that times out would leave an unknown outcome behind each probe.
pub async fn claim_with(
    engine: &Engine,
    provider: &dyn Provider,
    sender: Uuid,
    slots: Slots,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    let claim = claim_as(engine, sender, slots, false, now).await?;
    if !claim.knock {
        return Ok(claim);
    }
    match health::knock(engine, provider, sender, now).await? {
        Some(again_at) => Ok(Claim {
            again_at: Some(again_at),
            ..Claim::default()
        }),
        None => claim_as(engine, sender, slots, true, now).await,
    }
}

/// The same with what the sender sends with, looked up again if that has changed: its
/// calls are made with the newest credentials there were when they were claimed.
pub async fn claim_current(
    engine: &Engine,
    sender: Uuid,
    slots: Slots,
    now: Timestamp,
) -> Result<(Claim, Arc<dyn Provider>), StoreError> {
    let provider = engine.provider_or_nobody(sender);
    let claim = claim_with(engine, provider.as_ref(), sender, slots, now).await?;
    if !claim.outdated {
        return Ok((claim, provider));
    }
    // It is committed: a database that fails now must not take it from us.
    if let Err(error) = engine.refresh_keyring().await {
        tracing::error!(event = "sender.outdated", error = %ErrorChain(&error), "what a sender sends with has changed and cannot be read");
    }
    Ok((claim, engine.provider_or_nobody(sender)))
}

async fn claim_as(
    engine: &Engine,
    sender: Uuid,
    slots: Slots,
    knocked: bool,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    // The pace is charged for what will be sent, not for every free slot.
    let most = slots.otp.max(slots.ordinary);
    let ring = engine.keyring();
    let known = ring.account(sender);
    let whose = if known.is_some_and(|account| account.is_default) {
        Whose::OfOrNobodys(sender)
    } else {
        Whose::Of(sender)
    };
    let due = notification::count_due(&engine.store, whose, now, most).await?;
    let [otp, ordinary @ ..] = due;
    let wanted = Slots {
        otp: otp.min(slots.otp),
        ordinary: ordinary.iter().sum::<i64>().min(slots.ordinary),
    };
    if wanted.otp <= 0 && wanted.ordinary <= 0 {
        return Ok(Claim::default());
    }
    let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
    // The pace is taken in a short transaction of its own: its row is shared by all processes.
    let permits = engine
        .store
        .write(async |tx| take_pace(engine, tx, sender, wanted, knocked, now).await)
        .await?;
    let permits = match permits {
        Ok(permits) => permits,
        Err(NotNow::Until(again_at)) => {
            return Ok(Claim {
                again_at: Some(again_at),
                ..Claim::default()
            });
        }
        Err(NotNow::Knock) => {
            return Ok(Claim {
                knock: true,
                ..Claim::default()
            });
        }
    };
    let again_at = permits
        .iter()
        .filter_map(|permit| permit.grant.again_at)
        .min();
    // Lanes without anything due are not asked.
    let turn = TURNS.get(engine.next_claim(sender) % TURNS.len());
    let lanes: Vec<i64> = turn
        .into_iter()
        .flatten()
        .copied()
        .filter(|lane| usize::try_from(*lane).is_ok_and(|lane| due.get(lane) > Some(&0)))
        .collect();
    let found = engine
        .store
        .write(async |tx| claim_in(engine, tx, sender, &permits, &lanes, lease, now).await)
        .await?;
    found.report.publish(engine);
    Ok(Claim {
        jobs: found.jobs,
        taken: found.taken,
        again_at: again_at.filter(|_| found.taken == 0),
        knock: false,
        outdated: known.map(|account| account.revision) != Some(found.revision),
    })
}

/// Takes of a sender's pace, one-time passwords first. An error says why nothing is granted.
async fn take_pace(
    engine: &Engine,
    tx: &DatabaseTransaction,
    id: Uuid,
    wanted: Slots,
    knocked: bool,
    now: Timestamp,
) -> Result<Result<Vec<Permit>, NotNow>, StoreError> {
    let Some(row) = sender::lock(tx, id).await? else {
        return Ok(Err(NotNow::Until(now.plus_seconds(1))));
    };
    if row.off_at.is_some() {
        return Ok(Err(NotNow::Until(now.plus_seconds(1))));
    }
    let mut wanted = wanted;
    if row.state == "held" {
        let probe_at = row.probe_at.map_or(now, Timestamp::from_micros);
        if probe_at > now {
            return Ok(Err(NotNow::Until(probe_at)));
        }
        if !knocked {
            return Ok(Err(NotNow::Knock));
        }
        // One probe at a time: the next may go when this one's lease has run out.
        let health = Health {
            state: "held",
            reason: row.state_reason.clone(),
            failures_in_row: row.failures_in_row,
            probe_at: Some(now.plus_seconds(engine.settings.policy.lease_seconds)),
        };
        sender::set_health(tx, id, &health, now, now).await?;
        wanted.otp = wanted.otp.min(1);
        wanted.ordinary = wanted.ordinary.min(1 - wanted.otp);
    }
    let slowed_at = Timestamp::from_micros(row.slowed_at);
    let permille = pace::permille(row.slowed_to, slowed_at, now);
    let allowed = pace::allowed(
        row.pace_set,
        engine.settings.send_per_second,
        row.pace_reported,
    );
    let per_second = pace::reduced(allowed, permille);
    let start = Timestamp::from_micros(row.pace_next_at);
    let mut next_at = start;
    let mut permits = Vec::with_capacity(2);
    for (lane, wanted) in [(Lane::Otp, wanted.otp), (Lane::Ordinary, wanted.ordinary)] {
        if wanted > 0 {
            let grant = pace::take(next_at, now, per_second, lane, wanted);
            next_at = grant.next_at;
            permits.push(Permit { lane, grant });
        }
    }
    if next_at != start {
        sender::set_pace(tx, id, next_at).await?;
    }
    Ok(Ok(permits))
}

/// Gives new moments to claimed messages whose own have passed, because the claim
/// was held up: two processes that make up for it together would pass the limit.
/// One-time passwords are left as they are.
pub async fn catch_up(
    engine: &Engine,
    id: Uuid,
    jobs: &mut [Job],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut late: Vec<&mut Job> = jobs
        .iter_mut()
        .filter(|job| job.lane == Lane::Ordinary)
        .collect();
    let Some((first_at, interval)) = late
        .first()
        .map(|job| (job.not_before, job.interval_micros))
    else {
        return Ok(());
    };
    if pace::again(Timestamp::default(), first_at, interval, now).is_none() {
        return Ok(());
    }
    let count = i64::try_from(late.len()).unwrap_or(0);
    let first_at = engine
        .store
        .write(async |tx| {
            let Some(row) = sender::lock(tx, id).await? else {
                return Ok(None);
            };
            let next_at = Timestamp::from_micros(row.pace_next_at);
            let first_at = pace::again(next_at, first_at, interval, now);
            if let Some(first_at) = first_at {
                sender::set_pace(tx, id, first_at.plus_micros(count * interval)).await?;
            }
            Ok(first_at)
        })
        .await?;
    if let Some(first_at) = first_at {
        for (job, at) in late.iter_mut().zip(0..) {
            job.not_before = first_at.plus_micros(at * interval);
        }
    }
    Ok(())
}

/// What one claim's transaction found.
#[derive(Default)]
struct Found {
    jobs: Vec<Job>,
    taken: usize,
    report: Report,
    /// Of what the sender sends with.
    revision: i64,
}

async fn claim_in(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sender: Uuid,
    permits: &[Permit],
    ordinary: &[i64],
    lease: Timestamp,
    now: Timestamp,
) -> Result<Found, StoreError> {
    let Some(row) = sender::find(tx, sender).await? else {
        return Ok(Found::default());
    };
    // Read here, not remembered: the default may have been switched a moment ago.
    let whose = if row.is_default {
        Whose::OfOrNobodys(sender)
    } else {
        Whose::Of(sender)
    };
    let mut claimed = Vec::new();
    for permit in permits {
        let lanes = match permit.lane {
            Lane::Otp => &[OTP][..],
            Lane::Ordinary => ordinary,
        };
        let mut left = permit.grant.calls;
        for lane in lanes {
            if left <= 0 {
                break;
            }
            let found =
                notification::claim(tx, sender, whose, *lane, (engine.process, lease), now, left)
                    .await?;
            left -= i64::try_from(found.len()).unwrap_or(left);
            claimed.extend(found.into_iter().map(|found| (permit.lane, found)));
        }
    }
    let taken = claimed.len();
    let lanes: HashMap<Uuid, Lane> = claimed
        .iter()
        .map(|(lane, found)| (found.id, *lane))
        .collect();
    let mut claimed: Vec<Claimed> = claimed.into_iter().map(|(_, found)| found).collect();
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
    let (withheld, never) = gate::hold_back(engine, tx, &row, &mut claimed, now).await?;
    report.add(withheld);
    let delays = pairs::keep_pace(engine, tx, sender, &mut claimed, now).await?;
    notification::delay(tx, &delays, now).await?;
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
    let mut times = Times::of(permits);
    for (claimed, attempt) in claimed.iter().zip(&attempts) {
        let lane = lanes.get(&claimed.id).copied().unwrap_or(Lane::Ordinary);
        let (not_before, interval_micros) = times.next(lane, now);
        jobs.push(Job {
            notification_id: claimed.id,
            attempt_id: attempt.id.0,
            not_before,
            interval_micros,
            lane,
            contact_id: claimed.contact_id,
            template: (!claimed.template.is_empty()).then(|| {
                let language = claimed.language.clone().unwrap_or_default();
                (claimed.template.clone(), language)
            }),
            message: match never.iter().find(|(id, _)| *id == claimed.id) {
                Some((_, reason)) => Err(gate::never(reason)),
                None => compose(tx, &mut templates, sender, claimed, attempt.id.0, now).await?,
            },
        });
    }
    Ok(Found {
        jobs,
        taken,
        report,
        revision: row.revision,
    })
}

/// The times that were granted, given out one after the other.
struct Times<'a> {
    permits: &'a [Permit],
    given: [i64; 2],
}

impl<'a> Times<'a> {
    const fn of(permits: &'a [Permit]) -> Self {
        Self {
            permits,
            given: [0; 2],
        }
    }

    fn next(&mut self, lane: Lane, now: Timestamp) -> (Timestamp, i64) {
        let found = self.permits.iter().find(|permit| permit.lane == lane);
        let [otp, ordinary] = &mut self.given;
        let given = match lane {
            Lane::Otp => otp,
            Lane::Ordinary => ordinary,
        };
        let next = found.map_or((now, 0), |permit| {
            let interval = permit.grant.interval_micros;
            let at = permit.grant.first_at.plus_micros(*given * interval);
            (at, interval)
        });
        *given += 1;
        next
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

/// Claims, calls and settles once, one batch, with what the sender sends with.
pub async fn turn_of(
    engine: &Engine,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.send_slots).unwrap_or(1);
    let (claim, provider) = claim_current(engine, sender, Slots::each(most), now).await?;
    make_all(
        engine,
        provider.as_ref(),
        sender,
        claim,
        jitter_permille,
        now,
    )
    .await
}

/// The same with a given provider: for tests.
pub async fn turn(
    engine: &Engine,
    provider: &dyn Provider,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.send_slots).unwrap_or(1);
    let claim = claim_with(engine, provider, sender, Slots::each(most), now).await?;
    make_all(engine, provider, sender, claim, jitter_permille, now).await
}

async fn make_all(
    engine: &Engine,
    provider: &dyn Provider,
    sender: Uuid,
    claim: Claim,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let answers =
        futures_util::future::join_all(claim.jobs.into_iter().map(|job| call(provider, job))).await;
    settle(engine, sender, &answers, jitter_permille, now).await?;
    Ok(answers.len())
}
