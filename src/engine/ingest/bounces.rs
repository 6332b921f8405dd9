//! Applies bounces: a mail that was accepted, and could not be delivered after all.

use uuid::Uuid;

use crate::{
    domain::{
        facts::DeliveryFact,
        failure::DeliveryFailure,
        notification::{NotificationChange, VersionedValue},
        recipient::MessageAddress,
        time::Timestamp,
    },
    engine::{
        Engine,
        delivery::failure_effects::{self, FailedMessage},
        lifecycle::{self, NotificationLifecycleChange},
        people::identity::ReportedRecipient,
    },
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, AttemptLookup, AttemptMatch},
        dialect::HexUuid,
    },
};

/// Applies the bounce of one of these attempts, the first that is known. Returns its notification;
/// `None` if none is known (yet). Doing it twice changes nothing.
pub async fn apply(
    engine: &Engine,
    attempts: &[Uuid],
    failure: &DeliveryFailure,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    engine
        .store
        .write(async |tx| {
            let Some(known) = find(tx, attempts).await? else {
                return Ok(None);
            };
            fail(engine, tx, known, failure, now).await?;
            Ok(Some(known.notification_id))
        })
        .await
}

async fn find(
    tx: &DatabaseTransaction,
    attempts: &[Uuid],
) -> Result<Option<AttemptMatch>, StoreError> {
    let lookups: Vec<AttemptLookup> = attempts
        .iter()
        .enumerate()
        .map(|(position, id)| AttemptLookup {
            position,
            our_id: Some(HexUuid(*id)),
            message: String::new(),
        })
        .collect();
    if lookups.is_empty() {
        return Ok(None);
    }
    let found = attempt::find(tx, &lookups).await?;
    Ok(found.into_iter().min_by_key(|known| known.position))
}

async fn fail(
    engine: &Engine,
    tx: &DatabaseTransaction,
    known: AttemptMatch,
    failure: &DeliveryFailure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let step = NotificationLifecycleChange {
        attempt_id: Some(known.attempt_id),
        ..NotificationLifecycleChange::new(
            known.notification_id,
            NotificationChange::StatusReported {
                attempt: known.attempt_id,
                fact: DeliveryFact::Failed,
                at: now,
                failure: Some(VersionedValue {
                    at: now,
                    digest: failure.title.clone(),
                    value: failure.clone(),
                }),
                pricing: None,
                provider_message_id: String::new(),
            },
        )
    };
    let report = lifecycle::run(engine, tx, &[step], now).await?;
    let Some(updated) = report.updated.get(&known.notification_id) else {
        return Ok(());
    };
    let address = updated
        .facets
        .address
        .as_deref()
        .and_then(MessageAddress::parse);
    let about = FailedMessage {
        sender: known.sender_id,
        contact: updated.facets.contact_id,
        recipient: ReportedRecipient {
            address: address.as_ref(),
            wa_id: None,
            user_id: None,
            parent_user_id: None,
        },
        scope: "",
        template: None,
    };
    failure_effects::of_failure(engine, tx, about, failure, now, None, now).await
}
