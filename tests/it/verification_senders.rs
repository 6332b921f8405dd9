//! Which sender a code leaves from, and what the story of its messages says.

use std::{path::Path, sync::Arc};

use herald::{engine::verification, providers::ProviderRegistry};
use serde_json::{Value, json};

use crate::{
    harness::{Database, TestApp, fresh_database, status, value},
    toy_channel::FileProvider,
};

crate::tests![
    a_named_sender_must_serve_one_of_the_channels,
    codes_leave_from_the_sender_that_is_first_for_the_product,
    the_story_of_a_code_names_its_verification,
    a_receipt_that_waits_to_be_applied_is_waited_for,
    nothing_falls_back_while_sending_is_on_hold,
];

const MOBILE_MONEY: &str = include_str!("../../deploy/catalogues/mobile-money.toml");

/// A server with two senders of a second channel.
async fn server(database: &Database, folder: &Path) -> TestApp {
    let url = fresh_database(database, folder).await;
    let providers = ProviderRegistry::standard().with(Arc::new(FileProvider));
    let app = TestApp::start_with(&url, &[], providers).await;
    app.apply_catalogue(MOBILE_MONEY).await;
    for name in ["older", "newer"] {
        let path = folder.join(name).with_extension("txt");
        let sender = json!({ "name": name, "kind": "file", "endpoint_id": name, "settings": { "path": path } });
        let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
        assert_eq!(code, 201, "{made}");
    }
    app
}

fn request(channels: &[&str]) -> Value {
    json!({ "to": "+12025550101", "template": "otp_verification", "channels": channels, "fallback_after": 20 })
}

/// The ids of a verification's messages.
async fn sends(app: &TestApp, verification: &Value) -> Vec<String> {
    let path = format!(
        "/api/v1/verifications/{}",
        verification["id"].as_str().unwrap()
    );
    let (_, shown) = app.get(&path).await;
    let sends = shown["sends"].as_array().unwrap().iter();
    sends
        .map(|send| send["notification_id"].as_str().unwrap().to_owned())
        .collect()
}

async fn sender_of(app: &TestApp, notification: &str) -> String {
    let (_, story) = app
        .get(&format!("/api/v1/notifications/{notification}/story"))
        .await;
    let sender = story["sender"].as_str().unwrap().parse().unwrap();
    let ring = app.engine.keyring();
    ring.account(sender).unwrap().name.clone()
}

