//! Background workers. A worker is a loop around a turn: tests call the turn.

pub mod accept;
pub mod backlog;
pub mod checkpoint;
pub mod cleanup;
pub mod erasure;
pub mod heart;
pub mod inbox;
pub mod lineage;
pub mod live;
pub mod sender;
pub mod senders;
pub mod templates;
pub mod timers;
pub mod watchdog;

use std::time::Duration;

use tokio::{sync::Notify, task::JoinError, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{error::ErrorChain, store::StoreError};

/// The result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerTurnOutcome {
    /// There may be more at once.
    Worked,
    Idle,
}

/// Longest pause after failed turns; the pause doubles up to this.
const MAX_TROUBLE: Duration = Duration::from_secs(5);

/// Minimum time between the starts of two transactions of one kind: the first starts at once, later
/// items share one, as a busy database has no time for a transaction per message.
const MIN_TRANSACTION_INTERVAL: Duration = Duration::from_millis(6);

/// How long the next transaction of a kind must wait.
fn still_apart(begun_at: Option<Instant>, now: Instant) -> Duration {
    begun_at.map_or(Duration::ZERO, |at| {
        MIN_TRANSACTION_INTERVAL.saturating_sub(now.saturating_duration_since(at))
    })
}

/// Resumes the panic of a task in its loop: it ends the process.
fn resume_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// Runs turns until stopped; sleeps only when idle, and wakes early on a signal.
pub async fn run<F>(
    name: &'static str,
    stop: CancellationToken,
    nap: Duration,
    wake: Option<&Notify>,
    mut turn: F,
) where
    F: AsyncFnMut() -> Result<WorkerTurnOutcome, StoreError>,
{
    let mut trouble = Duration::from_millis(50);
    while !stop.is_cancelled() {
        let pause = match turn().await {
            Ok(WorkerTurnOutcome::Worked) => {
                trouble = Duration::from_millis(50);
                continue;
            }
            Ok(WorkerTurnOutcome::Idle) => {
                trouble = Duration::from_millis(50);
                nap
            }
            Err(error) => {
                metrics::counter!("herald_worker_errors_total", "worker" => name).increment(1);
                tracing::error!(event = "worker.error", worker = name, error = %ErrorChain(&error), "worker turn failed: retrying");
                let pause = trouble;
                trouble = (trouble * 2).min(MAX_TROUBLE);
                pause
            }
        };
        let woken = async {
            match wake {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = woken => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_transaction_begins_at_once_and_the_next_a_little_later() {
        let begun = Instant::now();
        assert_eq!(still_apart(None, begun), Duration::ZERO);
        assert_eq!(still_apart(Some(begun), begun), MIN_TRANSACTION_INTERVAL);
        let later = begun + Duration::from_millis(4);
        assert_eq!(still_apart(Some(begun), later), Duration::from_millis(2));
        assert_eq!(
            still_apart(Some(begun), begun + MIN_TRANSACTION_INTERVAL * 2),
            Duration::ZERO
        );
        // Reading the clock out of order makes no wait longer.
        assert_eq!(still_apart(Some(later), begun), MIN_TRANSACTION_INTERVAL);
    }
}
