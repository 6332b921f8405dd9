//! Keeps SQLite's write-ahead log short.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Turn;
use crate::{engine::Engine, store::checkpoint};

/// Between two turns under load: rarely enough that a page written often is copied once.
const PAUSE: Duration = Duration::from_millis(250);

/// Checkpoints until stopped. PostgreSQL does this by itself.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    if !engine.store.is_sqlite() {
        return;
    }
    let mut progress = checkpoint::Progress::default();
    super::run("checkpoint", stop, PAUSE, None, async || {
        checkpoint::turn(&engine.store, &mut progress).await?;
        Ok(Turn::Idle)
    })
    .await;
}
