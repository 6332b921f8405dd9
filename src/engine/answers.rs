//! Who waits, in this process, to hear what became of a call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

/// Requests that wait for the answers to their notifications. Only a shortcut:
/// whoever waits looks into the database as well, as another process may send.
#[derive(Debug, Default)]
pub struct Answers {
    waiting: Mutex<HashMap<Uuid, Vec<Arc<Notify>>>>,
}

/// A place in the row, given up when it is dropped.
#[derive(Debug)]
pub struct Waiter<'a> {
    answers: &'a Answers,
    ids: Vec<Uuid>,
    notify: Arc<Notify>,
}

impl Answers {
    /// From now on, answers to these notifications are told.
    pub fn wait_for(&self, ids: &[Uuid]) -> Waiter<'_> {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            waiting.entry(*id).or_default().push(Arc::clone(&notify));
        }
        Waiter {
            answers: self,
            ids: ids.to_vec(),
            notify,
        }
    }

    /// Something is known of these notifications, and committed.
    pub fn tell(&self, ids: impl Iterator<Item = Uuid>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for id in ids {
            for notify in waiting.get(&id).into_iter().flatten() {
                notify.notify_one();
            }
        }
    }

    /// How many notifications are waited for.
    pub fn len(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiter<'_> {
    /// Until something was told since the last time.
    pub async fn told(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self
            .answers
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for id in &self.ids {
            if let Some(row) = waiting.get_mut(id) {
                row.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
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

    use super::Answers;

    #[tokio::test]
    async fn whoever_waits_is_told_and_leaves_nothing_behind() {
        let answers = Answers::default();
        let (mine, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = answers.wait_for(&[mine]);
        let second = answers.wait_for(&[mine, other]);
        // Told before anybody listened: it is not lost.
        answers.tell([mine].into_iter());
        first.told().await;
        second.told().await;
        drop(first);
        assert_eq!(answers.len(), 2);
        drop(second);
        assert!(answers.is_empty());
    }
}
