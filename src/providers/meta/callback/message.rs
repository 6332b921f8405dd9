//! Parses `messages[]`: what people write and tap (Meta, "Webhooks: messages").

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MetaChangeContext, complete, kind_of, read};
use crate::{
    domain::{recipient::WhatsAppUserId, time::Timestamp},
    providers::{
        CallbackItemContent, InboundMessageItem, PersonIds, PersonIdsChange,
        meta::lenient::LenientText,
    },
};

#[derive(Deserialize)]
struct MetaMessageItem<'a> {
    #[serde(default)]
    id: LenientText,
    /// The number; absent for people with a username.
    #[serde(default)]
    from: LenientText,
    #[serde(default)]
    from_user_id: LenientText,
    #[serde(default)]
    from_parent_user_id: LenientText,
    #[serde(default)]
    group_id: LenientText,
    #[serde(default)]
    timestamp: LenientText,
    #[serde(default, rename = "type")]
    kind: LenientText,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    referral: Option<&'a RawValue>,
    // The object named after `type`; a tap, an order or an error may accompany it.
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    video: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
    #[serde(borrow, default)]
    document: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sticker: Option<&'a RawValue>,
    #[serde(borrow, default)]
    location: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contacts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    interactive: Option<&'a RawValue>,
    #[serde(borrow, default)]
    button: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reaction: Option<&'a RawValue>,
    #[serde(borrow, default)]
    order: Option<&'a RawValue>,
    #[serde(borrow, default)]
    system: Option<&'a RawValue>,
    #[serde(borrow, default)]
    edit: Option<&'a RawValue>,
    #[serde(borrow, default)]
    revoke: Option<&'a RawValue>,
}

impl MetaMessageItem<'_> {
    /// The kind of the only object in it, if there is exactly one.
    fn only_object(&self) -> Option<&'static str> {
        let objects = [
            ("text", self.text),
            ("image", self.image),
            ("video", self.video),
            ("audio", self.audio),
            ("document", self.document),
            ("sticker", self.sticker),
            ("location", self.location),
            ("contacts", self.contacts),
            ("interactive", self.interactive),
            ("button", self.button),
            ("reaction", self.reaction),
            ("order", self.order),
            ("system", self.system),
            ("edit", self.edit),
            ("revoke", self.revoke),
        ];
        let mut there = objects.into_iter().filter_map(|(kind, object)| {
            object.filter(|object| object.get() != "null").map(|_| kind)
        });
        there.next().filter(|_| there.next().is_none())
    }
}

#[derive(Default, Deserialize)]
struct MetaTextBody {
    #[serde(default)]
    body: LenientText,
}

