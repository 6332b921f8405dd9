//! What every request to the API meets: keys, envelopes, repeats, lists and problems.

use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, test_result};

crate::tests![
    without_a_key_nothing_is_told,
    an_event_is_a_cloudevent_and_a_bad_envelope_is_refused_with_every_wrong_field,
    a_repeat_of_an_event_gets_the_first_answer_and_another_content_is_a_conflict,
    a_direct_notification_is_checked_completely,
    an_idempotency_key_makes_one_message,
    lists_are_filtered_and_paged,
    every_problem_is_a_document,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn without_a_key_nothing_is_told(database: Database) {
    let app = ready(&database).await;
    for path in ["/api/v1/notifications", "/api/v1/stats", "/api/v1/messages"] {
        for key in [None, Some("herald_wrong"), Some("")] {
            let mut request = app.http.get(format!("{}{path}", app.base));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            assert_eq!(
                request.send().await.unwrap().status().as_u16(),
                401,
                "{path}"
            );
        }
    }
    let answer = app
        .http
        .post(format!("{}/api/v1/events", app.base))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    app.sql("UPDATE api_key SET revoked_at = 1").await;
    assert_eq!(
        app.get("/api/v1/stats").await.0,
        401,
        "a revoked key lets nobody in"
    );
}

async fn an_event_is_a_cloudevent_and_a_bad_envelope_is_refused_with_every_wrong_field(
    database: Database,
) {
    let app = ready(&database).await;
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/tests", "type": "demo.test.processed",
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "data": test_result("Successful") });
    let answer = app
        .http
        .post(format!("{}/api/v1/events", app.base))
        .bearer_auth(&app.key)
        .header("Content-Type", "application/cloudevents+json")
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    let bad = json!({ "specversion": "0.3", "id": "", "source": "x".repeat(600), "type": "t", "time": "yesterday" });
    let (code, problem) = app.post("/api/v1/events", &bad).await;
    assert_eq!(code, 422);
    insta::assert_json_snapshot!("a_bad_envelope", problem);
    let (code, problem) = app.post("/api/v1/events", &json!({ "id": 7 })).await;
    assert_eq!(code, 400, "{problem}");
}

async fn a_repeat_of_an_event_gets_the_first_answer_and_another_content_is_a_conflict(
    database: Database,
) {
    let app = ready(&database).await;
    let first = app
        .event("1", "demo.test.processed", test_result("Successful"))
        .await;
    let again = app
        .event("1", "demo.test.processed", test_result("Successful"))
        .await;
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&first["id"], &first["notifications"]),
        (&again["id"], &again["notifications"])
    );
    let body = json!({ "id": "1", "source": "tests", "type": "demo.test.processed", "data": test_result("Failed") });
    let (code, problem) = app.post("/api/v1/events", &body).await;
    assert_eq!(
        (code, &problem["type"]),
        (409, &json!("/problems/event-conflict"))
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 1);
    let all = futures_util::future::join_all((0..16).map(|_| {
        app.event(
            "2",
            "demo.order.created",
            json!({ "phone": "+12025550101", "customer": "A", "order_number": "1" }),
        )
    }))
    .await;
    assert_eq!(
        all.iter()
            .filter(|answer| answer["duplicate"] == false)
            .count(),
        1
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 2);
}

async fn a_direct_notification_is_checked_completely(database: Database) {
    let app = ready(&database).await;
    let body = json!({
        "to": ["12025550101", "+1 202 555", "group:Nobody", "user:nobody", "contact:nobody", ""],
        "template": "order_confirmation", "params": { "customer_name": " ", "surprise": 1 },
    });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 422);
    insta::assert_json_snapshot!("a_notification_with_everything_wrong", problem);
    for (body, pointer) in [
        (json!({ "to": "+12025550101" }), "/template"),
        (
            json!({ "to": "+12025550101", "template": "nothing_of_the_kind" }),
            "/template",
        ),
        (
            json!({ "to": "+12025550101", "template": "x", "text": "y" }),
            "/text",
        ),
        (json!({ "to": [], "text": "y" }), "/to"),
        (
            json!({ "to": "+12025550101", "text": "y", "priority": "urgent" }),
            "/priority",
        ),
        (
            json!({ "to": "+12025550101", "text": "y", "expires_in_seconds": 0 }),
            "/expires_in_seconds",
        ),
        (json!({ "to": "+12025550101", "text": " " }), "/text"),
        (
            json!({ "to": "+12025550101", "template": "order_confirmation", "language": "de",
                 "params": { "customer_name": "A", "order_number": "1" } }),
            "/language",
        ),
    ] {
        let (code, problem) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(
            (code, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{problem}"
        );
    }
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM contact_alias WHERE value = '+12025550101'")
            .await,
        0,
        "nothing of it stays"
    );
}

