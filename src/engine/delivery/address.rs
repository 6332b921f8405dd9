//! Resolves the address of a claimed message at the moment of sending: numbers change hands,
//! contacts get new numbers, and dashboard users are linked to other contacts.

use std::collections::HashMap;

use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        channel::MessageChannel,
        identity::ContactAlias,
        recipient::{MessageAddress, is_staff},
        time::Timestamp,
        timeline::TimelineEntryKind,
    },
    store::{
        DatabaseTransaction, StoreError,
        identity::{self, AliasHolder},
        notification::{self, ClaimedNotification, MessageQueueStage, MessageWaitReason},
        people, timeline,
    },
};

/// Hold reason of a message whose recipient has no address.
const NO_ADDRESS: &str = "the contact has no number any more: it waits until another one is set";

/// The same of a mailbox.
const NO_EMAIL: &str =
    "the contact has no e-mail address any more: it waits until another one is set";

/// Resolves the current address of each claimed message. A message without one leaves the claim and
/// is held until its recipient has an address again.
///
/// A message to a named recipient goes to that contact's current address. A message to a phone
/// number or a user id goes to exactly that number or id: its current holder receives it, and that
/// holder's opt-outs and preferences apply.
pub(super) async fn resolve(
    tx: &DatabaseTransaction,
    sender: Uuid,
    claimed: &mut Vec<ClaimedNotification>,
    now: Timestamp,
) -> Result<(), StoreError> {
    relink(tx, claimed).await?;
    if claimed.iter().all(|message| message.is_at_home) {
        return Ok(());
    }
    let mut without = mailboxes(tx, claimed, now).await?;
    let addresses: Vec<ContactAlias> = claimed
        .iter()
        .filter(|message| !message.is_at_home)
        .filter_map(address)
        .collect();
    let holders: HashMap<ContactAlias, AliasHolder> = identity::holders(tx, &addresses)
        .await?
        .into_iter()
        .map(|holder| (holder.alias.clone(), holder))
        .collect();
    let mut waiting: Vec<Uuid> = Vec::new();
    for message in claimed.iter_mut().filter(|message| !message.is_at_home) {
        let Some(contact) = message.contact_id else {
            continue;
        };
        if is_to_mailbox(message) {
            continue;
        }
        let held = address(message).and_then(|alias| holders.get(&alias));
        let is_theirs =
            held.is_some_and(|holder| holder.contact == contact && holder.superseded_at.is_none());
        // Nothing is sent to a deleted contact at any address: the check for refusals sees to that.
        if is_theirs || people::is_deleted(tx, contact).await? {
            continue;
        }
        let owner = match message.recipient.as_deref().and_then(MessageAddress::parse) {
            Some(MessageAddress::Phone(phone)) => {
                Some(people::ensure_phone(tx, &phone, now).await?)
            }
            Some(MessageAddress::UserId(id)) => Some(people::ensure_user_id(tx, &id, now).await?),
            Some(MessageAddress::Email(_)) | None => None,
        };
        if let Some(owner) = owner {
            if owner.contact_id != contact {
                let (id, address) = (message.id, message.address.as_deref());
                notification::set_recipient(tx, id, Some(owner.contact_id), address).await?;
                let detail = json!({ "contact": contact, "owner": owner.contact_id });
                note(tx, id, TimelineEntryKind::NumberChangedHands, detail, now).await?;
                message.contact_id = Some(owner.contact_id);
            } else if let Some(at) = owner.user_id.filter(|_| held.is_some_and(is_replaced)) {
                notification::set_recipient(tx, message.id, Some(contact), Some(&at)).await?;
                note(
                    tx,
                    message.id,
                    TimelineEntryKind::AddressChanged,
                    json!({}),
                    now,
                )
                .await?;
                message.address = Some(at);
            }
            continue;
        }
        let person = people::contact(tx, contact).await?;
        let at = person.and_then(|person| person.phone.or(person.user_id));
        let Some(at) = at else {
            waiting.push(message.id);
            continue;
        };
        notification::set_recipient(tx, message.id, Some(contact), Some(&at)).await?;
        note(
            tx,
            message.id,
            TimelineEntryKind::AddressChanged,
            json!({}),
            now,
        )
        .await?;
        message.address = Some(at);
    }
    for (ids, reason) in [(&waiting, NO_ADDRESS), (&without, NO_EMAIL)] {
        notification::set_aside(
            tx,
            sender,
            ids,
            MessageQueueStage::Claimed,
            MessageWaitReason::Address,
            reason,
            now,
        )
        .await?;
        timeline::note_all(
            tx,
            ids,
            TimelineEntryKind::Held,
            &json!({ "reason": reason }),
            now,
        )
        .await?;
    }
    waiting.append(&mut without);
    claimed.retain(|message| !waiting.contains(&message.id));
    Ok(())
}

