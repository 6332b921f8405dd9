//! Messages of every kind, as they leave for Meta.

use herald::sandbox::check;
use serde_json::{Value, json};

use crate::harness::{Database, TestApp};

crate::tests![
    a_template_has_a_header_and_buttons,
    a_named_template_names_its_parameters,
    a_one_time_password_stands_in_the_text_and_in_the_button,
    files_buttons_and_lists_go_out_while_the_window_is_open,
    what_meta_would_refuse_is_refused_before_it_is_stored,
    a_template_takes_the_place_of_a_text_outside_the_window_once,
    a_text_refused_by_a_callback_falls_back_too,
    a_person_without_a_number_is_reached_by_their_user_id,
    a_one_time_password_needs_a_number,
    a_message_may_wait_for_its_time,
    what_the_provider_keeps_back_says_so,
    a_catalogue_is_told_what_meta_would_refuse,
    a_template_lives_no_longer_than_the_provider_tries,
];

const CATALOGUE: &str = r#"
name = "kinds"

[[template]]
name = "invoice"
category = "utility"
body = "Dear {{ name }}, your invoice {{ number }} is ready."
footer = "Herald Power"
[template.header]
type = "document"
link = "https://example.org/invoices/{{ number }}.pdf"
filename = "invoice-{{ number }}.pdf"
[[template.button]]
type = "url"
text = "Pay"
url = "https://example.org/pay/{{ number }}"
[[template.button]]
type = "phone_number"
text = "Call us"
phone_number = "+12025550123"

[[template]]
name = "offer"
category = "marketing"
parameter_format = "NAMED"
body = "Hello {{ name }}, this week only."
[template.header]
type = "text"
text = "For {{ name }}"
[[template.button]]
type = "quick_reply"
text = "Yes"
payload = "offer:{{ campaign }}:yes"
[[template.button]]
type = "quick_reply"
text = "No"
[[template.button]]
type = "copy_code"
code = "{{ coupon }}"

[[template]]
name = "place"
category = "utility"
body = "Your engineer is on the way."
[template.header]
type = "location"
latitude = "{{ latitude }}"
longitude = "{{ longitude }}"
name = "The van"
address = "On the road"

[[template]]
name = "code"
category = "authentication"
body = "{{ code }} is your code."
message_send_ttl_seconds = 60
[[template.button]]
type = "otp"
otp_type = "copy_code"
"#;

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

