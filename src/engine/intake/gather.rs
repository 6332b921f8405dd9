//! Batches direct requests: those that arrive together are stored in one transaction, with one
//! lookup per template, and are acknowledged only after it has committed.

use std::collections::HashSet;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Asked, Reading, Refusal,
    request::{Checked, check},
};
use crate::{
    domain::{phone::Phone, recipient::RecipientSpec, time::Timestamp},
    engine::{
        Engine,
        lifecycle::{self, Report},
        runtime::{send_waiters::Waiter, turn::Turn},
    },
    error::ErrorChain,
    store::{DatabaseTransaction, StoreError, notification::NewNotification},
};

/// Most requests per transaction.
const MOST_TOGETHER: usize = 64;

/// Most recipients per transaction: none may last long.
const MOST_RECIPIENTS: usize = 200;

/// Most waiting requests; further ones are told to retry later.
const WAITING: usize = 1024;

/// A stored request.
#[derive(Debug)]
pub struct Stored {
    pub ids: Vec<Uuid>,
    /// It is new, not a repeat: it has no result yet.
    pub fresh: bool,
    /// Waiter for the provider's answer, registered before the message could be sent.
    pub waiter: Waiter,
}

/// Why a request was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("the request is refused")]
    Refused(Refusal),
    /// Too many are waiting, or the database is unavailable: retry later.
    #[error("the database cannot do it now")]
    Later,
    /// The database refuses it.
    #[error("the database refuses it")]
    Never,
}

/// Result of a request.
pub type Answer = Result<Stored, AskError>;

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Answer>,
}

/// The sending end.
#[derive(Debug)]
pub struct Door(mpsc::Sender<Waiting>);

/// The receiving end, owned by the worker that stores.
#[derive(Debug)]
pub struct Queue {
    receiver: mpsc::Receiver<Waiting>,
    /// The first request, if it has been taken from the channel already.
    first: Option<Waiting>,
}

/// Both ends.
pub fn open() -> (Door, Queue) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let queue = Queue {
        receiver,
        first: None,
    };
    (Door(sender), queue)
}

impl Door {
    /// Submits a request and waits until it is stored or refused.
    pub async fn ask(&self, asked: Asked) -> Answer {
        let (answer, stored) = oneshot::channel();
        if self.0.try_send(Waiting { asked, answer }).is_err() {
            return Err(AskError::Later);
        }
        stored.await.unwrap_or(Err(AskError::Later))
    }
}

impl Queue {
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
        let (asked, answers): (Vec<Asked>, Vec<_>) = batch
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
pub async fn many(engine: &Engine, all: &[Asked], now: Timestamp) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = all.iter().map(|_| None).collect();
    // A second request with the same key must find what the first one stored.
    let mut keys = HashSet::new();
    let (together, later): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|position| {
        all.get(*position)
            .and_then(Asked::whole_key)
            .is_none_or(|key| keys.insert(key))
    });
    let mut pieces: Vec<Vec<usize>> = vec![together];
    pieces.extend(later.into_iter().map(|position| vec![position]));
    pieces.reverse();
    while let Some(piece) = pieces.pop() {
        let wanted: Vec<&Asked> = piece.iter().filter_map(|at| all.get(*at)).collect();
        match transaction(engine, &wanted, now).await {
            Ok(stored) => {
                for (position, result) in piece.into_iter().zip(stored) {
                    if let Some(slot) = answers.get_mut(position) {
                        *slot = Some(result.map_err(AskError::Refused));
                    }
                }
            }
            // Each alone: one of them is the reason.
            Err(error) if !error.is_transient() && piece.len() > 1 => {
                pieces.extend(piece.into_iter().rev().map(|position| vec![position]));
            }
            Err(error) => {
                tracing::error!(event = "accept.store_failed", error = %ErrorChain(&error), count = piece.len(), "requests could not be stored");
                let reason = if error.is_transient() {
                    AskError::Later
                } else {
                    AskError::Never
                };
                for position in piece {
                    if let Some(slot) = answers.get_mut(position) {
                        *slot = Some(Err(reason.clone()));
                    }
                }
            }
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(AskError::Later)))
        .collect()
}

/// What came of requests of one transaction, each by itself.
type Together = Vec<Result<Stored, Refusal>>;

/// A valid request.
enum Which {
    /// A repeat: these are its notifications.
    Before(Vec<Uuid>),
    /// New, to be stored under this request id.
    New(Uuid),
}

/// Stores requests in one transaction. If one is refused after it has written something, the whole
/// transaction is rolled back, and each is stored again alone.
async fn transaction(
    engine: &Engine,
    asked: &[&Asked],
    now: Timestamp,
) -> Result<Together, StoreError> {
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
    asked: &[&Asked],
    now: Timestamp,
) -> Result<(Together, Report, bool), StoreError> {
    let mut reading = Reading::default();
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
    let mut spoilt = false;
    for asked in asked {
        let (result, wrote) = check(Turn { engine, tx, now }, &mut reading, asked).await?;
        spoilt |= wrote;
        checked.push(match result {
            Checked::Before(ids) => Ok(Which::Before(ids)),
            Checked::Refused(refusal) => Err(refusal),
            Checked::New(request, new) => {
                all.extend(new);
                Ok(Which::New(request))
            }
        });
    }
    let place = |ids: Vec<Uuid>, fresh: bool| Stored {
        waiter: engine.send_waiters.wait_for(&ids),
        ids,
        fresh,
    };
    if spoilt {
        // Only used by a request that is alone and was not new.
        let results = checked.into_iter().map(|result| {
            result.map(|which| match which {
                Which::Before(ids) => place(ids, false),
                Which::New(_) => place(Vec::new(), false),
            })
        });
        return Ok((results.collect(), Report::default(), true));
    }
    let rules = reading.catalogue_snapshot(engine, tx).await?;
    let (inserted, report) = lifecycle::introduce(engine, tx, &rules, &all, now).await?;
    let inserted: HashSet<Uuid> = inserted.into_iter().collect();
    let results = checked.into_iter().map(|result| {
        result.map(|which| match which {
            Which::Before(ids) => place(ids, false),
            Which::New(request) => {
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
