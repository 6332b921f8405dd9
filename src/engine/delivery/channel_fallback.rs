//! Sends a message by its next channel when it has failed, has expired, or was not delivered in time:
//! once, and not if it has arrived meanwhile.
//!
//! What is refused stays refused: an opt-out, a preference, a deleted contact or a duplicate is no
//! reason to try another channel.

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{
        channel::MessageChannel,
        failure::FailureClass,
        notification::{NotificationChange, NotificationState},
        priority::MessagePriority,
        recipient::is_staff,
        status::{NotificationEngineState, NotificationStatus},
        time::Timestamp,
        timeline::TimelineEntryKind,
    },
    engine::{
        Engine,
        intake::{
            self, DraftComposeError, IntakeRowCache, MessageContentMode, MessageDraft,
            channel_sender,
            fallback::{self, FallbackPlan},
            targets::ResolvedRecipient,
        },
        lifecycle::{self, NotificationLifecycleChange, NotificationLifecycleReport},
        runtime::{backlog, bounds, turn::TransactionContext, vault::of_notification},
    },
    error::ErrorChain,
    store::{
        StoreError, TransactionWorkError,
        address_suppression::{self, AddressSuppressionReason},
        channel_fallback, notification, people, timeline,
    },
};

/// Messages that one turn takes.
const MOST: i64 = 50;

/// Why nothing is sent by the next channel.
#[derive(Debug, thiserror::Error)]
enum ChannelFallbackError {
    #[error("no sender serves the channel {0}")]
    NoSender(MessageChannel),
    #[error("its secrets have been wiped")]
    Wiped,
    #[error(transparent)]
    Compose(DraftComposeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DraftComposeError> for ChannelFallbackError {
    fn from(error: DraftComposeError) -> Self {
        match error {
            DraftComposeError::Store(error) => Self::Store(error),
            refused => Self::Compose(refused),
        }
    }
}

impl TransactionWorkError for ChannelFallbackError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused => Err(refused),
        }
    }
}

/// Decides what is due. Returns how many were found.
pub async fn turn(engine: &Engine, now: Timestamp) -> Result<usize, StoreError> {
    let store = &engine.store;
    if channel_fallback::due(store.by_index(), now, 1)
        .await?
        .is_empty()
    {
        return Ok(0);
    }
    // A receipt may be among the callbacks that are not applied yet.
    let horizon = backlog::timers_until(engine, now).await?;
    let due = channel_fallback::due(store.by_index(), horizon, MOST).await?;
    if due.is_empty() || engine.refresh_hold().await?.is_some() {
        return Ok(0);
    }
    for id in &due {
        let decided = engine
            .store
            .write_or_refuse(async |tx| decide(TransactionContext { engine, tx, now }, *id).await)
            .await;
        match decided {
            Ok(report) => report.publish(engine),
            Err(ChannelFallbackError::Store(error)) => return Err(error),
            Err(refused) => {
                tracing::warn!(event = "channel_fallback.refused", notification.id = %id, error = %ErrorChain(&refused), "a message was not delivered, and cannot be sent by its next channel");
                let detail =
                    json!({ "rule": MessageChannel::FALLBACK_RULE, "reason": refused.to_string() });
                engine
                    .store
                    .write(async |tx| {
                        let kind = TimelineEntryKind::RuleSkipped;
                        timeline::note(tx, *id, kind, Some(detail.to_string()), now).await?;
                        channel_fallback::remove(tx, *id).await
                    })
                    .await?;
            }
        }
    }
    Ok(due.len())
}

/// How long a mail that was accepted may still come back, in seconds: servers try for four to five
/// days (RFC 5321, 4.5.4.1), and some for a week.
const COMES_BACK_SECONDS: i64 = 7 * 24 * 60 * 60;

/// How far ahead a queued message is put off on purpose, in seconds. Pacing is by seconds.
const PUT_OFF_SECONDS: i64 = 60;

/// Until when a message waits on purpose, such as for the end of quiet hours: another channel would
/// have to wait as long.
fn put_off(state: &NotificationState, due_at: Option<i64>, now: Timestamp) -> Option<Timestamp> {
    let until = due_at.map(Timestamp::from_micros)?;
    let is_put_off = state.engine == NotificationEngineState::Queued
        && until > now.plus_seconds(PUT_OFF_SECONDS);
    is_put_off.then_some(until)
}

