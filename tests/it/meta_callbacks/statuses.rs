//! `statuses[]`: every row of the field table (Meta, "Webhooks: status").

use serde_json::{Value, json};

use super::{app, told};
use crate::harness::{Database, TestApp};

crate::tests![
    every_status_is_shown_as_the_fact_it_is,
    what_is_no_delivery_status_moves_nothing,
    failures_are_kept_whole_and_explained,
    a_price_is_counted_once_however_often_it_is_told,
    the_provider_s_names_of_a_person_are_learned,
    statuses_of_groups_keep_their_participants,
    times_may_be_numbers_texts_early_or_late,
];

const AT: i64 = 1_767_225_610;

/// A sent order: its id, its attempt and its message id.
async fn sent(app: &TestApp, name: &str, phone: &str) -> (String, String, String) {
    let id = app.order(name, phone).await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    let text = |key: &str| attempt[key].as_str().unwrap().to_owned();
    (id, text("id"), text("provider_message_id"))
}

async fn status(app: &TestApp, contacts: Value, status: Value) {
    app.callback(json!({ "contacts": contacts, "statuses": [status] }))
        .await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn every_status_is_shown_as_the_fact_it_is(database: Database) {
    let app = app(&database).await;
    for (number, name) in ["sent", "delivered", "read", "played", "failed"]
        .into_iter()
        .enumerate()
    {
        let (id, attempt, wamid) = sent(
            &app,
            &format!("A-{number}"),
            &format!("+1202555012{number}"),
        )
        .await;
        let mut told = json!({ "id": wamid, "status": name, "timestamp": AT.to_string(), "recipient_id": format!("1202555012{number}"),
            "recipient_identity_key_hash": "DF2lS5v2W6x=", "biz_opaque_callback_data": attempt,
            "conversation": { "id": "c", "expiration_timestamp": "1767300000", "origin": { "type": "utility" } } });
        if name == "failed" {
            told["errors"] = json!([{ "code": 131_026, "title": "Undeliverable" }]);
        }
        // A failed status has no contacts.
        let contacts = if name == "failed" {
            json!(null)
        } else {
            super::asha()
        };
        status(&app, contacts, told).await;
        assert_eq!(app.status_of(&id).await, name);
    }
    // By wamid alone; and by our id when the wamid is not ours to know.
    let (id, attempt, wamid) = sent(&app, "B-1", "+12025550130").await;
    status(
        &app,
        json!([]),
        json!({ "id": wamid, "status": "sent", "timestamp": AT }),
    )
    .await;
    assert_eq!(app.status_of(&id).await, "sent");
    status(&app, json!([]), json!({ "id": "wamid.other", "status": "read", "timestamp": AT, "biz_opaque_callback_data": attempt })).await;
    assert_eq!(app.status_of(&id).await, "read");
    assert_eq!(
        app.number("SELECT count(*) FROM inbound_message").await,
        0,
        "contacts make no message"
    );
}

async fn what_is_no_delivery_status_moves_nothing(database: Database) {
    let app = app(&database).await;
    let (id, attempt, wamid) = sent(&app, "A-1", "+12025550101").await;
    for name in ["deleted", "warning", "hologram"] {
        status(&app, json!([]), json!({ "id": wamid, "status": name, "timestamp": AT, "biz_opaque_callback_data": attempt })).await;
    }
    let payment = json!({ "id": wamid, "type": "payment", "status": "captured", "timestamp": AT, "recipient_id": "12025550101",
        "payment": { "reference_id": "r", "amount": { "value": 21000, "offset": 100 }, "currency": "INR",
            "transaction": { "id": "t", "type": "razorpay", "status": "success", "created_timestamp": 1, "updated_timestamp": 2 } } });
    status(&app, json!([]), payment).await;
    assert_eq!(app.status_of(&id).await, "accepted");
    let (_, metrics) = app.text("/metrics").await;
    assert!(metrics.contains("herald_callback_other_total"), "{metrics}");
}

async fn failures_are_kept_whole_and_explained(database: Database) {
    let app = app(&database).await;
    let (id, attempt, wamid) = sent(&app, "A-1", "+12025550101").await;
    let errors = json!([
        { "code": 131_049, "title": "This message was not delivered", "message": "This message was not delivered",
          "error_data": { "details": "to maintain healthy ecosystem engagement" }, "href": "/documentation/errors" },
        { "code": 130_472, "title": "User's number is part of an experiment" } ]);
    status(&app, json!(null), json!({ "id": wamid, "status": "failed", "timestamp": AT, "biz_opaque_callback_data": attempt, "errors": errors })).await;
    let failure = app.notification(&id).await["failure"].clone();
    assert_eq!(failure["code"], 131_049);
    assert_eq!(
        failure["details"],
        "to maintain healthy ecosystem engagement"
    );
    assert_eq!(failure["provider_errors"], errors, "{failure}");
    assert!(failure["meaning"].as_str().unwrap().len() > 10, "{failure}");
    // No errors at all, and errors of another shape.
    for (name, errors) in [
        ("A-2", json!(null)),
        ("A-3", json!([])),
        ("A-4", json!([{ "code": "131000" }])),
        ("A-5", json!([{ "error_data": "text" }])),
    ] {
        let (id, attempt, wamid) = sent(&app, name, "+12025550140").await;
        status(&app, json!(null), json!({ "id": wamid, "status": "failed", "timestamp": AT, "biz_opaque_callback_data": attempt, "errors": errors })).await;
        assert!(
            ["failed", "retrying"].contains(&app.status_of(&id).await.as_str()),
            "{name}"
        );
    }
}

async fn a_price_is_counted_once_however_often_it_is_told(database: Database) {
    let app = app(&database).await;
    let (id, attempt, wamid) = sent(&app, "A-1", "+12025550101").await;
    let pricing = |category: &str| json!({ "billable": true, "pricing_model": "PMP", "type": "regular", "category": category });
    let told = |name: &str, seconds: i64, pricing: Value| {
        let mut told = json!({ "id": wamid, "status": name, "timestamp": AT + seconds, "biz_opaque_callback_data": attempt });
        if !pricing.is_null() {
            told["pricing"] = pricing;
        }
        told
    };
    status(&app, json!([]), told("read", 3, pricing("utility"))).await;
    status(&app, json!([]), told("sent", 1, pricing("utility"))).await;
    status(&app, json!([]), told("delivered", 2, json!(null))).await;
    assert_eq!(
        app.stats().await["priced"],
        json!({ "utility/regular/US": 1 })
    );
    // A later word on the same message replaces the earlier one.
    status(
        &app,
        json!([]),
        told("read", 9, pricing("authentication-international")),
    )
    .await;
    assert_eq!(
        app.stats().await["priced"],
        json!({ "authentication-international/regular/US": 1 })
    );
    // India assigns no number that begins so.
    let (_, attempt, wamid) = sent(&app, "A-2", "+910000000101").await;
    status(
        &app,
        json!([]),
        json!({ "id": wamid, "status": "sent", "timestamp": AT, "biz_opaque_callback_data": attempt,
        "pricing": { "type": "free_customer_service", "category": "service" } }),
    )
    .await;
    assert_eq!(
        app.stats().await["priced"]["service/free_customer_service/IN"],
        1
    );
    assert_eq!(app.status_of(&id).await, "read");
}

async fn the_provider_s_names_of_a_person_are_learned(database: Database) {
    let app = app(&database).await;
    // The number that was dialled is not written as WhatsApp writes it.
    let (_, attempt, wamid) = sent(&app, "A-1", "+5511955500151").await;
    status(&app, json!([]), json!({ "id": wamid, "status": "sent", "timestamp": AT, "recipient_id": "551155500151",
        "recipient_user_id": "BR.1", "parent_recipient_user_id": "BR.ENT.1", "biz_opaque_callback_data": attempt })).await;
    let (code, person) = app.get("/api/v1/contacts?phone=%2B5511955500151").await;
    assert_eq!(code, 200);
    let aliases: Vec<(&str, &str)> = person["aliases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alias| {
            (
                alias["kind"].as_str().unwrap(),
                alias["value"].as_str().unwrap(),
            )
        })
        .collect();
    for alias in [
        ("bsuid", "BR.1"),
        ("parent_bsuid", "BR.ENT.1"),
        ("phone", "+551155500151"),
        ("phone", "+5511955500151"),
    ] {
        assert!(aliases.contains(&alias), "{aliases:?}");
    }
    // What they write comes under that name, and is theirs.
    let message = json!({ "from": "551155500151", "id": "wamid.br", "timestamp": AT, "type": "text", "text": { "body": "oi" } });
    let seen = super::said(&app, json!([]), message).await;
    assert_eq!(seen["contact"], person["id"]);
    // A status that names another number says nothing of the one that was dialled.
    let (_, attempt, wamid) = sent(&app, "A-2", "+12025550150").await;
    status(
        &app,
        json!([]),
        json!({ "id": wamid, "status": "sent", "timestamp": AT, "recipient_id": "12025550159",
        "recipient_user_id": "BR.2", "biz_opaque_callback_data": attempt }),
    )
    .await;
    let (_, dialled) = app.get("/api/v1/contacts?phone=%2B12025550150").await;
    assert_eq!(dialled["aliases"].as_array().unwrap().len(), 1, "{dialled}");
    let message = json!({ "from_user_id": "BR.2", "id": "wamid.br2", "timestamp": AT, "type": "text", "text": { "body": "oi" } });
    let seen = super::said(&app, json!([]), message).await;
    assert_ne!(seen["contact"], dialled["id"]);
}

