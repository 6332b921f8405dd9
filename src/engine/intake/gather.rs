//! Batches direct requests: those that arrive together are stored in one transaction, with one
//! lookup per template, and are acknowledged only after it has committed.

use std::collections::HashSet;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    ClientNotificationRequest, IntakeRowCache, NotificationRequestRefusal,
    fallback::{self, FallbackPlan},
    request::{NotificationRequestCheckOutcome, check},
};
use crate::{
    domain::{phone::Phone, recipient::RecipientSpec, time::Timestamp},
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleReport},
        runtime::{
            isolate::{IsolatedPiece, isolate},
            send_waiters::SendWaiter,
            turn::TransactionContext,
        },
    },
    error::ErrorChain,
    store::{DatabaseTransaction, StoreError, notification::NewNotification},
};

/// Most requests per transaction.
const MOST_TOGETHER: usize = 64;

/// Most recipients per transaction: none may last long.
const MOST_RECIPIENTS: usize = 200;

/// Most waiting requests; further ones are refused and may retry later.
const WAITING: usize = 1024;

/// A stored request.
#[derive(Debug)]
pub struct StoredNotificationRequest {
    pub ids: Vec<Uuid>,
    /// It is new, not a repeat: it has no result yet.
    pub fresh: bool,
    /// Waiter for the provider's answer, registered before the message could be sent.
    pub waiter: SendWaiter,
}

/// Why a request was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotificationRequestError {
    #[error("the request is refused")]
    Refused(NotificationRequestRefusal),
    /// Too many are waiting, or the database is unavailable: retry later.
    #[error("the database cannot do it now")]
    Later,
    /// The database refuses it.
    #[error("the database refuses it")]
    Never,
}

/// Result of a request.
pub type NotificationRequestResult = Result<StoredNotificationRequest, NotificationRequestError>;

#[derive(Debug)]
struct QueuedNotificationRequest {
    asked: ClientNotificationRequest,
    answer: oneshot::Sender<NotificationRequestResult>,
}

/// The sending end.
#[derive(Debug)]
pub struct NotificationRequestSubmitter(mpsc::Sender<QueuedNotificationRequest>);

/// The receiving end, owned by the worker that stores.
#[derive(Debug)]
pub struct NotificationRequestQueue {
    receiver: mpsc::Receiver<QueuedNotificationRequest>,
    /// The first request, if it has been taken from the channel already.
    first: Option<QueuedNotificationRequest>,
}

/// Both ends.
pub fn open() -> (NotificationRequestSubmitter, NotificationRequestQueue) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let queue = NotificationRequestQueue {
        receiver,
        first: None,
    };
    (NotificationRequestSubmitter(sender), queue)
}

impl NotificationRequestSubmitter {
    /// Submits a request and waits until it is stored or refused.
    pub async fn ask(&self, asked: ClientNotificationRequest) -> NotificationRequestResult {
        let (answer, stored) = oneshot::channel();
        if self
            .0
            .try_send(QueuedNotificationRequest { asked, answer })
            .is_err()
        {
            return Err(NotificationRequestError::Later);
        }
        stored.await.unwrap_or(Err(NotificationRequestError::Later))
    }
}

impl NotificationRequestQueue {
    /// Waits for a request; false when the channel is closed.
    pub async fn ready(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.receiver.recv().await;
        }
        self.first.is_some()
    }

    /// Stores the requests that have gathered. Waits for at least one; `None` when the channel is
    /// closed.
    pub async fn turn(&mut self, engine: &Engine, clock: impl Fn() -> Timestamp) -> Option<usize> {
        self.ready().await;
        let first = self.first.take()?;
        let mut recipients = first.asked.request.to.len();
        let mut batch = vec![first];
        while batch.len() < MOST_TOGETHER && recipients < MOST_RECIPIENTS {
            let Ok(next) = self.receiver.try_recv() else {
                break;
            };
            recipients += next.asked.request.to.len();
            batch.push(next);
        }
        let count = batch.len();
        let (asked, answers): (Vec<ClientNotificationRequest>, Vec<_>) = batch
            .into_iter()
            .map(|waiting| (waiting.asked, waiting.answer))
            .unzip();
        for (result, answer) in many(engine, &asked, clock()).await.into_iter().zip(answers) {
            // A client that has hung up changes nothing: the request is stored.
            let _ = answer.send(result);
        }
        Some(count)
    }
}

/// Stores requests together; one that cannot be stored does not affect the others.
pub async fn many(
    engine: &Engine,
    all: &[ClientNotificationRequest],
    now: Timestamp,
) -> Vec<NotificationRequestResult> {
    let mut answers: Vec<Option<NotificationRequestResult>> = all.iter().map(|_| None).collect();
    // A second request with the same key must find what the first one stored.
    let mut keys = HashSet::new();
    let (together, later): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|position| {
        all.get(*position)
            .and_then(ClientNotificationRequest::whole_key)
            .is_none_or(|key| keys.insert(key))
    });
    let later = later.into_iter().map(|position| vec![position]);
    for batch in std::iter::once(together).chain(later) {
        let stored = isolate(&batch, async |positions| {
            let wanted: Vec<&ClientNotificationRequest> =
                positions.iter().filter_map(|at| all.get(*at)).collect();
            match transaction(engine, &wanted, now).await {
                Ok(stored) => Ok(stored
                    .into_iter()
                    .map(|result| result.map_err(NotificationRequestError::Refused))
                    .collect()),
                // The answer of these alone: the others are stored all the same.
                Err(error) if error.is_transient() => Ok(not_stored(&error, positions.len())),
                Err(error) => Err(error),
            }
        })
        .await;
        // No transient error is left: it has become an answer.
        for IsolatedPiece { items, result } in stored.into_iter().flatten() {
            let results: Vec<NotificationRequestResult> =
                result.unwrap_or_else(|error| not_stored(&error, items.len()));
            for (position, result) in items.iter().zip(results) {
                if let Some(slot) = answers.get_mut(*position) {
                    *slot = Some(result);
                }
            }
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(NotificationRequestError::Later)))
        .collect()
}

