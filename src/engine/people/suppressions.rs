//! Addresses that get nothing by a channel: who unsubscribes, and how staff lift it.

use serde_json::json;

use crate::{
    domain::{
        access::AccessBounds, audit_action::AuditAction, channel::MessageChannel,
        email::EmailAddress, time::Timestamp,
    },
    engine::Engine,
    store::{
        StoreError,
        address_suppression::{self, AddressSuppressionReason},
        audit, notification,
    },
};

/// What a link to unsubscribe is about.
#[derive(Clone, Debug)]
pub struct UnsubscribeRequest {
    pub channel: MessageChannel,
    pub address: String,
}

impl UnsubscribeRequest {
    /// The address, masked: the page may be opened by anyone who has the link.
    pub fn masked(&self) -> String {
        EmailAddress::parse(&self.address).map_or_else(|_| "…".to_owned(), |it| it.to_string())
    }
}

/// The address that a link unsubscribes. `None` if the link is not of this installation, or its
/// message has been deleted.
pub async fn of_link(
    engine: &Engine,
    token: &str,
) -> Result<Option<UnsubscribeRequest>, StoreError> {
    let Some(id) = engine.unsubscribed(token) else {
        return Ok(None);
    };
    let row = notification::find(&engine.store, &AccessBounds::All, id).await?;
    Ok(row.and_then(|row| {
        let channel = MessageChannel::parse(&row.channel)?;
        let address = row.address.filter(|_| channel.reaches_mailboxes())?;
        Some(UnsubscribeRequest { channel, address })
    }))
}

/// Stops messages by a channel to an address, except those that cannot be refused. Doing it twice
/// changes nothing.
pub async fn unsubscribe(
    engine: &Engine,
    asked: &UnsubscribeRequest,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reason = AddressSuppressionReason::Unsubscribed;
    engine
        .store
        .write(async |tx| {
            address_suppression::add(tx, asked.channel, &asked.address, reason, None, now).await
        })
        .await?;
    Ok(())
}

/// Lifts a suppression. False if there is none.
pub async fn lift(
    engine: &Engine,
    channel: MessageChannel,
    address: &str,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    engine
        .store
        .write(async |tx| {
            let is_lifted = address_suppression::lift(tx, channel, address).await?;
            if is_lifted {
                let masked = EmailAddress::parse(address)
                    .map_or_else(|_| String::new(), |it| it.to_string());
                let detail = json!({ "channel": channel.name() });
                let action = AuditAction::AddressAllowed;
                audit::note(tx, actor, action, &masked, &detail, now).await?;
            }
            Ok(is_lifted)
        })
        .await
}
