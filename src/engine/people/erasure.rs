//! Erases what callbacks, messages and events hold of deleted people, a little at a time.
//!
//! A deletion writes a task; each turn takes the oldest one that can go on a step further. The record
//! of sent messages is not touched: it stays for its retention time.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        callback_id::CallbackId, identity::PersonIdentifiers, own_event::without_person,
        time::Timestamp,
    },
    engine::Engine,
    store::{
        StoreError,
        callback::{self, CallbackClaimSizeLimits, CallbackErasureRange},
        callback_erasure::{
            self, CallbackErasurePhase, CallbackErasureTask, ErasableInboundMessage, erase_event,
            erase_items, erase_messages,
        },
        changes, checkpoint, made_at, notice, notification,
    },
};

/// Most tasks that are looked at in one turn.
const TASKS: i64 = 100;

/// Most bodies, and bytes of them, of one step.
const BODIES: CallbackClaimSizeLimits = CallbackClaimSizeLimits {
    bodies: 200,
    bytes: 1_000_000,
};

/// Most messages or events of one step.
const ROWS: i64 = 200;

/// Most notices, which may be large, or timelines of one step.
const LARGE_ROWS: i64 = 50;

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErasureStepOutcome {
    Worked,
    /// Something has to happen first: a callback is not applied yet, an event is being routed, or a
    /// reader is in the way.
    Waits,
}

/// Makes one step of the oldest task that can go on. Says whether there was one. A task that fails for
/// good stops no other: its error is the result when nothing else is to be done.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<bool, StoreError> {
    let mut failed = None;
    for task in callback_erasure::open(engine.store.by_index(), TASKS).await? {
        match step(engine, &task, now).await {
            Ok(ErasureStepOutcome::Waits) => {}
            // Another process was faster: what it has left is read again.
            Ok(ErasureStepOutcome::Worked) | Err(StoreError::RolledBack) => return Ok(true),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(false), Err)
}

async fn step(
    engine: &Engine,
    task: &CallbackErasureTask,
    now: Timestamp,
) -> Result<ErasureStepOutcome, StoreError> {
    match task.phase {
        CallbackErasurePhase::Messages => messages(engine, task, now).await,
        CallbackErasurePhase::Callbacks => callbacks(engine, task, now).await,
        CallbackErasurePhase::Notices => notices(engine, task).await,
        CallbackErasurePhase::Timelines => timelines(engine, task).await,
        CallbackErasurePhase::Events => events(engine, task).await,
        CallbackErasurePhase::Stream => stream(engine, task).await,
        CallbackErasurePhase::Truncating => truncate(engine, task).await,
    }
}