async fn a_named_sender_must_serve_one_of_the_channels(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = server(&database, folder.path()).await;
    let mut body = request(&["whatsapp"]);
    body["sender"] = json!("older");
    let (code, problem) = app.post("/api/v1/verifications", &body).await;
    assert_eq!(code, 422, "{problem}");
    assert_eq!(
        problem["errors"],
        json!([{ "pointer": "/sender", "rule": "it serves sms, which is none of the channels" }])
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
    body["channels"] = json!(["whatsapp", "sms"]);
    let (code, made) = app.post("/api/v1/verifications", &body).await;
    assert_eq!(code, 201, "{made}");
    app.pass(20);
    verification::turn(&app.engine, app.now()).await.unwrap();
    let sends = sends(&app, &made).await;
    assert_eq!(sender_of(&app, &sends[1]).await, "older");
    app.shut_down().await;
}

/// As messages that are asked for by the same key do.
async fn codes_leave_from_the_sender_that_is_first_for_the_product(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = server(&database, folder.path()).await;
    let key = json!({ "product": "wallet", "catalogue": "mobile-money", "senders": ["newer", "older"],
        "scopes": ["verifications:write", "verifications:read", "notifications:write"] });
    let (code, key) = app.admin("POST", "/api/v1/keys", &key).await;
    assert_eq!(code, 201, "{key}");
    let post = async |path: &str, body: &Value| -> Value {
        let request = app.http.post(format!("{}{path}", app.base)).json(body);
        let answer = request
            .bearer_auth(key["key"].as_str().unwrap())
            .send()
            .await;
        answer.unwrap().json().await.unwrap()
    };
    let made = post("/api/v1/verifications", &request(&["sms"])).await;
    let code = sends(&app, &made).await.remove(0);
    assert_eq!(sender_of(&app, &code).await, "newer");
    let body = json!({ "to": "+12025550102", "text": "Hello", "channels": ["sms"] });
    let text = post("/api/v1/notifications", &body).await;
    let text = text["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(sender_of(&app, text).await, "newer");
    app.shut_down().await;
}

async fn the_story_of_a_code_names_its_verification(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = server(&database, folder.path()).await;
    let (code, made) = app
        .post("/api/v1/verifications", &request(&["whatsapp", "sms"]))
        .await;
    assert_eq!(code, 201, "{made}");
    app.pass(20);
    verification::turn(&app.engine, app.now()).await.unwrap();
    let id = made["id"].as_str().unwrap();
    let sends = sends(&app, &made).await;
    let (first, second) = (&sends[0], &sends[1]);
    let origin = async |notification: &str| {
        let path = format!("/api/v1/notifications/{notification}/story");
        app.get(&path).await.1["origin"].clone()
    };
    let of_first = origin(first).await;
    assert_eq!(of_first["verification"], id);
    assert_eq!(of_first["parent"], Value::Null);
    assert_eq!(
        of_first["text"],
        format!("It carries the code of the verification {id}.")
    );
    let of_second = origin(second).await;
    assert_eq!(of_second["verification"], id);
    assert_eq!(of_second["parent"], *first);
    assert_eq!(
        of_second["text"],
        format!(
            "It carries the code of the verification {id} again: the notification {first} by whatsapp was the one before."
        )
    );
    // A label of the same name is no proof.
    let labelled =
        json!({ "to": "+12025550102", "text": "Hello", "labels": { "verification": id } });
    let (code, answer) = app.post("/api/v1/notifications", &labelled).await;
    assert_eq!(code, 202, "{answer}");
    let of_other = origin(answer["notifications"][0]["id"].as_str().unwrap()).await;
    assert_eq!(of_other["verification"], Value::Null);
    assert_eq!(of_other["text"], "It was requested directly.");
    app.shut_down().await;
}

/// A code that left by WhatsApp, and is due by the second channel: its verification.
async fn due(app: &TestApp) -> Value {
    let (code, made) = app
        .post("/api/v1/verifications", &request(&["whatsapp", "sms"]))
        .await;
    assert_eq!(code, 201, "{made}");
    app.send().await;
    app.pass(20);
    made
}

async fn turn(app: &TestApp) {
    verification::turn(&app.engine, app.now()).await.unwrap();
}

async fn a_receipt_that_waits_to_be_applied_is_waited_for(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = server(&database, folder.path()).await;
    let made = due(&app).await;
    let first = sends(&app, &made).await.remove(0);
    let shown = app.notification(&first).await;
    let wamid = shown["attempts"][0]["provider_message_id"]
        .as_str()
        .unwrap();
    app.pass(-5);
    let receipt = status(wamid, None, "delivered", app.now().unix_seconds(), None);
    let body = value(json!({ "statuses": [receipt] }))
        .to_string()
        .into_bytes();
    assert_eq!(app.callback_bytes(body).await, 200);
    app.pass(6);
    turn(&app).await;
    assert_eq!(sends(&app, &made).await.len(), 1, "it may be the receipt");
    app.process().await;
    turn(&app).await;
    assert_eq!(sends(&app, &made).await.len(), 1, "it was delivered");
    // Something else that nothing applies does not delay a code for ever.
    let other = due(&app).await;
    app.pass(-5);
    let receipt = status(
        "wamid.OTHER",
        None,
        "delivered",
        app.now().unix_seconds(),
        None,
    );
    let body = value(json!({ "statuses": [receipt] }))
        .to_string()
        .into_bytes();
    assert_eq!(app.callback_bytes(body).await, 200);
    app.pass(34);
    turn(&app).await;
    assert_eq!(sends(&app, &other).await.len(), 1);
    app.pass(1);
    turn(&app).await;
    assert_eq!(sends(&app, &other).await.len(), 2);
    app.shut_down().await;
}

async fn nothing_falls_back_while_sending_is_on_hold(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = server(&database, folder.path()).await;
    let made = due(&app).await;
    let (code, held) = app
        .admin("POST", "/api/v1/hold", &json!({ "reason": "a test" }))
        .await;
    assert!(code < 300, "{held}");
    turn(&app).await;
    assert_eq!(sends(&app, &made).await.len(), 1);
    let (code, released) = app.admin("POST", "/api/v1/hold/release", &json!({})).await;
    assert!(code < 300, "{released}");
    turn(&app).await;
    assert_eq!(sends(&app, &made).await.len(), 2);
    app.shut_down().await;
}
