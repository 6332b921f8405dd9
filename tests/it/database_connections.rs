//! Connections to the database: what a failure leaves behind is never used again, and what was
//! acknowledged is there.

use std::time::Duration;

use herald::store::{
    ConnectionTrait, Store, StoreError,
    connect::{self, ConnectPurpose},
    dialect,
};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::{
    APP_SECRET, DEMO, Database, SmallDisk, TestApp, Wire, fresh_database, noise, postgres, sign,
};

crate::tests![
    acknowledged_callbacks_and_events_are_there_after_a_full_disk,
    a_transaction_with_a_failed_statement_commits_nothing,
    a_connection_that_refuses_every_write_is_not_used_again,
    a_transaction_that_is_given_up_leaves_no_connection_behind,
    a_connection_with_an_open_transaction_is_not_used_again,
    a_commit_that_no_reader_finds_is_answered_503_and_the_writer_reopened,
    a_silent_server_is_left_for_the_next_one,
    a_silent_server_is_tried_until_it_answers,
];

/// Rows as another process sees them.
async fn seen_from_outside(app: &TestApp, sql: &str) -> i64 {
    let url = SecretString::from(app.database_url.clone());
    let other = connect::open(&url, 1_u32, ConnectPurpose::Command)
        .await
        .unwrap();
    let file = if sql.contains("inbox_segment") {
        other.inbox()
    } else {
        &other
    };
    let row = dialect::query_one(file.reader(), sql, []).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

fn note(name: &str) -> String {
    format!("INSERT INTO setting (name, created_at, value) VALUES ('{name}', 0, '')")
}

async fn write(store: &Store, name: &str) -> Result<(), StoreError> {
    store
        .write(async |tx| {
            dialect::execute(tx, note(name), []).await?;
            Ok(())
        })
        .await
}

/// A test with `max_page_count` does not get here: there the statement that needs a page past the limit
/// says FULL, and as it is an `INSERT … SELECT` with constraints, SQLite undoes that statement alone and
/// the ROLLBACK finds its transaction. On a disk that is full the statements succeed in the
/// cache and COMMIT says FULL when it writes the log: SQLite then ends the transaction itself.
async fn acknowledged_callbacks_and_events_are_there_after_a_full_disk(database: Database) {
    // A full PostgreSQL is another process: `bench disk` fills one.
    let Database::Sqlite = database else { return };
    let disk = SmallDisk::new(12);
    let url = format!("sqlite:{}", disk.path().join("herald.sqlite").display());
    let app = TestApp::start(&url, &[]).await;
    app.apply_catalogue(DEMO).await;
    let (mut callbacks, mut events) = (0, 0);
    let mut number = 0;
    for round in 0..3 {
        let mut refused = 0;
        for step in 0..40 {
            if step == 10 {
                disk.fill();
            }
            number += 1;
            let body = json!({ "entry": [], "number": number, "text": noise(number, 9000) });
            match app.callback_bytes(body.to_string().into_bytes()).await {
                200 => callbacks += 1,
                503 => refused += 1,
                other => panic!("a callback was answered {other}"),
            }
            let event = json!({
                "id": format!("full-{number}"), "source": "tests", "type": "demo.order.created",
                "data": { "phone": "+12025550101", "customer": "Asha", "order_number": "z".repeat(2000) },
            });
            match app.post("/api/v1/events", &event).await.0 {
                202 => events += 1,
                503 => refused += 1,
                other => panic!("an event was answered {other}"),
            }
        }
        assert!(
            refused > 20,
            "{refused} of 60 were refused in round {round}"
        );
        assert_eq!(app.text("/livez").await.0, 200);
        assert_eq!(app.text("/readyz").await.0, 503);
        disk.free();
        // Until a while after the last failure, small writes that succeed notwithstanding.
        assert_eq!(app.text("/readyz").await.0, 503);
        // Room again: it recovers by itself.
        number += 1;
        let body = json!({ "entry": [], "number": number });
        assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
        callbacks += 1;
        let stored = seen_from_outside(
            &app,
            "SELECT CAST(sum(bodies) AS bigint) FROM inbox_segment",
        )
        .await;
        assert!(stored >= callbacks, "{stored} of {callbacks} callbacks");
        let stored =
            seen_from_outside(&app, "SELECT count(*) FROM event WHERE source = 'tests'").await;
        assert!(stored >= events, "{stored} of {events} events");
    }
}

async fn a_transaction_with_a_failed_statement_commits_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let done = app
        .store
        .write(async |tx| {
            dialect::execute(tx, note("before"), []).await?;
            let failed = dialect::execute(tx, "INSERT INTO setting (name) VALUES (NULL)", []).await;
            assert!(failed.is_err());
            // Work that overlooks the error.
            let after = dialect::execute(tx, note("after"), []).await;
            assert!(after.is_err());
            Ok(())
        })
        .await;
    assert!(done.is_err(), "a commit of what had failed");
    let left = "SELECT count(*) FROM setting WHERE name IN ('before', 'after')";
    assert_eq!(seen_from_outside(&app, left).await, 0);
    write(&app.store, "next").await.unwrap();
    let next = "SELECT count(*) FROM setting WHERE name = 'next'";
    assert_eq!(seen_from_outside(&app, next).await, 1);
}

