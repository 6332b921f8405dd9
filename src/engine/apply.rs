//! Callbacks become facts: a batch of bodies is parsed, matched and applied in
//! one transaction. What fails for a reason of its own is narrowed down to the
//! item; what fails for a passing reason is repeated as a whole.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use super::{
    Engine,
    transition::{self, Report, Step},
};
use crate::{
    domain::{facts::Fact, notification::Change, time::Timestamp, window},
    providers::{Dead, Inbound, Item, ItemKind, Update, meta},
    store::{
        DatabaseTransaction, Store, StoreError,
        attempt::{self, Lookup},
        callback::{self, Body, Processed},
        dead_letter,
        dialect::Id,
        inbound, new_id, notification, parked,
        people::{self, Alias},
        sender,
    },
};

/// Bodies that go into one transaction: many, because a batch costs little more
/// than one; fewer on SQLite, where whoever stores callbacks waits meanwhile.
pub fn batch_size(store: &Store) -> usize {
    if store.is_sqlite() { 100 } else { 500 }
}

/// Items that a replay takes at a time.
const REPLAYED: usize = 500;

/// A body that was being processed at this many crashes is processed alone.
const ALONE_AFTER_TRIES: i64 = 3;

/// A reply without a quote answers what was sent in this time before it.
const ANSWERS_SECONDS: i64 = 7 * 24 * 60 * 60;

/// One item, and the callback it came in.
struct Work {
    callback_id: Uuid,
    item: Item,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    pub bodies: usize,
    pub items: usize,
    pub dead: usize,
}

/// Processes bodies. Transient errors come back and nothing is dead-lettered:
/// the caller repeats the turn.
pub async fn process(
    engine: &Engine,
    bodies: &[Body],
    now: Timestamp,
) -> Result<Applied, StoreError> {
    let mut applied = Applied::default();
    let (alone, together): (Vec<&Body>, Vec<&Body>) = bodies
        .iter()
        .partition(|body| body.tries >= ALONE_AFTER_TRIES);
    if !together.is_empty() {
        batch(engine, &together, now, &mut applied).await?;
    }
    for body in alone {
        if body.tries > ALONE_AFTER_TRIES {
            isolate(engine, body, now).await?;
            applied.bodies += 1;
            applied.dead += 1;
        } else {
            batch(engine, &[body], now, &mut applied).await?;
        }
    }
    metrics::counter!("herald_callback_items_total", "result" => "applied")
        .increment(u64::try_from(applied.items).unwrap_or(0));
    metrics::counter!("herald_callback_items_total", "result" => "dead")
        .increment(u64::try_from(applied.dead).unwrap_or(0));
    Ok(applied)
}

async fn batch(
    engine: &Engine,
    bodies: &[&Body],
    now: Timestamp,
    applied: &mut Applied,
) -> Result<(), StoreError> {
    let mut work = Vec::with_capacity(bodies.len());
    let mut dead: Vec<(Uuid, Dead)> = Vec::new();
    let mut marks = Vec::with_capacity(bodies.len());
    for body in bodies {
        let parsed = meta::callback::parse(&body.body);
        marks.push(Processed {
            id: Id(body.id),
            items: i64::try_from(parsed.items.len() + parsed.dead.len()).unwrap_or(i64::MAX),
            dead_items: i64::try_from(parsed.dead.len()).unwrap_or(i64::MAX),
        });
        work.extend(parsed.items.into_iter().map(|item| Work {
            callback_id: body.id,
            item,
        }));
        dead.extend(parsed.dead.into_iter().map(|dead| (body.id, dead)));
    }
    marks.sort_by_key(|mark| mark.id.0);
    let together = commit(engine, &work.iter().collect::<Vec<_>>(), &marks, &dead, now).await;
    match together {
        Ok(()) => {}
        Err(error) if error.is_transient() => return Err(error),
        Err(_) => {
            // Something in it cannot be applied: find it, and spare the others.
            let mut pieces = vec![work.iter().collect::<Vec<_>>()];
            while let Some(piece) = pieces.pop() {
                match commit(engine, &piece, &[], &[], now).await {
                    Ok(()) => {}
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) if piece.len() <= 1 => {
                        for work in piece {
                            let reason = format!("it cannot be applied: {error}");
                            dead.push((
                                work.callback_id,
                                Dead {
                                    pointer: work.item.pointer.clone(),
                                    reason,
                                },
                            ));
                            if let Some(mark) =
                                marks.iter_mut().find(|mark| mark.id.0 == work.callback_id)
                            {
                                mark.dead_items += 1;
                            }
                        }
                    }
                    Err(_) => {
                        let (first, second) = piece.split_at(piece.len() / 2);
                        pieces.push(second.to_vec());
                        pieces.push(first.to_vec());
                    }
                }
            }
            commit(engine, &[], &marks, &dead, now).await?;
        }
    }
    if !dead.is_empty() {
        tracing::warn!(
            event = "callback.dead_letter",
            count = dead.len(),
            "items of callbacks could not be applied: see `herald callbacks list --dead`"
        );
    }
    applied.bodies += bodies.len();
    applied.items += work.len();
    applied.dead += dead.len();
    Ok(())
}

