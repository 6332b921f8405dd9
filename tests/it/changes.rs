//! The stream of Herald's own events: what is in it, in which order, and what is not.

use std::time::Duration;

use futures_util::future::join_all;
use herald::{
    domain::own_event::{HeraldEvent, HeraldEventType, payload::NotificationChangeData},
    engine::runtime::retention::RetentionCleaner,
    store::{
        DatabaseTransaction, StoreError,
        changes::{self, MAX_EVENTS, StreamedEvent},
        connect::{self, ConnectPurpose},
        dialect::execute,
        retention::{self, DeletionLimits, RetainedRowKind},
    },
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, START, TestApp, status};

crate::tests![
    what_is_reported_is_appended_in_order_and_once,
    what_fails_is_skipped_or_expires_is_appended_with_what_is_known,
    what_people_write_is_appended_though_no_route_listens,
    an_event_that_comes_again_is_appended_once,
    no_route_answers_what_happens_to_notifications,
    writers_at_once_leave_no_gap_and_a_reader_misses_none,
    numbers_are_those_of_the_commits,
    a_transaction_that_is_tried_again_appends_once,
    what_cannot_be_appended_is_not_committed,
    appending_costs_the_same_for_any_number_of_events_and_nothing_for_none,
    a_reader_may_begin_anywhere_and_take_any_number,
    a_row_that_cannot_be_read_is_an_error_that_names_it,
    batches_are_kept_for_two_weeks_each_by_its_own_age,
];

const DAY: i64 = 24 * 3600;

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn after(app: &TestApp, sequence: i64) -> Vec<StreamedEvent> {
    changes::after(&app.store, sequence, MAX_EVENTS)
        .await
        .unwrap()
}

async fn last(app: &TestApp) -> i64 {
    changes::last(&app.store).await.unwrap()
}

fn types(events: &[StreamedEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.event_type).collect()
}

fn data(event: &StreamedEvent) -> Value {
    serde_json::from_str(event.data.get()).unwrap()
}

fn change(event: &StreamedEvent) -> NotificationChangeData {
    serde_json::from_str(event.data.get()).unwrap()
}

/// Some event.
fn example() -> HeraldEvent {
    HeraldEventType::SenderSilent.examples().remove(0)
}

/// A transaction that emits so many events.
async fn emit(app: &TestApp, count: usize) {
    let now = app.now();
    app.store
        .write(async |tx| (0..count).try_for_each(|_| tx.emit(&example(), now)))
        .await
        .unwrap();
}

async fn what_is_reported_is_appended_in_order_and_once(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    assert!(after(&app, 0).await.is_empty());
    assert_eq!(app.send().await, 1);
    app.pass(10);
    app.told(&id, "sent", None).await;
    app.pass(10);
    // Delivered three seconds ago, by the provider's clock.
    let attempt = app.notification(&id).await["attempts"][0].clone();
    let wamid = attempt["provider_message_id"].as_str().unwrap();
    let at = app.now().unix_seconds() - 3;
    let delivered = status(wamid, attempt["id"].as_str(), "delivered", at, None);
    app.callback(json!({ "statuses": [delivered] })).await;
    app.told(&id, "read", None).await;

    let events = after(&app, 0).await;
    assert_eq!(
        types(&events),
        [
            "herald.notification.accepted",
            "herald.notification.sent",
            "herald.notification.delivered",
            "herald.notification.read",
        ]
    );
    let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert_eq!(last(&app).await, 4);
    let contact = app.get("/api/v1/contacts?phone=%2B12025550101").await.1["id"].clone();
    let of_order = |at: &str| {
        json!({
            "notification": id, "at": at, "generation": 1, "attempt": 1, "event_type": "demo.order.created",
            "channel": "whatsapp", "template": "order_confirmation", "sender_id": app.sender, "contact": contact,
            "product": null, "failure": null,
        })
    };
    assert_eq!(
        events.iter().map(data).collect::<Vec<_>>(),
        [
            of_order("2026-01-01T00:00:00.000000Z"),
            of_order("2026-01-01T00:00:10.000000Z"),
            of_order("2026-01-01T00:00:17.000000Z"),
            of_order("2026-01-01T00:00:20.000000Z"),
        ]
    );
    assert_eq!(events[2].at.unix_seconds(), START + 20, "recorded later");

    // The same, once more, in other bodies.
    app.pass(5);
    for name in ["delivered", "read", "sent"] {
        app.told(&id, name, None).await;
    }
    assert_eq!(last(&app).await, 4);
}

