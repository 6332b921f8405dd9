//! Applies a provider's statuses of known messages, and learns from them about contacts.

use serde_json::json;
use uuid::Uuid;

use super::failure_effects::{self, FailedMessage};
use crate::{
    domain::{
        facts::DeliveryFact, notification::NotificationChange, recipient::MessageAddress,
        time::Timestamp,
    },
    engine::{
        Engine,
        lifecycle::{NotificationLifecycleChange, NotificationLifecycleReport},
        people::identity::{self, ReportedRecipient},
    },
    providers::MessageStatusUpdate,
    store::{DatabaseTransaction, StoreError, identity::IdentityEvidenceSource, made_at},
};

/// A status of one of our messages.
pub(in crate::engine) struct MatchedStatusUpdate<'a> {
    pub notification_id: Uuid,
    pub attempt_id: Uuid,
    pub callback_id: Uuid,
    /// The account (portfolio) that reported it.
    pub scope: &'a str,
    pub update: &'a MessageStatusUpdate,
}

/// Converts a status of a known attempt to a change. `None` for a status this version does not
/// know.
pub(in crate::engine) fn step(
    update: &MessageStatusUpdate,
    notification_id: Uuid,
    attempt_id: Uuid,
    callback_id: Uuid,
) -> Option<NotificationLifecycleChange> {
    let fact: DeliveryFact = update.fact?.into();
    Some(NotificationLifecycleChange {
        notification_id,
        change: NotificationChange::StatusReported {
            attempt: attempt_id,
            fact,
            at: update.at,
            failure: update.failure.clone(),
            pricing: update.pricing.clone(),
            provider_message_id: update.provider_message_id.clone(),
        },
        attempt_id: Some(attempt_id),
        callback_id: Some(callback_id),
        occurrence: None,
        provider_at: Some(update.at),
        detail: update.participant.as_ref().map(|participant| {
            // In a group: one status per member, all for the same message.
            json!({ "participant": participant.user_id.as_ref().or(participant.wa_id.as_ref()) })
        }),
    })
}

/// Learns from statuses about contacts: which user id belongs to which number, and who opted out of
/// marketing.
pub(in crate::engine) async fn learn(
    engine: &Engine,
    tx: &DatabaseTransaction,
    matched: &[MatchedStatusUpdate<'_>],
    report: &NotificationLifecycleReport,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut sightings = Vec::new();
    for matched in matched {
        let Some(updated) = report.updated.get(&matched.notification_id) else {
            continue;
        };
        let facets = &updated.facets;
        let address = facets.address.as_deref().and_then(MessageAddress::parse);
        let recipient = ReportedRecipient {
            address: address.as_ref(),
            wa_id: matched.update.recipient.wa_id.as_deref(),
            user_id: matched.update.recipient.user_id.as_deref(),
            parent_user_id: matched.update.recipient.parent_user_id.as_deref(),
        };
        if let (Some(failure), Some(sender)) = (&matched.update.failure, facets.sender_id) {
            let language = facets.language.as_deref().unwrap_or("");
            let about = FailedMessage {
                sender,
                contact: facets.contact_id,
                recipient,
                scope: matched.scope,
                template: Some((facets.template.as_str(), language))
                    .filter(|(name, _)| !name.is_empty()),
            };
            let (at, callback) = (matched.update.at, Some(matched.callback_id));
            failure_effects::of_failure(engine, tx, about, &failure.value, at, callback, now)
                .await?;
        }
        // The time of the call: equal for all statuses of a message, whichever comes first.
        let at = made_at(matched.attempt_id);
        if let Some(mut sighting) =
            recipient.sighting(matched.scope, at, IdentityEvidenceSource::Status)
        {
            sighting.callback_id = Some(matched.callback_id);
            sighting
                .profile_name
                .clone_from(&matched.update.recipient.name);
            sighting
                .username
                .clone_from(&matched.update.recipient.username);
            sightings.push(sighting);
        }
    }
    identity::meet(engine, tx, &sightings, now).await?;
    Ok(())
}
