//! Workers that store callbacks, and process stored ones.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{
    domain::{horizon, time::Timestamp},
    engine::{
        Engine,
        ingest::{
            self,
            inbox::{self, CallbackInboxReceiver, CallbackMemoryQueue},
        },
    },
    state::Clock,
    store::{
        StoreError,
        callback::{
            self, CallbackClaimScope, CallbackClaimSizeLimits, CallbackSegment,
            CallbackSegmentLease, UnreadableCallbackSegment,
        },
    },
};

/// The table is polled this often even while there is work in memory.
const LOOK_MICROS: i64 = 1_000_000;

/// While busy, a turn waits this long for half a batch.
const GATHER: Duration = Duration::from_millis(10);

/// Most bytes of bodies per turn: their items are all in memory.
const MAX_TURN_BYTES: usize = 4 * 1024 * 1024;

/// Stores callbacks until the inbox is closed and empty: every waiting client gets an answer.
pub async fn store(
    engine: Arc<Engine>,
    mut intake: CallbackInboxReceiver,
    handover: Option<Arc<CallbackMemoryQueue>>,
    clock: Clock,
) {
    while inbox::store_turn(&engine, &mut intake, handover.as_deref(), || clock.now())
        .await
        .is_some()
    {}
}

/// Most bytes that a claim takes from the table.
const MAX_CLAIM_BYTES: i64 = 4 * 1024 * 1024;

/// State of the processor between turns.
#[derive(Debug, Default)]
pub struct CallbackProcessor {
    /// Segments that were taken and not finished: a transient error repeats them.
    unfinished: Vec<CallbackSegment>,
    /// Segments that were claimed and cannot be read.
    unreadable: Vec<UnreadableCallbackSegment>,
    next_look: Timestamp,
}

/// How many bodies segments have.
fn bodies(segments: &[CallbackSegment]) -> usize {
    segments.iter().map(|segment| segment.bodies.len()).sum()
}

/// How many of these segments, from the first on, are applied in one transaction.
fn together(segments: &[CallbackSegment], most_bodies: usize) -> usize {
    let (mut bodies, mut size) = (0, 0);
    let fitting = segments.iter().take_while(|segment| {
        bodies += segment.bodies.len();
        size += segment.size();
        bodies <= most_bodies && size <= MAX_TURN_BYTES
    });
    fitting.count().max(1)
}

impl CallbackProcessor {
    /// Takes a batch, from memory or from the table, and applies it.
    pub async fn turn(
        &mut self,
        engine: &Engine,
        handover: &CallbackMemoryQueue,
        now: Timestamp,
    ) -> Result<WorkerTurnOutcome, StoreError> {
        let lease = CallbackSegmentLease {
            owner: engine.process,
            until: now.plus_seconds(engine.settings.policy.lease_seconds),
        };
        if self.unfinished.is_empty() {
            self.gather(engine, handover, lease, now).await?;
        } else {
            let ids: Vec<_> = self.unfinished.iter().map(|segment| segment.id).collect();
            let inbox = engine.store.inbox();
            inbox
                .write(async |tx| callback::renew(tx, &ids, lease).await)
                .await?;
        }
        if self.unfinished.is_empty() && self.unreadable.is_empty() {
            return Ok(WorkerTurnOutcome::Idle);
        }
        // What may end the process comes after the others.
        self.unfinished.sort_by_key(ingest::is_suspect);
        let most = ingest::batch_size(&engine.store);
        while !self.unfinished.is_empty() {
            let count = together(&self.unfinished, most);
            let (batch, _) = self.unfinished.split_at(count);
            ingest::process(engine, batch, now).await?;
            self.unfinished.drain(..count);
        }
        // Last: they must not keep the others waiting.
        ingest::set_aside_unreadable(engine, &self.unreadable, now).await?;
        self.unreadable.clear();
        Ok(WorkerTurnOutcome::Worked)
    }
}

impl CallbackProcessor {
    /// Takes the next segments: urgent ones first, wherever they wait, then the oldest. Those in
    /// memory are older than those left in the table for lack of memory.
    async fn gather(
        &mut self,
        engine: &Engine,
        handover: &CallbackMemoryQueue,
        lease: CallbackSegmentLease,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let limit = ingest::batch_size(&engine.store);
        // A part of every batch is reserved for the others, as in a claim.
        self.unfinished = handover.take_urgent(limit - limit / 4);
        // Bodies that wait in the table are claimed as soon as memory has nothing older.
        let is_next = handover.is_table_first() && !handover.has_ordinary();
        let is_time = horizon::has_come(self.next_look, now, LOOK_MICROS);
        let mut has_ordinary = false;
        if (is_next || is_time) && engine.may_claim() {
            self.next_look = now.plus_micros(LOOK_MICROS);
            let (urgent, ordinary) = callback::unowned(&engine.store, now).await?;
            handover.set_table_first(ordinary);
            let which = if ordinary && !handover.has_ordinary() {
                Some(CallbackClaimScope::All)
            } else {
                urgent.then_some(CallbackClaimScope::Urgent)
            };
            if let Some(which) = which {
                has_ordinary = which == CallbackClaimScope::All;
                let left = limit.saturating_sub(bodies(&self.unfinished));
                let most = CallbackClaimSizeLimits {
                    bodies: i64::try_from(left).unwrap_or(1),
                    bytes: MAX_CLAIM_BYTES,
                };
                let (inbox, main) = (engine.store.inbox(), engine.store.reader());
                let claimed = inbox
                    .write(async |tx| {
                        // On PostgreSQL it is one database, and a second connection might not be free.
                        if inbox.is_sqlite() {
                            callback::claim(tx, main, which, lease, now, most).await
                        } else {
                            callback::claim(tx, tx, which, lease, now, most).await
                        }
                    })
                    .await?;
                // There may be more: look again at once.
                self.next_look = now;
                self.unfinished.extend(claimed.segments);
                self.unreadable.extend(claimed.unreadable);
            }
        }
        // A segment of them at least, however large those before it are.
        let at_least = usize::from(!has_ordinary);
        let left = limit.saturating_sub(bodies(&self.unfinished)).max(at_least);
        self.unfinished.extend(handover.take_ordinary(left));
        let left = limit.saturating_sub(bodies(&self.unfinished));
        self.unfinished.extend(handover.take_urgent(left));
        Ok(())
    }
}

/// Processes until stopped.
pub async fn process(
    engine: Arc<Engine>,
    handover: Arc<CallbackMemoryQueue>,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut processor = CallbackProcessor::default();
    let mut busy = false;
    super::run(
        "inbox",
        stop,
        Duration::from_secs(1),
        Some(&handover.arrived),
        async || {
            // Under load a batch costs little more than one body: let a batch gather.
            if busy && handover.len() < ingest::batch_size(&engine.store) / 2 {
                tokio::time::sleep(GATHER).await;
            }
            let turn = processor.turn(&engine, &handover, clock.now()).await?;
            busy = turn == WorkerTurnOutcome::Worked;
            Ok(turn)
        },
    )
    .await;
}
