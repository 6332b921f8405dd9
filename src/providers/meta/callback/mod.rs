//! Parses Meta's callbacks leniently.
//!
//! Each level is parsed separately, so that one bad item harms no other: what cannot be parsed
//! becomes a [`DeadLetterItem`] with a JSON pointer, and unknown items are kept and counted. Routing is by
//! `field`, then by the arrays present (Meta, "Webhooks: messages"): status webhooks carry
//! `contacts`, calls carry `statuses`, so no array alone determines what a value is.

mod account;
mod call;
mod message;
mod status;
mod urgency;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
pub use urgency::is_urgent;

use super::lenient::{LenientText, digits, mend_escapes};
use crate::{
    domain::{notification::VersionedValue, time::Timestamp},
    providers::{
        CallbackItem, CallbackItemContent, DeadLetterItem, IgnoredCallbackItem, ParsedCallback,
        PersonIds,
    },
};

/// Meta aggregates at most 1,000 updates in one callback; a body with more
/// than this is not Meta's.
const MAX_ITEMS: usize = 20_000;

const TOO_MANY: &str = "more items than any callback of Meta's has";

fn is_full(parsed: &ParsedCallback) -> bool {
    parsed.items.len() + parsed.dead.len() >= MAX_ITEMS
}

#[derive(Deserialize)]
struct MetaEnvelope<'a> {
    #[serde(borrow, default)]
    entry: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct MetaEnvelopeEntry<'a> {
    /// The WhatsApp business account.
    #[serde(default)]
    id: LenientText,
    /// Only with fields of an account.
    #[serde(default)]
    time: LenientText,
    #[serde(borrow, default)]
    changes: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct MetaChangeItem<'a> {
    #[serde(default)]
    field: LenientText,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// The members of an object, unparsed: the value of the `messages` field, and of similar ones.
struct RawJsonMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> RawJsonMembers<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut members = self.0.iter();
        members.find(|(key, _)| key == name).map(|(_, raw)| *raw)
    }
}

impl<'de> Deserialize<'de> for RawJsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawJsonMembersVisitor;
        impl<'de> Visitor<'de> for RawJsonMembersVisitor {
            type Value = RawJsonMembers<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(name) = map.next_key::<JsonMemberName<'de>>()? {
                    let raw = map.next_value()?;
                    // With two of the same name, one would be lost.
                    if members.iter().any(|(known, _)| *known == name.0) {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                    members.push((name.0, raw));
                }
                Ok(RawJsonMembers(members))
            }
        }
        deserializer.deserialize_map(RawJsonMembersVisitor)
    }
}

/// Without an allocation, unless it has escapes.
#[derive(Deserialize)]
struct JsonMemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
struct MetaNumberMetadata {
    #[serde(default)]
    phone_number_id: LenientText,
    #[serde(default)]
    display_phone_number: LenientText,
}

/// A person that a value is about.
#[derive(Deserialize)]
struct MetaContactItem {
    #[serde(default)]
    wa_id: LenientText,
    #[serde(default)]
    user_id: LenientText,
    #[serde(default)]
    parent_user_id: LenientText,
    #[serde(default)]
    profile: Option<MetaProfile>,
}

#[derive(Default, Deserialize)]
struct MetaProfile {
    #[serde(default)]
    name: LenientText,
    #[serde(default)]
    username: LenientText,
}

impl MetaContactItem {
    fn ids(&self) -> PersonIds {
        let profile = self.profile.as_ref();
        PersonIds {
            wa_id: self.wa_id.clone().filled(),
            user_id: self.user_id.clone().filled(),
            parent_user_id: self.parent_user_id.clone().filled(),
            username: profile.and_then(|profile| profile.username.clone().filled()),
            name: profile.and_then(|profile| profile.name.clone().filled()),
        }
    }
}

