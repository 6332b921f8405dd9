//! Matches statuses to attempts as facts; statuses of unknown messages are parked.
//!
//! A status of a message of ours names its notification, whose row has the attempt: one look finds
//! all that the status changes. Another is matched by the provider's id of its message.

use std::collections::HashMap;

use uuid::Uuid;

use super::{CallbackWorkItem, read::FOREIGN};
use crate::{
    engine::{
        delivery::status_updates::{MatchedStatusUpdate, step},
        lifecycle::NotificationLifecycleChange,
        runtime::{hold, turn::TransactionContext},
    },
    providers::{CallbackItemContent, DeadLetterItem, MessageStatusUpdate},
    store::{
        StoreError,
        attempt::{self, AttemptLookup, AttemptMatch},
        dialect::HexUuid,
        new_id,
        notification::{self, LoadedNotification},
        parked,
    },
};

/// What statuses lead to.
#[derive(Default)]
pub(super) struct StatusUpdateSteps<'a> {
    pub(super) steps: Vec<NotificationLifecycleChange>,
    pub(super) matched: Vec<MatchedStatusUpdate<'a>>,
    /// Items that another app than that of their sender has signed.
    pub(super) foreign: Vec<(Uuid, DeadLetterItem)>,
    /// The notifications that were read, sorted by id.
    pub(super) loaded: Vec<LoadedNotification>,
}

/// Matches statuses to attempts, and parks the rest.
pub(super) async fn steps<'a>(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    work: &[&'a CallbackWorkItem],
) -> Result<StatusUpdateSteps<'a>, StoreError> {
    let updates: Vec<(&'a CallbackWorkItem, &'a MessageStatusUpdate)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            CallbackItemContent::Update(update) => Some((*work, update.as_ref())),
            _ => None,
        })
        .collect();
    if updates.is_empty() {
        return Ok(StatusUpdateSteps::default());
    }
    let mut named: Vec<Uuid> = updates
        .iter()
        .filter_map(|(_, update)| update.our_id?.notification)
        .collect();
    named.sort_unstable();
    named.dedup();
    let loaded = notification::load(tx, &named).await?;
    let mut found: HashMap<usize, AttemptMatch> = HashMap::with_capacity(updates.len());
    let mut lookups: Vec<AttemptLookup> = Vec::new();
    for (position, (_, update)) in updates.iter().enumerate() {
        match find_in(&loaded, position, update) {
            Some(known) => drop(found.insert(position, known)),
            None => lookups.push(AttemptLookup {
                position,
                our_id: update.our_id.map(|our_id| HexUuid(our_id.attempt)),
                message: update.provider_message_id.clone(),
            }),
        }
    }
    if !lookups.is_empty() {
        let known = attempt::find(tx, &lookups).await?;
        found.extend(known.into_iter().map(|known| (known.position, known)));
    }
    let mut steps = Vec::with_capacity(updates.len());
    let mut matched = Vec::with_capacity(updates.len());
    let (mut unknown, mut foreign) = (Vec::<parked::NewParkedStatusUpdate>::new(), Vec::new());
    let ring = engine.keyring();
    for (position, (work, update)) in updates.into_iter().enumerate() {
        match found.get(&position) {
            Some(found) if !work.speaks_for(&ring, found.sender_id) => {
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
                matched.push(MatchedStatusUpdate {
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
                our_id: update.our_id.map(|our_id| HexUuid(our_id.attempt)),
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
    Ok(StatusUpdateSteps {
        steps,
        matched,
        foreign,
        loaded,
    })
}

/// The attempt that a status names, if its notification has it.
fn find_in(
    loaded: &[LoadedNotification],
    position: usize,
    update: &MessageStatusUpdate,
) -> Option<AttemptMatch> {
    let our_id = update.our_id?;
    let notification_id = our_id.notification?;
    let index = loaded
        .binary_search_by_key(&notification_id, |loaded| loaded.state.id)
        .ok()?;
    let attempts = &loaded.get(index)?.state.attempts;
    let attempt = attempts.iter().find(|it| it.id == our_id.attempt)?;
    Some(AttemptMatch {
        position,
        attempt_id: attempt.id,
        notification_id,
        sender_id: attempt.sender_id,
    })
}
