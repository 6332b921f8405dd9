//! Tells open pages that something has changed.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{
        StoreError,
        live::{Cursor, cursor},
    },
};

/// What open pages listen to.
#[derive(Debug)]
pub struct LivePages {
    /// Counts changes; none: the process stops.
    changes: watch::Sender<Option<u64>>,
    seen: Mutex<Cursor>,
    /// Rung when somebody begins to listen.
    pub opened: Notify,
}

impl Default for LivePages {
    fn default() -> Self {
        Self {
            changes: watch::Sender::new(Some(0)),
            seen: Mutex::default(),
            opened: Notify::new(),
        }
    }
}

impl LivePages {
    /// Listens from now on.
    pub fn listen(&self) -> watch::Receiver<Option<u64>> {
        let mut receiver = self.changes.subscribe();
        receiver.mark_unchanged();
        self.opened.notify_one();
        receiver
    }

    /// Ends it for all who listen.
    pub fn end(&self) {
        self.changes.send_replace(None);
    }

    fn tell(&self, found: Cursor) -> bool {
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

/// Looks whether something has changed, if anybody listens. Says whether it has.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    if engine.live.changes.receiver_count() == 0 {
        return Ok(false);
    }
    let found = cursor(&engine.store, now).await?;
    Ok(engine.live.tell(found))
}