async fn a_transaction_that_is_given_up_leaves_no_connection_behind(database: Database) {
    let app = TestApp::spawn(&database).await;
    for round in 0..20 {
        let begun = tokio::sync::Notify::new();
        let work = app.store.write(async |tx| {
            dialect::execute(tx, note("given-up"), []).await?;
            begun.notify_one();
            std::future::pending::<()>().await;
            Ok(())
        });
        tokio::select! {
            _ = work => unreachable!("it never ends by itself"),
            () = begun.notified() => {}
        }
        let name = format!("round-{round}");
        write(&app.store, &name).await.unwrap();
        let sql = format!("SELECT count(*) FROM setting WHERE name = '{name}'");
        assert_eq!(seen_from_outside(&app, &sql).await, 1);
    }
    let left = "SELECT count(*) FROM setting WHERE name = 'given-up'";
    assert_eq!(seen_from_outside(&app, left).await, 0);
}

async fn a_connection_with_an_open_transaction_is_not_used_again(database: Database) {
    // PostgreSQL lends one of many connections.
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    app.store
        .raw_writer()
        .execute_unprepared("BEGIN IMMEDIATE")
        .await
        .unwrap();
    let error = write(&app.store, "inside").await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    write(&app.store, "outside").await.unwrap();
    let sql = "SELECT count(*) FROM setting WHERE name IN ('inside', 'outside')";
    assert_eq!(seen_from_outside(&app, sql).await, 1);
}

/// SQLite opens a file for reading only, without an error, while its file system takes no writes,
/// and such a connection stays so. The stand-in refuses with the same code (READONLY).
async fn a_connection_that_refuses_every_write_is_not_used_again(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let writer = app.store.inbox().raw_writer();
    let statement = "UPDATE commit_marker SET number = number";
    for _ in 0..2 {
        writer
            .execute_unprepared("PRAGMA query_only = ON")
            .await
            .unwrap();
        let refused = writer.execute_unprepared(statement).await.unwrap_err();
        assert!(refused.to_string().contains("readonly"), "{refused}");
        writer.execute_unprepared(statement).await.unwrap();
    }
    // In a transaction, as well.
    writer
        .execute_unprepared("PRAGMA query_only = ON")
        .await
        .unwrap();
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 503);
    assert_eq!(app.callback_bytes(b"{}".to_vec()).await, 200);
}

