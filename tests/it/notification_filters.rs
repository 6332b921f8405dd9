//! Filters of notifications speak the words of the statistics; labels must all hold.

use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    the_words_of_the_statistics_find_what_they_count,
    whatever_was_tried_again_is_found,
    labels_must_all_hold_in_lists_bulk_actions_and_commands,
    a_fallback_does_not_hide_the_template_that_a_message_was_made_with,
];

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn found(app: &TestApp, query: &str) -> Vec<Value> {
    let (code, page) = app
        .get(&format!("/api/v1/notifications?limit=200&{query}"))
        .await;
    assert_eq!(code, 200, "{query}: {page}");
    page["notifications"].as_array().unwrap().clone()
}

async fn the_words_of_the_statistics_find_what_they_count(database: Database) {
    let app = app(&database).await;
    let mut ids = Vec::new();
    for number in 0..9 {
        ids.push(
            app.order(&format!("A-{number}"), &format!("+120255501{number:02}"))
                .await,
        );
    }
    // The last one waits, the one before is cancelled.
    let (code, _) = app
        .post(
            &format!("/api/v1/notifications/{}/cancel", ids[7]),
            &json!({}),
        )
        .await;
    assert_eq!(code, 200);
    let (_, pending) = app.get(&format!("/api/v1/notifications/{}", ids[8])).await;
    assert_eq!(pending["status"], "queued");
    app.sql(&format!(
        "UPDATE notification SET due_at = due_at + 3600000000 WHERE status = 'queued' AND recipient = '{}'",
        pending["recipient"].as_str().unwrap()
    ))
    .await;
    app.send().await;
    for (id, status) in ids
        .iter()
        .zip(["accepted", "sent", "delivered", "read", "failed", "read"])
    {
        if status != "accepted" {
            let code = (status == "failed").then_some(131_026);
            app.told(id, status, code).await;
        }
    }
    let stats = app.stats().await;
    for (word, count) in [("sent", 6), ("failed", 1), ("pending", 1), ("not_sent", 1)] {
        assert_eq!(stats["groups"][word], count, "{stats}");
        let found = found(&app, &format!("status={word}")).await;
        assert_eq!(found.len(), count, "{word}: {found:?}");
        assert!(found.iter().all(|row| row["group"] == word), "{found:?}");
    }
    for (word, count) in [
        ("status:sent", 1),
        ("read", 2),
        ("accepted", 2),
        ("delivered,read", 3),
        ("status:failed", 1),
        ("sent,pending", 7),
    ] {
        assert_eq!(
            found(&app, &format!("status={word}")).await.len(),
            count,
            "{word}"
        );
    }
    let (code, problem) = app.get("/api/v1/notifications?status=status:pending").await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("status"))
    );
}

