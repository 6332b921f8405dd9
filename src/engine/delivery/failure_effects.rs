//! Effects of a failure beyond its own message: an opt-out, a paused template, a slower sender, a
//! closed pair. The same for the response to a call and for a `failed` callback.

use uuid::Uuid;

use crate::{
    domain::{
        channel::MessageChannel,
        failure::{DeliveryFailure, FailureClass},
        identity::ContactAlias,
        preference::{ConsentChange, ConsentScope},
        recipient::MessageAddress,
        retry,
        template_status::TemplateStatus,
        time::Timestamp,
    },
    engine::{
        Engine,
        people::identity::{self, ReportedRecipient},
        runtime::sighting::PersonSighting,
    },
    store::{
        DatabaseTransaction, StoreError,
        address_suppression::{self, AddressSuppressionReason},
        identity::IdentityEvidenceSource,
        pair, people, sender,
        template_sync::{self, AccountTemplateName, TemplateSyncProperty},
    },
};

/// The failed message.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct FailedMessage<'a> {
    pub sender: Uuid,
    pub contact: Option<Uuid>,
    pub recipient: ReportedRecipient<'a>,
    /// The account (portfolio) that reported the failure.
    pub scope: &'a str,
    /// Name and language of its template, if it has one.
    pub template: Option<(&'a str, &'a str)>,
}

/// Records the effects of a failure that happened at `at`.
pub(in crate::engine) async fn of_failure(
    engine: &Engine,
    tx: &DatabaseTransaction,
    about: FailedMessage<'_>,
    failure: &DeliveryFailure,
    at: Timestamp,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<(), StoreError> {
    match (failure.class, about.contact, about.template) {
        (FailureClass::OptedOut, ..) => {
            let wish = ConsentChange {
                scope: ConsentScope::Marketing,
                wanted: false,
                source: "131050",
                at,
            };
            let aliases = about.recipient.aliases();
            // If the contact was deleted meanwhile, the opt-out applies to the current holder of
            // the number: the next message to it would otherwise go out.
            let person = |alias: &ContactAlias| PersonSighting {
                aliases: vec![alias.clone()],
                facts: Vec::new(),
                scope: about.scope.to_owned(),
                at,
                source: IdentityEvidenceSource::Status,
                callback_id: callback,
                is_person: true,
                profile_name: None,
                username: None,
            };
            let tie = about
                .recipient
                .sighting(about.scope, at, IdentityEvidenceSource::Status);
            let sightings: Vec<PersonSighting> =
                tie.into_iter().chain(aliases.iter().map(person)).collect();
            let met = identity::meet(engine, tx, &sightings, now).await?;
            // Each alias separately: it may be undecided whether they belong to one person.
            for (sighting, met) in sightings.iter().zip(met) {
                if let ([_], Some(met)) = (sighting.aliases.as_slice(), met) {
                    let aliases = &sighting.aliases;
                    identity::state(engine, tx, met, aliases, &wish, callback, now).await?;
                }
            }
        }
        (FailureClass::TemplatePaused | FailureClass::TemplateDisabled, _, Some(template)) => {
            let account = sender::find(tx, about.sender)
                .await?
                .and_then(|row| row.account_id);
            let name = AccountTemplateName {
                account_id: account.as_deref().unwrap_or(""),
                name: template.0,
                language: template.1,
            };
            let status = match failure.class {
                FailureClass::TemplatePaused => TemplateStatus::Paused,
                _ => TemplateStatus::Disabled,
            };
            let reason = failure.counted_as();
            template_sync::ensure(tx, name, None, now).await?;
            template_sync::set(
                tx,
                name,
                TemplateSyncProperty::Status,
                status.name(),
                Some(&reason),
                at,
            )
            .await?;
        }
        (FailureClass::AddressRejected, ..) => {
            if let Some(MessageAddress::Email(address)) = about.recipient.address {
                let reason = AddressSuppressionReason::Bounced;
                let detail = failure.details.as_deref().unwrap_or(&failure.title);
                let (channel, address) = (MessageChannel::Email, address.as_str());
                address_suppression::add(tx, channel, address, reason, Some(detail), now).await?;
            }
        }
        (FailureClass::Spam, ..) => {
            sender::hold_marketing(tx, about.sender, at.plus_seconds(retry::SPAM_SECONDS), now)
                .await?;
        }
        (FailureClass::PaceNumber, ..) => sender::slow_down(tx, about.sender, now).await?,
        (FailureClass::PacePair, Some(contact), _) if people::keep(tx, contact).await? => {
            // At least as long as the message itself waits.
            let until = at.plus_micros(retry::pair_pause_micros(1));
            let next_at = engine.settings.pair.closed_until(until);
            pair::close_pair(tx, about.sender, contact, next_at, now).await?;
        }
        _ => {}
    }
    Ok(())
}