async fn an_idempotency_key_makes_one_message(database: Database) {
    let app = ready(&database).await;
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1" });
    let post = |body: Value| {
        let request = app
            .http
            .post(format!("{}/api/v1/notifications", app.base))
            .bearer_auth(&app.key);
        async move {
            let answer = request
                .header("Idempotency-Key", "once")
                .json(&body)
                .send()
                .await
                .unwrap();
            (
                answer.status().as_u16(),
                answer.json::<Value>().await.unwrap(),
            )
        }
    };
    let all = futures_util::future::join_all((0..20).map(|_| post(body.clone()))).await;
    assert!(all.iter().all(|(code, answer)| *code == 202
        && answer["notifications"][0]["id"] == all[0].1["notifications"][0]["id"]));
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 1);
    let (code, problem) =
        post(json!({ "to": "+12025550102", "template": "jaspers_market_plain_text_v1" })).await;
    assert_eq!(
        (code, &problem["type"]),
        (409, &json!("/problems/idempotency-key-reused"))
    );
}

async fn lists_are_filtered_and_paged(database: Database) {
    let app = ready(&database).await;
    for number in 0..7 {
        app.order(&format!("A-{number}"), &format!("+1202555010{number}"))
            .await;
        app.pass(1);
    }
    app.event("r", "demo.test.processed", test_result("Successful"))
        .await;
    let count = |query: &'static str| {
        let app = &app;
        async move {
            app.get(&format!("/api/v1/notifications?{query}")).await.1["notifications"]
                .as_array()
                .map_or(0, Vec::len)
        }
    };
    assert_eq!(count("").await, 8);
    assert_eq!(count("status=queued,held").await, 8);
    assert_eq!(count("status=read").await, 0);
    assert_eq!(count("type=demo.order.created").await, 7);
    assert_eq!(count("template=results_update").await, 1);
    assert_eq!(count("label=order=A-3").await, 1);
    assert_eq!(count("reference=A-4").await, 1);
    assert_eq!(count("recipient=%2B12025550101").await, 2);
    assert_eq!(count("since=2026-01-01T00:00:05Z").await, 3);
    let (_, first) = app.get("/api/v1/notifications?limit=5").await;
    let next = first["next"].as_str().unwrap();
    let (_, second) = app
        .get(&format!("/api/v1/notifications?limit=5&cursor={next}"))
        .await;
    assert_eq!(
        (
            second["notifications"].as_array().unwrap().len(),
            &second["next"]
        ),
        (3, &Value::Null)
    );
    for query in [
        "status=nonsense",
        "label=x",
        "since=yesterday",
        "limit=0",
        "limit=201",
    ] {
        assert_eq!(
            app.get(&format!("/api/v1/notifications?{query}")).await.0,
            422,
            "{query}"
        );
    }
    assert_eq!(app.get("/api/v1/notifications?surprise=1").await.0, 400);
    assert_eq!(app.get("/api/v1/notifications/not-an-id").await.0, 404);
}

async fn every_problem_is_a_document(database: Database) {
    let app = ready(&database).await;
    for (method, path, code) in [
        ("GET", "/nowhere", 404),
        ("DELETE", "/api/v1/events", 405),
        ("PUT", "/webhooks/meta", 405),
        (
            "GET",
            "/api/v1/notifications/00000000-0000-0000-0000-000000000000",
            404,
        ),
    ] {
        let request = app
            .http
            .request(method.parse().unwrap(), format!("{}{path}", app.base))
            .bearer_auth(&app.key);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], code);
    }
    for (body, code) in [("{", 400), ("[]", 400), ("\"x\"", 400), ("{\"id\":1}", 400)] {
        let request = app
            .http
            .post(format!("{}/api/v1/events", app.base))
            .bearer_auth(&app.key);
        let answer = request
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), code, "{body}");
    }
    let large = "x".repeat(600 * 1024);
    let (code, _) = app
        .post(
            "/api/v1/events",
            &json!({ "id": "1", "source": "s", "type": "t", "data": large }),
        )
        .await;
    assert_eq!(code, 413);
}
