//! Direct requests that come together are stored together: one transaction, one look
//! at each template, and nobody is told that it is accepted before it has committed.

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

/// One transaction stores no more requests than this.
const MOST_TOGETHER: usize = 64;

/// Nor more recipients: no transaction may last long.
const MOST_RECIPIENTS: usize = 200;

/// So many requests may wait at the door; more is told to come again.
const WAITING: usize = 1024;

/// A stored request.
#[derive(Debug)]
pub struct Stored {
    pub ids: Vec<Uuid>,
    /// It was not asked before: nothing can be known of it yet.
    pub fresh: bool,
    /// A place in the row of those who wait for the provider's answer, taken before
    /// anybody could have sent it.
    pub waiter: Waiter,
}

/// Why a request was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("the request is refused")]
    Refused(Refusal),
    /// Too much is waiting, or the database is away: come again.
    #[error("the database cannot do it now")]
    Later,
    /// The database refuses it.
    #[error("the database refuses it")]
    Never,
}

/// What came of a request.
pub type Answer = Result<Stored, AskError>;

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    answer: oneshot::Sender<Answer>,
}

/// The way in.
#[derive(Debug)]
pub struct Door(mpsc::Sender<Waiting>);

/// The other end, owned by the worker that stores.
#[derive(Debug)]
pub struct Queue {
    receiver: mpsc::Receiver<Waiting>,
    /// The first in the row, if it was looked for.
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
    /// Waits until a request is stored, or refused.
    pub async fn ask(&self, asked: Asked) -> Answer {
        let (answer, stored) = oneshot::channel();
        if self.0.try_send(Waiting { asked, answer }).is_err() {
            return Err(AskError::Later);
        }
        stored.await.unwrap_or(Err(AskError::Later))
    }
}

impl Queue {
    /// Waits until there is something; false when the door is closed.
    pub async fn ready(&mut self) -> bool {
        if self.first.is_none() {
            self.first = self.receiver.recv().await;
        }
        self.first.is_some()
    }

    /// Stores what has gathered. Waits until there is something; `None` when the door is
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
            // Whoever has hung up changes nothing: it is stored.
            let _ = answer.send(result);
        }
        Some(count)
    }
}

/// Stores requests together; one that cannot be stored spares the others.
pub async fn many(engine: &Engine, all: &[Asked], now: Timestamp) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = all.iter().map(|_| None).collect();
    // The second of a key must find what the first has stored.
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
            // Alone, each of them: one of them is the reason.
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

/// What a good request came to.
enum Which {
    /// It was asked before: these are its notifications.
    Before(Vec<Uuid>),
    /// To be stored, under the id of the request.
    New(Uuid),
}

/// Stores requests in one transaction. One that is refused after it has written
/// something takes the others with it, when there are others: they are stored again,
/// each alone.
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
        // Of use only to a request that is alone, and was not new.
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
