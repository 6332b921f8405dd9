//! Reads MyOperator's callbacks, whose documents are not public: a status is an object that names a
//! message and a state, wherever it stands; what a person wrote is one that says that it came in.
//! Anything else is listed as it came.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    domain::{
        failure::{DeliveryFailure, FailureClass},
        notification::VersionedValue,
        phone::Phone,
        time::Timestamp,
    },
    providers::{
        CallbackItem, CallbackItemContent, DeadLetterItem, IgnoredCallbackItem, InboundMessageItem,
        MessageStatusUpdate, ParsedCallback, PersonIds, ReportedDeliveryFact,
    },
};

/// Of what follows so many items, only that it is there is noted.
const MAX_ITEMS: usize = 20_000;

/// Deeper objects are not looked at.
const MAX_DEPTH: usize = 8;

/// The words for states, and the weakest fact that each proves.
const STATES: [(&str, Option<ReportedDeliveryFact>); 12] = [
    ("accepted", None),
    ("queued", None),
    ("enqueued", None),
    ("submitted", None),
    ("sent", Some(ReportedDeliveryFact::Sent)),
    ("delivered", Some(ReportedDeliveryFact::Delivered)),
    ("read", Some(ReportedDeliveryFact::Read)),
    ("seen", Some(ReportedDeliveryFact::Read)),
    ("failed", Some(ReportedDeliveryFact::Failed)),
    ("undelivered", Some(ReportedDeliveryFact::Failed)),
    ("rejected", Some(ReportedDeliveryFact::Failed)),
    ("error", Some(ReportedDeliveryFact::Failed)),
];

type JsonFields = Map<String, Value>;

/// Whether a body goes before others when callbacks wait: what people write does.
pub(super) fn is_urgent(body: &[u8]) -> bool {
    [&b"\"incoming\""[..], b"\"inbound\"", b"\"received\""]
        .iter()
        .any(|word| body.windows(word.len()).any(|at| at == *word))
}

/// What a callback says.
pub(super) fn parse(body: &[u8], received_at: Timestamp) -> ParsedCallback {
    let mut parsed = ParsedCallback::default();
    let Ok(document) = serde_json::from_slice::<Value>(body) else {
        parsed.dead.push(DeadLetterItem {
            pointer: String::new(),
            reason: "the body is not JSON".to_owned(),
        });
        return parsed;
    };
    walk(&document, "", 0, received_at, &mut parsed);
    // `herald check` posts an empty list.
    let is_empty = document.as_array().is_some_and(Vec::is_empty);
    if parsed.items.is_empty() && parsed.dead.is_empty() && !is_empty {
        parsed.items.push(item("", other(&document, received_at)));
    }
    for item in &mut parsed.items {
        item.cut();
    }
    parsed
}

fn walk(
    value: &Value,
    pointer: &str,
    depth: usize,
    received_at: Timestamp,
    parsed: &mut ParsedCallback,
) {
    if depth > MAX_DEPTH {
        return;
    }
    if parsed.items.len() >= MAX_ITEMS {
        if parsed.dead.is_empty() && (value.is_object() || value.is_array()) {
            parsed.dead.push(DeadLetterItem {
                pointer: pointer.to_owned(),
                reason: format!("there are more than {MAX_ITEMS} items: what follows was not read"),
            });
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            if let Some(content) = read(fields, value, received_at) {
                parsed.items.push(item(pointer, content));
                return;
            }
            for (name, inner) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(
                    inner,
                    &format!("{pointer}/{name}"),
                    depth + 1,
                    received_at,
                    parsed,
                );
            }
        }
        Value::Array(values) => {
            for (index, inner) in values.iter().enumerate() {
                walk(
                    inner,
                    &format!("{pointer}/{index}"),
                    depth + 1,
                    received_at,
                    parsed,
                );
            }
        }
        _ => {}
    }
}

/// The sender is not named by anything that is documented: it is known by the secret.
fn item(pointer: &str, kind: CallbackItemContent) -> CallbackItem {
    CallbackItem {
        pointer: pointer.to_owned(),
        account_id: None,
        endpoint_id: None,
        display_number: None,
        kind,
    }
}

fn text<'a>(fields: &'a JsonFields, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| fields.get(*name).and_then(Value::as_str))
        .filter(|text| !text.is_empty())
}

