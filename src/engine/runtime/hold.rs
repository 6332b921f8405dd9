//! The hold of all sending: it begins by hand or automatically, and an operator ends it
//! (`admin::release`).

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        audit_action::AuditAction,
        hold::{HoldReason, SendingHold},
        time::Timestamp,
    },
    engine::Engine,
    store::{DatabaseTransaction, StoreError, audit, hold, made_at},
};

/// The hold as this process last read it.
#[derive(Debug, Default)]
pub struct LastReadSendingHold(RwLock<Option<Arc<SendingHold>>>);

impl LastReadSendingHold {
    fn get(&self) -> Option<Arc<SendingHold>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, hold: Option<SendingHold>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hold.map(Arc::new);
    }
}

impl Engine {
    /// The hold, as this process last read it.
    pub fn hold(&self) -> Option<Arc<SendingHold>> {
        self.current_hold.get()
    }

    /// Reads the hold in one statement. Called before anything is sent.
    pub async fn refresh_hold(&self) -> Result<Option<Arc<SendingHold>>, StoreError> {
        let stored = hold::get(self.store.reader()).await?;
        let before = self.current_hold.get();
        if before.as_deref() != stored.as_ref() {
            if let Some(hold) = &stored {
                tracing::warn!(
                    event = "hold.active",
                    reason = hold.reason.name(),
                    since = %hold.since,
                    "sending is on hold: requests and callbacks are accepted, but nothing is sent except one-time passwords requested since, until it is released (herald hold show, herald hold release)"
                );
            } else {
                tracing::info!(
                    event = "hold.over",
                    "all sending has been released from its hold: messages that were waiting for it are sent"
                );
            }
            self.current_hold.set(stored);
        }
        Ok(self.current_hold.get())
    }
}

/// The actor of a change, and its time.
#[derive(Clone, Copy, Debug)]
pub struct HoldActor<'a> {
    pub actor: &'a str,
    pub now: Timestamp,
}

/// Holds sending. Returns false if it is held already; the first reason stays.
pub async fn begin(
    engine: &Engine,
    by: HoldActor<'_>,
    reason: HoldReason,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let begun = engine
        .store
        .write(async |tx| begin_in(tx, by, reason, detail).await)
        .await?;
    engine.refresh_hold().await?;
    Ok(begun)
}

/// Like [`begin`], within an open transaction.
pub(in crate::engine) async fn begin_in(
    tx: &DatabaseTransaction,
    by: HoldActor<'_>,
    reason: HoldReason,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let hold = SendingHold {
        reason,
        since: by.now,
        detail: detail.map(str::to_owned),
    };
    if !hold::begin(tx, &hold, by.now).await? {
        return Ok(false);
    }
    let (action, detail) = (
        AuditAction::HoldBegan,
        json!({ "reason": reason, "detail": detail }),
    );
    audit::note(tx, by.actor, action, "sending", &detail, by.now).await?;
    Ok(true)
}

/// Age up to which a status about an unknown attempt counts: a provider repeats for seven days, and
/// no attempt so young is deleted.
const SPEAKS_FOR_SECONDS: i64 = 7 * 24 * 60 * 60;

/// An id from further in the future was made by a wrong clock, and proves nothing.
const AHEAD_SECONDS: i64 = 5 * 60;

/// Holds sending when a status names an attempt of this installation that is not in this database:
/// it was made in a later state of it. Ids of other programs, and of before the last release of a
/// hold, are no reason.
pub(in crate::engine) async fn on_unknown_attempts(
    engine: &Engine,
    tx: &DatabaseTransaction,
    ids: impl Iterator<Item = Uuid>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let oldest = now.plus_seconds(-SPEAKS_FOR_SECONDS);
    let newest = now.plus_seconds(AHEAD_SECONDS);
    let lost = ids
        .filter(|id| engine.lineage.is_ours(*id))
        .map(|id| (made_at(id), id))
        .filter(|(at, _)| (oldest..=newest).contains(at))
        .max();
    let Some((at, id)) = lost else { return Ok(()) };
    if at <= hold::lost_until(tx).await? {
        return Ok(());
    }
    let detail = format!("attempt {id}, made at {at}");
    let by = HoldActor {
        actor: "herald",
        now,
    };
    begin_in(tx, by, HoldReason::LostAttempt, Some(&detail)).await?;
    Ok(())
}
