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
        DatabaseTransaction, StoreError, conversation, people, sender, suppression,
        template_sync::{self, Name, Part},
    },
};

/// Marketing of a number that is reported as spam is held so long.
const SPAM_SECONDS: i64 = 24 * 60 * 60;

/// What a failed message was.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub sender: Uuid,
    pub contact: Option<Uuid>,
    /// Where it was sent to.
    pub address: Option<&'a Address>,
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
            if let Some(contact) = who_wishes(tx, about, now).await? {
                let wish = Wish {
                    scope: Scope::Marketing,
                    wanted: false,
                    source: "131050",
                    at,
                };
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
            sender::hold_marketing(tx, about.sender, at.plus_seconds(SPAM_SECONDS), now).await?;
        }
        (FailureClass::PaceNumber, ..) => sender::slow_down(tx, about.sender, now).await?,
        (FailureClass::PacePair, Some(contact), _) => {
            // At least as long as the message itself waits.
            let until = at.plus_micros(retry::pair_pause_micros(1));
            let next_at = engine.settings.pair.closed_until(until);
            conversation::close_pair(tx, about.sender, contact, next_at, now).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Of somebody who was deleted meanwhile, the wish is that of their number: the next message to
/// it would go out.
async fn who_wishes(
    tx: &DatabaseTransaction,
    about: About<'_>,
    now: Timestamp,
) -> Result<Option<Uuid>, StoreError> {
    if let Some(contact) = about.contact
        && people::keep(tx, contact).await?
    {
        return Ok(Some(contact));
    }
    let person = match about.address {
        Some(Address::Phone(phone)) => people::ensure_phone(tx, phone, now).await?,
        Some(Address::UserId(user_id)) => people::ensure_user_id(tx, user_id, now).await?,
        None => return Ok(None),
    };
    people::keep_found(tx, person.contact_id).await?;
    Ok(Some(person.contact_id))
}
