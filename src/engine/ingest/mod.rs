//! Applies stored callbacks: parses, matches and applies a batch of bodies in one transaction. A
//! permanent failure is narrowed down to the item, which becomes a dead letter; a transient failure
//! repeats the whole batch.

mod account_updates;
mod inbound;
pub mod inbox;
mod people;
pub mod read_marks;
mod replay;
mod updates;
pub mod voice_call;

pub use replay::replay;
use uuid::Uuid;

use self::updates::StatusUpdateSteps;
use super::{
    Engine, lifecycle,
    runtime::{
        isolate::{IsolatedPiece, isolate},
        sender_last_seen::SenderNumberMention,
        turn::TransactionContext,
    },
};
use crate::{
    domain::time::Timestamp,
    engine::delivery::status_updates,
    providers::{CallbackItem, CallbackItemContent, DeadLetterItem},
    store::{
        Store, StoreError,
        callback::{self, CallbackBody, ProcessedCallbackBody},
        dead_letter,
        dialect::HexUuid,
        made_at, new_id,
    },
};

/// Bodies per transaction: many, because a batch costs little more than one body; fewer on SQLite,
/// where storing callbacks has to wait meanwhile.
pub fn batch_size(store: &Store) -> usize {
    if store.is_sqlite() { 100 } else { 500 }
}

/// Most items per transaction.
const MOST_TOGETHER: usize = 2_000;

/// Items that a replay takes at a time.
const REPLAYED: usize = 500;

/// A body that was being processed during this many crashes is processed alone.
const ALONE_AFTER_TRIES: i64 = 3;

/// One item, and the callback it came in.
struct CallbackWorkItem {
    callback_id: Uuid,
    item: CallbackItem,
}

/// Result of a batch.
#[derive(Debug, Default)]
pub struct CallbackBatchSummary {
    pub bodies: usize,
    pub items: usize,
    pub dead: usize,
}