/// Adds the data in a value's contacts to a person. Contacts are not aligned with messages or
/// statuses: they are matched by id, never by position.
fn complete(person: PersonIds, contacts: &[PersonIds]) -> PersonIds {
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    let found = contacts.iter().find(|contact| {
        same(&contact.wa_id, &person.wa_id)
            || same(&contact.user_id, &person.user_id)
            || same(&contact.parent_user_id, &person.parent_user_id)
    });
    let found = match (found, contacts) {
        (Some(found), _) => found,
        // A message without ids belongs to the only person present.
        (None, [only]) if person.is_empty() => only,
        _ => return person,
    };
    PersonIds {
        wa_id: person.wa_id.or_else(|| found.wa_id.clone()),
        user_id: person.user_id.or_else(|| found.user_id.clone()),
        parent_user_id: person
            .parent_user_id
            .or_else(|| found.parent_user_id.clone()),
        username: person.username.or_else(|| found.username.clone()),
        name: person.name.or_else(|| found.name.clone()),
    }
}

/// The context of every item in a change.
struct MetaChangeContext {
    /// `entry[].id`
    account_id: Option<String>,
    /// `entry[].time`
    at: Option<Timestamp>,
    /// Time of items without one: `entry[].time`, or else the time of receipt.
    received: Timestamp,
    phone_number_id: Option<String>,
    display_number: Option<String>,
    contacts: Vec<PersonIds>,
    /// Another party has the conversation.
    standby: bool,
}

impl MetaChangeContext {
    /// Keeps known values where the metadata have none.
    fn set_number(&mut self, metadata: MetaNumberMetadata) {
        if let Some(number) = metadata.phone_number_id.filled() {
            self.phone_number_id = Some(number);
            self.display_number = metadata.display_phone_number.as_deref().and_then(digits);
        }
    }
}

/// Parses one body that was verified and stored, with its time of receipt.
pub fn parse(body: &[u8], received: Timestamp) -> ParsedCallback {
    let mut parsed = ParsedCallback::default();
    let Ok(text) = std::str::from_utf8(body) else {
        parsed.dead.push(dead("", "the body is not UTF-8"));
        return parsed;
    };
    let text = mend_escapes(text);
    let envelope: MetaEnvelope<'_> = match serde_json::from_str(&text) {
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
        if is_full(&parsed) {
            parsed.dead.push(dead("/entry", TOO_MANY));
            break;
        }
        parse_entry(entry, &format!("/entry/{index}"), received, &mut parsed);
    }
    for item in &mut parsed.items {
        item.cut();
    }
    parsed
}

fn parse_entry(raw: &RawValue, pointer: &str, received: Timestamp, parsed: &mut ParsedCallback) {
    let entry: MetaEnvelopeEntry<'_> = match serde_json::from_str(raw.get()) {
        Ok(entry) => entry,
        Err(error) => {
            return parsed
                .dead
                .push(dead(pointer, &format!("not an entry: {}", kind_of(&error))));
        }
    };
    let account_id = entry.id.filled();
    let at = entry.time.seconds();
    for (index, change) in entry.changes.unwrap_or_default().into_iter().enumerate() {
        let context = MetaChangeContext {
            account_id: account_id.clone(),
            at,
            received: at.unwrap_or(received),
            phone_number_id: None,
            display_number: None,
            contacts: Vec::new(),
            standby: false,
        };
        if is_full(parsed) {
            return parsed
                .dead
                .push(dead(&format!("{pointer}/changes"), TOO_MANY));
        }
        parse_change(
            change,
            &format!("{pointer}/changes/{index}"),
            context,
            parsed,
        );
    }
}

fn parse_change(
    raw: &RawValue,
    pointer: &str,
    context: MetaChangeContext,
    parsed: &mut ParsedCallback,
) {
    let change: MetaChangeItem<'_> = match serde_json::from_str(raw.get()) {
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
    let pointer = format!("{pointer}/value");
    let Some(value) = change.value else {
        let summary = "a change without a value".to_owned();
        return other(parsed, pointer, &context, &field, summary, raw);
    };
    match field.as_str() {
        "messages" | "calls" | "user_preferences" => {
            parse_value(&field, value, &pointer, context, parsed);
        }
        "standby" => parse_standby(value, &pointer, context, parsed),
        // Messages that others wrote in our name, or earlier ones.
        "smb_message_echoes" | "message_echoes" | "history" | "messaging_handovers" => {
            let summary = format!("not applied: {field}");
            other(parsed, pointer, &context, &field, summary, value);
        }
        _ => {
            let Some(kind) = account::parse(&field, value, &context) else {
                let summary = format!("not applied: {field}");
                return other(parsed, pointer, &context, &field, summary, value);
            };
            parsed.items.push(CallbackItem {
                pointer,
                account_id: match &kind {
                    // Its signature must be valid for the account that it names.
                    CallbackItemContent::News(news) => news.account_id.clone(),
                    _ => context.account_id,
                },
                endpoint_id: None,
                display_number: None,
                kind,
            });
        }
    }
}