/// Whether a message has an address that can get it: no mailbox that does not exist.
async fn is_reachable(
    TransactionContext { tx, .. }: TransactionContext<'_>,
    row: &entity::notification::Model,
) -> Result<bool, StoreError> {
    let channel = MessageChannel::parse(&row.channel);
    let Some((address, channel)) = row.address.as_ref().zip(channel) else {
        return Ok(false);
    };
    let addresses = std::slice::from_ref(address);
    let known = address_suppression::among(tx, channel, addresses).await?;
    Ok(!known
        .values()
        .any(|reason| *reason == AddressSuppressionReason::Bounced))
}

/// Whether a message that has not arrived may go by another channel.
fn may_fall_back(state: &NotificationState, is_reachable: bool) -> bool {
    match state.engine {
        // It was refused, or there was no way to it: only the latter is a reason.
        NotificationEngineState::Skipped => !is_reachable,
        NotificationEngineState::Cancelled => false,
        _ => state
            .present_failure()
            .is_none_or(|failure| failure.class != FailureClass::OptedOut),
    }
}

async fn decide(
    turn: TransactionContext<'_>,
    id: Uuid,
) -> Result<NotificationLifecycleReport, ChannelFallbackError> {
    let TransactionContext { engine, tx, now } = turn;
    let mut report = NotificationLifecycleReport::default();
    // Lock order: notifications first.
    notification::lock(tx, &[id]).await?;
    let Some(planned) = channel_fallback::lock(tx, id).await? else {
        return Ok(report);
    };
    let loaded = notification::load(tx, &[id]).await?;
    let row = notification::in_transaction(tx, id).await?;
    let (Some(loaded), Some(row)) = (loaded.first(), row) else {
        channel_fallback::remove(tx, id).await?;
        return Ok(report);
    };
    let state = &loaded.state;
    let has_arrived = !state
        .triggered
        .intersection(channel_fallback::arrived())
        .is_empty();
    let Some((channel, left)) = planned.channels.split_first() else {
        channel_fallback::remove(tx, id).await?;
        return Ok(report);
    };
    let is_reachable = is_reachable(turn, &row).await?;
    if has_arrived || !may_fall_back(state, is_reachable) {
        channel_fallback::remove(tx, id).await?;
        return Ok(report);
    }
    // Nothing says that it has arrived: only that it comes back is a reason.
    if !state.reporting.is_expected() && state.status() == NotificationStatus::Accepted {
        let until = Timestamp::from_micros(row.created_at).plus_seconds(COMES_BACK_SECONDS);
        // A secret is not kept for so long.
        if now < until && planned.sealed.is_none() {
            channel_fallback::put_off(tx, id, until).await?;
        } else {
            channel_fallback::remove(tx, id).await?;
        }
        return Ok(report);
    }
    if let Some(until) = put_off(state, row.due_at, now) {
        let at = until.plus_seconds(planned.after_seconds);
        channel_fallback::put_off(tx, id, at).await?;
        return Ok(report);
    }
    let child = stand_in(turn, &row, *channel, planned.sealed.as_deref()).await?;
    let is_waiting = matches!(
        state.engine,
        NotificationEngineState::Queued
            | NotificationEngineState::Held
            | NotificationEngineState::Retrying
    );
    // A message that may still leave is not given up for one that cannot.
    if is_waiting && let Some(reason) = &child.skipped {
        let detail = json!({ "rule": MessageChannel::FALLBACK_RULE, "channel": channel.name(), "reason": reason });
        let kind = TimelineEntryKind::RuleSkipped;
        timeline::note(tx, id, kind, Some(detail.to_string()), now).await?;
        channel_fallback::set_channels(tx, id, left).await?;
        return Ok(report);
    }
    // What has not left must not arrive as well, after the other one.
    if is_waiting {
        let reason = format!("it was not sent in time: {channel} takes its place");
        let change = NotificationChange::Cancelled { reason };
        let steps = [NotificationLifecycleChange::new(id, change)];
        report.add(lifecycle::run(engine, tx, &steps, now).await?);
    }
    let rules = engine.catalogue_snapshot(tx).await?;
    let new = std::slice::from_ref(&child);
    let (inserted, made) = lifecycle::introduce(engine, tx, &rules, new, now).await?;
    report.add(made);
    let Some(child_id) = inserted.first().copied() else {
        return Err(StoreError::Conflict.into());
    };
    channel_fallback::sent(tx, id, child_id).await?;
    let detail = json!({ "rule": MessageChannel::FALLBACK_RULE, "channel": channel.name(), "notifications": [child_id] });
    timeline::note(
        tx,
        id,
        TimelineEntryKind::RuleFired,
        Some(detail.to_string()),
        now,
    )
    .await?;
    if !left.is_empty() {
        let next = FallbackPlan {
            channels: left.to_vec(),
            after_seconds: Some(planned.after_seconds),
            is_due_at_once: false,
        };
        fallback::plan(turn, &[&child], &next).await?;
    }
    metrics::counter!("herald_channel_fallbacks_total", "channel" => channel.name()).increment(1);
    tracing::info!(event = "channel_fallback.sent", notification.id = %id, channel = channel.name(), "a message was not delivered: it was queued for its next channel");
    Ok(report)
}

