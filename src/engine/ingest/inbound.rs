//! Processes inbound messages: stores them, matches replies, opens service windows and applies STOP
//! and START.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    CallbackWorkItem, account_updates, people,
    voice_call::{CallReportAddOutcome, VoiceCallRecord},
};
use crate::{
    domain::{
        access::AccessBounds,
        channel::ProviderCapabilities,
        notification::NotificationChange,
        own_event::{HeraldEvent, HeraldEventType, payload::MessageReceivedData},
        preference::ConsentChange,
        time::Timestamp,
        voice_call::VoiceCallReport as CallReport,
        window,
    },
    engine::{
        Engine,
        lifecycle::{NotificationLifecycleChange, NotificationLifecycleReport},
        people::identity,
        runtime::turn::TransactionContext,
    },
    providers::{CallbackItemContent, InboundMessageItem},
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, AttemptLookup},
        catalogue,
        conversation::{self, ServiceWindowOpening},
        inbound::{self, InboundProviderId},
        notice, notification, sender,
    },
};

/// A reply without a quote answers messages sent at most this long before it.
const ANSWERS_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The sender that messages were written to; what is of none is `None`.
struct WrittenToSender {
    id: Option<Uuid>,
    name: Option<String>,
    capabilities: ProviderCapabilities,
}

