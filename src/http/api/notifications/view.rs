//! Notifications as the API shows them.

use entity::{follow_up, notification};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        access::AccessBounds,
        category::MessageCategory,
        facts::DeliveryFact,
        failure::FailureClass,
        outcome::AttemptOutcome,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
        timeline::{TimelineEntry, TimelineEntryKind},
    },
    http::problem::ApiProblem,
    state::AppState,
    store::{
        attempt as attempts, convert, follow_up as follow_ups, notification as notifications,
        timeline as story,
    },
};

/// The notifications of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct SendNotificationResponse {
    pub(super) notifications: Vec<SendNotificationResponseItem>,
}

/// The state of a notification that was just requested.
#[derive(Debug, Serialize, ToSchema)]
pub struct SendNotificationResponseItem {
    #[serde(flatten)]
    summary: NotificationSummary,
    /// The number or user id it goes to.
    address: Option<String>,
    /// The text as the recipient reads it; absent for one-time passwords.
    text: Option<String>,
    /// When the provider accepted it.
    accepted_at: Option<String>,
    /// Why it failed, in the provider's words and in plain ones.
    #[schema(value_type = Option<Object>)]
    failure: Option<Value>,
}

impl SendNotificationResponseItem {
    pub(super) fn of(row: &notification::Model) -> Self {
        Self::accepted_at(row, None)
    }

    pub(super) fn accepted_at(row: &notification::Model, accepted_at: Option<Timestamp>) -> Self {
        Self {
            summary: summary(row),
            address: row.address.clone(),
            text: row.body.clone(),
            accepted_at: accepted_at.map(|at| at.to_string()),
            failure: row.failure.as_deref().map(parsed).map(with_action),
        }
    }
}

/// A notification in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationSummary {
    id: Uuid,
    #[schema(value_type = String)]
    status: NotificationStatus,
    /// `pending`, `sent`, `failed` or `not_sent`.
    #[schema(value_type = String)]
    group: StatusGroup,
    /// Why it waits, was skipped or failed.
    reason: Option<String>,
    /// When it is looked at again, if that is known and in the future.
    waits_until: Option<String>,
    recipient: Option<String>,
    /// `whatsapp`, `email`, …
    channel: String,
    /// `template`, `text`, …
    kind: String,
    /// The template it was made with.
    template: Option<String>,
    /// The template that is or was sent: its fallback, if that replaced it; absent for a text.
    sent_template: Option<String>,
    /// The kind of message, which recipients may turn off.
    message_kind: Option<String>,
    event_type: Option<String>,
    reference: Option<String>,
    #[schema(value_type = Object)]
    labels: Value,
    created_at: String,
    updated_at: String,
}

/// A failure with Herald's reaction.
fn with_action(mut failure: Value) -> Value {
    let class = failure
        .get("class")
        .and_then(|class| FailureClass::deserialize(class).ok());
    if let (Some(object), Some(class)) = (failure.as_object_mut(), class) {
        object.insert("action".to_owned(), class.action().into());
    }
    failure
}

pub(super) fn summary(row: &notification::Model) -> NotificationSummary {
    let status = convert::status(row.status);
    let failure = notifications::read_failure(row.failure.as_deref());
    NotificationSummary {
        id: row.id,
        status,
        group: status.group(),
        reason: row
            .reason
            .clone()
            .or_else(|| failure.map(|failure| failure.title)),
        waits_until: row
            .due_at
            .filter(|due_at| *due_at > row.updated_at)
            .map(time),
        recipient: row.recipient.clone(),
        channel: row.channel.clone(),
        kind: row.kind.clone(),
        message_kind: row.message_kind.clone(),
        template: row
            .made_with
            .clone()
            .or_else(|| Some(row.template.clone()))
            .filter(|template| !template.is_empty()),
        sent_template: (row.kind == "template").then(|| row.template.clone()),
        event_type: row.event_type.clone(),
        reference: row.reference.clone(),
        labels: parsed(&row.labels),
        created_at: time(row.created_at),
        updated_at: time(row.updated_at),
    }
}

fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

/// A page of notifications, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationListResponse {
    pub(super) notifications: Vec<NotificationSummary>,
    /// The cursor of the next page; absent on the last.
    pub(super) next: Option<Uuid>,
}

/// A notification with its whole story.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationDetail {
    #[serde(flatten)]
    summary: NotificationSummary,
    generation: i64,
    #[schema(value_type = MessageCategory)]
    category: String,
    language: Option<String>,
    /// The text as the recipient reads it; absent for one-time passwords.
    text: Option<String>,
    event: Option<Uuid>,
    route: Option<String>,
    /// The notification that this one follows up, and the rule.
    parent: Option<Uuid>,
    rule: Option<String>,
    due_at: Option<String>,
    expires_at: Option<String>,
    /// Why it failed, in the provider's words and in plain ones.
    #[schema(value_type = Option<Object>)]
    failure: Option<Value>,
    attempts: Vec<AttemptView>,
    follow_ups: Vec<FollowUpView>,
    timeline: Vec<TimelineEntryView>,
}

