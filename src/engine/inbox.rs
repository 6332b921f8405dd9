//! Durable ingest: what arrives together is stored in one transaction, and
//! nobody is told that it arrived before that transaction has committed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Engine, keyring::Signature};
use crate::{
    domain::time::Timestamp,
    store::{
        callback::{self, Body, NewCallback},
        new_id,
    },
};

/// One transaction stores no more bodies than this.
const MAX_BATCH: usize = 512;

/// Nor more bytes: a batch must not take long.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Bodies waiting in memory for the processor; what does not fit is read from the table.
const HANDOVER_BYTES: usize = 8 * 1024 * 1024;

/// The endpoint of Meta's callbacks in the digest ledger.
const META: &str = "meta";

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    Stored,
    /// It was here before.
    Repeat,
}

/// Why a body was not taken. Each means: send it again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Too much is waiting.
    Full,
    /// It was not stored in time.
    Late,
    /// The database did not take it.
    Failed,
}

impl Busy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

struct Waiting {
    body: Bytes,
    /// Labels of the secrets it was signed with, where there are several apps.
    signed_by: Option<String>,
    digest: [u8; 32],
    answer: oneshot::Sender<Result<Receipt, Busy>>,
    /// Given back when the body is, not when its sender has stopped waiting.
    _room: Option<Room>,
}

/// The way in: bounded in bytes and in waiting time.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::UnboundedSender<Waiting>,
    /// Room for ordinary callbacks, in KiB; and for large ones, which must not
    /// keep the others waiting.
    ordinary: Arc<Semaphore>,
    large: Arc<Semaphore>,
    max_wait: Duration,
}

/// A body up to this size is an ordinary callback, in bytes.
const ORDINARY_BYTES: usize = 256 * 1024;

/// The other end, owned by the worker that stores.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::UnboundedReceiver<Waiting>,
}

/// Room for one body, taken before it is read: what is in memory is bounded,
/// however many connections there are. Given back however the wait ends, a
/// client that hangs up included.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// Gives back what the body did not need.
    #[must_use]
    pub fn shrink(mut self, bytes: usize) -> Self {
        let spare = self.0.num_permits().saturating_sub(kibibytes(bytes));
        drop(self.0.split(spare));
        self
    }
}

/// Room is counted in KiB.
const fn kibibytes(bytes: usize) -> usize {
    if bytes == 0 { 1 } else { bytes.div_ceil(1024) }
}

impl Inbox {
    pub fn new(max_bytes: usize, max_wait: Duration) -> (Self, Intake) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let inbox = Self {
            queue: sender,
            ordinary: Arc::new(Semaphore::new(max_bytes / 4 / 1024)),
            large: Arc::new(Semaphore::new(max_bytes / 4 * 3 / 1024)),
            max_wait,
        };
        (inbox, Intake { queue: receiver })
    }

    /// How long a body may take to arrive, and then to be stored.
    pub const fn max_wait(&self) -> Duration {
        self.max_wait
    }

    /// Waits for room for a body of so many bytes.
    pub async fn room(&self, bytes: usize) -> Result<Room, Busy> {
        let pool = if bytes <= ORDINARY_BYTES {
            &self.ordinary
        } else {
            &self.large
        };
        let wanted = u32::try_from(kibibytes(bytes)).unwrap_or(u32::MAX);
        let permit = Arc::clone(pool).acquire_many_owned(wanted);
        match tokio::time::timeout(self.max_wait, permit).await {
            Ok(Ok(permit)) => Ok(Room(permit)),
            Ok(Err(_)) => Err(Busy::Failed),
            Err(_) => Err(Busy::Full),
        }
    }

    /// Takes a body and waits until it is stored.
    pub async fn submit(
        &self,
        body: Bytes,
        signature: Option<Signature>,
        room: Room,
    ) -> Result<Receipt, Busy> {
        let digest = digest(&body, signature.as_ref());
        let (answer, stored) = oneshot::channel();
        if self
            .queue
            .send(Waiting {
                body,
                signed_by: signature.map(|signature| signature.labels),
                digest,
                answer,
                _room: Some(room),
            })
            .is_err()
        {
            return Err(Busy::Failed);
        }
        match tokio::time::timeout(self.max_wait, stored).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Busy::Failed),
            Err(_) => Err(Busy::Late),
        }
    }
}

/// What a repeat is known by. The same bytes of two apps are two callbacks: one of
/// them may be believed where the other is not.
fn digest(body: &Bytes, signature: Option<&Signature>) -> [u8; 32] {
    let mut digest = Sha256::new();
    if let Some(signature) = signature {
        digest.update(signature.scopes.as_bytes());
        digest.update([0]);
    }
    digest.update(body);
    digest.finalize().into()
}

