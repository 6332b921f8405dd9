//! Claim, send, settle.
//!
//! A claim commits an attempt for a free call slot; the request is written at
//! once; answers are settled in batches. A crash between the two leaves the
//! attempt without an answer, and its lease runs out.

mod address;
mod claim;
mod compose;
pub(in crate::engine) mod failure_effects;
pub mod follow_up;
mod gate;
mod health;
mod pairs;
mod permits;
pub mod service_window;
mod settle;
pub mod silent_senders;
pub(in crate::engine) mod status_updates;
pub mod sweeper;
mod take;
pub mod templates;

pub use claim::{Claim, claim, claim_current, claim_with};
pub use permits::catch_up;
pub use settle::{settle, settle_surely};

use serde_json::json;
use uuid::Uuid;

use super::{Engine, people::identity};
use crate::{
    domain::{failure::Failure, outcome::Outcome, pace::Lane, time::Timestamp},
    engine::runtime::open_calls::OpenCall,
    providers::{Exchange, Message, MessageSender},
    store::StoreError,
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
    /// Held until what came of the call is written down.
    _open: OpenCall,
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

/// Makes the call of a job.
pub async fn call(provider: &dyn MessageSender, job: Job) -> Answer {
    let exchange = match &job.message {
        Ok(message) => provider.send(message).await,
        Err(failure) => Exchange {
            request: json!("no call was made"),
            http_status: None,
            answer: None,
            outcome: Outcome::Refused(failure.clone()),
        },
    };
    metrics::counter!("herald_sends_total", "outcome" => exchange.outcome.kind().name())
        .increment(1);
    Answer { job, exchange }
}

/// Claims, calls and settles once, one batch, with what the sender sends with.
pub async fn turn_of(
    engine: &Engine,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.sending.slots).unwrap_or(1);
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
    provider: &dyn MessageSender,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.sending.slots).unwrap_or(1);
    let claim = claim_with(engine, provider, sender, Slots::each(most), now).await?;
    make_all(engine, provider, sender, claim, jitter_permille, now).await
}

async fn make_all(
    engine: &Engine,
    provider: &dyn MessageSender,
    sender: Uuid,
    claim: Claim,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let answers =
        futures_util::future::join_all(claim.jobs.into_iter().map(|job| call(provider, job))).await;
    settle(engine, sender, &answers, jitter_permille, now).await?;
    identity::learn_answered(engine, now).await?;
    Ok(answers.len())
}
