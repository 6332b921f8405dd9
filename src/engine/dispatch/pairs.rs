//! One person gets only so many messages from one number; the rest waits, and says so.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError, conversation,
        notification::{Claimed, Delay},
    },
};

/// Takes what has to wait for its recipient's pace out of a claim.
pub(super) async fn keep_pace(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sender: Uuid,
    claimed: &mut Vec<Claimed>,
    now: Timestamp,
) -> Result<Vec<Delay>, StoreError> {
    let pair = engine.settings.pair;
    if pair.interval_seconds <= 0 {
        return Ok(Vec::new());
    }
    let mut contacts: Vec<Uuid> = claimed
        .iter()
        .filter_map(|claimed| claimed.contact_id)
        .collect();
    contacts.sort_unstable();
    contacts.dedup();
    if contacts.is_empty() {
        return Ok(Vec::new());
    }
    let mut next: HashMap<Uuid, Timestamp> = conversation::lock_pairs(tx, sender, &contacts)
        .await?
        .into_iter()
        .collect();
    let mut taken: HashMap<Uuid, Timestamp> = HashMap::new();
    let mut waiting: HashMap<Uuid, Timestamp> = HashMap::new();
    let mut delays = Vec::new();
    claimed.retain(|message| {
        let Some(contact) = message.contact_id else {
            return true;
        };
        match pair.take(next.get(&contact).copied().unwrap_or_default(), now) {
            Ok(next_at) => {
                next.insert(contact, next_at);
                taken.insert(contact, next_at);
                true
            }
            Err(until) => {
                // Each of them waits for a turn of its own, so that few come back in vain.
                let turn = waiting.entry(contact).or_insert(until);
                let until = *turn;
                *turn = until.plus_seconds(pair.interval_seconds);
                delays.push(Delay::new(
                    message.id,
                    until,
                    "this person has got many messages in a short time: it waits for its turn",
                ));
                false
            }
        }
    });
    let mut taken: Vec<(Uuid, Timestamp)> = taken.into_iter().collect();
    taken.sort_unstable();
    conversation::take_pairs(tx, sender, &taken, now).await?;
    Ok(delays)
}
