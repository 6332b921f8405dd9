//! Turns events and direct requests into notifications; it does not send them.

mod channel_address;
pub mod channel_sender;
mod event;
mod expand;
pub mod fallback;
mod gather;
pub mod idempotency;
mod mode;
mod reading;
mod replay;
mod request;
mod route;
pub mod targets;

pub(in crate::engine) use channel_address::ONLY_EMAIL;
pub use event::{
    AcceptedEvent, DuplicateNotification, EventError, EventPoster, EventRouteResult, PostedEvent,
    event, raise,
};
pub(in crate::engine) use expand::end_expansion;
pub use expand::expand_turn;
pub use gather::{
    NotificationRequestError, NotificationRequestQueue, NotificationRequestSubmitter,
    StoredNotificationRequest, many, open,
};
pub use mode::MessageContentMode;
pub use reading::IntakeRowCache;
pub use replay::{EventReplayOutcome, replay};
pub use request::{
    ClientNotificationRequest, NotificationRequest, NotificationRequestContent,
    NotificationRequestRefusal, RequestedTemplate,
};
pub(in crate::engine) use request::{check_template, free_text};
pub use route::try_route;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use uuid::Uuid;

use self::targets::ResolvedRecipient;
use super::{
    Engine,
    runtime::{
        turn::TransactionContext,
        vault::{NO_KEY, VaultKeyError, of_notification},
    },
};
use crate::{
    domain::{
        category::MessageCategory,
        channel::MessageChannel,
        priority::MessagePriority,
        recipient::{WhatsAppUserId, is_staff},
        template::{TemplateError, UnreadableFilterValue, layout::TemplateLayout},
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError, new_id,
        notification::NewNotification,
        people::{self, ProductContactProfile},
    },
};

/// A message without its recipient.
#[derive(Clone, Debug)]
pub struct MessageDraft {
    pub event_id: Option<Uuid>,
    pub route: Option<String>,
    pub event_type: Option<String>,
    pub follow_up_id: Option<Uuid>,
    pub parent_id: Option<Uuid>,
    pub rule: Option<String>,
    pub depth: i64,
    pub channel: String,
    /// The named sender; `None`: the default at the time of sending.
    pub sender_id: Option<Uuid>,
    pub template: String,
    /// This translation, whatever language the recipient reads.
    pub language: Option<String>,
    /// For recipients whose language is unknown or has no translation.
    pub default_language: Option<String>,
    pub params: Value,
    pub subject_contact_id: Option<Uuid>,
    /// Stands in for the subject's name if nothing else is known, as after a deletion: an alert
    /// about that person must be sent all the same.
    pub subject_address: Option<String>,
    pub reference: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub priority: MessagePriority,
    pub expires_after_seconds: Option<i64>,
    /// Earliest time of sending.
    pub send_at: Option<Timestamp>,
    /// The provider's id of the message being answered.
    pub reply_to: Option<String>,
    /// The kind of message, which recipients may turn off.
    pub message_kind: Option<String>,
    pub mode: MessageContentMode,
    /// Template for a closed service window, instead of the message's own; it may show the text as
    /// `message`.
    pub fallback_template: Option<String>,
    /// The product that the message belongs to.
    pub product: Option<String>,
    /// Parameters that a filter could not read; they are shown unchanged.
    pub unread: Vec<UnreadableFilterValue>,
}

/// Meta, code 131062.
pub const NEEDS_PHONE: &str =
    "A one-time password cannot be sent to a user id: a phone number is needed.";

/// One target per person, however many groups contain them. Who is named both as a person and by their
/// mailbox is meant as a person, whichever comes first.
pub fn unique(targets: Vec<ResolvedRecipient>) -> Vec<ResolvedRecipient> {
    let by_mailbox = |target: &ResolvedRecipient| channel_address::is_named_by_mailbox(target);
    let people = targets.iter().filter(|target| !by_mailbox(target));
    let people: BTreeSet<String> = people.map(ResolvedRecipient::key).collect();
    let mut seen = BTreeSet::new();
    targets
        .into_iter()
        .filter(|target| !by_mailbox(target) || !people.contains(&target.key()))
        .filter(|target| seen.insert(target.key()))
        .collect()
}

/// A notification made from a draft.
pub struct DraftedNotification {
    pub new: NewNotification,
    /// Why its template could not be filled, in which case it is skipped.
    pub unfilled: Option<TemplateFillFailure>,
}

