//! Calls of this process that have not returned.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// The messages whose calls are open in this process. It does not depend on the clock: a clock that
/// is put forward ends no call, and a message whose call is open is not sent again.
#[derive(Clone, Debug, Default)]
pub struct OpenProviderCalls(Arc<Mutex<HashMap<Uuid, usize>>>);

/// A claimed call; dropping this ends it.
#[derive(Debug)]
pub struct OpenProviderCall {
    all: OpenProviderCalls,
    notification: Uuid,
}

impl OpenProviderCalls {
    /// Marks the call of this message as open.
    pub(in crate::engine) fn open(&self, notification: Uuid) -> OpenProviderCall {
        *self.lock().entry(notification).or_default() += 1;
        OpenProviderCall {
            all: self.clone(),
            notification,
        }
    }

    /// The messages among these whose calls are open.
    pub fn of(&self, notifications: &[Uuid]) -> Vec<Uuid> {
        let open = self.lock();
        notifications
            .iter()
            .copied()
            .filter(|id| open.contains_key(id))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenProviderCall {
    fn drop(&mut self) {
        let mut open = self.all.lock();
        if let Some(count) = open.get_mut(&self.notification) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.notification);
            }
        }
    }
}
