//! The addresses of recipients by the channel of their message: a number, or a mailbox.

use uuid::Uuid;

use super::targets::ResolvedRecipient;
use crate::{
    domain::{
        channel::MessageChannel,
        recipient::{MessageAddress, is_staff},
    },
    store::{DatabaseTransaction, StoreError, people},
};

/// Why someone gets no e-mail.
const NO_EMAIL: &str = "the contact has no e-mail address";

/// Why someone gets nothing by phone.
const NO_PHONE: &str = "the contact has no phone number";

/// Why a mailbox gets nothing elsewhere: several people may share it, and who has it may not have the
/// number that is known beside it.
pub(in crate::engine) const ONLY_EMAIL: &str = "an e-mail address gets only e-mail: channel email";

/// Gives each recipient the address of a channel, or the reason why there is none. A recipient who
/// was named by an address of the channel keeps that address.
pub(super) async fn readdress(
    tx: &DatabaseTransaction,
    channel: MessageChannel,
    product: Option<&str>,
    targets: &mut [ResolvedRecipient],
) -> Result<(), StoreError> {
    let is_mailbox = |target: &ResolvedRecipient| {
        let address = target.address.as_deref().and_then(MessageAddress::parse);
        matches!(address, Some(MessageAddress::Email(_)))
    };
    if !channel.reaches_mailboxes() {
        // Those of a message that stands in for a mail have no address at all yet.
        let lacks_one = |target: &ResolvedRecipient| {
            is_mailbox(target) || (target.address.is_none() && target.skipped.is_none())
        };
        for target in targets.iter_mut().filter(|target| lacks_one(target)) {
            if is_named_by_mailbox(target) {
                target.address = None;
                target.skipped = Some(ONLY_EMAIL.to_owned());
                continue;
            }
            let person = match target.contact_id {
                Some(contact) => people::contact(tx, contact).await?,
                None => None,
            };
            target.address = person.and_then(|person| person.phone.or(person.user_id));
            target.skipped = target.address.is_none().then(|| NO_PHONE.to_owned());
        }
        return Ok(());
    }
    let contacts: Vec<Uuid> = targets
        .iter()
        .filter(|target| !is_mailbox(target))
        .filter_map(|target| target.contact_id)
        .collect();
    let mut known = people::emails_of(tx, product, &contacts).await?;
    for target in targets.iter_mut().filter(|target| !is_mailbox(target)) {
        // Without a contact there is a reason already.
        let Some(contact) = target.contact_id else {
            continue;
        };
        let is_staff = is_staff(&target.recipient);
        let emails = known.remove(&contact).unwrap_or_default();
        target.address = emails.clone().of_message(product, is_staff);
        target.skipped = target.address.is_none().then(|| NO_EMAIL.to_owned());
        known.insert(contact, emails);
    }
    Ok(())
}

/// Whether a recipient was named by a mailbox, and not as a person.
pub(super) fn is_named_by_mailbox(target: &ResolvedRecipient) -> bool {
    let named = MessageAddress::parse(&target.recipient);
    matches!(named, Some(MessageAddress::Email(_)))
}
