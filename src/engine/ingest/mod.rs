//! Applies stored callbacks: parses, matches and applies a batch of segments in one transaction. A
//! permanent failure is narrowed down to the item, which becomes a dead letter; a transient failure
//! repeats the whole batch.

mod account_updates;
mod alone;
pub mod bounces;
mod commit;
mod inbound;
pub mod inbox;
mod people;
mod read;
pub mod read_marks;
mod replay;
mod updates;
pub mod voice_call;

use std::collections::BTreeSet;

use uuid::Uuid;

pub use alone::set_aside_unreadable;
pub use replay::{CallbackReplayOutcome, ERASED, replay};

use self::{
    commit::{CallbackBatchMarks, commit},
    read::read,
};
use super::{
    Engine,
    runtime::{
        isolate::{IsolatedPiece, isolate},
        keyring::ProviderCredentialSet,
    },
};
use crate::{
    domain::{callback_id::CallbackId, time::Timestamp},
    providers::{CallbackItem, DeadLetterItem},
    store::{
        Store, StoreError,
        callback::{AppliedCallbackSegment, CallbackBody, CallbackItemCounts, CallbackSegment},
    },
};

/// Bodies per transaction, and in a segment: many, because a batch costs little more than one body;
/// fewer on SQLite, where storing callbacks has to wait meanwhile.
pub fn batch_size(store: &Store) -> usize {
    if store.is_sqlite() { 200 } else { 500 }
}

/// Most items per transaction.
const MOST_TOGETHER: usize = 2_000;

/// Items that a replay takes at a time.
const REPLAYED: usize = 500;

/// A segment that was being processed during this many crashes is processed body by body.
const ALONE_AFTER_TRIES: i64 = 3;

/// One item, and the callback it came in.
struct CallbackWorkItem {
    callback_id: Uuid,
    item: CallbackItem,
    /// The senders that an item which names none may be about, by the secret that proved it.
    senders: Vec<Uuid>,
}

impl CallbackWorkItem {
    /// Whether it can be about a call of this sender.
    fn speaks_for(&self, ring: &ProviderCredentialSet, sender: Uuid) -> bool {
        if self.senders.is_empty() {
            ring.speaks_for(self.item.endpoint_id.as_deref(), sender)
        } else {
            self.senders.contains(&sender)
        }
    }
}

/// Result of a batch.
#[derive(Debug, Default)]
pub struct CallbackBatchSummary {
    pub bodies: usize,
    pub items: usize,
    pub dead: usize,
}

/// Whether a segment is processed body by body, as processes ended over it.
pub const fn is_suspect(segment: &CallbackSegment) -> bool {
    segment.tries >= ALONE_AFTER_TRIES
}

/// Processes segments. A transient error is returned, and nothing becomes a dead letter: the caller
/// repeats the turn.
pub async fn process(
    engine: &Engine,
    segments: &[CallbackSegment],
    now: Timestamp,
) -> Result<CallbackBatchSummary, StoreError> {
    engine.refresh_keyring().await?;
    let mut applied = CallbackBatchSummary::default();
    let (alone, together): (Vec<&CallbackSegment>, Vec<&CallbackSegment>) =
        segments.iter().partition(|segment| is_suspect(segment));
    if !together.is_empty() {
        let mut batch = CallbackBatch::default();
        for segment in together {
            batch.add_segment(engine, segment);
        }
        batch.apply(engine, now, &mut applied).await?;
    }
    for segment in alone {
        alone::body_by_body(engine, segment, now, &mut applied).await?;
    }
    metrics::counter!("herald_callback_items_total", "result" => "applied")
        .increment(u64::try_from(applied.items).unwrap_or(0));
    metrics::counter!("herald_callback_items_total", "result" => "dead")
        .increment(u64::try_from(applied.dead).unwrap_or(0));
    Ok(applied)
}

/// Bodies that are applied together, and what is marked with them.
#[derive(Default)]
struct CallbackBatch {
    bodies: usize,
    work: Vec<CallbackWorkItem>,
    dead: Vec<(Uuid, DeadLetterItem)>,
    marks: CallbackBatchMarks,
}

