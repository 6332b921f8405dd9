//! The API, as a product sees it.

use std::collections::BTreeSet;

use herald::{engine::intake::targets::recipients_at_once, http::api::endpoints::all};
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, crowd, group, without_ids};

crate::tests![
    without_a_key_nothing_is_told,
    an_event_is_a_cloudevent_and_a_bad_envelope_is_refused_with_every_wrong_field,
    a_repeat_of_an_event_gets_the_first_answer_and_another_content_is_a_conflict,
    a_class_and_test_notify_once_and_a_failed_one_says_retry_it,
    an_event_that_notifies_nobody_says_why,
    a_direct_notification_is_checked_completely,
    an_idempotency_key_makes_one_message,
    lists_are_filtered_and_paged,
    one_person_in_two_groups_gets_one_message_and_large_groups_are_expanded_in_chunks,
    an_event_the_database_refuses_stops_no_other,
    statistics_come_from_counters,
    every_problem_is_a_document,
    the_openapi_document_names_every_route,
    the_openapi_document_can_be_made_into_a_client,
    health_and_metrics_tell_what_is,
    who_reads_the_metrics_sees_no_other_server_s_gauges,
    no_secret_and_no_number_is_in_metrics_or_problems,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

fn result(status: &str) -> Value {
    json!({ "status": status, "phone": "+12025550101", "educator": "Asha", "test_name": "Unit 3", "class_id": "10C", "test_num": "3" })
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
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "data": result("Successful") });
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
        .event("1", "demo.test.processed", result("Successful"))
        .await;
    let again = app
        .event("1", "demo.test.processed", result("Successful"))
        .await;
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&first["id"], &first["notifications"]),
        (&again["id"], &again["notifications"])
    );
    let body = json!({ "id": "1", "source": "tests", "type": "demo.test.processed", "data": result("Failed") });
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

