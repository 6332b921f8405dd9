//! What Meta posts to the webhook, taken apart leniently.
//!
//! Each level is read by itself, so that one bad item harms no other: what
//! cannot be read becomes a [`Dead`] with a JSON pointer, what is unknown is
//! kept and counted. Routing is by `field`, then by which arrays exist (Meta,
//! "Webhooks: messages").

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::{errors, lenient::Text};
use crate::{
    domain::{notification::Versioned, time::Timestamp},
    providers::{Dead, FactName, Inbound, Item, ItemKind, Parsed, Update},
};

/// Meta aggregates at most 1,000 updates in one callback; a body with more
/// than this is not Meta's.
const MAX_ITEMS: usize = 20_000;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    entry: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    changes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct ChangeItem<'a> {
    #[serde(default)]
    field: Text,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessagesValue<'a> {
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contacts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    statuses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    phone_number_id: Text,
}

#[derive(Deserialize)]
struct StatusItem<'a> {
    #[serde(default)]
    id: Text,
    #[serde(default)]
    status: Text,
    #[serde(default)]
    timestamp: Text,
    #[serde(default, rename = "type")]
    kind: Text,
    #[serde(default)]
    biz_opaque_callback_data: Text,
    #[serde(borrow, default)]
    pricing: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageItem<'a> {
    #[serde(default)]
    id: Text,
    #[serde(default)]
    from: Text,
    #[serde(default)]
    from_user_id: Text,
    #[serde(default)]
    timestamp: Text,
    #[serde(default, rename = "type")]
    kind: Text,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    button: Option<&'a RawValue>,
    #[serde(borrow, default)]
    interactive: Option<&'a RawValue>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    body: Text,
}

#[derive(Default, Deserialize)]
struct Button {
    #[serde(default)]
    payload: Text,
    #[serde(default)]
    text: Text,
}

#[derive(Default, Deserialize)]
struct Interactive {
    #[serde(default)]
    button_reply: Option<Reply>,
    #[serde(default)]
    list_reply: Option<Reply>,
}

#[derive(Default, Deserialize)]
struct Reply {
    #[serde(default)]
    id: Text,
    #[serde(default)]
    title: Text,
}

#[derive(Default, Deserialize)]
struct Context {
    #[serde(default)]
    id: Text,
}

#[derive(Deserialize)]
struct ContactItem {
    #[serde(default)]
    wa_id: Text,
    #[serde(default)]
    user_id: Text,
    #[serde(default)]
    profile: Option<Profile>,
}

#[derive(Default, Deserialize)]
struct Profile {
    #[serde(default)]
    name: Text,
}

/// Reads one body that was verified and stored.
pub fn parse(body: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let Ok(text) = std::str::from_utf8(body) else {
        parsed.dead.push(dead("", "the body is not UTF-8"));
        return parsed;
    };
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            parsed.dead.push(dead(
                "",
                &format!("the body is not a callback: {}", kind_of(&error)),
            ));
            return parsed;
        }
    };
    let Some(entries) = envelope.entry else {
        parsed.dead.push(dead("", "the body has no `entry`"));
        return parsed;
    };
    for (index, entry) in entries.into_iter().enumerate() {
        parse_entry(entry, &format!("/entry/{index}"), &mut parsed);
    }
    parsed
}

fn parse_entry(raw: &RawValue, pointer: &str, parsed: &mut Parsed) {
    let entry: Entry<'_> = match serde_json::from_str(raw.get()) {
        Ok(entry) => entry,
        Err(error) => {
            return parsed
                .dead
                .push(dead(pointer, &format!("not an entry: {}", kind_of(&error))));
        }
    };
    for (index, change) in entry.changes.unwrap_or_default().into_iter().enumerate() {
        parse_change(change, &format!("{pointer}/changes/{index}"), parsed);
    }
}

