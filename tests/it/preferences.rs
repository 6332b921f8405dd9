//! What people want: kinds of message by channel, quiet hours; and how a message leaves.

use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    a_kind_that_is_turned_off_is_skipped_and_a_required_one_is_not,
    a_preference_that_comes_later_counts_at_the_moment_of_sending,
    quiet_hours_defer_what_may_wait_and_nothing_else,
    auto_is_text_while_the_window_is_open_and_a_template_outside_it,
    a_named_fallback_shows_the_text_outside_the_window,
    a_text_whose_window_closes_on_its_way_becomes_its_template,
    what_cannot_be_text_says_so,
];

const CATALOGUE: &str = r#"
name = "shop"

[[kind]]
name = "orders"
description = "What becomes of orders"

[[kind]]
name = "safety"
description = "Recalls and warnings"
required = true

[[contact]]
name = "asha"
phone = "+12025550101"
time_zone = "Asia/Kolkata"
quiet_hours = { from = "21:00", until = "07:00" }

[[user]]
name = "asha"
contact = "asha"

[[template]]
name = "news"
language = "en"
category = "utility"
body = "Dear {{ name }}, your order {{ number }} is here."
footer = "The shop"

[[template]]
name = "alert"
language = "en"
category = "utility"
body = "News for staff: {{ message }} Answer to see more."
[[template.parameter]]
name = "message"
example = "Order A-1 is here."

[[template]]
name = "buttons"
language = "en"
category = "utility"
body = "Dear {{ name }}, well?"
[[template.button]]
type = "quick_reply"
text = "Yes"

[[route]]
name = "order"
event = "shop.order"
to = "{{ data.to }}"
template = "news"
kind = "orders"
params = { name = "{{ data.name }}", number = "{{ data.number }}" }

[[route]]
name = "recall"
event = "shop.recall"
to = "{{ data.to }}"
template = "news"
kind = "safety"
params = { name = "{{ data.name }}", number = "{{ data.number }}" }

[[route]]
name = "staff"
event = "shop.staff"
to = "{{ data.to }}"
template = "news"
mode = "auto"
fallback_template = "alert"
params = { name = "{{ data.name }}", number = "{{ data.number }}" }
"#;

const PHONE: &str = "+12025550102";

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

/// The newest notification after an event to somebody.
async fn posted(app: &TestApp, id: &str, kind: &str, to: &str) -> Value {
    let data = json!({"to": to, "name": "Asha", "number": "A-1"});
    let answer = app.event(id, kind, data).await;
    assert_eq!(answer["routes"][0]["outcome"], "fired", "{answer}");
    let (_, list) = app.get("/api/v1/notifications?limit=1").await;
    let id = list["notifications"][0]["id"].as_str().unwrap().to_owned();
    app.notification(&id).await
}

async fn contact(app: &TestApp, phone: &str) -> String {
    let (code, found) = app
        .get(&format!(
            "/api/v1/contacts?phone={}",
            phone.replace('+', "%2B")
        ))
        .await;
    assert_eq!(code, 200, "{found}");
    found["id"].as_str().unwrap().to_owned()
}

async fn prefer(app: &TestApp, phone: &str, preferences: Value) -> (u16, Value) {
    let id = contact(app, phone).await;
    app.request(
        "PUT",
        &format!("/api/v1/contacts/{id}/preferences"),
        &json!({ "preferences": preferences }),
    )
    .await
}

async fn a_kind_that_is_turned_off_is_skipped_and_a_required_one_is_not(database: Database) {
    let app = app(&database).await;
    posted(&app, "o-1", "shop.order", PHONE).await;
    let (code, answer) = prefer(&app, PHONE, json!([{"kind": "orders", "wanted": false}])).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        answer["preferences"],
        json!([{"kind": "orders", "channel": null, "wanted": false}])
    );
    let skipped = posted(&app, "o-2", "shop.order", PHONE).await;
    assert_eq!(skipped["status"], "skipped");
    assert_eq!(
        skipped["reason"],
        "the person does not want messages of the kind orders"
    );
    assert_eq!(skipped["message_kind"], "orders");
    let recall = posted(&app, "r-1", "shop.recall", PHONE).await;
    assert_eq!(recall["status"], "queued");
    // What is required cannot be turned off, and what nobody has is no kind.
    for (kind, rule) in [
        ("safety", "messages of this kind cannot be turned off"),
        ("gossip", "no catalogue has this kind of message"),
    ] {
        let (code, problem) = prefer(&app, PHONE, json!([{"kind": kind, "wanted": false}])).await;
        assert_eq!(code, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "/preferences/0/kind");
        assert_eq!(problem["errors"][0]["rule"], rule);
    }
    // STOP stops everything else, but not what is required.
    let (code, _) = prefer(&app, PHONE, json!([])).await;
    assert_eq!(code, 200);
    app.callback(json!({"messages": [{
        "from": "12025550102", "id": "wamid.STOP", "timestamp": app.now().unix_seconds().to_string(),
        "type": "text", "text": {"body": "STOP"}
    }]}))
    .await;
    let stopped = posted(&app, "o-3", "shop.order", PHONE).await;
    assert_eq!(stopped["status"], "skipped", "{stopped}");
    let recall = posted(&app, "r-2", "shop.recall", PHONE).await;
    assert_eq!(recall["status"], "queued");
}

