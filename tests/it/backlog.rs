//! A backlog of callbacks is seen, and handled: what cannot wait goes first, answers and timers
//! wait, and what would take the room for applying it is refused.

use std::time::{Duration, Instant};

use herald::engine::{
    ingest,
    insight::{alarms, attention},
    runtime::backlog,
};
use serde_json::{Value, json};

use crate::harness::{APP_SECRET, DEMO, Database, TestApp, sign, status, value};

crate::tests![
    a_stop_is_applied_before_the_statuses_that_came_earlier,
    a_stop_is_applied_first_among_what_a_dead_process_left,
    a_stop_overtakes_what_was_claimed_before_it_came,
    statuses_are_applied_in_the_order_of_their_coming,
    urgent_callbacks_leave_a_part_of_every_batch_to_the_others,
    answers_wait_while_applying_is_behind,
    an_alarm_and_a_metric_tell_that_applying_is_behind,
    statuses_are_refused_before_they_take_the_room_for_applying_them,
];

fn statuses(number: usize) -> Vec<u8> {
    let one = status(
        &format!("wamid.STATUS{number}"),
        None,
        "sent",
        1_767_225_600,
        None,
    );
    value(json!({ "statuses": [one] })).to_string().into_bytes()
}

/// A status with so many bytes more.
fn padded(number: usize, bytes: usize) -> Vec<u8> {
    let mut body = value(json!({ "statuses": [], "number": number }));
    body["padding"] = "x".repeat(bytes).into();
    body.to_string().into_bytes()
}

fn message(number: usize, text: &str) -> Vec<u8> {
    let message = json!({ "id": format!("wamid.in{number}"), "from": "12025550101", "timestamp": "1767225600",
        "type": "text", "text": { "body": text } });
    value(json!({ "messages": [message] }))
        .to_string()
        .into_bytes()
}

async fn take_in(app: &TestApp, bodies: impl IntoIterator<Item = Vec<u8>>) {
    for body in bodies {
        assert_eq!(app.callback_bytes(body).await, 200);
    }
}

async fn unapplied(app: &TestApp) -> i64 {
    app.callbacks_waiting().await
}

async fn opted_out(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM suppression WHERE wanted = false")
        .await
}

async fn a_stop_is_applied_before_the_statuses_that_came_earlier(database: Database) {
    let app = TestApp::spawn(&database).await;
    let batch = ingest::batch_size(&app.store);
    take_in(&app, (0..batch + 20).map(statuses)).await;
    take_in(&app, [message(0, "STOP")]).await;
    app.process_once().await;
    assert_eq!(opted_out(&app).await, 1);
    assert_eq!(unapplied(&app).await, 21);
    app.process().await;
    assert_eq!(unapplied(&app).await, 0);
}

async fn a_stop_is_applied_first_among_what_a_dead_process_left(database: Database) {
    let app = TestApp::spawn(&database).await;
    let batch = ingest::batch_size(&app.store);
    take_in(&app, (0..batch + 20).map(statuses)).await;
    take_in(&app, [message(0, "STOP")]).await;
    assert_eq!(app.handover.len(), batch + 21);
    app.handover.take_all();
    app.process().await;
    assert_eq!(opted_out(&app).await, 0, "the lease still protects it");
    app.pass(61);
    app.process_once().await;
    assert_eq!(opted_out(&app).await, 1);
    assert_eq!(unapplied(&app).await, 21);
    // The rest was claimed with it, and nothing is claimed twice.
    app.process_once().await;
    assert_eq!(unapplied(&app).await, 0);
    let tries = "SELECT coalesce(max(tries), 1) FROM inbox_pending";
    assert_eq!(app.number(tries).await, 1);
    assert_eq!(
        app.number("SELECT count(*) FROM parked_status").await,
        i64::try_from(batch + 20).unwrap()
    );
}

async fn a_stop_overtakes_what_was_claimed_before_it_came(database: Database) {
    let app = TestApp::spawn(&database).await;
    let batch = ingest::batch_size(&app.store);
    take_in(&app, (0..batch + 20).map(statuses)).await;
    app.handover.take_all();
    app.pass(61);
    let writes = app.store.inbox().writes();
    app.process_once().await;
    assert_eq!(
        unapplied(&app).await,
        20,
        "a batch, and the rest is claimed"
    );
    if database == Database::Sqlite {
        let claims = app.store.inbox().writes() - writes;
        assert_eq!(claims, 1, "one commit for all of them");
    }
    take_in(&app, [message(0, "STOP")]).await;
    app.process_once().await;
    assert_eq!((opted_out(&app).await, unapplied(&app).await), (1, 0));
}

async fn statuses_are_applied_in_the_order_of_their_coming(database: Database) {
    let app = TestApp::spawn(&database).await;
    // The third has no room in memory and is left in the table.
    take_in(&app, (0..3).map(|number| padded(number, 3_000_000))).await;
    assert_eq!(app.handover.len(), 2);
    app.process_once().await;
    assert_eq!(unapplied(&app).await, 1);
    // There is room again, and what comes now goes behind the third; what is urgent does not.
    app.pass(1);
    take_in(&app, [padded(3, 10), message(0, "Hello")]).await;
    assert_eq!(app.handover.len(), 1);
    app.process_once().await;
    assert_eq!(unapplied(&app).await, 0);
    app.process_once().await;
    take_in(&app, [padded(4, 10)]).await;
    assert_eq!(app.handover.len(), 1, "nothing is in the table any more");
}

