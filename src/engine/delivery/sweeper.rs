//! Handles what becomes due with time: expired leases, decisions about unknown outcomes, expiry,
//! and held or released queues.

use uuid::Uuid;

use super::status_updates::{self, MatchedStatusUpdate};
use crate::{
    domain::{notification::NotificationChange, time::Timestamp},
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleChange},
        runtime::{
            keyring::{ProviderCredentialSet, SenderAccount, SenderTokenAvailability},
            template_status::{TemplateSendability, sendable},
        },
    },
    providers::MessageStatusUpdate,
    store::{
        StoreError,
        notification::{self, QueueHoldCause, QueueSenderScope},
        parked, template_sync,
    },
};

/// Rows per transaction.
const BATCH: i64 = 200;

/// Processes notifications whose timer has fired. Returns the number.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if !notification::any_woken(&engine.store, now).await? {
        return Ok(0);
    }
    let turn = engine
        .store
        .write(async |tx| {
            let timers = notification::woken(tx, now, BATCH).await?;
            let woken: Vec<Uuid> = timers.iter().map(|timer| timer.id).collect();
            // While the call is open in this process nothing is decided, whatever the clock says.
            let open = engine.open_calls.of(&woken);
            let lease = now.plus_seconds(engine.settings.policy.lease_seconds);
            let waiting = notification::await_open_calls(tx, &open, lease).await?;
            let steps: Vec<NotificationLifecycleChange> = timers
                .iter()
                .filter(|timer| !waiting.contains(&timer.id))
                .map(|timer| {
                    let may_resolve = engine.may_resolve(timer.sender_id);
                    let change = NotificationChange::TimerFired { may_resolve };
                    NotificationLifecycleChange::new(timer.id, change)
                })
                .collect();
            let report = lifecycle::run(engine, tx, &steps, now).await?;
            Ok((woken.len(), report))
        })
        .await;
    let (count, report) = match turn {
        Err(StoreError::Corrupt { .. }) => return set_unreadable_aside(engine, now).await,
        turn => turn?,
    };
    report.publish(engine);
    Ok(count)
}

/// Takes the timers of notifications that cannot be read, so that they do not stop the others.
/// Returns the number.
async fn set_unreadable_aside(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let unreadable = engine
        .store
        .write(async |tx| {
            let timers = notification::woken(tx, now, BATCH).await?;
            let mut woken: Vec<Uuid> = timers.iter().map(|timer| timer.id).collect();
            let readable = notification::load_readable(tx, &woken).await?;
            woken.retain(|id| readable.iter().all(|loaded| loaded.state.id != *id));
            notification::stop_timers(tx, &woken).await?;
            Ok(woken)
        })
        .await?;
    for notification in &unreadable {
        tracing::error!(event = "notification.unreadable", notification.id = %notification, "this notification was due and cannot be read: it stays as it is until its row is repaired, and is not looked at again");
    }
    Ok(unreadable.len())
}

/// Joins parked statuses whose message has become known, and drops those that have waited too long.
/// Returns the number joined. Two processes may commit an answer and its status at the same time
/// without seeing each other's rows: this is the second look.
pub async fn parked_turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    if !parked::any(&engine.store).await? {
        return Ok(0);
    }
    let oldest = now.plus_seconds(-engine.settings.expiry.parked_seconds);
    let ring = engine.refresh_keyring().await?;
    let (count, report) = engine
        .store
        .write(async |tx| {
            let found = parked::joinable(tx, BATCH).await?;
            let (found, foreign): (Vec<_>, Vec<_>) = found.into_iter().partition(|joinable| {
                ring.speaks_for(joinable.parked.endpoint_id.as_deref(), joinable.sender_id)
            });
            let foreign: Vec<Uuid> = foreign.iter().map(|joinable| joinable.parked.id).collect();
            parked::disown(tx, &foreign).await?;
            let mut ids = Vec::with_capacity(found.len());
            let mut steps = Vec::with_capacity(found.len());
            let ring = engine.keyring();
            let mut updates: Vec<(ParkedStatusTarget, String, MessageStatusUpdate)> =
                Vec::with_capacity(found.len());
            for joinable in found {
                ids.push(joinable.parked.id);
                if let Ok(update) = serde_json::from_str(&joinable.parked.update) {
                    steps.extend(status_updates::step(
                        &update,
                        joinable.notification_id,
                        joinable.attempt_id,
                        joinable.parked.callback_id,
                    ));
                    let number = joinable.parked.endpoint_id.as_deref();
                    let scope = number
                        .and_then(|number| ring.account_of_number(number))
                        .and_then(|account| account.account_id.clone());
                    let joined = ParkedStatusTarget {
                        notification: joinable.notification_id,
                        attempt: joinable.attempt_id,
                        callback: joinable.parked.callback_id,
                    };
                    updates.push((joined, scope.unwrap_or_default(), update));
                }
            }
            let report = lifecycle::run(engine, tx, &steps, now).await?;
            let matched: Vec<MatchedStatusUpdate<'_>> = updates
                .iter()
                .map(|(joined, scope, update)| MatchedStatusUpdate {
                    notification_id: joined.notification,
                    attempt_id: joined.attempt,
                    callback_id: joined.callback,
                    scope,
                    update,
                })
                .collect();
            status_updates::learn(engine, tx, &matched, &report, now).await?;
            parked::remove(tx, &ids).await?;
            let forgotten = parked::expire(tx, oldest, BATCH).await?;
            metrics::counter!("herald_parked_forgotten_total").increment(forgotten);
            Ok((ids.len(), report))
        })
        .await?;
    report.publish(engine);
    Ok(count)
}

