//! Enforces the pair pace: how many messages one contact may get from one sender in a time. The
//! rest waits for its turn, with a reason.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    domain::time::Timestamp,
    engine::Engine,
    store::{
        DatabaseTransaction, StoreError,
        notification::{self, ClaimedNotification, MessageQueueStage, MessageWaitReason},
        pair,
    },
};

/// Hold reason of a message that waits for its turn.
pub(super) const ITS_TURN: &str = "this recipient has got many messages in a short time";

/// Most pairs that get a turn in one claim.
const TURNS: i64 = 50;

/// Most messages of one pair that one claim puts back while no pace is set.
const UNLIMITED: i64 = 200;

/// Removes from a claim the messages that exceed their recipient's pace. Returns the contacts whose
/// turn comes later.
pub(super) async fn keep_pace(
    engine: &Engine,
    tx: &DatabaseTransaction,
    sender: Uuid,
    claimed: &mut Vec<ClaimedNotification>,
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let pace = engine.settings.pair;
    if pace.interval_seconds <= 0 {
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
    let mut next: HashMap<Uuid, Timestamp> = pair::lock_pairs(tx, sender, &contacts)
        .await?
        .into_iter()
        .collect();
    let mut taken: HashMap<Uuid, Timestamp> = HashMap::new();
    let mut turns: HashMap<Uuid, Timestamp> = HashMap::new();
    let mut waiting = Vec::new();
    claimed.retain(|message| {
        let Some(contact) = message.contact_id else {
            return true;
        };
        match pace.take(next.get(&contact).copied().unwrap_or_default(), now) {
            Ok(next_at) => {
                next.insert(contact, next_at);
                taken.insert(contact, next_at);
                true
            }
            Err(until) => {
                turns.entry(contact).or_insert(until);
                waiting.push(message.id);
                false
            }
        }
    });
    pair::take_pairs(tx, sender, &in_order(taken), now).await?;
    let turns = in_order(turns);
    pair::set_turns(tx, sender, &turns, now).await?;
    notification::set_aside(
        tx,
        sender,
        &waiting,
        MessageQueueStage::Claimed,
        MessageWaitReason::Turn,
        ITS_TURN,
        now,
    )
    .await?;
    Ok(turns.into_iter().map(|(contact, _)| contact).collect())
}

/// Puts waiting messages back into the queue for contacts whose turn has come, as many as the pace
/// allows now.
pub(super) async fn give_turns(
    engine: &Engine,
    sender: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let pace = engine.settings.pair;
    engine
        .store
        .write(async |tx| {
            for turn in pair::turns(tx, sender, now, TURNS).await? {
                let (most, until) = if pace.interval_seconds > 0 {
                    pace.room(turn.next_at, now)
                } else {
                    (UNLIMITED, now)
                };
                let given =
                    notification::take_turns(tx, sender, turn.contact, turn.at, most, now).await?;
                let is_more = given >= most.unsigned_abs();
                pair::set_turn(tx, sender, turn.contact, is_more.then_some(until)).await?;
            }
            Ok(())
        })
        .await
}

fn in_order(of_contacts: HashMap<Uuid, Timestamp>) -> Vec<(Uuid, Timestamp)> {
    let mut in_order: Vec<(Uuid, Timestamp)> = of_contacts.into_iter().collect();
    in_order.sort_unstable();
    in_order
}
