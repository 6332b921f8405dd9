//! Statuses become facts of attempts; what is of nobody we know is parked.

use serde_json::json;
use uuid::Uuid;

use super::{FOREIGN, Work};
use crate::{
    domain::{facts::Fact, notification::Change, recipient::Address, time::Timestamp},
    engine::{
        Engine,
        consequence::{self, About},
        hold,
        identity::{self, Recipient},
        transition::{Report, Step},
    },
    providers::{Dead, ItemKind, Update},
    store::{
        DatabaseTransaction, StoreError,
        attempt::{self, Lookup},
        dialect::Id,
        identity::Source,
        made_at, new_id, parked,
    },
};

/// A status of a message of ours.
pub(in crate::engine) struct Told<'a> {
    pub notification_id: Uuid,
    pub attempt_id: Uuid,
    pub callback_id: Uuid,
    /// The account that it was said in.
    pub scope: &'a str,
    pub update: &'a Update,
}

/// Matches statuses to attempts, and parks the rest.
pub(super) async fn steps<'a>(
    engine: &Engine,
    tx: &DatabaseTransaction,
    work: &[&'a Work],
    now: Timestamp,
) -> Result<(Vec<Step>, Vec<Told<'a>>, Vec<(Uuid, Dead)>), StoreError> {
    let updates: Vec<(&'a Work, &'a Update)> = work
        .iter()
        .filter_map(|work| match &work.item.kind {
            ItemKind::Update(update) => Some((*work, update.as_ref())),
            _ => None,
        })
        .collect();
    if updates.is_empty() {
        return Ok((Vec::new(), Vec::new(), Vec::new()));
    }
    let lookups: Vec<Lookup> = updates
        .iter()
        .enumerate()
        .map(|(position, (_, update))| Lookup {
            position,
            our_id: update.our_id.map(Id),
            message: update.provider_message_id.clone(),
        })
        .collect();
    let mut found: Vec<Option<attempt::Found>> = vec![None; updates.len()];
    for known in attempt::find(tx, &lookups).await? {
        if let Some(slot) = found.get_mut(known.position) {
            *slot = Some(known);
        }
    }
    let mut steps = Vec::with_capacity(updates.len());
    let mut told = Vec::with_capacity(updates.len());
    let (mut unknown, mut foreign) = (Vec::<parked::New>::new(), Vec::new());
    let ring = engine.keyring();
    for ((work, update), found) in updates.into_iter().zip(found) {
        match found {
            Some(found)
                if !ring.speaks_for(work.item.phone_number_id.as_deref(), found.sender_id) =>
            {
                let dead = Dead {
                    pointer: work.item.pointer.clone(),
                    reason: FOREIGN.to_owned(),
                };
                foreign.push((work.callback_id, dead));
            }
            Some(found) => {
                steps.extend(step(
                    update,
                    found.notification_id,
                    found.attempt_id,
                    work.callback_id,
                ));
                told.push(Told {
                    notification_id: found.notification_id,
                    attempt_id: found.attempt_id,
                    callback_id: work.callback_id,
                    scope: work.item.account_id.as_deref().unwrap_or_default(),
                    update,
                });
            }
            None => unknown.push(parked::New {
                id: Id(new_id(now)),
                callback_id: Id(work.callback_id),
                pointer: work.item.pointer.clone(),
                phone_number_id: work.item.phone_number_id.clone(),
                message: update.provider_message_id.clone(),
                our_id: update.our_id.map(Id),
                update_json: serde_json::to_string(update).unwrap_or_default(),
            }),
        }
    }
    if !foreign.is_empty() {
        tracing::warn!(
            event = "callback.foreign",
            count = foreign.len(),
            "statuses spoke of another sender's messages: kept as dead letters"
        );
    }
    if !unknown.is_empty() {
        metrics::counter!("herald_callback_parked_total")
            .increment(u64::try_from(unknown.len()).unwrap_or(0));
        parked::insert(tx, &unknown, now).await?;
        let ids = unknown.iter().filter_map(|new| new.our_id.map(|id| id.0));
        hold::on_unknown_attempts(engine, tx, ids, now).await?;
    }
    Ok((steps, told, foreign))
}

/// A status of a known attempt as a change. A status this version does not know is none.
pub(in crate::engine) fn step(
    update: &Update,
    notification_id: Uuid,
    attempt_id: Uuid,
    callback_id: Uuid,
) -> Option<Step> {
    let fact: Fact = update.fact?.into();
    Some(Step {
        notification_id,
        change: Change::Told {
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
            // Of a group: one status for each member, all of one message.
            json!({ "participant": participant.user_id.as_ref().or(participant.wa_id.as_ref()) })
        }),
    })
}

/// What statuses say about people: which id goes with a number, and who wants no more marketing.
pub(in crate::engine) async fn learn(
    engine: &Engine,
    tx: &DatabaseTransaction,
    told: &[Told<'_>],
    report: &Report,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut sightings = Vec::new();
    for told in told {
        let Some(heard) = report.heard.get(&told.notification_id) else {
            continue;
        };
        let facets = &heard.facets;
        let address = facets.address.as_deref().and_then(Address::parse);
        let recipient = Recipient {
            address: address.as_ref(),
            wa_id: told.update.recipient.wa_id.as_deref(),
            user_id: told.update.recipient.user_id.as_deref(),
            parent_user_id: told.update.recipient.parent_user_id.as_deref(),
        };
        if let (Some(failure), Some(sender)) = (&told.update.failure, facets.sender_id) {
            let language = facets.language.as_deref().unwrap_or("");
            let about = About {
                sender,
                contact: facets.contact_id,
                recipient,
                scope: told.scope,
                template: Some((facets.template.as_str(), language))
                    .filter(|(name, _)| !name.is_empty()),
            };
            let (at, callback) = (told.update.at, Some(told.callback_id));
            consequence::of_failure(engine, tx, about, &failure.value, at, callback, now).await?;
        }
        // When the call was made: the same for all statuses of a message, whichever comes first.
        let at = made_at(told.attempt_id);
        if let Some(mut sighting) = recipient.sighting(told.scope, at, Source::Status) {
            sighting.callback_id = Some(told.callback_id);
            sighting
                .profile_name
                .clone_from(&told.update.recipient.name);
            sighting
                .username
                .clone_from(&told.update.recipient.username);
            sightings.push(sighting);
        }
    }
    identity::meet(engine, tx, &sightings, now).await?;
    Ok(())
}