fn parse_change(raw: &RawValue, pointer: &str, parsed: &mut Parsed) {
    let change: ChangeItem<'_> = match serde_json::from_str(raw.get()) {
        Ok(change) => change,
        Err(error) => {
            return parsed
                .dead
                .push(dead(pointer, &format!("not a change: {}", kind_of(&error))));
        }
    };
    let field = change
        .field
        .filled()
        .unwrap_or_else(|| "without a field".to_owned());
    let Some(value) = change.value.filter(|_| field == "messages") else {
        return other(parsed, pointer.to_owned(), None, field);
    };
    let pointer = format!("{pointer}/value");
    let value: MessagesValue<'_> = match serde_json::from_str(value.get()) {
        Ok(value) => value,
        Err(error) => {
            return parsed
                .dead
                .push(dead(&pointer, &format!("not a value: {}", kind_of(&error))));
        }
    };
    let metadata: Metadata = read(value.metadata);
    let account = metadata.phone_number_id.filled();
    let names: Vec<ContactItem> = elements(value.contacts)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|contact| serde_json::from_str(contact.get()).ok())
        .collect();
    let mut found = false;
    for (key, list) in [("statuses", value.statuses), ("messages", value.messages)] {
        let Some(raw) = list else { continue };
        let list_pointer = format!("{pointer}/{key}");
        let Some(items) = elements(Some(raw)) else {
            parsed.dead.push(dead(&list_pointer, "not a list"));
            continue;
        };
        for (index, item) in items.into_iter().enumerate() {
            found = true;
            if parsed.items.len() >= MAX_ITEMS {
                parsed.dead.push(dead(
                    &list_pointer,
                    "more items than any callback of Meta's has",
                ));
                return;
            }
            let pointer = format!("{list_pointer}/{index}");
            let kind = if key == "statuses" {
                parse_status(item)
            } else {
                parse_message(item, &names)
            };
            match kind {
                Ok(kind) => parsed.items.push(Item {
                    pointer,
                    phone_number_id: account.clone(),
                    kind,
                }),
                Err(reason) => parsed.dead.push(dead(&pointer, &reason)),
            }
        }
    }
    if let Some(errors) = value.errors {
        found = true;
        let code = serde_json::from_str::<Value>(errors.get())
            .ok()
            .and_then(|errors| errors.pointer("/0/code").and_then(Value::as_i64));
        let what = code.map_or_else(
            || "account error".to_owned(),
            |code| format!("account error {code}"),
        );
        other(parsed, format!("{pointer}/errors"), account.clone(), what);
    }
    if !found {
        other(
            parsed,
            pointer,
            account,
            "messages without items".to_owned(),
        );
    }
}

fn parse_status(raw: &RawValue) -> Result<ItemKind, String> {
    let item: StatusItem<'_> = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a status: {}", kind_of(&error)))?;
    let id = item.id.filled().ok_or("a status without `id`")?;
    let status = item.status.filled().ok_or("a status without `status`")?;
    // Payments come among the statuses; they say nothing about delivery (Meta, "Payments").
    if let Some(kind) = item.kind.as_deref().filter(|kind| *kind != "message") {
        return Ok(ItemKind::Other {
            what: format!("status of type {kind}"),
        });
    }
    let at = item
        .timestamp
        .integer()
        .map(Timestamp::from_unix_seconds)
        .ok_or("a status without a readable `timestamp`")?;
    let fact = match status.as_str() {
        "sent" => Some(FactName::Sent),
        "delivered" => Some(FactName::Delivered),
        "read" => Some(FactName::Read),
        "played" => Some(FactName::Played),
        "failed" => Some(FactName::Failed),
        _ => None,
    };
    let failure = match (fact, item.errors) {
        (Some(FactName::Failed), Some(errors)) => {
            let whole: Value = serde_json::from_str(errors.get())
                .map_err(|error| format!("unreadable `errors`: {}", kind_of(&error)))?;
            let first = whole.get(0).cloned().unwrap_or(Value::Null);
            Some(versioned(at, errors, errors::failure(&first, whole, false)))
        }
        (Some(FactName::Failed), None) => Some(Versioned {
            at,
            digest: String::new(),
            value: errors::failure(&Value::Null, Value::Null, false),
        }),
        _ => None,
    };
    let pricing = item.pricing.and_then(|pricing| {
        let value = serde_json::from_str::<Value>(pricing.get())
            .ok()
            .filter(Value::is_object)?;
        Some(versioned(at, pricing, value))
    });
    Ok(ItemKind::Update(Box::new(Update {
        provider_message_id: id,
        our_id: item
            .biz_opaque_callback_data
            .as_deref()
            .and_then(|id| id.parse().ok()),
        fact,
        status,
        at,
        failure,
        pricing,
    })))
}

