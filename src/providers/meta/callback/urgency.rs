//! Decides whether a callback is urgent, without parsing it completely.

use serde::{Deserialize, de::IgnoredAny};

#[derive(Deserialize)]
struct MetaEnvelopeForUrgencyCheck {
    entry: Vec<MetaEntryForUrgencyCheck>,
}

#[derive(Deserialize)]
struct MetaEntryForUrgencyCheck {
    changes: Vec<MetaChangeItemForUrgencyCheck>,
}

#[derive(Deserialize)]
struct MetaChangeItemForUrgencyCheck {
    field: String,
    value: MetaValueForUrgencyCheck,
}

#[derive(Deserialize)]
struct MetaValueForUrgencyCheck {
    statuses: Option<IgnoredAny>,
    messages: Option<IgnoredAny>,
}

/// Whether the body contains more than statuses of messages: messages from people (a STOP must be
/// obeyed at once), changed ids, account updates. A body with another shape than statuses is
/// urgent, and so is one that cannot be parsed.
pub fn is_urgent(body: &[u8]) -> bool {
    let Ok(envelope) = serde_json::from_slice::<MetaEnvelopeForUrgencyCheck>(body) else {
        return true;
    };
    let mut changes = envelope.entry.iter().flat_map(|entry| &entry.changes);
    // Calls have statuses, too: the field tells them apart.
    !changes.all(|change| {
        change.field == "messages"
            && change.value.statuses.is_some()
            && change.value.messages.is_none()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::is_urgent;

    fn body(changes: &[Value]) -> Vec<u8> {
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": changes }] })
            .to_string()
            .into_bytes()
    }

    fn change(field: &str, value: Value) -> Value {
        [("field", Value::from(field)), ("value", value)]
            .into_iter()
            .collect()
    }

    #[test]
    fn statuses_can_wait_and_everything_else_goes_first() {
        let statuses = || {
            change(
                "messages",
                json!({ "contacts": [], "statuses": [{ "id": "wamid.X", "status": "read" }] }),
            )
        };
        let message = || {
            change(
                "messages",
                json!({ "messages": [{ "text": { "body": "STOP" } }] }),
            )
        };
        assert!(!is_urgent(&body(&[statuses()])));
        assert!(!is_urgent(&body(&[statuses(), statuses()])));
        for urgent in [
            vec![message()],
            vec![statuses(), message()],
            vec![change(
                "messages",
                json!({ "statuses": [], "messages": [{}] }),
            )],
            vec![change("calls", json!({ "statuses": [{}] }))],
            vec![change(
                "account_update",
                json!({ "event": "DISABLED_UPDATE" }),
            )],
            vec![statuses(), change("user_preferences", json!({}))],
            vec![change("messages", json!({ "errors": [{ "code": 1 }] }))],
            vec![change("messages", json!("statuses"))],
        ] {
            assert!(is_urgent(&body(&urgent)), "{urgent:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_goes_first() {
        for text in ["", "not json", "[]", "{}", r#"{"entry":{}}"#] {
            assert!(is_urgent(text.as_bytes()), "{text}");
        }
        // A second name for the same thing must not hide it.
        let twice = r#"{"entry":[{"changes":[{"field":"messages","value":{"statuses":[],"messages":[1],"messages":null}}]}]}"#;
        assert!(is_urgent(twice.as_bytes()));
        // Nor must escaped letters.
        let escaped = r#"{"entry":[{"changes":[{"field":"messages","value":{"statuses":[],"mess\u0061ges":[1]}}]}]}"#;
        assert!(is_urgent(escaped.as_bytes()));
        // An empty envelope holds nothing urgent, and costs nothing.
        assert!(!is_urgent(br#"{"entry":[]}"#));
    }
}
