//! Stopping in two stages: first no new work, and running work is finished; after the grace period,
//! or at a second signal, the rest is dropped.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time for running work to finish: longer than a call to a provider.
pub const GRACE: Duration = Duration::from_secs(20);

/// The two stages.
#[derive(Clone, Debug, Default)]
pub struct ShutdownTokens {
    /// No new work.
    pub soft: CancellationToken,
    /// Drop everything.
    pub hard: CancellationToken,
}

impl ShutdownTokens {
    /// Follows the process's signals: the first is soft, the second hard.
    pub async fn follow_signals(self) {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::warn!(
                event = "process.signals",
                "this process cannot receive signals: only kill -9 can stop it"
            );
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.soft.cancelled() => {}
        }
        tracing::info!(
            event = "process.stopping",
            "shutting down: finishing work in progress"
        );
        self.soft.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(GRACE) => {}
        }
        self.hard.cancel();
    }
}
