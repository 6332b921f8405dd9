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
        callback::{self, CallbackBody, CallbackClaimScope, CallbackClaimSizeLimits},
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
    /// Bodies that were taken and not finished: a transient error repeats them.
    unfinished: Vec<CallbackBody>,
    next_look: Timestamp,
}

impl CallbackProcessor {
    /// Takes a batch, from memory or from the table, and applies it.
    pub async fn turn(
        &mut self,
        engine: &Engine,
        handover: &CallbackMemoryQueue,
        now: Timestamp,
    ) -> Result<WorkerTurnOutcome, StoreError> {
        let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
        if self.unfinished.is_empty() {
            self.gather(engine, handover, lease, now).await?;
        } else {
            let ids: Vec<_> = self.unfinished.iter().map(|body| body.id).collect();
            engine
                .store
                .write(async |tx| callback::renew(tx, &ids, engine.process, lease).await)
                .await?;
        }
        if self.unfinished.is_empty() {
            return Ok(WorkerTurnOutcome::Idle);
        }
        while !self.unfinished.is_empty() {
            let mut size = 0;
            let count = self
                .unfinished
                .iter()
                .take_while(|body| {
                    let fits = size == 0 || size + body.body.len() <= MAX_TURN_BYTES;
                    size += body.body.len();
                    fits
                })
                .count();
            let (batch, _) = self.unfinished.split_at(count);
            ingest::process(engine, batch, now).await?;
            self.unfinished.drain(..count);
        }
        Ok(WorkerTurnOutcome::Worked)
    }
}

impl CallbackProcessor {
    /// Takes the next bodies: urgent ones first, wherever they wait, then the oldest. Bodies in
    /// memory are older than those left in the table for lack of memory.
    async fn gather(
        &mut self,
        engine: &Engine,
        handover: &CallbackMemoryQueue,
        lease: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let limit = ingest::batch_size(&engine.store);
        // A part of every batch is reserved for the others, as in a claim.
        self.unfinished = handover.take_urgent(limit - limit / 4);
        // Bodies that wait in the table are claimed as soon as memory has nothing older.
        let is_next = handover.is_table_first() && !handover.has_ordinary();
        let is_time = horizon::has_come(self.next_look, now, LOOK_MICROS);
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
                let most = CallbackClaimSizeLimits {
                    bodies: i64::try_from(limit - self.unfinished.len()).unwrap_or(1),
                    bytes: MAX_CLAIM_BYTES,
                };
                let claimed = engine
                    .store
                    .write(async |tx| {
                        callback::claim(tx, which, engine.process, lease, now, most).await
                    })
                    .await?;
                // There may be more: look again at once.
                self.next_look = now;
                self.unfinished.extend(claimed);
            }
        }
        let left = limit - self.unfinished.len();
        self.unfinished.extend(handover.take_ordinary(left));
        let left = limit - self.unfinished.len();
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
