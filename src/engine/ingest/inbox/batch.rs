//! Stores the bodies that came together: cut into segments, in one transaction.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    CallbackInboxReceiver, CallbackInboxRefusal, CallbackInboxSubmission, CallbackMemoryQueue,
    CallbackStoreOutcome,
};
use crate::{
    domain::time::Timestamp,
    engine::{Engine, ingest::batch_size},
    error::ErrorChain,
    store::callback::{
        self, CallbackBody, CallbackSegment, CallbackSegmentLease, NewCallback, NewCallbackSegment,
        PreparedCallbackSegment, StoredCallbackSegment,
    },
};

/// Most bodies per transaction.
const MAX_BATCH: usize = 512;

/// Most bytes per transaction, and in a segment unless a body alone has more: a batch must not take
/// long.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

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

pub(super) async fn store(
    engine: &Engine,
    batch: Vec<CallbackInboxSubmission>,
    handover: Option<&CallbackMemoryQueue>,
    now: Timestamp,
) {
    let drafts = cut(&batch, batch_size(&engine.store));
    // A segment that is not handed over gets no lease: the first process that looks takes it.
    let [ordinary, urgent] = [false, true].map(|urgent| {
        let class = drafts.iter().filter(|draft| draft.urgent == urgent);
        let size = class.map(|draft| draft.size).sum();
        handover.is_some_and(|handover| handover.takes(urgent, size))
    });
    let lease = CallbackSegmentLease {
        owner: engine.process,
        until: now.plus_seconds(engine.settings.policy.lease_seconds),
    };
    let store = &engine.store;
    let prepared: Vec<PreparedCallbackSegment> = drafts
        .into_iter()
        .map(|draft| {
            let is_handed_over = if draft.urgent { urgent } else { ordinary };
            let new = NewCallbackSegment {
                id: store.inbox().new_segment_id(now),
                endpoint: draft.endpoint,
                urgent: draft.urgent,
                lease: is_handed_over.then_some(lease),
                bodies: draft.bodies,
            };
            new.prepare()
        })
        .collect();
    let stored = store
        .write_inbox(async |tx| callback::store_batch(tx, &prepared, now).await)
        .await;
    metrics::histogram!("herald_ingest_batch")
        .record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => {
            tracing::error!(event = "callback.store_failed", error = %ErrorChain(&error), "callbacks could not be stored: they were answered 503, so that the provider sends them again");
            for waiting in batch {
                let _ = waiting.answer.send(Err(CallbackInboxRefusal::Failed));
            }
            return;
        }
    };
    let mut new: HashSet<[u8; 32]> = HashSet::with_capacity(batch.len());
    for (prepared, stored) in prepared.iter().zip(&stored) {
        let bodies = &prepared.new.bodies;
        let kept = stored.kept.iter().filter_map(|place| bodies.get(*place));
        new.extend(kept.map(|kept| kept.digest));
    }
    // Before anything is acknowledged: a client that gets 200 and queries finds the callback in
    // progress.
    if let Some(handover) = handover {
        handover.put(
            prepared
                .into_iter()
                .zip(stored)
                .filter(|(prepared, stored)| {
                    prepared.new.lease.is_some() && !stored.kept.is_empty()
                })
                .map(|(prepared, stored)| (prepared.new.urgent, segment(&prepared.new, &stored))),
        );
    }
    for waiting in batch {
        let receipt = if new.remove(&waiting.digest) {
            CallbackStoreOutcome::Stored
        } else {
            CallbackStoreOutcome::Repeat
        };
        // A client that has hung up sends it again, as a repeat.
        let _ = waiting.answer.send(Ok(receipt));
    }
}

/// A segment as the processor takes it.
fn segment(new: &NewCallbackSegment, stored: &StoredCallbackSegment) -> CallbackSegment {
    let kept = stored
        .kept
        .iter()
        .filter_map(|place| new.bodies.get(*place));
    CallbackSegment {
        id: stored.id,
        endpoint: Cow::Borrowed(new.endpoint),
        bodies: kept
            .map(|new| CallbackBody {
                body: new.body.clone(),
                is_erased: false,
                signed_by: new.signed_by.clone(),
            })
            .collect(),
        tries: 0,
        alone_at: None,
    }
}

/// A segment before it has an id.
#[derive(Debug)]
struct CallbackSegmentDraft {
    endpoint: &'static str,
    urgent: bool,
    bodies: Vec<NewCallback>,
    size: usize,
}

