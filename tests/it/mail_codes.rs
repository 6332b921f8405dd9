//! One-time passwords that fall back from WhatsApp to a mailbox.

use herald::engine::verification;
use serde_json::{Value, json};

use crate::harness::{
    Database, MailFate,
    email::{Stage, stage},
};

crate::tests![
    a_code_that_is_not_delivered_goes_to_the_mailbox_the_same,
    a_code_that_arrives_goes_to_no_mailbox,
    a_mailbox_must_be_allowed,
    a_code_is_stored_with_no_mail,
    limits_hold_for_a_mailbox_in_whatever_letters,
    codes_to_a_contact_without_a_number_are_limited,
    a_code_is_not_retried_past_its_limits,
];

const CATALOGUE: &str = r#"
name = "codes"

[[template]]
name = "sign_in"
language = "en"
category = "authentication"
subject = "Your code"
body = "{{ code }} is your code."
html = "<p><b>{{ code }}</b> is your code.</p>"
"#;

async fn codes(database: &Database) -> Stage {
    let stage = stage(database).await;
    stage.app.apply_catalogue(CATALOGUE).await;
    stage
}

fn request() -> Value {
    json!({ "to": "contact:asha", "template": "sign_in", "channels": ["whatsapp", "email"],
        "allow_email": true, "fallback_after": 60 })
}

