//! The 24-hour window: opened by the message's own time, told of once.

use herald::{domain::own_event::HeraldEventType, engine::delivery::service_window};
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Value, json};

use super::{app, from_asha, said};
use crate::{
    harness::{Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    a_window_is_closing_once_and_closed_once,
    a_message_that_is_a_week_late_opens_nothing,
    a_later_message_moves_the_window_and_an_older_one_does_not,
    a_window_that_nobody_listens_to_makes_no_event,
    windows_end_the_same_in_any_order,
];

const AT: i64 = 1_767_225_600;

const ROUTES: &str = "name = \"windows\"\n[[template]]\nname = \"still_there\"\ncategory = \"utility\"\nbody = \"Still there, {{ name }}?\"\n\
    [[route]]\nname = \"closing\"\nevent = \"herald.window.closing\"\nto = \"{{ data.phone }}\"\ntemplate = \"still_there\"\nparams = { name = \"{{ data.name }}\" }\n\
    [[route]]\nname = \"closed\"\nevent = \"herald.window.closed\"\nto = \"contact:{{ data.contact }}\"\ntemplate = \"still_there\"\nparams = { name = \"{{ data.name }}\" }\n";

async fn writes(app: &TestApp, id: &str, at: i64) {
    said(
        app,
        super::asha(),
        from_asha(id, at, "text", json!({ "body": "x" })),
    )
    .await;
}

async fn turn(app: &TestApp) {
    while service_window::turn(&app.engine, app.now()).await.unwrap() > 0 {}
}

async fn told(app: &TestApp) -> Vec<String> {
    let (_, page) = app.get("/api/v1/notifications").await;
    let mut kinds: Vec<String> = page["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["event_type"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    kinds
}

async fn a_window_is_closing_once_and_closed_once(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(ROUTES).await;
    writes(&app, "wamid.1", AT).await;
    app.pass(23 * 3600 - 1);
    turn(&app).await;
    assert!(told(&app).await.is_empty());
    app.pass(1);
    turn(&app).await;
    turn(&app).await;
    assert_eq!(told(&app).await, ["herald.window.closing"]);
    app.pass(3600);
    turn(&app).await;
    turn(&app).await;
    assert_eq!(
        told(&app).await,
        ["herald.window.closed", "herald.window.closing"]
    );
    let (_, page) = app.get("/api/v1/notifications").await;
    assert!(
        page["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["group"] == "pending"),
        "both found their person: {page}"
    );
    // Another window is another story.
    writes(&app, "wamid.2", AT + 30 * 3600).await;
    app.pass(7 * 24 * 3600);
    turn(&app).await;
    assert_eq!(
        told(&app).await,
        [
            "herald.window.closed",
            "herald.window.closed",
            "herald.window.closing"
        ],
        "of a window that was over before anybody looked, only the end is told"
    );
    are_like_their_examples(&app, HeraldEventType::WindowClosed).await;
}

async fn a_message_that_is_a_week_late_opens_nothing(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(ROUTES).await;
    app.pass(7 * 24 * 3600);
    writes(&app, "wamid.1", AT).await;
    turn(&app).await;
    assert!(told(&app).await.is_empty());
    let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(person["windows"][0]["open"], false);
}

async fn a_later_message_moves_the_window_and_an_older_one_does_not(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(ROUTES).await;
    app.pass(7200);
    writes(&app, "wamid.1", AT + 7200).await;
    writes(&app, "wamid.0", AT).await;
    app.pass(22 * 3600);
    turn(&app).await;
    assert!(
        told(&app).await.is_empty(),
        "the older message does not bring the end forward"
    );
    app.pass(3600);
    turn(&app).await;
    assert_eq!(told(&app).await, ["herald.window.closing"]);
    let now = AT + 7200 + 23 * 3600;
    writes(&app, "wamid.2", now).await;
    app.pass(2 * 3600);
    turn(&app).await;
    assert_eq!(
        told(&app).await,
        ["herald.window.closing"],
        "it is open again"
    );
    app.pass(21 * 3600);
    turn(&app).await;
    assert_eq!(
        told(&app).await,
        ["herald.window.closing", "herald.window.closing"]
    );
}

async fn a_window_that_nobody_listens_to_makes_no_event(database: Database) {
    let app = app(&database).await;
    writes(&app, "wamid.1", AT).await;
    app.pass(25 * 3600);
    turn(&app).await;
    assert_eq!(app.number("SELECT count(*) FROM event").await, 0);
    let (_, metrics) = app.text("/metrics").await;
    assert!(metrics.contains("herald_windows_total"), "{metrics}");
}

async fn windows_end_the_same_in_any_order(database: Database) {
    let times = [AT, AT + 100, AT + 100, AT + 5000, AT - 90_000];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let orders = Just((0..times.len()).collect::<Vec<usize>>()).prop_shuffle();
    let mut whole: Option<Value> = None;
    for _ in 0..6 {
        let app = app(&database).await;
        app.pass(6000);
        for index in orders.new_tree(&mut runner).unwrap().current() {
            writes(&app, &format!("wamid.{index}"), times[index]).await;
        }
        let (_, person) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
        let mut windows = person["windows"].clone();
        windows[0]["sender"] = json!(null);
        assert_eq!(
            app.number("SELECT wake_at FROM conversation").await,
            (AT + 5000 + 23 * 3600) * 1_000_000
        );
        match &whole {
            None => whole = Some(windows),
            Some(whole) => assert_eq!(*whole, windows),
        }
    }
}