async fn whatever_was_tried_again_is_found(database: Database) {
    let app = app(&database).await;
    let (again, once, waiting) = (
        app.order("A-1", "+12025550101").await,
        app.order("A-2", "+12025550102").await,
        app.order("A-3", "+12025550103").await,
    );
    app.meta.will_answer(&[
        (500, r#"{"error":{"code":131000}}"#),
        (200, r#"{"messages":[{"id":"wamid.A2"}]}"#),
        (500, r#"{"error":{"code":131000}}"#),
    ]);
    app.send().await;
    app.sql(
        "UPDATE notification SET due_at = due_at + 86400000000 WHERE recipient = '+12025550103'",
    )
    .await;
    app.pass(120);
    app.send().await;
    assert_eq!(app.status_of(&again).await, "accepted");
    assert_eq!(app.status_of(&once).await, "accepted");
    assert_eq!(app.status_of(&waiting).await, "retrying");
    let ids = |rows: Vec<Value>| -> Vec<String> {
        let mut ids: Vec<String> = rows
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let mut wanted = vec![again.clone(), waiting.clone()];
    wanted.sort();
    assert_eq!(ids(found(&app, "status=retried").await), wanted);
    assert_eq!(ids(found(&app, "status=retrying").await), [waiting]);
    assert_eq!(found(&app, "status=retried,accepted").await.len(), 3);
}

async fn labels_must_all_hold_in_lists_bulk_actions_and_commands(database: Database) {
    let app = app(&database).await;
    for (class, test) in [("7", "maths"), ("7", "art"), ("8", "maths")] {
        let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1", "labels": { "class_id": class, "test": test } });
        let (code, made) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{made}");
    }
    for (query, count) in [
        ("label=class_id%3D7", 2),
        ("label=class_id%3D7&label=test%3Dmaths", 1),
        ("label=test%3Dmaths&status=queued&label=class_id%3D8", 1),
        ("label=class_id%3D8&label=test%3Dart", 0),
        ("label=class_id%3D7&label=class_id%3D8", 0),
    ] {
        assert_eq!(found(&app, query).await.len(), count, "{query}");
    }
    let (code, problem) = app.get("/api/v1/notifications?label=a%3D1&label=b").await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("label"))
    );
    let many = "label=a%3D1&".repeat(9);
    assert_eq!(
        app.get(&format!("/api/v1/notifications?{many}")).await.0,
        422
    );
    for (label, count) in [
        (json!("class_id=7"), 2),
        (json!(["class_id=7", "test=maths"]), 1),
        (json!(["class_id=8", "test=art"]), 0),
    ] {
        let body = json!({ "filter": { "label": label }, "dry_run": true });
        let (code, done) = app.post("/api/v1/notifications/cancel", &body).await;
        assert_eq!((code, &done["matched"]), (200, &json!(count)), "{label}");
    }
    // An empty list is no filter.
    let body = json!({ "filter": { "label": [] } });
    assert_eq!(app.post("/api/v1/notifications/cancel", &body).await.0, 422);
    let folder = tempfile::tempdir().unwrap();
    let words = ["cancel", "--label", "class_id=7", "--label", "test=maths"];
    let done = herald(&app.database_url, folder.path(), &words);
    assert!(
        text(&done).contains("1 matched, 1 cancelled."),
        "{}",
        text(&done)
    );
    assert_eq!(found(&app, "status=cancelled").await.len(), 1);
}

const FALLBACK: &str = r#"
[[route]]
name = "as-text"
event = "shop.packed"
to = ["{{ data.phone }}"]
template = "order_confirmation"
mode = "auto"
fallback_template = "hello"
params = { customer_name = "{{ data.customer }}", order_number = "{{ data.order_number }}" }

[[template]]
name = "hello"
language = "en"
category = "utility"
body = "News for you: {{ message }} Bye."
"#;

async fn a_fallback_does_not_hide_the_template_that_a_message_was_made_with(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(&format!("{DEMO}\n{FALLBACK}")).await;
    // Outside the window the fallback takes its place at once.
    let data = json!({ "phone": "+12025550101", "customer": "A", "order_number": "1" });
    let made = app.event("1", "shop.packed", data.clone()).await;
    let id = made["notifications"][0].as_str().unwrap().to_owned();
    let shown = app.notification(&id).await;
    assert_eq!(
        (&shown["template"], &shown["sent_template"]),
        (&json!("order_confirmation"), &json!("hello")),
        "{shown}"
    );
    // Inside, it is a text; Meta finds the window closed, and the fallback takes its place then.
    app.pass(60);
    let hello = json!({ "from": "12025550101", "id": "wamid.h", "timestamp": app.now().unix_seconds().to_string(),
        "type": "text", "text": { "body": "hi" } });
    app.callback(json!({ "contacts": [{ "wa_id": "12025550101" }], "messages": [hello] }))
        .await;
    let made = app.event("2", "shop.packed", data).await;
    let id = made["notifications"][0].as_str().unwrap().to_owned();
    let shown = app.notification(&id).await;
    assert_eq!(
        (&shown["template"], &shown["sent_template"]),
        (&json!("order_confirmation"), &json!(null)),
        "{shown}"
    );
    app.meta.will_answer(&[
        (200, r#"{"messages":[{"id":"wamid.first"}]}"#),
        (400, r#"{"error":{"code":131047}}"#),
    ]);
    for _ in 0..3 {
        app.settle().await;
        app.pass(120);
    }
    let shown = app.notification(&id).await;
    assert_eq!(
        (
            &shown["template"],
            &shown["sent_template"],
            &shown["status"]
        ),
        (
            &json!("order_confirmation"),
            &json!("hello"),
            &json!("accepted")
        ),
        "{shown}"
    );
    let (_, story) = app.get(&format!("/api/v1/notifications/{id}/story")).await;
    assert_eq!(story["template"], "order_confirmation");
    assert_eq!(story["fallback_template"], "hello");
    for template in ["order_confirmation", "hello"] {
        assert_eq!(found(&app, &format!("template={template}")).await.len(), 2);
    }
}