async fn what_fails_is_skipped_or_expires_is_appended_with_what_is_known(database: Database) {
    let app = app(&database).await;
    let failing = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&failing, "failed", Some(131_026)).await;
    let events = after(&app, 0).await;
    assert_eq!(
        types(&events),
        ["herald.notification.accepted", "herald.notification.failed"]
    );
    let failed = change(&events[1]);
    assert_eq!(failed.attempt, Some(1));
    let failure = failed.failure.unwrap();
    assert_eq!(failure.code, Some(131_026));
    assert!(!failure.title.is_empty());
    assert!(change(&events[0]).failure.is_none());

    // The rule tells the administrators; one of them has no number.
    app.follow_up().await;
    let skipped = after(&app, 2).await;
    assert_eq!(types(&skipped), ["herald.notification.skipped"]);
    let skipped = change(&skipped[0]);
    assert_eq!((skipped.attempt, skipped.failure), (None, None));
    assert_eq!(skipped.event_type.as_deref(), Some("demo.order.created"));
    assert_eq!(
        skipped.template.as_deref(),
        Some("hanna_message_send_failure")
    );

    // An operator has the first one sent again: another generation, with events of its own.
    let (code, answer) = app
        .post(
            &format!("/api/v1/notifications/{failing}/retry"),
            &json!({}),
        )
        .await;
    assert_eq!(code, 202, "{answer}");
    app.send().await;
    let again = after(&app, 3).await;
    let again: Vec<NotificationChangeData> = again.iter().map(change).collect();
    let again = again
        .iter()
        .find(|it| it.notification.to_string() == failing)
        .unwrap();
    assert_eq!((again.generation, again.attempt), (2, Some(2)));

    // One that waits for too long.
    let before = last(&app).await;
    let late = json!({ "to": "+12025550102", "template": "jaspers_market_plain_text_v1", "expires_in_seconds": 600 });
    assert_eq!(app.post("/api/v1/notifications", &late).await.0, 202);
    app.pass(700);
    app.watch().await;
    let expired = after(&app, before).await;
    assert_eq!(types(&expired), ["herald.notification.expired"]);
    assert_eq!(change(&expired[0]).attempt, None);
}

/// What a person writes, in answer to a message.
fn written(id: &str, text: &str, about: Option<&str>) -> Value {
    let mut message = json!({
        "id": id, "from": "12025550101", "timestamp": START.to_string(), "type": "text", "text": { "body": text },
    });
    if let Some(about) = about {
        message["context"] = json!({ "id": about });
    }
    json!({ "contacts": [{ "wa_id": "12025550101", "profile": { "name": "Asha" } }], "messages": [message] })
}

