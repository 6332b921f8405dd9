//! Herald's own events about a conversation: between one person and one sender.

use serde_json::Value;
use uuid::Uuid;

use super::EventRoutingCursor;
use crate::{
    domain::own_event::{HeraldEventType, SOURCE},
    store::{DatabaseTransaction, StoreError, access, catalogue::StoredRoute, sender},
};

/// Why a route of another product does not fire.
pub(super) const OF_ANOTHER_PRODUCT: &str = "it is about a sender of another product";

/// The sender of the conversation that an event is about; `None` for other events, and if there is no
/// such sender.
pub(super) async fn sender_of(
    tx: &DatabaseTransaction,
    row: &entity::event::Model,
    data: Option<&Value>,
) -> Result<Option<Uuid>, StoreError> {
    let is_of_conversation = row.source == SOURCE
        && HeraldEventType::parse(&row.event_type).is_some_and(HeraldEventType::is_of_conversation);
    let name = data.and_then(|data| data.get("sender")?.as_str());
    let Some(name) = name.filter(|_| is_of_conversation) else {
        return Ok(None);
    };
    Ok(sender::named(tx, name).await?.map(|row| row.id))
}

/// The names of the routes to run that belong to products which may not use this sender.
pub(super) async fn routes_of_others(
    tx: &DatabaseTransaction,
    routes: &[StoredRoute],
    cursor: &EventRoutingCursor,
    sender: Uuid,
) -> Result<Vec<String>, StoreError> {
    let mut others = Vec::new();
    for route in routes.iter().filter(|route| cursor.wants(route)) {
        let Some(catalogue) = &route.catalogue else {
            continue;
        };
        let Some(product) = access::product_of_catalogue(tx, catalogue).await? else {
            continue;
        };
        let senders = access::senders_of_product(tx, &product).await?;
        if !senders.is_empty() && !senders.contains(&sender) {
            others.push(route.name.clone());
        }
    }
    Ok(others)
}