/// Cuts what came together into segments of one endpoint and class each, in the order of arrival,
/// with no body twice. A segment is applied as a whole: none has more than `most` bodies, and urgent
/// ones leave a part of every batch to the others.
fn cut(batch: &[CallbackInboxSubmission], most: usize) -> Vec<CallbackSegmentDraft> {
    let mut drafts: Vec<CallbackSegmentDraft> = Vec::new();
    // The last segment of each endpoint and class, and where each body is.
    let mut open: HashMap<(&str, bool), usize> = HashMap::new();
    let mut places: HashMap<[u8; 32], (usize, usize)> = HashMap::with_capacity(batch.len());
    for waiting in batch {
        if let Some((draft, body)) = places.get(&waiting.digest)
            && let Some(new) = drafts
                .get_mut(*draft)
                .and_then(|draft| draft.bodies.get_mut(*body))
        {
            new.copies += 1;
            continue;
        }
        let CallbackInboxSubmission {
            endpoint, urgent, ..
        } = *waiting;
        let most = if urgent { most - most / 4 } else { most };
        let fits = |draft: &CallbackSegmentDraft| {
            draft.bodies.len() < most && draft.size + waiting.body.len() <= MAX_BATCH_BYTES
        };
        let last = open.get(&(endpoint, urgent)).copied();
        let place = last.filter(|place| drafts.get(*place).is_some_and(fits));
        let place = place.unwrap_or_else(|| {
            drafts.push(CallbackSegmentDraft {
                endpoint,
                urgent,
                bodies: Vec::new(),
                size: 0,
            });
            open.insert((endpoint, urgent), drafts.len() - 1);
            drafts.len() - 1
        });
        if let Some(draft) = drafts.get_mut(place) {
            places.insert(waiting.digest, (place, draft.bodies.len()));
            draft.size += waiting.body.len();
            draft.bodies.push(NewCallback {
                digest: waiting.digest,
                body: waiting.body.clone(),
                copies: 1,
                signed_by: waiting.signed_by.clone(),
            });
        }
    }
    drafts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::{CallbackInboxSubmission, CallbackSegmentDraft, MAX_BATCH_BYTES, cut};

    fn submission(
        endpoint: &'static str,
        urgent: bool,
        number: u16,
        size: usize,
    ) -> CallbackInboxSubmission {
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&number.to_be_bytes());
        CallbackInboxSubmission {
            endpoint,
            body: Bytes::from(vec![b'x'; size]),
            signed_by: None,
            urgent,
            digest,
            answer: oneshot::channel().0,
            _room: None,
        }
    }

    /// Endpoint, class and first bytes of the digests.
    fn contents(drafts: &[CallbackSegmentDraft]) -> Vec<(&str, bool, Vec<u8>)> {
        let numbers =
            |draft: &CallbackSegmentDraft| draft.bodies.iter().map(|new| new.digest[1]).collect();
        drafts
            .iter()
            .map(|draft| (draft.endpoint, draft.urgent, numbers(draft)))
            .collect()
    }

    #[test]
    fn a_segment_is_of_one_endpoint_and_class_in_the_order_of_arrival() {
        let batch = [
            submission("meta", false, 9, 1),
            submission("meta", true, 8, 1),
            submission("file", false, 7, 1),
            submission("meta", false, 6, 1),
            submission("meta", false, 9, 1),
            submission("meta", true, 5, 1),
        ];
        let drafts = cut(&batch, 100);
        assert_eq!(
            contents(&drafts),
            [
                ("meta", false, vec![9, 6]),
                ("meta", true, vec![8, 5]),
                ("file", false, vec![7])
            ]
        );
        assert_eq!(drafts[0].bodies[0].copies, 2);
    }

    #[test]
    fn no_segment_is_larger_than_what_is_applied_together() {
        let of = |urgent, count, size| {
            let batch: Vec<CallbackInboxSubmission> = (0..count)
                .map(|number| submission("meta", urgent, number, size))
                .collect();
            let drafts = cut(&batch, 8);
            drafts
                .iter()
                .map(|draft| draft.bodies.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(false, 20, 1), [8, 8, 4]);
        assert_eq!(of(true, 20, 1), [6, 6, 6, 2]);
        assert_eq!(of(false, 3, MAX_BATCH_BYTES / 2), [2, 1]);
        assert_eq!(of(false, 2, MAX_BATCH_BYTES), [1, 1]);
        assert_eq!(
            of(false, 2, MAX_BATCH_BYTES + 1),
            [1, 1],
            "one alone may be larger"
        );
    }
}
