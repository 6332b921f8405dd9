//! Supervises the senders: runs a loop for each that can send, and holds the messages of the others
//! with a reason.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{WorkerTurnOutcome, resume_panic, sender};
use crate::{
    domain::{horizon, time::Timestamp},
    engine::{
        Engine, admin::senders, delivery::sweeper, ingest::read_marks,
        runtime::keyring::ProviderCredentialSet,
    },
    error::ErrorChain,
    state::Clock,
    store::StoreError,
};

/// Another process may change a sender: changes are polled this often.
const NAP: Duration = Duration::from_secs(1);

/// Held messages are checked this often: another process may have held them.
const RELEASE_SECONDS: i64 = 10;

/// A sender's loop.
struct SenderWorkerTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Sends with every sender that can send until stopped; then finishes the calls in progress.
pub async fn run(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    LocalSet::new()
        .run_until(watch_over(&engine, &clock, &stop))
        .await;
}

async fn watch_over(engine: &Arc<Engine>, clock: &Clock, stop: &CancellationToken) {
    let mut running: HashMap<Uuid, SenderWorkerTask> = HashMap::new();
    let mut queued = engine.queued.subscribe();
    let mut changed = engine.senders_changed.subscribe();
    let mut next_release = Timestamp::default();
    let mut seen = engine.keyring();
    let mut said = None;
    while !stop.is_cancelled() {
        let now = clock.now();
        changed.mark_unchanged();
        queued.mark_unchanged();
        let blocked = match turn(engine, &mut seen, &mut next_release, now).await {
            Ok(blocked) => blocked,
            Err(error) => {
                metrics::counter!("herald_worker_errors_total", "worker" => "senders").increment(1);
                tracing::error!(event = "worker.error", worker = "senders", error = %ErrorChain(&error), "worker turn failed: retrying");
                false
            }
        };
        let ring = engine.keyring();
        for account in &ring.accounts {
            let able = engine.obstacle(Some(account.id)).is_none();
            if able && !running.contains_key(&account.id) {
                let stop = stop.child_token();
                let loops =
                    sender::run(Arc::clone(engine), account.id, clock.clone(), stop.clone());
                let task = spawn_local(loops);
                running.insert(account.id, SenderWorkerTask { stop, task });
            } else if !able && let Some(other) = running.get(&account.id) {
                // It finishes its calls, and is not started again before.
                other.stop.cancel();
            }
        }
        let obstacle = engine.obstacle(None);
        if obstacle != said {
            if let Some(reason) = &obstacle {
                tracing::warn!(
                    event = "sender.blocked",
                    reason,
                    "the default sender cannot send: its messages are accepted and wait"
                );
            }
            said = obstacle;
        }
        let ended: Vec<Uuid> = running
            .iter()
            .filter(|(_, it)| it.task.is_finished())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            if let Some(it) = running.remove(&id) {
                resume_panic(it.task.await);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(NAP) => {}
            _ = changed.changed() => {}
            _ = queued.changed(), if blocked => {}
        }
    }
    for (_, it) in running {
        resume_panic(it.task.await);
    }
}

/// Determines which senders can send, and holds or releases messages. Returns whether any cannot
/// send.
async fn turn(
    engine: &Engine,
    seen: &mut Arc<ProviderCredentialSet>,
    next_release: &mut Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let ring = engine.refresh_keyring().await?;
    let on_hold = engine.refresh_hold().await?.is_some();
    if !engine.may_claim() {
        return Ok(false);
    }
    // Messages held while a sender could not send are released at once when it can.
    let is_time = horizon::has_come(*next_release, now, RELEASE_SECONDS * 1_000_000);
    if is_time || !Arc::ptr_eq(seen, &ring) {
        if sweeper::release(engine, now).await? > 0 {
            engine.wake_senders();
        }
        *next_release = now.plus_seconds(RELEASE_SECONDS);
        *seen = Arc::clone(&ring);
    }
    let blocked = on_hold
        || engine.obstacle(None).is_some()
        || ring
            .accounts
            .iter()
            .any(|account| engine.obstacle(Some(account.id)).is_some());
    if blocked {
        hold_turn(engine, now).await?;
    }
    Ok(blocked)
}

/// Holds messages that cannot be sent.
pub async fn hold_turn(engine: &Engine, now: Timestamp) -> Result<WorkerTurnOutcome, StoreError> {
    Ok(if sweeper::hold_blocked(engine, now).await? > 0 {
        engine.wake_senders();
        WorkerTurnOutcome::Worked
    } else {
        WorkerTurnOutcome::Idle
    })
}

/// Marks inbound messages as read, until stopped.
pub async fn mark_read(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    if !engine.settings.people.mark_read {
        return;
    }
    let nap = Duration::from_secs(2);
    super::run("read marks", stop, nap, None, async || {
        let mut marked = 0;
        for account in &engine.keyring().accounts {
            if engine.obstacle(Some(account.id)).is_some() {
                continue;
            }
            let provider = engine.provider_or_unavailable(account.id);
            marked += read_marks::turn(&engine, provider.as_ref(), account.id, clock.now()).await?;
        }
        Ok(if marked > 0 {
            WorkerTurnOutcome::Worked
        } else {
            WorkerTurnOutcome::Idle
        })
    })
    .await;
}

/// Warns of credentials that expire or are old, and queries the throughput of numbers, until
/// stopped.
pub async fn look_after(engine: Arc<Engine>, clock: Clock, stop: CancellationToken) {
    let nap = Duration::from_secs(30);
    super::run("senders", stop, nap, None, async || {
        if !engine.may_claim() {
            return Ok(WorkerTurnOutcome::Idle);
        }
        let now = clock.now();
        senders::ageing_turn(&engine, now).await?;
        for account in &engine.keyring().accounts {
            if engine.obstacle(Some(account.id)).is_none() {
                let provider = engine.provider_or_unavailable(account.id);
                senders::throughput_turn(&engine, provider.as_ref(), account.id, now).await?;
            }
        }
        Ok(WorkerTurnOutcome::Idle)
    })
    .await;
}
