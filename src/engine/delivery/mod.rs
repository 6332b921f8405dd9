//! Sends notifications: claims them from the queue, calls the provider and settles the results.
//!
//! A claim commits one attempt per free call slot, the call follows at once, and answers are
//! settled in batches. A crash in between leaves an attempt without an answer, and its lease runs
//! out.

mod address;
pub mod channel_fallback;
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

pub use claim::{DeliveryClaimOutcome, claim, claim_current, claim_with};
pub use permits::catch_up;
pub use settle::{settle, settle_surely};

use serde_json::json;
use uuid::Uuid;

use super::{Engine, people::identity};
use crate::{
    domain::{
        failure::DeliveryFailure, outcome::ProviderCallOutcome, pace::SendingPaceShare,
        time::Timestamp,
    },
    engine::runtime::open_calls::OpenProviderCall,
    providers::{MessageSender, OutgoingMessage, ProviderExchange},
    store::StoreError,
};

/// A claimed attempt whose call is made at a given time.
#[derive(Debug)]
pub struct DeliveryJob {
    pub notification_id: Uuid,
    pub attempt_id: Uuid,
    /// Earliest time at which the sender's pace allows the call.
    pub not_before: Timestamp,
    /// Interval between the sender's calls, in microseconds.
    pub interval_micros: i64,
    pub lane: SendingPaceShare,
    contact_id: Option<Uuid>,
    template: Option<(String, String)>,
    /// The message, or why it cannot be sent.
    message: Result<OutgoingMessage, DeliveryFailure>,
    /// Marks the call as open until its result is stored.
    _open: OpenProviderCall,
}

impl DeliveryJob {
    /// Name and language of its template.
    fn template(&self) -> Option<(&str, &str)> {
        self.template
            .as_ref()
            .map(|(name, language)| (name.as_str(), language.as_str()))
    }
}

/// A job whose call has returned.
#[derive(Debug)]
pub struct CompletedDeliveryJob {
    job: DeliveryJob,
    exchange: ProviderExchange,
}

impl CompletedDeliveryJob {
    pub const fn lane(&self) -> SendingPaceShare {
        self.job.lane
    }
}

/// Free slots for concurrent calls.
#[derive(Clone, Copy, Debug)]
pub struct ProviderCallSlots {
    /// Slots for one-time passwords.
    pub otp: i64,
    pub ordinary: i64,
}

impl ProviderCallSlots {
    /// The same number of slots for each lane.
    pub const fn each(slots: i64) -> Self {
        Self {
            otp: slots,
            ordinary: slots,
        }
    }
}

/// Makes the call of a job.
pub async fn call(provider: &dyn MessageSender, job: DeliveryJob) -> CompletedDeliveryJob {
    let exchange = match &job.message {
        Ok(message) => provider.send(message).await,
        Err(failure) => ProviderExchange {
            request: json!("no call was made"),
            http_status: None,
            answer: None,
            outcome: ProviderCallOutcome::Refused(failure.clone()),
        },
    };
    metrics::counter!("herald_sends_total", "outcome" => exchange.outcome.kind().name())
        .increment(1);
    CompletedDeliveryJob { job, exchange }
}

/// Claims, calls and settles one batch, with the sender's current credentials.
pub async fn turn_of(
    engine: &Engine,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.sending.slots).unwrap_or(1);
    let (claim, provider) =
        claim_current(engine, sender, ProviderCallSlots::each(most), now).await?;
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

/// Like [`turn_of`], with a given provider: for tests.
pub async fn turn(
    engine: &Engine,
    provider: &dyn MessageSender,
    sender: Uuid,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(engine.settings.sending.slots).unwrap_or(1);
    let claim = claim_with(engine, provider, sender, ProviderCallSlots::each(most), now).await?;
    make_all(engine, provider, sender, claim, jitter_permille, now).await
}

async fn make_all(
    engine: &Engine,
    provider: &dyn MessageSender,
    sender: Uuid,
    claim: DeliveryClaimOutcome,
    jitter_permille: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let answers =
        futures_util::future::join_all(claim.jobs.into_iter().map(|job| call(provider, job))).await;
    settle(engine, sender, &answers, jitter_permille, now).await?;
    identity::learn_answered(engine, now).await?;
    Ok(answers.len())
}
