//! Nothing that a provider says is out of sight: what is not applied is listed with its value; and
//! what it calls its messages is shown to whoever may see numbers.

use serde_json::{Value, json};

use super::{app, asha, from_asha, told};
use crate::harness::{Database, PHONE_NUMBER_ID, TestApp};

crate::tests![
    what_is_not_applied_is_listed_with_its_field_and_value,
    a_stop_counts_while_something_else_holds_the_conversation,
    a_long_value_stays_with_its_callback,
    shapes_of_other_versions_are_read,
    a_person_is_found_by_the_id_that_spans_portfolios,
    edits_and_reactions_name_the_message_that_they_are_about,
    an_answer_quotes_a_message_by_our_id_or_the_provider_s,
];

const AT: i64 = 1_767_225_600;

async fn notices(app: &TestApp) -> Vec<Value> {
    let (code, page) = app.get("/api/v1/notices?limit=200").await;
    assert_eq!(code, 200, "{page}");
    page["notices"].as_array().unwrap().clone()
}

fn metadata() -> Value {
    json!({ "display_phone_number": "15550783881", "phone_number_id": PHONE_NUMBER_ID })
}

async fn what_is_not_applied_is_listed_with_its_field_and_value(database: Database) {
    let app = app(&database).await;
    let payment = json!({ "id": "wamid.p", "type": "payment", "status": "captured", "timestamp": AT, "recipient_id": "12025550101",
        "payment": { "reference_id": "r" } });
    let unknown = json!({ "id": "wamid.p", "status": "hologram", "timestamp": AT, "recipient_id": "12025550101" });
    let in_messages = |key: &str, value: Value| {
        let mut body = json!({ "metadata": metadata(), "contacts": asha() });
        body[key] = value;
        body
    };
    for (field, value, shown) in [
        (
            "group_lifecycle_update",
            json!({ "groups": [{ "group_id": "g" }] }),
            None,
        ),
        ("group_participants_update", json!({ "groups": [] }), None),
        (
            "smb_message_echoes",
            json!({ "message_echoes": [{ "id": "wamid.e" }] }),
            None,
        ),
        ("message_echoes", json!({ "message_echoes": [] }), None),
        ("smb_app_state_sync", json!({ "state_sync": [] }), None),
        ("history", json!({ "history": [{ "threads": [] }] }), None),
        ("messaging_handovers", json!({ "control_passed": {} }), None),
        ("standby", json!({ "standby": {} }), None),
        (
            "user_id_update",
            json!({ "user_id_update": [{ "user_id": { "previous": "US.1", "current": "US.2" } }] }),
            None,
        ),
        ("a_field_of_tomorrow", json!({ "x": 1 }), None),
        ("a_field_of_tomorrow", json!("text"), None),
        ("account_update_of_tomorrow", json!([1]), None),
        (
            "messages",
            in_messages("statuses", json!([payment])),
            Some(payment.clone()),
        ),
        (
            "messages",
            in_messages("statuses", json!([unknown])),
            Some(unknown.clone()),
        ),
        (
            "messages",
            in_messages("groups", json!([{ "group_id": "g" }])),
            Some(json!([{ "group_id": "g" }])),
        ),
        (
            "messages",
            json!({ "metadata": metadata() }),
            Some(json!({ "metadata": metadata() })),
        ),
        (
            "user_preferences",
            json!({ "metadata": metadata(), "user_preferences": [{ "wa_id": "12025550101", "value": "maybe" }] }),
            Some(json!({ "wa_id": "12025550101", "value": "maybe" })),
        ),
    ] {
        told(&app, field, Some(AT), value.clone()).await;
        let newest = notices(&app).await[0].clone();
        assert_eq!(newest["field"], field);
        assert_eq!(newest["value"], shown.unwrap_or(value), "{field}");
        assert_eq!(newest["outcome"], "not_applied");
        assert!(!newest["summary"].as_str().unwrap().is_empty());
    }
    assert_eq!(notices(&app).await.len(), 17, "each once");
}