async fn a_commit_that_no_reader_finds_is_answered_503_and_the_writer_reopened(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let body = |number: u32| format!(r#"{{"entry":[],"number":{number}}}"#).into_bytes();
    assert_eq!(app.callback_bytes(body(1)).await, 200);
    // The stand-in for a commit that is lost: the number falls back as soon as it was raised.
    app.store
        .inbox()
        .raw_writer()
        .execute_unprepared(
            "CREATE TRIGGER lost AFTER UPDATE ON commit_marker \
             BEGIN UPDATE commit_marker SET number = number - 1000; END",
        )
        .await
        .unwrap();
    assert_eq!(app.callback_bytes(body(2)).await, 503);
    assert!(!app.store.commits_missing().unwrap().is_cancelled());
    // Whole again: one commit is found, and the first miss is forgotten.
    app.store
        .inbox()
        .raw_writer()
        .execute_unprepared("DROP TRIGGER lost; UPDATE commit_marker SET number = 2000")
        .await
        .unwrap();
    assert_eq!(app.callback_bytes(body(3)).await, 200);
    assert!(!app.store.commits_missing().unwrap().is_cancelled());
    app.store
        .inbox()
        .raw_writer()
        .execute_unprepared(
            "CREATE TRIGGER lost AFTER UPDATE ON commit_marker \
             BEGIN UPDATE commit_marker SET number = number - 1000; END",
        )
        .await
        .unwrap();
    assert_eq!(app.callback_bytes(body(4)).await, 503);
    assert!(!app.store.commits_missing().unwrap().is_cancelled());
    // Also on the connection that was opened for it: the process must end, and may do so
    // before its answer is read.
    let last = body(5);
    let answer = app
        .http
        .post(format!("{}/webhooks/meta", app.base))
        .header("X-Hub-Signature-256", sign(APP_SECRET, &last))
        .body(last)
        .send()
        .await;
    assert!(answer.is_err() || answer.unwrap().status().as_u16() == 503);
    assert!(app.store.commits_missing().unwrap().is_cancelled());
}

/// The address of an app's own database behind some wires.
async fn behind(database: &Database, wires: &[&Wire]) -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(database, folder.path()).await;
    let name = url.rsplit('/').next().unwrap();
    let hosts: Vec<String> = wires
        .iter()
        .map(|wire| format!("127.0.0.1:{}", wire.port))
        .collect();
    (
        format!(
            "postgres://herald@{}/{name}?target_session_attrs=read-write",
            hosts.join(",")
        ),
        folder,
    )
}

const QUICK: &[(&str, &str)] = &[("HERALD_DATABASE_TIMEOUT_SECONDS", "1")];

async fn a_silent_server_is_left_for_the_next_one(database: Database) {
    let Database::Postgres = database else { return };
    let server = &postgres().unwrap().server;
    let (first, second) = (Wire::to(server).await, Wire::to(server).await);
    let (url, _folder) = behind(&database, &[&first, &second]).await;
    let app = TestApp::start(&url, QUICK).await;
    let body = |number: u32| format!(r#"{{"entry":[],"number":{number}}}"#).into_bytes();
    assert_eq!(app.callback_bytes(body(1)).await, 200);
    first.go_silent();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(app.callback_bytes(body(2)).await);
        if answers.last() == Some(&200) {
            break;
        }
    }
    assert_eq!(answers.last(), Some(&200), "{answers:?}");
    // Readers, too.
    assert_eq!(app.callbacks_stored().await, 2);
}

async fn a_silent_server_is_tried_until_it_answers(database: Database) {
    let Database::Postgres = database else { return };
    let server = &postgres().unwrap().server;
    let wire = Wire::to(server).await;
    let (url, _folder) = behind(&database, &[&wire]).await;
    let app = TestApp::start(&url, QUICK).await;
    wire.go_silent();
    let started = tokio::time::Instant::now();
    assert_eq!(app.callback_bytes(br#"{"entry":[]}"#.to_vec()).await, 503);
    // A bound on what is waited for, not on how fast it is: without a deadline it never ends.
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(app.text("/readyz").await.0, 503);
}
