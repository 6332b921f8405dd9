//! Worker that checkpoints SQLite's write-ahead log.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::WorkerTurnOutcome;
use crate::{engine::Engine, store::checkpoint};

/// Pause between two turns under load: short, so that the file system has little to write at once,
/// for which a concurrent commit would wait.
const PAUSE: Duration = Duration::from_millis(50);

/// Checkpoints until stopped. PostgreSQL does this by itself.
pub async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    if !engine.store.is_sqlite() {
        return;
    }
    let mut progress = checkpoint::CheckpointProgress::default();
    super::run("checkpoint", stop, PAUSE, None, async || {
        checkpoint::turn(&engine.store, &mut progress).await?;
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}