/// The same message for another channel.
async fn stand_in(
    turn: TransactionContext<'_>,
    row: &entity::notification::Model,
    channel: MessageChannel,
    sealed: Option<&str>,
) -> Result<notification::NewNotification, ChannelFallbackError> {
    let TransactionContext { engine, tx, now } = turn;
    let is_for_staff = row.recipient.as_deref().is_some_and(is_staff);
    let bounds = bounds::of_recipient(tx, row.product.as_deref(), is_for_staff).await?;
    let from = channel_sender::for_channel(engine, bounds.senders(), channel, None)
        .ok_or(ChannelFallbackError::NoSender(channel))?;
    let mut params: Value = serde_json::from_str(&row.params).unwrap_or(Value::Null);
    match (&row.sealed, sealed) {
        (None, _) => {}
        (Some(_), None) => return Err(ChannelFallbackError::Wiped),
        (Some(_), Some(sealed)) => {
            let opened = engine
                .vault()
                .and_then(|vault| vault.open(&of_notification(row.id), sealed))
                .ok_or(ChannelFallbackError::Wiped)?;
            let secrets: serde_json::Map<String, Value> =
                serde_json::from_str(opened.expose_secret())
                    .map_err(|_unreadable| ChannelFallbackError::Wiped)?;
            if let Some(params) = params.as_object_mut() {
                params.extend(secrets);
            }
        }
    }
    let person = match row.contact_id {
        Some(contact) => people::contact(tx, contact).await?,
        None => None,
    };
    let target = ResolvedRecipient {
        recipient: row.recipient.clone().unwrap_or_default(),
        contact_id: row.contact_id,
        address: None,
        language: person.as_ref().and_then(|it| it.language.clone()),
        time_zone: person.as_ref().and_then(|it| it.time_zone.clone()),
        name: person.and_then(|person| person.name),
        skipped: None,
    };
    // As long as the message itself would have had, unless that time is over.
    let left = row
        .expires_at
        .map(|at| Timestamp::from_micros(at).micros_since(now) / 1_000_000)
        .filter(|seconds| *seconds > 0);
    let draft = MessageDraft {
        event_id: row.event_id,
        route: row.route.clone(),
        event_type: row.event_type.clone(),
        follow_up_id: None,
        parent_id: Some(row.id),
        rule: Some(MessageChannel::FALLBACK_RULE.to_owned()),
        depth: row.depth,
        channel: channel.name().to_owned(),
        sender_id: from.id(),
        template: row.template.clone(),
        language: row.language.clone(),
        default_language: None,
        params: params.clone(),
        subject_contact_id: row.subject_contact_id,
        subject_address: None,
        reference: row.reference.clone(),
        labels: serde_json::from_str(&row.labels).unwrap_or_default(),
        priority: MessagePriority::of_lane(row.priority),
        expires_after_seconds: left,
        send_at: None,
        reply_to: None,
        message_kind: row.message_kind.clone(),
        mode: MessageContentMode::Template,
        fallback_template: None,
        product: row.product.clone(),
        unread: Vec::new(),
    };
    let reading = &mut IntakeRowCache::default();
    if row.kind == "template" {
        let made = intake::compose(turn, reading, &draft, vec![target]).await?;
        let made = made.into_iter().next().map(|made| made.new);
        return made.ok_or_else(|| StoreError::Conflict.into());
    }
    let made = intake::free_text(turn, &draft, target, &params).await?;
    made.ok_or(ChannelFallbackError::NoSender(channel))
}
