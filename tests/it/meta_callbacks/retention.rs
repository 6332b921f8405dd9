//! What is old is deleted, a little at a time; what is open or counted stays.

use herald::{engine::runtime::retention::RetentionCleaner, store, workers};
use serde_json::json;

use super::{app, from_asha, said};
use crate::harness::{Database, TestApp, noise};

crate::tests![
    each_kind_of_row_is_kept_as_long_as_it_should_be,
    a_repeat_within_nine_days_is_known_and_bodies_go_by_themselves,
    what_is_open_is_never_deleted,
    deleting_goes_in_chunks_beside_ingest_and_gives_space_back,
];

const AT: i64 = 1_767_225_600;
const DAY: i64 = 24 * 3600;

async fn clean(app: &TestApp) -> u64 {
    let mut all = 0;
    let mut cleaner = RetentionCleaner::default();
    loop {
        let gone = cleaner.turn(&app.engine, app.now()).await.unwrap();
        if gone == 0 {
            return all;
        }
        all += gone;
    }
}

async fn count(app: &TestApp, table: &str) -> i64 {
    app.number(&format!("SELECT count(*) FROM {table}")).await
}

async fn each_kind_of_row_is_kept_as_long_as_it_should_be(database: Database) {
    let app = app(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.follow_up().await;
    app.told(&id, "read", None).await;
    said(
        &app,
        super::asha(),
        from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    let before = app.stats().await;
    assert_eq!(clean(&app).await, 0, "nothing is old");
    app.pass(9 * DAY + 60);
    clean(&app).await;
    assert_eq!(count(&app, "inbox_digest").await, 0);
    assert_eq!(app.callbacks_stored().await, 3);
    app.pass(5 * DAY);
    clean(&app).await;
    for table in ["inbox_segment", "inbox_applied", "inbox_repeat"] {
        assert_eq!(count(&app, table).await, 0, "{table}");
    }
    assert!(app.timeline_lines().await > 0);
    app.pass(166 * DAY);
    clean(&app).await;
    assert_eq!(app.timeline_lines().await, 0);
    assert_eq!(
        app.status_of(&id).await,
        "read",
        "its state is kept longer than its story"
    );
    app.pass(220 * DAY);
    clean(&app).await;
    for table in [
        "notification",
        "attempt",
        "follow_up",
        "notification_label",
        "event",
        "inbound_message",
    ] {
        assert_eq!(count(&app, table).await, 0, "{table}");
    }
    // Counters and the dedupe ledger stay, and so do people.
    let after = app.stats().await;
    assert_eq!(
        (&before["read"], &before["total"]),
        (&after["read"], &after["total"])
    );
    assert!(count(&app, "contact").await > 0);
    assert!(count(&app, "dedupe").await >= 0);
}

async fn a_repeat_within_nine_days_is_known_and_bodies_go_by_themselves(database: Database) {
    let app = TestApp::spawn_with(&database, &[("HERALD_KEEP_BODIES_DAYS", "9")], "").await;
    let body = br#"{"entry":[],"n":1}"#.to_vec();
    assert_eq!(app.callback_bytes(body.clone()).await, 200);
    app.process().await;
    app.pass(8 * DAY);
    clean(&app).await;
    assert_eq!(app.callback_bytes(body.clone()).await, 200);
    assert_eq!(app.callbacks_stored().await, 1, "a repeat");
    app.pass(2 * DAY);
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 0);
    assert_eq!(app.callback_bytes(body).await, 200);
    assert_eq!(app.callbacks_stored().await, 1, "forgotten");
}

async fn what_is_open_is_never_deleted(database: Database) {
    let app = TestApp::spawn_with(
        &database,
        &[("HERALD_EXPIRES_AFTER_SECONDS", "2592000")],
        "",
    )
    .await;
    app.apply_catalogue(crate::harness::DEMO).await;
    let id = app.order("A-1", "+12025550101").await;
    assert_eq!(
        app.callback_bytes(br#"{"entry":[],"n":2}"#.to_vec()).await,
        200
    );
    app.pass(500 * DAY);
    clean(&app).await;
    assert_eq!(app.status_of(&id).await, "queued");
    assert_eq!(app.callbacks_stored().await, 1, "it is not processed");
    app.watch().await;
    app.process().await;
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 0);
    assert_eq!(count(&app, "notification").await, 1, "it has just ended");
    app.pass(500 * DAY);
    clean(&app).await;
    assert_eq!(count(&app, "notification").await, 0);
}

async fn deleting_goes_in_chunks_beside_ingest_and_gives_space_back(database: Database) {
    let app = app(&database).await;
    for number in 0..450 {
        let body = format!(
            r#"{{"entry":[],"number":{number},"text":"{}"}}"#,
            noise(number, 20_000)
        );
        assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
    }
    app.process().await;
    app.pass(15 * DAY);
    let mut cleaner = RetentionCleaner::default();
    // One turn deletes one chunk of each kind, in transactions of their own.
    assert_eq!(
        workers::cleanup::turn(&mut cleaner, &app.engine, app.now())
            .await
            .unwrap(),
        workers::WorkerTurnOutcome::Worked
    );
    let left = app.callbacks_stored().await;
    assert!((250..450).contains(&left), "at most 200 at a time: {left}");
    // However slow the disk is: when the time is over, nothing more is begun.
    let before = app.now().plus_seconds(-14 * DAY);
    let bodies = store::retention::RetainedRowKind::Bodies;
    let limits = store::retention::DeletionLimits {
        most: 200,
        time: std::time::Duration::ZERO,
    };
    store::retention::delete(&app.store, bodies, before, app.now(), limits)
        .await
        .unwrap();
    assert_eq!(app.callbacks_stored().await, left - store::retention::STEP);
    assert_eq!(
        app.callback_bytes(br#"{"entry":[],"n":3}"#.to_vec()).await,
        200
    );
    clean(&app).await;
    assert_eq!(app.callbacks_stored().await, 1, "the new one");
    assert_eq!(
        workers::cleanup::turn(&mut cleaner, &app.engine, app.now())
            .await
            .unwrap(),
        workers::WorkerTurnOutcome::Idle
    );
    if database == Database::Sqlite {
        let pages = async |name: &str| {
            let row =
                store::dialect::query_one(app.store.raw_writer(), format!("PRAGMA {name}"), [])
                    .await
                    .unwrap()
                    .unwrap();
            row.try_get_by_index::<i64>(0).unwrap()
        };
        for _ in 0..60 {
            store::retention::give_back(&app.store).await.unwrap();
        }
        assert_eq!(pages("freelist_count").await, 0);
        assert!(
            pages("page_count").await < 600,
            "{}",
            pages("page_count").await
        );
    }
}
