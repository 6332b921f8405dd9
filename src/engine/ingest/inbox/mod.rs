//! The inbox of callbacks: stores bodies that arrive together in one transaction, and acknowledges
//! them only after it has committed.

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, oneshot};

mod room;

pub use room::{BodyMemoryReservation, CallbackPeerTrust};

use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        runtime::{backlog::CallbackBacklogMonitor, keyring::CallbackSignerNames},
    },
    error::ErrorChain,
    providers::ProviderCallbackReceiver,
    store::{
        callback::{self, CallbackBatchLeases, CallbackBody, NewCallback},
        new_id,
    },
};

/// Most bodies per transaction.
const MAX_BATCH: usize = 512;

/// Most bytes per transaction: a batch must not take long.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of either class that may wait in memory for the processor; further bodies are read from
/// the table.
const HANDOVER_BYTES: usize = 8 * 1024 * 1024;

/// Result of storing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackStoreOutcome {
    Stored,
    /// The body was stored before.
    Repeat,
}

/// Why a body was not stored. Each means: send it again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackInboxRefusal {
    /// Too many bodies are waiting.
    Full,
    /// The backlog would take the disk space that applying it needs.
    NoRoom,
    /// It was not stored in time.
    Late,
    /// The database refused it.
    Failed,
}

impl CallbackInboxRefusal {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRoom => "no_room",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

struct CallbackInboxSubmission {
    endpoint: &'static str,
    body: Bytes,
    /// Labels of the secrets that signed it, if there are several apps.
    signed_by: Option<String>,
    /// Urgent bodies are applied before the others.
    urgent: bool,
    digest: [u8; 32],
    answer: oneshot::Sender<Result<CallbackStoreOutcome, CallbackInboxRefusal>>,
    /// Memory reservation: released with the body, not when the client stops waiting.
    _room: Option<BodyMemoryReservation>,
}

/// The sending end, bounded in bytes and in waiting time.
#[derive(Debug)]
pub struct CallbackInbox {
    queue: mpsc::UnboundedSender<CallbackInboxSubmission>,
    rooms: room::BodyMemoryPools,
    max_wait: Duration,
    backlog: Arc<CallbackBacklogMonitor>,
}

/// The receiving end, owned by the worker that stores.
#[derive(Debug)]
pub struct CallbackInboxReceiver {
    queue: mpsc::UnboundedReceiver<CallbackInboxSubmission>,
}

impl CallbackInbox {
    pub fn new(
        max_bytes: usize,
        max_wait: Duration,
        backlog: Arc<CallbackBacklogMonitor>,
    ) -> (Self, CallbackInboxReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let inbox = Self {
            queue: sender,
            rooms: room::BodyMemoryPools::new(max_bytes),
            max_wait,
            backlog,
        };
        (inbox, CallbackInboxReceiver { queue: receiver })
    }

    /// A reservation for a body of an announced size. Nothing is reserved yet.
    pub fn room(&self, announced: usize, origin: CallbackPeerTrust) -> BodyMemoryReservation {
        self.rooms.room(announced, origin, self.max_wait)
    }

    /// Submits a body and waits until it is stored; and longer when processing is behind.
    pub async fn submit(
        &self,
        receiver: &dyn ProviderCallbackReceiver,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        room: BodyMemoryReservation,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let urgent = receiver.is_urgent(&body);
        if !urgent && self.backlog.is_full() {
            return Err(CallbackInboxRefusal::NoRoom);
        }
        let receipt = self
            .stored(receiver.endpoint(), body, signature, urgent, room)
            .await?;
        let delay = self.backlog.answer_delay();
        if !delay.is_zero() {
            metrics::counter!("herald_callbacks_delayed_total").increment(1);
            tokio::time::sleep(delay).await;
        }
        Ok(receipt)
    }

    async fn stored(
        &self,
        endpoint: &'static str,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        urgent: bool,
        room: BodyMemoryReservation,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let digest = digest(&body, signature.as_ref());
        let (answer, stored) = oneshot::channel();
        if self
            .queue
            .send(CallbackInboxSubmission {
                endpoint,
                body,
                signed_by: signature.map(|signature| signature.labels),
                urgent,
                digest,
                answer,
                _room: Some(room),
            })
            .is_err()
        {
            return Err(CallbackInboxRefusal::Failed);
        }
        match tokio::time::timeout(self.max_wait, stored).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallbackInboxRefusal::Failed),
            Err(_) => Err(CallbackInboxRefusal::Late),
        }
    }
}

