//! Sending held for the whole installation: it begins by hand or by itself, is stored,
//! shown, and ended by a person.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::json;
use uuid::Uuid;

use super::{
    Engine, accept, follow_up,
    manual::{self, Action, Batch},
    watch,
};
use crate::{
    domain::{
        access::Bounds,
        hold::{Hold, Reason},
        status::Status,
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, audit,
        hold::{self, Message, Waiting},
        made_at,
        notification::Filter,
    },
};

/// The hold as this process last read it.
#[derive(Debug, Default)]
pub struct Current(RwLock<Option<Arc<Hold>>>);

impl Current {
    fn get(&self) -> Option<Arc<Hold>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, hold: Option<Hold>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hold.map(Arc::new);
    }
}

impl Engine {
    /// The hold, as this process last read it.
    pub fn hold(&self) -> Option<Arc<Hold>> {
        self.current_hold.get()
    }

    /// Reads whether sending is held. One statement; whoever is about to send asks.
    pub async fn refresh_hold(&self) -> Result<Option<Arc<Hold>>, StoreError> {
        let stored = hold::get(self.store.reader()).await?;
        let before = self.current_hold.get();
        if before.as_deref() != stored.as_ref() {
            if let Some(hold) = &stored {
                tracing::warn!(
                    event = "hold.in_force",
                    reason = hold.reason.name(),
                    since = %hold.since,
                    "sending is on hold: callbacks and requests are taken, nothing is sent until a person releases it (herald hold show)"
                );
            } else {
                tracing::info!(event = "hold.over", "sending is not on hold any more");
            }
            self.current_hold.set(stored);
        }
        Ok(self.current_hold.get())
    }
}

/// Who does it, and when.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    pub actor: &'a str,
    pub now: Timestamp,
}

/// Holds sending; false: it is held already, and the first reason stays.
pub async fn begin(
    engine: &Engine,
    by: By<'_>,
    reason: Reason,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let begun = engine
        .store
        .write(async |tx| begin_in(tx, by, reason, detail).await)
        .await?;
    engine.refresh_hold().await?;
    Ok(begun)
}

/// The same in a transaction that does more.
pub(super) async fn begin_in(
    tx: &DatabaseTransaction,
    by: By<'_>,
    reason: Reason,
    detail: Option<&str>,
) -> Result<bool, StoreError> {
    let hold = Hold {
        reason,
        since: by.now,
        detail: detail.map(str::to_owned),
    };
    if !hold::begin(tx, &hold, by.now).await? {
        return Ok(false);
    }
    let entry = audit::New {
        actor: by.actor,
        action: "hold.began",
        subject: "sending",
        detail: json!({ "reason": reason, "detail": detail }).to_string(),
    };
    audit::note(tx, entry, by.now).await?;
    Ok(true)
}

/// What a hold keeps from being sent.
#[derive(Clone, Debug)]
pub struct Standing {
    pub hold: Option<Hold>,
    /// By kind and age.
    pub waiting: Vec<Waiting>,
    /// Those that wait longest.
    pub messages: Vec<Message>,
    /// Follow-ups that are due, and fire when sending goes on.
    pub follow_ups: i64,
    /// Events whose recipients are not all known yet.
    pub events: i64,
}

/// How it stands, with up to `limit` messages.
pub async fn standing(engine: &Engine, limit: i64, now: Timestamp) -> Result<Standing, StoreError> {
    let store = &engine.store;
    let (follow_ups, events) = hold::postponed(store, now).await?;
    Ok(Standing {
        hold: hold::get(store.reader()).await?,
        waiting: hold::waiting(store, now).await?,
        messages: hold::list(store, now, limit).await?,
        follow_ups,
        events,
    })
}

/// What a release cancelled, or would cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Whether there was a hold to end.
    pub was_held: bool,
    pub messages: u64,
    pub follow_ups: u64,
    pub events: u64,
}

/// Why what was asked for before a release's bound is not sent.
const CANCELLED: &str = "sending was on hold, and a person released it without what was older";

/// Lets sending go on. What was asked for before `cancel_before`, follow-ups that were due
/// before it and events of before it are cancelled first, a chunk at a time. With `dry_run`
/// it only says what would be cancelled.
pub async fn release(
    engine: &Engine,
    by: By<'_>,
    cancel_before: Option<Timestamp>,
    dry_run: bool,
) -> Result<Released, StoreError> {
    let mut released = Released {
        was_held: engine.refresh_hold().await?.is_some(),
        ..Released::default()
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
            released.events = accept::end_expansion(engine, before, CANCELLED).await?;
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
            let entry = audit::New {
                actor: by.actor,
                action: "hold.released",
                subject: "sending",
                detail: detail.to_string(),
            };
            audit::note(tx, entry, by.now).await
        })
        .await?;
    engine.refresh_hold().await?;
    watch::release(engine, by.now).await?;
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
    let mut filter = Filter {
        statuses: vec![Status::Queued, Status::Held, Status::Retrying],
        until: Some(before),
        // What is to leave on Friday has not been sent.
        due_by: Some(now),
        ..Filter::default()
    };
    let mut all = Batch::default();
    loop {
        let done = manual::chunk(
            engine,
            &Bounds::All,
            &filter,
            Action::Discard,
            dry_run,
            None,
            now,
        )
        .await?;
        let Ok(batch) = done else { break };
        all.add(batch);
        let Some(next) = all.next else { break };
        filter.before = Some(next);
    }
    Ok(all.changed)
}

/// Statuses of attempts may come so long after them and still say something: a provider
/// repeats for seven days, and no attempt so young is deleted.
const SPEAKS_FOR_SECONDS: i64 = 7 * 24 * 60 * 60;

/// An id from further ahead was made by a wrong clock, and proves nothing.
const AHEAD_SECONDS: i64 = 5 * 60;

/// Holds sending when a status names an attempt of this installation that this database
/// never made: somebody sent with a later state of it. Ids of other programs, and of
/// before the last release, are no reason.
pub(super) async fn on_unknown_attempts(
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
    let by = By {
        actor: "herald",
        now,
    };
    begin_in(tx, by, Reason::LostAttempt, Some(&detail)).await?;
    Ok(())
}
