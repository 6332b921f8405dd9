//! Ten incidents. In each, the Overview names it, and the story of the message or the check
//! explains it: nobody has to read a log.

use herald::{
    domain::login::DashboardRole,
    engine::{
        delivery::silent_senders,
        insight::{alarms, check},
        runtime::heartbeat,
    },
    state::Clock,
};
use serde_json::json;

use crate::{
    dashboard::{Browser, somebody},
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    an_expired_token,
    a_paused_template,
    a_closed_window,
    a_person_who_has_opted_out,
    a_person_without_a_phone,
    a_rate_limit,
    a_lost_answer,
    a_parked_status,
    a_dead_worker,
    a_silent_webhook,
];

const EVERYBODY: &str = r#"
[[route]]
name = "demo-everybody"
event = "demo.alarm.raised"
to = ["group:Technical Admin"]
template = "jaspers_market_plain_text_v1"
"#;

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&format!("{DEMO}\n{EVERYBODY}")).await;
    app
}

/// What somebody sees who knows nothing but the pages.
async fn overview(app: &TestApp) -> String {
    alarms::turn(&app.engine, app.now()).await.unwrap();
    let name = format!("somebody-{}", app.now().micros());
    let mut browser = somebody(app, &name, DashboardRole::Operator).await;
    words(&mut browser, "/dashboard").await
}

async fn words(browser: &mut Browser<'_>, path: &str) -> String {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{path}");
    page.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The story of a message, as the API tells it.
async fn story(app: &TestApp, id: &str) -> String {
    let (code, story) = app.get(&format!("/api/v1/notifications/{id}/story")).await;
    assert_eq!(code, 200);
    story.to_string()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

async fn an_expired_token(database: Database) {
    let app = ready(&database).await;
    let expired = r#"{"error":{"code":190,"error_subcode":463,"message":"Session has expired","type":"OAuthException"}}"#;
    app.meta.will_answer(&[(401, expired)]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let page = overview(&app).await;
    says(
        &page,
        &[
            "does not send: Token expired",
            "Create a new access token at Meta and set it with herald senders set",
            ">held</span>",
        ],
    );
    says(&story(&app, &id).await, &["Token expired", "\"code\":190"]);
}

async fn a_paused_template(database: Database) {
    let app = ready(&database).await;
    let change = json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "102290129340398", "time": app.now().unix_seconds(), "changes": [{
            "field": "message_template_status_update",
            "value": {
                "event": "PAUSED", "message_template_id": 1_689_556, "message_template_name": "order_confirmation",
                "message_template_language": "en_US", "reason": "NONE",
                "other_info": { "title": "FIRST_PAUSE", "description": "low quality" },
            },
        }] }],
    });
    assert_eq!(
        app.callback_bytes(change.to_string().into_bytes()).await,
        200
    );
    app.process().await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let page = overview(&app).await;
    says(
        &page,
        &[
            "The template order_confirmation is paused",
            "Fix the template in WhatsApp Manager",
        ],
    );
    says(
        &story(&app, &id).await,
        &[
            "the template order_confirmation is paused",
            "it waits until it is approved",
        ],
    );
}

async fn a_closed_window(database: Database) {
    let app = ready(&database).await;
    let closed = r#"{"error":{"code":131047,"message":"(#131047) Re-engagement message"}}"#;
    app.meta.will_answer(&[(400, closed)]);
    let body = json!({ "to": "+12025550101", "text": "Are you there?" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.send().await;
    let page = overview(&app).await;
    says(
        &page,
        &[
            "The recipient has not written in the last 24 hours",
            "Send a template, or wait until the recipient writes.",
        ],
    );
    says(&story(&app, &id).await, &["24 hours", "emplate"]);
}

async fn a_person_who_has_opted_out(database: Database) {
    let app = ready(&database).await;
    let stop = json!({ "messages": [{ "from": "12025550101", "id": "wamid.STOP", "timestamp": app.now().unix_seconds().to_string(), "type": "text", "text": { "body": "STOP" } }] });
    app.callback(stop).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let page = overview(&app).await;
    says(
        &page,
        &[
            "Skipped</span> <span class=\"count \">1</span>",
            "the person has opted out",
        ],
    );
    says(&story(&app, &id).await, &["the person has opted out"]);
}

async fn a_person_without_a_phone(database: Database) {
    let app = ready(&database).await;
    let answer = app.event("E-1", "demo.alarm.raised", json!({})).await;
    let page = overview(&app).await;
    says(&page, &["the user is not linked to a contact"]);
    let first = answer["notifications"][0].as_str().unwrap();
    says(
        &story(&app, first).await,
        &["the user is not linked to a contact", "left_out"],
    );
}

async fn a_rate_limit(database: Database) {
    let app = ready(&database).await;
    let limit = r#"{"error":{"code":130429,"message":"(#130429) Rate limit hit"}}"#;
    app.meta.will_answer(&[(400, limit)]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let page = overview(&app).await;
    says(&page, &["faster than its throughput allows"]);
    let told = story(&app, &id).await;
    says(&told, &["faster than its throughput allows"]);
    app.pass(120);
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted", "a limit delays");
}

async fn a_lost_answer(database: Database) {
    let app = ready(&database).await;
    app.meta.will_answer(&[(1, "")]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let page = overview(&app).await;
    says(
        &page,
        &[
            "?status=unknown",
            "the response was lost: a callback or the policy will decide",
        ],
    );
    says(
        &story(&app, &id).await,
        &["The response was lost: it is not known whether it was sent."],
    );
}

async fn a_parked_status(database: Database) {
    let app = ready(&database).await;
    let at = app.now().unix_seconds().to_string();
    app.callback(json!({ "statuses": [{ "id": "wamid.OTHERS", "status": "delivered", "timestamp": at, "recipient_id": "12025550101" }] }))
        .await;
    let page = overview(&app).await;
    says(&page, &["Nothing at the moment."]);
    app.pass(601);
    let page = overview(&app).await;
    says(
        &page,
        &[
            "1 statuses wait for an unknown message.",
            "Another program sends from the same number",
        ],
    );
}

async fn a_dead_worker(database: Database) {
    let app = ready(&database).await;
    for worker in heartbeat::WORKERS {
        heartbeat::beat(&app.engine, worker, app.now())
            .await
            .unwrap();
    }
    let id = app.order("A-1", "+12025550101").await;
    app.pass(400);
    let page = overview(&app).await;
    says(
        &page,
        &[
            "The worker work has had no heartbeat for 400 seconds.",
            "Nothing is sent, and no follow-up fires.",
            "A message has been due for 400 seconds and is not sent.",
            "Start herald serve again",
        ],
    );
    let asked = check::InstallationCheckInputs {
        public_url: None,
        nonce: "0".to_owned(),
        timeout: std::time::Duration::from_millis(200),
        is_enabled: true,
        sender: None,
    };
    let rows = check::run(&app.engine, &asked, app.now()).await.unwrap();
    let dead = rows.iter().find(|row| row.name == "workers").unwrap();
    says(&dead.found, &["no heartbeat for 400 seconds"]);
    says(&story(&app, &id).await, &["It is queued"]);
    assert!(Clock::System.now() > app.now());
}

async fn a_silent_webhook(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(1801);
    silent_senders::turn(&app.engine, app.now()).await.unwrap();
    let page = overview(&app).await;
    says(
        &page,
        &[
            "has sent for 30 minutes and no callback has come.",
            "callback URL reaches this server: herald check",
        ],
    );
    says(&story(&app, &id).await, &["The provider accepted it"]);
}