async fn what_people_write_is_appended_though_no_route_listens(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    let wamid = attempt["provider_message_id"].as_str();
    let events = "SELECT count(*) FROM event WHERE source = 'herald'";
    app.callback(written("wamid.1", "Thanks", wamid)).await;
    assert_eq!(app.number(events).await, 0, "no route asks for it");
    let found = after(&app, 1).await;
    assert_eq!(
        types(&found),
        ["herald.message.received", "herald.notification.replied"]
    );
    assert_eq!(data(&found[0])["text"], "Thanks");
    assert_eq!(data(&found[0])["notification"], json!(id));
    assert_eq!(change(&found[1]).notification.to_string(), id);

    // STOP raises two events in one transaction, which are one row, and what was due is not sent.
    let batches = app.number("SELECT count(*) FROM change_batch").await;
    app.callback(written("wamid.2", "STOP", None)).await;
    assert_eq!(
        app.number("SELECT count(*) FROM change_batch").await,
        batches + 1
    );
    assert_eq!(
        types(&after(&app, 3).await),
        ["herald.message.received", "herald.contact.opted_out"]
    );
    // The same message in another body.
    let mut again = written("wamid.2", "STOP", None);
    again["again"] = json!(1);
    app.callback(again).await;
    assert_eq!(last(&app).await, 5);

    // With a route it is stored as an event as well, and appended once.
    let route = "name = \"desk\"\n[[contact]]\nname = \"Desk\"\nphone = \"+12025550190\"\n\
        [[template]]\nname = \"desk_note\"\ncategory = \"utility\"\nbody = \"Somebody wrote: {{ what }}.\"\n\
        [[route]]\nname = \"desk\"\nevent = \"herald.message.received\"\nto = \"contact:Desk\"\n\
        template = \"desk_note\"\nparams = { what = \"{{ data.text }}\" }\n";
    app.apply_catalogue(route).await;
    app.callback(written("wamid.3", "Hello", None)).await;
    assert_eq!(
        app.number(&format!(
            "{events} AND event_type = 'herald.message.received'"
        ))
        .await,
        1
    );
    assert_eq!(types(&after(&app, 5).await), ["herald.message.received"]);
}

async fn an_event_that_comes_again_is_appended_once(database: Database) {
    let app = app(&database).await;
    let value = json!({ "display_phone_number": "15550783881", "event": "FLAGGED", "current_limit": "TIER_1K" });
    for again in 0..3 {
        let body = json!({
            "object": "whatsapp_business_account", "again": again,
            "entry": [{ "id": "102290129340398", "time": START, "changes": [{ "field": "phone_number_quality_update", "value": value }] }],
        });
        assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
        app.process().await;
    }
    let events = after(&app, 0).await;
    assert_eq!(types(&events), ["herald.account.quality"]);
    assert_eq!(data(&events[0])["value"], value);
}

async fn no_route_answers_what_happens_to_notifications(database: Database) {
    let app = app(&database).await;
    let route = |event: &str| {
        format!(
            "name = \"loop\"\n[[route]]\nname = \"loop\"\nevent = \"{event}\"\nto = \"+12025550190\"\ntemplate = \"order_reminder\"\n"
        )
    };
    for event in ["herald.notification.failed", "herald.notification.none"] {
        let wrong = app.try_catalogue(&route(event)).await.unwrap_err();
        assert!(
            wrong
                .iter()
                .any(|it| it.contains("event: no route answers it")),
            "{wrong:?}"
        );
    }
    let (_, known) = app.get("/api/v1/event-types").await;
    for own in known["own_event_types"].as_array().unwrap() {
        let name = own["type"].as_str().unwrap();
        let is_routable = !name.starts_with("herald.notification.");
        assert_eq!(own["routable"], is_routable, "{name}");
    }
}

const WRITERS: usize = 6;
const ROUNDS: usize = 12;

/// Commits or rolls back, by turns.
async fn writes(app: &TestApp, writer: usize) -> usize {
    let now = app.now();
    let mut committed = 0;
    for round in 0..ROUNDS {
        let count = (writer + round) % 3;
        let rolls_back = (writer + round).is_multiple_of(4);
        let done = app
            .store
            .write(async |tx| {
                (0..count).try_for_each(|_| tx.emit(&example(), now))?;
                // Others come in between.
                execute(tx, "SELECT 1", []).await?;
                tokio::task::yield_now().await;
                if rolls_back {
                    Err(StoreError::RolledBack)
                } else {
                    Ok(())
                }
            })
            .await;
        match done {
            Ok(()) => committed += count,
            Err(StoreError::RolledBack) => assert!(rolls_back),
            Err(error) => panic!("{error:?}"),
        }
    }
    committed
}