fn parse_message(raw: &RawValue, names: &[ContactItem]) -> Result<ItemKind, String> {
    let item: MessageItem<'_> = serde_json::from_str(raw.get())
        .map_err(|error| format!("not a message: {}", kind_of(&error)))?;
    let id = item.id.filled().ok_or("a message without `id`")?;
    let kind = item.kind.filled().ok_or("a message without `type`")?;
    let at = item
        .timestamp
        .integer()
        .map(Timestamp::from_unix_seconds)
        .ok_or("a message without a readable `timestamp`")?;
    let wa_id = item.from.filled();
    let user_id = item.from_user_id.filled();
    // Contacts are not aligned with messages: match by id.
    let name = names
        .iter()
        .find(|contact| {
            (wa_id.is_some() && contact.wa_id.as_deref() == wa_id.as_deref())
                || (user_id.is_some() && contact.user_id.as_deref() == user_id.as_deref())
        })
        .and_then(|contact| contact.profile.as_ref())
        .and_then(|profile| profile.name.clone().filled());
    let (text, payload) = match kind.as_str() {
        "text" => (read::<Body>(item.text).body.filled(), None),
        "button" => {
            let button: Button = read(item.button);
            (button.text.filled(), button.payload.filled())
        }
        "interactive" => {
            let interactive: Interactive = read(item.interactive);
            let reply = interactive
                .button_reply
                .or(interactive.list_reply)
                .unwrap_or_default();
            (reply.title.filled(), reply.id.filled())
        }
        _ => (None, None),
    };
    Ok(ItemKind::Inbound(Box::new(Inbound {
        provider_message_id: id,
        kind,
        wa_id,
        user_id,
        name,
        at,
        text,
        payload,
        context_message_id: read::<Context>(item.context).id.filled(),
        raw: raw.get().to_owned(),
    })))
}

fn other(parsed: &mut Parsed, pointer: String, phone_number_id: Option<String>, what: String) {
    parsed.items.push(Item {
        pointer,
        phone_number_id,
        kind: ItemKind::Other { what },
    });
}

/// Reads a part that may be missing or misshapen: then it is as if it were absent.
fn read<'a, T: Default + Deserialize<'a>>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// The elements of a list; `null` is an empty one.
fn elements(raw: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    match raw {
        None => Some(Vec::new()),
        Some(raw) if raw.get() == "null" => Some(Vec::new()),
        Some(raw) => serde_json::from_str(raw.get()).ok(),
    }
}

fn versioned<T>(at: Timestamp, raw: &RawValue, value: T) -> Versioned<T> {
    let mut digest = hex::encode(Sha256::digest(raw.get().as_bytes()));
    digest.truncate(16);
    Versioned { at, digest, value }
}

fn dead(pointer: &str, reason: &str) -> Dead {
    Dead {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
    }
}

