//! Names in the recipients of a route that do not exist.

use serde_json::Value;

use super::EventRoutingCursor;
use crate::{
    domain::{access::AccessBounds, recipient::RecipientSpec},
    engine::intake::{route::plan, targets},
    store::{DatabaseTransaction, StoreError, catalogue::StoredRoute},
};

/// A name in `to` that does not exist.
pub(super) struct UnknownRouteRecipient {
    pub(super) route: String,
    pub(super) reason: String,
    /// The event named it, not the route.
    pub(super) is_chosen: bool,
}

/// Finds unknown groups, staff members and contacts before anything is made: half of an event must
/// not go out before the mistake is found.
pub(super) async fn find(
    tx: &DatabaseTransaction,
    bounds: &AccessBounds,
    routes: &[StoredRoute],
    cursor: &EventRoutingCursor,
    context: &Value,
) -> Result<Vec<UnknownRouteRecipient>, StoreError> {
    let mut unknown = Vec::new();
    for route in routes.iter().filter(|route| cursor.wants(route)) {
        let Ok(plan) = plan(&route.route, context) else {
            continue;
        };
        for planned in &plan.recipients {
            let Ok(spec) = RecipientSpec::parse(&planned.entry) else {
                continue;
            };
            let bounds = nameable(planned.is_chosen, bounds);
            if let Some(reason) = targets::find_unknown(tx, bounds, &spec).await? {
                unknown.push(UnknownRouteRecipient {
                    route: route.name.clone(),
                    reason: reason.0,
                    is_chosen: planned.is_chosen,
                });
                break;
            }
        }
    }
    Ok(unknown)
}

/// The bounds of an entry: a catalogue's own entries may name anyone.
pub(super) const fn nameable(is_chosen: bool, bounds: &AccessBounds) -> &AccessBounds {
    if is_chosen {
        bounds
    } else {
        &AccessBounds::All
    }
}