/// A body over which processes died again and again, the last time alone.
async fn isolate(engine: &Engine, body: &Body, now: Timestamp) -> Result<(), StoreError> {
    let mark = Processed {
        id: Id(body.id),
        items: 1,
        dead_items: 1,
    };
    let dead = Dead {
        pointer: String::new(),
        reason: "processing it ended the process several times".to_owned(),
    };
    commit(engine, &[], &[mark], &[(body.id, dead)], now).await
}

/// One transaction: marks, inbound messages, updates, dead letters.
async fn commit(
    engine: &Engine,
    work: &[&Work],
    marks: &[Processed],
    dead: &[(Uuid, Dead)],
    now: Timestamp,
) -> Result<(), StoreError> {
    // Rarely does anybody else touch the same notifications at the same moment,
    // and locking them costs as much as changing them: only the loser locks.
    let mut tries = 0;
    let report = engine
        .store
        .write(async |tx| {
            let elsewhere = if marks.is_empty() {
                Vec::new()
            } else {
                callback::mark_processed(tx, marks, now).await?
            };
            let work: Vec<&Work> = work
                .iter()
                .copied()
                .filter(|work| !elsewhere.contains(&work.callback_id))
                .collect();
            let letters: Vec<dead_letter::New> = dead
                .iter()
                .filter(|(callback, _)| !elsewhere.contains(callback))
                .map(|(callback, dead)| dead_letter::New {
                    id: Id(new_id(now)),
                    callback_id: Id(*callback),
                    pointer: dead.pointer.clone(),
                    reason: dead.reason.clone(),
                })
                .collect();
            dead_letter::insert(tx, &letters, now).await?;
            let mut steps = inbound_steps(tx, &work, now).await?;
            steps.extend(update_steps(tx, &work, now).await?);
            tries += 1;
            if tries == 1 {
                transition::run_unlocked(engine, tx, &steps, now).await
            } else {
                transition::run(engine, tx, &steps, now).await
            }
        })
        .await?;
    Report::publish(&report, engine);
    for work in work {
        match &work.item.kind {
            ItemKind::Other { what } => {
                tracing::debug!(
                    event = "callback.kept",
                    what,
                    "kept and counted, nothing acts on it"
                );
                metrics::counter!("herald_callback_other_total").increment(1);
            }
            ItemKind::Update(update) if update.fact.is_none() => {
                metrics::counter!("herald_callback_unknown_status_total").increment(1);
            }
            ItemKind::Update(_) | ItemKind::Inbound(_) => {}
        }
    }
    Ok(())
}

/// Matches statuses to attempts, and parks the rest.
async fn update_steps(
    tx: &DatabaseTransaction,
    work: &[&Work],
    now: Timestamp,
) -> Result<Vec<Step>, StoreError> {
    let updates: Vec<(&Work, &Update)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            ItemKind::Update(update) => Some((*work, update.as_ref())),
            ItemKind::Inbound(_) | ItemKind::Other { .. } => None,
        })
        .collect();
    if updates.is_empty() {
        return Ok(Vec::new());
    }
    let lookups: Vec<Lookup> = updates
        .iter()
        .enumerate()
        .map(|(position, (_, update))| Lookup {
            position,
            our_id: update.our_id.map(Id),
            message: update.provider_message_id.clone(),
        })
        .collect();
    let mut found: Vec<Option<attempt::Found>> = vec![None; updates.len()];
    for known in attempt::find(tx, &lookups).await? {
        if let Some(slot) = found.get_mut(known.position) {
            *slot = Some(known);
        }
    }
    let mut steps = Vec::with_capacity(updates.len());
    let mut unknown = Vec::new();
    for ((work, update), found) in updates.into_iter().zip(found) {
        match found {
            Some(found) => steps.extend(update_step(
                update,
                found.notification_id,
                found.attempt_id,
                work.callback_id,
            )),
            None => unknown.push(parked::New {
                id: Id(new_id(now)),
                callback_id: Id(work.callback_id),
                pointer: work.item.pointer.clone(),
                phone_number_id: work.item.phone_number_id.clone(),
                message: update.provider_message_id.clone(),
                our_id: update.our_id.map(Id),
                update_json: serde_json::to_string(update).unwrap_or_default(),
            }),
        }
    }
    if !unknown.is_empty() {
        metrics::counter!("herald_callback_parked_total")
            .increment(u64::try_from(unknown.len()).unwrap_or(0));
        parked::insert(tx, &unknown, now).await?;
    }
    Ok(steps)
}