async fn writers_at_once_leave_no_gap_and_a_reader_misses_none(database: Database) {
    let app = TestApp::spawn(&database).await;
    let writing = join_all((0..WRITERS).map(|writer| writes(&app, writer)));
    let reading = async {
        let mut seen = 0;
        let mut reads = 0;
        loop {
            // What was there before this read must be in it.
            let there = last(&app).await;
            for event in after(&app, seen).await {
                assert_eq!(event.sequence, seen + 1, "a number that is not there yet");
                seen = event.sequence;
            }
            assert!(seen >= there, "{there} was committed, {seen} is seen");
            reads += 1;
            tokio::task::yield_now().await;
            if reads > 100 {
                return;
            }
        }
    };
    let (committed, ()) = tokio::join!(writing, reading);
    let committed: usize = committed.iter().sum();
    let events = after(&app, 0).await;
    let sequences: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    let all: Vec<i64> = (1..=i64::try_from(committed).unwrap()).collect();
    assert_eq!(sequences, all);
    assert_eq!(last(&app).await, i64::try_from(committed).unwrap());
}

async fn numbers_are_those_of_the_commits(database: Database) {
    // SQLite has one writer.
    let Database::Postgres = database else { return };
    let app = TestApp::spawn(&database).await;
    let url = SecretString::from(app.database_url.clone());
    let other = connect::open(&url, 1, ConnectPurpose::Command)
        .await
        .unwrap();
    let now = app.now();
    let own = |kind: HeraldEventType| kind.examples().remove(0);
    app.store
        .write(async |tx| {
            tx.emit(&own(HeraldEventType::AlarmRaised), now)?;
            execute(tx, "UPDATE commit_marker SET number = number", []).await?;
            // Neither waits for the other: the numbers are taken at the end.
            other
                .write(async |tx| tx.emit(&own(HeraldEventType::AlarmCleared), now))
                .await
        })
        .await
        .unwrap();
    assert_eq!(
        types(&after(&app, 0).await),
        ["herald.alarm.cleared", "herald.alarm.raised"]
    );
}

