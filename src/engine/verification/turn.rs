//! What becomes of verifications by themselves: codes expire, and those that do not arrive go out by
//! the next channel.

use uuid::Uuid;

use super::{
    VerificationError, plan,
    start::{end, send_again},
};
use crate::{
    domain::{
        access::AccessBounds, status::NotificationStatus, time::Timestamp,
        verification::VerificationStatus,
    },
    engine::{
        Engine,
        lifecycle::NotificationLifecycleReport,
        runtime::{backlog, turn::TransactionContext},
    },
    error::ErrorChain,
    store::{StoreError, notification, verification},
};

/// Verifications that one turn takes.
const MOST: i64 = 50;

/// How long callbacks that wait to be applied delay the next channel, in seconds. The person waits as
/// well, and a code that arrives twice does no harm.
const PATIENCE_SECONDS: i64 = 30;

/// Ends what has expired, and sends by the next channel what did not arrive. Returns how many were
/// found.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let expired = verification::expired(engine.store.by_index(), now, MOST).await?;
    if !expired.is_empty() {
        let report = engine
            .store
            .write(async |tx| {
                let turn = TransactionContext { engine, tx, now };
                end(turn, &expired, VerificationStatus::Expired).await
            })
            .await?;
        report.publish(engine);
    }
    let due = falling_back(engine, now).await?;
    for id in &due {
        fall_back(engine, *id, now).await?;
    }
    Ok(expired.len() + due.len())
}

/// Verifications whose code is to be sent by the next channel.
async fn falling_back(engine: &Engine, now: Timestamp) -> Result<Vec<Uuid>, StoreError> {
    let connection = engine.store.by_index();
    if verification::falling_back(connection, now, now, 1)
        .await?
        .is_empty()
    {
        return Ok(Vec::new());
    }
    // While sending is on hold, both would go out at its end.
    if engine.refresh_hold().await?.is_some() {
        return Ok(Vec::new());
    }
    // A receipt may be among the callbacks that are not applied yet.
    let applied = backlog::timers_until(engine, now).await?;
    let until = applied.max(now.plus_seconds(-PATIENCE_SECONDS));
    verification::falling_back(connection, now, until, MOST).await
}

/// Sends one code by the next channel, unless it has arrived meanwhile.
async fn fall_back(engine: &Engine, id: Uuid, now: Timestamp) -> Result<(), StoreError> {
    let sent = engine
        .store
        .write_or_refuse(async |tx| next_channel(TransactionContext { engine, tx, now }, id).await)
        .await;
    let refused = match sent {
        Ok(report) => {
            report.publish(engine);
            return Ok(());
        }
        Err(VerificationError::Store(error)) => return Err(error),
        Err(refused) => refused,
    };
    tracing::warn!(event = "verification.fallback_refused", verification.id = %id, error = %ErrorChain(&refused), "a one-time password did not arrive, and cannot be sent by its next channel");
    engine
        .store
        .write(async |tx| verification::stay(tx, id).await)
        .await
}

async fn next_channel(
    turn: TransactionContext<'_>,
    id: Uuid,
) -> Result<NotificationLifecycleReport, VerificationError> {
    let TransactionContext { tx, now, .. } = turn;
    let nothing = NotificationLifecycleReport::default();
    let row = verification::lock(tx, &AccessBounds::All, id).await?;
    let Some(row) = row.filter(|row| row.fallback_at.is_some()) else {
        return Ok(nothing);
    };
    if row.status()?.at(row.expires_at, now) != VerificationStatus::Pending {
        return Ok(nothing);
    }
    // Locked, so that a receipt that is being applied is either seen or comes later.
    let last: Vec<Uuid> = row.notification_id.into_iter().collect();
    notification::lock(tx, &last).await?;
    let state = notification::load(tx, &last).await?;
    let is_done = state
        .first()
        .is_some_and(|loaded| match loaded.state.status() {
            NotificationStatus::Delivered | NotificationStatus::Read => true,
            // Nothing says that it has arrived: only a failure is a reason.
            NotificationStatus::Accepted => !loaded.state.reporting.is_expected(),
            _ => false,
        });
    if is_done {
        verification::stay(tx, id).await?;
        return Ok(nothing);
    }
    let next = usize::try_from(row.channel_index).unwrap_or(0) + 1;
    let plan = plan(&row)?;
    let report = send_again(turn, &row, &plan, next).await?;
    let by = plan.channels.get(next).map_or("", |channel| channel.name());
    metrics::counter!("herald_verification_fallbacks_total", "channel" => by).increment(1);
    tracing::info!(event = "verification.fallback", verification.id = %id, channel = by, "a one-time password did not arrive in time: it was queued for the next channel");
    Ok(report)
}
