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
    // An item that names no sender is about one of those whose secret proved the callback.
    let signers = signed_by
        .map(|labels| ring.senders_of_signer(labels, receiver.kind()))
        .unwrap_or_default();
    if let [only] = signers.as_slice() {
        for item in items.iter_mut().filter(|item| is_unnamed(item)) {
            item.endpoint_id.clone_from(&only.endpoint_id);
        }
    }
    let signers: Vec<Uuid> = if receiver.names_senders() {
        Vec::new()
    } else {
        signers.into_iter().map(|sender| sender.id).collect()
    };
    let (own, foreign): (Vec<CallbackItem>, Vec<CallbackItem>) =
        items.into_iter().partition(|item| {
            (is_unnamed(item) && !signers.is_empty())
                || ring.is_own_word(
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
        senders: if is_unnamed(&item) {
            signers.clone()
        } else {
            Vec::new()
        },
        item,
    });
    (work.collect(), dead)
}

/// Whether an item says of no sender that it is about it.
const fn is_unnamed(item: &CallbackItem) -> bool {
    item.endpoint_id.is_none() && item.account_id.is_none()
}
