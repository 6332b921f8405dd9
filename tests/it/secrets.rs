//! What is secret: sealed in its row, shown to nobody, wiped when nobody needs it any more.

use herald::engine::runtime::retention::RetentionCleaner;
use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    a_code_is_nowhere_readable_and_reaches_the_person,
    a_secret_parameter_beside_others_is_masked_alone,
    what_is_secret_is_wiped_when_the_message_is_final_and_is_not_sent_again,
    what_is_secret_is_wiped_when_the_message_has_expired_unheard,
    the_data_of_a_sensitive_event_are_sealed_and_wiped,
    a_repeated_request_with_a_code_is_known_again,
    a_fallback_with_a_secret_is_none_and_what_nobody_asks_for_is_not_kept,
    what_was_given_up_keeps_its_secrets_until_it_expires,
];

const CODE: &str = "739158";

const CATALOGUE: &str = r#"
name = "bank"

[[event]]
type = "bank.code.asked"
sensitive = true
example = { phone = "+12025550101", code = "123456" }

[[event]]
type = "bank.card.sent"

[[template]]
name = "code"
language = "en"
category = "authentication"
body = "{{ code }} is your code."
[[template.button]]
type = "otp"
otp_type = "copy_code"

[[template]]
name = "card"
language = "en"
category = "utility"
body = "Dear {{ name }}, the PIN of your card is {{ pin | upper }}. Tell it nobody."
[[template.parameter]]
name = "name"
example = "Asha"
[[template.parameter]]
name = "pin"
example = "0000"
sensitive = true

[[template]]
name = "trouble"
language = "en"
category = "utility"
body = "A message has failed: {{ what }} ({{ pin }})."

[[contact]]
name = "admin"
phone = "+12025550109"

[[route]]
name = "code"
event = "bank.code.asked"
to = "{{ data.phone }}"
template = "code"
[route.params]
code = "{{ data.code }}"

[[rule]]
name = "tell"
on = "failed"
[rule.send]
to = "contact:admin"
template = "trouble"
[rule.send.params]
what = "{{ notification.template }}"
pin = "{{ notification.params.pin | default('no pin') }}"
"#;

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

/// Every text that the database holds of messages and events.
async fn stored(app: &TestApp) -> String {
    let mut all = String::new();
    for (table, columns) in [
        (
            "notification",
            "params || coalesce(body, '') || coalesce(sealed, '') || coalesce(fallback, '')",
        ),
        ("event", "data"),
        ("attempt", "coalesce(request, '') || coalesce(answer, '')"),
        ("timeline", "coalesce(detail, '')"),
        ("idempotency", "coalesce(answer, '')"),
    ] {
        for text in app.texts(&format!("SELECT {columns} FROM {table}")).await {
            all.push_str(&text);
            all.push('\n');
        }
    }
    all
}

async fn ask(app: &TestApp, body: Value) -> String {
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn code() -> Value {
    json!({"to": "+12025550101", "template": "code", "params": {"code": CODE}})
}

async fn sealed(app: &TestApp) -> i64 {
    app.number("SELECT count(*) FROM notification WHERE sealed <> ''")
        .await
}

async fn a_code_is_nowhere_readable_and_reaches_the_person(database: Database) {
    let app = app(&database).await;
    let id = ask(&app, code()).await;
    let shown = app.notification(&id).await;
    assert_eq!(shown["text"], "•••••• is your code.");
    assert!(!stored(&app).await.contains(CODE));
    assert_eq!(sealed(&app).await, 1);
    app.send().await;
    assert_eq!(
        app.meta.request(0)["template"]["components"][0]["parameters"][0]["text"],
        CODE
    );
    app.told(&id, "delivered", None).await;
    assert!(!stored(&app).await.contains(CODE));
    assert_eq!(sealed(&app).await, 0);
    let (_, story) = app.get(&format!("/api/v1/notifications/{id}/story")).await;
    assert!(!story.to_string().contains(CODE), "{story}");
}

async fn a_secret_parameter_beside_others_is_masked_alone(database: Database) {
    let app = app(&database).await;
    let body = json!({"to": "+12025550101", "template": "card", "params": {"name": "Asha", "pin": "q8z4"}});
    let id = ask(&app, body).await;
    assert_eq!(
        app.notification(&id).await["text"],
        "Dear Asha, the PIN of your card is ••••••. Tell it nobody."
    );
    let stored = stored(&app).await;
    assert!(stored.contains("Asha") && !stored.to_lowercase().contains("q8z4"));
    app.send().await;
    let sent = &app.meta.request(0)["template"]["components"][0]["parameters"];
    assert_eq!(
        (&sent[0]["text"], &sent[1]["text"]),
        (&json!("Asha"), &json!("Q8Z4"))
    );
    // A rule that asks for it gets what everybody sees.
    app.told(&id, "failed", Some(131_026)).await;
    app.pass(120);
    app.settle().await;
    app.follow_up().await;
    let (_, list) = app.get("/api/v1/notifications?template=trouble").await;
    let told = list["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(
        app.notification(told).await["text"],
        "A message has failed: card (••••••)."
    );
}

async fn what_is_secret_is_wiped_when_the_message_is_final_and_is_not_sent_again(
    database: Database,
) {
    let app = app(&database).await;
    let id = ask(&app, code()).await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.pass(120);
    app.settle().await;
    assert_eq!(app.status_of(&id).await, "failed");
    assert_eq!(sealed(&app).await, 0);
    let (status, problem) = app
        .post(&format!("/api/v1/notifications/{id}/retry"), &json!({}))
        .await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(
        problem["detail"],
        "its secrets have been wiped: send it as a new message"
    );
    // A card without a secret may be sent again.
    let plain = ask(
        &app,
        json!({"to": "+12025550101", "template": "trouble", "params": {"what": "x", "pin": "y"}}),
    )
    .await;
    app.send().await;
    app.told(&plain, "failed", Some(131_026)).await;
    app.pass(120);
    app.settle().await;
    let (status, answer) = app
        .post(&format!("/api/v1/notifications/{plain}/retry"), &json!({}))
        .await;
    assert_eq!(status, 202, "{answer}");
}

async fn what_is_secret_is_wiped_when_the_message_has_expired_unheard(database: Database) {
    let app = app(&database).await;
    let id = ask(&app, code()).await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted");
    let mut cleaner = RetentionCleaner::default();
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        sealed(&app).await,
        1,
        "a callback may still ask for another try"
    );
    app.pass(24 * 3600);
    assert_eq!(cleaner.turn(&app.engine, app.now()).await.unwrap(), 1);
    assert_eq!(sealed(&app).await, 0);
    assert_eq!(cleaner.turn(&app.engine, app.now()).await.unwrap(), 0);
}