async fn urgent_callbacks_leave_a_part_of_every_batch_to_the_others(database: Database) {
    let app = TestApp::spawn(&database).await;
    let batch = ingest::batch_size(&app.store);
    take_in(&app, (0..10).map(statuses)).await;
    take_in(&app, (0..batch).map(|number| message(number, "Hello"))).await;
    app.process_once().await;
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 10);
    assert_eq!(unapplied(&app).await, 10);
    app.process().await;
    // So does what a dead process left.
    take_in(&app, (10..20).map(statuses)).await;
    let urgent = batch..2 * batch;
    take_in(&app, urgent.map(|number| message(number, "Hello"))).await;
    app.handover.take_all();
    app.pass(61);
    app.process_once().await;
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 20);
    assert_eq!(
        unapplied(&app).await,
        i64::try_from(batch / 4).unwrap(),
        "a claim takes no more of them"
    );
    app.process().await;
    assert_eq!(unapplied(&app).await, 0);
}

async fn answers_wait_while_applying_is_behind(database: Database) {
    let settings = [("HERALD_BACKLOG_DELAY_MILLISECONDS", "60")];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    take_in(&app, [statuses(0)]).await;
    app.pass(9);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::ZERO);
    app.pass(11);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::from_millis(30));
    app.pass(60);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    let asked = Instant::now();
    take_in(&app, [statuses(1)]).await;
    assert!(asked.elapsed() >= Duration::from_millis(60));
    assert_eq!(unapplied(&app).await, 2, "it is stored all the same");
    let (_, metrics) = app.text("/metrics").await;
    assert!(
        metrics.lines().any(
            |line| line.starts_with("herald_callbacks_delayed_total ") && !line.ends_with(" 0")
        ),
        "{metrics}"
    );
    app.process().await;
    backlog::measure(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::ZERO);
    // The worker looks by itself, once a second: not earlier.
    take_in(&app, [statuses(2)]).await;
    app.pass(60);
    backlog::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::from_millis(60));
    app.process().await;
    backlog::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::from_millis(60));
    app.pass(60);
    backlog::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.engine.backlog.answer_delay(), Duration::ZERO);
}

/// What is wrong now, by kind.
async fn wrong(app: &TestApp) -> Vec<&'static str> {
    let found = attention::findings(&app.engine, app.now()).await.unwrap();
    found.iter().map(|finding| finding.kind.name()).collect()
}

async fn an_alarm_and_a_metric_tell_that_applying_is_behind(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    take_in(&app, [statuses(0)]).await;
    app.pass(9);
    assert_eq!(alarms::turn(&app.engine, app.now()).await.unwrap(), 0);
    app.pass(1);
    let (_, metrics) = app.text("/metrics").await;
    assert!(
        metrics
            .lines()
            .any(|line| line == "herald_apply_lag_seconds 10"),
        "{metrics}"
    );
    assert_eq!(alarms::turn(&app.engine, app.now()).await.unwrap(), 1);
    let found = attention::findings(&app.engine, app.now()).await.unwrap();
    assert_eq!(found[0].kind.name(), "callbacks_waiting");
    assert_eq!(
        found[0].summary,
        "1 callbacks wait to be applied, the oldest for 10 seconds."
    );
    assert!(found[0].remedy.contains("herald check"));
    app.process().await;
    assert_eq!(alarms::turn(&app.engine, app.now()).await.unwrap(), 1);
    assert!(wrong(&app).await.is_empty());
}

async fn statuses_are_refused_before_they_take_the_room_for_applying_them(database: Database) {
    // More than any disk has left, or less than what waits.
    let settings = [
        ("HERALD_RESERVED_DISK_MEGABYTES", "1000000000"),
        ("HERALD_BACKLOG_MEGABYTES", "1"),
        ("HERALD_BACKLOG_DELAY_MILLISECONDS", "0"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    take_in(&app, [padded(0, 1_100_000)]).await;
    app.pass(9);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    take_in(&app, [statuses(1)]).await;
    app.pass(1);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    let body = statuses(2);
    let signature = sign(APP_SECRET, &body);
    let (code, problem) = app.callback_with(body.clone(), Some(&signature)).await;
    assert_eq!(code, 503, "{problem}");
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["type"], "/problems/busy");
    assert!(wrong(&app).await.contains(&"backlog_full"));
    let (_, metrics) = app.text("/metrics").await;
    assert!(
        metrics.contains("herald_callbacks_total{result=\"no_room\"}"),
        "{metrics}"
    );
    // What people write is taken, and applied.
    take_in(&app, [message(0, "STOP")]).await;
    app.process().await;
    assert_eq!(opted_out(&app).await, 1);
    backlog::measure(&app.engine, app.now()).await.unwrap();
    assert!(!wrong(&app).await.contains(&"backlog_full"));
    take_in(&app, [body]).await;
}
