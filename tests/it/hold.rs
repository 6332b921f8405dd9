//! Sending on hold: nothing is sent twice after a restore, and a person decides what goes on.

use herald::{
    engine::{delivery::follow_up, intake},
    workers::senders::hold_turn,
};
use serde_json::{Value, json};

use crate::{
    backup::{done, restored, to_the_present},
    dashboard,
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    after_a_restore_nothing_is_sent_again_until_a_person_says_so,
    a_code_that_is_asked_for_now_goes_out_and_an_older_one_waits,
    a_release_cancels_by_age_messages_follow_ups_and_fan_outs,
    a_hold_is_for_admins_says_why_and_outlasts_a_restart,
    a_held_queue_is_an_alarm_with_what_helps,
    a_hold_of_a_sender_stays_when_the_hold_of_all_ends,
];

/// A catalogue with one-time passwords.
const CODES: &str = r#"
name = "codes"
[[template]]
name = "login_code"
category = "authentication"
body = "{{ code }} is your code."
[[template.button]]
type = "otp"
otp_type = "copy_code"
"#;

pub async fn ready(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    to_the_present(&app);
    app.apply_catalogue(DEMO).await;
    app
}

async fn code(app: &TestApp, to: &str) -> String {
    let body = json!({
        "to": to, "template": "login_code", "params": { "code": "123456" }, "priority": "otp",
    });
    let (status, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(status, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub async fn standing(app: &TestApp) -> Value {
    let (code, standing) = app.admin("GET", "/api/v1/hold", &Value::Null).await;
    assert_eq!(code, 200, "{standing}");
    standing
}

pub async fn release(app: &TestApp, body: Value) -> Value {
    let (code, released) = app.admin("POST", "/api/v1/hold/release", &body).await;
    assert_eq!(code, 200, "{released}");
    released
}

pub async fn start(app: &TestApp) {
    let body = json!({ "reason": "a test" });
    let (code, standing) = app.admin("POST", "/api/v1/hold", &body).await;
    assert_eq!(
        (code, &standing["on_hold"]),
        (200, &json!(true)),
        "{standing}"
    );
}

async fn after_a_restore_nothing_is_sent_again_until_a_person_says_so(database: Database) {
    let app = ready(&database, &[]).await;
    let sent = app.order("A-1", "+12025550101").await;
    app.send().await;
    let again = app.order("A-2", "+12025550102").await;
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("backup.tar").display().to_string();
    done(&app.database_url, folder.path(), &["backup", &name]);
    // What the backup does not know: it goes out.
    assert_eq!(app.send().await, 1);
    let meta = app.meta.clone();
    let (url, _folder) = app.shut_down().await;
    restored(&url, folder.path(), &["restore", &name, "--replace"]);

    let mut app = TestApp::start(&url, &[]).await;
    app.meta = meta;
    to_the_present(&app);
    app.pass(60);
    assert_eq!(app.send().await, 0, "it would have arrived twice");
    hold_turn(&app.engine, app.now()).await.unwrap();
    let waits = app.notification(&again).await;
    assert_eq!(waits["status"], "held", "{waits}");
    assert!(
        waits["reason"].as_str().unwrap().contains("restored"),
        "{waits}"
    );
    let (_, story) = app
        .get(&format!("/api/v1/notifications/{again}/story"))
        .await;
    let text = story["standing"].as_str().unwrap();
    assert!(
        text.contains("herald hold release") && !text.contains("looked at again"),
        "{text}"
    );
    let stands = standing(&app).await;
    assert!(
        stands["detail"].as_str().unwrap().starts_with("made at 20"),
        "{stands}"
    );
    assert_eq!(
        (&stands["on_hold"], &stands["reason"]),
        (&json!(true), &json!("restored"))
    );
    assert_eq!(stands["waiting"][0]["count"], 1, "{stands}");
    assert_eq!(stands["messages"][0]["id"], json!(again));
    // Requests and callbacks are taken.
    let new = app.order("A-3", "+12025550103").await;
    app.told(&sent, "delivered", None).await;
    assert_eq!(app.status_of(&sent).await, "delivered");
    assert_eq!(app.send().await, 0);
    let would = release(
        &app,
        json!({ "cancel_older_than_seconds": 50, "dry_run": true }),
    )
    .await;
    assert_eq!(
        (
            &would["cancelled_messages"],
            standing(&app).await["on_hold"].clone()
        ),
        (&json!(1), json!(true))
    );
    let done = release(&app, json!({ "cancel_older_than_seconds": 50 })).await;
    assert_eq!(done["cancelled_messages"], 1);
    assert_eq!(app.status_of(&again).await, "cancelled");
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&new).await, "accepted");
}

async fn a_code_that_is_asked_for_now_goes_out_and_an_older_one_waits(database: Database) {
    let app = ready(&database, &[]).await;
    app.apply_catalogue(CODES).await;
    let old = code(&app, "+12025550101").await;
    app.pass(1);
    start(&app).await;
    app.pass(1);
    let young = code(&app, "+12025550102").await;
    let order = app.order("A-1", "+12025550103").await;
    assert_eq!(app.send().await, 1);
    hold_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.status_of(&young).await, "accepted");
    assert_eq!(app.status_of(&old).await, "held");
    assert_eq!(app.status_of(&order).await, "held");
    // By hand neither.
    let (_, told) = app
        .post(
            &format!("/api/v1/notifications/{old}/send-now"),
            &Value::Null,
        )
        .await;
    assert_eq!(app.send().await, 0, "{told}");
    release(&app, json!({})).await;
    assert_eq!(app.send().await, 2);
}