/// The key that detects repeats. The same bytes signed by two apps are two callbacks: one may be
/// accepted where the other is not.
fn digest(body: &Bytes, signature: Option<&CallbackSignerNames>) -> [u8; 32] {
    let mut digest = Sha256::new();
    if let Some(signature) = signature {
        digest.update(signature.scopes.as_bytes());
        digest.update([0]);
    }
    digest.update(body);
    digest.finalize().into()
}

/// Passes bodies to the processor in memory, without reading them back from the table.
#[derive(Debug, Default)]
pub struct CallbackMemoryQueue {
    urgent: CallbackMemoryQueueLane,
    ordinary: CallbackMemoryQueueLane,
    /// Older ordinary bodies wait in the table: new ones queue behind them.
    table_first: AtomicBool,
    pub arrived: Notify,
}

/// Bodies of one class, oldest first.
#[derive(Debug, Default)]
struct CallbackMemoryQueueLane {
    bodies: Mutex<VecDeque<CallbackBody>>,
    bytes: AtomicUsize,
}

impl CallbackMemoryQueueLane {
    fn bodies(&self) -> MutexGuard<'_, VecDeque<CallbackBody>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, body: CallbackBody) {
        self.bytes.fetch_add(body.body.len(), Ordering::AcqRel);
        self.bodies().push_back(body);
    }

    fn take(&self, limit: usize) -> Vec<CallbackBody> {
        let mut bodies = self.bodies();
        let count = bodies.len().min(limit);
        let taken: Vec<CallbackBody> = bodies.drain(..count).collect();
        drop(bodies);
        self.bytes.fetch_sub(
            taken.iter().map(|body| body.body.len()).sum(),
            Ordering::AcqRel,
        );
        taken
    }
}

impl CallbackMemoryQueue {
    const fn lane(&self, urgent: bool) -> &CallbackMemoryQueueLane {
        if urgent { &self.urgent } else { &self.ordinary }
    }

    /// Whether a class has room for so many bytes.
    fn takes(&self, urgent: bool, size: usize) -> bool {
        let is_behind = !urgent && self.table_first.load(Ordering::Acquire);
        !is_behind && self.lane(urgent).bytes.load(Ordering::Acquire) + size <= HANDOVER_BYTES
    }

    fn put(&self, new: impl Iterator<Item = (bool, CallbackBody)>) {
        for (urgent, body) in new {
            self.lane(urgent).put(body);
        }
        self.arrived.notify_one();
    }

    /// Sets whether ordinary bodies wait in the table, so that new ones must queue behind them.
    pub fn set_table_first(&self, is_first: bool) {
        self.table_first.store(is_first, Ordering::Release);
    }

    /// Whether new ordinary bodies must queue in the table.
    pub fn is_table_first(&self) -> bool {
        self.table_first.load(Ordering::Acquire)
    }