/// Processes bodies. A transient error is returned, and nothing becomes a dead letter: the caller
/// repeats the turn.
pub async fn process(
    engine: &Engine,
    bodies: &[CallbackBody],
    now: Timestamp,
) -> Result<CallbackBatchSummary, StoreError> {
    engine.refresh_keyring().await?;
    let mut applied = CallbackBatchSummary::default();
    let (alone, together): (Vec<&CallbackBody>, Vec<&CallbackBody>) = bodies
        .iter()
        .partition(|body| body.tries >= ALONE_AFTER_TRIES);
    if !together.is_empty() {
        batch(engine, &together, now, &mut applied).await?;
    }
    for body in alone {
        if body.tries > ALONE_AFTER_TRIES {
            set_aside(engine, body, now).await?;
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
    bodies: &[&CallbackBody],
    now: Timestamp,
    applied: &mut CallbackBatchSummary,
) -> Result<(), StoreError> {
    let mut work = Vec::with_capacity(bodies.len());
    let mut dead: Vec<(Uuid, DeadLetterItem)> = Vec::new();
    let mut marks = Vec::with_capacity(bodies.len());
    for body in bodies {
        let (items, lost) = read(engine, body);
        marks.push(ProcessedCallbackBody {
            id: HexUuid(body.id),
            items: i64::try_from(items.len() + lost.len()).unwrap_or(i64::MAX),
            dead_items: i64::try_from(lost.len()).unwrap_or(i64::MAX),
        });
        work.extend(items);
        dead.extend(lost.into_iter().map(|dead| (body.id, dead)));
    }
    marks.sort_by_key(|mark| mark.id.0);
    let (most, rest) = work.split_at(work.len() - work.len() % MOST_TOGETHER);
    // No transaction of unbounded size: the bodies are marked with the last piece, and applying a
    // piece twice changes nothing.
    let mut foreign = Vec::new();
    let mut together = Ok(());
    for piece in most.chunks(MOST_TOGETHER) {
        together = commit(engine, piece, &[], &[], now)
            .await
            .map(|refused| foreign.extend(refused));
        if together.is_err() {
            break;
        }
    }
    if together.is_ok() {
        together = commit(engine, rest, &marks, &dead, now)
            .await
            .map(|refused| foreign.extend(refused));
    }
    match together {
        Ok(()) => {}
        Err(error) if error.is_transient() => return Err(error),
        Err(_) => {
            // Some item cannot be applied: it is found, and the others are spared.
            for chunk in work.chunks(MOST_TOGETHER) {
                let pieces = isolate(chunk, async |piece| {
                    commit(engine, piece, &[], &[], now).await
                })
                .await?;
                for IsolatedPiece { items, result } in pieces {
                    match result {
                        Ok(refused) => foreign.extend(refused),
                        Err(error) => {
                            for work in items {
                                let reason = format!("it cannot be applied: {error}");
                                dead.push((
                                    work.callback_id,
                                    DeadLetterItem {
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
                    }
                }
            }
            commit(engine, &[], &marks, &dead, now).await?;
        }
    }
    foreign.sort_by(|one, other| (one.0, &one.1.pointer).cmp(&(other.0, &other.1.pointer)));
    foreign.dedup();
    if !foreign.is_empty() {
        // Rare, and only a figure for people.
        let callbacks: Vec<Uuid> = foreign.iter().map(|(callback, _)| *callback).collect();
        engine
            .store
            .write(async |tx| callback::count_dead(tx, &callbacks).await)
            .await?;
        dead.extend(foreign);
    }
    if !dead.is_empty() {
        tracing::warn!(
            event = "callback.dead_letter",
            count = dead.len(),
            "callback items could not be applied: see `herald callbacks list --dead`"
        );
    }
    applied.bodies += bodies.len();
    applied.items += work.len();
    applied.dead += dead.len();
    Ok(())
}

/// The items of a body, and those that cannot be applied. A signature is valid only for the numbers
/// and accounts of its own app.
fn read(engine: &Engine, body: &CallbackBody) -> (Vec<CallbackWorkItem>, Vec<DeadLetterItem>) {
    let Some(receiver) = engine.providers().receiver(&body.endpoint) else {
        let unread = DeadLetterItem {
            pointer: String::new(),
            reason: format!(
                "this version takes no callbacks of the endpoint {}",
                body.endpoint
            ),
        };
        return (Vec::new(), vec![unread]);
    };
    let parsed = receiver.parse(&body.body, made_at(body.id));
    let ring = engine.keyring();
    let signed_by = body.signed_by.as_deref();
    let (own, foreign): (Vec<CallbackItem>, Vec<CallbackItem>) =
        parsed.items.into_iter().partition(|item| {
            ring.is_own_word(
                signed_by,
                item.endpoint_id.as_deref(),
                item.account_id.as_deref(),
            )
        });
    let mut dead = parsed.dead;
    dead.extend(foreign.into_iter().map(|item| DeadLetterItem {
        pointer: item.pointer,
        reason: FOREIGN.to_owned(),
    }));
    let work = own.into_iter().map(|item| CallbackWorkItem {
        callback_id: body.id,
        item,
    });
    (work.collect(), dead)
}

/// Reason of a dead letter that another app has signed.
const FOREIGN: &str = "signed by a different app than the one its number belongs to";

/// Sets aside a body during which processes crashed repeatedly, the last time alone.
async fn set_aside(engine: &Engine, body: &CallbackBody, now: Timestamp) -> Result<(), StoreError> {
    let mark = ProcessedCallbackBody {
        id: HexUuid(body.id),
        items: 1,
        dead_items: 1,
    };
    let dead = DeadLetterItem {
        pointer: String::new(),
        reason: "processing it ended the process several times".to_owned(),
    };
    commit(engine, &[], &[mark], &[(body.id, dead)], now).await?;
    Ok(())
}

/// Dead letters as rows.
fn letters<'a>(
    dead: impl Iterator<Item = &'a (Uuid, DeadLetterItem)>,
    now: Timestamp,
) -> Vec<dead_letter::NewDeadLetter> {
    dead.map(|(callback, dead)| dead_letter::NewDeadLetter {
        id: HexUuid(new_id(now)),
        callback_id: HexUuid(*callback),
        pointer: dead.pointer.clone(),
        reason: dead.reason.clone(),
    })
    .collect()
}

/// Writes one transaction: processed marks, inbound messages, updates, dead letters. Returns the
/// rejected items: statuses of messages that another sender sent.
async fn commit(
    engine: &Engine,
    work: &[CallbackWorkItem],
    marks: &[ProcessedCallbackBody],
    dead: &[(Uuid, DeadLetterItem)],
    now: Timestamp,
) -> Result<Vec<(Uuid, DeadLetterItem)>, StoreError> {
    // Concurrent changes of the same notifications are rare, and locking costs as much as changing:
    // only a retry locks.
    let mut tries = 0;
    let (report, foreign) = engine
        .store
        .write(async |tx| {
            let elsewhere = if marks.is_empty() {
                Vec::new()
            } else {
                callback::mark_processed(tx, marks, now).await?
            };
            let work: Vec<&CallbackWorkItem> = work
                .iter()
                .filter(|work| !elsewhere.contains(&work.callback_id))
                .collect();
            let dead = dead
                .iter()
                .filter(|(callback, _)| !elsewhere.contains(callback));
            dead_letter::insert(tx, &letters(dead, now), now).await?;
            // Identities come first: the other items refer to them.
            let turn = TransactionContext { engine, tx, now };
            account_updates::identities(turn, &work).await?;
            let mut report = account_updates::apply(turn, &work).await?;
            let StatusUpdateSteps {
                mut steps,
                matched,
                foreign,
                loaded,
            } = updates::steps(turn, &work).await?;
            dead_letter::insert(tx, &letters(foreign.iter(), now), now).await?;
            steps.extend(inbound::steps(turn, &work, &mut report).await?);
            tries += 1;
            let changes = if tries == 1 {
                lifecycle::run_unlocked(engine, tx, loaded, &steps, now).await?
            } else {
                lifecycle::run(engine, tx, &steps, now).await?
            };
            status_updates::learn(engine, tx, &matched, &changes, now).await?;
            report.add(changes);
            Ok((report, foreign))
        })
        .await?;
    report.publish(engine);
    let numbers = work.iter().filter_map(|work| {
        let number = work.item.endpoint_id.as_deref()?;
        Some(SenderNumberMention {
            number,
            account: work.item.account_id.as_deref(),
            display_number: work.item.display_number.as_deref(),
        })
    });
    engine.sender_last_seen.note(engine, numbers, now).await?;
    for work in work {
        match &work.item.kind {
            CallbackItemContent::Other(other) => {
                tracing::debug!(
                    event = "callback.not_applied",
                    field = other.field,
                    "callback item recorded, no action defined for it"
                );
                metrics::counter!("herald_callback_other_total").increment(1);
            }
            CallbackItemContent::Update(_)
            | CallbackItemContent::Inbound(_)
            | CallbackItemContent::Identity(_)
            | CallbackItemContent::News(_) => {}
        }
    }
    Ok(foreign)
}
