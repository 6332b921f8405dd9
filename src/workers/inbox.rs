//! Workers that store callbacks, and process stored ones.

use std::{collections::VecDeque, sync::Arc, time::Duration};

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
            CallbackSegmentLease, ClaimedCallbackSegments, UnreadableCallbackSegment,
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

/// Most bodies of one claim that is not urgent: several batches, as each claim is a commit that applying
/// waits for (measured on SQLite: with a batch a claim, half as many statuses were applied from the table
/// as from memory).
const CLAIMED_BODIES: i64 = 2_000;

/// State of the processor between turns.
#[derive(Debug, Default)]
pub struct CallbackProcessor {
    /// Segments that were taken and not finished: a transient error repeats them.
    unfinished: Vec<CallbackSegment>,
    /// Segments that were claimed for the next turns, oldest first.
    claimed: VecDeque<CallbackSegment>,
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
            let held = self.unfinished.iter().chain(&self.claimed);
            let ids: Vec<_> = held.map(|segment| segment.id).collect();
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
    /// Takes the next segments: urgent ones first, wherever they wait, then the oldest. Those that are
    /// claimed are older than those in memory, and those are older than what is left in the table for
    /// lack of memory.
    async fn gather(
        &mut self,
        engine: &Engine,
        handover: &CallbackMemoryQueue,
        lease: CallbackSegmentLease,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let limit = ingest::batch_size(&engine.store);
        // A part of every batch is reserved for the others.
        let urgent_limit = limit - limit / 4;
        self.unfinished = handover.take_urgent(urgent_limit);
        // Bodies that wait in the table are claimed as soon as memory has nothing older.
        let has_older = !self.claimed.is_empty() || handover.has_ordinary();
        let is_next = handover.is_table_first() && !has_older;
        let is_time = horizon::has_come(self.next_look, now, LOOK_MICROS);
        if (is_next || is_time) && engine.may_claim() {
            self.next_look = now.plus_micros(LOOK_MICROS);
            let (urgent, ordinary) = callback::unowned(&engine.store, now).await?;
            handover.set_table_first(ordinary);
            if urgent {
                let left = urgent_limit.saturating_sub(bodies(&self.unfinished));
                let most = i64::try_from(left).unwrap_or(1);
                let claimed = claim(engine, CallbackClaimScope::Urgent, lease, now, most).await?;
                self.unfinished.extend(claimed.segments);
                self.unreadable.extend(claimed.unreadable);
            }
            if ordinary && !has_older {
                let scope = CallbackClaimScope::Ordinary;
                let claimed = claim(engine, scope, lease, now, CLAIMED_BODIES).await?;
                self.claimed.extend(claimed.segments);
                self.unreadable.extend(claimed.unreadable);
            }
            if urgent || ordinary {
                // There may be more: look again at once.
                self.next_look = now;
            }
        }
        // A segment of them at least, however large those before it are.
        let has_claimed = !self.claimed.is_empty();
        let left = limit.saturating_sub(bodies(&self.unfinished));
        self.take_claimed(left);
        let at_least = usize::from(!has_claimed);
        let left = limit.saturating_sub(bodies(&self.unfinished)).max(at_least);
        if self.claimed.is_empty() {
            self.unfinished.extend(handover.take_ordinary(left));
        }
        let left = limit.saturating_sub(bodies(&self.unfinished));
        self.unfinished.extend(handover.take_urgent(left));
        Ok(())
    }

    /// Takes claimed segments of up to so many bodies, one at least.
    fn take_claimed(&mut self, most: usize) {
        let mut taken = 0;
        while let Some(next) = self.claimed.pop_front() {
            if taken > 0 && taken + next.bodies.len() > most {
                self.claimed.push_front(next);
                break;
            }
            taken += next.bodies.len();
            self.unfinished.push(next);
        }
    }
}

/// Claims segments of one class that no process has.
async fn claim(
    engine: &Engine,
    scope: CallbackClaimScope,
    lease: CallbackSegmentLease,
    now: Timestamp,
    bodies: i64,
) -> Result<ClaimedCallbackSegments, StoreError> {
    let most = CallbackClaimSizeLimits {
        bodies,
        bytes: MAX_CLAIM_BYTES,
    };
    let (inbox, main) = (engine.store.inbox(), engine.store.reader());
    inbox
        .write(async |tx| {
            // On PostgreSQL it is one database, and a second connection might not be free.
            if inbox.is_sqlite() {
                callback::claim(tx, main, scope, lease, now, most).await
            } else {
                callback::claim(tx, tx, scope, lease, now, most).await
            }
        })
        .await
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