/// Inbound messages while another party has the conversation, such as Meta's agent. The usual lists
/// are one level deeper; the messages count, and are not answered.
fn parse_standby(
    raw: &RawValue,
    pointer: &str,
    mut context: MetaChangeContext,
    parsed: &mut ParsedCallback,
) {
    let summary = "something else holds the conversation".to_owned();
    let value = serde_json::from_str::<RawJsonMembers<'_>>(raw.get()).ok();
    let metadata: MetaNumberMetadata = read(value.as_ref().and_then(|value| value.get("metadata")));
    context.set_number(metadata);
    other(
        parsed,
        pointer.to_owned(),
        &context,
        "standby",
        summary,
        raw,
    );
    context.standby = true;
    if let Some(inner) = value.and_then(|value| value.get("standby")) {
        parse_value(
            "standby",
            inner,
            &format!("{pointer}/standby"),
            context,
            parsed,
        );
    }
}

/// Parses one item of a list.
type MetaItemParser = fn(&RawValue, &MetaChangeContext) -> Result<CallbackItemContent, String>;

/// A value with lists of items. One value may hold several lists.
fn parse_value(
    field: &str,
    raw: &RawValue,
    pointer: &str,
    mut context: MetaChangeContext,
    parsed: &mut ParsedCallback,
) {
    let value: RawJsonMembers<'_> = match serde_json::from_str(raw.get()) {
        Ok(value) => value,
        Err(error) => {
            return parsed
                .dead
                .push(dead(pointer, &format!("not a value: {}", kind_of(&error))));
        }
    };
    let metadata: MetaNumberMetadata = read(value.get("metadata"));
    // In standby, it may be beside the lists or one level above them.
    context.set_number(metadata);
    context.contacts = elements(value.get("contacts"))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|contact| serde_json::from_str::<MetaContactItem>(contact.get()).ok())
        .map(|contact| contact.ids())
        .collect();
    // The statuses of calls differ from those of messages.
    let statuses: MetaItemParser = if field == "calls" {
        call::status
    } else {
        status::parse
    };
    let lists: [(&str, MetaItemParser); 4] = [
        ("statuses", statuses),
        ("messages", message::parse),
        ("calls", call::event),
        ("user_preferences", account::preference),
    ];
    let mut found = false;
    for (key, parse_item) in &lists {
        let Some(raw) = value.get(key) else { continue };
        let list_pointer = format!("{pointer}/{key}");
        let Some(items) = elements(Some(raw)) else {
            parsed.dead.push(dead(&list_pointer, "not a list"));
            continue;
        };
        for (index, item) in items.into_iter().enumerate() {
            found = true;
            if is_full(parsed) {
                parsed.dead.push(dead(&list_pointer, TOO_MANY));
                return;
            }
            let pointer = format!("{list_pointer}/{index}");
            match parse_item(item, &context) {
                Ok(kind) => parsed.items.push(CallbackItem {
                    pointer,
                    account_id: context.account_id.clone(),
                    endpoint_id: context.phone_number_id.clone(),
                    display_number: context.display_number.clone(),
                    kind,
                }),
                Err(reason) => parsed.dead.push(dead(&pointer, &reason)),
            }
        }
    }
    let is_empty = |errors: &&RawValue| elements(Some(errors)).is_some_and(|all| all.is_empty());
    if let Some(errors) = value.get("errors").filter(|errors| !is_empty(errors)) {
        found = true;
        parsed.items.push(CallbackItem {
            pointer: format!("{pointer}/errors"),
            account_id: context.account_id.clone(),
            endpoint_id: context.phone_number_id.clone(),
            display_number: context.display_number.clone(),
            kind: account::errors(errors, &context),
        });
    }
    // In standby, the whole value is listed.
    if context.standby {
        return;
    }
    for (name, raw) in &value.0 {
        if !KNOWN_MEMBERS.contains(&name.as_ref()) && raw.get() != "null" {
            found = true;
            if is_full(parsed) {
                return parsed.dead.push(dead(pointer, TOO_MANY));
            }
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            let summary = format!("not applied: {name}");
            other(parsed, pointer, &context, field, summary, raw);
        }
    }
    // Lists without items have no effect.
    let has_list = lists.iter().any(|(key, _)| value.get(key).is_some());
    if !found && !has_list {
        let summary = "a value without items".to_owned();
        other(parsed, pointer.to_owned(), &context, field, summary, raw);
    }
}

