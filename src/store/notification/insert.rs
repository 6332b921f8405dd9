//! Inserts new notifications with their labels.

use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LoadedNotification, open_status};
use crate::{
    domain::{
        category::MessageCategory,
        channel::DeliveryReporting,
        notification::{MessageSecretsState, NotificationState},
        priority::MessagePriority,
        status::{NotificationEngineState, NotificationStatus},
        template::UnreadableFilterValue,
        time::Timestamp,
        transition::NotificationTransitionSet,
    },
    store::{
        DatabaseTransaction, StoreError,
        dialect::{
            HexUuid, SqlListFieldType, column, execute, list, nullable, query, query_one, rows,
        },
        list_bytes::{ListBytes, ListSlice},
    },
};

/// A notification to be stored for the first time.
#[derive(Clone, Debug)]
pub struct NewNotification {
    pub id: Uuid,
    pub event_id: Option<Uuid>,
    pub route: Option<String>,
    pub event_type: Option<String>,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    pub rule: Option<String>,
    pub depth: i64,
    pub sender_id: Option<Uuid>,
    pub channel: String,
    pub contact_id: Option<Uuid>,
    /// The recipient as text: `user:NAME`, `contact:NAME` or a number. Unique in a follow-up.
    pub recipient: String,
    pub address: Option<String>,
    pub subject_contact_id: Option<Uuid>,
    /// `template`, or what [`crate::domain::content::FreeFormMessageContent::kind`] says.
    pub kind: &'static str,
    pub template: String,
    /// The template that it was made with, if another one has taken its place.
    pub made_with: Option<String>,
    pub language: Option<String>,
    pub category: MessageCategory,
    pub params: serde_json::Value,
    pub body: Option<String>,
    pub reference: Option<String>,
    pub labels: std::collections::BTreeMap<String, String>,
    pub priority: MessagePriority,
    /// Why it is not sent, when it is not.
    pub skipped: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// Not before then.
    pub send_at: Option<Timestamp>,
    /// The provider's id of the message that it answers.
    pub reply_to: Option<String>,
    /// The template that takes its place should the window be closed.
    pub fallback: Option<FallbackTemplate>,
    /// Which kind of message it is, of those that people may turn off.
    pub message_kind: Option<String>,
    /// Its secret parameters, sealed; they are not stored when it is not sent.
    pub sealed: Option<String>,
    /// The product that it belongs to.
    pub product: Option<String>,
    /// Parameters that a filter could not read and that are shown unchanged: for its story.
    pub unread: Vec<UnreadableFilterValue>,
}

/// A template that takes the place of another message, filled in and ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FallbackTemplate {
    pub template: String,
    pub language: String,
    pub category: MessageCategory,
    pub params: serde_json::Value,
    pub body: Option<String>,
}

#[derive(Serialize)]
struct NewNotificationRow<'a> {
    id: HexUuid,
    event_id: Option<HexUuid>,
    route: Option<&'a str>,
    event_type: Option<&'a str>,
    follow_up_id: Option<HexUuid>,
    parent_id: Option<HexUuid>,
    rule: Option<&'a str>,
    depth: i64,
    sender_id: Option<HexUuid>,
    channel: &'a str,
    contact_id: Option<HexUuid>,
    recipient: &'a str,
    address: Option<&'a str>,
    subject: Option<HexUuid>,
    kind: &'a str,
    template: &'a str,
    language: Option<&'a str>,
    category: MessageCategory,
    params: String,
    body: Option<&'a str>,
    reference: Option<&'a str>,
    labels: String,
    priority: i64,
    state: &'static str,
    open: Option<&'static str>,
    reason: Option<&'a str>,
    due: Option<i64>,
    expires: Option<i64>,
    reply_to: Option<&'a str>,
    fallback: Option<String>,
    message_kind: Option<&'a str>,
    sealed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_with: Option<&'a str>,
    triggered: i64,
    record: ListSlice,
}

#[derive(Serialize)]
struct NotificationLabelRow<'a> {
    name: &'a str,
    value: &'a str,
    id: HexUuid,
}

