//! Releases the hold of all sending: shows what waits, and cancels old messages on request.

use serde_json::json;

use super::operator_actions::{self, BulkActionError, BulkActionReport, OperatorAction};
use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, hold::SendingHold,
        status::NotificationStatus, time::Timestamp,
    },
    engine::{
        Engine,
        delivery::{follow_up, sweeper},
        intake,
        runtime::hold::HoldActor,
    },
    store::{
        StoreError, audit,
        hold::{self, HoldReleaseCount, HoldReleaseMessage},
        notification::NotificationListFilter,
    },
};

/// What is waiting because of a hold.
#[derive(Clone, Debug)]
pub struct HoldBacklog {
    pub hold: Option<SendingHold>,
    /// By kind and age.
    pub waiting: Vec<HoldReleaseCount>,
    /// The messages that have waited longest.
    pub messages: Vec<HoldReleaseMessage>,
    /// Due follow-ups, which fire after the release.
    pub follow_ups: i64,
    /// Events that are not fully expanded.
    pub events: i64,
}

/// What is waiting, with up to `limit` messages.
pub async fn standing(
    engine: &Engine,
    limit: i64,
    now: Timestamp,
) -> Result<HoldBacklog, StoreError> {
    let store = &engine.store;
    let (follow_ups, events) = hold::postponed(store, now).await?;
    Ok(HoldBacklog {
        hold: hold::get(store.reader()).await?,
        waiting: hold::waiting(store, now).await?,
        messages: hold::list(store, now, limit).await?,
        follow_ups,
        events,
    })
}

/// What a release cancelled, or would cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldReleaseReport {
    /// Whether there was a hold.
    pub was_held: bool,
    pub messages: u64,
    pub follow_ups: u64,
    pub events: u64,
}

/// Reason of messages that were older than the bound of a release.
const CANCELLED: &str = "sending was on hold, and older messages were cancelled at its release";

/// Releases the hold. Messages requested, follow-ups due and events received before `cancel_before`
/// are cancelled first, in chunks. With `dry_run` it only reports what would be cancelled.
pub async fn release(
    engine: &Engine,
    by: HoldActor<'_>,
    cancel_before: Option<Timestamp>,
    dry_run: bool,
) -> Result<HoldReleaseReport, StoreError> {
    let mut released = HoldReleaseReport {
        was_held: engine.refresh_hold().await?.is_some(),
        ..HoldReleaseReport::default()
    };
    if !released.was_held {
        return Ok(released);
    }
    if let Some(before) = cancel_before {
        released.messages = cancel_messages(engine, before, dry_run, by.now).await?;
        if dry_run {
            let (follow_ups, events) = hold::postponed(&engine.store, before).await?;
            released.follow_ups = follow_ups.unsigned_abs();
            released.events = events.unsigned_abs();
        } else {
            released.follow_ups =
                follow_up::cancel_due_before(engine, before, CANCELLED, by.now).await?;
            released.events = intake::end_expansion(engine, before, CANCELLED).await?;
        }
    }
    if dry_run {
        return Ok(released);
    }
    let detail = json!({
        "cancelled_before": cancel_before.map(|before| before.to_string()),
        "messages": released.messages,
        "follow_ups": released.follow_ups,
        "events": released.events,
    });
    engine
        .store
        .write(async |tx| {
            hold::end(tx, by.now).await?;
            let action = AuditAction::HoldReleased;
            audit::note(tx, by.actor, action, "sending", &detail, by.now).await
        })
        .await?;
    engine.refresh_hold().await?;
    sweeper::release(engine, by.now).await?;
    engine.wake_senders();
    engine.followed_up.notify_one();
    engine.unexpanded.notify_one();
    Ok(released)
}

async fn cancel_messages(
    engine: &Engine,
    before: Timestamp,
    dry_run: bool,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut filter = NotificationListFilter {
        statuses: vec![
            NotificationStatus::Queued,
            NotificationStatus::Held,
            NotificationStatus::Retrying,
        ],
        until: Some(before),
        // A message scheduled for Friday has not been due yet.
        due_by: Some(now),
        ..NotificationListFilter::default()
    };
    let mut all = BulkActionReport::default();
    loop {
        let done = operator_actions::chunk(
            engine,
            &AccessBounds::All,
            &filter,
            OperatorAction::Discard,
            dry_run,
            None,
            now,
        )
        .await;
        let batch = match done {
            Ok(batch) => batch,
            Err(BulkActionError::KeyReused) => break,
            Err(BulkActionError::Store(error)) => return Err(error),
        };
        all.add(batch);
        let Some(next) = all.next else { break };
        filter.before = Some(next);
    }
    Ok(all.changed)
}
