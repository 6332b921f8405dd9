//! The record in a notification's row: complete however much happens, and bad for one message only.

use herald::engine::runtime::retention::RetentionCleaner;
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, status};

crate::tests![
    a_timeline_stays_complete_when_its_record_has_no_room,
    a_record_that_cannot_be_read_harms_no_other_message,
    a_status_is_matched_whatever_it_names,
    a_status_undoes_nothing_that_came_with_it,
    what_a_failure_shows_comes_and_goes_beside_other_statuses,
    timers_without_a_follow_up_are_removed,
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
    let good = app.order("A-2", "+12025550102").await;
    let never = app.order("A-3", "+12025550103").await;
    let damage = async |id: &str| {
        let hex = id.replace('-', "");
        app.sql(&match database {
            Database::Sqlite => {
                format!("UPDATE notification SET record = x'01ff' WHERE id = x'{hex}'")
            }
            Database::Postgres => {
                format!("UPDATE notification SET record = '\\x01ff'::bytea WHERE id = '{id}'")
            }
        })
        .await;
    };
    // It is due, and not sent; the other one is.
    damage(&never).await;
    app.send().await;
    assert_eq!(app.status_of(&good).await, "accepted");
    assert_eq!(app.meta.calls(), 2);
    // Each has a reminder planned.
    app.told(&bad, "delivered", None).await;
    app.told(&good, "delivered", None).await;
    let timers = "SELECT count(*) FROM follow_up_timer";
    assert_eq!(app.number(timers).await, 2);
    damage(&bad).await;
    let at = app.now().unix_seconds();
    let wamid = attempt["provider_message_id"].as_str().unwrap();
    let of_bad = status(wamid, None, "sent", at, None);
    app.callback(json!({ "statuses": [of_bad] })).await;
    app.told(&good, "sent", None).await;
    assert_eq!(app.status_of(&good).await, "delivered");
    assert_eq!(app.callbacks_waiting().await, 0);
    let reasons = app.texts("SELECT reason FROM dead_letter").await;
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("unreadable record"), "{reasons:?}");
    // Nor does it stop what is due of others.
    app.sql("UPDATE notification SET wake_at = 1").await;
    app.watch().await;
    app.watch().await;
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE wake_at = 1")
            .await,
        0
    );
    app.pass(48 * 3600);
    app.follow_up().await;
    assert_eq!(app.number(timers).await, 0);
    let fired = app.texts("SELECT state FROM follow_up").await;
    assert_eq!(fired, ["fired"], "that of the other one");
    // Nor does it keep what is old.
    app.pass(181 * 24 * 3600);
    let mut cleaner = RetentionCleaner::default();
    while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
    let lines = app.notification(&good).await["timeline"].clone();
    assert_eq!(lines, json!([]));
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

async fn a_status_undoes_nothing_that_came_with_it(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let (id, attempt) = sent(&app, "A-1", "+12025550101").await;
    app.told(&id, "failed", Some(131_026)).await;
    // It waits until its person has an address again.
    app.sql(
        "UPDATE notification SET engine_state = 'held', status = 'held', open_status = 'held', held_for = 'address', due_at = NULL",
    )
    .await;
    let at = app.now().unix_seconds();
    let our_id = format!("{}.{id}", attempt["id"].as_str().unwrap());
    let wamid = attempt["provider_message_id"].as_str().unwrap();
    let known = status(wamid, Some(&our_id), "failed", at, Some(131_026));
    // One body names another id of that person, and says again that the first attempt failed.
    app.callback(json!({
        "contacts": [{ "wa_id": "12025550101", "user_id": "US.13491208655302741918" }],
        "messages": [{ "id": "wamid.in", "from": "12025550101", "from_user_id": "US.13491208655302741918",
            "timestamp": at.to_string(), "type": "text", "text": { "body": "Here I am." } }],
        "statuses": [known],
    }))
    .await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn what_a_failure_shows_comes_and_goes_beside_other_statuses(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let mut messages = Vec::new();
    for (number, phone) in [("A-1", "+12025550101"), ("A-2", "+12025550102")] {
        messages.push(sent(&app, number, phone).await);
    }
    let shown = "SELECT count(*) FROM notification WHERE failure IS NOT NULL";
    // In one body, more changes of the second message than its status.
    for (reported, failures) in [
        ([("sent", None), ("failed", Some(131_026))], 1),
        ([("delivered", None), ("failed", Some(131_026))], 1),
        ([("read", None), ("delivered", None)], 0),
        ([("played", None), ("read", None)], 0),
    ] {
        app.pass(10);
        let at = app.now().unix_seconds();
        let statuses: Vec<Value> = messages
            .iter()
            .zip(reported)
            .map(|((id, attempt), (name, code))| {
                let our_id = format!("{}.{id}", attempt["id"].as_str().unwrap());
                let wamid = attempt["provider_message_id"].as_str().unwrap();
                status(wamid, Some(&our_id), name, at, code)
            })
            .collect();
        app.callback(json!({ "statuses": statuses })).await;
        for ((id, _), (name, _)) in messages.iter().zip(reported) {
            assert_eq!(app.status_of(id).await, name);
        }
        assert_eq!(app.number(shown).await, failures, "{reported:?}");
    }
    let failed = app.notification(&messages[1].0).await;
    assert_eq!(failed["failure"], Value::Null);
    let kinds = failed["timeline"].as_array().unwrap().iter();
    assert_eq!(kinds.filter(|line| line["kind"] == "failed").count(), 1);
}

async fn timers_without_a_follow_up_are_removed(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let (id, _) = sent(&app, "A-1", "+12025550101").await;
    let (gone, other) = (uuid::Uuid::from_u128(7), uuid::Uuid::from_u128(8));
    for notification in [gone.to_string(), id] {
        let [timer, notification] = [other.to_string(), notification].map(|id| match database {
            Database::Sqlite => format!("x'{}'", id.replace('-', "")),
            Database::Postgres => format!("'{id}'::uuid"),
        });
        app.sql(&format!(
            "INSERT INTO follow_up_timer (due_at, follow_up_id, notification_id) VALUES (1, {timer}, {notification})"
        ))
        .await;
        app.follow_up().await;
        assert_eq!(app.number("SELECT count(*) FROM follow_up_timer").await, 0);
    }
}
