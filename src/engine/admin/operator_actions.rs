//! What people do by hand: to one notification, or to all that match.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        access::Bounds,
        notification::{Change, Effect},
        story::ManualAction,
        time::Timestamp,
    },
    engine::{
        Engine,
        intake::idempotency::Key,
        lifecycle::{self, Report, Step},
    },
    store::{
        DatabaseTransaction, StoreError, WorkError, audit,
        event::{self, Used},
        notification::{self, Filter},
    },
};

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Another try, in a new generation. `even_if_delivered`: a second copy is welcome.
    Retry { even_if_delivered: bool },
    /// Never mind: out of the queue, for good.
    Cancel,
    /// The same, because it has waited too long: its sender was held, or all sending.
    Discard,
    /// Ends a back-off or a wait for a time; the pace is kept.
    SendNow,
}

impl From<ManualAction> for Action {
    fn from(action: ManualAction) -> Self {
        match action {
            ManualAction::Retry | ManualAction::RetryInsisting => Self::Retry {
                even_if_delivered: action == ManualAction::RetryInsisting,
            },
            ManualAction::SendNow => Self::SendNow,
            ManualAction::Cancel => Self::Cancel,
        }
    }
}

impl Action {
    /// The action of this name; `even_if_delivered` counts for a retry.
    pub fn parse(name: &str, even_if_delivered: bool) -> Option<Self> {
        [
            Self::Retry { even_if_delivered },
            Self::Cancel,
            Self::SendNow,
        ]
        .into_iter()
        .find(|action| action.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::SendNow => "send-now",
        }
    }

    fn change(self) -> Change {
        match self {
            Self::Retry { even_if_delivered } => Change::RetryRequested { even_if_delivered },
            Self::Cancel => Change::Cancelled {
                reason: "cancelled by a person".to_owned(),
            },
            Self::Discard => Change::Cancelled {
                reason: "discarded: it waited too long before sending went on".to_owned(),
            },
            Self::SendNow => Change::SendNow,
        }
    }
}

/// What came of a manual change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Yes,
    /// The state does not allow it; this is why.
    No(&'static str),
    NotFound,
    /// The idempotency key was used for something else.
    KeyReused,
}

/// Writes down who did it: to one, or to all that match.
pub async fn note(
    engine: &Engine,
    actor: &str,
    action: Action,
    subject: &str,
    changed: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let action = format!("notification.{}", action.name());
    write_down(engine, actor, &action, subject, changed, now).await
}

/// Writes down who replayed callbacks.
pub async fn note_replay(
    engine: &Engine,
    actor: &str,
    callbacks: &[Uuid],
    changed: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let subject = match callbacks {
        [one] => one.to_string(),
        many => format!("{} callbacks", many.len()),
    };
    write_down(engine, actor, "callback.replayed", &subject, changed, now).await
}

async fn write_down(
    engine: &Engine,
    actor: &str,
    action: &str,
    subject: &str,
    changed: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    engine
        .store
        .write(async |tx| {
            let entry = audit::New {
                actor,
                action,
                subject,
                detail: json!({ "count": changed }).to_string(),
            };
            audit::note(tx, entry, now).await
        })
        .await
}

/// Does it to one notification of the caller's; with a key, once.
pub async fn one(
    engine: &Engine,
    bounds: &Bounds,
    id: Uuid,
    action: Action,
    key: Option<&Key>,
    now: Timestamp,
) -> Result<Done, StoreError> {
    // What belongs to whom never changes.
    if notification::find(&engine.store, bounds, id)
        .await?
        .is_none()
    {
        return Ok(Done::NotFound);
    }
    let (done, report) = engine
        .store
        .write(async |tx| {
            if let Some(before) = take(engine, tx, key, action, id, now).await? {
                let same = key.is_some_and(|key| {
                    engine.is_fingerprint(&before.fingerprint, &key.fingerprint)
                });
                let done = if same { Done::Yes } else { Done::KeyReused };
                return Ok((done, Report::default()));
            }
            let report = run(engine, tx, &[id], action, now).await?;
            let done = match report.effects.first().cloned().flatten() {
                Some(Effect::Applied(_)) => Done::Yes,
                Some(Effect::Ignored(reason)) => Done::No(reason),
                None => Done::NotFound,
            };
            Ok((done, report))
        })
        .await?;
    report.publish(engine);
    Ok(done)
}