async fn a_stop_counts_while_something_else_holds_the_conversation(database: Database) {
    let app = super::app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    for (level, name) in [(true, "wamid.s1"), (false, "wamid.s2")] {
        let message = from_asha(name, AT, "text", json!({ "body": "STOP" }));
        let mut inner = json!({ "contacts": asha(), "messages": [message],
            "statuses": [{ "id": wamid, "status": "read", "timestamp": AT.to_string(), "recipient_id": "12025550101" }] });
        // The metadata may stand on either level.
        let mut value = json!({ "messaging_product": "whatsapp" });
        let outer = if level { &mut value } else { &mut inner };
        outer["metadata"] = metadata();
        value["standby"] = inner;
        told(&app, "standby", None, value).await;
    }
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(person["wishes"][0]["wanted"], false, "{person}");
    assert_eq!(app.status_of(&id).await, "read");
    let (_, page) = app.get("/api/v1/messages").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    assert_eq!(
        notices(&app).await.len(),
        2,
        "the whole value is listed, too"
    );
}

async fn a_long_value_stays_with_its_callback(database: Database) {
    let app = app(&database).await;
    for (length, is_shown) in [(60_000, true), (70_000, false)] {
        let value = json!({ "history": "x".repeat(length) });
        told(&app, "history", None, value.clone()).await;
        let notice = &notices(&app).await[0];
        assert_eq!(notice["value"], if is_shown { value } else { Value::Null });
        let callback = app.newest_callback().await.to_string();
        assert_eq!(notice["callback"], callback);
    }
}

