//! Callbacks to the letter: each row of Meta's field tables, signed, over HTTP,
//! and what a user sees of it.

mod account;
mod calls;
mod hardening;
mod listed;
mod messages;
mod people;
mod retention;
mod standing;
mod statuses;
mod windows;

use serde_json::{Value, json};

use crate::harness::{Database, Test, TestApp};

/// The account of the tests' number.
pub const ACCOUNT: &str = "102290129340398";

pub fn tests() -> Vec<Test> {
    [
        account::tests(),
        calls::tests(),
        hardening::tests(),
        listed::tests(),
        messages::tests(),
        people::tests(),
        retention::tests(),
        standing::tests(),
        statuses::tests(),
        windows::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A callback with one change of a field, as the tests' account gets it.
pub fn change(field: &str, time: Option<i64>, value: Value) -> Vec<u8> {
    let mut entry = json!({ "id": ACCOUNT, "changes": [{ "field": field, "value": value }] });
    if let Some(time) = time {
        entry["time"] = json!(time);
    }
    json!({ "object": "whatsapp_business_account", "entry": [entry] })
        .to_string()
        .into_bytes()
}

/// Posts a change of a field, processes it, and nothing of it may be dead.
pub async fn told(app: &TestApp, field: &str, time: Option<i64>, value: Value) {
    let status = app.callback_bytes(change(field, time, value)).await;
    assert_eq!(status, 200);
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

/// Posts one inbound message with the contacts beside it; gives back what the API shows of it.
pub async fn said(app: &TestApp, contacts: Value, message: Value) -> Value {
    app.callback(json!({ "contacts": contacts, "messages": [message] }))
        .await;
    assert_eq!(
        app.number("SELECT count(*) FROM dead_letter").await,
        0,
        "{message}"
    );
    let (code, page) = app.get("/api/v1/messages?limit=1").await;
    assert_eq!(code, 200, "{page}");
    page["messages"][0].clone()
}

/// The usual person, with everything WhatsApp can know of somebody.
pub fn asha() -> Value {
    json!([{ "profile": { "name": "Asha", "username": "asha.k" }, "wa_id": "12025550101",
        "user_id": "US.13491208655302741918", "parent_user_id": "US.ENT.506847293015824" }])
}

/// A message of the usual person.
pub fn from_asha(id: &str, at: i64, kind: &str, content: Value) -> Value {
    let mut message = json!({ "from": "12025550101", "from_user_id": "US.13491208655302741918", "id": id,
        "timestamp": at.to_string(), "type": kind });
    message[kind] = content;
    message
}

pub async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(crate::harness::DEMO).await;
    app
}