/// A status of a known attempt as a change. A status this version does not know is none.
pub(super) fn update_step(
    update: &Update,
    notification_id: Uuid,
    attempt_id: Uuid,
    callback_id: Uuid,
) -> Option<Step> {
    let fact: Fact = update.fact?.into();
    Some(Step {
        notification_id,
        change: Change::Told {
            attempt: attempt_id,
            fact,
            at: update.at,
            failure: update.failure.clone(),
            pricing: update.pricing.clone(),
            provider_message_id: update.provider_message_id.clone(),
        },
        attempt_id: Some(attempt_id),
        callback_id: Some(callback_id),
        occurrence: None,
        provider_at: Some(update.at),
        detail: None,
    })
}

/// Stores what people wrote, opens their windows, and finds what they answered.
async fn inbound_steps(
    tx: &DatabaseTransaction,
    work: &[&Work],
    now: Timestamp,
) -> Result<Vec<Step>, StoreError> {
    let messages: Vec<(&Work, &Inbound)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            ItemKind::Inbound(message) => Some((*work, message.as_ref())),
            ItemKind::Update(_) | ItemKind::Other { .. } => None,
        })
        .collect();
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut people = find_people(tx, &messages, now).await?;
    let quoted = find_quoted(tx, &messages).await?;
    let mut senders: HashMap<&str, Option<Uuid>> = HashMap::new();
    let mut steps = Vec::new();
    for (position, (work, message)) in messages.iter().enumerate() {
        let phone_number_id = work.item.phone_number_id.as_deref().unwrap_or("");
        let sender_id = if let Some(known) = senders.get(phone_number_id) {
            *known
        } else {
            let found = sender::by_phone_number_id(tx, phone_number_id)
                .await?
                .map(|sender| sender.id);
            senders.insert(phone_number_id, found);
            found
        };
        let contact_id = people.remove(&position);
        let answered = quoted.get(&position).copied();
        let new = inbound::New {
            callback_id: work.callback_id,
            sender_id,
            phone_number_id,
            contact_id,
            provider_message_id: &message.provider_message_id,
            kind: &message.kind,
            text: message.text.as_deref(),
            payload: message.payload.as_deref(),
            context_message_id: message.context_message_id.as_deref(),
            notification_id: answered,
            sent_at: message.at,
            item: &message.raw,
        };
        if !inbound::insert(tx, new, now).await? {
            continue;
        }
        metrics::counter!("herald_inbound_messages_total").increment(1);
        let at = message.at.min(now);
        let mut answers: Vec<Uuid> = answered.into_iter().collect();
        if let (Some(sender_id), Some(contact_id)) = (sender_id, contact_id) {
            people::open_window(tx, sender_id, contact_id, at, window::until(at), now).await?;
            let not_before = at.plus_seconds(-ANSWERS_SECONDS);
            // Whole seconds: a reply in the second of the send is after it.
            let until = at.plus_seconds(1);
            answers.extend(
                notification::answerable(tx, sender_id, contact_id, until, not_before).await?,
            );
        }
        answers.sort_unstable();
        answers.dedup();
        for notification_id in answers {
            let named = Some(notification_id) == answered;
            steps.push(Step {
                notification_id,
                change: Change::Replied,
                attempt_id: None,
                callback_id: Some(work.callback_id),
                occurrence: named.then(|| message.provider_message_id.clone()),
                provider_at: Some(message.at),
                detail: Some(json!({ "kind": message.kind, "payload": message.payload })),
            });
        }
    }
    Ok(steps)
}

