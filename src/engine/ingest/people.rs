//! Resolves the contacts that items are about, and applies their opt-outs and preferences.

use std::collections::HashMap;

use super::{Work, account_updates};
use crate::{
    domain::{
        identity::{Alias, Fact},
        own_event::{OwnEvent, payload::ContactChoice},
        preference::Wish,
        time::Timestamp,
    },
    engine::{
        lifecycle::Report,
        people::identity::{self, Met},
        runtime::{sighting::Sighting, turn::Turn},
    },
    providers::{Inbound, PersonIds},
    store::{StoreError, identity::Source},
};

/// The sender contact of each message, by position.
pub(super) async fn of_messages(
    Turn { engine, tx, now }: Turn<'_>,
    messages: &[(&Work, &Inbound)],
) -> Result<HashMap<usize, Met>, StoreError> {
    let sightings: Vec<Sighting> = messages
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

fn of_message(work: &Work, message: &Inbound) -> Sighting {
    let mut sighting = Sighting::of(
        &message.person,
        work.item.account_id.as_deref(),
        message.at,
        Source::Message,
        work.callback_id,
    );
    // A card that answers our request is verified evidence for the number and the user id.
    if let (Some(shared), Some(user_id)) = (&message.shared_phone, &message.person.user_id) {
        let phone = Alias::of_wa_id(shared);
        let id = Alias {
            kind: crate::domain::identity::AliasKind::UserId,
            value: user_id.clone(),
        };
        sighting.facts.push(Fact::Together { phone, id });
        sighting.source = Source::Card;
    }
    sighting
}

/// The contact that a preference belongs to; absent if the item names none.
pub(super) async fn of_preference(
    Turn { engine, tx, now }: Turn<'_>,
    person: &PersonIds,
    work: &Work,
    at: Timestamp,
) -> Result<Option<Met>, StoreError> {
    let sighting = Sighting::of(
        person,
        work.item.account_id.as_deref(),
        at,
        Source::Preference,
        work.callback_id,
    );
    let met = identity::meet(engine, tx, &[sighting], now).await?;
    Ok(met.into_iter().next().flatten())
}

/// Stores an opt-out or preference, and raises its event if it is new.
pub(super) async fn note_wish(
    turn: Turn<'_>,
    (met, person): (Met, &PersonIds),
    wish: &Wish,
    work: &Work,
    report: &mut Report,
) -> Result<bool, StoreError> {
    let Turn { engine, tx, now } = turn;
    let aliases = identity::aliases(person);
    let callback = Some(work.callback_id);
    if !identity::state(engine, tx, met, &aliases, wish, callback, now).await? {
        return Ok(false);
    }
    let data = ContactChoice {
        contact: met.contact,
        scope: wish.scope.name().to_owned(),
        source: wish.source.to_owned(),
    };
    let event = if wish.wanted {
        OwnEvent::ContactOptedIn(data)
    } else {
        OwnEvent::ContactOptedOut(data)
    };
    account_updates::raise(turn, work, &event, report).await?;
    Ok(true)
}