/// What is wrong with a document, without repeating any of it.
fn kind_of(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "it cannot be read",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "it has another shape",
        serde_json::error::Category::Eof => "it ends too early",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::providers::ItemKind;

    fn messages(value: &str) -> String {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"0","changes":[{{"field":"messages","value":{value}}}]}}]}}"#
        )
    }

    #[test]
    fn one_bad_item_harms_no_other() {
        let body = messages(
            r#"{"metadata":{"phone_number_id":106540352242922},"statuses":[
                {"id":"wamid.a","status":"sent","timestamp":"1750030073"},
                7, {"status":"sent"}, {"id":"wamid.b"},
                {"id":"wamid.c","status":"\ud800","timestamp":1},
                {"id":"wamid.d","status":"read","timestamp":1750030074,"recipient_id":{"x":[1]}}]}"#,
        );
        let parsed = parse(body.as_bytes());
        assert_eq!(parsed.items.len(), 2);
        assert_eq!(
            parsed.items[0].phone_number_id.as_deref(),
            Some("106540352242922")
        );
        let pointers: Vec<_> = parsed
            .dead
            .iter()
            .map(|dead| dead.pointer.as_str())
            .collect();
        assert_eq!(
            pointers,
            [1, 2, 3, 4].map(|index| format!("/entry/0/changes/0/value/statuses/{index}"))
        );
    }

    #[test]
    fn what_is_unknown_is_kept_and_what_is_no_delivery_status_is_none() {
        let body = messages(
            r#"{"statuses":[{"id":"x","status":"warning","timestamp":"1"},
                {"id":"y","type":"payment","status":"captured","timestamp":"1"}],
                "errors":[{"code":130429}],"new_thing":[1]}"#,
        );
        let parsed = parse(body.as_bytes());
        assert!(parsed.dead.is_empty());
        assert!(matches!(&parsed.items[0].kind, ItemKind::Update(update) if update.fact.is_none()));
        assert!(
            matches!(&parsed.items[1].kind, ItemKind::Other { what } if what == "status of type payment")
        );
        assert!(
            matches!(&parsed.items[2].kind, ItemKind::Other { what } if what == "account error 130429")
        );
        let other = parse(br#"{"entry":[{"changes":[{"field":"flows","value":{}}]}]}"#);
        assert!(matches!(&other.items[0].kind, ItemKind::Other { what } if what == "flows"));
    }

    #[test]
    fn a_body_that_is_no_callback_is_dead_as_a_whole() {
        for body in [
            &b"not json"[..],
            b"",
            b"[]",
            b"{\"a\":1}",
            b"\xff\xfe",
            b"{\"entry\":7}",
            b"{\"entry\":[{\"changes\":",
        ] {
            let parsed = parse(body);
            assert_eq!((parsed.items.len(), parsed.dead.len()), (0, 1), "{body:?}");
        }
    }

    #[test]
    fn nul_never_reaches_a_text() {
        let body = messages(
            r#"{"messages":[{"id":"a","type":"text","timestamp":"1","from":"15550000","text":{"body":"a\u0000b"}}]}"#,
        );
        let parsed = parse(body.as_bytes());
        assert!(
            matches!(&parsed.items[0].kind, ItemKind::Inbound(message) if message.text.as_deref() == Some("a\u{fffd}b"))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&body);
        }

        #[test]
        fn cutting_or_flipping_a_callback_never_makes_the_parser_panic(
            cut in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let body = messages(
                r#"{"metadata":{"phone_number_id":"1"},"contacts":[{"wa_id":"1","profile":{"name":"A"}}],
                "messages":[{"id":"m","from":"1","timestamp":"2","type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"i","title":"t"}},"context":{"id":"w"}}],
                "statuses":[{"id":"s","status":"failed","timestamp":"3","errors":[{"code":1,"error_data":{"details":"d"}}],"pricing":{"billable":true}}]}"#,
            )
            .into_bytes();
            let mut changed = body[..cut.index(body.len())].to_vec();
            parse(&changed);
            changed.clone_from(&body);
            changed[at.index(body.len())] = byte;
            parse(&changed);
        }
    }
}