/// Whether a message goes to a mailbox.
fn is_to_mailbox(message: &ClaimedNotification) -> bool {
    MessageChannel::parse(&message.channel).is_some_and(MessageChannel::reaches_mailboxes)
}

/// Gives messages to named people the mailboxes that these have now. Returns those of people who
/// have none.
async fn mailboxes(
    tx: &DatabaseTransaction,
    claimed: &mut [ClaimedNotification],
    now: Timestamp,
) -> Result<Vec<Uuid>, StoreError> {
    let mut without = Vec::new();
    let is_moving = |message: &ClaimedNotification| !message.is_at_home && is_to_mailbox(message);
    // One look for each product.
    let mut contacts: HashMap<Option<String>, Vec<Uuid>> = HashMap::new();
    for message in claimed.iter().filter(|message| is_moving(message)) {
        let of_product = contacts.entry(message.product.clone()).or_default();
        of_product.extend(message.contact_id);
    }
    let mut emails = HashMap::with_capacity(contacts.len());
    for (product, contacts) in contacts {
        let found = people::emails_of(tx, product.as_deref(), &contacts).await?;
        emails.insert(product, found);
    }
    for message in claimed.iter_mut().filter(|message| is_moving(message)) {
        let Some(contact) = message.contact_id else {
            continue;
        };
        let product = message.product.as_deref();
        let known = emails
            .get(&message.product)
            .and_then(|known| known.get(&contact))
            .cloned();
        let named = message.recipient.as_deref().unwrap_or_default();
        let is_staff = is_staff(named);
        let at = known.and_then(|emails| emails.of_message(product, is_staff));
        if at.is_none() && people::is_deleted(tx, contact).await? {
            continue;
        }
        let Some(at) = at else {
            without.push(message.id);
            continue;
        };
        if message.address.as_deref() != Some(&at) {
            notification::set_recipient(tx, message.id, Some(contact), Some(&at)).await?;
            let kind = TimelineEntryKind::AddressChanged;
            note(tx, message.id, kind, json!({}), now).await?;
            message.address = Some(at);
        }
    }
    Ok(without)
}

/// A message for a staff member follows the link to the contact the staff member has now.
async fn relink(
    tx: &DatabaseTransaction,
    claimed: &mut [ClaimedNotification],
) -> Result<(), StoreError> {
    for message in claimed {
        let Some(contact) = message.linked_contact_id else {
            continue;
        };
        if message.contact_id.is_some() && message.contact_id != Some(contact) {
            notification::set_recipient(tx, message.id, Some(contact), message.address.as_deref())
                .await?;
            message.contact_id = Some(contact);
            message.is_at_home = false;
        }
    }
    Ok(())
}

async fn note(
    tx: &DatabaseTransaction,
    notification: Uuid,
    kind: TimelineEntryKind,
    detail: serde_json::Value,
    now: Timestamp,
) -> Result<(), StoreError> {
    timeline::note(tx, notification, kind, Some(detail.to_string()), now).await
}

/// Whether the alias is a user id that has been replaced by another one.
fn is_replaced(holder: &AliasHolder) -> bool {
    !holder.alias.is_phone() && holder.superseded_at.is_some()
}

fn address(message: &ClaimedNotification) -> Option<ContactAlias> {
    Some(match MessageAddress::parse(message.address.as_deref()?)? {
        MessageAddress::Phone(phone) => ContactAlias::of_phone(&phone),
        MessageAddress::UserId(user_id) => ContactAlias::of_user_id(&user_id),
        MessageAddress::Email(_) => return None,
    })
}
