//! Loads the context of rule conditions and parameters: notification, contact, event, failure.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    StoreError,
    notification::read_failure,
    people::{self, RecipientContact},
    sender,
};
use crate::{domain::time::Timestamp, store::DatabaseTransaction};

/// The context of each notification, by id. Only for rules that use it; a batch without such rules
/// loads nothing.
pub async fn load(
    tx: &DatabaseTransaction,
    wanted: &[Uuid],
) -> Result<Vec<(Uuid, Value)>, StoreError> {
    let found = entity::notification::Entity::find()
        .filter(entity::notification::Column::Id.is_in(wanted.iter().copied()))
        .all(tx)
        .await?;
    let mut contexts = Vec::with_capacity(found.len());
    for row in found {
        let mut person = match row.contact_id {
            Some(id) => people::contact(tx, id).await?,
            None => None,
        };
        if let (Some(product), Some(person)) = (&row.product, &mut person) {
            let staff = row
                .recipient
                .as_deref()
                .is_some_and(|it| it.starts_with("user:"));
            as_known(tx, product, row.address.as_deref(), staff, person).await?;
        }
        let sender = match row.sender_id {
            Some(id) => sender::find(tx, id).await?.map(|sender| sender.name),
            None => None,
        };
        let event = match row.event_id {
            Some(id) => super::event::find(tx, id).await?,
            None => None,
        };
        let text = |json: &str| serde_json::from_str::<Value>(json).unwrap_or(Value::Null);
        let failure = read_failure(row.failure.as_deref());
        contexts.push((
            row.id,
            json!({
                "notification": {
                    "id": row.id,
                    "template": row.template,
                    "category": row.category,
                    "channel": row.channel,
                    "sender": sender,
                    "recipient": row.recipient,
                    "reference": row.reference,
                    "labels": text(&row.labels),
                    "params": text(&row.params),
                    "event_type": row.event_type,
                    "generation": row.generation,
                    "created_at": Timestamp::from_micros(row.created_at).to_string(),
                },
                // Nothing is known about a deleted contact: an alert that would name it is sent all
                // the same.
                "contact": row.contact_id.map(|_| json!({
                    "name": person.as_ref().map(|it| &it.name),
                    "phone": person.as_ref().map(|it| &it.phone),
                    "language": person.as_ref().map(|it| &it.language),
                })),
                "event": event.map(|event| json!({
                    "id": event.external_id,
                    "source": event.source,
                    "type": event.event_type,
                    "subject": event.subject,
                    // Sealed data are for the message alone.
                    "data": if event.sealed { json!({}) } else { text(&event.data) },
                })),
                "failure": failure.map(|failure| json!({
                    "code": failure.code,
                    "title": failure.title,
                    "details": failure.details,
                    "meaning": failure.meaning,
                    "remedy": failure.remedy,
                })),
            }),
        ));
    }
    Ok(contexts)
}

/// Reduces a person's data to those that the message's product knows.
async fn as_known(
    tx: &DatabaseTransaction,
    product: &str,
    address: Option<&str>,
    is_staff: bool,
    person: &mut RecipientContact,
) -> Result<(), StoreError> {
    let own = people::own_names(tx, product, &[person.contact_id]).await?;
    let own = own.get(&person.contact_id).cloned().unwrap_or_default();
    if is_staff || own.is_of_catalogue {
        person.name = own.name.or_else(|| person.name.take());
        person.language = own.language.or_else(|| person.language.take());
        return Ok(());
    }
    person.name = own.name;
    person.language = own.language;
    let number = address.filter(|address| address.starts_with('+'));
    person.phone = number.map(str::to_owned);
    Ok(())
}