/// The rows that a parked status belongs to.
struct ParkedStatusTarget {
    notification: Uuid,
    attempt: Uuid,
    callback: Uuid,
}

/// Moves due messages out of the queue while they cannot be sent. Returns the number.
pub async fn hold(
    engine: &Engine,
    whose: QueueSenderScope,
    cause: QueueHoldCause,
    reason: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    if !notification::any_to_hold(&engine.store, whose, cause, now).await? {
        return Ok(0);
    }
    engine
        .store
        .write(async |tx| notification::hold(tx, whose, cause, reason, now, BATCH).await)
        .await
}

/// Moves messages out of the queue because sending is on hold. Returns the number.
async fn hold_all(
    engine: &Engine,
    ring: &ProviderCredentialSet,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let Some(hold_now) = engine.refresh_hold().await? else {
        return Ok(0);
    };
    let (cause, reason) = (
        QueueHoldCause::Hold(hold_now.passing()),
        hold_now.sentence(),
    );
    let mut held = hold(engine, QueueSenderScope::Unassigned, cause, &reason, now).await?;
    for account in &ring.accounts {
        held += hold(
            engine,
            QueueSenderScope::Sender(account.id),
            cause,
            &reason,
            now,
        )
        .await?;
    }
    Ok(held)
}

/// Holds messages that cannot be sent now, sender by sender, each with its reason. Returns the
/// number. A token that this process cannot read may be readable elsewhere: that is no reason to
/// take the queue from other processes.
pub async fn hold_blocked(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let ring = engine.keyring();
    let readable =
        |account: &SenderAccount| !matches!(account.token, SenderTokenAvailability::Unreadable);
    let mut held = hold_all(engine, &ring, now).await?;
    for account in ring.accounts.iter().filter(|account| readable(account)) {
        if let Some(reason) = engine.obstacle(Some(account.id)) {
            held += hold(
                engine,
                QueueSenderScope::Sender(account.id),
                QueueHoldCause::Sender,
                &reason,
                now,
            )
            .await?;
        }
    }
    if let Some(reason) = engine.obstacle(None)
        && ring.default_account().is_none_or(readable)
    {
        held += hold(
            engine,
            QueueSenderScope::Unassigned,
            QueueHoldCause::Sender,
            &reason,
            now,
        )
        .await?;
    }
    Ok(held)
}

/// Puts held messages back for senders that can send again. Returns the number.
pub async fn release(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let ring = engine.refresh_keyring().await?;
    let mut able: Vec<QueueSenderScope> = ring
        .accounts
        .iter()
        .filter(|account| engine.obstacle(Some(account.id)).is_none())
        .map(|account| QueueSenderScope::Sender(account.id))
        .collect();
    if engine.obstacle(None).is_none() {
        able.push(QueueSenderScope::Unassigned);
    }
    let passing = engine.refresh_hold().await?.map(|hold| hold.passing());
    let mut released = 0;
    for whose in able {
        // Read before writing: usually nothing waits.
        while notification::any_held(&engine.store, whose, passing).await? {
            let chunk = engine
                .store
                .write(async |tx| notification::release(tx, whose, passing, now, BATCH).await)
                .await?;
            released += chunk;
            if chunk < BATCH.unsigned_abs() {
                break;
            }
            engine.wake_senders();
        }
    }
    Ok(released + release_templates(engine, &ring, now).await?)
}

/// Puts back what waited for a template that is decided: it may be sent, or it never may, and then
/// the claim records why. Returns the number.
async fn release_templates(
    engine: &Engine,
    ring: &ProviderCredentialSet,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut released = 0;
    let mut last = None;
    while let Some(awaited) = notification::awaited_after(&engine.store, last.as_ref()).await? {
        let awaited = last.insert(awaited);
        let (sender, template, language) = (awaited.sender, &awaited.template, &awaited.language);
        // Only the status in the sender's own account counts.
        let account = ring.account(sender);
        let account_id = account.and_then(|account| account.account_id.as_deref());
        // Read before writing: most of them still have to wait.
        let reader = engine.store.by_index();
        let standing = template_sync::standing(reader, account_id, template, language).await?;
        if matches!(
            sendable(template, standing.as_ref()),
            TemplateSendability::Later(_)
        ) {
            continue;
        }
        released += engine
            .store
            .write(async |tx| {
                notification::release_template(tx, sender, template, language, now).await
            })
            .await?;
    }
    Ok(released)
}