/// Writes down how far a task has come.
async fn go_on(
    engine: &Engine,
    task: &CallbackErasureTask,
    next: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    engine
        .store
        .write(async |tx| callback_erasure::go_on(tx, task, next).await)
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// A task at the beginning of another phase.
fn in_phase(task: &CallbackErasureTask, phase: CallbackErasurePhase) -> CallbackErasureTask {
    CallbackErasureTask {
        phase,
        next_row: Uuid::nil(),
        ..task.clone()
    }
}

/// Erases messages of the contacts: no callback needs to be read for that.
async fn messages(
    engine: &Engine,
    task: &CallbackErasureTask,
    now: Timestamp,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    let found = callback_erasure::messages_of(store.by_index(), &task.contacts, ROWS).await?;
    if found.is_empty() {
        let next = in_phase(task, CallbackErasurePhase::Callbacks);
        return go_on(engine, task, &next).await;
    }
    store
        .write(async |tx| erase_messages(tx, &found, now).await)
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// Erases bodies of the next segments, and what was made of them.
async fn callbacks(
    engine: &Engine,
    task: &CallbackErasureTask,
    now: Timestamp,
) -> Result<ErasureStepOutcome, StoreError> {
    let (store, inbox) = (&engine.store, engine.store.inbox());
    let range = CallbackErasureRange {
        next: task.next_segment,
        until: task.until_segment,
    };
    let found = callback::erasable(inbox.by_index(), store.by_index(), range, BODIES).await?;
    let Some(last) = found.last else {
        if found.waits {
            return Ok(ErasureStepOutcome::Waits);
        }
        let next = in_phase(task, CallbackErasurePhase::Notices);
        return go_on(engine, task, &next).await;
    };
    let (first, _) = found
        .segments
        .first()
        .map_or(last, |segment| segment.id)
        .callbacks();
    let (_, end) = last.callbacks();
    let written = callback_erasure::messages_between(store.by_index(), first, end).await?;
    let own: HashSet<Uuid> = written
        .iter()
        .filter(|message| is_of_contacts(message, task))
        .map(|message| message.callback)
        .collect();
    let (mut changed, mut gone, mut bodies) = (Vec::new(), Vec::new(), 0);
    for segment in &found.segments {
        let erased: BTreeSet<CallbackId> = segment
            .bodies()
            .filter(|(id, body)| {
                own.contains(&id.uuid()) || task.identifiers.are_named_in(body, &[])
            })
            .map(|(id, _)| id)
            .collect();
        // Also what was erased before: the process may have ended before the rest was.
        gone.extend(segment.erased().map(CallbackId::uuid));
        gone.extend(erased.iter().map(|id| id.uuid()));
        if !erased.is_empty() {
            bodies += i64::try_from(erased.len()).unwrap_or(i64::MAX);
            changed.push(segment.without(&erased));
        }
    }
    if !changed.is_empty() {
        inbox
            .write(async |tx| callback::erase(tx, &changed).await)
            .await?;
    }
    // Those of the contacts are erased.
    let late: Vec<&ErasableInboundMessage> = written
        .iter()
        .filter(|message| !message.is_erased && gone.contains(&message.callback))
        .filter(|message| is_from(message, &task.identifiers))
        .collect();
    let messages: Vec<Uuid> = late.iter().map(|message| message.id).collect();
    let late = late.iter().map(|message| message.message_id.clone());
    // The item of a message that differs from a known one is what a person wrote. Others that name the
    // person come in the next phase.
    let notices: Vec<Uuid> = callback_erasure::notices_of(store.by_index(), &gone)
        .await?
        .into_iter()
        .filter(|it| it.outcome == notice::DUPLICATE_DIFFERS)
        .map(|it| it.id)
        .collect();
    let mut next = CallbackErasureTask {
        next_segment: last.next(),
        bodies: task.bodies.saturating_add(bodies),
        ..task.clone()
    };
    next.late_messages.extend(late);
    store
        .write(async |tx| {
            erase_messages(tx, &messages, now).await?;
            erase_items(tx, &gone, &notices).await?;
            callback_erasure::go_on(tx, task, &next).await
        })
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

fn is_of_contacts(message: &ErasableInboundMessage, task: &CallbackErasureTask) -> bool {
    message
        .contact
        .is_some_and(|contact| task.contacts.contains(&contact))
}

/// Whether a message came from one of these aliases. One that was applied after the deletion belongs to
/// a new contact.
fn is_from(message: &ErasableInboundMessage, identifiers: &PersonIdentifiers) -> bool {
    let mut aliases = message.aliases.iter();
    aliases.any(|alias| identifiers.are_named_in(alias.as_bytes(), &[]))
}

/// Erases the items of the next notices that name the person: they are kept for longer than callbacks.
async fn notices(
    engine: &Engine,
    task: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    let found =
        callback_erasure::notices_after(store.by_index(), task.next_row, LARGE_ROWS).await?;
    let Some(last) = found.last().map(|notice| notice.id) else {
        let next = in_phase(task, CallbackErasurePhase::Timelines);
        return go_on(engine, task, &next).await;
    };
    let named: Vec<Uuid> = found
        .iter()
        .filter(|notice| task.identifiers.are_named_in(notice.item.as_bytes(), &[]))
        .map(|notice| notice.id)
        .collect();
    let next = CallbackErasureTask {
        next_row: last,
        ..task.clone()
    };
    store
        .write(async |tx| {
            erase_items(tx, &[], &named).await?;
            callback_erasure::go_on(tx, task, &next).await
        })
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// Erases replies from the timelines of the next notifications to the person.
async fn timelines(
    engine: &Engine,
    task: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    let (contacts, after) = (&task.contacts, task.next_row);
    let found =
        notification::of_contacts_after(store.by_index(), contacts, after, LARGE_ROWS).await?;
    let Some(last) = found.last() else {
        let next = in_phase(task, CallbackErasurePhase::Events);
        return go_on(engine, task, &next).await;
    };
    let next = CallbackErasureTask {
        next_row: *last,
        ..task.clone()
    };
    store
        .write(async |tx| {
            notification::erase_replies(tx, &found).await?;
            callback_erasure::go_on(tx, task, &next).await
        })
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// Erases the next own events that routes have answered.
async fn events(
    engine: &Engine,
    task: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    let found =
        callback_erasure::own_events_after(store.by_index(), &task.next_event, ROWS).await?;
    let Some(last) = found.last() else {
        let next = CallbackErasureTask {
            phase: CallbackErasurePhase::Stream,
            until_change: changes::last(store).await?,
            ..task.clone()
        };
        return go_on(engine, task, &next).await;
    };
    let concerns = concerned(task);
    let mut changed = Vec::new();
    for event in &found {
        if concerns(event.data.as_bytes()).is_none_or(|until| made_at(event.id) > until) {
            continue;
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let Some(left) = without_person(&event.event_type, &data) else {
            continue;
        };
        if event.is_expanding {
            return Ok(ErasureStepOutcome::Waits);
        }
        changed.push((event.id, left.to_string()));
    }
    let next = CallbackErasureTask {
        next_event: last.external_id.clone(),
        ..task.clone()
    };
    store
        .write(async |tx| {
            for (id, left) in &changed {
                erase_event(tx, *id, left).await?;
            }
            callback_erasure::go_on(tx, task, &next).await
        })
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// Erases the next batches of the stream.
async fn stream(
    engine: &Engine,
    task: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    let concerns = concerned(task);
    let (after, until) = (task.next_change, task.until_change);
    let found = changes::erasable(store.by_index(), after, until, concerns).await?;
    let Some(last) = found.last else {
        // The identifiers go before the log is truncated: their deletion leaves them in it.
        let next = CallbackErasureTask {
            phase: CallbackErasurePhase::Truncating,
            identifiers: PersonIdentifiers::default(),
            contacts: Vec::new(),
            late_messages: Vec::new(),
            ..task.clone()
        };
        return go_on(engine, task, &next).await;
    };
    let next = CallbackErasureTask {
        next_change: last,
        ..task.clone()
    };
    store
        .write(async |tx| {
            changes::erase(tx, &found.erased).await?;
            callback_erasure::go_on(tx, task, &next).await
        })
        .await?;
    Ok(ErasureStepOutcome::Worked)
}

/// Says of an event, by its JSON, whether it is about the person if it is from no later than a time.
/// After the deletion, the same number or user id is a new person's.
fn concerned(task: &CallbackErasureTask) -> impl Fn(&[u8]) -> Option<Timestamp> {
    let contacts = task.contacts.iter().map(Uuid::to_string);
    let names: Vec<String> = contacts.chain(task.late_messages.iter().cloned()).collect();
    let nothing = PersonIdentifiers::default();
    move |event| {
        if nothing.are_named_in(event, &names) {
            Some(Timestamp::from_micros(i64::MAX))
        } else {
            task.identifiers
                .are_named_in(event, &[])
                .then_some(task.created_at)
        }
    }
}

/// Truncates SQLite's logs, which have older pages, and ends the task.
async fn truncate(
    engine: &Engine,
    task: &CallbackErasureTask,
) -> Result<ErasureStepOutcome, StoreError> {
    let store = &engine.store;
    for file in store.files() {
        if !checkpoint::truncate(file).await? {
            return Ok(ErasureStepOutcome::Waits);
        }
    }
    let is_ours = store
        .write(async |tx| callback_erasure::finish(tx, task.id).await)
        .await?;
    if is_ours {
        tracing::info!(
            event = "contact.erased",
            bodies = task.bodies,
            "what callbacks, messages and events held of a deleted contact was erased"
        );
    }
    Ok(ErasureStepOutcome::Worked)
}