async fn start(stage: &Stage) -> String {
    let (code, answer) = stage.app.post("/api/v1/verifications", &request()).await;
    assert_eq!(code, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

async fn fall_back(stage: &Stage) {
    while verification::turn(&stage.app.engine, stage.app.now())
        .await
        .unwrap()
        > 0
    {}
}

/// The six digits in a text.
fn code_in(text: &str) -> String {
    let mut words = text.split(|it: char| !it.is_ascii_digit());
    words
        .rfind(|word| word.len() == 6)
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

async fn check(stage: &Stage, id: &str, code: &str) -> Value {
    let path = format!("/api/v1/verifications/{id}/check");
    stage.app.post(&path, &json!({ "code": code })).await.1["status"].clone()
}

async fn a_code_that_is_not_delivered_goes_to_the_mailbox_the_same(database: Database) {
    let stage = codes(&database).await;
    let id = start(&stage).await;
    stage.app.send().await;
    let by_whatsapp = code_in(&stage.app.meta.request(0)["template"].to_string());
    stage.app.pass(59);
    fall_back(&stage).await;
    assert_eq!(stage.mail_out().await, 0, "too early");
    stage.app.pass(1);
    fall_back(&stage).await;
    assert_eq!(stage.mail_out().await, 1);
    let mails = stage.mail.taken();
    let body = mails[0].text.split("text/plain").nth(1).unwrap();
    let body = body.split("\n--").next().unwrap();
    assert_eq!(code_in(body), by_whatsapp);
    assert!(mails[0].text.contains("Subject: Your code\n"));
    assert!(
        !mails[0].text.contains("List-Unsubscribe"),
        "a code cannot be refused"
    );
    assert_eq!(check(&stage, &id, &by_whatsapp).await, "approved");
    assert_eq!(check(&stage, &id, &by_whatsapp).await, "used");
}

async fn a_code_that_arrives_goes_to_no_mailbox(database: Database) {
    let stage = codes(&database).await;
    let id = start(&stage).await;
    stage.app.send().await;
    let (_, shown) = stage.app.get(&format!("/api/v1/verifications/{id}")).await;
    let message = shown["sends"][0]["notification_id"]
        .as_str()
        .unwrap()
        .to_owned();
    stage.app.told(&message, "delivered", None).await;
    stage.app.pass(120);
    fall_back(&stage).await;
    assert_eq!(stage.mail_out().await, 0);
}

async fn a_mailbox_must_be_allowed(database: Database) {
    let stage = codes(&database).await;
    let mut body = request();
    body["allow_email"] = json!(false);
    let (code, problem) = stage.app.post("/api/v1/verifications", &body).await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/channels/1")),
        "{problem}"
    );
}

async fn a_code_is_stored_with_no_mail(database: Database) {
    let stage = codes(&database).await;
    stage
        .mail
        .plays(&[MailFate::Refused("451 4.3.0 Try again later")]);
    start(&stage).await;
    stage.app.send().await;
    let code = code_in(&stage.app.meta.request(0)["template"].to_string());
    stage.app.pass(60);
    fall_back(&stage).await;
    stage.mail_out().await;
    stage.app.pass(120);
    stage.mail_out().await;
    assert_eq!(stage.mail.taken().len(), 1);
    for sql in [
        "SELECT coalesce(request, '') FROM attempt",
        "SELECT coalesce(answer, '') FROM attempt",
        "SELECT params FROM notification",
        "SELECT coalesce(detail, '') FROM timeline",
    ] {
        for text in stage.app.texts(sql).await {
            assert!(!text.contains(&code), "{sql}: {text}");
        }
    }
}

/// A code by e-mail alone: the answer to one more.
async fn by_mail(stage: &Stage, to: &str, client: Option<&str>) -> (u16, Value) {
    let body = json!({ "to": to, "template": "sign_in", "channels": ["email"], "allow_email": true,
        "client_address": client });
    stage.app.post("/api/v1/verifications", &body).await
}

async fn limits_hold_for_a_mailbox_in_whatever_letters(database: Database) {
    let stage = codes(&database).await;
    // Sends: five, also where the contact is named.
    for to in [
        "chipo@example.com",
        "Chipo@example.com",
        "CHIPO@EXAMPLE.COM",
        "contact:chipo",
        "cHiPo@example.com",
    ] {
        let (code, answer) = by_mail(&stage, to, None).await;
        assert_eq!(code, 201, "{to}: {answer}");
    }
    for to in ["chipO@example.com", "contact:chipo"] {
        let (code, answer) = by_mail(&stage, to, None).await;
        assert_eq!(
            (code, &answer["type"]),
            (429, &json!("/problems/limited")),
            "{to}: {answer}"
        );
    }
    // Wrong codes: ten, whatever the letters.
    stage.app.pass(600);
    for (to, tries) in [
        ("lock@example.com", 3),
        ("Lock@example.com", 3),
        ("LOCK@example.com", 3),
        ("loCK@example.com", 1),
    ] {
        let (_, made) = by_mail(&stage, to, None).await;
        let id = made["id"].as_str().unwrap();
        for _ in 0..tries {
            assert_eq!(check(&stage, id, "zzzzzz").await, "wrong");
        }
    }
    let (_, made) = by_mail(&stage, "locK@example.com", None).await;
    let path = format!(
        "/api/v1/verifications/{}/check",
        made["id"].as_str().unwrap()
    );
    let (code, answer) = stage.app.post(&path, &json!({ "code": "zzzzzz" })).await;
    assert_eq!(code, 429, "{answer}");
}

async fn codes_to_a_contact_without_a_number_are_limited(database: Database) {
    let stage = codes(&database).await;
    let client = Some("192.0.2.77");
    for _ in 0..5 {
        assert_eq!(by_mail(&stage, "contact:chipo", None).await.0, 201);
    }
    assert_eq!(by_mail(&stage, "contact:chipo", None).await.0, 429);
    for number in 0..5 {
        let to = format!("person-{number}@example.com");
        assert_eq!(by_mail(&stage, &to, client).await.0, 201);
    }
    assert_eq!(by_mail(&stage, "person-9@example.com", client).await.0, 429);
    // Who has no mailbox is sent nothing, and no limit counts it.
    for _ in 0..7 {
        let (code, answer) = by_mail(&stage, "contact:bela", None).await;
        assert_eq!(
            (code, &answer["sends"][0]["status"]),
            (201, &json!("skipped")),
            "{answer}"
        );
    }
    assert_eq!(stage.app.stats().await["verifications"]["sent"], 10);
}

async fn a_code_is_not_retried_past_its_limits(database: Database) {
    let stage = codes(&database).await;
    let (_, made) = by_mail(&stage, "chipo@example.com", None).await;
    stage.mail_out().await;
    let message = made["sends"][0]["notification_id"].as_str().unwrap();
    let path = format!("/api/v1/notifications/{message}/retry");
    let insisting = json!({ "even_if_delivered": true });
    let (code, answer) = stage.app.post(&path, &insisting).await;
    assert_eq!(code, 409, "{answer}");
    let why = answer["detail"].as_str().unwrap();
    assert!(why.contains("/resend"), "{answer}");
    for dry_run in [true, false] {
        let many = json!({ "filter": { "channel": "email" }, "even_if_delivered": true, "dry_run": dry_run });
        let (code, answer) = stage
            .app
            .admin("POST", "/api/v1/notifications/retry", &many)
            .await;
        assert_eq!((code, &answer["changed"]), (200, &json!(0)), "{answer}");
        assert!(
            answer["left_alone"]
                .to_string()
                .contains("one-time password"),
            "{answer}"
        );
    }
    let (_, story) = stage
        .app
        .get(&format!("/api/v1/notifications/{message}/story"))
        .await;
    assert_eq!(story["can_do"], json!([]), "{story}");
    assert_eq!(story["lines"][0]["text"], "Its verification made it.");
    assert_eq!(stage.mail_out().await, 0);
    assert_eq!(stage.mail.taken().len(), 1);
}
