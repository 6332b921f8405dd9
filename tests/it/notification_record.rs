//! The record in a notification's row: complete however much happens, and bad for one message only.

use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, status};

crate::tests![
    a_timeline_stays_complete_when_its_record_has_no_room,
    a_record_that_cannot_be_read_harms_no_other_message,
    a_status_is_matched_whatever_it_names,
];

async fn sent(app: &TestApp, order: &str, phone: &str) -> (String, Value) {
    let id = app.order(order, phone).await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    (id, attempt)
}

async fn a_timeline_stays_complete_when_its_record_has_no_room(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let (id, _) = sent(&app, "A-1", "+12025550101").await;
    let before = app.notification(&id).await["timeline"]
        .as_array()
        .unwrap()
        .len();
    app.told(&id, "sent", None).await;
    // Each says something that is known, and is on the timeline all the same.
    for second in 1..=60 {
        app.pass(second);
        app.told(&id, "sent", None).await;
    }
    let found = app.notification(&id).await;
    let lines = found["timeline"].as_array().unwrap();
    assert_eq!(lines.len(), before + 61);
    assert!(app.number("SELECT count(*) FROM timeline").await > 30);
    let times: Vec<&str> = lines
        .iter()
        .map(|line| line["at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(lines.last().unwrap()["callback"].is_string());
    let attempt = &found["attempts"][0]["id"];
    assert!(
        lines[before..]
            .iter()
            .all(|line| line["attempt"] == *attempt)
    );
}

async fn a_record_that_cannot_be_read_harms_no_other_message(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let (bad, attempt) = sent(&app, "A-1", "+12025550101").await;
    let (good, _) = sent(&app, "A-2", "+12025550102").await;
    let hex = bad.replace('-', "");
    let (record, whose) = match database {
        Database::Sqlite => ("x'01ff'", format!("x'{hex}'")),
        Database::Postgres => ("'\\x01ff'::bytea", format!("'{hex}'::uuid")),
    };
    app.sql(&format!(
        "UPDATE notification SET record = {record} WHERE id = {whose}"
    ))
    .await;
    let at = app.now().unix_seconds();
    let wamid = attempt["provider_message_id"].as_str().unwrap();
    let of_bad = status(wamid, None, "delivered", at, None);
    app.callback(json!({ "statuses": [of_bad] })).await;
    app.told(&good, "delivered", None).await;
    assert_eq!(app.status_of(&good).await, "delivered");
    assert_eq!(app.callbacks_waiting().await, 0);
    let reasons = app.texts("SELECT reason FROM dead_letter").await;
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("unreadable record"), "{reasons:?}");
    // Its timers do not stop the others either.
    app.pass(48 * 3600);
    app.follow_up().await;
    let (code, _) = app.get(&format!("/api/v1/notifications/{bad}")).await;
    assert_eq!(code, 500);
}

async fn a_status_is_matched_whatever_it_names(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let other = uuid::Uuid::from_u128(7);
    for (number, named) in [
        // By an attempt alone, by one that its notification has not, and by nothing of ours.
        ("A-1", "{attempt}".to_owned()),
        ("A-2", format!("{{attempt}}.{other}")),
        ("A-3", format!("{other}.{{notification}}")),
        ("A-4", "something else".to_owned()),
    ] {
        let (id, attempt) = sent(&app, number, "+12025550101").await;
        let our_id = named
            .replace("{attempt}", attempt["id"].as_str().unwrap())
            .replace("{notification}", &id);
        let wamid = attempt["provider_message_id"].as_str().unwrap();
        let at = app.now().unix_seconds();
        let told = status(wamid, Some(&our_id), "delivered", at, None);
        app.callback(json!({ "statuses": [told] })).await;
        assert_eq!(app.status_of(&id).await, "delivered", "{our_id}");
        app.pass(10);
    }
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 0);
}
