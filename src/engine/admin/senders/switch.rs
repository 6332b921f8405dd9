//! Sets the default sender, and holds and releases one by hand.

use serde_json::json;
use uuid::Uuid;

use super::{SenderAdminActor, SenderAdminError, change, changed};
use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, status::NotificationStatus,
        time::Timestamp,
    },
    engine::{
        Engine,
        admin::operator_actions::{self, BulkActionError, BulkActionReport, OperatorAction},
        delivery::sweeper,
    },
    store::{StoreError, audit, notification::NotificationListFilter, sender},
};

/// Makes a sender the default.
pub async fn make_default(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
) -> Result<(), SenderAdminError> {
    change(engine, by.now, async |tx| {
        let Some(row) = sender::find(tx, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        let before = sender::default_one(tx).await?.map(|row| row.name);
        sender::make_default(tx, id, by.now).await?;
        let detail = json!({ "before": before });
        changed(tx, by, AuditAction::SenderDefault, &row.name, &detail).await?;
        Ok(())
    })
    .await
}

/// Holds a sender: requests are accepted and wait, and expire as usual.
pub async fn hold(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
    reason: &str,
) -> Result<(), SenderAdminError> {
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        sender::switch(tx, id, Some(reason), by.now).await?;
        let detail = json!({ "reason": reason });
        changed(tx, by, AuditAction::SenderHeld, &row.name, &detail).await?;
        Ok(())
    })
    .await
}

/// Releases a sender, whether an operator or its provider's failures held it.
pub async fn release(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
) -> Result<(), SenderAdminError> {
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, id).await? else {
            return Err(SenderAdminError::NotFound);
        };
        sender::switch(tx, id, None, by.now).await?;
        let detail =
            json!({ "held_since": row.off_at.map(|at| Timestamp::from_micros(at).to_string()) });
        changed(tx, by, AuditAction::SenderReleased, &row.name, &detail).await?;
        Ok(())
    })
    .await?;
    sweeper::release(engine, by.now).await?;
    engine.wake_senders();
    Ok(())
}

/// Cancels messages of this sender that were requested before a given time and still wait, in
/// chunks: after a long hold, yesterday's messages are of no use. With `dry_run` it only reports.
/// `None`: the sender does not exist.
pub async fn discard(
    engine: &Engine,
    by: SenderAdminActor<'_>,
    id: Uuid,
    before: Timestamp,
    dry_run: bool,
) -> Result<Option<BulkActionReport>, StoreError> {
    let Some(row) = sender::find(engine.store.reader(), id).await? else {
        return Ok(None);
    };
    let mut filter = NotificationListFilter {
        statuses: vec![
            NotificationStatus::Queued,
            NotificationStatus::Held,
            NotificationStatus::Retrying,
        ],
        sender: Some((id, row.is_default)),
        until: Some(before),
        // A message scheduled for Friday has not been waiting.
        due_by: Some(by.now),
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
            by.now,
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
    if !dry_run && all.changed > 0 {
        let detail = json!({ "count": all.changed, "asked_for_before": before.to_string() });
        let action = AuditAction::SenderDiscarded;
        audit::note_alone(&engine.store, by.actor, action, &row.name, &detail, by.now).await?;
    }
    Ok(Some(all))
}