/// One call to the provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    id: Uuid,
    number: i64,
    generation: i64,
    created_at: String,
    outcome: Option<AttemptOutcome>,
    answered_at: Option<String>,
    http_status: Option<i64>,
    provider_message_id: Option<String>,
    /// Each fact with its time, and whether it is only implied by a later one.
    #[schema(value_type = Object)]
    facts: Value,
    #[schema(value_type = Option<Object>)]
    failure: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pricing: Option<Value>,
    #[schema(value_type = Option<Object>)]
    request: Option<Value>,
    answer: Option<String>,
}

/// The decision of a rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct FollowUpView {
    id: Uuid,
    rule: String,
    on: String,
    /// `pending`, `fired`, `cancelled` or `skipped`.
    state: String,
    due_at: Option<String>,
    reason: Option<String>,
}

/// One entry of the timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEntryView {
    at: String,
    kind: TimelineEntryKind,
    /// When it happened by the provider's clock.
    provider_at: Option<String>,
    attempt: Option<Uuid>,
    callback: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
}

fn attempt_view(attempt: attempts::AttemptDetails) -> AttemptView {
    let attempts::AttemptDetails { state, call } = attempt;
    let facts: Map<String, Value> = DeliveryFact::ALL
        .into_iter()
        .filter_map(|fact| {
            let known = state.facts.get(fact)?;
            let known = json!({ "at": known.at.to_string(), "implied": known.implied });
            Some((fact.name().to_owned(), known))
        })
        .collect();
    let call = call.as_ref();
    let request = call.and_then(|call| call.request.as_deref());
    AttemptView {
        id: state.id,
        number: state.number,
        generation: state.generation,
        created_at: state.created_at.to_string(),
        outcome: state.outcome,
        answered_at: call.and_then(|call| call.answered_at).map(time),
        http_status: call.and_then(|call| call.http_status),
        provider_message_id: call.and_then(|call| call.provider_message_id.clone()),
        facts: Value::Object(facts),
        failure: state
            .failure
            .map(|failure| with_action(json!(failure.value))),
        pricing: state.pricing.map(|pricing| pricing.value),
        request: request.map(parsed),
        answer: call.and_then(|call| call.answer.clone()),
    }
}

fn follow_up_view(row: follow_up::Model) -> FollowUpView {
    FollowUpView {
        id: row.id,
        rule: row.rule_name,
        on: row.trigger_name,
        state: convert::follow_up_state(row.state).to_owned(),
        due_at: row.due_at.map(time),
        reason: row.reason,
    }
}

fn timeline_view(entry: &TimelineEntry) -> TimelineEntryView {
    TimelineEntryView {
        at: entry.at.to_string(),
        kind: entry.kind,
        provider_at: entry.provider_at.map(|at| at.to_string()),
        attempt: entry.attempt_id,
        callback: entry.callback_id,
        detail: entry.detail.as_deref().map(parsed),
    }
}

pub(super) async fn detail(
    state: &AppState,
    bounds: &AccessBounds,
    id: Uuid,
) -> Result<NotificationDetail, ApiProblem> {
    let store = &state.engine.store;
    let row = notifications::find(store, bounds, id)
        .await?
        .ok_or(ApiProblem::NotFound)?;
    let attempts = attempts::of_notification(store, &row).await?;
    let follow_ups = follow_ups::of_notification(store, &row).await?;
    let timeline = story::of_notification(store, &row).await?;
    let mut summary = summary(&row);
    if let Some((next, before)) = notifications::turn_of(store, &row).await? {
        let interval = state.engine.settings.pair.interval_seconds;
        let turn = next.plus_seconds(before.saturating_mul(interval));
        summary.waits_until = Some(turn.to_string());
    }
    Ok(NotificationDetail {
        summary,
        generation: row.generation,
        category: row.category,
        language: row.language,
        text: row.body,
        event: row.event_id.filter(|_| row.route.is_some()),
        route: row.route,
        parent: row.parent_id,
        rule: row.rule,
        due_at: row.due_at.map(time),
        expires_at: row.expires_at.map(time),
        failure: row.failure.as_deref().map(parsed).map(with_action),
        attempts: attempts.into_iter().map(attempt_view).collect(),
        follow_ups: follow_ups.into_iter().map(follow_up_view).collect(),
        timeline: timeline.iter().map(timeline_view).collect(),
    })
}
