//! Health and metrics: what they tell, and what is never in them.

use serde_json::json;

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    health_and_metrics_tell_what_is,
    who_reads_the_metrics_sees_no_other_server_s_gauges,
    no_secret_and_no_number_is_in_metrics_or_problems,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
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
