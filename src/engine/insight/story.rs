//! The story of one message for people: its origin, what happened to it, what it waits for, and
//! what can be done now.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        access::AccessBounds,
        channel::MessageChannel,
        horizon, pace, phone,
        status::{NotificationStatus, StatusGroup},
        story::{self, FutureTimestampCause, ManualAction},
        time::Timestamp,
        timeline::TimelineEntryKind,
    },
    engine::intake::EventRouteResult,
    store::{
        Store, StoreError, attempt, convert, event, follow_up, hold, notification, sender,
        timeline,
        verification::{self, VerificationSend},
    },
};

/// Limit of a sender's next probe whatever the settings, in microseconds.
const LATEST_PROBE_MICROS: i64 = 3_600_000_000;

/// Number of left-out recipients that are named.
const LEFT_OUT: i64 = 20;

/// The story of a message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NotificationHistory {
    pub id: Uuid,
    pub status: &'static str,
    #[schema(value_type = String)]
    pub group: StatusGroup,
    /// Its state, as a sentence.
    pub standing: String,
    pub recipient: Option<String>,
    /// `whatsapp`, `email`, …
    pub channel: String,
    /// The template it was made with.
    pub template: Option<String>,
    /// The template that replaced it, if any.
    pub fallback_template: Option<String>,
    pub sender: Option<Uuid>,
    pub created_at: String,
    pub expires_at: Option<String>,
    pub origin: NotificationOrigin,
    /// Oldest first. Entries past their retention time are gone.
    pub lines: Vec<NotificationHistoryEntry>,
    pub attempts: Vec<NotificationHistoryAttempt>,
    /// Follow-ups that rules have planned, fired or skipped.
    pub follow_ups: Vec<NotificationHistoryFollowUp>,
    /// The failure and its remedy, if there was one.
    pub failure: Option<FailureExplanation>,
    /// Actions that are possible now.
    pub can_do: Vec<AvailableManualAction>,
}

/// The origin of a message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NotificationOrigin {
    /// As a sentence.
    pub text: String,
    pub event: Option<Uuid>,
    pub event_type: Option<String>,
    pub route: Option<String>,
    /// The message that this one follows, and the rule that made it. Of a code that was sent again, the
    /// message before.
    pub parent: Option<Uuid>,
    pub rule: Option<String>,
    /// The verification whose code it carries.
    pub verification: Option<Uuid>,
    /// What each route of the event did, or why it did nothing.
    pub routes: Vec<EventRouteResult>,
    /// The event's messages by status, including this one.
    pub messages: BTreeMap<String, i64>,
    /// Recipients that get no message, and why: the first 20.
    pub left_out: Vec<SkippedRecipientView>,
}

/// A recipient that was left out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkippedRecipientView {
    pub notification: Uuid,
    pub recipient: Option<String>,
    pub reason: Option<String>,
}

/// One entry of a story.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NotificationHistoryEntry {
    pub at: String,
    /// By the provider's clock.
    pub provider_at: Option<String>,
    pub text: String,
    pub kind: TimelineEntryKind,
    pub attempt: Option<Uuid>,
    pub callback: Option<Uuid>,
}

/// One call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NotificationHistoryAttempt {
    pub id: Uuid,
    pub number: i64,
    pub at: String,
    pub text: String,
    /// The request, without secrets and codes.
    #[schema(value_type = Option<Object>)]
    pub request: Option<Value>,
    pub answer: Option<String>,
    pub provider_message_id: Option<String>,
}

/// A follow-up that a rule planned, started, skipped or cancelled because of this notification.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NotificationHistoryFollowUp {
    pub rule: String,
    pub on: String,
    pub state: &'static str,
    pub due_at: Option<String>,
    pub text: String,
}

/// A failure.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureExplanation {
    pub code: Option<i64>,
    pub title: String,
    pub meaning: String,
    /// What Herald does about it.
    pub action: &'static str,
    /// What a person can do about it.
    pub remedy: String,
}

/// A possible action.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AvailableManualAction {
    pub action: ManualAction,
    pub text: &'static str,
    pub command: String,
}