/// Why a template could not be filled.
#[derive(Clone, Debug)]
pub struct TemplateFillFailure {
    /// The parameter at fault, if it is one.
    pub parameter: Option<String>,
    pub error: TemplateError,
}

/// Why a draft becomes no messages.
#[derive(Debug, thiserror::Error)]
pub enum DraftComposeError {
    #[error("there is no template {0}")]
    NoTemplate(String),
    #[error("the template {template}: {reason}")]
    UnreadableTemplate { template: String, reason: String },
    /// It holds something secret, and there is no key to seal that with.
    #[error("{}", NO_KEY)]
    NoKey,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Renders a draft for each target.
pub async fn compose(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    reading: &mut IntakeRowCache,
    draft: &MessageDraft,
    mut targets: Vec<ResolvedRecipient>,
) -> Result<Vec<DraftedNotification>, DraftComposeError> {
    let channel = MessageChannel::parse(&draft.channel).unwrap_or_default();
    channel_address::readdress(tx, channel, draft.product.as_deref(), &mut targets).await?;
    let none = || DraftComposeError::NoTemplate(draft.template.clone());
    if reading
        .template(engine, tx, &draft.template, &[])
        .await?
        .is_none()
    {
        return Err(none());
    }
    let own = own_names(tx, draft, &targets).await?;
    let about = match draft.subject_contact_id {
        Some(contact) => {
            let person = people::contact(tx, contact).await?;
            let known = match &draft.product {
                None => person.and_then(|person| person.name.or(person.phone)),
                Some(_) => own_name(&own, contact, person.and_then(|person| person.name), false),
            };
            Some(known.or_else(|| draft.subject_address.clone()))
        }
        None => None,
    };
    let of_secret_event = match &draft.event_type {
        Some(kind) => reading
            .catalogue_snapshot(engine, tx)
            .await?
            .is_sensitive(kind),
        None => false,
    };
    let starts = draft.send_at.unwrap_or(now);
    let open = mode::open_windows(tx, reading, draft, &targets, now).await?;
    let mut new = Vec::with_capacity(targets.len());
    for mut target in targets {
        if draft.product.is_some() {
            as_known(&own, &mut target);
        }
        let wanted: Vec<&str> = match &draft.language {
            Some(fixed) => vec![fixed],
            None => target
                .language
                .iter()
                .chain(&draft.default_language)
                .map(String::as_str)
                .collect(),
        };
        let Some(template) = reading
            .template(engine, tx, &draft.template, &wanted)
            .await?
        else {
            return Err(none());
        };
        let found = &template.row;
        let layout = match &template.layout {
            Ok(layout) => layout,
            Err(reason) => {
                return Err(DraftComposeError::UnreadableTemplate {
                    template: draft.template.clone(),
                    reason: reason.clone(),
                });
            }
        };
        let category = MessageCategory::counted_as(&found.category);
        let authentication = category == MessageCategory::Authentication;
        let usual = if authentication {
            engine.settings.expiry.authentication_seconds
        } else {
            engine.settings.expiry.ordinary_seconds
        };
        // It expires here no later than the provider would drop it.
        let usual = found.ttl_seconds.map_or(usual, |ttl| ttl.min(usual));
        let lifetime = draft.expires_after_seconds.unwrap_or(usual);
        let mut params = draft.params.clone();
        if let Some(object) = params.as_object_mut() {
            // Parameters of a secret event that the template does not use are not stored in clear.
            if of_secret_event {
                let asked = layout.variables();
                object.retain(|name, _| asked.contains(name));
            }
            object.entry("contact").or_insert_with(|| known(&target));
            if let Some(name) = &about {
                object.entry("about").or_insert(json!({ "name": name }));
                object.entry("related_contact_name").or_insert(json!(name));
            }
        }
        // A recipient without a name must not keep the others from getting the message.
        let mut unread = draft.unread.clone();
        let (rendered, unfilled) = match layout.fill(&params) {
            Ok(filled) => {
                unread.extend(filled.unread);
                (Some(layout.masked_text(&filled.body)), None)
            }
            Err(error) => {
                let parameter = layout.blamed(&error, &params);
                (None, Some(TemplateFillFailure { parameter, error }))
            }
        };
        let unusable = unfilled.as_ref().map(|unfilled| {
            let error = &unfilled.error;
            format!("the template {} cannot be filled: {error}", draft.template)
        });
        let needs_phone = authentication
            && target
                .address
                .as_deref()
                .is_some_and(|address| WhatsAppUserId::parse(address).is_some());
        let unusable = unusable.or(needs_phone.then(|| NEEDS_PHONE.to_owned()));
        let skipped = target.skipped.or(unusable);
        let id = new_id(now);
        let Ok(sealed) = seal(engine, layout, &mut params, id) else {
            return Err(DraftComposeError::NoKey);
        };
        let made = NewNotification {
            id,
            event_id: draft.event_id,
            route: draft.route.clone(),
            event_type: draft.event_type.clone(),
            follow_up_id: draft.follow_up_id,
            parent_id: draft.parent_id,
            rule: draft.rule.clone(),
            depth: draft.depth,
            sender_id: draft.sender_id,
            channel: draft.channel.clone(),
            contact_id: target.contact_id,
            recipient: target.recipient,
            address: target.address,
            subject_contact_id: draft.subject_contact_id,
            kind: "template",
            template: draft.template.clone(),
            made_with: None,
            language: Some(found.language.clone()),
            category,
            params,
            body: rendered,
            reference: draft.reference.clone(),
            labels: draft.labels.clone(),
            priority: if authentication {
                MessagePriority::Otp
            } else {
                draft.priority
            },
            skipped,
            expires_at: Some(starts.plus_seconds(lifetime)),
            send_at: draft.send_at,
            reply_to: draft.reply_to.clone(),
            fallback: None,
            message_kind: draft.message_kind.clone(),
            sealed,
            product: draft.product.clone(),
            unread,
        };
        let is_open = made.contact_id.is_some_and(|it| open.contains(&it));
        let made = mode::apply(engine, tx, reading, draft, layout, is_open, made).await?;
        new.push(DraftedNotification {
            new: made,
            unfilled,
        });
    }
    Ok(new)
}

/// The names by which the draft's product knows recipient and subject.
async fn own_names(
    tx: &DatabaseTransaction,
    draft: &MessageDraft,
    targets: &[ResolvedRecipient],
) -> Result<HashMap<Uuid, ProductContactProfile>, StoreError> {
    let Some(product) = &draft.product else {
        return Ok(HashMap::new());
    };
    let contacts = targets.iter().filter_map(|target| target.contact_id);
    let contacts: Vec<Uuid> = contacts.chain(draft.subject_contact_id).collect();
    people::own_names(tx, product, &contacts).await
}

/// The name by which a product knows a person. Another product's name for them is not used, except
/// for staff members and contacts in a catalogue: a caller that may address them may know their
/// names.
fn own_name(
    own: &HashMap<Uuid, ProductContactProfile>,
    contact: Uuid,
    common: Option<String>,
    is_staff: bool,
) -> Option<String> {
    let known = own.get(&contact);
    let is_shared = is_staff || known.is_some_and(|known| known.is_of_catalogue);
    known
        .and_then(|known| known.name.clone())
        .or_else(|| common.filter(|_| is_shared))
}

/// Replaces a target's name by the one that the message's product uses.
fn as_known(own: &HashMap<Uuid, ProductContactProfile>, target: &mut ResolvedRecipient) {
    let Some(contact) = target.contact_id else {
        return;
    };
    let is_staff = is_staff(&target.recipient);
    target.name = own_name(own, contact, target.name.take(), is_staff);
    let known = own.get(&contact);
    let is_shared = is_staff || known.is_some_and(|known| known.is_of_catalogue);
    let common = target.language.take().filter(|_| is_shared);
    target.language = known.and_then(|known| known.language.clone()).or(common);
    let common = target.time_zone.take().filter(|_| is_shared);
    target.time_zone = known.and_then(|known| known.time_zone.clone()).or(common);
}

/// Removes secret values from the parameters and seals them for a notification.
fn seal(
    engine: &Engine,
    layout: &TemplateLayout,
    params: &mut Value,
    id: Uuid,
) -> Result<Option<String>, VaultKeyError> {
    let secrets = layout.take_secrets(params);
    if secrets.is_empty() {
        return Ok(None);
    }
    let vault = engine.vault().ok_or(VaultKeyError)?;
    let text = Value::Object(secrets).to_string();
    vault.seal_row(&of_notification(id), &text).map(Some)
}

/// What is known about the recipient. Unknown fields are left out, so that the `default` filter
/// applies.
fn known(target: &ResolvedRecipient) -> Value {
    let known = [
        ("name", &target.name),
        ("language", &target.language),
        ("time_zone", &target.time_zone),
    ];
    known
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), json!(value.as_ref()?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