impl NewNotification {
    /// The sealed secrets to store: none for a message that is not sent.
    fn secrets(&self) -> Option<&str> {
        let sealed = self.sealed.as_deref();
        sealed.map(|sealed| if self.skipped.is_some() { "" } else { sealed })
    }

    /// Why it is not sent, or not yet.
    fn reason(&self) -> Option<&str> {
        self.skipped
            .as_deref()
            .or_else(|| self.send_at.map(|_| "asked for at a later time"))
    }
}

/// The state of a notification that was just made.
pub fn fresh_state(new: &NewNotification, now: Timestamp) -> NotificationState {
    NotificationState {
        id: new.id,
        created_at: now,
        category: new.category,
        engine: if new.skipped.is_some() {
            NotificationEngineState::Skipped
        } else {
            NotificationEngineState::Queued
        },
        generation: 1,
        triggered: NotificationTransitionSet::NONE,
        replied: false,
        insists: false,
        reason: new.reason().map(str::to_owned),
        failure: None,
        due_at: new.skipped.is_none().then(|| new.send_at.unwrap_or(now)),
        has_fallback: new.fallback.is_some(),
        secrets: MessageSecretsState::stored(new.secrets() == Some("")),
        leased_until: None,
        expires_at: new.expires_at,
        stored_wake_at: None,
        reporting: DeliveryReporting::of(&new.channel),
        attempts: Vec::new(),
    }
}