fn read(fields: &JsonFields, whole: &Value, received_at: Timestamp) -> Option<CallbackItemContent> {
    let id = text(fields, &["message_id"])?;
    let (at, dated) = match time(fields) {
        Some(at) => (at, true),
        None => (received_at, false),
    };
    let direction = text(
        fields,
        &["direction", "message_direction", "event", "event_type"],
    );
    if direction.is_some_and(is_incoming) {
        return Some(CallbackItemContent::Inbound(Box::new(inbound(
            fields, whole, id, at, dated,
        ))));
    }
    let word = text(
        fields,
        &["status", "message_status", "state", "event", "event_type"],
    )?;
    // `message.delivered` and `message_delivered` occur beside `delivered`.
    let state = word
        .rsplit(['.', '_', ' '])
        .next()
        .unwrap_or(word)
        .to_ascii_lowercase();
    let fact = STATES.iter().find(|(known, _)| *known == state)?.1;
    let failure = matches!(fact, Some(ReportedDeliveryFact::Failed)).then(|| {
        let value = failure(fields);
        let digest = Sha256::digest(value.provider_errors.to_string().as_bytes());
        VersionedValue {
            at,
            digest: hex::encode(digest),
            value,
        }
    });
    Some(CallbackItemContent::Update(Box::new(MessageStatusUpdate {
        provider_message_id: id.to_owned(),
        our_id: text(fields, &["myop_ref_id"]).and_then(|text| text.parse().ok()),
        fact,
        status: state,
        at,
        failure,
        pricing: None,
        // Without a signature it is no evidence of who a person is.
        recipient: PersonIds::default(),
        participant: None,
    })))
}

fn is_incoming(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    ["incoming", "inbound", "received"].iter().any(|known| {
        word == *known
            || word.ends_with(&format!(".{known}"))
            || word.ends_with(&format!("_{known}"))
    })
}

fn inbound(
    fields: &JsonFields,
    whole: &Value,
    id: &str,
    at: Timestamp,
    dated: bool,
) -> InboundMessageItem {
    let place = |pointer: &str| whole.pointer(pointer).and_then(Value::as_str);
    let body = [
        "/data/context/body",
        "/context/body",
        "/text/body",
        "/body",
        "/text",
        "/message",
    ]
    .iter()
    .find_map(|pointer| place(pointer));
    let kind = place("/data/type").or_else(|| text(fields, &["type", "message_type"]));
    InboundMessageItem {
        provider_message_id: id.to_owned(),
        kind: kind.unwrap_or("text").to_owned(),
        call: None,
        standby: false,
        person: PersonIds {
            wa_id: number(fields),
            ..PersonIds::default()
        },
        group_id: None,
        at,
        dated,
        text: body.map(str::to_owned),
        payload: None,
        context_message_id: text(fields, &["reply_to"]).map(str::to_owned),
        media_id: None,
        shared_phone: None,
        from_advertisement: false,
        raw: whole.to_string(),
    }
}

/// The person's number without its `+`: in one piece, or in two.
fn number(fields: &JsonFields) -> Option<String> {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let whole = text(fields, &["customer_contact", "from", "customer_phone"]).map(digits);
    let split = || {
        let country = digits(text(fields, &["customer_country_code"])?);
        let national = digits(text(fields, &["customer_number"])?);
        Some(format!("{country}{national}"))
    };
    let number = whole.or_else(split)?;
    Phone::from_wa_id(&number).ok().map(|_| number)
}

/// When it happened: RFC 3339, or seconds or milliseconds since 1970.
fn time(fields: &JsonFields) -> Option<Timestamp> {
    [
        "timestamp",
        "event_time",
        "updated_at",
        "created_at",
        "time",
    ]
    .iter()
    .filter_map(|name| fields.get(*name))
    .find_map(|value| {
        let number = value
            .as_i64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        match number {
            // Beyond the year 5000 in seconds.
            Some(number) if number > 99_999_999_999 => {
                Some(Timestamp::from_micros(number.saturating_mul(1000)))
            }
            Some(number) if number > 0 => Some(Timestamp::from_unix_seconds(number)),
            Some(_) => None,
            None => value.as_str().and_then(Timestamp::parse_rfc3339),
        }
    })
}

fn failure(fields: &JsonFields) -> DeliveryFailure {
    let error = ["error", "errors", "reason", "failure_reason"]
        .iter()
        .find_map(|name| fields.get(*name))
        .cloned()
        .unwrap_or(Value::Null);
    let first = error.get(0).unwrap_or(&error);
    let code = first.get("code").and_then(|code| {
        code.as_i64()
            .or_else(|| code.as_str().and_then(|code| code.parse().ok()))
    });
    let words = ["message", "title", "description"]
        .iter()
        .find_map(|name| first.get(*name).and_then(Value::as_str))
        .or_else(|| first.as_str());
    // The codes of failed statuses are Meta's, which MyOperator passes on.
    let known = code.and_then(crate::providers::meta::errors::known);
    let ours = DeliveryFailure::ours(
        "not_delivered",
        "WhatsApp did not deliver it.",
        "See the details.",
    );
    DeliveryFailure {
        class: known.map_or(FailureClass::FixRequest, |known| known.class),
        code,
        details: words.map(str::to_owned),
        meaning: known.map_or(ours.meaning, |known| known.meaning.to_owned()),
        remedy: known.map_or(ours.remedy, |known| known.remedy.to_owned()),
        wait_seconds: known.and_then(|known| known.wait_seconds),
        provider_errors: error,
        title: ours.title,
    }
}

