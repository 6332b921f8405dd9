//! Resolves the contacts that items are about, and applies their opt-outs and preferences.

use std::collections::HashMap;

use super::{CallbackWorkItem, account_updates};
use crate::{
    domain::{
        identity::{ContactAlias, ContactAliasFact},
        own_event::{HeraldEvent, payload::ContactConsentData},
        preference::ConsentChange,
        time::Timestamp,
    },
    engine::{
        lifecycle::NotificationLifecycleReport,
        people::identity::{self, IdentifiedContact},
        runtime::{sighting::PersonSighting, turn::TransactionContext},
    },
    providers::{InboundMessageItem, PersonIds},
    store::{StoreError, identity::IdentityEvidenceSource},
};

/// The sender contact of each message, by position.
pub(super) async fn of_messages(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    messages: &[(&CallbackWorkItem, &InboundMessageItem)],
) -> Result<HashMap<usize, IdentifiedContact>, StoreError> {
    let sightings: Vec<PersonSighting> = messages
        .iter()
        .map(|(work, message)| of_message(work, message))
        .collect();
    let met = identity::meet(engine, tx, &sightings, now).await?;
    Ok(met
        .into_iter()
        .enumerate()
        .filter_map(|(position, met)| Some((position, met?)))
        .collect())
}

fn of_message(work: &CallbackWorkItem, message: &InboundMessageItem) -> PersonSighting {
    let mut sighting = PersonSighting::of(
        &message.person,
        work.item.account_id.as_deref(),
        message.at,
        IdentityEvidenceSource::Message,
        work.callback_id,
    );
    // A card that answers our request is verified evidence for the number and the user id.
    if let (Some(shared), Some(user_id)) = (&message.shared_phone, &message.person.user_id) {
        let phone = ContactAlias::of_wa_id(shared);
        let id = ContactAlias {
            kind: crate::domain::identity::ContactAliasKind::UserId,
            value: user_id.clone(),
        };
        sighting
            .facts
            .push(ContactAliasFact::Together { phone, id });
        sighting.source = IdentityEvidenceSource::Card;
    }
    sighting
}

/// The contact that a preference belongs to; absent if the item names none.
pub(super) async fn of_preference(
    TransactionContext { engine, tx, now }: TransactionContext<'_>,
    person: &PersonIds,
    work: &CallbackWorkItem,
    at: Timestamp,
) -> Result<Option<IdentifiedContact>, StoreError> {
    let sighting = PersonSighting::of(
        person,
        work.item.account_id.as_deref(),
        at,
        IdentityEvidenceSource::Preference,
        work.callback_id,
    );
    let met = identity::meet(engine, tx, &[sighting], now).await?;
    Ok(met.into_iter().next().flatten())
}

/// Stores an opt-out or preference, and raises its event if it is new.
pub(super) async fn note_consent(
    turn: TransactionContext<'_>,
    (met, person): (IdentifiedContact, &PersonIds),
    wish: &ConsentChange,
    work: &CallbackWorkItem,
    report: &mut NotificationLifecycleReport,
) -> Result<bool, StoreError> {
    let TransactionContext { engine, tx, now } = turn;
    let aliases = identity::aliases(person);
    let callback = Some(work.callback_id);
    if !identity::state(engine, tx, met, &aliases, wish, callback, now).await? {
        return Ok(false);
    }
    let data = ContactConsentData {
        contact: met.contact,
        scope: wish.scope.name().to_owned(),
        source: wish.source.to_owned(),
    };
    let event = if wish.wanted {
        HeraldEvent::ContactOptedIn(data)
    } else {
        HeraldEvent::ContactOptedOut(data)
    };
    account_updates::raise(turn, work, &event, report).await?;
    Ok(true)
}