async fn shapes_of_other_versions_are_read(database: Database) {
    let app = app(&database).await;
    let post = async |message: Value| super::said(&app, asha(), message).await;
    // A message without its type.
    let place = json!({ "latitude": 37.44, "longitude": -122.16, "name": "Philz Coffee" });
    let bare = |id: &str, key: &str, content: Value| {
        let mut message = json!({ "from": "12025550101", "id": id, "timestamp": AT.to_string() });
        message[key] = content;
        message
    };
    let shown = post(bare("wamid.L1", "location", place.clone())).await;
    assert_eq!(
        (&shown["kind"], &shown["content"]),
        (&json!("location"), &place)
    );
    assert_eq!(shown["text"], "Philz Coffee");
    let shown = post(bare("wamid.L2", "text", json!({ "body": "STOP" }))).await;
    assert_eq!(
        (&shown["kind"], &shown["text"]),
        (&json!("text"), &json!("STOP"))
    );
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(person["wishes"][0]["wanted"], false, "{person}");
    // What a person sends in an interactive message of a kind that is not known.
    let paid = json!({ "payment_method": "offsite_card_pay", "reference_id": "r" });
    let interactive = json!({ "type": "payment_method", "payment_method": paid });
    let shown = post(from_asha("wamid.P1", AT, "interactive", interactive)).await;
    let payload: Value = serde_json::from_str(shown["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload, paid);
    // Statuses: the pricing of older versions, the member of a group, an error that is no list.
    let id = app.order("A-1", "+12025550104").await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    let mut status = json!({ "id": attempt["provider_message_id"], "status": "delivered", "timestamp": AT.to_string(),
        "recipient_id": "12025550104", "participant_recipient_id": "12025550102",
        "conversation": { "id": "c", "pricing": { "billable": true, "category": "utility", "type": "regular" } } });
    app.callback(json!({ "statuses": [status] })).await;
    let (_, counted) = app.get("/api/v1/stats").await;
    assert_eq!(counted["priced"]["utility/regular/US"], 1, "{counted}");
    let (_, story) = app.get(&format!("/api/v1/notifications/{id}")).await;
    assert!(story.to_string().contains("12025550102"), "{story}");
    let id = app.order("A-2", "+12025550103").await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    status = json!({ "id": attempt["provider_message_id"], "status": "failed", "timestamp": AT.to_string(),
        "errors": { "code": 131_026, "title": "Undeliverable" } });
    app.callback(json!({ "statuses": [status] })).await;
    assert_eq!(app.notification(&id).await["failure"]["code"], 131_026);
    app.callback(json!({ "errors": { "code": 130_429, "title": "Slow down" } }))
        .await;
    assert_eq!(notices(&app).await[0]["summary"], "account error 130429");
}

async fn a_person_is_found_by_the_id_that_spans_portfolios(database: Database) {
    let app = app(&database).await;
    super::said(
        &app,
        asha(),
        from_asha("wamid.1", AT, "text", json!({ "body": "hi" })),
    )
    .await;
    let (_, by_phone) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    for id in ["US.13491208655302741918", "US.ENT.506847293015824"] {
        let (code, found) = app.get(&format!("/api/v1/contacts?user_id={id}")).await;
        assert_eq!((code, &found["id"]), (200, &by_phone["id"]), "{id}");
    }
    assert_eq!(app.get("/api/v1/contacts?user_id=US.ENT.1").await.0, 404);
}

async fn edits_and_reactions_name_the_message_that_they_are_about(database: Database) {
    let app = app(&database).await;
    let post = async |id: &str, kind: &str, content: Value| {
        super::said(&app, asha(), from_asha(id, AT, kind, content)).await
    };
    let original = post("wamid.E1", "text", json!({ "body": "I want two" })).await;
    assert_eq!(original["provider_message_id"], "wamid.E1");
    assert_eq!(original["about"], Value::Null);
    let edited = json!({ "original_message_id": "wamid.E1", "message": { "type": "text", "text": { "body": "I want three" } } });
    for (id, kind, content) in [
        ("wamid.E2", "edit", edited),
        (
            "wamid.E3",
            "revoke",
            json!({ "original_message_id": "wamid.E1" }),
        ),
        (
            "wamid.E4",
            "reaction",
            json!({ "message_id": "wamid.E1", "emoji": "+" }),
        ),
    ] {
        let shown = post(id, kind, content).await;
        assert_eq!(
            (&shown["about"], &shown["kind"]),
            (&original["id"], &json!(kind))
        );
        let (_, one) = app
            .get(&format!(
                "/api/v1/messages/{}",
                shown["id"].as_str().unwrap()
            ))
            .await;
        assert_eq!(one["about"], original["id"]);
    }
    // A number can be read from it: only for those who may see numbers.
    let wanted = json!({ "product": "reader", "scopes": ["messages:read"], "all": true });
    let (code, key) = app.admin("POST", "/api/v1/keys", &wanted).await;
    assert_eq!(code, 201, "{key}");
    let answer = app
        .http
        .get(format!("{}/api/v1/messages", app.base))
        .bearer_auth(key["key"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    let page: Value = answer.json().await.unwrap();
    assert_eq!(
        page["messages"][0]["provider_message_id"],
        Value::Null,
        "{page}"
    );
    assert_eq!(page["messages"][0]["about"], original["id"]);
}

async fn an_answer_quotes_a_message_by_our_id_or_the_provider_s(database: Database) {
    let app = app(&database).await;
    app.pass(60);
    let asked = super::said(
        &app,
        asha(),
        from_asha("wamid.Q1", AT, "text", json!({ "body": "hello" })),
    )
    .await;
    for named in [asked["id"].as_str().unwrap(), "wamid.Q1"] {
        let body = json!({ "to": "+12025550101", "text": "Here I am", "reply_to": named });
        let (code, made) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{made}");
        app.send().await;
        let sent = app.meta.request(app.meta.calls() - 1);
        assert_eq!(sent["context"]["message_id"], "wamid.Q1", "{sent}");
    }
    for named in ["01997c2a-0000-7000-8000-000000000000", "Q1"] {
        let body = json!({ "to": "+12025550101", "text": "Here I am", "reply_to": named });
        let (code, problem) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(
            (code, &problem["errors"][0]["pointer"]),
            (422, &json!("/reply_to"))
        );
    }
}
