//! Notifies open dashboard pages of changes.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{
        StoreError,
        live::{DashboardChangeCursor, cursor},
    },
};

/// The subscription of open pages.
#[derive(Debug)]
pub struct DashboardChangeNotifier {
    /// Counts changes; `None` when the process stops.
    changes: watch::Sender<Option<u64>>,
    seen: Mutex<DashboardChangeCursor>,
    /// Notified when a page subscribes.
    pub opened: Notify,
}

impl Default for DashboardChangeNotifier {
    fn default() -> Self {
        Self {
            changes: watch::Sender::new(Some(0)),
            seen: Mutex::default(),
            opened: Notify::new(),
        }
    }
}

impl DashboardChangeNotifier {
    /// Subscribes to changes from now on.
    pub fn listen(&self) -> watch::Receiver<Option<u64>> {
        let mut receiver = self.changes.subscribe();
        receiver.mark_unchanged();
        self.opened.notify_one();
        receiver
    }

    /// Ends all subscriptions.
    pub fn end(&self) {
        self.changes.send_replace(None);
    }

    fn tell(&self, found: DashboardChangeCursor) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found {
            return false;
        }
        *seen = found;
        self.changes.send_modify(|count| {
            *count = count.map(|count| count.wrapping_add(1));
        });
        true
    }
}

/// Checks for changes if a page is subscribed. Returns whether there were any.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    if engine.live.changes.receiver_count() == 0 {
        return Ok(false);
    }
    let found = cursor(&engine.store, now).await?;
    Ok(engine.live.tell(found))
}
