//! Replays dead letters: applies items again that could not be applied.

use uuid::Uuid;

use super::{CallbackBatchSummary, REPLAYED, commit::commit, read::read};
use crate::{
    domain::time::Timestamp,
    engine::Engine,
    providers::DeadLetterItem,
    store::{StoreError, callback, dead_letter, dialect::HexUuid, new_id},
};

/// Why an erased callback is not replayed, and its body is not shown.
pub const ERASED: &str = "erased: a person it concerns was deleted";

/// What became of a replay.
#[derive(Debug)]
pub enum CallbackReplayOutcome {
    Applied(CallbackBatchSummary),
    /// Its body was erased, and nothing is left to be applied: [`ERASED`].
    Erased,
    /// There is no such callback, or its body was deleted because of its age.
    NotFound,
}

/// Applies the dead letters of one callback again. Its other items have been applied; applying them
/// twice changes nothing.
pub async fn replay(
    engine: &Engine,
    callback_id: Uuid,
    now: Timestamp,
) -> Result<CallbackReplayOutcome, StoreError> {
    let Some(body) = callback::body(&engine.store, callback_id).await? else {
        return Ok(CallbackReplayOutcome::NotFound);
    };
    if body.content.is_erased {
        return Ok(CallbackReplayOutcome::Erased);
    }
    engine.refresh_keyring().await?;
    let mut applied = CallbackBatchSummary::default();
    let (work, mut dead) = read(engine, callback_id, &body.endpoint, &body.content);
    applied.bodies = 1;
    applied.items = work.len();
    for piece in work.chunks(REPLAYED) {
        for work in piece {
            match commit(engine, std::slice::from_ref(work), None, &[], now).await {
                Ok(foreign) => dead.extend(foreign.into_iter().map(|(_, dead)| dead)),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    let letter = DeadLetterItem {
                        pointer: work.item.pointer.clone(),
                        reason: format!("it cannot be applied: {error}"),
                    };
                    dead.push(letter);
                }
            }
        }
    }
    applied.dead = dead.len();
    let letters: Vec<dead_letter::NewDeadLetter> = dead
        .into_iter()
        .map(|dead| dead_letter::NewDeadLetter {
            id: HexUuid(new_id(now)),
            callback_id: HexUuid(callback_id),
            pointer: dead.pointer,
            reason: dead.reason,
        })
        .collect();
    // Last, and in one transaction: dead letters of an interrupted replay stay listed.
    engine
        .store
        .write(async |tx| {
            dead_letter::replayed(tx, callback_id, now).await?;
            dead_letter::insert(tx, &letters, now).await
        })
        .await?;
    Ok(CallbackReplayOutcome::Applied(applied))
}
