//! What a failure says about more than its message: a wish, a template, a number,
//! a pair. The same for an answer and for a `failed` callback.

use uuid::Uuid;

use super::Engine;
use crate::{
    domain::{
        failure::{Failure, FailureClass},
        preference::{Scope, Wish},
        recipient::Address,
        retry,
        time::Timestamp,
    },
    store::{
        DatabaseTransaction, StoreError,
        alias::{self, Alias},
        conversation, people, sender, suppression,
        template_sync::{self, Name, Part},
    },
};

/// What a failed message was.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub sender: Uuid,
    pub contact: Option<Uuid>,
    /// Where it was sent to.
    pub address: Option<&'a Address>,
    /// What else its recipient is called.
    pub names: &'a [Alias],
    /// Name and language, if it was made of a template.
    pub template: Option<(&'a str, &'a str)>,
}

/// Notes what a failure of `at` means for others.
pub(super) async fn of_failure(
    engine: &Engine,
    tx: &DatabaseTransaction,
    about: About<'_>,
    failure: &Failure,
    at: Timestamp,
    callback: Option<Uuid>,
    now: Timestamp,
) -> Result<(), StoreError> {
    match (failure.class, about.contact, about.template) {
        (FailureClass::OptedOut, ..) => {
            let wish = Wish {
                scope: Scope::Marketing,
                wanted: false,
                source: "131050",
                at,
            };
            for contact in who_wishes(tx, about, now).await? {
                suppression::set(tx, contact, &wish, callback, now).await?;
            }
        }
        (FailureClass::TemplatePaused | FailureClass::TemplateDisabled, _, Some(template)) => {
            let account = sender::find(tx, about.sender)
                .await?
                .and_then(|row| row.waba_id);
            let name = Name {
                account_id: account.as_deref().unwrap_or(""),
                name: template.0,
                language: template.1,
            };
            let status = match failure.class {
                FailureClass::TemplatePaused => "PAUSED",
                _ => "DISABLED",
            };
            let reason = failure.counted_as();
            template_sync::ensure(tx, name, None, now).await?;
            template_sync::set(tx, name, Part::Status, status, Some(&reason), at).await?;
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
            conversation::close_pair(tx, about.sender, contact, next_at, now).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Of somebody who was deleted meanwhile, the wish is of whoever has their names: the next
/// message to one of these would go out.
async fn who_wishes(
    tx: &DatabaseTransaction,
    about: About<'_>,
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    if let Some(contact) = about.contact
        && people::keep(tx, contact).await?
    {
        return Ok(vec![contact]);
    }
    let person = match about.address {
        Some(Address::Phone(phone)) => people::ensure_phone(tx, phone, now).await?,
        Some(Address::UserId(user_id)) => people::ensure_user_id(tx, user_id, now).await?,
        None => return Ok(Vec::new()),
    };
    people::keep_found(tx, person.contact_id).await?;
    for name in about.names {
        alias::add(tx, person.contact_id, name, None, now).await?;
    }
    let mut wishing = vec![person.contact_id];
    for known in alias::find_and_keep(tx, about.names).await? {
        if known.superseded_at.is_none() && !wishing.contains(&known.contact_id) {
            wishing.push(known.contact_id);
        }
    }
    Ok(wishing)
}
