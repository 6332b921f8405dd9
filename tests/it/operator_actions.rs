//! What people do by hand, idempotency keys, and waiting for the provider's answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    all_that_match_are_retried_in_chunks,
    what_would_happen_is_told_and_not_done,
    waiting_messages_are_cancelled_and_sent_now,
    something_to_go_by_is_needed,
    a_key_makes_a_retry_happen_once,
    a_key_of_an_event_belongs_to_its_body,
    two_hundred_identical_requests_over_two_processes_make_one_message,
    whoever_waits_gets_the_providers_answer,
    whoever_waits_too_long_gets_what_is_known,
    whoever_hangs_up_changes_nothing,
    the_command_line_does_it_to_many,
];

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

/// A message with a label, that the provider refuses for good.
async fn failed(app: &TestApp, number: usize, class: &str) -> String {
    app.meta
        .will_answer(&[(400, r#"{"error":{"code":131026,"message":"no"}}"#)]);
    let id = asked(app, number, class).await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "failed");
    id
}

async fn asked(app: &TestApp, number: usize, class: &str) -> String {
    let body = json!({
        "to": format!("+1202555{:04}", 100 + number),
        "template": "jaspers_market_plain_text_v1", "labels": { "class_id": class }
    });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn with_key(app: &TestApp, path: &str, key: &str, body: &Value) -> (u16, Value) {
    with_header(app, path, ("Idempotency-Key", key), body).await
}

async fn with_header(
    app: &TestApp,
    path: &str,
    header: (&str, &str),
    body: &Value,
) -> (u16, Value) {
    let answer = app
        .http
        .post(format!("{}{path}", app.base))
        .bearer_auth(&app.key)
        .header(header.0, header.1)
        .json(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

async fn all_that_match_are_retried_in_chunks(database: Database) {
    let app = app(&database).await;
    for number in 0..3 {
        failed(&app, number, "10C").await;
    }
    let other = failed(&app, 3, "9A").await;
    // As if there were many: all of one class, in chunks of a hundred.
    app.sql(
        "INSERT INTO notification_label (notification_id, name, value) SELECT id, 'seen', 'yes' FROM notification",
    )
    .await;
    let body = json!({ "filter": { "status": "failed", "label": "class_id=10C" } });
    let (code, answer) = app.post("/api/v1/notifications/retry", &body).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        answer,
        json!({ "dry_run": false, "matched": 3, "changed": 3, "left_alone": {}, "next": null })
    );
    assert_eq!(app.status_of(&other).await, "failed");
    assert_eq!(app.send().await, 3);
    let (_, answer) = app.post("/api/v1/notifications/retry", &body).await;
    assert_eq!(answer["matched"], 0, "nothing is failed any more");

    for number in 0..120 {
        asked(&app, number, "bulk").await;
    }
    let mut body = json!({ "filter": { "label": "class_id=bulk" } });
    let (_, first) = app.post("/api/v1/notifications/cancel", &body).await;
    assert_eq!(
        (&first["matched"], &first["changed"]),
        (&json!(100), &json!(100))
    );
    body["cursor"] = first["next"].clone();
    let (_, second) = app.post("/api/v1/notifications/cancel", &body).await;
    assert_eq!(
        (&second["matched"], &second["changed"]),
        (&json!(20), &json!(20))
    );
    assert_eq!(second["next"], Value::Null);
    assert_eq!(app.send().await, 0);
}

async fn what_would_happen_is_told_and_not_done(database: Database) {
    let app = app(&database).await;
    let gone = failed(&app, 0, "10C").await;
    let sent = asked(&app, 1, "10C").await;
    assert_eq!(app.send().await, 1);
    let body = json!({ "filter": { "label": "class_id=10C" }, "dry_run": true });
    let (code, answer) = app.post("/api/v1/notifications/retry", &body).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        answer,
        json!({
            "dry_run": true, "matched": 2, "changed": 1, "next": null,
            "left_alone": { "it arrived, or may have: retry with even_if_delivered": 1 }
        })
    );
    assert_eq!(app.status_of(&gone).await, "failed");
    assert_eq!(app.status_of(&sent).await, "accepted");
    assert_eq!(app.send().await, 0);
}

async fn waiting_messages_are_cancelled_and_sent_now(database: Database) {
    let app = app(&database).await;
    app.meta
        .will_answer(&[(500, r#"{"error":{"code":131000,"message":"later"}}"#)]);
    let id = asked(&app, 0, "10C").await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "retrying");
    let path = format!("/api/v1/notifications/{id}/send-now");
    let (code, detail) = app.post(&path, &json!({})).await;
    assert_eq!(code, 202, "{detail}");
    let (code, problem) = app.post(&path, &json!({})).await;
    assert_eq!(code, 409);
    assert_eq!(
        problem["detail"],
        "it is due already, and goes out as soon as its sender's pace allows"
    );
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.post(&path, &json!({})).await.0, 409);

    // What waits for its time may go now, too; and what is not wanted any more, never.
    let later = app.now().plus_seconds(3600).to_string();
    for number in 1..3 {
        let body = json!({
            "to": format!("+1202555010{number}"), "template": "jaspers_market_plain_text_v1",
            "reference": format!("r{number}"), "send_at": later
        });
        assert_eq!(app.post("/api/v1/notifications", &body).await.0, 202);
    }
    assert_eq!(app.send().await, 0);
    let filter = |reference: &str| json!({ "filter": { "reference": reference } });
    let (_, answer) = app
        .post("/api/v1/notifications/send-now", &filter("r1"))
        .await;
    assert_eq!(answer["changed"], 1);
    let (_, answer) = app
        .post("/api/v1/notifications/cancel", &filter("r2"))
        .await;
    assert_eq!(answer["changed"], 1);
    assert_eq!(app.send().await, 1);
    app.pass(3600);
    assert_eq!(app.send().await, 0);
}

async fn something_to_go_by_is_needed(database: Database) {
    let app = app(&database).await;
    for (body, code) in [
        (json!({}), 422),
        (json!({ "filter": {} }), 422),
        (json!({ "filter": { "status": "lost" } }), 422),
        (json!({ "filter": { "since": "yesterday" } }), 422),
        (json!({ "filter": { "colour": "red" } }), 400),
        (json!({ "all": true }), 200),
        (json!([]), 400),
    ] {
        for action in ["retry", "cancel", "send-now"] {
            let path = format!("/api/v1/notifications/{action}");
            let (found, answer) = app.post(&path, &body).await;
            assert_eq!(found, code, "{action} {body}: {answer}");
        }
    }
}

async fn a_key_makes_a_retry_happen_once(database: Database) {
    let app = app(&database).await;
    let id = failed(&app, 0, "10C").await;
    let path = format!("/api/v1/notifications/{id}/retry");
    let generation = async || app.notification(&id).await["generation"].clone();
    for _ in 0..2 {
        let (code, detail) = with_key(&app, &path, "again", &json!({})).await;
        assert_eq!(code, 202, "{detail}");
        assert_eq!(generation().await, 2);
    }
    let body = json!({ "even_if_delivered": true });
    let (code, problem) = with_key(&app, &path, "again", &body).await;
    assert_eq!(code, 409);
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("idempotency-key-reused"), "{problem}");

    // The same for many: the second is answered like the first and does nothing.
    app.meta
        .will_answer(&[(400, r#"{"error":{"code":131026,"message":"no"}}"#)]);
    assert_eq!(app.send().await, 1);
    let path = "/api/v1/notifications/retry";
    let body = json!({ "filter": { "status": "failed" } });
    let (_, first) = with_key(&app, path, "all", &body).await;
    assert_eq!(first["changed"], 1);
    let (_, second) = with_key(&app, path, "all", &body).await;
    assert_eq!(second, first);
    assert_eq!(generation().await, 3);
    let body = json!({ "filter": { "status": "expired" } });
    assert_eq!(with_key(&app, path, "all", &body).await.0, 409);
}

async fn a_key_of_an_event_belongs_to_its_body(database: Database) {
    let app = app(&database).await;
    let event = |id: &str| {
        json!({
            "id": id, "source": "shop", "type": "demo.order.created",
            "data": { "phone": "+12025550101", "customer": "Asha", "order_number": id }
        })
    };
    let path = "/api/v1/events";
    let (code, first) = with_key(&app, path, "k", &event("A-1")).await;
    assert_eq!(code, 202, "{first}");
    let (code, again) = with_key(&app, path, "k", &event("A-1")).await;
    assert_eq!((code, &again["id"]), (202, &first["id"]));
    let (code, problem) = with_key(&app, path, "k", &event("A-2")).await;
    assert_eq!(code, 409);
    let kind = problem["type"].as_str().unwrap();
    assert!(kind.ends_with("idempotency-key-reused"), "{problem}");
    assert_eq!(
        app.number("SELECT count(*) FROM event").await,
        1,
        "nothing of the refused one stays"
    );
}

async fn two_hundred_identical_requests_over_two_processes_make_one_message(database: Database) {
    let first = app(&database).await;
    // SQLite serves one process: there it is one that is asked two hundred times.
    let second = match database {
        Database::Sqlite => None,
        Database::Postgres => Some(TestApp::start(&first.database_url, &[]).await),
    };
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1" });
    let asks = (0..200).map(|number| {
        let other = second.as_ref().filter(|_| number % 2 == 0);
        let app = other.unwrap_or(&first);
        let (body, key) = (&body, &first.key);
        async move {
            app.http
                .post(format!("{}/api/v1/notifications", app.base))
                // One client, whichever process it reaches.
                .bearer_auth(key)
                .header("Idempotency-Key", "once")
                .json(body)
                .send()
                .await
                .unwrap()
        }
    });
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer.status().as_u16(), 202);
    }
    assert_eq!(first.number("SELECT count(*) FROM notification").await, 1);
    let mut sent = first.send().await;
    if let Some(second) = &second {
        sent += second.send().await;
    }
    assert_eq!(sent, 1);
}

async fn whoever_waits_gets_the_providers_answer(database: Database) {
    let app = app(&database).await;
    let body = json!({
        "to": "+12025550101", "template": "jaspers_market_plain_text_v1", "reference": "r1"
    });
    let send = async || {
        // A place in the row is taken before it is stored: until it is stored.
        let due = "SELECT count(*) FROM notification WHERE due_at IS NOT NULL";
        while app.number(due).await == 0 {
            tokio::task::yield_now().await;
        }
        app.send().await
    };
    let waits = with_header(&app, "/api/v1/notifications", ("Prefer", "wait=30"), &body);
    let ((code, answer), made) = tokio::join!(waits, send());
    assert_eq!((code, made), (200, 1), "{answer}");
    let told = &answer["notifications"][0];
    assert_eq!(told["status"], "accepted");
    assert_eq!(told["address"], "+12025550101");
    assert_eq!(told["reference"], "r1");
    assert_eq!(told["accepted_at"], app.now().to_string());
    assert!(told["text"].as_str().unwrap().contains("Welcome"), "{told}");
    assert!(app.engine.send_waiters.is_empty());

    // A refusal is an answer, too.
    app.meta
        .will_answer(&[(400, r#"{"error":{"code":131026,"message":"no"}}"#)]);
    let body = json!({ "to": "+12025550102", "template": "jaspers_market_plain_text_v1" });
    let waits = with_header(
        &app,
        "/api/v1/notifications",
        ("Prefer", "respond-async, wait=30"),
        &body,
    );
    let ((code, answer), _) = tokio::join!(waits, send());
    assert_eq!(code, 200);
    assert_eq!(answer["notifications"][0]["status"], "failed");
    assert_eq!(answer["notifications"][0]["failure"]["code"], 131_026);

    for wrong in ["wait=0", "wait=61", "wait=soon"] {
        let (code, _) = with_header(&app, "/api/v1/notifications", ("Prefer", wrong), &body).await;
        assert_eq!(code, 400, "{wrong}");
    }
}

async fn whoever_waits_too_long_gets_what_is_known(database: Database) {
    let app = app(&database).await;
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1" });
    let (code, answer) =
        with_header(&app, "/api/v1/notifications", ("Prefer", "wait=1"), &body).await;
    assert_eq!(code, 202);
    assert_eq!(answer["notifications"][0]["status"], "queued");
    assert!(app.engine.send_waiters.is_empty());
    assert_eq!(app.send().await, 1);
}

async fn whoever_hangs_up_changes_nothing(database: Database) {
    let app = app(&database).await;
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1" });
    let request = app
        .http
        .post(format!("{}/api/v1/notifications", app.base))
        .bearer_auth(&app.key)
        .header("Prefer", "wait=60")
        .json(&body)
        .timeout(Duration::from_secs(30))
        .send();
    {
        let waiting = async {
            while app.number("SELECT count(*) FROM notification").await == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::pin!(request);
        tokio::select! {
            _ = &mut request => panic!("nobody has sent it"),
            () = waiting => {}
        }
        // Here the caller hangs up.
    }
    assert_eq!(app.send().await, 1);
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE status = 'accepted'")
            .await,
        1
    );
}

async fn the_command_line_does_it_to_many(database: Database) {
    let app = app(&database).await;
    for number in 0..3 {
        failed(&app, number, "10C").await;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = crate::cli::herald(&app.database_url, folder.path(), words);
        (output.status.code().unwrap(), crate::cli::text(&output))
    };
    let failed = ["--status", "failed", "--label", "class_id=10C"];
    let (code, said) = run(&[&["retry"], &failed[..], &["--dry-run"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("3 matched, 3 would be queued again."),
        "{said}"
    );
    let (code, said) = run(&[&["retry"], &failed[..]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 matched, 3 queued again."), "{said}");
    let (code, said) = run(&["cancel", "--status", "queued"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 matched, 3 cancelled."), "{said}");
    let (code, said) = run(&["send-now", "--all"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("3 left unchanged: it is not waiting any more"),
        "{said}"
    );
    let (code, said) = run(&["retry"]);
    assert_eq!(code, 1);
    assert!(said.contains("which ones?"), "{said}");
    let (code, said) = run(&["retry", "--status", "lost"]);
    assert_eq!(code, 1);
    assert!(said.contains("--status: one of queued"), "{said}");
}
