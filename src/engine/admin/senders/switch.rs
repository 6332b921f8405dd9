//! Holding a sender by hand, and letting it go on.

use serde_json::json;
use uuid::Uuid;

use super::{By, SenderError, change, changed};
use crate::{
    domain::{access::Bounds, status::Status, time::Timestamp},
    engine::{
        Engine,
        admin::operator_actions::{self, Action, Batch, BatchError},
        delivery::sweeper,
    },
    store::{StoreError, notification::Filter, sender},
};

/// Holds a sender: what is asked for is accepted and waits, and expires as always.
pub async fn hold(engine: &Engine, by: By<'_>, id: Uuid, reason: &str) -> Result<(), SenderError> {
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, id).await? else {
            return Err(SenderError::NotFound);
        };
        sender::switch(tx, id, Some(reason), by.now).await?;
        let detail = json!({ "reason": reason });
        changed(tx, by, "sender.held", &row.name, &detail).await?;
        Ok(())
    })
    .await
}

/// Lets a sender go on, whether a person or its provider had held it.
pub async fn release(engine: &Engine, by: By<'_>, id: Uuid) -> Result<(), SenderError> {
    change(engine, by.now, async |tx| {
        let Some(row) = sender::lock(tx, id).await? else {
            return Err(SenderError::NotFound);
        };
        sender::switch(tx, id, None, by.now).await?;
        let detail =
            json!({ "held_since": row.off_at.map(|at| Timestamp::from_micros(at).to_string()) });
        changed(tx, by, "sender.released", &row.name, &detail).await?;
        Ok(())
    })
    .await?;
    sweeper::release(engine, by.now).await?;
    engine.wake_senders();
    Ok(())
}

/// Takes what waits for this sender and was asked for before then out of the queue for
/// good, a chunk at a time: after a long hold, yesterday's news is of no use. With
/// `dry_run` it only says what would happen. `None`: there is no such sender.
pub async fn discard(
    engine: &Engine,
    by: By<'_>,
    id: Uuid,
    before: Timestamp,
    dry_run: bool,
) -> Result<Option<Batch>, StoreError> {
    let Some(row) = sender::find(engine.store.reader(), id).await? else {
        return Ok(None);
    };
    let mut filter = Filter {
        statuses: vec![Status::Queued, Status::Held, Status::Retrying],
        sender: Some((id, row.is_default)),
        until: Some(before),
        // What is to leave on Friday has not waited.
        due_by: Some(by.now),
        ..Filter::default()
    };
    let mut all = Batch::default();
    loop {
        let done = operator_actions::chunk(
            engine,
            &Bounds::All,
            &filter,
            Action::Discard,
            dry_run,
            None,
            by.now,
        )
        .await;
        let batch = match done {
            Ok(batch) => batch,
            Err(BatchError::KeyReused) => break,
            Err(BatchError::Store(error)) => return Err(error),
        };
        all.add(batch);
        let Some(next) = all.next else { break };
        filter.before = Some(next);
    }
    if !dry_run && all.changed > 0 {
        let detail = json!({ "count": all.changed, "asked_for_before": before.to_string() });
        engine
            .store
            .write(async |tx| changed(tx, by, "sender.discarded", &row.name, &detail).await)
            .await?;
    }
    Ok(Some(all))
}
