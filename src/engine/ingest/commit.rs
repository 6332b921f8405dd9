//! One transaction with which callbacks are applied.

use uuid::Uuid;

use super::{
    CallbackWorkItem, account_updates, inbound,
    updates::{self, StatusUpdateSteps},
};
use crate::{
    domain::{
        callback_id::{CallbackId, CallbackSegmentId},
        time::Timestamp,
    },
    engine::{
        Engine,
        delivery::status_updates,
        lifecycle,
        runtime::{sender_last_seen::SenderNumberMention, turn::TransactionContext},
    },
    providers::{CallbackItemContent, DeadLetterItem},
    store::{
        DatabaseTransaction, StoreError,
        callback::{self, AppliedCallback, AppliedCallbackSegment, CallbackItemCounts},
        dead_letter,
        dialect::HexUuid,
        new_id,
    },
};

/// What is marked as applied by the last transaction of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct CallbackBatchMarks {
    pub(super) segments: Vec<AppliedCallbackSegment>,
    /// Of a segment that is worked body by body.
    pub(super) body: Option<AppliedCallback>,
}

impl CallbackBatchMarks {
    fn counts_of(&mut self, callback: Uuid) -> Option<&mut CallbackItemCounts> {
        if let Some(body) = &mut self.body {
            return (body.id.uuid() == callback).then_some(&mut body.counts);
        }
        let id = CallbackId::read(callback)?;
        let mut segments = self.segments.iter_mut();
        let segment = segments.find(|segment| segment.id == id.segment)?;
        segment.counts.get_mut(usize::try_from(id.position).ok()?)
    }

    /// One more item of this callback is dead.
    pub(super) fn add_dead(&mut self, callback: Uuid) {
        if let Some(counts) = self.counts_of(callback) {
            counts.dead_items += 1;
        }
    }

    /// Marks them. Returns the segments that another process has applied meanwhile.
    async fn mark(
        &self,
        main: &DatabaseTransaction,
        now: Timestamp,
    ) -> Result<Vec<CallbackSegmentId>, StoreError> {
        if let Some(body) = &self.body {
            let is_ours = callback::mark_body(main, body).await?;
            return Ok(if is_ours {
                Vec::new()
            } else {
                vec![body.id.segment]
            });
        }
        if self.segments.is_empty() {
            return Ok(Vec::new());
        }
        callback::mark_applied(main, &self.segments, now).await
    }

    /// Counts items as dead that became so after the mark, in the same transaction.
    async fn correct(
        &self,
        main: &DatabaseTransaction,
        dead: &[(Uuid, DeadLetterItem)],
    ) -> Result<(), StoreError> {
        if dead.is_empty() {
            return Ok(());
        }
        let mut counted = self.clone();
        for (callback, _) in dead {
            counted.add_dead(*callback);
        }
        if let Some(body) = &counted.body {
            return callback::correct_body(main, body).await;
        }
        let is_changed = |segment: &&AppliedCallbackSegment| {
            dead.iter()
                .any(|(callback, _)| CallbackSegmentId::of(*callback) == segment.id)
        };
        callback::correct_segments(main, counted.segments.iter().filter(is_changed)).await
    }
}

/// Dead letters as rows.
fn letters<'a>(
    dead: impl Iterator<Item = &'a (Uuid, DeadLetterItem)>,
    now: Timestamp,
) -> Vec<dead_letter::NewDeadLetter> {
    dead.map(|(callback, dead)| dead_letter::NewDeadLetter {
        id: HexUuid(new_id(now)),
        callback_id: HexUuid(*callback),
        pointer: dead.pointer.clone(),
        reason: dead.reason.clone(),
    })
    .collect()
}

/// Writes one transaction: marks, inbound messages, updates, dead letters. Returns the rejected
/// items: statuses of messages that another sender sent.
pub(super) async fn commit(
    engine: &Engine,
    work: &[CallbackWorkItem],
    marks: Option<&CallbackBatchMarks>,
    dead: &[(Uuid, DeadLetterItem)],
    now: Timestamp,
) -> Result<Vec<(Uuid, DeadLetterItem)>, StoreError> {
    // Concurrent changes of the same notifications are rare, and locking costs as much as changing:
    // only a retry locks.
    let mut tries = 0;
    let (report, foreign) = engine
        .store
        .write(async |tx| {
            let elsewhere = match marks {
                Some(marks) => marks.mark(tx, now).await?,
                None => Vec::new(),
            };
            let is_ours = |callback: Uuid| !elsewhere.contains(&CallbackSegmentId::of(callback));
            let work: Vec<&CallbackWorkItem> = work
                .iter()
                .filter(|work| is_ours(work.callback_id))
                .collect();
            let dead = dead.iter().filter(|(callback, _)| is_ours(*callback));
            dead_letter::insert(tx, &letters(dead, now), now).await?;
            // Identities come first: the other items refer to them.
            let turn = TransactionContext { engine, tx, now };
            account_updates::identities(turn, &work).await?;
            let mut report = account_updates::apply(turn, &work).await?;
            let of_messages = inbound::steps(turn, &work, &mut report).await?;
            // Last: it reads notifications, which the steps before may have changed.
            let StatusUpdateSteps {
                mut steps,
                matched,
                foreign,
                loaded,
            } = updates::steps(turn, &work).await?;
            dead_letter::insert(tx, &letters(foreign.iter(), now), now).await?;
            if let Some(marks) = marks {
                marks.correct(tx, &foreign).await?;
            }
            steps.extend(of_messages);
            tries += 1;
            let changes = if tries == 1 {
                lifecycle::run_unlocked(engine, tx, loaded, &steps, now).await?
            } else {
                lifecycle::run(engine, tx, &steps, now).await?
            };
            status_updates::learn(engine, tx, &matched, &changes, now).await?;
            report.add(changes);
            Ok((report, foreign))
        })
        .await?;
    if let Some(marks) = marks {
        let applied = marks.segments.iter().map(|segment| segment.id);
        engine.store.note_applied_segments(applied);
    }
    report.publish(engine);
    let numbers = work.iter().filter_map(|work| {
        let number = work.item.endpoint_id.as_deref()?;
        Some(SenderNumberMention {
            number,
            account: work.item.account_id.as_deref(),
            display_number: work.item.display_number.as_deref(),
        })
    });
    engine.sender_last_seen.note(engine, numbers, now).await?;
    for work in work {
        match &work.item.kind {
            CallbackItemContent::Other(other) => {
                tracing::debug!(
                    event = "callback.not_applied",
                    field = other.field,
                    "callback item recorded, no action defined for it"
                );
                metrics::counter!("herald_callback_other_total").increment(1);
            }
            CallbackItemContent::Update(_)
            | CallbackItemContent::Inbound(_)
            | CallbackItemContent::Identity(_)
            | CallbackItemContent::News(_) => {}
        }
    }
    Ok(foreign)
}