impl CallbackBatch {
    fn add_segment(&mut self, engine: &Engine, segment: &CallbackSegment) {
        let counts = (0_u32..)
            .zip(&segment.bodies)
            .map(|(position, body)| {
                let id = CallbackId::new(segment.id, position);
                self.add(engine, id, &segment.endpoint, body)
            })
            .collect();
        self.marks.segments.push(AppliedCallbackSegment {
            id: segment.id,
            counts,
        });
    }

    /// Adds a body, and says what is in it.
    fn add(
        &mut self,
        engine: &Engine,
        id: CallbackId,
        endpoint: &str,
        body: &CallbackBody,
    ) -> CallbackItemCounts {
        let (items, lost) = read(engine, id.uuid(), endpoint, body);
        let counts = CallbackItemCounts {
            items: (items.len() + lost.len()) as u64,
            dead_items: lost.len() as u64,
        };
        self.bodies += 1;
        self.work.extend(items);
        self.dead
            .extend(lost.into_iter().map(|dead| (id.uuid(), dead)));
        counts
    }

    async fn apply(
        mut self,
        engine: &Engine,
        now: Timestamp,
        applied: &mut CallbackBatchSummary,
    ) -> Result<(), StoreError> {
        let (most, rest) = self
            .work
            .split_at(self.work.len() - self.work.len() % MOST_TOGETHER);
        // No transaction of unbounded size: the bodies are marked with the last piece, and applying a
        // piece twice changes nothing.
        let mut foreign = ForeignCallbackItems::default();
        let mut together = Ok(());
        for piece in most.chunks(MOST_TOGETHER) {
            together = commit(engine, piece, None, &[], now)
                .await
                .map(|refused| foreign.add(refused));
            if together.is_err() {
                break;
            }
        }
        if together.is_ok() {
            let marks = foreign.counted_in(&self.marks);
            together = commit(engine, rest, Some(&marks), &self.dead, now)
                .await
                .map(|refused| foreign.add(refused));
        }
        match together {
            Ok(()) => {}
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {
                // Some item cannot be applied: it is found, and the others are spared.
                for chunk in self.work.chunks(MOST_TOGETHER) {
                    let pieces = isolate(chunk, async |piece| {
                        commit(engine, piece, None, &[], now).await
                    })
                    .await?;
                    for IsolatedPiece { items, result } in pieces {
                        match result {
                            Ok(refused) => foreign.add(refused),
                            Err(error) => {
                                let reason = format!("it cannot be applied: {error}");
                                for work in items {
                                    self.marks.add_dead(work.callback_id);
                                    self.dead.push((
                                        work.callback_id,
                                        DeadLetterItem {
                                            pointer: work.item.pointer.clone(),
                                            reason: reason.clone(),
                                        },
                                    ));
                                }
                            }
                        }
                    }
                }
                let marks = foreign.counted_in(&self.marks);
                commit(engine, &[], Some(&marks), &self.dead, now).await?;
            }
        }
        let dead = self.dead.len() + foreign.0.len();
        if dead > 0 {
            tracing::warn!(
                event = "callback.dead_letter",
                count = dead,
                "callback items could not be applied: see `herald callbacks list --dead`"
            );
        }
        applied.bodies += self.bodies;
        applied.items += self.work.len();
        applied.dead += dead;
        Ok(())
    }
}

/// Statuses of messages that another sender sent, each once: a piece that is applied again finds the
/// same ones.
#[derive(Debug, Default)]
struct ForeignCallbackItems(BTreeSet<(Uuid, String)>);

impl ForeignCallbackItems {
    fn add(&mut self, refused: Vec<(Uuid, DeadLetterItem)>) {
        let keys = refused
            .into_iter()
            .map(|(callback, dead)| (callback, dead.pointer));
        self.0.extend(keys);
    }

    /// Marks in which these count as dead.
    fn counted_in(&self, marks: &CallbackBatchMarks) -> CallbackBatchMarks {
        let mut marks = marks.clone();
        for (callback, _) in &self.0 {
            marks.add_dead(*callback);
        }
        marks
    }
}