impl NotificationHistory {
    /// Removes what not everyone may see: numbers, and the calls, which contain numbers and texts.
    pub fn mask(&mut self) {
        self.recipient = self.recipient.as_deref().map(phone::masked);
        for left_out in &mut self.origin.left_out {
            left_out.recipient = left_out.recipient.as_deref().map(phone::masked);
        }
        for attempt in &mut self.attempts {
            attempt.request = None;
            attempt.answer = None;
            // It decodes to the number.
            attempt.provider_message_id = None;
        }
    }
}

/// The story of a notification within the caller's bounds; `None` if there is none.
pub async fn of(
    store: &Store,
    bounds: &AccessBounds,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<NotificationHistory>, StoreError> {
    let Some(row) = notification::find(store, bounds, id).await? else {
        return Ok(None);
    };
    let status = convert::status(row.status);
    let time = |micros: i64| Timestamp::from_micros(micros).to_string();
    let failure = notification::read_failure(row.failure.as_deref());
    let reason = failure
        .as_ref()
        .map(|failure| failure.meaning.trim_end_matches('.').to_owned())
        .or_else(|| row.reason.clone());
    let turn = notification::turn_of(store, &row).await?;
    let reason = match turn {
        Some((_, before @ 1..)) => reason.map(|it| format!("{it}, and {before} others go first")),
        _ => reason,
    };
    let later = match turn {
        Some((at, before)) => (before == 0).then(|| at.micros()),
        None => row.due_at.or(row.wake_at),
    }
    .filter(|at| *at > now.micros());
    let waits_until = later.filter(|_| status.group() == StatusGroup::Pending);
    let changed = too_far(store, &row, status, waits_until, now).await?;
    let hold = match status {
        NotificationStatus::Queued | NotificationStatus::Held | NotificationStatus::Retrying => {
            hold::get(store.reader()).await?
        }
        _ => None,
    };
    // Mentioned once: it is not something that can be waited for.
    let until = waits_until
        .filter(|_| status != NotificationStatus::Held || hold.is_none())
        .filter(|_| {
            !changed.iter().any(|(what, _)| {
                matches!(
                    what,
                    FutureTimestampCause::Due | FutureTimestampCause::Lease
                )
            })
        })
        .map(time);
    let mut standing = story::standing(status, reason.as_deref(), until.as_deref());
    for (what, until) in &changed {
        standing.push(' ');
        standing += &story::too_far_ahead(*what, &until.to_string());
    }
    if hold.is_some() {
        standing += story::ON_HOLD;
    }
    // The secrets are sealed beside the message until it has ended.
    let is_wiped = row.sealed.as_deref() == Some("");
    let due_later = row.due_at.is_some_and(|at| at > now.micros());
    let attempts = attempt::of_notification(store, &row).await?;
    let origin = origin(store, bounds, &row).await?;
    let carries_code = origin.verification.is_some();
    let lines = timeline::of_notification(store, &row)
        .await?
        .into_iter()
        .map(|line| {
            let mut detail = read(line.detail.as_deref());
            // A callback's failure is stored with its attempt.
            if line.kind == TimelineEntryKind::Failed && detail.is_null() {
                let attempt = attempts
                    .iter()
                    .find(|it| Some(it.state.id) == line.attempt_id);
                detail = attempt
                    .and_then(|it| it.state.failure.as_ref())
                    .map(|failure| json!(failure.value))
                    .unwrap_or_default();
            }
            NotificationHistoryEntry {
                at: line.at.to_string(),
                provider_at: line.provider_at.map(|at| at.to_string()),
                text: match line.kind {
                    TimelineEntryKind::Queued if carries_code => story::OF_VERIFICATION.to_owned(),
                    kind => story::line(kind, &detail),
                },
                kind: line.kind,
                attempt: line.attempt_id,
                callback: line.callback_id,
            }
        })
        .collect();
    let follow_ups = follow_up::of_notification(store, &row).await?;
    Ok(Some(NotificationHistory {
        id,
        status: status.name(),
        group: status.group(),
        standing,
        recipient: row.recipient.clone().or_else(|| row.address.clone()),
        channel: row.channel.clone(),
        template: row
            .made_with
            .clone()
            .or_else(|| Some(row.template.clone()))
            .filter(|template| !template.is_empty()),
        fallback_template: row.made_with.is_some().then(|| row.template.clone()),
        sender: row.sender_id,
        created_at: time(row.created_at),
        expires_at: row.expires_at.map(time),
        origin,
        lines,
        attempts: attempts.into_iter().map(attempt_of).collect(),
        follow_ups: follow_ups
            .into_iter()
            .map(|row| planned(row, now))
            .collect(),
        failure: failure.map(|failure| FailureExplanation {
            code: failure.code,
            title: failure.title,
            meaning: failure.meaning,
            action: failure.class.action(),
            remedy: failure.remedy,
        }),
        can_do: story::manual_actions(status, due_later)
            .iter()
            // It is refused once the secrets are wiped, and for codes, which are sent again by their
            // verification.
            .filter(|action| !(is_wiped || carries_code) || !action.repeats())
            .map(|action| AvailableManualAction {
                action: *action,
                text: action.words(),
                command: format!("herald {} {id}", action.command()),
            })
            .collect(),
    }))
}

/// Times of a pending message that lie further in the future than possible, and where.
async fn too_far(
    store: &Store,
    row: &entity::notification::Model,
    status: NotificationStatus,
    waits_until: Option<i64>,
    now: Timestamp,
) -> Result<Vec<(FutureTimestampCause, Timestamp)>, StoreError> {
    let mut found = Vec::new();
    let at = Timestamp::from_micros;
    // Scheduled for later and never claimed: that time is right.
    let asked_for = row.lease_owner.is_none() && row.due_at > Some(row.updated_at);
    match (status, waits_until) {
        (NotificationStatus::Queued | NotificationStatus::Retrying, Some(until))
            if row.due_at == waits_until
                && horizon::is_ahead(at(row.updated_at), now)
                && !asked_for =>
        {
            found.push((FutureTimestampCause::Due, at(until)));
        }
        (NotificationStatus::Sending | NotificationStatus::Unknown, Some(until))
            if horizon::is_ahead(at(row.updated_at), now) =>
        {
            found.push((FutureTimestampCause::Lease, at(until)));
        }
        _ => {}
    }
    if !matches!(
        status,
        NotificationStatus::Queued | NotificationStatus::Held | NotificationStatus::Retrying
    ) {
        return Ok(found);
    }
    let from = match row.sender_id {
        Some(id) => sender::find(store.reader(), id).await?,
        None => sender::default_one(store.reader()).await?,
    };
    if let Some(from) = from {
        let next_at = at(from.pace_next_at);
        if horizon::until(next_at, now, pace::FURTHEST_MICROS) != next_at {
            found.push((FutureTimestampCause::Pace, next_at));
        }
        let probe_at = from.probe_at.filter(|_| from.account_held_at.is_none());
        if let Some(probe_at) = probe_at.map(at)
            && horizon::until(probe_at, now, LATEST_PROBE_MICROS) != probe_at
        {
            found.push((FutureTimestampCause::Probe, probe_at));
        }
    }
    Ok(found)
}

fn read(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or(Value::Null)
}

async fn origin(
    store: &Store,
    bounds: &AccessBounds,
    row: &entity::notification::Model,
) -> Result<NotificationOrigin, StoreError> {
    let mut origin = NotificationOrigin {
        text: String::new(),
        event: None,
        event_type: row.event_type.clone(),
        route: row.route.clone(),
        parent: row.parent_id,
        rule: row.rule.clone(),
        verification: None,
        routes: Vec::new(),
        messages: BTreeMap::new(),
        left_out: Vec::new(),
    };
    if let (Some(rule), Some(parent)) = (&row.rule, row.parent_id) {
        origin.text = if rule == MessageChannel::FALLBACK_RULE {
            format!(
                "The notification {parent} had not arrived by its channel: this one goes by {}.",
                row.channel
            )
        } else {
            format!("The rule {rule} created it because of the notification {parent}.")
        };
        return Ok(origin);
    }
    if let Some((verification, before)) = code_of(store, row).await? {
        origin.verification = Some(verification);
        origin.parent = before.as_ref().map(|before| before.notification_id);
        origin.text = match before {
            None => format!("It carries the code of the verification {verification}."),
            Some(before) => format!(
                "It carries the code of the verification {verification} again: the notification {} by {} was the one before.",
                before.notification_id, before.channel
            ),
        };
        return Ok(origin);
    }
    // A direct request has its own id in the place of an event's.
    let event = match row.event_id {
        Some(event) => event::shown(store, bounds, event).await?,
        None => None,
    };
    let Some(event) = event else {
        origin.text = if row.route.is_some() {
            "Its event has been deleted.".to_owned()
        } else {
            "It was requested directly.".to_owned()
        };
        return Ok(origin);
    };
    origin.event = Some(event.id);
    origin.event_type = Some(event.event_type.clone());
    origin.routes = serde_json::from_str(&event.routes).unwrap_or_default();
    origin.text = format!(
        "The event {} of {} ({}) was posted, and the route {} created it.",
        event.external_id,
        event.source,
        event.event_type,
        row.route.as_deref().unwrap_or("of it")
    );
    origin.messages = event::messages_by_status(store, bounds, event.id)
        .await?
        .into_iter()
        .collect();
    let skipped = event::skipped(store, bounds, event.id, LEFT_OUT).await?;
    for left_out in notification::find_all(store, bounds, &skipped).await? {
        origin.left_out.push(SkippedRecipientView {
            notification: left_out.id,
            recipient: left_out.recipient,
            reason: left_out.reason,
        });
    }
    Ok(origin)
}

/// The verification whose code a message carries, and the message by which it was sent before.
async fn code_of(
    store: &Store,
    row: &entity::notification::Model,
) -> Result<Option<(Uuid, Option<VerificationSend>)>, StoreError> {
    let connection = store.by_index();
    let carried = verification::carried(connection, &[row.id]).await?;
    let Some(verification) = carried.get(&row.id).copied() else {
        return Ok(None);
    };
    let mut sends = verification::sends(connection, verification).await?;
    let place = sends.iter().position(|send| send.notification_id == row.id);
    Ok(place.map(|place| {
        sends.truncate(place);
        (verification, sends.pop())
    }))
}

fn attempt_of(attempt: attempt::AttemptDetails) -> NotificationHistoryAttempt {
    let attempt::AttemptDetails { state, call } = attempt;
    let http_status = call.as_ref().and_then(|call| call.http_status);
    let request = call.as_ref().and_then(|call| call.request.as_deref());
    let is_answered = call.as_ref().is_some_and(|call| call.answer.is_some());
    NotificationHistoryAttempt {
        id: state.id,
        number: state.number,
        at: state.created_at.to_string(),
        text: story::attempt(state.outcome, http_status, is_answered),
        request: request.map(|json| read(Some(json))),
        answer: call.as_ref().and_then(|call| call.answer.clone()),
        provider_message_id: call.and_then(|call| call.provider_message_id),
    }
}

fn planned(row: entity::follow_up::Model, now: Timestamp) -> NotificationHistoryFollowUp {
    let state = convert::follow_up_state(row.state);
    let due_at = row.due_at.map(|at| Timestamp::from_micros(at).to_string());
    let because = row
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    let made_ahead = horizon::is_ahead(Timestamp::from_micros(row.created_at), now)
        && row.due_at.is_some_and(|at| at > now.micros());
    let text = match (state, &due_at) {
        ("pending", Some(due_at)) if made_ahead => format!(
            "Of the rule {}: {}",
            row.rule_name,
            story::too_far_ahead(FutureTimestampCause::Timer, due_at)
        ),
        ("pending", _) if row.cursor_at.is_some() => {
            format!("The rule {} is firing for many recipients.", row.rule_name)
        }
        ("pending", Some(due_at)) => format!(
            "The rule {} will fire at {due_at}, unless one of its `unless` happens before.",
            row.rule_name
        ),
        ("pending", None) => format!("The rule {} is about to fire.", row.rule_name),
        ("fired", _) => format!("The rule {} fired{because}.", row.rule_name),
        ("cancelled", _) if row.cursor_at.is_some() => format!(
            "The rule {} was cancelled after some of its messages had been created{because}.",
            row.rule_name
        ),
        ("cancelled", _) => format!("The rule {} was cancelled{because}.", row.rule_name),
        (state, _) => format!("The rule {} was {state}{because}.", row.rule_name),
    };
    NotificationHistoryFollowUp {
        rule: row.rule_name,
        on: row.trigger_name,
        state,
        due_at,
        text,
    }
}