/// Known members of a value with lists.
const KNOWN_MEMBERS: [&str; 8] = [
    "messaging_product",
    "metadata",
    "contacts",
    "messages",
    "statuses",
    "calls",
    "errors",
    "user_preferences",
];

/// Lists an item that has no effect.
fn other(
    parsed: &mut ParsedCallback,
    pointer: String,
    context: &MetaChangeContext,
    field: &str,
    summary: String,
    raw: &RawValue,
) {
    parsed.items.push(CallbackItem {
        pointer,
        account_id: context.account_id.clone(),
        endpoint_id: context.phone_number_id.clone(),
        display_number: context.display_number.clone(),
        kind: other_item(field, summary, context.at, raw),
    });
}

fn other_item(
    field: &str,
    summary: String,
    at: Option<Timestamp>,
    raw: &RawValue,
) -> CallbackItemContent {
    CallbackItemContent::Other(Box::new(IgnoredCallbackItem {
        field: field.to_owned(),
        summary,
        at,
        raw: raw.get().to_owned(),
    }))
}

/// Parses a part that may be missing or malformed: both count as absent.
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

fn versioned<T>(at: Timestamp, raw: &RawValue, value: T) -> VersionedValue<T> {
    let mut digest = hex::encode(Sha256::digest(raw.get().as_bytes()));
    digest.truncate(16);
    VersionedValue { at, digest, value }
}

fn dead(pointer: &str, reason: &str) -> DeadLetterItem {
    DeadLetterItem {
        pointer: pointer.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The kind of error in a document, without repeating any of its content.
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
    use crate::domain::time::Timestamp;
    use crate::providers::CallbackItemContent;

    const AT: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

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
                {"id":"wamid.c","status":["sent"],"timestamp":1},
                {"id":"wamid.d","status":"read","timestamp":1750030074,"recipient_id":{"x":[1]}}]}"#,
        );
        let parsed = parse(body.as_bytes(), AT);
        assert_eq!(parsed.items.len(), 2);
        assert_eq!(
            parsed.items[0].endpoint_id.as_deref(),
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
        let parsed = parse(body.as_bytes(), AT);
        assert!(parsed.dead.is_empty());
        assert!(
            matches!(&parsed.items[0].kind, CallbackItemContent::Other(other) if other.summary.ends_with("status of a message: warning"))
        );
        assert!(
            matches!(&parsed.items[1].kind, CallbackItemContent::Other(other) if other.summary == "payment of a message: captured")
        );
        assert!(
            matches!(&parsed.items[2].kind, CallbackItemContent::News(news) if news.summary == "account error 130429")
        );
        let other = parse(
            br#"{"entry":[{"changes":[{"field":"automatic_events","value":{}}]}]}"#,
            AT,
        );
        assert!(
            matches!(&other.items[0].kind, CallbackItemContent::Other(other) if other.field == "automatic_events")
        );
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
            let parsed = parse(body, AT);
            assert_eq!((parsed.items.len(), parsed.dead.len()), (0, 1), "{body:?}");
        }
    }

    #[test]
    fn nul_never_reaches_a_text() {
        let body = messages(
            r#"{"messages":[{"id":"a","type":"text","timestamp":"1","from":"15550000","text":{"body":"a\u0000b"}}]}"#,
        );
        let parsed = parse(body.as_bytes(), AT);
        assert!(
            matches!(&parsed.items[0].kind, CallbackItemContent::Inbound(message) if message.text.as_deref() == Some("a\u{fffd}b"))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&body, AT);
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
            parse(&changed, AT);
            changed.clone_from(&body);
            changed[at.index(body.len())] = byte;
            parse(&changed, AT);
        }
    }
}
