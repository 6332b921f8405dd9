//! Alarms: raised once, cleared once, and answered by routes like any event.

use herald::{
    domain::own_event::HeraldEventType,
    engine::{
        insight::{alarms, attention},
        runtime::heartbeat,
    },
};
use serde_json::json;

use crate::{
    harness::{DEMO, Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    many_failures_raise_one_alarm_that_is_cleared_when_they_are_few,
    processes_that_look_at_the_same_time_raise_an_alarm_once,
    a_worker_that_gives_no_sign_of_life_is_named,
    a_worker_that_died_before_the_start_raises_no_alarm,
    what_is_gone_is_wrong_no_more,
    a_process_whose_clock_is_wrong_judges_nothing,
    a_message_that_is_due_for_long_raises_an_alarm,
    nothing_heard_of_what_was_accepted_raises_an_alarm,
];

const ROUTES: &str = r#"
[[route]]
name = "demo-alarms"
event = "herald.alarm.raised"
when = "data.alarm == 'failure_rate'"
to = ["contact:tariro"]
template = "jaspers_market_plain_text_v1"

[[route]]
name = "demo-all-clear"
event = "herald.alarm.cleared"
when = "data.alarm == 'nothing'"
to = ["contact:tariro"]
template = "jaspers_market_plain_text_v1"
"#;

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&format!("{DEMO}\n{ROUTES}")).await;
    app
}

async fn turn(app: &TestApp) -> usize {
    alarms::turn(&app.engine, app.now()).await.unwrap()
}

/// What is wrong now, by kind.
async fn wrong(app: &TestApp) -> Vec<&'static str> {
    let found = attention::findings(&app.engine, app.now()).await.unwrap();
    found.iter().map(|finding| finding.kind.name()).collect()
}

async fn events(app: &TestApp, word: &str) -> i64 {
    app.number(&format!(
        "SELECT count(*) FROM event WHERE event_type = 'herald.alarm.{word}'"
    ))
    .await
}

async fn many(app: &TestApp, from: i32, count: i32) -> Vec<String> {
    let mut ids = Vec::new();
    for number in from..from + count {
        let phone = format!("+120255501{:02}", number % 90);
        ids.push(app.order(&format!("A-{number}"), &phone).await);
    }
    app.send().await;
    ids
}

async fn many_failures_raise_one_alarm_that_is_cleared_when_they_are_few(database: Database) {
    let app = ready(&database).await;
    let ids = many(&app, 1, 19).await;
    for id in &ids[..3] {
        app.told(id, "failed", Some(131_026)).await;
    }
    // Their alerts to the admins are no messages of the event; they count as messages.
    assert_eq!(turn(&app).await, 0, "too few to say");
    many(&app, 100, 8).await;
    assert_eq!(turn(&app).await, 1);
    assert_eq!(wrong(&app).await, ["failure_rate"]);
    app.pass(60);
    assert_eq!(turn(&app).await, 0, "it rings once");
    app.settle().await;
    let (_, told) = app
        .get("/api/v1/notifications?type=herald.alarm.raised")
        .await;
    let told = told["notifications"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["recipient"], "contact:tariro");
    // Between the bounds it stays; below the lower one it is over.
    many(&app, 200, 8).await;
    assert_eq!(turn(&app).await, 0);
    assert_eq!(wrong(&app).await, ["failure_rate"]);
    many(&app, 300, 40).await;
    assert_eq!(turn(&app).await, 1);
    assert!(wrong(&app).await.is_empty());
    assert_eq!(turn(&app).await, 0);
    assert_eq!(
        (events(&app, "raised").await, events(&app, "cleared").await),
        (1, 1)
    );
    are_like_their_examples(&app, HeraldEventType::AlarmRaised).await;
    let (_, metrics) = app.text("/metrics").await;
    assert!(
        metrics.contains("herald_alarms{alarm=\"failure_rate\"} 0"),
        "{metrics}"
    );
    assert!(metrics.contains("herald_alarms_raised_total{alarm=\"failure_rate\"}"));
}

async fn processes_that_look_at_the_same_time_raise_an_alarm_once(database: Database) {
    let app = ready(&database).await;
    app.callback(json!({ "statuses": [{ "id": "wamid.X" }] }))
        .await;
    let turns = (0..6).map(|_| alarms::turn(&app.engine, app.now()));
    let raised: usize = futures_util::future::join_all(turns)
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    assert_eq!(raised, 1);
    assert_eq!(events(&app, "raised").await, 1);
    // Again, after it was cleared: another event.
    app.sql("UPDATE dead_letter SET replayed_at = 1").await;
    assert_eq!(turn(&app).await, 1);
    app.sql("UPDATE dead_letter SET replayed_at = NULL").await;
    app.pass(1);
    assert_eq!(turn(&app).await, 1);
    assert_eq!(
        (events(&app, "raised").await, events(&app, "cleared").await),
        (2, 1)
    );
}

