//! Creates the messages that a rule sends.

use serde_json::Value;
use uuid::Uuid;

use super::{FollowUpCursor, note};
use crate::{
    domain::{
        access::AccessBounds,
        preference::DELETED,
        priority::MessagePriority,
        recipient::{RecipientSpec, is_expression},
        rule::FollowUpRuleMessage,
        template::{self, RenderContext, TemplateError},
        timeline::TimelineEntryKind,
    },
    engine::{
        intake::{
            self, DraftComposeError, IntakeRowCache, MessageContentMode, MessageDraft,
            channel_sender::{self, NoChannelSender},
            targets::{self, RecipientCursor, RecipientResolveError, ResolvedRecipient},
        },
        runtime::{bounds, turn::TransactionContext},
    },
    store::{
        DatabaseTransaction, StoreError, context,
        follow_up::{self, DueFollowUp},
        notification::{self, NewNotification},
        people, sender,
    },
};

/// Some of the messages of a follow-up.
pub(super) struct FollowUpMessageChunk {
    pub(super) new: Vec<NewNotification>,
    /// Cursor of the next chunk; `None` after the last one.
    pub(super) place: Option<RecipientCursor>,
}

/// Why a rule sends nothing, or nothing more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowUpError {
    #[error("the notification does not exist any more")]
    Gone,
    #[error("its parameter {name}: {error}")]
    Parameter { name: String, error: TemplateError },
    #[error("its recipient {entry}: {reason}")]
    Recipient { entry: String, reason: String },
    #[error("its groups are empty")]
    NoRecipients,
    /// What is wrong with each entry.
    #[error("{}", .0.join("; "))]
    Unknown(Vec<String>),
    #[error("there is no sender named {0}")]
    NoSender(String),
    #[error(transparent)]
    NoChannelSender(#[from] NoChannelSender),
    #[error(transparent)]
    Compose(DraftComposeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DraftComposeError> for FollowUpError {
    fn from(error: DraftComposeError) -> Self {
        match error {
            DraftComposeError::Store(error) => Self::Store(error),
            refused => Self::Compose(refused),
        }
    }
}

/// The next messages of a rule, or why it sends none.
pub(super) async fn next(
    turn: TransactionContext<'_>,
    due: &DueFollowUp,
    send: &FollowUpRuleMessage,
    depth: i64,
    cursor: &FollowUpCursor,
) -> Result<FollowUpMessageChunk, FollowUpError> {
    let tx = turn.tx;
    let loaded = context::load(tx, &[due.notification_id]).await?;
    let Some((_, context)) = loaded.into_iter().next() else {
        return Err(FollowUpError::Gone);
    };
    let Some(parent) = notification::in_transaction(tx, due.notification_id).await? else {
        return Err(FollowUpError::Gone);
    };
    let mut params = serde_json::Map::new();
    let (lenient, mut unread) = (RenderContext::lenient(&context), Vec::new());
    for (name, source) in &send.params {
        let place = format!("its parameter {name}");
        match template::render_for_people(source, &lenient, &place, &mut unread) {
            Ok(value) => drop(params.insert(name.clone(), Value::String(value))),
            Err(error) => {
                let name = name.clone();
                return Err(FollowUpError::Parameter { name, error });
            }
        }
    }
    let found = recipients(turn, due, send, &parent, &context, cursor).await?;
    if found.place.is_none() && found.targets.is_empty() && cursor.count == 0 {
        return Err(if found.unknown.is_empty() {
            FollowUpError::NoRecipients
        } else {
            FollowUpError::Unknown(found.unknown)
        });
    }
    let from = sender_of(turn, send, &parent).await?;
    let draft = MessageDraft {
        event_id: parent.event_id,
        route: None,
        event_type: parent.event_type.clone(),
        follow_up_id: Some(due.id),
        parent_id: Some(parent.id),
        rule: Some(due.rule_name.clone()),
        depth: depth + 1,
        channel: send.channel.name().to_owned(),
        sender_id: from,
        template: send.template.clone(),
        language: None,
        default_language: send.language.clone(),
        params: Value::Object(params),
        // The subject of an alert is the recipient of the notification.
        subject_contact_id: parent.contact_id,
        subject_address: parent.address.clone(),
        reference: parent.reference.clone(),
        labels: serde_json::from_str(&parent.labels).unwrap_or_default(),
        priority: MessagePriority::of_lane(parent.priority),
        expires_after_seconds: None,
        send_at: None,
        reply_to: None,
        message_kind: send.kind.clone().or_else(|| parent.message_kind.clone()),
        mode: send
            .mode
            .as_deref()
            .and_then(MessageContentMode::parse)
            .unwrap_or_default(),
        fallback_template: send.fallback_template.clone(),
        product: parent.product.clone(),
        unread,
    };
    let reading = &mut IntakeRowCache::default();
    let new = intake::compose(turn, reading, &draft, found.targets).await?;
    Ok(FollowUpMessageChunk {
        new: new.into_iter().map(|made| made.new).collect(),
        place: found.place,
    })
}

/// The sender of a rule's messages; `None`: the default at the time of sending.
async fn sender_of(
    TransactionContext { engine, tx, .. }: TransactionContext<'_>,
    send: &FollowUpRuleMessage,
    parent: &entity::notification::Model,
) -> Result<Option<Uuid>, FollowUpError> {
    let is_staff = |to: &String| RecipientSpec::parse(to).is_ok_and(|spec| spec.is_staff());
    let is_for_staff = send.to.iter().all(is_staff);
    let bounds = bounds::of_recipient(tx, parent.product.as_deref(), is_for_staff).await?;
    let chosen = match &send.sender {
        // A person who got the message from one number is not reminded from another.
        None if send.to.iter().all(|to| to == "same") => parent.sender_id,
        None => None,
        Some(named) => match sender::named(tx, named).await? {
            Some(row) => Some(row.id),
            None => return Err(FollowUpError::NoSender(named.clone())),
        },
    };
    let chosen = match chosen {
        None => IntakeRowCache::default().own_sender(tx, &bounds).await?,
        named => named,
    };
    Ok(channel_sender::serving(
        engine,
        bounds.senders(),
        send.channel,
        chosen,
    )?)
}

/// Some of the recipients of a rule.
struct RuleRecipientChunk {
    targets: Vec<ResolvedRecipient>,
    place: Option<RecipientCursor>,
    /// What is wrong with each entry that names no known recipient.
    unknown: Vec<String>,
}

async fn recipients(
    TransactionContext { tx, now, .. }: TransactionContext<'_>,
    due: &DueFollowUp,
    send: &FollowUpRuleMessage,
    parent: &entity::notification::Model,
    context: &Value,
    cursor: &FollowUpCursor,
) -> Result<RuleRecipientChunk, FollowUpError> {
    let original = original(tx, parent).await?;
    let mut targets: Vec<ResolvedRecipient> = Vec::new();
    let mut unknown: Vec<String> = Vec::new();
    let mut place = cursor.place.clone();
    let own = AccessBounds::of_product(parent.product.as_deref());
    let most = targets::recipients_at_once(tx);
    while targets.len() < most
        && let Some(entry) = send.to.get(place.recipient)
    {
        let spec = template::render_text(entry, context)
            .map_err(|error| error.to_string())
            .and_then(|rendered| {
                RecipientSpec::parse(&rendered).map_err(|error| error.to_string())
            });
        let spec = spec.map_err(|reason| FollowUpError::Recipient {
            entry: entry.clone(),
            reason,
        })?;
        // An expression that takes its recipients from the event may name only contacts of its own
        // product.
        let bounds = if is_expression(entry) {
            &own
        } else {
            &AccessBounds::All
        };
        match targets::resolve(tx, bounds, &spec, Some(&original), place.after, now).await {
            Ok(page) => {
                targets.extend(page.targets);
                place.pass(page.next);
            }
            // One unknown name must not keep the others from being notified.
            Err(RecipientResolveError::Unknown(missing)) => {
                unknown.push(missing.0);
                place.pass(None);
            }
            Err(RecipientResolveError::Store(error)) => return Err(error.into()),
        }
    }
    for missing in &unknown {
        let detail = serde_json::json!({ "rule": due.rule_name, "reason": missing });
        note(tx, due, TimelineEntryKind::RecipientUnknown, detail, now).await?;
    }
    let mut targets = intake::unique(targets);
    if cursor.place != RecipientCursor::default() {
        let contacts: Vec<_> = targets.iter().filter_map(|it| it.contact_id).collect();
        let reached = follow_up::reached_already(tx, due.id, &contacts).await?;
        targets.retain(|it| !it.contact_id.is_some_and(|id| reached.contains(&id)));
    }
    let is_last = place.recipient >= send.to.len();
    Ok(RuleRecipientChunk {
        targets,
        place: (!is_last).then_some(place),
        unknown,
    })
}

async fn original(
    tx: &DatabaseTransaction,
    parent: &entity::notification::Model,
) -> Result<ResolvedRecipient, StoreError> {
    let person = match parent.contact_id {
        Some(contact) => people::contact(tx, contact).await?,
        None => None,
    };
    let skipped = if parent.contact_id.is_some() && person.is_none() {
        Some(DELETED)
    } else if parent.address.is_none() {
        Some("the contact has no phone number")
    } else {
        None
    };
    Ok(ResolvedRecipient {
        recipient: parent.recipient.clone().unwrap_or_default(),
        contact_id: parent.contact_id,
        address: parent.address.clone(),
        language: person.as_ref().and_then(|it| it.language.clone()),
        time_zone: person.as_ref().and_then(|it| it.time_zone.clone()),
        name: person.and_then(|person| person.name),
        skipped: skipped.map(str::to_owned),
    })
}
