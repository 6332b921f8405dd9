//! Passes segments to the processor in memory, without reading them back from the table.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::store::callback::CallbackSegment;

/// Bytes of either class that may wait in memory for the processor; further bodies are read from
/// the table.
const HANDOVER_BYTES: usize = 8 * 1024 * 1024;

/// Passes segments to the processor in memory, without reading them back from the table.
#[derive(Debug, Default)]
pub struct CallbackMemoryQueue {
    urgent: CallbackMemoryQueueLane,
    ordinary: CallbackMemoryQueueLane,
    /// Older ordinary bodies wait in the table: new ones queue behind them.
    table_first: AtomicBool,
    pub arrived: Notify,
}

/// Segments of one class, oldest first.
#[derive(Debug, Default)]
struct CallbackMemoryQueueLane {
    segments: Mutex<VecDeque<CallbackSegment>>,
    bodies: AtomicUsize,
    bytes: AtomicUsize,
}

impl CallbackMemoryQueueLane {
    fn segments(&self) -> MutexGuard<'_, VecDeque<CallbackSegment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, segment: CallbackSegment) {
        self.bytes.fetch_add(segment.size(), Ordering::AcqRel);
        self.bodies
            .fetch_add(segment.bodies.len(), Ordering::AcqRel);
        self.segments().push_back(segment);
    }

    /// Segments of up to `limit` bodies together, and one that alone has more.
    fn take(&self, limit: usize) -> Vec<CallbackSegment> {
        let mut taken = Vec::new();
        let (mut bodies, mut bytes) = (0, 0);
        let mut segments = self.segments();
        while bodies < limit
            && let Some(next) = segments.pop_front()
        {
            if bodies > 0 && bodies + next.bodies.len() > limit {
                segments.push_front(next);
                break;
            }
            bodies += next.bodies.len();
            bytes += next.size();
            taken.push(next);
        }
        drop(segments);
        self.bodies.fetch_sub(bodies, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        taken
    }
}

impl CallbackMemoryQueue {
    const fn lane(&self, urgent: bool) -> &CallbackMemoryQueueLane {
        if urgent { &self.urgent } else { &self.ordinary }
    }

    /// Whether a class has room for so many bytes.
    pub(super) fn takes(&self, urgent: bool, size: usize) -> bool {
        let is_behind = !urgent && self.table_first.load(Ordering::Acquire);
        !is_behind && self.lane(urgent).bytes.load(Ordering::Acquire) + size <= HANDOVER_BYTES
    }

    pub(super) fn put(&self, new: impl Iterator<Item = (bool, CallbackSegment)>) {
        for (urgent, segment) in new {
            self.lane(urgent).put(segment);
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
        [&self.urgent, &self.ordinary]
            .map(|lane| lane.bodies.load(Ordering::Acquire))
            .iter()
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has_ordinary(&self) -> bool {
        !self.ordinary.segments().is_empty()
    }

    /// Segments of up to `limit` urgent bodies, oldest first; the first one may have more.
    pub fn take_urgent(&self, limit: usize) -> Vec<CallbackSegment> {
        self.urgent.take(limit)
    }

    /// The same of bodies that are not urgent.
    pub fn take_ordinary(&self, limit: usize) -> Vec<CallbackSegment> {
        self.ordinary.take(limit)
    }

    /// Everything: urgent segments first, then the oldest.
    pub fn take_all(&self) -> Vec<CallbackSegment> {
        let mut taken = self.urgent.take(usize::MAX);
        taken.extend(self.ordinary.take(usize::MAX));
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;

    use super::CallbackMemoryQueue;
    use crate::{
        domain::callback_id::CallbackSegmentId,
        store::callback::{CallbackBody, CallbackSegment},
    };

    fn segment(number: i64, bodies: usize) -> CallbackSegment {
        let body = CallbackBody {
            body: Bytes::from_static(b"{}"),
            is_erased: false,
            signed_by: None,
        };
        CallbackSegment {
            id: CallbackSegmentId::from_number(number),
            endpoint: Cow::Borrowed("meta"),
            bodies: vec![body; bodies],
            tries: 0,
            alone_at: None,
        }
    }

    fn numbers(taken: &[CallbackSegment]) -> Vec<i64> {
        taken.iter().map(|segment| segment.id.number()).collect()
    }

    #[test]
    fn whole_segments_are_taken_up_to_a_limit_of_bodies_and_at_least_one() {
        let queue = CallbackMemoryQueue::default();
        let sizes = [3, 4, 10, 1].into_iter();
        queue.put(
            (1..)
                .zip(sizes)
                .map(|(number, bodies)| (false, segment(number, bodies))),
        );
        queue.put([(true, segment(5, 2))].into_iter());
        assert_eq!(queue.len(), 20);
        assert!(queue.take_ordinary(0).is_empty());
        assert_eq!(numbers(&queue.take_ordinary(8)), [1, 2]);
        assert_eq!(numbers(&queue.take_ordinary(8)), [3], "one that is larger");
        assert_eq!(queue.len(), 3);
        assert_eq!(numbers(&queue.take_all()), [5, 4]);
        assert!(queue.is_empty() && queue.takes(false, super::HANDOVER_BYTES));
    }
}