async fn a_preference_that_comes_later_counts_at_the_moment_of_sending(database: Database) {
    let app = app(&database).await;
    let queued = posted(&app, "o-1", "shop.order", PHONE).await;
    let (code, answer) = prefer(
        &app,
        PHONE,
        json!([{"channel": "whatsapp", "wanted": false}, {"kind": "orders", "channel": "email", "wanted": true}]),
    )
    .await;
    assert_eq!(code, 200, "{answer}");
    app.send().await;
    assert_eq!(app.meta.calls(), 0);
    let shown = app.notification(queued["id"].as_str().unwrap()).await;
    assert_eq!(shown["status"], "skipped");
    assert_eq!(
        shown["reason"],
        "the person does not want messages by whatsapp"
    );
}

async fn quiet_hours_defer_what_may_wait_and_nothing_else(database: Database) {
    let app = app(&database).await;
    // 2026-01-01T00:00Z is half past five in Kolkata.
    let order = posted(&app, "o-1", "shop.order", "user:asha").await;
    let recall = posted(&app, "r-1", "shop.recall", "user:asha").await;
    let high = json!({"to": "user:asha", "template": "news", "priority": "high", "params": {"name": "x", "number": "y"}});
    let (code, _) = app.post("/api/v1/notifications", &high).await;
    assert_eq!(code, 202);
    app.send().await;
    assert_eq!(app.meta.calls(), 2);
    let waits = app.notification(order["id"].as_str().unwrap()).await;
    assert_eq!(waits["status"], "queued");
    assert_eq!(
        waits["reason"],
        "the recipient has quiet hours (not before 2026-01-01T01:30:00.000000Z)"
    );
    assert_eq!(
        app.status_of(recall["id"].as_str().unwrap()).await,
        "accepted"
    );
    app.pass(90 * 60);
    app.send().await;
    assert_eq!(app.meta.calls(), 3);
}

/// A message from somebody opens the window.
async fn writes(app: &TestApp, phone: &str) {
    let from = phone.trim_start_matches('+');
    app.callback(json!({"messages": [{
        "from": from, "id": format!("wamid.IN{}", app.now().micros()),
        "timestamp": app.now().unix_seconds().to_string(), "type": "text", "text": {"body": "Hello"}
    }]}))
    .await;
}

fn auto() -> Value {
    json!({"to": PHONE, "template": "news", "mode": "auto", "params": {"name": "Asha", "number": "A-1"}})
}

async fn ask(app: &TestApp, body: &Value) -> String {
    let (code, answer) = app.post("/api/v1/notifications", body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn auto_is_text_while_the_window_is_open_and_a_template_outside_it(database: Database) {
    let app = app(&database).await;
    let id = ask(&app, &auto()).await;
    app.send().await;
    assert_eq!(app.meta.request(0)["type"], "template");
    assert_eq!(app.notification(&id).await["kind"], "template");
    writes(&app, PHONE).await;
    let id = ask(&app, &auto()).await;
    app.send().await;
    assert_eq!(
        app.meta.request(1)["text"]["body"],
        "Dear Asha, your order A-1 is here.\n\n_The shop_"
    );
    let shown = app.notification(&id).await;
    assert_eq!(
        (&shown["kind"], &shown["template"]),
        (&json!("text"), &json!("news"))
    );
    let wrong = json!({"to": PHONE, "text": "x", "mode": "auto"});
    let (code, problem) = app.post("/api/v1/notifications", &wrong).await;
    assert_eq!(code, 422);
    assert_eq!(problem["errors"][0]["pointer"], "/mode");
}

async fn a_named_fallback_shows_the_text_outside_the_window(database: Database) {
    let app = app(&database).await;
    let shown = posted(&app, "s-1", "shop.staff", PHONE).await;
    assert_eq!(shown["template"], "news");
    assert_eq!(shown["sent_template"], "alert");
    assert_eq!(
        shown["text"],
        "News for staff: Dear Asha, your order A-1 is here. _The shop_ Answer to see more."
    );
    writes(&app, PHONE).await;
    let shown = posted(&app, "s-2", "shop.staff", PHONE).await;
    assert_eq!(
        (&shown["kind"], &shown["template"]),
        (&json!("text"), &json!("news"))
    );
}

async fn a_text_whose_window_closes_on_its_way_becomes_its_template(database: Database) {
    let app = app(&database).await;
    writes(&app, PHONE).await;
    app.pass(23 * 3600);
    let id = ask(&app, &auto()).await;
    app.pass(2 * 3600);
    app.send().await;
    app.send().await;
    assert_eq!(app.meta.calls(), 1);
    assert_eq!(app.meta.request(0)["template"]["name"], "news");
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn what_cannot_be_text_says_so(database: Database) {
    let app = app(&database).await;
    writes(&app, PHONE).await;
    let asked = |mode: &str| json!({"to": PHONE, "template": "buttons", "mode": mode, "params": {"name": "Asha"}});
    let id = ask(&app, &asked("auto")).await;
    assert_eq!(app.notification(&id).await["kind"], "template");
    let id = ask(&app, &asked("text")).await;
    let shown = app.notification(&id).await;
    assert_eq!(shown["status"], "skipped");
    assert_eq!(
        shown["reason"],
        "the template has buttons, a file or a secret: it cannot be sent as text"
    );
    let wrong = CATALOGUE.replace("kind = \"orders\"\nparams", "kind = \"gossip\"\nparams");
    assert_eq!(
        app.try_catalogue(&wrong).await.unwrap_err(),
        ["line 53: route order: kind: there is no kind of message gossip"]
    );
}