/// An image, video, audio, document or sticker. The id is valid for 7 days.
#[derive(Default, Deserialize)]
struct MetaMedia {
    #[serde(default)]
    id: LenientText,
    #[serde(default)]
    caption: LenientText,
    #[serde(default)]
    filename: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaLocation {
    #[serde(default)]
    name: LenientText,
    #[serde(default)]
    address: LenientText,
    #[serde(default)]
    latitude: LenientText,
    #[serde(default)]
    longitude: LenientText,
}

/// One card of a `contacts` message: not to be confused with `value.contacts`.
#[derive(Default, Deserialize)]
struct MetaContactCard {
    #[serde(default)]
    name: Option<MetaContactCardName>,
    #[serde(default)]
    phones: Vec<MetaContactCardPhone>,
    /// `contact_request`: the person answers our request with their own card. A card with `other`
    /// may be anyone's.
    #[serde(default)]
    origin: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaContactCardPhone {
    #[serde(default)]
    wa_id: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaContactCardName {
    #[serde(default)]
    formatted_name: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaQuickReply {
    #[serde(default)]
    payload: LenientText,
    #[serde(default)]
    text: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaInteractiveReply {
    #[serde(default, rename = "type")]
    kind: LenientText,
    #[serde(default, rename = "button_reply")]
    button: Option<MetaReplyChoice>,
    #[serde(default, rename = "list_reply")]
    list: Option<MetaReplyChoice>,
    #[serde(default, rename = "nfm_reply")]
    flow: Option<MetaFlowReply>,
    #[serde(default, rename = "call_permission_reply")]
    call_permission: Option<MetaCallPermissionReply>,
}

#[derive(Default, Deserialize)]
struct MetaReplyChoice {
    #[serde(default)]
    id: LenientText,
    #[serde(default)]
    title: LenientText,
}

/// The answers of a form, as a JSON text that may be missing or invalid.
#[derive(Default, Deserialize)]
struct MetaFlowReply {
    #[serde(default)]
    body: LenientText,
    #[serde(default)]
    response_json: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaCallPermissionReply {
    #[serde(default)]
    response: LenientText,
}

/// Without an emoji, or with an empty one, the reaction was removed.
#[derive(Default, Deserialize)]
struct MetaReaction {
    #[serde(default)]
    message_id: LenientText,
    #[serde(default)]
    emoji: LenientText,
}

#[derive(Default, Deserialize)]
struct MetaSystemMessage {
    #[serde(default, rename = "type")]
    kind: LenientText,
    #[serde(default)]
    body: LenientText,
    /// The new number.
    #[serde(default)]
    wa_id: LenientText,
    /// The legacy name of the new number.
    #[serde(default)]
    new_wa_id: LenientText,
    #[serde(default)]
    user_id: LenientText,
    #[serde(default)]
    parent_user_id: LenientText,
    #[serde(default)]
    previous_user_id: LenientText,
    #[serde(default)]
    previous_parent_user_id: LenientText,
    /// The legacy name of the old number.
    #[serde(default)]
    customer: LenientText,
}

/// An edited or deleted message.
#[derive(Default, Deserialize)]
struct MetaMessageChange<'a> {
    #[serde(default)]
    original_message_id: LenientText,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct MetaEditedMessage<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    image: Option<MetaMedia>,
    #[serde(default)]
    video: Option<MetaMedia>,
    #[serde(default)]
    document: Option<MetaMedia>,
}

#[derive(Default, Deserialize)]
struct MetaQuotedMessage {
    #[serde(default)]
    id: LenientText,
}

/// The readable parts of a message.
#[derive(Default)]
struct ReadableMessageParts {
    text: Option<String>,
    payload: Option<String>,
    about: Option<String>,
    media_id: Option<String>,
}

pub(super) fn parse(
    raw: &RawValue,
    context: &MetaChangeContext,
) -> Result<CallbackItemContent, String> {
    let item: MetaMessageItem<'_> = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a message: {}", kind_of(&error)))?;
    let id = item.id.clone().filled().ok_or("a message without `id`")?;
    let kind = match item.kind.clone().filled() {
        Some(kind) => kind,
        // Older payloads leave it out: the only object present determines the kind.
        None => item
            .only_object()
            .ok_or("a message without `type`")?
            .to_owned(),
    };
    let dated = item.timestamp.seconds();
    let at = dated.unwrap_or(context.received);
    let named = PersonIds {
        wa_id: item.from.clone().filled(),
        user_id: item.from_user_id.clone().filled(),
        parent_user_id: item.from_parent_user_id.clone().filled(),
        ..PersonIds::default()
    };
    if kind == "system"
        && let Some(identity) = identity(&item, &named, at, raw)
    {
        return Ok(identity);
    }
    let shared_phone = (kind == "contacts")
        .then(|| shared_phone(item.contacts))
        .flatten();
    let readable = readable(&kind, &item);
    Ok(CallbackItemContent::Inbound(Box::new(InboundMessageItem {
        provider_message_id: id,
        kind,
        call: None,
        standby: context.standby,
        person: complete(named, &context.contacts),
        group_id: item.group_id.filled(),
        at,
        dated: dated.is_some(),
        text: readable.text,
        payload: readable.payload,
        context_message_id: read::<MetaQuotedMessage>(item.context)
            .id
            .filled()
            .or(readable.about),
        media_id: readable.media_id,
        shared_phone,
        from_advertisement: item
            .referral
            .is_some_and(|referral| referral.get() != "null"),
        raw: raw.get().to_owned(),
    })))
}

fn readable(kind: &str, item: &MetaMessageItem<'_>) -> ReadableMessageParts {
    let only = |text: Option<String>| ReadableMessageParts {
        text,
        ..ReadableMessageParts::default()
    };
    match kind {
        "text" => only(read::<MetaTextBody>(item.text).body.filled()),
        "image" => media(item.image),
        "video" => media(item.video),
        "audio" | "voice" => media(item.audio),
        "document" => media(item.document),
        "sticker" => media(item.sticker),
        "location" => {
            let location: MetaLocation = read(item.location);
            let named = [location.name.filled(), location.address.filled()];
            let named: Vec<String> = named.into_iter().flatten().collect();
            only(if named.is_empty() {
                location
                    .latitude
                    .filled()
                    .zip(location.longitude.filled())
                    .map(|(latitude, longitude)| format!("{latitude}, {longitude}"))
            } else {
                Some(named.join(", "))
            })
        }
        "contacts" => {
            let cards: Vec<MetaContactCard> = read(item.contacts);
            let names: Vec<String> = cards
                .into_iter()
                .filter_map(|card| card.name?.formatted_name.filled())
                .collect();
            only((!names.is_empty()).then(|| names.join(", ")))
        }
        "button" => {
            let button: MetaQuickReply = read(item.button);
            ReadableMessageParts {
                text: button.text.filled(),
                payload: button.payload.filled(),
                ..ReadableMessageParts::default()
            }
        }
        "interactive" => interactive(item.interactive),
        "reaction" => {
            let reaction: MetaReaction = read(item.reaction);
            ReadableMessageParts {
                text: reaction.emoji.filled(),
                about: reaction.message_id.filled(),
                ..ReadableMessageParts::default()
            }
        }
        "order" => only(read::<MetaOrderText>(item.order).text.filled()),
        "system" => only(read::<MetaSystemMessage>(item.system).body.filled()),
        "edit" => {
            let change: MetaMessageChange<'_> = read(item.edit);
            let edited: MetaEditedMessage<'_> = read(change.message);
            let media = edited.image.or(edited.video).or(edited.document);
            ReadableMessageParts {
                text: read::<MetaTextBody>(edited.text).body.filled().or_else(|| {
                    media
                        .as_ref()
                        .and_then(|media| media.caption.clone().filled())
                }),
                media_id: media.and_then(|media| media.id.filled()),
                about: change.original_message_id.filled(),
                ..ReadableMessageParts::default()
            }
        }
        "revoke" => ReadableMessageParts {
            about: read::<MetaMessageChange<'_>>(item.revoke)
                .original_message_id
                .filled(),
            ..ReadableMessageParts::default()
        },
        _ => ReadableMessageParts::default(),
    }
}

/// The number on the one card that answers a request for it.
fn shared_phone(raw: Option<&RawValue>) -> Option<String> {
    let cards: Vec<MetaContactCard> = read(raw);
    let [card] = cards.as_slice() else {
        return None;
    };
    let [phone] = card.phones.as_slice() else {
        return None;
    };
    (card.origin.as_deref() == Some("contact_request"))
        .then(|| phone.wa_id.clone().filled())
        .flatten()
}

/// The old and the new user id in a text such as `User Bo changed from US.1 to US.2`, the only
/// place where Meta's own example of `user_changed_user_id` names the old one.
fn ids_in_body(body: &str) -> Option<(String, String)> {
    let (before, new) = body.rsplit_once(" to ")?;
    let (_, old) = before.rsplit_once(" from ")?;
    let id = |text: &str| WhatsAppUserId::parse(text.trim().trim_end_matches('.'));
    Some((id(old)?.as_str().to_owned(), id(new)?.as_str().to_owned()))
}

#[derive(Default, Deserialize)]
struct MetaOrderText {
    #[serde(default)]
    text: LenientText,
}

fn media(raw: Option<&RawValue>) -> ReadableMessageParts {
    let media: MetaMedia = read(raw);
    ReadableMessageParts {
        text: media.caption.filled().or_else(|| media.filename.filled()),
        media_id: media.id.filled(),
        ..ReadableMessageParts::default()
    }
}

fn interactive(raw: Option<&RawValue>) -> ReadableMessageParts {
    let interactive: MetaInteractiveReply = read(raw);
    let reply = interactive.button.as_ref().or(interactive.list.as_ref());
    let (text, payload) = if let Some(reply) = reply {
        (reply.title.clone().filled(), reply.id.clone().filled())
    } else if let Some(flow) = &interactive.flow {
        (
            flow.body.clone().filled(),
            flow.response_json.clone().filled(),
        )
    } else if let Some(permission) = &interactive.call_permission {
        let response = permission.response.clone().filled();
        (response.clone(), response)
    } else {
        // A kind that this version does not know: its content, as received.
        let mut object: BTreeMap<String, &RawValue> = read(raw);
        let carried = interactive
            .kind
            .filled()
            .and_then(|kind| object.remove(&kind));
        (None, carried.map(|carried| carried.get().to_owned()))
    };
    ReadableMessageParts {
        text,
        payload,
        ..ReadableMessageParts::default()
    }
}

/// A person changed number or id. Everything else of type `system` is a message.
fn identity(
    item: &MetaMessageItem<'_>,
    named: &PersonIds,
    at: Timestamp,
    raw: &RawValue,
) -> Option<CallbackItemContent> {
    let system: MetaSystemMessage = read(item.system);
    let known = matches!(
        system.kind.as_deref(),
        Some("user_changed_number" | "user_changed_user_id" | "customer_changed_number")
    );
    if !known {
        return None;
    }
    let in_body = system.body.as_deref().and_then(ids_in_body);
    // For a parent id, the text names the parent's old id.
    let (old_in_body, old_parent_in_body) = match in_body {
        Some((old, _)) if WhatsAppUserId::parse(&old).is_some_and(|id| id.is_of_parent()) => {
            (None, Some(old))
        }
        Some((old, _)) => (Some(old), None),
        None => (None, None),
    };
    let new_id = system.user_id.clone().filled();
    let old = PersonIds {
        wa_id: named.wa_id.clone().or_else(|| system.customer.filled()),
        user_id: system
            .previous_user_id
            .filled()
            .or(old_in_body)
            .or_else(|| named.user_id.clone())
            .filter(|old| Some(old) != new_id.as_ref()),
        parent_user_id: system
            .previous_parent_user_id
            .filled()
            .or(old_parent_in_body)
            .or_else(|| named.parent_user_id.clone()),
        ..PersonIds::default()
    };
    let new = PersonIds {
        wa_id: system.wa_id.filled().or_else(|| system.new_wa_id.filled()),
        user_id: new_id,
        parent_user_id: system.parent_user_id.filled(),
        ..PersonIds::default()
    };
    if new.is_empty() || old.is_empty() {
        return None;
    }
    Some(CallbackItemContent::Identity(Box::new(PersonIdsChange {
        old,
        new,
        at,
        raw: raw.get().to_owned(),
    })))
}
