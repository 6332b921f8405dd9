//! Requests in this process that wait for the result of a send (`Prefer: wait`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use entity::notification;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::domain::time::Timestamp;

/// Requests that wait for results of their notifications. Only a shortcut: waiters also poll the
/// database, because another process may send.
#[derive(Clone, Debug)]
pub struct SendWaiters<News = SendResult>(Arc<Mutex<SendWaiterMap<News>>>);

/// The waiters of each notification.
type SendWaiterMap<News> = HashMap<Uuid, Vec<Arc<SendWaiterSlot<News>>>>;

impl<News> Default for SendWaiters<News> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// One waiter.
#[derive(Debug)]
struct SendWaiterSlot<News> {
    notify: Notify,
    /// The results that have arrived so far.
    results: Mutex<HashMap<Uuid, News>>,
}

/// The committed result of a notification.
#[derive(Clone, Debug)]
pub struct SendResult {
    pub row: notification::Model,
    /// When the provider accepted it, if it did.
    pub accepted_at: Option<Timestamp>,
}

/// A registered waiter; dropping it unregisters it.
#[derive(Debug)]
pub struct SendWaiter<News = SendResult> {
    answers: SendWaiters<News>,
    ids: Vec<Uuid>,
    place: Arc<SendWaiterSlot<News>>,
}

impl<News: Clone> SendWaiters<News> {
    /// Registers a waiter for the results of these notifications.
    pub fn wait_for(&self, ids: &[Uuid]) -> SendWaiter<News> {
        let place = Arc::new(SendWaiterSlot {
            notify: Notify::new(),
            results: Mutex::default(),
        });
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            waiting.entry(*id).or_default().push(Arc::clone(&place));
        }
        SendWaiter {
            answers: Self(Arc::clone(&self.0)),
            ids: ids.to_vec(),
            place,
        }
    }

    /// The notifications among these that have waiters.
    pub fn waited_for(&self, ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return Vec::new();
        }
        ids.filter(|id| waiting.contains_key(id)).collect()
    }

    /// Delivers the results of notifications to their waiters.
    pub fn tell(&self, news: impl Iterator<Item = (Uuid, News)>) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, result) in news {
            for place in waiting.get(&id).into_iter().flatten() {
                place
                    .results
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(id, result.clone());
                place.notify.notify_one();
            }
        }
    }

    /// Number of notifications that have waiters.
    pub fn len(&self) -> usize {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<News: Clone> SendWaiter<News> {
    /// Returns when a result has arrived since the last call.
    pub async fn notified(&self) {
        self.place.notify.notified().await;
    }

    /// The latest result of a notification.
    pub fn news_of(&self, id: Uuid) -> Option<News> {
        let results = self
            .place
            .results
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        results.get(&id).cloned()
    }
}

impl<News> Drop for SendWaiter<News> {
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

    use super::SendWaiters;

    #[tokio::test]
    async fn whoever_waits_is_told_and_leaves_nothing_behind() {
        let answers: SendWaiters<&str> = SendWaiters::default();
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = answers.wait_for(&[mine]);
        let second = answers.wait_for(&[mine, other]);
        // A result before the waiter listens is not lost.
        assert_eq!(answers.waited_for([mine].into_iter()), [mine]);
        answers.tell([(mine, "sent")].into_iter());
        first.notified().await;
        second.notified().await;
        assert_eq!(first.news_of(mine), Some("sent"));
        assert_eq!(second.news_of(other), None);
        drop(first);
        assert_eq!(answers.len(), 2);
        drop(second);
        assert!(answers.is_empty());
    }
}