/// Stores inbound messages, opens service windows, and finds the notifications they answer.
pub(super) async fn steps(
    turn: TransactionContext<'_>,
    work: &[&CallbackWorkItem],
    report: &mut NotificationLifecycleReport,
) -> Result<Vec<NotificationLifecycleChange>, StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let messages: Vec<(&CallbackWorkItem, &InboundMessageItem)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            CallbackItemContent::Inbound(message) => Some((*work, message.as_ref())),
            _ => None,
        })
        .collect();
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut people = people::of_messages(turn, &messages).await?;
    let quoted = find_quoted(engine, tx, &messages).await?;
    // One event per message. It is stored by itself only if a route listens to it.
    let received = HeraldEventType::MessageReceived.name();
    let routes = catalogue::routes(tx, &AccessBounds::All, received).await?;
    let listened = !routes.is_empty();
    let mut senders: HashMap<&str, WrittenToSender> = HashMap::new();
    let mut steps = Vec::new();
    for (position, (work, message)) in messages.iter().enumerate() {
        let endpoint_id = work.item.endpoint_id.as_deref().unwrap_or("");
        let written_to = match senders.entry(endpoint_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let found = sender::by_endpoint_id(tx, endpoint_id).await?;
                let kind = found.as_ref().map_or("", |sender| &sender.kind);
                let capabilities = engine.capabilities_of(kind);
                new.insert(WrittenToSender {
                    id: found.as_ref().map(|sender| sender.id),
                    name: found.map(|sender| sender.name),
                    capabilities,
                })
            }
        };
        let sender_id = written_to.id;
        let met = people.remove(&position);
        let contact_id = met.map(|met| met.contact);
        let at = message.at.min(now);
        let reaches_us = message.call.as_ref().is_none_or(CallReport::is_from_person);
        let opens =
            message.dated && reaches_us && window::opens(&message.kind, message.group_id.is_some());
        let window_until = opens.then(|| window::until(at));
        let free_until = (opens && message.from_advertisement)
            .then(|| at.plus_seconds(window::FREE_ENTRY_SECONDS));
        let aliases = identity::aliases(&message.person);
        let answered = quoted.get(&position).copied();
        let written = match &message.call {
            Some(report) => {
                let mut record = VoiceCallRecord::default();
                record.add(report, &message.raw);
                Cow::Owned(record.written())
            }
            None => Cow::Borrowed(message.raw.as_str()),
        };
        let new = inbound::NewInboundMessage {
            callback_id: work.callback_id,
            sender_id,
            endpoint_id,
            contact_id,
            provider_id: match message.call {
                Some(_) => InboundProviderId::Call(&message.provider_message_id),
                None => InboundProviderId::Message(&message.provider_message_id),
            },
            kind: &message.kind,
            text: message.text.as_deref(),
            payload: message.payload.as_deref(),
            context_message_id: message.context_message_id.as_deref(),
            notification_id: answered,
            sent_at: message.at,
            item: &written,
            group_id: message.group_id.as_deref(),
            media_id: message.media_id.as_deref(),
            read_due_at: (engine.settings.people.mark_read
                && written_to.capabilities.read_receipts
                && message.call.is_none()
                && !message.standby)
                .then_some(now),
            aliases: &aliases,
            window_until,
            free_until,
        };
        if !keep(tx, work, message, new, now).await? {
            continue;
        }
        metrics::counter!("herald_inbound_messages_total").increment(1);
        report
            .received
            .push((work.callback_id, message.kind.clone()));
        if !message.standby {
            let wa_id = message.person.wa_id.as_ref();
            let event = HeraldEvent::MessageReceived(MessageReceivedData {
                contact: contact_id,
                name: message.person.name.clone(),
                phone: wa_id.map(|wa_id| format!("+{wa_id}")),
                kind: message.kind.clone(),
                text: message.text.clone(),
                payload: message.payload.clone(),
                group: message.group_id.clone(),
                notification: answered,
                message: message.provider_message_id.clone(),
                sender: written_to.name.clone(),
            });
            if listened {
                account_updates::raise(turn, work, &event, report).await?;
            } else {
                tx.emit(&event, now)?;
            }
        }
        let mut answers: Vec<Uuid> = answered.into_iter().collect();
        if let (Some(until), Some(sender_id), Some(met)) = (window_until, sender_id, met) {
            // The message counts for all contacts that act as one.
            for contact in identity::together(tx, met).await? {
                let heard = ServiceWindowOpening {
                    sender: sender_id,
                    contact,
                    at,
                    until,
                    wake_at: window::first_look(
                        until,
                        engine.settings.people.window_closing_seconds,
                        now,
                    ),
                    free_until,
                };
                conversation::open_window(tx, heard, now).await?;
                let not_before = at.plus_seconds(-ANSWERS_SECONDS);
                // Provider times are whole seconds: a reply within the second of the send comes
                // after it.
                let until = at.plus_seconds(1);
                answers.extend(
                    notification::answerable(tx, sender_id, contact, until, not_before, now)
                        .await?,
                );
            }
        }
        if let Some(met) = met
            && written_to.capabilities.opt_out_words
            && let Some(statement) = consent_statement(engine, message)
        {
            let about = (met, &message.person);
            people::note_consent(turn, about, &statement, work, report).await?;
        }
        answers.sort_unstable();
        answers.dedup();
        for notification_id in answers {
            let named = Some(notification_id) == answered;
            steps.push(NotificationLifecycleChange {
                notification_id,
                change: NotificationChange::Replied,
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

/// Stores a message or a report of a call. Returns whether it is a person's first contact with us
/// by it: only then does it open a window or answer anything.
async fn keep(
    tx: &DatabaseTransaction,
    work: &CallbackWorkItem,
    message: &InboundMessageItem,
    new: inbound::NewInboundMessage<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (id, number, contact) = (new.provider_id, new.endpoint_id, new.contact_id);
    let window_until = new.window_until;
    let inserted = inbound::insert(tx, new, now).await?;
    let Some(report) = &message.call else {
        if !inserted {
            let known = inbound::lock(tx, id, number).await?;
            // Nothing is left of an erased one to be compared with.
            let same = known.is_none_or(|known| {
                known.erased_at.is_some() || is_same(&known.item, &message.raw)
            });
            if !same {
                let summary = "a message with the id of another message, and different content";
                dropped(tx, work, message, summary, now).await?;
            }
        }
        return Ok(inserted);
    };
    if inserted {
        return Ok(report.is_from_person());
    }
    let Some(known) = inbound::lock(tx, id, number).await? else {
        return Ok(false);
    };
    if known.erased_at.is_some() {
        return Ok(false);
    }
    let mut record = VoiceCallRecord::read(&known.item);
    let had_come = record.is_from_person();
    match record.add(report, &message.raw) {
        CallReportAddOutcome::Known => return Ok(false),
        CallReportAddOutcome::Full => {
            let summary = "a report of a call that has too many reports";
            dropped(tx, work, message, summary, now).await?;
            return Ok(false);
        }
        CallReportAddOutcome::New => {}
    }
    let summary = record.summary();
    let at = record.first_at().unwrap_or(message.at);
    let recording = summary.recording.as_deref();
    inbound::set_call(tx, known.id, &record.written(), contact, recording, at).await?;
    if let Some(until) = window_until {
        inbound::set_window(tx, known.id, until).await?;
    }
    Ok(report.is_from_person() && !had_come)
}

fn is_same(one: &str, other: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || value(one) == value(other)
}

/// Lists an item that is not stored because it is known already.
async fn dropped(
    tx: &DatabaseTransaction,
    work: &CallbackWorkItem,
    message: &InboundMessageItem,
    summary: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if notice::is_known(tx, work.callback_id, &work.item.pointer).await? {
        return Ok(());
    }
    tracing::warn!(
        event = "callback.duplicate_differs",
        callback.id = %work.callback_id,
        pointer = work.item.pointer,
        "callback item dropped: {summary} (see `GET /api/v1/notices`)"
    );
    metrics::counter!("herald_callback_duplicate_differs_total").increment(1);
    let kept = notice::NewProviderNotice {
        callback_id: work.callback_id,
        pointer: &work.item.pointer,
        field: if message.call.is_some() {
            "calls"
        } else {
            "messages"
        },
        account_id: work.item.account_id.as_deref(),
        summary,
        outcome: notice::DUPLICATE_DIFFERS,
        provider_at: Some(message.at),
        item: &message.raw,
    };
    notice::insert(tx, kept, now).await
}

/// Recognizes STOP and START, as text or as a button.
fn consent_statement(engine: &Engine, message: &InboundMessageItem) -> Option<ConsentChange> {
    if message.group_id.is_some() {
        return None;
    }
    let keywords = &engine.settings.people.words;
    let said = message
        .payload
        .as_deref()
        .filter(|_| message.kind != "interactive");
    [message.text.as_deref(), said]
        .into_iter()
        .flatten()
        .find_map(|said| keywords.statement_of(said, message.at))
}

/// The notification that each message quotes.
async fn find_quoted(
    engine: &Engine,
    tx: &DatabaseTransaction,
    messages: &[(&CallbackWorkItem, &InboundMessageItem)],
) -> Result<HashMap<usize, Uuid>, StoreError> {
    let lookups: Vec<AttemptLookup> = messages
        .iter()
        .enumerate()
        .filter_map(|(position, (_, message))| {
            Some(AttemptLookup {
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
    let ring = engine.keyring();
    Ok(found
        .into_iter()
        // A message to one number cannot answer what another number sent.
        .filter(|found| {
            messages
                .get(found.position)
                .is_some_and(|(work, _)| work.speaks_for(&ring, found.sender_id))
        })
        .map(|found| (found.position, found.notification_id))
        .collect())
}
