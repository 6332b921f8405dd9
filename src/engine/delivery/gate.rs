//! Last check before a call: opt-outs, preferences, quiet hours and the state of the template.

use uuid::Uuid;

use crate::{
    domain::{
        category::MessageCategory,
        channel::MessageChannel,
        failure::{DeliveryFailure, FailureClass},
        notification::NotificationChange,
        preference,
        priority::MessagePriority,
        time::Timestamp,
    },
    engine::{
        Engine,
        lifecycle::{self, NotificationLifecycleChange, NotificationLifecycleReport},
        runtime::{
            catalogue_cache::CatalogueSnapshot,
            refusals::{RecipientRefusals, RefusalSubject},
            template_status::{TemplateSendability, sendable},
        },
    },
    store::{
        DatabaseTransaction, StoreError,
        address_suppression::{self, AddressSuppressionReason},
        notification::{self, ClaimedMessageDelay, ClaimedNotification},
        template_sync::{self, ReportedTemplateState},
    },
};

/// Messages of this priority or a higher one are sent in quiet hours.
const HIGH: i64 = MessagePriority::High.lane();

/// Why a mailbox gets nothing that bounced before.
const BOUNCED: &str = "there is no such mailbox: a mail to it came back";

/// Why a mailbox gets nothing whose owner has unsubscribed.
const UNSUBSCRIBED: &str = "the person has unsubscribed from e-mail";

/// The failure of a message whose template can never be sent.
pub(super) fn never(reason: &str) -> DeliveryFailure {
    DeliveryFailure {
        class: FailureClass::TemplateTrouble,
        ..DeliveryFailure::ours(
            "template_unusable",
            reason,
            "Send another template, or fix this one at the provider, then retry.",
        )
    }
}

/// Result of the last check, besides the messages that may be sent.
#[derive(Default)]
pub(super) struct PreSendCheckResult {
    pub report: NotificationLifecycleReport,
    /// Messages that can never be sent, with the reason.
    pub never: Vec<(Uuid, String)>,
    /// Messages that wait for their templates.
    pub held: Vec<TemplateHeldMessage>,
    /// Whether any message was delayed.
    pub is_any_late: bool,
}

/// A message that waits for its template.
pub(super) struct TemplateHeldMessage {
    pub id: Uuid,
    pub template: String,
    /// Empty if the template has no language.
    pub language: String,
    pub reason: String,
}

/// Removes from a claim what may not be sent. Opted-out recipients are skipped; messages that wait
/// for a template are returned, and the caller puts them aside. The rest may be composed.
pub(super) async fn hold_back(
    engine: &Engine,
    tx: &DatabaseTransaction,
    catalogue_snapshot: &CatalogueSnapshot,
    sender: &entity::sender::Model,
    claimed: &mut Vec<ClaimedNotification>,
    now: Timestamp,
) -> Result<PreSendCheckResult, StoreError> {
    let account_id = sender.account_id.as_deref();
    let marketing_held_until = sender
        .marketing_held_until
        .map(Timestamp::from_micros)
        .filter(|until| *until > now);
    let mut delays: Vec<ClaimedMessageDelay> = Vec::new();
    let subjects: Vec<RefusalSubject<'_>> = claimed.iter().map(subject).collect();
    let refusals = RecipientRefusals::load(tx, &subjects).await?;
    let mailboxes: Vec<String> = claimed
        .iter()
        .filter(|message| {
            MessageChannel::parse(&message.channel).is_some_and(MessageChannel::reaches_mailboxes)
        })
        .filter_map(|message| message.address.clone())
        .collect();
    let suppressed = address_suppression::among(tx, MessageChannel::Email, &mailboxes).await?;
    let mut standings: Vec<((String, String), Option<ReportedTemplateState>)> = Vec::new();
    let mut steps = Vec::new();
    let mut held = Vec::new();
    let mut never = Vec::new();
    for message in claimed.iter() {
        let mut category = message.category;
        if message.kind == "template" {
            let language = message.language.clone().unwrap_or_default();
            let key = (message.template.clone(), language);
            let known = standings.iter().position(|(known, _)| *known == key);
            let standing = if let Some((_, standing)) = known.and_then(|known| standings.get(known))
            {
                standing.clone()
            } else {
                let standing = template_sync::standing(tx, account_id, &key.0, &key.1).await?;
                standings.push((key, standing.clone()));
                standing
            };
            match sendable(&message.template, standing.as_ref()) {
                TemplateSendability::Yes => {}
                TemplateSendability::Later(reason) => {
                    held.push(TemplateHeldMessage {
                        id: message.id,
                        template: message.template.clone(),
                        language: message.language.clone().unwrap_or_default(),
                        reason,
                    });
                    continue;
                }
                TemplateSendability::Never(reason) => {
                    never.push((message.id, reason));
                    continue;
                }
            }
            // The category that the account reports outranks the catalogue's.
            if let Some(reported) = standing.and_then(|standing| standing.category) {
                category = reported.counted_as();
            }
        }
        let asked = preference::MessageTraits {
            category,
            kind: message.message_kind.as_deref(),
            required: catalogue_snapshot.is_required(message.message_kind.as_deref()),
            channel: &message.channel,
            product: message.product.as_deref(),
        };
        let quiet_until = Some(subject(message))
            .filter(|_| !asked.insists() && message.priority > HIGH)
            .and_then(|subject| refusals.quiet_until(subject, asked.product, now));
        let suppressed = message
            .address
            .as_deref()
            .and_then(|address| suppressed.get(&address.to_ascii_lowercase()))
            .and_then(|reason| match reason {
                AddressSuppressionReason::Bounced => Some(BOUNCED),
                AddressSuppressionReason::Unsubscribed if asked.insists() => None,
                AddressSuppressionReason::Unsubscribed => Some(UNSUBSCRIBED),
            });
        if let Some(reason) = suppressed {
            let reason = reason.to_owned();
            steps.push(NotificationLifecycleChange::new(
                message.id,
                NotificationChange::Suppressed { reason },
            ));
        } else if let Some(reason) = refusals.refusal(subject(message), asked) {
            steps.push(NotificationLifecycleChange::new(
                message.id,
                NotificationChange::Suppressed { reason },
            ));
        } else if let Some(until) = quiet_until {
            delays.push(ClaimedMessageDelay::new(
                message.id,
                until,
                "the recipient has quiet hours",
            ));
        } else if let Some(until) =
            marketing_held_until.filter(|_| category == MessageCategory::Marketing)
        {
            delays.push(ClaimedMessageDelay::new(
                message.id,
                until,
                "marketing of this number is held: recipients have reported it as spam",
            ));
        }
    }
    notification::delay(tx, &delays, now).await?;
    let report = lifecycle::run(engine, tx, &steps, now).await?;
    claimed.retain(|message| {
        held.iter().all(|held| held.id != message.id)
            && delays.iter().all(|delay| delay.id.0 != message.id)
            && steps.iter().all(|step| step.notification_id != message.id)
    });
    Ok(PreSendCheckResult {
        report,
        never,
        held,
        is_any_late: !delays.is_empty(),
    })
}

fn subject(message: &ClaimedNotification) -> RefusalSubject<'_> {
    RefusalSubject {
        contact: message.contact_id,
        recipient: message.recipient.as_deref(),
    }
}