async fn statuses_of_groups_keep_their_participants(database: Database) {
    let app = app(&database).await;
    let (id, attempt, wamid) = sent(&app, "A-1", "+12025550101").await;
    let read = |participant: &str| {
        json!({ "id": wamid, "status": "read", "timestamp": AT, "recipient_type": "group", "recipient_id": "Y2FwaV9ncm91cDox",
            "recipient_participant_id": participant, "recipient_participant_user_id": format!("US.{participant}"),
            "biz_opaque_callback_data": attempt })
    };
    app.callback(json!({ "statuses": [read("12025550161"), read("12025550162")] }))
        .await;
    let story = app.notification(&id).await;
    let participants: Vec<&Value> = story["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| line["detail"].get("participant"))
        .collect();
    assert_eq!(participants, ["US.12025550161", "US.12025550162"]);
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    let group = "Y2FwaV9ncm91cDox";
    assert!(
        person["aliases"]
            .as_array()
            .unwrap()
            .iter()
            .all(|alias| alias["value"] != group)
    );
}

async fn times_may_be_numbers_texts_early_or_late(database: Database) {
    let app = app(&database).await;
    for (number, at) in [
        json!(AT),
        json!(AT.to_string()),
        json!(AT * 1000),
        json!("1"),
        json!(99_999_999_998_i64),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, attempt, wamid) = sent(
            &app,
            &format!("A-{number}"),
            &format!("+1202555017{number}"),
        )
        .await;
        status(&app, json!([]), json!({ "id": wamid, "status": "delivered", "timestamp": at, "biz_opaque_callback_data": attempt })).await;
        assert_eq!(app.status_of(&id).await, "delivered", "{at}");
    }
    // Without a readable time it is when we heard of it.
    let (id, attempt, wamid) = sent(&app, "B-1", "+12025550180").await;
    status(&app, json!([]), json!({ "id": wamid, "status": "sent", "timestamp": "soon", "biz_opaque_callback_data": attempt })).await;
    status(
        &app,
        json!([]),
        json!({ "id": wamid, "status": "delivered", "biz_opaque_callback_data": attempt,
        "recipient_parent_user_id": "US.ENT.1", "parent_recipient_user_id": "US.ENT.1" }),
    )
    .await;
    assert_eq!(app.status_of(&id).await, "delivered");
    // The envelope as the page shows it, empty lists and all, is no error.
    let empty = json!({ "messages": [], "statuses": [], "contacts": [], "errors": [] });
    told(&app, "messages", None, empty).await;
    assert_eq!(app.number("SELECT count(*) FROM notice").await, 0);
}