async fn a_release_cancels_by_age_messages_follow_ups_and_fan_outs(database: Database) {
    let app = ready(&database, &[]).await;
    let rule = r#"
name = "reminders"
[[template]]
name = "reminder_text"
category = "utility"
body = "Your order waits."
[[rule]]
name = "remind"
on = "sent"
after = "1h"
unless = ["read"]
[rule.send]
to = "same"
template = "reminder_text"
"#;
    app.apply_catalogue(rule).await;
    let reminded = app.order("A-0", "+12025550100").await;
    app.send().await;
    app.told(&reminded, "sent", None).await;
    let old = app.order("A-1", "+12025550101").await;
    app.sql("UPDATE event SET state = 'expanding' WHERE id IN (SELECT event_id FROM notification WHERE recipient LIKE '%0100' OR address LIKE '%0100')")
        .await;
    start(&app).await;
    app.pass(3 * 3600);
    let young = app.order("A-2", "+12025550102").await;
    let friday = json!({ "to": "+12025550103", "template": "jaspers_market_plain_text_v1",
        "send_at": herald::domain::time::Timestamp::from_micros(app.now().plus_seconds(3600).micros()).to_string() });
    let (_, friday) = app.post("/api/v1/notifications", &friday).await;
    let friday = friday["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // The timer that is due waits, and so does whom an event has to reach yet.
    assert_eq!(follow_up::turn(&app.engine, app.now()).await.unwrap(), 0);
    assert!(!intake::expand_turn(&app.engine, app.now()).await.unwrap());
    let stands = standing(&app).await;
    assert_eq!(
        (&stands["follow_ups"], &stands["events"]),
        (&json!(1), &json!(1)),
        "{stands}"
    );
    let body = json!({ "cancel_older_than_seconds": 3600 });
    let done = release(&app, body.clone()).await;
    assert_eq!(
        done,
        json!({ "was_on_hold": true, "cancelled_messages": 1, "cancelled_follow_ups": 1, "ended_events": 1 })
    );
    app.follow_up().await;
    assert_eq!(app.send().await, 1, "the young one");
    assert_eq!(app.status_of(&old).await, "cancelled");
    assert_eq!(app.status_of(&young).await, "accepted");
    assert_eq!(app.status_of(&friday).await, "queued");
    let follow_up = app.notification(&reminded).await["follow_ups"][0].clone();
    assert_eq!(follow_up["state"], "cancelled", "{follow_up}");
    assert!(
        follow_up["reason"].as_str().unwrap().contains("on hold"),
        "{follow_up}"
    );
    // A second release has nothing to end.
    assert_eq!(release(&app, body).await["was_on_hold"], false);
}

async fn a_hold_is_for_admins_says_why_and_outlasts_a_restart(database: Database) {
    let app = ready(&database, &[]).await;
    let (code, _) = app.post("/api/v1/hold", &json!({ "reason": "mine" })).await;
    assert_eq!(code, 403);
    for path in ["/api/v1/hold", "/api/v1/hold/release"] {
        let wrong = json!({ "reason": "", "cancel_older_than_seconds": -1 });
        assert!(app.admin("POST", path, &wrong).await.0 >= 400);
    }
    let folder = tempfile::tempdir().unwrap();
    let words = ["hold", "start", "--reason", "moving to another machine"];
    done(&app.database_url, folder.path(), &words);
    app.order("A-1", "+12025550101").await;
    assert_eq!(
        app.send().await,
        0,
        "a command's word counts at the next claim"
    );
    let shown = done(&app.database_url, folder.path(), &["hold"]);
    assert!(
        shown.contains("moving to another machine") && shown.contains("utility"),
        "{shown}"
    );
    assert!(!shown.contains("+12025550101"), "{shown}");
    let words = ["send-now", "--all", "--dry-run"];
    let now = done(&app.database_url, folder.path(), &words);
    assert!(now.contains("Sending is on hold"), "{now}");
    let (url, _folder) = app.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    to_the_present(&app);
    assert_eq!(app.send().await, 0);
    let mut browser =
        dashboard::somebody(&app, "asha", herald::domain::login::DashboardRole::Admin).await;
    let page = browser.get("/dashboard/hold").await;
    assert!(
        page.text.contains("moving to another machine") && page.text.contains("under 10 minutes"),
        "{}",
        page.text
    );
    let overview = browser.get("/dashboard").await;
    assert!(
        overview.text.contains("/dashboard/hold"),
        "{}",
        overview.text
    );
    browser
        .post(
            "/dashboard/hold",
            &[("action", "preview"), ("older_than", "0s")],
        )
        .await;
    let page = browser.get("/dashboard/hold").await;
    assert!(page.text.contains("would be cancelled"), "{}", page.text);
    assert_eq!(app.send().await, 0);
    // After what the command noted, also when both happen within one second.
    app.pass(2);
    browser
        .post("/dashboard/hold", &[("action", "release")])
        .await;
    assert_eq!(app.send().await, 1);
    let (_, audit) = app.admin("GET", "/api/v1/audit", &Value::Null).await;
    let actions: Vec<&str> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .filter(|action| action.starts_with("hold."))
        .collect();
    assert_eq!(actions, ["hold.released", "hold.began"]);
}

async fn a_held_queue_is_an_alarm_with_what_helps(database: Database) {
    let app = ready(&database, &[]).await;
    start(&app).await;
    herald::engine::insight::alarms::turn(&app.engine, app.now())
        .await
        .unwrap();
    let kinds = app
        .texts("SELECT kind FROM alarm WHERE cleared_at IS NULL")
        .await;
    assert!(kinds.contains(&"sending_held".to_owned()), "{kinds:?}");
    let found = herald::engine::insight::attention::findings(&app.engine, app.now())
        .await
        .unwrap();
    let finding = found
        .iter()
        .find(|it| it.kind.name() == "sending_held")
        .unwrap();
    assert!(
        finding.summary.contains("a test") && finding.remedy.contains("herald hold release"),
        "{finding:?}"
    );
    release(&app, json!({})).await;
    herald::engine::insight::alarms::turn(&app.engine, app.now())
        .await
        .unwrap();
    let kinds = app
        .texts("SELECT kind FROM alarm WHERE cleared_at IS NULL")
        .await;
    assert!(!kinds.contains(&"sending_held".to_owned()), "{kinds:?}");
}

async fn a_hold_of_a_sender_stays_when_the_hold_of_all_ends(database: Database) {
    let app = ready(&database, &[]).await;
    app.apply_catalogue(CODES).await;
    let order = app.order("A-1", "+12025550101").await;
    start(&app).await;
    let path = format!("/api/v1/senders/{}", app.sender);
    app.admin(
        "POST",
        &format!("{path}/hold"),
        &json!({ "reason": "a test" }),
    )
    .await;
    app.engine.refresh_keyring().await.unwrap();
    app.pass(1);
    let young = code(&app, "+12025550102").await;
    hold_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.status_of(&young).await, "held", "its sender is held");
    // The sender goes on, and all sending does not: only what passes goes out.
    app.admin("POST", &format!("{path}/release"), &Value::Null)
        .await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&young).await, "accepted");
    assert_eq!(app.status_of(&order).await, "held");
    app.admin(
        "POST",
        &format!("{path}/hold"),
        &json!({ "reason": "a test" }),
    )
    .await;
    release(&app, json!({})).await;
    hold_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.send().await, 0);
    app.admin("POST", &format!("{path}/release"), &Value::Null)
        .await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&order).await, "accepted");
}