async fn take(
    engine: &Engine,
    tx: &DatabaseTransaction,
    key: Option<&Key>,
    action: Action,
    resource_id: Uuid,
    now: Timestamp,
) -> Result<Option<Used>, StoreError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let used = Used {
        fingerprint: engine.fingerprint(&key.fingerprint),
        resource_id,
        answer: None,
    };
    event::take_idempotency_key(tx, &key.client, &key.key, action.name(), &used, now).await
}

async fn run(
    engine: &Engine,
    tx: &DatabaseTransaction,
    ids: &[Uuid],
    action: Action,
    now: Timestamp,
) -> Result<Report, StoreError> {
    if matches!(action, Action::Retry { .. }) {
        let until = now.plus_seconds(engine.settings.expiry.ordinary_seconds);
        notification::extend(tx, ids, until, now).await?;
    }
    let steps: Vec<Step> = ids
        .iter()
        .map(|id| Step::new(*id, action.change()))
        .collect();
    lifecycle::run(engine, tx, &steps, now).await
}

/// Notifications that are changed in one transaction.
pub const CHUNK: u64 = 100;

/// What came of one chunk of those that match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub matched: u64,
    /// Changed, or to be changed if it was only asked what would happen.
    pub changed: u64,
    /// Why the others were left as they are, and how many they are.
    pub left_alone: BTreeMap<String, u64>,
    /// Where to go on; absent when nothing is left.
    pub next: Option<Uuid>,
}

impl Batch {
    /// Both together; the later one says where to go on.
    pub fn add(&mut self, later: Self) {
        self.matched += later.matched;
        self.changed += later.changed;
        for (reason, count) in later.left_alone {
            *self.left_alone.entry(reason).or_default() += count;
        }
        self.next = later.next;
    }

    fn count(&mut self, effect: Option<&Effect>) {
        match effect {
            Some(Effect::Applied(_)) => self.changed += 1,
            Some(Effect::Ignored(reason)) => {
                *self.left_alone.entry((*reason).to_owned()).or_default() += 1;
            }
            None => {}
        }
    }
}

/// Why a chunk was not done.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("the idempotency key was used for something else")]
    KeyReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WorkError for BatchError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused @ Self::KeyReused => Err(refused),
        }
    }
}

/// Does it to the next [`CHUNK`] notifications of the caller's that match, newest first; with
/// `dry_run` it only says what would happen. With a key, a repeat is answered like
/// the first and does nothing.
pub async fn chunk(
    engine: &Engine,
    bounds: &Bounds,
    filter: &Filter,
    action: Action,
    dry_run: bool,
    key: Option<&Key>,
    now: Timestamp,
) -> Result<Batch, BatchError> {
    let filter = Filter {
        limit: CHUNK + 1,
        ..filter.clone()
    };
    let found = notification::search(&engine.store, bounds, &filter).await?;
    let mut ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
    let more = u64::try_from(ids.len()).unwrap_or(0) > CHUNK;
    if more {
        ids.pop();
    }
    let batch = Batch {
        matched: u64::try_from(ids.len()).unwrap_or(0),
        next: ids.last().copied().filter(|_| more),
        ..Batch::default()
    };
    if dry_run {
        // Nothing is written, so no lock is taken.
        let mut batch = batch;
        for loaded in notification::load(engine.store.reader(), &ids).await? {
            let mut state = loaded.state;
            let effect = state.on(&action.change(), now, &engine.settings.policy);
            batch.count(Some(&effect));
        }
        return Ok(batch);
    }
    let (batch, report) = engine
        .store
        .write_or_refuse::<_, BatchError, _>(async |tx| {
            if let Some(before) = take(engine, tx, key, action, Uuid::nil(), now).await? {
                let same = key.is_some_and(|key| {
                    engine.is_fingerprint(&before.fingerprint, &key.fingerprint)
                });
                let answer = before.answer.filter(|_| same);
                let before = answer.and_then(|answer| serde_json::from_str(&answer).ok());
                return Ok((before.ok_or(BatchError::KeyReused)?, Report::default()));
            }
            let mut batch = batch.clone();
            let report = run(engine, tx, &ids, action, now).await?;
            for effect in &report.effects {
                batch.count(effect.as_ref());
            }
            if let Some(key) = key {
                let answer = serde_json::to_string(&batch).unwrap_or_default();
                event::keep_answer(tx, &key.client, &key.key, action.name(), &answer).await?;
            }
            Ok((batch, report))
        })
        .await?;
    report.publish(engine);
    Ok(batch)
}
