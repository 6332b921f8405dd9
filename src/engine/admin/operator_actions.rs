//! Operator actions on one notification, or on all that match a filter.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        access::AccessBounds,
        audit_action::AuditAction,
        notification::{NotificationChange, NotificationChangeEffect},
        story::ManualAction,
        time::Timestamp,
    },
    engine::{
        Engine,
        intake::idempotency::{IdempotencyKey, IdempotencyVerdict, idempotent},
        lifecycle::{self, NotificationLifecycleChange, NotificationLifecycleReport},
    },
    store::{
        ConnectionTrait, DatabaseTransaction, StoreError, TransactionWorkError, audit, idempotency,
        notification::{self, NotificationListFilter},
        verification,
    },
};

/// The action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// Another try, in a new generation. `even_if_delivered`: the recipient may get a second copy.
    Retry { even_if_delivered: bool },
    /// Removes it from the queue for good.
    Cancel,
    /// Like `Cancel`, because it has waited too long while its sender or all sending was held.
    Discard,
    /// Ends a back-off or a scheduled wait; the pace still applies.
    SendNow,
}

impl From<ManualAction> for OperatorAction {
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

impl OperatorAction {
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

    /// Its word in the audit log.
    const fn audit_action(self) -> AuditAction {
        match self {
            Self::Retry { .. } => AuditAction::NotificationRetry,
            Self::Cancel => AuditAction::NotificationCancel,
            Self::Discard => AuditAction::NotificationDiscard,
            Self::SendNow => AuditAction::NotificationSendNow,
        }
    }

    fn change(self) -> NotificationChange {
        match self {
            Self::Retry { even_if_delivered } => {
                NotificationChange::RetryRequested { even_if_delivered }
            }
            Self::Cancel => NotificationChange::Cancelled {
                reason: "cancelled by an operator".to_owned(),
            },
            Self::Discard => NotificationChange::Cancelled {
                reason: "discarded: it waited too long before sending was released".to_owned(),
            },
            Self::SendNow => NotificationChange::SendNow,
        }
    }
}

/// Result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorActionOutcome {
    Yes,
    /// The state does not allow it, with the reason.
    No(&'static str),
    NotFound,
    /// The idempotency key was used for a different action.
    KeyReused,
}

/// Writes an audit entry for one notification or for all that match.
pub async fn note(
    engine: &Engine,
    actor: &str,
    action: OperatorAction,
    subject: &str,
    changed: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (action, detail) = (action.audit_action(), json!({ "count": changed }));
    audit::note_alone(&engine.store, actor, action, subject, &detail, now).await
}

/// Writes an audit entry for replayed callbacks.
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
    let (action, detail) = (AuditAction::CallbackReplayed, json!({ "count": changed }));
    audit::note_alone(&engine.store, actor, action, &subject, &detail, now).await
}

/// Performs an action on one notification within the caller's bounds; with a key, once.
pub async fn one(
    engine: &Engine,
    bounds: &AccessBounds,
    id: Uuid,
    action: OperatorAction,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<OperatorActionOutcome, StoreError> {
    // The owner of a notification never changes.
    if notification::find(&engine.store, bounds, id)
        .await?
        .is_none()
    {
        return Ok(OperatorActionOutcome::NotFound);
    }
    let (done, report) = engine
        .store
        .write(async |tx| {
            let before = match idempotent(engine, tx, key, action.name(), id, now).await? {
                IdempotencyVerdict::New => None,
                IdempotencyVerdict::Repeat(_) => Some(OperatorActionOutcome::Yes),
                IdempotencyVerdict::KeyReused => Some(OperatorActionOutcome::KeyReused),
            };
            if let Some(done) = before {
                return Ok((done, NotificationLifecycleReport::default()));
            }
            let report = run(engine, tx, &[id], action, now).await?;
            let done = match report.effects.first().cloned().flatten() {
                Some(NotificationChangeEffect::Applied(_)) => OperatorActionOutcome::Yes,
                Some(NotificationChangeEffect::Ignored(reason)) => {
                    OperatorActionOutcome::No(reason)
                }
                None => OperatorActionOutcome::NotFound,
            };
            Ok((done, report))
        })
        .await?;
    report.publish(engine);
    Ok(done)
}

async fn run(
    engine: &Engine,
    tx: &DatabaseTransaction,
    ids: &[Uuid],
    action: OperatorAction,
    now: Timestamp,
) -> Result<NotificationLifecycleReport, StoreError> {
    let refused = refused(tx, ids, action).await?;
    let allowed: Vec<Uuid> = ids
        .iter()
        .copied()
        .filter(|id| !refused.contains(id))
        .collect();
    if matches!(action, OperatorAction::Retry { .. }) {
        let until = now.plus_seconds(engine.settings.expiry.ordinary_seconds);
        notification::extend(tx, &allowed, until, now).await?;
    }
    let steps: Vec<NotificationLifecycleChange> = allowed
        .into_iter()
        .map(|id| NotificationLifecycleChange::new(id, action.change()))
        .collect();
    let mut report = lifecycle::run(engine, tx, &steps, now).await?;
    let effects = refused.iter().map(|_| Some(CARRIES_CODE));
    report.effects.extend(effects);
    Ok(report)
}

/// Why a message with a one-time password is not retried: that would be a send past its limits.
const CARRIES_CODE: NotificationChangeEffect = NotificationChangeEffect::Ignored(
    "it carries a one-time password: POST /api/v1/verifications/{id}/resend sends that again",
);

/// Those that the action is refused for.
async fn refused(
    connection: &impl ConnectionTrait,
    ids: &[Uuid],
    action: OperatorAction,
) -> Result<HashSet<Uuid>, StoreError> {
    Ok(match action {
        OperatorAction::Retry { .. } => verification::carried(connection, ids)
            .await?
            .into_keys()
            .collect(),
        OperatorAction::Cancel | OperatorAction::Discard | OperatorAction::SendNow => {
            HashSet::new()
        }
    })
}

/// Notifications changed per transaction.
pub const CHUNK: u64 = 100;

/// Result of one chunk of matching notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkActionReport {
    pub matched: u64,
    /// Number changed, or that would be in a dry run.
    pub changed: u64,
    /// Reasons for which the others were left unchanged, with their counts.
    pub left_alone: BTreeMap<String, u64>,
    /// Cursor of the next chunk; absent after the last.
    pub next: Option<Uuid>,
}

