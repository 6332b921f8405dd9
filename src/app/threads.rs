//! Threads of the workers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Threads for the workers. Each drives one future on the main runtime's I/O and timers, so that
/// CPU-bound work (JSON) delays no other worker.
pub(super) struct WorkerThreads {
    pub(super) tracker: TaskTracker,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) stop: CancellationToken,
    pub(super) panicked: Arc<AtomicBool>,
}

/// A worker that panics ends the process in order: a server that accepts messages and sends nothing
/// looks healthy, and is not.
struct WorkerPanicGuard {
    stop: CancellationToken,
    panicked: Arc<AtomicBool>,
}

impl Drop for WorkerPanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked.store(true, Ordering::Release);
            self.stop.cancel();
        }
    }
}

impl WorkerThreads {
    pub(super) fn start<F: Future<Output = ()>>(
        &self,
        name: &str,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> anyhow::Result<()> {
        let runtime = self.runtime.clone();
        let token = self.tracker.token();
        let watched = WorkerPanicGuard {
            stop: self.stop.clone(),
            panicked: Arc::clone(&self.panicked),
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // In this order at the end, however it ends: the process waits for the token.
                let _token = token;
                let _watched = watched;
                runtime.block_on(work());
            })
            .with_context(|| format!("the thread {name} cannot be started"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, AtomicBool, CancellationToken, Ordering, TaskTracker, WorkerThreads};

    #[tokio::test]
    async fn a_worker_that_panics_takes_the_process_with_it() {
        let threads = WorkerThreads {
            tracker: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            stop: CancellationToken::new(),
            panicked: Arc::new(AtomicBool::new(false)),
        };
        threads.start("fine", || async {}).unwrap();
        threads
            .start("panics", || async { panic!("played by a test") })
            .unwrap();
        threads.stop.cancelled().await;
        threads.tracker.close();
        threads.tracker.wait().await;
        assert!(threads.panicked.load(Ordering::Acquire));
    }
}
