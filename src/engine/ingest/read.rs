//! Reads the items of a body.

use uuid::Uuid;

use super::CallbackWorkItem;
use crate::{
    engine::Engine,
    providers::{CallbackItem, DeadLetterItem},
    store::{callback::CallbackBody, made_at},
};

/// Reason of a dead letter that another app has signed.
pub(super) const FOREIGN: &str = "signed by a different app than the one its number belongs to";

/// The items of a body, and those that cannot be applied: an erased one has none. A signature is
/// valid only for the numbers and accounts of its own app.
pub(super) fn read(
    engine: &Engine,
    id: Uuid,
    endpoint: &str,
    body: &CallbackBody,
) -> (Vec<CallbackWorkItem>, Vec<DeadLetterItem>) {
    if body.is_erased {
        return (Vec::new(), Vec::new());
    }
    let Some(receiver) = engine.providers().receiver(endpoint) else {
        let unread = DeadLetterItem {
            pointer: String::new(),
            reason: format!("this version takes no callbacks of the endpoint {endpoint}"),
        };
        return (Vec::new(), vec![unread]);
    };
    let parsed = receiver.parse(&body.body, made_at(id));
    let ring = engine.keyring();
    let signed_by = body.signed_by.as_deref();
    let mut items = parsed.items;
    // An item that names no sender is about the only one whose secret proved the callback.
    let only = signed_by.and_then(|labels| ring.only_number_of(labels));
    for item in &mut items {
        if item.endpoint_id.is_none() && item.account_id.is_none() {
            item.endpoint_id = only.map(str::to_owned);
        }
    }
    let (own, foreign): (Vec<CallbackItem>, Vec<CallbackItem>) =
        items.into_iter().partition(|item| {
            ring.is_own_word(
                signed_by,
                item.endpoint_id.as_deref(),
                item.account_id.as_deref(),
            )
        });
    let mut dead = parsed.dead;
    dead.extend(foreign.into_iter().map(|item| DeadLetterItem {
        pointer: item.pointer,
        reason: FOREIGN.to_owned(),
    }));
    let work = own.into_iter().map(|item| CallbackWorkItem {
        callback_id: id,
        item,
    });
    (work.collect(), dead)
}