async fn a_transaction_that_is_tried_again_appends_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    let now = app.now();
    let mut tries = 0;
    app.store
        .write(async |tx| {
            tries += 1;
            tx.emit(&example(), now)?;
            if tries < 3 {
                return Err(StoreError::Conflict);
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((tries, last(&app).await), (3, 1));
    assert_eq!(after(&app, 0).await.len(), 1);
}

async fn what_cannot_be_appended_is_not_committed(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.sql("DELETE FROM change_head").await;
    let now = app.now();
    let change = "INSERT INTO setting (name, created_at, value) VALUES ('tests', 1, '1')";
    let write = async |emits: bool| {
        app.store
            .write(async |tx: &DatabaseTransaction| {
                execute(tx, change, []).await?;
                if emits {
                    tx.emit(&example(), now)?;
                }
                Ok(())
            })
            .await
    };
    let failed = write(true).await.unwrap_err();
    // Not the fault of any item: none is given up.
    assert!(failed.is_transient(), "{failed:?}");
    let count = "SELECT count(*) FROM setting WHERE name = 'tests'";
    assert_eq!(app.number(count).await, 0);
    assert!(changes::last(&app.store).await.is_err());
    // Everything else goes on.
    write(false).await.unwrap();
    assert_eq!(app.number(count).await, 1);
}

async fn appending_costs_the_same_for_any_number_of_events_and_nothing_for_none(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    let statements = async |events: usize| {
        let before = app.store.statements();
        emit(&app, events).await;
        app.store.statements() - before
    };
    // On SQLite every commit is looked for; there, one statement takes the numbers, and one stores.
    let (nothing, any) = match database {
        Database::Postgres => (0, 1),
        Database::Sqlite => (1, 3),
    };
    assert_eq!(statements(0).await, nothing);
    assert_eq!(statements(1).await, any);
    assert_eq!(statements(500).await, any);
    assert_eq!(app.number("SELECT count(*) FROM change_batch").await, 2);
}

async fn a_reader_may_begin_anywhere_and_take_any_number(database: Database) {
    let app = TestApp::spawn(&database).await;
    assert!(after(&app, 0).await.is_empty());
    for count in [3, 1, 5, 2] {
        emit(&app, count).await;
    }
    for limit in 0..13 {
        for start in -1..13 {
            let found = changes::after(&app.store, start, limit).await.unwrap();
            let sequences: Vec<i64> = found.iter().map(|event| event.sequence).collect();
            let wanted: Vec<i64> = (1..=11).filter(|it| *it > start).take(limit).collect();
            assert_eq!(sequences, wanted, "{limit} after {start}");
        }
    }
    assert!(after(&app, i64::MAX).await.is_empty());
    assert_eq!(after(&app, i64::MIN).await.len(), 11);
    // However many are asked for.
    emit(&app, MAX_EVENTS + 5).await;
    let found = changes::after(&app.store, 4, usize::MAX).await.unwrap();
    assert_eq!(found.len(), MAX_EVENTS);
    let found = after(&app, found.last().unwrap().sequence).await;
    assert_eq!(found.len(), 12);
}

async fn a_row_that_cannot_be_read_is_an_error_that_names_it(database: Database) {
    let app = TestApp::spawn(&database).await;
    for _ in 0..3 {
        emit(&app, 2).await;
    }
    let bytes = match database {
        Database::Sqlite => "x'0102'",
        Database::Postgres => "'\\x0102'",
    };
    app.sql(&format!(
        "UPDATE change_batch SET events = {bytes} WHERE last = 4"
    ))
    .await;
    // Those before it are read first.
    let found = after(&app, 1).await;
    assert_eq!(found.len(), 1);
    for start in [2, 3] {
        let error = changes::after(&app.store, start, 10).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the row 4 of change_batch holds an unreadable events"
        );
    }
    // Behind it, all is well.
    assert_eq!(after(&app, 4).await.len(), 2);
    // A row that says that it has another number of events.
    app.sql("UPDATE change_batch SET count = 3 WHERE last = 6")
        .await;
    let error = changes::after(&app.store, 4, 10).await.unwrap_err();
    assert!(error.to_string().contains("row 6"), "{error}");
}

async fn batches_are_kept_for_two_weeks_each_by_its_own_age(database: Database) {
    let app = TestApp::spawn(&database).await;
    let clean = async || {
        let mut cleaner = RetentionCleaner::default();
        while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
    };
    let sequences = async |start: i64| -> Vec<i64> {
        after(&app, start)
            .await
            .iter()
            .map(|event| event.sequence)
            .collect()
    };
    emit(&app, 2).await;
    // Written by a clock that was ahead.
    app.pass(30 * DAY);
    emit(&app, 1).await;
    app.pass(-30 * DAY);
    emit(&app, 1).await;
    app.pass(13 * DAY);
    emit(&app, 2).await;
    clean().await;
    assert_eq!(sequences(0).await, [1, 2, 3, 4, 5, 6]);
    app.pass(DAY + 60);
    clean().await;
    // Numbers that are missing tell a reader that it has missed something.
    assert_eq!(sequences(0).await, [3, 5, 6]);
    app.pass(14 * DAY);
    clean().await;
    assert_eq!(sequences(0).await, [3]);
    app.pass(30 * DAY);
    clean().await;
    assert!(sequences(0).await.is_empty());
    // The numbers go on.
    emit(&app, 1).await;
    assert_eq!(sequences(0).await, [7]);

    // A few at a time.
    for _ in 0..25 {
        emit(&app, 1).await;
    }
    let before = app.now().plus_seconds(60);
    let limits = DeletionLimits {
        most: 20,
        time: Duration::MAX,
    };
    let what = RetainedRowKind::Changes;
    let gone = retention::delete(&app.store, what, before, app.now(), limits)
        .await
        .unwrap();
    assert_eq!(gone, 20);
    assert_eq!(sequences(0).await, (27..=32).collect::<Vec<i64>>());
}