fn other(document: &Value, received_at: Timestamp) -> CallbackItemContent {
    let event = document
        .as_object()
        .and_then(|fields| text(fields, &["event", "event_type", "type"]))
        .unwrap_or("unknown");
    CallbackItemContent::Other(Box::new(IgnoredCallbackItem {
        field: event.to_owned(),
        summary: "MyOperator reports something that this version does not know.".to_owned(),
        at: Some(received_at),
        raw: document.to_string(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{MAX_ITEMS, parse};
    use crate::{
        domain::time::Timestamp,
        providers::{CallbackItemContent, ParsedCallback, ReportedDeliveryFact},
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_900_000);

    fn read(body: &serde_json::Value) -> ParsedCallback {
        parse(body.to_string().as_bytes(), NOW)
    }

    #[test]
    fn what_is_too_much_is_noted() {
        let status = json!({ "message_id": "m-1", "status": "sent" });
        let parsed = read(&json!(vec![status.clone(); MAX_ITEMS]));
        assert_eq!((parsed.items.len(), parsed.dead.len()), (MAX_ITEMS, 0));
        let parsed = read(&json!(vec![status; MAX_ITEMS + 2]));
        assert_eq!((parsed.items.len(), parsed.dead.len()), (MAX_ITEMS, 1));
        assert_eq!(parsed.dead[0].pointer, format!("/{MAX_ITEMS}"));
    }

    #[test]
    fn a_status_is_found_wherever_it_stands() {
        for (body, pointer) in [
            (
                json!({ "message_id": "m-1", "status": "delivered", "conversaton_id": "c" }),
                "",
            ),
            (
                json!({ "data": { "message_id": "m-1", "message_status": "Delivered", "myop_ref_id": null } }),
                "/data",
            ),
            (
                json!({ "events": [{ "message_id": "m-1", "event": "message.delivered" }] }),
                "/events/0",
            ),
            (
                json!([{ "message_id": "m-1", "event_type": "message_delivered" }]),
                "/0",
            ),
        ] {
            let parsed = read(&body);
            assert_eq!(parsed.items.len(), 1, "{body}");
            let item = &parsed.items[0];
            assert_eq!(item.pointer, pointer);
            let CallbackItemContent::Update(update) = &item.kind else {
                panic!("{body}: {item:?}");
            };
            assert!(
                matches!(update.fact, Some(ReportedDeliveryFact::Delivered)),
                "{body}"
            );
            assert_eq!((&*update.provider_message_id, update.at), ("m-1", NOW));
        }
    }

    #[test]
    fn a_failure_keeps_metas_code() {
        let parsed = read(
            &json!({ "message_id": "m-1", "status": "failed", "timestamp": 1_795_900_001,
            "error": { "code": "131026", "message": "Message undeliverable" } }),
        );
        let CallbackItemContent::Update(update) = &parsed.items[0].kind else {
            panic!("{parsed:?}");
        };
        let failure = &update.failure.as_ref().unwrap().value;
        assert_eq!(failure.code, Some(131_026));
        assert_eq!(update.at, Timestamp::from_unix_seconds(1_795_900_001));
    }

    #[test]
    fn what_a_person_wrote_is_read_and_what_is_unknown_is_listed() {
        let parsed = read(
            &json!({ "message_id": "m-2", "direction": "incoming", "customer_country_code": "1",
            "customer_number": "2025550101", "data": { "type": "text", "context": { "body": "STOP" } } }),
        );
        let CallbackItemContent::Inbound(inbound) = &parsed.items[0].kind else {
            panic!("{parsed:?}");
        };
        assert_eq!(inbound.text.as_deref(), Some("STOP"));
        assert_eq!(inbound.person.wa_id.as_deref(), Some("12025550101"));
        for unknown in [
            json!({ "event": "wallet.low" }),
            json!({ "message_id": "m-3", "status": "dancing" }),
            json!(1),
        ] {
            let parsed = read(&unknown);
            assert!(
                matches!(&parsed.items[..], [item] if matches!(item.kind, CallbackItemContent::Other(_))),
                "{unknown}"
            );
        }
        assert_eq!(parse(b"key=value", NOW).dead.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_a_panic(body in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for body in [body.as_bytes(), &bytes] {
                let parsed = parse(body, NOW);
                prop_assert!(!parsed.items.is_empty() || !parsed.dead.is_empty());
            }
        }
    }
}