/// Bodies on their way to the processor without a trip through the table.
#[derive(Debug, Default)]
pub struct Handover {
    bodies: Mutex<VecDeque<Body>>,
    bytes: AtomicUsize,
    pub arrived: Notify,
}

impl Handover {
    fn has_room(&self, size: usize) -> bool {
        self.bytes.load(Ordering::Acquire) + size <= HANDOVER_BYTES
    }

    fn put(&self, new: impl Iterator<Item = Body>) {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        for body in new {
            self.bytes.fetch_add(body.body.len(), Ordering::AcqRel);
            bodies.push_back(body);
        }
        drop(bodies);
        self.arrived.notify_one();
    }

    /// How many bodies wait.
    pub fn len(&self) -> usize {
        self.bodies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `limit` bodies, oldest first.
    pub fn take(&self, limit: usize) -> Vec<Body> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let count = bodies.len().min(limit);
        let taken: Vec<Body> = bodies.drain(..count).collect();
        drop(bodies);
        self.bytes.fetch_sub(
            taken.iter().map(|body| body.body.len()).sum(),
            Ordering::AcqRel,
        );
        taken
    }
}

/// Stores what has gathered. Waits until there is something; `None` when the
/// inbox is closed.
pub async fn store_turn(
    engine: &Engine,
    intake: &mut Intake,
    handover: Option<&Handover>,
    clock: impl Fn() -> Timestamp,
) -> Option<usize> {
    let first = intake.queue.recv().await?;
    let mut size = first.body.len();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH && size < MAX_BATCH_BYTES {
        let Ok(next) = intake.queue.try_recv() else {
            break;
        };
        size += next.body.len();
        batch.push(next);
    }
    let count = batch.len();
    store(engine, batch, size, handover, clock()).await;
    Some(count)
}

async fn store(
    engine: &Engine,
    mut batch: Vec<Waiting>,
    size: usize,
    handover: Option<&Handover>,
    now: Timestamp,
) {
    // Sorted by digest: two processes take the ledger's rows in one order.
    batch.sort_unstable_by_key(|waiting| waiting.digest);
    let mut new: Vec<NewCallback> = Vec::with_capacity(batch.len());
    for waiting in &batch {
        match new.last_mut() {
            Some(last) if last.digest == waiting.digest => last.copies += 1,
            _ => new.push(NewCallback {
                id: new_id(now),
                digest: waiting.digest,
                body: waiting.body.clone(),
                copies: 1,
                signed_by: waiting.signed_by.clone(),
            }),
        }
    }
    let handover = handover.filter(|handover| handover.has_room(size));
    // What is not handed over belongs to whoever looks first.
    let lease = if handover.is_some() {
        now.plus_seconds(engine.settings.policy.lease_seconds)
    } else {
        now
    };
    let stored = engine
        .store
        .write(async |tx| callback::store_batch(tx, META, &new, engine.process, lease, now).await)
        .await;
    metrics::histogram!("herald_ingest_batch")
        .record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    let known = match stored {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(event = "callback.store_failed", error = %ErrorChain(&error), "callbacks could not be stored: answered 503");
            for waiting in batch {
                let _ = waiting.answer.send(Err(Busy::Failed));
            }
            return;
        }
    };
    // Before anybody is answered: whoever hears 200 and looks finds it on its way.
    if let Some(handover) = handover {
        handover.put(
            new.iter()
                .filter(|callback| !known.contains(&callback.digest))
                .map(|callback| Body {
                    id: callback.id,
                    body: callback.body.clone(),
                    tries: 0,
                    signed_by: callback.signed_by.clone(),
                }),
        );
    }
    let mut first_of: HashMap<[u8; 32], bool> = HashMap::new();
    for waiting in batch {
        let repeat =
            known.contains(&waiting.digest) || first_of.insert(waiting.digest, true).is_some();
        let receipt = if repeat {
            Receipt::Repeat
        } else {
            Receipt::Stored
        };
        // A client that has hung up will send it again, and it will be a repeat.
        let _ = waiting.answer.send(Ok(receipt));
    }
}

/// An error with its causes, in one line.
pub struct ErrorChain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Inbox {
    /// Stores a body in a transaction of its own: what `bench` compares with.
    pub async fn submit_alone(
        &self,
        engine: &Engine,
        body: Bytes,
        signature: Option<Signature>,
        now: Timestamp,
    ) -> Result<Receipt, Busy> {
        let (answer, stored) = oneshot::channel();
        let size = body.len();
        let digest = digest(&body, signature.as_ref());
        store(
            engine,
            vec![Waiting {
                body,
                signed_by: signature.map(|signature| signature.labels),
                digest,
                answer,
                _room: None,
            }],
            size,
            None,
            now,
        )
        .await;
        stored.await.unwrap_or(Err(Busy::Failed))
    }
}