/// Killed, and started again an hour later; or restored from a backup of a running server.
async fn a_worker_that_died_before_the_start_raises_no_alarm(database: Database) {
    let app = ready(&database).await;
    for worker in heartbeat::WORKERS {
        let before = app.now().plus_seconds(-3600);
        heartbeat::beat(&app.engine, worker, before).await.unwrap();
    }
    assert_eq!(wrong(&app).await, ["worker_dead", "worker_dead"]);
    let (url, folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert!(wrong(&app).await.is_empty());
    drop(folder);
}

async fn a_worker_that_gives_no_sign_of_life_is_named(database: Database) {
    let app = ready(&database).await;
    assert!(wrong(&app).await.is_empty(), "there never was one");
    for worker in heartbeat::WORKERS {
        heartbeat::beat(&app.engine, worker, app.now())
            .await
            .unwrap();
    }
    app.pass(heartbeat::DEAD_AFTER_SECONDS);
    assert!(wrong(&app).await.is_empty());
    app.pass(1);
    assert_eq!(wrong(&app).await, ["worker_dead", "worker_dead"]);
    heartbeat::beat(&app.engine, "work", app.now())
        .await
        .unwrap();
    let found = attention::findings(&app.engine, app.now()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, "apply");
    assert!(
        found[0].summary.contains("61 seconds"),
        "{}",
        found[0].summary
    );
    // Who stops in order is not dead.
    heartbeat::gone(&app.engine, "apply").await.unwrap();
    assert!(wrong(&app).await.is_empty());
    app.pass(24 * 60 * 60);
    heartbeat::beat(&app.engine, "work", app.now())
        .await
        .unwrap();
    assert_eq!(app.number("SELECT count(*) FROM heartbeat").await, 1);
}

async fn what_is_gone_is_wrong_no_more(database: Database) {
    let app = ready(&database).await;
    let path = format!("/api/v1/senders/{}/credentials", app.sender);
    let body = json!({ "kind": "access_token", "value": "another-token-for-tests", "expires_at": "2026-01-02T00:00:00Z" });
    let (code, kept) = app.admin("POST", &path, &body).await;
    assert_eq!(code, 201, "{kept}");
    assert_eq!(turn(&app).await, 1);
    assert_eq!(wrong(&app).await, ["credential_expiring"]);
    let (_, shown) = app
        .admin(
            "GET",
            &format!("/api/v1/senders/{}", app.sender),
            &json!(null),
        )
        .await;
    let id = shown["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|it| it["id"].as_str())
        .unwrap();
    let (code, gone) = app
        .admin("DELETE", &format!("{path}/{id}"), &json!(null))
        .await;
    assert!(code < 300, "{gone}");
    assert_eq!(turn(&app).await, 1);
    assert!(wrong(&app).await.is_empty());
    assert_eq!(events(&app, "cleared").await, 1);
}

async fn a_message_that_is_due_for_long_raises_an_alarm(database: Database) {
    let app = ready(&database).await;
    app.order("A-1", "+12025550101").await;
    app.pass(299);
    assert!(wrong(&app).await.is_empty());
    app.pass(1);
    assert_eq!(wrong(&app).await, ["queue_age"]);
    assert_eq!(turn(&app).await, 1);
    app.send().await;
    assert_eq!(turn(&app).await, 1);
    assert!(wrong(&app).await.is_empty());
}

async fn nothing_heard_of_what_was_accepted_raises_an_alarm(database: Database) {
    let app = ready(&database).await;
    let ids = many(&app, 1, 20).await;
    for id in &ids[..17] {
        app.told(id, "sent", None).await;
    }
    app.pass(1801);
    app.settle().await;
    app.pass(900);
    assert_eq!(wrong(&app).await, ["stale_rate"]);
    let (_, stats) = app.get("/api/v1/stats").await;
    assert_eq!(stats["stale"], 3, "{stats}");
}

/// Otherwise it and the others would raise and clear the same alarm in turn.
async fn a_process_whose_clock_is_wrong_judges_nothing(database: Database) {
    let app = ready(&database).await;
    app.order("A-1", "+12025550101").await;
    app.pass(300);
    assert_eq!(turn(&app).await, 1);
    app.send().await;
    app.engine.set_clock_changed(true);
    assert_eq!(turn(&app).await, 0);
    assert_eq!(
        wrong(&app).await,
        ["clock"],
        "it is shown where it is known"
    );
    app.engine.set_clock_changed(false);
    assert_eq!(turn(&app).await, 1);
    assert_eq!(events(&app, "raised").await, 1);
}
