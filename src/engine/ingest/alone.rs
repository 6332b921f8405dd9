//! What is applied by itself, or not at all: bodies of segments during which processes ended, and
//! segments that cannot be read.

use std::time::Instant;

use super::{CallbackBatch, CallbackBatchSummary};
use crate::{
    domain::{callback_id::CallbackId, time::Timestamp},
    engine::Engine,
    providers::DeadLetterItem,
    store::{
        StoreError,
        callback::{
            self, AppliedCallback, AppliedCallbackSegment, CallbackItemCounts, CallbackSegment,
            CallbackSegmentLease, UnreadableCallbackSegment,
        },
    },
};

/// Counts of a body of which nothing can be applied.
const ALL_DEAD: CallbackItemCounts = CallbackItemCounts {
    items: 1,
    dead_items: 1,
};

/// Applies a segment body by body. Before each, it is noted which one it is; with its effects, that
/// it is done. So the body during which a process ended is known, and is set aside.
pub(super) async fn body_by_body(
    engine: &Engine,
    segment: &CallbackSegment,
    now: Timestamp,
    applied: &mut CallbackBatchSummary,
) -> Result<(), StoreError> {
    let started = Instant::now();
    let seconds = engine.settings.policy.lease_seconds;
    let done = callback::applied_bodies(engine.store.reader(), segment.id).await?;
    for (position, body) in (0_u32..).zip(&segment.bodies) {
        if done.contains_key(&position) {
            continue;
        }
        let id = CallbackId::new(segment.id, position);
        let passed = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let lease = CallbackSegmentLease {
            owner: engine.process,
            until: now.plus_seconds(seconds).plus_micros(passed),
        };
        let mut batch = CallbackBatch::default();
        let counts = if segment.alone_at == Some(position) {
            set_aside(
                &mut batch,
                id,
                "processing it ended the process several times",
            );
            ALL_DEAD
        } else {
            let inbox = engine.store.inbox();
            let is_ours = inbox
                .write(async |tx| callback::begin_alone(tx, id, lease).await)
                .await?;
            if !is_ours {
                return Ok(());
            }
            batch.add(engine, id, &segment.endpoint, body)
        };
        batch.marks.body = Some(AppliedCallback { id, counts });
        batch.apply(engine, now, applied).await?;
    }
    let done = callback::applied_bodies(engine.store.reader(), segment.id).await?;
    let positions = (0_u32..).zip(&segment.bodies);
    let mark = AppliedCallbackSegment {
        id: segment.id,
        counts: positions
            .map(|(position, _)| done.get(&position).copied().unwrap_or_default())
            .collect(),
    };
    engine
        .store
        .write(async |tx| {
            callback::mark_applied(tx, std::slice::from_ref(&mark), now).await?;
            callback::forget_applied_bodies(tx, mark.id).await
        })
        .await?;
    engine.store.note_applied_segments([mark.id]);
    Ok(())
}

/// A body of which nothing is applied.
fn set_aside(batch: &mut CallbackBatch, id: CallbackId, reason: &str) {
    let dead = DeadLetterItem {
        pointer: String::new(),
        reason: reason.to_owned(),
    };
    batch.bodies += 1;
    batch.dead.push((id.uuid(), dead));
}

/// Sets aside segments that cannot be read: each of their bodies is a dead letter, and they stay
/// stored. They can be replayed if the database is mended.
pub async fn set_aside_unreadable(
    engine: &Engine,
    segments: &[UnreadableCallbackSegment],
    now: Timestamp,
) -> Result<(), StoreError> {
    for UnreadableCallbackSegment { id, bodies, error } in segments {
        tracing::error!(
            event = "callback.segment_damaged",
            segment = id.number(),
            bodies,
            %error,
            "stored callbacks cannot be read: they are dead letters, see `herald callbacks list --dead`"
        );
        let mut batch = CallbackBatch::default();
        for position in 0..*bodies {
            let reason = format!("it cannot be read from the database: {error}");
            set_aside(&mut batch, CallbackId::new(*id, position), &reason);
        }
        batch.marks.segments.push(AppliedCallbackSegment {
            id: *id,
            counts: vec![ALL_DEAD; batch.bodies],
        });
        let mut applied = CallbackBatchSummary::default();
        batch.apply(engine, now, &mut applied).await?;
        metrics::counter!("herald_callback_items_total", "result" => "dead")
            .increment(u64::from(*bodies));
    }
    Ok(())
}