/// The contact of each message, made if there is none.
async fn find_people(
    tx: &DatabaseTransaction,
    messages: &[(&Work, &Inbound)],
    now: Timestamp,
) -> Result<HashMap<usize, Uuid>, StoreError> {
    let aliases_of = |message: &Inbound| {
        let mut aliases = Vec::new();
        if let Some(user_id) = &message.user_id {
            aliases.push(Alias {
                kind: "bsuid",
                value: user_id.clone(),
            });
        }
        if let Some(wa_id) = &message.wa_id {
            aliases.push(Alias {
                kind: "wa_id",
                value: wa_id.clone(),
            });
            aliases.push(Alias {
                kind: "phone",
                value: format!("+{wa_id}"),
            });
        }
        aliases
    };
    let wanted: Vec<Alias> = messages
        .iter()
        .flat_map(|(_, message)| aliases_of(message))
        .collect();
    let mut known: HashMap<Alias, Uuid> = HashMap::new();
    for (kind, value, contact) in people::by_aliases(tx, &wanted).await? {
        if let Some(alias) = wanted
            .iter()
            .find(|alias| alias.kind == kind && alias.value == value)
        {
            known.insert(alias.clone(), contact);
        }
    }
    let mut found = HashMap::new();
    for (position, (_, message)) in messages.iter().enumerate() {
        let aliases = aliases_of(message);
        if aliases.is_empty() {
            continue;
        }
        let contact = match aliases.iter().find_map(|alias| known.get(alias).copied()) {
            Some(contact) => {
                for alias in aliases.iter().filter(|alias| !known.contains_key(alias)) {
                    people::add_alias(tx, contact, alias, now).await?;
                }
                contact
            }
            None => people::insert_contact(tx, message.name.as_deref(), &aliases, now).await?,
        };
        for alias in aliases {
            known.entry(alias).or_insert(contact);
        }
        found.insert(position, contact);
    }
    Ok(found)
}

/// The notification each message quotes.
async fn find_quoted(
    tx: &DatabaseTransaction,
    messages: &[(&Work, &Inbound)],
) -> Result<HashMap<usize, Uuid>, StoreError> {
    let lookups: Vec<Lookup> = messages
        .iter()
        .enumerate()
        .filter_map(|(position, (_, message))| {
            Some(Lookup {
                position,
                our_id: None,
                message: message.context_message_id.clone()?,
            })
        })
        .collect();
    if lookups.is_empty() {
        return Ok(HashMap::new());
    }
    let found = attempt::find(tx, &lookups).await?;
    Ok(found
        .into_iter()
        .map(|found| (found.position, found.notification_id))
        .collect())
}

/// Applies the dead letters of one callback again. Everything else in it was
/// applied; applying it twice changes nothing.
pub async fn replay(
    engine: &Engine,
    callback_id: Uuid,
    now: Timestamp,
) -> Result<Option<Applied>, StoreError> {
    let Some(body) = callback::body(engine.store.reader(), callback_id).await? else {
        return Ok(None);
    };
    let mut applied = Applied::default();
    let body = Body {
        id: callback_id,
        body: body.into(),
        tries: 0,
    };
    let parsed = meta::callback::parse(&body.body);
    let work: Vec<Work> = parsed
        .items
        .into_iter()
        .map(|item| Work { callback_id, item })
        .collect();
    let mut dead = parsed.dead;
    applied.bodies = 1;
    applied.items = work.len();
    for piece in work.chunks(REPLAYED) {
        for work in piece {
            match commit(engine, &[work], &[], &[], now).await {
                Ok(()) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    let letter = Dead {
                        pointer: work.item.pointer.clone(),
                        reason: format!("it cannot be applied: {error}"),
                    };
                    dead.push(letter);
                }
            }
        }
    }
    applied.dead = dead.len();
    let letters: Vec<dead_letter::New> = dead
        .into_iter()
        .map(|dead| dead_letter::New {
            id: Id(new_id(now)),
            callback_id: Id(callback_id),
            pointer: dead.pointer,
            reason: dead.reason,
        })
        .collect();
    // Last, and together: what broke off in between is still listed.
    engine
        .store
        .write(async |tx| {
            dead_letter::replayed(tx, callback_id, now).await?;
            dead_letter::insert(tx, &letters, now).await
        })
        .await?;
    Ok(Some(applied))
}