async fn a_class_and_test_notify_once_and_a_failed_one_says_retry_it(database: Database) {
    let app = ready(&database).await;
    let all = futures_util::future::join_all((0..12).map(|number| {
        let id = format!("event-{number}");
        let app = &app;
        async move {
            app.event(&id, "demo.test.processed", result("Successful"))
                .await
        }
    }))
    .await;
    assert_eq!(
        all.iter()
            .filter(|answer| answer["routes"][0]["notifications"] == 1)
            .count(),
        1
    );
    let id = app.get("/api/v1/notifications?label=class_id=10C").await.1["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let late = app
        .event("late", "demo.test.processed", result("Successful"))
        .await;
    assert_eq!(
        late["routes"][0]["duplicates"],
        json!([{ "of": id, "status": "failed", "hint": format!("duplicate of {id}, failed: retry it") }])
    );
}

async fn an_event_that_notifies_nobody_says_why(database: Database) {
    let app = ready(&database).await;
    let pending = app
        .event("1", "demo.test.processed", result("Processing"))
        .await;
    assert_eq!(pending["routes"][0]["outcome"], "did_not_fire");
    let unknown = app.event("2", "nobody.listens", json!({})).await;
    assert_eq!(unknown["routes"], json!([]));
    let mut nameless = result("Successful");
    nameless.as_object_mut().unwrap().remove("educator");
    let broken = app.event("3", "demo.test.processed", nameless).await;
    assert_eq!(broken["routes"][0]["outcome"], "error");
    assert!(
        broken["routes"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("educator")
    );
    let mut phoneless = result("Successful");
    phoneless.as_object_mut().unwrap().remove("phone");
    let skipped = app.event("4", "demo.test.processed", phoneless).await;
    let row = app
        .notification(skipped["notifications"][0].as_str().unwrap())
        .await;
    assert_eq!(
        (&row["status"], &row["reason"]),
        (
            &json!("skipped"),
            &json!("the recipient has no phone number")
        )
    );
    let (code, stored) = app
        .get(&format!(
            "/api/v1/events/{}",
            broken["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!((code, &stored["routes"]), (200, &broken["routes"]));
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
    app.event("r", "demo.test.processed", result("Successful"))
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

async fn one_person_in_two_groups_gets_one_message_and_large_groups_are_expanded_in_chunks(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    let mut catalogue = String::from(
        "name = \"crowd\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello {{ contact.name }}.\"\n\
         [[route]]\nname = \"crowd\"\nevent = \"crowd.called\"\nto = [\"group:One\", \"group:Two\"]\ntemplate = \"hello\"\n",
    );
    let names: Vec<String> = (0..450).map(|number| format!("person-{number}")).collect();
    catalogue += &crowd(&names);
    catalogue += &group("One", &names);
    catalogue += &group("Two", &names[400..]);
    app.apply_catalogue(&catalogue).await;
    let answer = app.event("1", "crowd.called", json!({})).await;
    assert_eq!(answer["expanding"], true, "{}", answer["routes"]);
    // The catalogue changes meanwhile: a route that sorts before disturbs nobody.
    let more = "name = \"more\"\n[[route]]\nname = \"a-new-one\"\nevent = \"crowd.called\"\nto = \"user:person-1\"\ntemplate = \"hello\"\n";
    app.apply_catalogue(more).await;
    let made = app.number("SELECT count(*) FROM notification").await;
    assert_eq!(
        usize::try_from(made).unwrap(),
        recipients_at_once(app.store.reader())
    );
    app.follow_up().await;
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 450);
    assert_eq!(
        app.number("SELECT count(DISTINCT contact_id) FROM notification")
            .await,
        450
    );
    let (_, event) = app
        .get(&format!(
            "/api/v1/events/{}",
            answer["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&event["expanding"], &event["routes"][0]["notifications"]),
        (&json!(false), &json!(450))
    );
    assert_eq!(app.send().await, 450);
}

async fn an_event_the_database_refuses_stops_no_other(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut catalogue = String::from(
        "name = \"crowd\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello {{ contact.name }}.\"\n\
         [[route]]\nname = \"crowd\"\nevent = \"crowd.called\"\nto = \"group:One\"\ntemplate = \"hello\"\nreference = \"{{ event.id }}\"\n",
    );
    let names: Vec<String> = (0..250)
        .map(|number| format!("person-{number:03}"))
        .collect();
    catalogue += &crowd(&names);
    catalogue += &group("One", &names);
    app.apply_catalogue(&catalogue).await;
    // Both have their first chunk; the second of one of them will be refused.
    let bad = app.event("bad", "crowd.called", json!({})).await;
    let good = app.event("good", "crowd.called", json!({})).await;
    let bad = bad["id"].as_str().unwrap();
    let reject = match database {
        Database::Sqlite => format!(
            "CREATE TRIGGER broken BEFORE INSERT ON notification WHEN NEW.event_id = unhex('{}') \
             BEGIN SELECT RAISE(ABORT, 'played by a test'); END",
            bad.replace('-', "")
        ),
        Database::Postgres => format!(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.event_id = '{bad}' THEN RAISE EXCEPTION 'played by a test' USING ERRCODE = '22000'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER broken BEFORE INSERT ON notification FOR EACH ROW EXECUTE FUNCTION broken()"
        ),
    };
    app.sql(&reject).await;
    app.follow_up().await;
    let of = |id: &str| format!("/api/v1/events/{id}");
    let (_, refused) = app.get(&of(bad)).await;
    assert_eq!(refused["expanding"], false);
    let route = &refused["routes"][0];
    assert_eq!(route["outcome"], "error", "{route}");
    assert_eq!(
        route["reason"],
        "not every recipient was reached: the database refuses it"
    );
    assert_eq!(
        route["notifications"],
        recipients_at_once(app.store.reader()),
        "{route}"
    );
    let (_, whole) = app.get(&of(good["id"].as_str().unwrap())).await;
    assert_eq!(whole["routes"][0]["notifications"], 250);
}

async fn statistics_come_from_counters(database: Database) {
    let app = ready(&database).await;
    let ids = [
        app.order("A-1", "+12025550101").await,
        app.order("A-2", "+12025550102").await,
    ];
    app.order("A-3", "+12025550103").await;
    app.sql("UPDATE notification SET due_at = NULL WHERE reference = 'A-3'")
        .await;
    app.send().await;
    app.told(&ids[0], "read", None).await;
    app.told(&ids[1], "failed", Some(131_026)).await;
    insta::assert_json_snapshot!("statistics", without_ids(app.stats().await));
    app.pass(3 * 3600);
    let (_, later) = app.get("/api/v1/stats?hours=1").await;
    assert_eq!(
        (&later["total"], &later["pending_now"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(app.get("/api/v1/stats?hours=0").await.0, 422);
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

async fn the_openapi_document_can_be_made_into_a_client(database: Database) {
    let app = ready(&database).await;
    let (_, document) = app.get("/api/v1/openapi.json").await;
    let mut ids = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            // A method's name is made of it: a verb and what it is about.
            if !id.contains('_') || !ids.insert(id.to_owned()) {
                wrong.push(format!("{method} {path}: operationId {id:?}"));
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                if response["description"]
                    .as_str()
                    .unwrap_or_default()
                    .is_empty()
                {
                    wrong.push(format!("{method} {path}: {status} has no description"));
                }
                let kinds = response["content"].as_object();
                let is_error = status.starts_with(['4', '5']);
                if is_error && !kinds.is_some_and(|it| it.contains_key("application/problem+json"))
                {
                    wrong.push(format!("{method} {path}: {status} is no problem document"));
                }
            }
        }
    }
    assert!(ids.len() > 60, "{}", ids.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn the_openapi_document_names_every_route(database: Database) {
    let app = ready(&database).await;
    let (code, document) = app.get("/api/v1/openapi.json").await;
    assert_eq!(code, 200);
    // `keys::walk` has each of them by name.
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((path, method.to_uppercase()));
        }
    }
    let served = all().iter().map(|it| (&it.path, it.method.to_string()));
    assert_eq!(described, served.collect());
    // Of two handlers of one operation the second would never be called.
    assert_eq!(described.len(), all().len());
    // What is below the prefix asks for a key.
    assert!(all().iter().all(|it| it.path.starts_with("/api/v1/")));
    // What any of them may answer, whatever it does.
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let body = operation.get("requestBody").map(|_| "408");
            for status in ["401", "429", "503"].into_iter().chain(body) {
                let response = &operation["responses"][status];
                assert!(response.is_object(), "{method} {path}: {status}");
            }
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}

async fn health_and_metrics_tell_what_is(database: Database) {
    let app = ready(&database).await;
    app.order("A-1", "+12025550101").await;
    app.pass(90);
    let (code, ready) = app.get("/readyz").await;
    assert_eq!(
        (code, &ready["status"], &ready["uptime_seconds"]),
        (200, &json!("ready"), &json!(90))
    );
    assert_eq!(app.get("/livez").await.0, 200);
    let (code, metrics) = app.text("/metrics").await;
    assert_eq!(code, 200);
    for name in [
        "herald_open_notifications{status=\"queued\"} 1",
        "herald_queue_age_seconds 90",
        "herald_database_statements_total",
        "herald_callbacks_waiting 0",
        "herald_write_seconds_bucket",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
}

/// The gauges are of the process, and several servers read them at the same moment.
async fn who_reads_the_metrics_sees_no_other_server_s_gauges(database: Database) {
    let (one, other) = tokio::join!(ready(&database), ready(&database));
    one.order("A-1", "+12025550101").await;
    other.order("B-1", "+12025550101").await;
    other.order("B-2", "+12025550102").await;
    for _ in 0..50 {
        let (mine, theirs) = tokio::join!(one.text("/metrics"), other.text("/metrics"));
        for ((_, metrics), queued) in [(mine, 1), (theirs, 2)] {
            let line = format!("herald_open_notifications{{status=\"queued\"}} {queued}\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
    }
}

async fn no_secret_and_no_number_is_in_metrics_or_problems(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-canary", "+12025550199").await;
    app.send().await;
    app.told(&id, "read", None).await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (_, metrics) = app.text("/metrics").await;
    let (_, problem) = app
        .post(
            "/api/v1/notifications",
            &json!({ "to": "12025550199", "template": "canary-template" }),
        )
        .await;
    let text = format!("{metrics}{problem}");
    for canary in [
        "12025550199",
        "A-canary",
        "token-for-tests",
        "app-secret-for-tests",
        "canary-template",
        &wamid,
    ] {
        assert!(!text.contains(canary), "{canary} leaked");
    }
}
