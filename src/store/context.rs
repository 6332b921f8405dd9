//! What rule conditions and parameters may look at: notification, contact, event, failure.

use crate::store::DatabaseTransaction;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{StoreError, notification::read_failure, people, sender};
use crate::domain::time::Timestamp;

/// The context of each notification, by id. For rules that ask; a batch without
/// such rules loads nothing.
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
        let person = match row.contact_id {
            Some(id) => people::contact(tx, id).await?,
            None => None,
        };
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
                // Of who was deleted nothing is known: an alert that would name them is sent all the same.
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
                    // What is secret is for the message alone.
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