async fn the_data_of_a_sensitive_event_are_sealed_and_wiped(database: Database) {
    let app = app(&database).await;
    let data = json!({"phone": "+12025550101", "code": CODE});
    let answer = app.event("e-1", "bank.code.asked", data.clone()).await;
    assert_eq!(answer["routes"][0]["outcome"], "fired", "{answer}");
    assert!(!stored(&app).await.contains(CODE));
    // Known again, by what only our key can compare.
    let again = app.event("e-1", "bank.code.asked", data).await;
    assert_eq!(again["duplicate"], true, "{again}");
    let (_, answered) = app.get("/api/v1/notifications").await;
    let id = answered["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.send().await;
    assert_eq!(
        app.meta.request(0)["template"]["components"][0]["parameters"][0]["text"],
        CODE
    );
    let mut cleaner = RetentionCleaner::default();
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE sealed").await,
        1
    );
    app.told(&id, "delivered", None).await;
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE data = '' AND NOT sealed")
            .await,
        1
    );
    // Others are as they were.
    app.event("c-1", "bank.card.sent", json!({"x": 1})).await;
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE data = ''")
            .await,
        1
    );
}

async fn a_repeated_request_with_a_code_is_known_again(database: Database) {
    let app = app(&database).await;
    let (_, first) = app
        .post_with_key("/api/v1/notifications", &code(), "k-1")
        .await;
    let (status, again) = app
        .post_with_key("/api/v1/notifications", &code(), "k-1")
        .await;
    assert_eq!(status, 202);
    assert_eq!(
        first["notifications"][0]["id"],
        again["notifications"][0]["id"]
    );
    let mut other = code();
    other["params"]["code"] = json!("111111");
    let (status, problem) = app
        .post_with_key("/api/v1/notifications", &other, "k-1")
        .await;
    assert_eq!(status, 409, "{problem}");
}

async fn a_fallback_with_a_secret_is_none_and_what_nobody_asks_for_is_not_kept(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(
        "name = \"hints\"\n[[template]]\nname = \"hint\"\ncategory = \"utility\"\nbody = \"Somebody logs in to your account.\"\n\
         [[route]]\nname = \"hint\"\nevent = \"bank.code.asked\"\nto = \"{{ data.phone }}\"\ntemplate = \"hint\"\nmode = \"auto\"\n\
         fallback_template = \"card\"\nparams = { pin = \"{{ data.code }}\", name = \"x\" }\n",
    )
    .await;
    let data = json!({"phone": "+12025550101", "code": CODE});
    let answer = app.event("e-1", "bank.code.asked", data).await;
    assert_eq!(answer["routes"].as_array().unwrap().len(), 2, "{answer}");
    assert!(!stored(&app).await.contains(CODE));
    let (_, list) = app.get("/api/v1/notifications?template=hint").await;
    assert_eq!(list["notifications"].as_array().unwrap().len(), 1, "{list}");
}

async fn what_was_given_up_keeps_its_secrets_until_it_expires(database: Database) {
    let app = app(&database).await;
    let body =
        json!({"to": "+12025550101", "template": "card", "params": {"name": "Asha", "pin": "1"}});
    let id = ask(&app, body).await;
    app.sql("UPDATE notification SET engine_state = 'gave_up', status = 'gave_up', open_status = NULL, due_at = NULL, attempt_count = 1")
        .await;
    let (code, answer) = app
        .post(
            &format!("/api/v1/notifications/{id}/retry"),
            &json!({"even_if_delivered": true}),
        )
        .await;
    assert_eq!(code, 202, "{answer}");
    assert_eq!(sealed(&app).await, 1);
}