async fn ask(app: &TestApp, body: Value) -> String {
    let (status, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(status, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn refused(app: &TestApp, body: Value) -> Vec<String> {
    let (status, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(status, 422, "{problem}");
    problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let pointer = error["pointer"].as_str().unwrap();
            format!("{pointer}: {}", error["rule"].as_str().unwrap())
        })
        .collect()
}

/// The newest request, as Meta would judge it, without what is different each time.
fn newest(app: &TestApp) -> Value {
    let mut request = app.meta.request(app.meta.calls() - 1);
    assert_eq!(check::check(&request), Ok(()), "{request}");
    request["biz_opaque_callback_data"] = json!("[attempt]");
    request
}

/// The person writes, and the window is open.
async fn writes(app: &TestApp) {
    let at = (app.now().micros() / 1_000_000).to_string();
    app.callback(json!({
        "contacts": [{ "profile": { "name": "Asha" }, "wa_id": "12025550101" }],
        "messages": [{ "id": "wamid.hello", "from": "12025550101", "timestamp": at, "type": "text", "text": { "body": "Hello" } }]
    }))
    .await;
    app.process().await;
}

async fn a_template_has_a_header_and_buttons(database: Database) {
    let app = app(&database).await;
    let params = json!({ "name": "Asha", "number": "A-17" });
    let id = ask(
        &app,
        json!({ "to": "+12025550101", "template": "invoice", "params": params }),
    )
    .await;
    assert_eq!(app.send().await, 1);
    insta::assert_json_snapshot!("an_invoice", newest(&app));
    let shown = app.notification(&id).await;
    assert_eq!(shown["text"], "Dear Asha, your invoice A-17 is ready.");

    let params = json!({ "latitude": 18.52, "longitude": 73.85 });
    ask(
        &app,
        json!({ "to": "+12025550102", "template": "place", "params": params, "reply_to": "wamid.before" }),
    )
    .await;
    assert_eq!(app.send().await, 1);
    insta::assert_json_snapshot!("a_place_in_reply", newest(&app));
}

async fn a_named_template_names_its_parameters(database: Database) {
    let app = app(&database).await;
    let params = json!({ "name": "Asha", "campaign": "spring", "coupon": "SAVE10" });
    ask(
        &app,
        json!({ "to": "+12025550101", "template": "offer", "params": params }),
    )
    .await;
    assert_eq!(app.send().await, 1);
    insta::assert_json_snapshot!("an_offer", newest(&app));
}

async fn a_one_time_password_stands_in_the_text_and_in_the_button(database: Database) {
    let app = app(&database).await;
    let body = json!({ "to": "+12025550101", "template": "code", "params": { "code": "482913" } });
    let id = ask(&app, body).await;
    assert_eq!(app.send().await, 1);
    insta::assert_json_snapshot!("a_code", newest(&app));
    let shown = app.notification(&id).await;
    assert!(!shown.to_string().contains("482913"), "{shown}");

    // A code that is too long for the button is refused.
    let body = json!({ "to": "+12025550101", "template": "code", "params": { "code": "4829134829134829" } });
    assert_eq!(
        refused(&app, body).await,
        ["/params/code: a one-time password has over 15 characters"]
    );
}

async fn files_buttons_and_lists_go_out_while_the_window_is_open(database: Database) {
    let app = app(&database).await;
    writes(&app).await;
    let media =
        |kind: &str| json!({ "media": { "type": kind, "link": "https://example.org/file" } });
    let mut document = media("document");
    document["media"]["caption"] = json!("The contract");
    document["media"]["filename"] = json!("contract.pdf");
    let reply = |id: &str, title: &str| json!({ "id": id, "title": title });
    let all = [
        json!({ "text": { "body": "See https://example.org", "preview_url": true }, "reply_to": "wamid.hello" }),
        json!({ "media": { "type": "image", "id": "1234567890", "caption": "The roof" } }),
        media("video"),
        media("audio"),
        media("sticker"),
        document,
        json!({ "interactive": {
            "type": "buttons", "header": { "text": "Appointment" }, "body": "Does Monday suit you?", "footer": "Herald",
            "buttons": [reply("yes", "Yes"), reply("no", "No")]
        } }),
        json!({ "interactive": {
            "type": "list", "header": "Times", "body": "When?", "button": "Choose",
            "sections": [
                { "title": "Monday", "rows": [{ "id": "mo-9", "title": "9:00", "description": "In the morning" }] },
                { "title": "Tuesday", "rows": [reply("tu-9", "9:00")] }
            ]
        } }),
        json!({ "interactive": {
            "type": "link", "header": { "media": { "type": "image", "link": "https://example.org/a.png" } },
            "body": "Your order", "text": "Open", "url": "https://example.org/orders/7"
        } }),
        json!({ "interactive": { "type": "location_request", "body": "Where are you?" } }),
        json!({ "interactive": { "type": "contact_request", "body": "What is your number?" } }),
    ];
    let mut sent = Vec::new();
    for mut body in all {
        body["to"] = json!("+12025550101");
        let id = ask(&app, body).await;
        assert_eq!(app.send().await, 1);
        let mut request = newest(&app);
        for key in [
            "biz_opaque_callback_data",
            "messaging_product",
            "recipient_type",
            "to",
        ] {
            request.as_object_mut().unwrap().remove(key);
        }
        sent.push(request);
        assert_eq!(app.status_of(&id).await, "accepted");
    }
    insta::assert_json_snapshot!("what_arrives_while_the_window_is_open", sent);
}

async fn what_meta_would_refuse_is_refused_before_it_is_stored(database: Database) {
    let app = app(&database).await;
    let cases = [
        (
            json!({ "text": "x".repeat(4097) }),
            "/text: 1 to 4,096 characters",
        ),
        (
            json!({ "media": { "type": "image" } }),
            "/media: either `id` or `link`",
        ),
        (
            json!({ "media": { "type": "image", "id": "1", "caption": "x".repeat(1025) } }),
            "/media/caption: 1 to 1,024 characters",
        ),
        (
            json!({ "interactive": { "type": "buttons", "body": "x", "buttons": [] } }),
            "/interactive/buttons: 1 to 3",
        ),
        (
            json!({ "text": "x", "media": { "type": "image", "id": "1" } }),
            "/text: one of `text`, `media` and `interactive`",
        ),
        (
            json!({ "template": "place", "media": { "type": "image", "id": "1" } }),
            "/media: either `template` or `media`, not both",
        ),
        (
            json!({ "text": "x", "params": { "a": 1 } }),
            "/params: only a template has parameters",
        ),
        (
            json!({ "text": "x", "reply_to": "7" }),
            "/reply_to: the id of a message, or the provider's (wamid.…), at most 256 bytes",
        ),
        (
            json!({ "text": "x", "send_at": "soon" }),
            "/send_at: RFC 3339",
        ),
        (
            json!({ "text": "x", "send_at": "2099-01-01T00:00:00Z" }),
            "/send_at: at most 90 days from now",
        ),
        (
            json!({ "text": "x", "fallback": { "template": "nothing" } }),
            "/fallback/template: there is no template of this name",
        ),
        (
            json!({ "text": "x", "fallback": { "template": "invoice", "params": { "name": "Asha" } } }),
            "/fallback/params/number: missing",
        ),
        (
            json!({ "template": "invoice", "params": { "name": "Asha" } }),
            "/params/number: missing",
        ),
    ];
    for (mut body, expected) in cases {
        body["to"] = json!("+12025550101");
        assert_eq!(refused(&app, body).await, [expected]);
    }
    let (status, _) = app
        .post(
            "/api/v1/notifications",
            &json!({ "to": "+12025550101", "interactive": { "type": "hologram", "body": "x" } }),
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
}

async fn a_template_takes_the_place_of_a_text_outside_the_window_once(database: Database) {
    let app = app(&database).await;
    let fallback = json!({ "template": "invoice", "params": { "name": "Asha", "number": "A-17" } });
    let body =
        json!({ "to": "+12025550101", "text": "Your invoice is ready", "fallback": fallback });
    let id = ask(&app, body.clone()).await;
    app.settle().await;
    let shown = app.notification(&id).await;
    assert_eq!(shown["status"], "accepted", "{shown}");
    assert_eq!(shown["template"], "invoice");
    assert_eq!(shown["text"], "Dear Asha, your invoice A-17 is ready.");
    assert_eq!(app.meta.calls(), 1, "the text never left");
    assert_eq!(newest(&app)["type"], "template");

    // Inside the window the text goes out as it is.
    writes(&app).await;
    let id = ask(&app, body).await;
    app.settle().await;
    assert_eq!(newest(&app)["text"]["body"], "Your invoice is ready");
    assert_eq!(app.notification(&id).await["template"], Value::Null);
}

async fn a_text_refused_by_a_callback_falls_back_too(database: Database) {
    let app = app(&database).await;
    writes(&app).await;
    let fallback = json!({ "template": "invoice", "params": { "name": "Asha", "number": "A-17" } });
    let body = json!({ "to": "+12025550101", "text": "Ready", "fallback": fallback });
    let id = ask(&app, body).await;
    assert_eq!(app.send().await, 1);
    app.told(&id, "failed", Some(131_047)).await;
    app.process().await;
    assert_eq!(app.status_of(&id).await, "retrying");
    assert_eq!(app.send().await, 1);
    assert_eq!(newest(&app)["template"]["name"], "invoice");
    // The template is refused, too: once is enough.
    app.told(&id, "failed", Some(131_047)).await;
    app.process().await;
    assert_eq!(app.status_of(&id).await, "failed");
    assert_eq!(app.send().await, 0);
}

async fn a_person_without_a_number_is_reached_by_their_user_id(database: Database) {
    let app = app(&database).await;
    let user_id = "US.13491208655302741918";
    let at = (app.now().micros() / 1_000_000).to_string();
    app.callback(json!({
        "contacts": [{ "profile": { "name": "Asha" }, "user_id": user_id }],
        "messages": [{ "id": "wamid.hello", "from_user_id": user_id, "timestamp": at, "type": "text", "text": { "body": "Hello" } }]
    }))
    .await;
    app.process().await;
    let contacts = app.number("SELECT count(*) FROM contact").await;
    let id = ask(&app, json!({ "to": user_id, "text": "Welcome" })).await;
    assert_eq!(
        app.number("SELECT count(*) FROM contact").await,
        contacts,
        "it is the same person"
    );
    assert_eq!(app.send().await, 1);
    let request = newest(&app);
    assert_eq!(request["recipient"], user_id);
    assert_eq!(request.get("to"), None);
    assert_eq!(app.status_of(&id).await, "accepted");

    // By their contact, too: there is no number to prefer.
    let contact = app.notification(&id).await;
    assert_eq!(contact["recipient"], user_id);
    app.told(&id, "delivered", None).await;
    app.process().await;
    assert_eq!(app.status_of(&id).await, "delivered");
}

async fn a_one_time_password_needs_a_number(database: Database) {
    let app = app(&database).await;
    let body = json!({ "to": "US.13491208655302741918", "template": "code", "params": { "code": "482913" } });
    assert_eq!(
        refused(&app, body).await,
        ["/to: A one-time password cannot be sent to a user id: a phone number is needed."]
    );
    assert_eq!(app.number("SELECT count(*) FROM contact").await, 0);
}

async fn a_message_may_wait_for_its_time(database: Database) {
    let app = app(&database).await;
    let at = app.now().plus_seconds(3600);
    let params = json!({ "name": "Asha", "number": "A-17" });
    let body = json!({
        "to": "+12025550101", "template": "invoice", "params": params,
        "send_at": at.to_string(), "expires_in_seconds": 600
    });
    let id = ask(&app, body).await;
    let shown = app.notification(&id).await;
    assert_eq!(shown["status"], "queued");
    assert_eq!(shown["reason"], "asked for at a later time");
    assert_eq!(shown["waits_until"], at.to_string());
    assert_eq!(shown["expires_at"], at.plus_seconds(600).to_string());
    assert_eq!(app.send().await, 0);
    app.pass(3599);
    app.settle().await;
    assert_eq!(app.meta.calls(), 0);
    app.pass(1);
    assert_eq!(app.send().await, 1);
    let shown = app.notification(&id).await;
    assert_eq!(shown["status"], "accepted");
    assert_eq!(shown["reason"], Value::Null);

    // A time that has passed means now.
    let body = json!({
        "to": "+12025550101", "template": "invoice", "params": { "name": "Asha", "number": "A-18" },
        "send_at": app.now().plus_seconds(-60).to_string()
    });
    ask(&app, body).await;
    assert_eq!(app.send().await, 1);
}

async fn what_the_provider_keeps_back_says_so(database: Database) {
    let app = app(&database).await;
    let body = |phone: &str| json!({ "to": phone, "template": "invoice", "params": { "name": "Asha", "number": "A-17" } });
    for (number, (status, reason)) in [
        (
            "held_for_quality_assessment",
            "the provider holds it until the template's quality is assessed",
        ),
        (
            "paused",
            "the provider holds it: the template is paused for its quality",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = format!(
            r#"{{"messages":[{{"id":"wamid.kept{number}","message_status":"{status}"}}]}}"#
        );
        app.meta.will_answer(&[(200, &answer)]);
        let id = ask(&app, body(&format!("+1202555010{number}"))).await;
        assert_eq!(app.send().await, 1);
        let shown = app.notification(&id).await;
        assert_eq!(shown["status"], "accepted");
        assert_eq!(shown["reason"], reason);
        app.told(&id, "sent", None).await;
        app.process().await;
        assert_eq!(app.notification(&id).await["reason"], Value::Null);
    }
}

async fn a_catalogue_is_told_what_meta_would_refuse(database: Database) {
    if database != Database::Sqlite {
        return;
    }
    let app = app(&database).await;
    let wrong = r#"
name = "wrong"

[[template]]
name = "bad"
category = "utility"
body = "x"
footer = "For {{ name }}"
message_send_ttl_seconds = 10
[template.header]
type = "image"
[[template.button]]
type = "otp"
otp_type = "copy_code"
[[template.button]]
type = "url"
text = "A text of more than twenty-five characters"
url = "https://example.org/{{ a }}/end"
"#;
    let mistakes = app.try_catalogue(wrong).await.unwrap_err();
    insta::assert_snapshot!("a_template_that_meta_would_refuse", mistakes.join("\n"));
}

async fn a_template_lives_no_longer_than_the_provider_tries(database: Database) {
    let app = app(&database).await;
    let body = json!({ "to": "+12025550101", "template": "code", "params": { "code": "482913" } });
    let id = ask(&app, body).await;
    let shown = app.notification(&id).await;
    assert_eq!(shown["expires_at"], app.now().plus_seconds(60).to_string());
    app.pass(61);
    app.settle().await;
    assert_eq!(app.status_of(&id).await, "expired");
    assert_eq!(app.meta.calls(), 0);
}