impl BulkActionReport {
    /// Adds a later batch; its cursor counts.
    pub fn add(&mut self, later: Self) {
        self.matched += later.matched;
        self.changed += later.changed;
        for (reason, count) in later.left_alone {
            *self.left_alone.entry(reason).or_default() += count;
        }
        self.next = later.next;
    }

    fn count(&mut self, effect: Option<&NotificationChangeEffect>) {
        match effect {
            Some(NotificationChangeEffect::Applied(_)) => self.changed += 1,
            Some(NotificationChangeEffect::Ignored(reason)) => {
                *self.left_alone.entry((*reason).to_owned()).or_default() += 1;
            }
            None => {}
        }
    }
}

/// Error of a chunk whose idempotency key was used for something else.
#[derive(Debug, thiserror::Error)]
pub enum BulkActionError {
    #[error("the idempotency key was used for something else")]
    KeyReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransactionWorkError for BulkActionError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused @ Self::KeyReused => Err(refused),
        }
    }
}

/// Performs an action on the next [`CHUNK`] matching notifications within the caller's bounds,
/// newest first; with `dry_run` it only reports. With a key, a repeat gets the first answer and
/// does nothing.
pub async fn chunk(
    engine: &Engine,
    bounds: &AccessBounds,
    filter: &NotificationListFilter,
    action: OperatorAction,
    dry_run: bool,
    key: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<BulkActionReport, BulkActionError> {
    let filter = NotificationListFilter {
        limit: CHUNK + 1,
        ..filter.clone()
    };
    let found = notification::search(&engine.store, bounds, &filter).await?;
    let mut ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
    let more = u64::try_from(ids.len()).unwrap_or(0) > CHUNK;
    if more {
        ids.pop();
    }
    let batch = BulkActionReport {
        matched: u64::try_from(ids.len()).unwrap_or(0),
        next: ids.last().copied().filter(|_| more),
        ..BulkActionReport::default()
    };
    if dry_run {
        // A dry run writes nothing, so it takes no lock.
        let mut batch = batch;
        let refused = refused(engine.store.by_index(), &ids, action).await?;
        for loaded in notification::load(engine.store.reader(), &ids).await? {
            if refused.contains(&loaded.state.id) {
                batch.count(Some(&CARRIES_CODE));
                continue;
            }
            let mut state = loaded.state;
            let effect = state.on(&action.change(), now, &engine.settings.policy);
            batch.count(Some(&effect));
        }
        return Ok(batch);
    }
    let (batch, report) = engine
        .store
        .write_or_refuse::<_, BulkActionError, _>(async |tx| {
            let nothing = Uuid::nil();
            match idempotent(engine, tx, key, action.name(), nothing, now).await? {
                IdempotencyVerdict::New => {}
                IdempotencyVerdict::Repeat(before) => {
                    let before: Option<BulkActionReport> = before
                        .answer
                        .and_then(|answer| serde_json::from_str(&answer).ok());
                    return Ok((
                        before.ok_or(BulkActionError::KeyReused)?,
                        NotificationLifecycleReport::default(),
                    ));
                }
                IdempotencyVerdict::KeyReused => return Err(BulkActionError::KeyReused),
            }
            let mut batch = batch.clone();
            let report = run(engine, tx, &ids, action, now).await?;
            for effect in &report.effects {
                batch.count(effect.as_ref());
            }
            if let Some(key) = key {
                let answer = serde_json::to_string(&batch).unwrap_or_default();
                idempotency::keep_answer(tx, &key.client, &key.key, action.name(), &answer).await?;
            }
            Ok((batch, report))
        })
        .await?;
    report.publish(engine);
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::OperatorAction;

    #[test]
    fn the_audit_log_calls_an_action_by_its_name() {
        for action in [
            OperatorAction::Retry {
                even_if_delivered: false,
            },
            OperatorAction::Cancel,
            OperatorAction::Discard,
            OperatorAction::SendNow,
        ] {
            let expected = format!("notification.{}", action.name());
            assert_eq!(action.audit_action().name(), expected);
        }
    }
}