    /// Number of waiting bodies.
    pub fn len(&self) -> usize {
        self.urgent.bodies().len() + self.ordinary.bodies().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has_ordinary(&self) -> bool {
        !self.ordinary.bodies().is_empty()
    }

    /// Up to `limit` urgent bodies, oldest first.
    pub fn take_urgent(&self, limit: usize) -> Vec<CallbackBody> {
        self.urgent.take(limit)
    }

    /// Up to `limit` bodies that are not urgent, oldest first.
    pub fn take_ordinary(&self, limit: usize) -> Vec<CallbackBody> {
        self.ordinary.take(limit)
    }

    /// Up to `limit` bodies: urgent ones first, then the oldest.
    pub fn take(&self, limit: usize) -> Vec<CallbackBody> {
        let mut taken = self.urgent.take(limit);
        taken.extend(self.ordinary.take(limit - taken.len()));
        taken
    }
}

/// Stores the bodies that have gathered. Waits for at least one; `None` when the inbox is closed.
pub async fn store_turn(
    engine: &Engine,
    intake: &mut CallbackInboxReceiver,
    handover: Option<&CallbackMemoryQueue>,
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
    store(engine, batch, handover, clock()).await;
    Some(count)
}

async fn store(
    engine: &Engine,
    mut batch: Vec<CallbackInboxSubmission>,
    handover: Option<&CallbackMemoryQueue>,
    now: Timestamp,
) {
    // Sorted by digest: all processes lock the ledger's rows in one order.
    batch.sort_unstable_by_key(|waiting| (waiting.endpoint, waiting.digest));
    let mut new: Vec<NewCallback> = Vec::with_capacity(batch.len());
    for waiting in &batch {
        match new.last_mut() {
            Some(last) if last.digest == waiting.digest && last.endpoint == waiting.endpoint => {
                last.copies += 1;
            }
            _ => new.push(NewCallback {
                id: new_id(now),
                endpoint: waiting.endpoint,
                digest: waiting.digest,
                body: waiting.body.clone(),
                copies: 1,
                signed_by: waiting.signed_by.clone(),
                urgent: waiting.urgent,
            }),
        }
    }
    // A body that is not handed over gets no lease: the first process that looks takes it.
    let fits = [false, true].map(|urgent| {
        let class = new.iter().filter(|callback| callback.urgent == urgent);
        let size = class.map(|callback| callback.body.len()).sum();
        handover.is_some_and(|handover| handover.takes(urgent, size))
    });
    let [ordinary, urgent] = fits.map(|fits| {
        let seconds = engine.settings.policy.lease_seconds;
        now.plus_seconds(if fits { seconds } else { 0 })
    });
    let leases = CallbackBatchLeases {
        owner: engine.process,
        urgent,
        ordinary,
    };
    let stored = engine
        .store
        .write(async |tx| {
            let mut known: HashSet<(&str, [u8; 32])> = HashSet::new();
            for some in new.chunk_by(|one, other| one.endpoint == other.endpoint) {
                let repeats = callback::store_batch(tx, some, leases, now).await?;
                let endpoint = some.first().map_or("", |callback| callback.endpoint);
                known.extend(repeats.into_iter().map(|digest| (endpoint, digest)));
            }
            Ok(known)
        })
        .await;
    metrics::histogram!("herald_ingest_batch")
        .record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    let known = match stored {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(event = "callback.store_failed", error = %ErrorChain(&error), "callbacks could not be stored: they were answered 503, so that the provider sends them again");
            for waiting in batch {
                let _ = waiting.answer.send(Err(CallbackInboxRefusal::Failed));
            }
            return;
        }
    };
    // Before anything is acknowledged: a client that gets 200 and queries finds the callback in
    // progress.
    if let Some(handover) = handover {
        let [ordinary, urgent] = fits;
        handover.put(
            new.iter()
                .filter(|callback| if callback.urgent { urgent } else { ordinary })
                .filter(|callback| !known.contains(&(callback.endpoint, callback.digest)))
                .map(|callback| {
                    let body = CallbackBody {
                        id: callback.id,
                        endpoint: Cow::Borrowed(callback.endpoint),
                        body: callback.body.clone(),
                        tries: 0,
                        signed_by: callback.signed_by.clone(),
                    };
                    (callback.urgent, body)
                }),
        );
    }
    let mut seen: HashSet<(&str, [u8; 32])> = HashSet::new();
    for waiting in batch {
        let key = (waiting.endpoint, waiting.digest);
        let repeat = known.contains(&key) || !seen.insert(key);
        let receipt = if repeat {
            CallbackStoreOutcome::Repeat
        } else {
            CallbackStoreOutcome::Stored
        };
        // A client that has hung up sends it again, as a repeat.
        let _ = waiting.answer.send(Ok(receipt));
    }
}

impl CallbackInbox {
    /// Stores a body in a transaction of its own: for comparison in `bench`.
    pub async fn submit_alone(
        &self,
        engine: &Engine,
        receiver: &dyn ProviderCallbackReceiver,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        now: Timestamp,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let (answer, stored) = oneshot::channel();
        let digest = digest(&body, signature.as_ref());
        let urgent = receiver.is_urgent(&body);
        store(
            engine,
            vec![CallbackInboxSubmission {
                endpoint: receiver.endpoint(),
                body,
                signed_by: signature.map(|signature| signature.labels),
                urgent,
                digest,
                answer,
                _room: None,
            }],
            None,
            now,
        )
        .await;
        stored.await.unwrap_or(Err(CallbackInboxRefusal::Failed))
    }
}