/// The results of requests that the database did not store.
fn not_stored(error: &StoreError, count: usize) -> Vec<NotificationRequestResult> {
    tracing::error!(event = "accept.store_failed", error = %ErrorChain(error), count, retryable = error.is_transient(), "requests to send messages could not be stored: their clients got an error");
    let reason = if error.is_transient() {
        NotificationRequestError::Later
    } else {
        NotificationRequestError::Never
    };
    (0..count).map(|_| Err(reason.clone())).collect()
}

/// What came of requests of one transaction, each by itself.
type NotificationRequestBatchResult =
    Vec<Result<StoredNotificationRequest, NotificationRequestRefusal>>;

/// A valid request.
enum NotificationRequestNovelty {
    /// A repeat: these are its notifications.
    Before(Vec<Uuid>),
    /// New, to be stored under this request id.
    New(Uuid),
}

/// Stores requests in one transaction. If one is refused after it has written something, the whole
/// transaction is rolled back, and fewer are stored at a time, until it is alone.
async fn transaction(
    engine: &Engine,
    asked: &[&ClientNotificationRequest],
    now: Timestamp,
) -> Result<NotificationRequestBatchResult, StoreError> {
    let mut refusal = None;
    let stored = engine
        .store
        .write(async |tx| {
            let (results, report, spoilt) = store(engine, tx, asked, now).await?;
            if !spoilt {
                return Ok((results, report));
            }
            // Nothing of a refused request may stay.
            if asked.len() == 1 {
                refusal = results.into_iter().next();
            }
            Err(StoreError::RolledBack)
        })
        .await;
    match (stored, refusal) {
        (Err(StoreError::RolledBack), Some(refused)) => Ok(vec![refused]),
        (stored, _) => {
            let (results, report) = stored?;
            report.publish(engine);
            Ok(results)
        }
    }
}

async fn store(
    engine: &Engine,
    tx: &DatabaseTransaction,
    asked: &[&ClientNotificationRequest],
    now: Timestamp,
) -> Result<
    (
        NotificationRequestBatchResult,
        NotificationLifecycleReport,
        bool,
    ),
    StoreError,
> {
    let mut reading = IntakeRowCache::default();
    let phones: Vec<Phone> = asked
        .iter()
        .flat_map(|asked| &asked.request.to)
        .filter_map(|to| match RecipientSpec::parse(to) {
            Ok(RecipientSpec::Phone(phone)) => Some(phone),
            _ => None,
        })
        .collect();
    reading.look_for(tx, &phones).await?;
    let mut checked = Vec::with_capacity(asked.len());
    let mut all: Vec<NewNotification> = Vec::new();
    let mut plans: Vec<(Uuid, FallbackPlan)> = Vec::new();
    let mut spoilt = false;
    for asked in asked {
        let (result, wrote) =
            check(TransactionContext { engine, tx, now }, &mut reading, asked).await?;
        spoilt |= wrote;
        checked.push(match result {
            NotificationRequestCheckOutcome::Before(ids) => {
                Ok(NotificationRequestNovelty::Before(ids))
            }
            NotificationRequestCheckOutcome::Refused(refusal) => Err(refusal),
            NotificationRequestCheckOutcome::New(request, new, plan) => {
                plans.push((request, plan));
                all.extend(new);
                Ok(NotificationRequestNovelty::New(request))
            }
        });
    }
    let place = |ids: Vec<Uuid>, fresh: bool| StoredNotificationRequest {
        waiter: engine.send_waiters.wait_for(&ids),
        ids,
        fresh,
    };
    if spoilt {
        // Only used by a request that is alone and was not new.
        let results = checked.into_iter().map(|result| {
            result.map(|which| match which {
                NotificationRequestNovelty::Before(ids) => place(ids, false),
                NotificationRequestNovelty::New(_) => place(Vec::new(), false),
            })
        });
        return Ok((
            results.collect(),
            NotificationLifecycleReport::default(),
            true,
        ));
    }
    let rules = reading.catalogue_snapshot(engine, tx).await?;
    let (inserted, report) = lifecycle::introduce(engine, tx, &rules, &all, now).await?;
    let inserted: HashSet<Uuid> = inserted.into_iter().collect();
    for (request, plan) in &plans {
        let of_request =
            |new: &&NewNotification| new.event_id == Some(*request) && inserted.contains(&new.id);
        let new: Vec<&NewNotification> = all.iter().filter(of_request).collect();
        fallback::plan(TransactionContext { engine, tx, now }, &new, plan).await?;
    }
    let results = checked.into_iter().map(|result| {
        result.map(|which| match which {
            NotificationRequestNovelty::Before(ids) => place(ids, false),
            NotificationRequestNovelty::New(request) => {
                let of_request = all
                    .iter()
                    .filter(|new| new.event_id == Some(request) && inserted.contains(&new.id))
                    .map(|new| new.id);
                place(of_request.collect(), true)
            }
        })
    });
    Ok((results.collect(), report, false))
}
