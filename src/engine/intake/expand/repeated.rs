//! Leaves out recipients that have had the message before.

use uuid::Uuid;

use super::entry::EventRoutingContext;
use crate::{
    domain::{
        horizon,
        status::{NotificationStatus, StatusGroup},
        time::Timestamp,
    },
    engine::intake::{DuplicateNotification, EventRouteResult, targets::ResolvedRecipient},
    store::{
        StoreError, convert,
        dedupe::{self, DedupeClaim},
        dialect::HexUuid,
        event,
        notification::{self, NewNotification},
    },
};

/// Most duplicates listed in an answer.
const MAX_DUPLICATES: usize = 20;

impl EventRoutingContext<'_> {
    /// Drops those that this route has reached with this event before.
    pub(super) async fn drop_reached(
        &self,
        targets: &mut Vec<ResolvedRecipient>,
    ) -> Result<(), StoreError> {
        let (tx, event, route) = (self.tx, self.row.id, &self.route.name);
        let contacts: Vec<Uuid> = targets
            .iter()
            .filter_map(|target| target.contact_id)
            .collect();
        let reached = event::reached_already(tx, event, route, &contacts).await?;
        // A number whose former contact was deleted has a new contact that has had this message.
        // For an event dated in the future, age says nothing.
        let is_ahead = horizon::is_ahead(Timestamp::from_micros(self.row.created_at), self.now);
        let fresh: Vec<&str> = targets
            .iter()
            .filter(|target| target.contact_id.is_some_and(|id| is_ahead || id > event))
            .filter_map(|target| target.address.as_deref())
            .collect();
        let of_deleted = event::reached_as_deleted(tx, event, route, &fresh).await?;
        let unknown: Vec<&str> = targets
            .iter()
            .filter(|target| target.contact_id.is_none())
            .map(|target| target.recipient.as_str())
            .collect();
        let named = event::named_already(tx, event, route, &unknown).await?;
        targets.retain(|target| match target.contact_id {
            Some(contact) => {
                let is_at = |address: &String| target.address.as_ref() == Some(address);
                !reached.contains(&contact) && !of_deleted.iter().any(is_at)
            }
            None => !named.contains(&target.recipient),
        });
        Ok(())
    }

    /// Drops targets whose deduplication key is taken; the ledger is asked for every notification
    /// that would be sent.
    pub(super) async fn drop_duplicates(
        &self,
        product: Option<&str>,
        new: &mut Vec<NewNotification>,
        result: &mut EventRouteResult,
    ) -> Result<(), StoreError> {
        let Some(key) = &self.plan.dedupe_key else {
            return Ok(());
        };
        let who = |new: &NewNotification| {
            new.contact_id.map_or_else(
                || new.recipient.clone(),
                |contact| contact.simple().to_string(),
            )
        };
        let mut claims: Vec<DedupeClaim> = new
            .iter()
            .filter(|new| new.skipped.is_none())
            .map(|new| DedupeClaim {
                dedupe_key: key.clone(),
                recipient: who(new),
                notification_id: HexUuid(new.id),
            })
            .collect();
        claims.sort_by(|one, other| one.recipient.cmp(&other.recipient));
        let taken = dedupe::claim(
            self.tx,
            product,
            &self.route.name,
            &self.route.route.channel,
            &claims,
            self.now,
        )
        .await?;
        for (recipient, of) in taken {
            new.retain(|new| who(new) != recipient);
            // A contact in two groups is one duplicate.
            let is_known = result.duplicates.iter().any(|known| known.of == of);
            if is_known || result.duplicates.len() >= MAX_DUPLICATES {
                continue;
            }
            let status = notification::in_transaction(self.tx, of)
                .await?
                .map_or(NotificationStatus::Unknown, |row| {
                    convert::status(row.status)
                });
            let hint = format!("duplicate of {of}, {}", status.name());
            let hint = match status.group() {
                StatusGroup::Failed => format!("{hint}: retry it"),
                StatusGroup::Pending | StatusGroup::Sent | StatusGroup::NotSent => hint,
            };
            result
                .duplicates
                .push(DuplicateNotification { of, status, hint });
        }
        Ok(())
    }
}
