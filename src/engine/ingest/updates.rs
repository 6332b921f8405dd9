//! Matches statuses to attempts as facts; statuses of unknown messages are parked.

use uuid::Uuid;

use super::{CallbackWorkItem, FOREIGN};
use crate::{
    engine::{
        delivery::status_updates::{MatchedStatusUpdate, step},
        lifecycle::NotificationLifecycleChange,
        runtime::{hold, turn::TransactionContext},
    },
    providers::{CallbackItemContent, DeadLetterItem, MessageStatusUpdate},
    store::{
        StoreError,
        attempt::{self, AttemptLookup},
        dialect::HexUuid,
        new_id, parked,
    },
};

/// Matches statuses to attempts, and parks the rest.
pub(super) async fn steps<'a>(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    work: &[&'a CallbackWorkItem],
) -> Result<
    (
        Vec<NotificationLifecycleChange>,
        Vec<MatchedStatusUpdate<'a>>,
        Vec<(Uuid, DeadLetterItem)>,
    ),
    StoreError,
> {
    let updates: Vec<(&'a CallbackWorkItem, &'a MessageStatusUpdate)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            CallbackItemContent::Update(update) => Some((*work, update.as_ref())),
            _ => None,
        })
        .collect();
    if updates.is_empty() {
        return Ok((Vec::new(), Vec::new(), Vec::new()));
    }
    let lookups: Vec<AttemptLookup> = updates
        .iter()
        .enumerate()
        .map(|(position, (_, update))| AttemptLookup {
            position,
            our_id: update.our_id.map(HexUuid),
            message: update.provider_message_id.clone(),
        })
        .collect();
    let mut found: Vec<Option<attempt::AttemptMatch>> = vec![None; updates.len()];
    for known in attempt::find(tx, &lookups).await? {
        if let Some(slot) = found.get_mut(known.position) {
            *slot = Some(known);
        }
    }
    let mut steps = Vec::with_capacity(updates.len());
    let mut told = Vec::with_capacity(updates.len());
    let (mut unknown, mut foreign) = (Vec::<parked::NewParkedStatusUpdate>::new(), Vec::new());
    let ring = engine.keyring();
    for ((work, update), found) in updates.into_iter().zip(found) {
        match found {
            Some(found) if !ring.speaks_for(work.item.endpoint_id.as_deref(), found.sender_id) => {
                let dead = DeadLetterItem {
                    pointer: work.item.pointer.clone(),
                    reason: FOREIGN.to_owned(),
                };
                foreign.push((work.callback_id, dead));
            }
            Some(found) => {
                steps.extend(step(
                    update,
                    found.notification_id,
                    found.attempt_id,
                    work.callback_id,
                ));
                told.push(MatchedStatusUpdate {
                    notification_id: found.notification_id,
                    attempt_id: found.attempt_id,
                    callback_id: work.callback_id,
                    scope: work.item.account_id.as_deref().unwrap_or_default(),
                    update,
                });
            }
            None => unknown.push(parked::NewParkedStatusUpdate {
                id: HexUuid(new_id(now)),
                callback_id: HexUuid(work.callback_id),
                pointer: work.item.pointer.clone(),
                endpoint_id: work.item.endpoint_id.clone(),
                message: update.provider_message_id.clone(),
                our_id: update.our_id.map(HexUuid),
                update_json: serde_json::to_string(update).unwrap_or_default(),
            }),
        }
    }
    if !foreign.is_empty() {
        tracing::warn!(
            event = "callback.foreign",
            count = foreign.len(),
            "statuses rejected, because they were signed by an app other than their sender's: kept as dead letters (`herald callbacks list --dead`)"
        );
    }
    if !unknown.is_empty() {
        metrics::counter!("herald_callback_parked_total")
            .increment(u64::try_from(unknown.len()).unwrap_or(0));
        parked::insert(tx, &unknown, now).await?;
        let ids = unknown.iter().filter_map(|new| new.our_id.map(|id| id.0));
        hold::on_unknown_attempts(engine, tx, ids, now).await?;
    }
    Ok((steps, told, foreign))
}
