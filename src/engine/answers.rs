//! Who waits, in this process, to hear what became of a call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::time::Timestamp;

/// Requests that wait for the answers to their notifications. Only a shortcut:
/// whoever waits looks into the database as well, as another process may send.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<Row>>);

/// Who waits for which notification.
type Row = HashMap<Uuid, Vec<Arc<Place>>>;

/// One who waits.
#[derive(Debug, Default)]
struct Place {
    notify: Notify,
    /// When the provider took what is waited for, as far as it was told.
    accepted: Mutex<HashMap<Uuid, Timestamp>>,
}

/// A place in the row, given up when it is dropped.
#[derive(Debug)]
pub struct Waiter {
    answers: Answers,
    ids: Vec<Uuid>,
    place: Arc<Place>,
}

impl Answers {
    /// From now on, answers to these notifications are told.
    pub fn wait_for(&self, ids: &[Uuid]) -> Waiter {
        let place = Arc::new(Place::default());
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            waiting.entry(*id).or_default().push(Arc::clone(&place));
        }
        Waiter {
            answers: self.clone(),
            ids: ids.to_vec(),
            place,
        }
    }

    /// Something is known of these notifications, and committed; when the provider took
    /// them, if it did.
    pub fn tell(&self, told: impl Iterator<Item = (Uuid, Option<Timestamp>)>) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for (id, accepted_at) in told {
            for place in waiting.get(&id).into_iter().flatten() {
                if let Some(at) = accepted_at {
                    let mut accepted = place
                        .accepted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    accepted.insert(id, at);
                }
                place.notify.notify_one();
            }
        }
    }

    /// How many notifications are waited for.
    pub fn len(&self) -> usize {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiter {
    /// Until something was told since the last time.
    pub async fn told(&self) {
        self.place.notify.notified().await;
    }

    /// When the provider took a notification, if that was told.
    pub fn accepted_at(&self, id: Uuid) -> Option<Timestamp> {
        let accepted = self
            .place
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        accepted.get(&id).copied()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self
            .answers
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            if let Some(row) = waiting.get_mut(id) {
                row.retain(|place| !Arc::ptr_eq(place, &self.place));
                if row.is_empty() {
                    waiting.remove(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Answers, Timestamp};

    #[tokio::test]
    async fn whoever_waits_is_told_and_leaves_nothing_behind() {
        let answers = Answers::default();
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = answers.wait_for(&[mine]);
        let second = answers.wait_for(&[mine, other]);
        // Told before anybody listened: it is not lost.
        let at = Timestamp::from_unix_seconds(1);
        answers.tell([(mine, Some(at))].into_iter());
        first.told().await;
        second.told().await;
        assert_eq!(first.accepted_at(mine), Some(at));
        assert_eq!(second.accepted_at(other), None);
        drop(first);
        assert_eq!(answers.len(), 2);
        drop(second);
        assert!(answers.is_empty());
    }
}
