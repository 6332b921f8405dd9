//! Bodies of requests are objects, and what is wrong with one is said with its field.

use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    no_operation_takes_a_list_for_an_object,
    what_is_wrong_with_a_body_is_said_with_its_field,
    an_array_of_events_makes_nothing,
];

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn no_operation_takes_a_list_for_an_object(database: Database) {
    let app = app(&database).await;
    let (_, text) = app.text("/api/v1/openapi.json").await;
    let contract: Value = serde_json::from_str(&text).unwrap();
    let (_, senders) = app.get("/api/v1/senders").await;
    let sender = senders[0]["id"].as_str().unwrap();
    let mut asked = 0;
    for (path, operations) in contract["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["requestBody"].is_null() {
                continue;
            }
            let path = path
                .replace("{sender}", sender)
                .replace("{id}", "019b76da-a800-7000-8001-57cfe80753bf")
                .replace("{name}", "admins");
            for body in [
                json!([]),
                json!([null]),
                json!(["a", "b", "c", {}, []]),
                json!("a"),
                json!(1),
            ] {
                let (code, problem) = app.admin(&method.to_uppercase(), &path, &body).await;
                asked += 1;
                assert!(
                    code == 400 || code == 404,
                    "{method} {path} {body}: {code} {problem}"
                );
                if code == 400 {
                    let detail = problem["detail"].as_str().unwrap();
                    assert!(
                        detail.starts_with("expected an object"),
                        "{method} {path} {body}: {detail}"
                    );
                }
            }
        }
    }
    assert!(asked > 70, "{asked}");
}

async fn what_is_wrong_with_a_body_is_said_with_its_field(database: Database) {
    let app = app(&database).await;
    let notification = |more: Value| {
        let mut body = json!({ "to": "+12025550101", "text": "x" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let buttons = |buttons: Value| json!({ "type": "buttons", "body": "x", "buttons": buttons });
    for (path, body, said) in [
        (
            "/api/v1/notifications",
            notification(json!({ "to": 123 })),
            "/to: expected a recipient as a text, or a list of them",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "to": ["+12025550101", 5] })),
            "/to/1: expected a string",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "to": { "phone": "x" } })),
            "/to: expected a recipient",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "text": ["x", true] })),
            "/text: expected a text, or an object",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "text": { "body": 1 } })),
            "/text/body: expected a string",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "media": ["image", null, "https://example.org/x"] })),
            "/media: expected an object",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "media": { "type": "hologram" } })),
            "/media/type: expected one of",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "fallback": ["hello", "en", {}] })),
            "/fallback: expected an object",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "interactive": ["buttons", { "body": "x" }] })),
            "/interactive: expected an object",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "interactive": buttons(json!([["id", "title"]])) })),
            "/interactive: expected an object",
        ),
        (
            "/api/v1/notifications",
            notification(
                json!({ "interactive": { "type": "list", "body": "x", "button": "b", "sections": [["t", []]] } }),
            ),
            "/interactive: expected an object",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "labels": { "a/b": 1 } })),
            "/labels/a~1b: expected a string",
        ),
        (
            "/api/v1/notifications",
            notification(json!({ "colour": 1 })),
            "/colour: unknown field `colour`",
        ),
        (
            "/api/v1/notifications",
            json!({ "text": "x" }),
            "missing field `to`",
        ),
        (
            "/api/v1/notifications/retry",
            json!({ "filter": ["failed"] }),
            "/filter: expected an object",
        ),
        (
            "/api/v1/notifications/retry",
            json!({ "filter": { "status": 7 } }),
            "/filter/status: expected",
        ),
        (
            "/api/v1/events",
            json!({ "id": 7, "source": "s", "type": "t" }),
            "/id: expected a string",
        ),
        (
            "/api/v1/contacts",
            json!({ "phone": "+12025550101", "preferences": "x" }),
            "/preferences",
        ),
    ] {
        let (code, problem) = app.post(path, &body).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!(code, 400, "{body}: {problem}");
        assert!(detail.starts_with(said), "{body}: {detail}");
        assert!(!detail.contains("untagged"), "{detail}");
        assert!(
            !detail.contains("hologram"),
            "a value is never repeated: {detail}"
        );
    }
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
}

async fn an_array_of_events_makes_nothing(database: Database) {
    let app = app(&database).await;
    // What would be read by position.
    let event = json!(["1", "tests", "demo.order.created", null, null,
        { "phone": "+12025550101", "customer": "A", "order_number": "1" }, null]);
    let batch = json!([{ "id": "1", "source": "tests", "type": "demo.order.created", "data": {} }]);
    for body in [event, batch] {
        let (code, problem) = app.post("/api/v1/events", &body).await;
        assert_eq!(code, 400, "{problem}");
    }
    assert_eq!(app.number("SELECT count(*) FROM event").await, 0);
}