/// Inserts notifications, each with the record that it was made with, and their labels. An existing
/// child of a follow-up is left out; returns the ids of the inserted ones.
pub async fn insert(
    tx: &DatabaseTransaction,
    new: &[NewNotification],
    made: &[LoadedNotification],
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let mut bytes = ListBytes::default();
    let described: Vec<NewNotificationRow<'_>> = new
        .iter()
        .zip(made)
        .map(|(new, made)| {
            let status = if new.skipped.is_some() {
                NotificationStatus::Skipped
            } else {
                NotificationStatus::Queued
            };
            Ok(NewNotificationRow {
                id: HexUuid(new.id),
                event_id: new.event_id.map(HexUuid),
                route: new.route.as_deref(),
                event_type: new.event_type.as_deref(),
                follow_up_id: new.follow_up_id.map(HexUuid),
                parent_id: new.parent_id.map(HexUuid),
                rule: new.rule.as_deref(),
                depth: new.depth,
                sender_id: new.sender_id.map(HexUuid),
                channel: &new.channel,
                contact_id: new.contact_id.map(HexUuid),
                recipient: &new.recipient,
                address: new.address.as_deref(),
                subject: new.subject_contact_id.map(HexUuid),
                kind: new.kind,
                template: &new.template,
                language: new.language.as_deref(),
                category: new.category,
                params: new.params.to_string(),
                body: new.body.as_deref(),
                reference: new.reference.as_deref(),
                labels: serde_json::json!(new.labels).to_string(),
                priority: new.priority.lane(),
                state: status.name(),
                open: open_status(status),
                reason: new.reason(),
                due: new
                    .skipped
                    .is_none()
                    .then(|| new.send_at.unwrap_or(now).micros()),
                expires: new.expires_at.map(Timestamp::micros),
                reply_to: new.reply_to.as_deref(),
                fallback: new
                    .fallback
                    .as_ref()
                    .and_then(|fallback| serde_json::to_string(fallback).ok()),
                message_kind: new.message_kind.as_deref(),
                sealed: new.secrets(),
                product: new.product.as_deref(),
                made_with: new.made_with.as_deref(),
                triggered: made.state.triggered.mask(),
                record: bytes.add(&made.written()?)?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    let text = |name| (name, SqlListFieldType::Text);
    let backend = tx.get_database_backend();
    let given = rows(
        backend,
        &[
            ("id", SqlListFieldType::Uuid),
            ("event_id", SqlListFieldType::Uuid),
            text("route"),
            text("event_type"),
            ("follow_up_id", SqlListFieldType::Uuid),
            ("parent_id", SqlListFieldType::Uuid),
            text("rule"),
            ("depth", SqlListFieldType::Int),
            ("sender_id", SqlListFieldType::Uuid),
            text("channel"),
            ("contact_id", SqlListFieldType::Uuid),
            text("recipient"),
            text("address"),
            ("subject", SqlListFieldType::Uuid),
            text("kind"),
            text("template"),
            text("language"),
            text("category"),
            text("params"),
            text("body"),
            text("reference"),
            text("labels"),
            ("priority", SqlListFieldType::Int),
            text("state"),
            text("open"),
            text("reason"),
            ("due", SqlListFieldType::Int),
            ("expires", SqlListFieldType::Int),
            text("reply_to"),
            text("fallback"),
            text("message_kind"),
            text("sealed"),
            text("product"),
            text("made_with"),
            ("triggered", SqlListFieldType::Int),
            ("record", SqlListFieldType::Slice),
        ],
    );
    let inserted = query(
        tx,
        format!(
            "INSERT INTO notification (id, created_at, updated_at, event_id, route, event_type, follow_up_id, parent_id, \
             rule, depth, sender_id, channel, contact_id, recipient, address, subject_contact_id, kind, template, \
             language, category, params, body, reference, labels, priority, generation, status, open_status, \
             engine_state, reason, triggered, replied, attempt_count, due_at, wake_at, expires_at, reply_to, fallback, message_kind, sealed, product, made_with, record) \
             SELECT r.id, $3, $3, r.event_id, r.route, r.event_type, r.follow_up_id, r.parent_id, \
             r.rule, r.depth, r.sender_id, r.channel, r.contact_id, r.recipient, r.address, r.subject, r.kind, r.template, \
             r.language, r.category, r.params, r.body, r.reference, r.labels, r.priority, 1, r.state, r.open, \
             r.state, r.reason, r.triggered, false, 0, r.due, CASE WHEN r.due IS NULL THEN NULL ELSE r.expires END, r.expires, r.reply_to, r.fallback, r.message_kind, r.sealed, r.product, r.made_with, r.record \
             FROM {given} WHERE true ON CONFLICT DO NOTHING RETURNING id"
        ),
        [list(&described)?, bytes.into(), now.micros().into()],
    )
    .await?;
    let inserted = inserted
        .iter()
        .map(|row| column(row, "id"))
        .collect::<Result<Vec<Uuid>, _>>()?;
    let labels: Vec<NotificationLabelRow<'_>> = new
        .iter()
        .filter(|new| inserted.contains(&new.id))
        .flat_map(|new| {
            new.labels.iter().map(|(name, value)| NotificationLabelRow {
                name,
                value,
                id: HexUuid(new.id),
            })
        })
        .collect();
    if !labels.is_empty() {
        let given = rows(
            backend,
            &[text("name"), text("value"), ("id", SqlListFieldType::Uuid)],
        );
        execute(
            tx,
            format!("INSERT INTO notification_label (name, value, notification_id) SELECT r.name, r.value, r.id FROM {given}"),
            [list(&labels)?],
        )
        .await?;
    }
    Ok(inserted)
}

/// Puts a notification's fallback in its place, once.
pub(super) async fn fall_back(tx: &DatabaseTransaction, id: Uuid) -> Result<(), StoreError> {
    let row = query_one(
        tx,
        "SELECT fallback FROM notification WHERE id = $1",
        [id.into()],
    )
    .await?;
    let stored: Option<String> = row
        .map(|row| nullable(&row, "fallback"))
        .transpose()?
        .flatten();
    let Some(stored) = stored else {
        return Ok(());
    };
    let fallback: FallbackTemplate =
        serde_json::from_str(&stored).map_err(|_unreadable| StoreError::Corrupt {
            table: "notification",
            row: id.to_string(),
            column: "fallback",
        })?;
    execute(
        tx,
        "UPDATE notification SET kind = 'template', \
         made_with = CASE WHEN template IN ('', $2) THEN made_with ELSE template END, template = $2, language = $3, category = $4, params = $5, body = $6, \
         fallback = NULL WHERE id = $1",
        [
            id.into(),
            fallback.template.into(),
            fallback.language.into(),
            fallback.category.name().into(),
            fallback.params.to_string().into(),
            fallback.body.into(),
        ],
    )
    .await?;
    Ok(())
}
