//! Mails have no receipts, and a mailbox is no phone.

use herald::engine::verification;
use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{
        Database, MailFate,
        email::{Stage, order, stage},
    },
};

crate::tests![
    a_mail_that_was_accepted_is_followed_by_nothing,
    a_mail_that_fails_is_followed_by_the_next_channel,
    secrets_are_not_kept_for_a_mail_that_may_come_back,
    a_code_that_was_mailed_goes_by_no_other_channel,
    a_mail_is_never_stale_and_its_server_never_silent,
    what_is_addressed_to_a_mailbox_gets_only_e_mail,
    a_code_for_a_mailbox_goes_to_no_phone,
    a_sender_that_serves_no_channel_of_a_request_is_refused,
    messages_are_found_by_the_mailbox_they_went_to,
    a_contact_shows_that_its_mailbox_gets_nothing,
    a_code_that_has_failed_is_not_offered_again,
];

const DAY: i64 = 24 * 60 * 60;

async fn a_mail_that_was_accepted_is_followed_by_nothing(database: Database) {
    let stage = stage(&database).await;
    let mut body = order("contact:asha", &["email", "whatsapp"]);
    body["fallback_after_seconds"] = json!(60);
    let id = stage.ask(&body).await;
    assert_eq!(stage.mail_out().await, 1);
    for seconds in [61, DAY] {
        stage.app.pass(seconds);
        stage.fall_back().await;
        assert_eq!(stage.stand_in(&id).await, None);
    }
    let planned = "SELECT count(*) FROM channel_fallback";
    assert_eq!(stage.app.number(planned).await, 1, "it may still come back");
    stage.app.pass(7 * DAY);
    stage.fall_back().await;
    assert_eq!(stage.app.number(planned).await, 0);
    assert_eq!(stage.app.meta.calls(), 0);
}

async fn a_mail_that_fails_is_followed_by_the_next_channel(database: Database) {
    let stage = stage(&database).await;
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.1.1 no such user")]);
    let id = stage
        .ask(&order("contact:asha", &["email", "whatsapp"]))
        .await;
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "failed");
    stage.fall_back().await;
    assert!(stage.stand_in(&id).await.is_some());
    assert_eq!(stage.app.send().await, 1);
}

async fn secrets_are_not_kept_for_a_mail_that_may_come_back(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(CODES).await;
    let body = json!({ "to": "contact:asha", "template": "sign_in", "params": { "code": "482916" },
        "channels": ["email", "whatsapp"], "fallback_after_seconds": 60 });
    stage.ask(&body).await;
    assert_eq!(stage.mail_out().await, 1);
    let kept = "SELECT count(*) FROM channel_fallback WHERE sealed IS NOT NULL";
    assert_eq!(stage.app.number(kept).await, 1);
    stage.app.pass(61);
    stage.fall_back().await;
    assert_eq!(stage.app.number(kept).await, 0);
    assert_eq!(stage.app.send().await, 0);
}

const CODES: &str = r#"
name = "codes"

[[template]]
name = "sign_in"
language = "en"
category = "authentication"
body = "{{ code }} is your code."
"#;

async fn a_code(stage: &Stage, to: &str, channels: &[&str]) -> (u16, Value) {
    let body =
        json!({ "to": to, "template": "sign_in", "channels": channels, "allow_email": true });
    let mut body = body;
    if channels.len() > 1 {
        body["fallback_after"] = json!(30);
    }
    stage.app.post("/api/v1/verifications", &body).await
}

async fn a_code_that_was_mailed_goes_by_no_other_channel(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(CODES).await;
    let (code, answer) = a_code(&stage, "contact:asha", &["email", "whatsapp"]).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!(stage.mail_out().await, 1);
    stage.app.pass(31);
    while verification::turn(&stage.app.engine, stage.app.now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(stage.app.send().await, 0);
    // One that is refused does.
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("450 4.2.0 try again")]);
    let (code, answer) = a_code(&stage, "contact:asha", &["email", "whatsapp"]).await;
    assert_eq!(code, 201, "{answer}");
    stage.mail_batch().await;
    stage.app.pass(31);
    while verification::turn(&stage.app.engine, stage.app.now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(stage.app.send().await, 1);
}

async fn a_mail_is_never_stale_and_its_server_never_silent(database: Database) {
    let stage = stage(&database).await;
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(stage.mail_out().await, 1);
    let unheard = "SELECT count(*) FROM sender WHERE unheard_since IS NOT NULL";
    assert_eq!(stage.app.number(unheard).await, 0);
    stage.app.pass(3 * DAY);
    stage.app.watch().await;
    assert_eq!(stage.status(&id).await, "accepted");
    let (_, stats) = stage.app.get("/api/v1/stats?hours=120").await;
    assert_eq!(
        (&stats["accepted"], &stats["stale"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(stats["rates"]["delivery"], Value::Null, "{stats}");
    // Only those that are reported on count.
    let id = stage.ask(&order("contact:bela", &["whatsapp"])).await;
    stage.app.send().await;
    stage.app.told(&id, "delivered", None).await;
    let (_, stats) = stage.app.get("/api/v1/stats?hours=120").await;
    assert_eq!(stats["rates"]["delivery"], json!(1.0), "{stats}");
    assert_eq!(stage.app.number(unheard).await, 0);
}

async fn what_is_addressed_to_a_mailbox_gets_only_e_mail(database: Database) {
    let stage = stage(&database).await;
    // Asha has a phone as well, and may share the mailbox.
    let id = stage.ask(&order("asha@example.com", &["whatsapp"])).await;
    let shown = stage.app.notification(&id).await;
    assert_eq!(shown["status"], "skipped");
    assert_eq!(
        shown["reason"],
        "an e-mail address gets only e-mail: channel email"
    );
    let id = stage
        .ask(&order("asha@example.com", &["whatsapp", "email"]))
        .await;
    assert_eq!(stage.status(&id).await, "skipped");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    // The other way round, what comes back goes to no phone.
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.7.1 not from you")]);
    let id = stage
        .ask(&order("asha@example.com", &["email", "whatsapp"]))
        .await;
    stage.app.pass(8 * DAY);
    stage.app.watch().await;
    stage.mail_out().await;
    stage.fall_back().await;
    let child = stage.stand_in(&id).await.unwrap();
    assert_eq!(stage.status(&child).await, "skipped");
    assert_eq!(stage.app.send().await, 0);
    assert_eq!(stage.app.meta.calls(), 0);
    // Without channels it is a mail.
    let mut body = order("bela@example.com", &[]);
    body.as_object_mut().unwrap().remove("channels");
    let id = stage.ask(&body).await;
    assert_eq!(stage.app.notification(&id).await["channel"], "email");
}

async fn a_code_for_a_mailbox_goes_to_no_phone(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(CODES).await;
    for (to, channels, index) in [
        ("asha@example.com", &["whatsapp"][..], 0),
        ("asha@example.com", &["email", "whatsapp"], 1),
        ("US.13491208655302741918", &["whatsapp"], 0),
    ] {
        let (code, answer) = a_code(&stage, to, channels).await;
        assert_eq!(code, 422, "{answer}");
        assert_eq!(
            answer["errors"][0]["pointer"],
            format!("/channels/{index}"),
            "{answer}"
        );
    }
    let (code, answer) = a_code(&stage, "asha@example.com", &["email"]).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!((stage.mail_out().await, stage.app.send().await), (1, 0));
}

async fn a_sender_that_serves_no_channel_of_a_request_is_refused(database: Database) {
    let stage = stage(&database).await;
    let mail = stage.sender.to_string();
    for (sender, channels) in [
        (mail.as_str(), &["whatsapp"][..]),
        (stage.app.sender.to_string().as_str(), &["email"]),
    ] {
        let mut body = order("contact:asha", channels);
        body["sender"] = json!(sender);
        let (code, answer) = stage.app.post("/api/v1/notifications", &body).await;
        assert_eq!(
            (code, &answer["errors"][0]["pointer"]),
            (422, &json!("/sender")),
            "{answer}"
        );
    }
    // One that serves the second channel is the sender of that.
    let mut body = order("contact:asha", &["whatsapp", "email"]);
    body["sender"] = json!(mail);
    stage.ask(&body).await;
    assert_eq!(stage.app.send().await, 1);
    // What a channel cannot carry is refused before anything is stored.
    let media = json!({ "type": "image", "link": "https://example.com/a.png" });
    let body = json!({ "to": "contact:asha", "media": media, "channels": ["email"] });
    let (code, answer) = stage.app.post("/api/v1/notifications", &body).await;
    assert_eq!(
        (code, &answer["errors"][0]["pointer"]),
        (422, &json!("/media")),
        "{answer}"
    );
}

async fn messages_are_found_by_the_mailbox_they_went_to(database: Database) {
    let stage = stage(&database).await;
    let named = stage.ask(&order("contact:asha", &["email"])).await;
    let addressed = stage.ask(&order("asha@example.com", &["email"])).await;
    stage.ask(&order("contact:bela", &["whatsapp"])).await;
    let path = "/api/v1/notifications?recipient=asha@Example.com";
    let (_, listed) = stage.app.get(path).await;
    let found: Vec<&str> = listed["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(found, [&addressed, &named], "{listed}");
}

async fn a_contact_shows_that_its_mailbox_gets_nothing(database: Database) {
    let stage = stage(&database).await;
    let url = &stage.app.database_url;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| text(&herald(url, folder.path(), words));
    let said = run(&["contacts", "show", "contact:asha", "--show"]);
    assert!(
        said.contains("e-mail           asha@example.com\n"),
        "{said}"
    );
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    let token = stage.app.engine.unsubscribe_token(id.parse().unwrap());
    let link = format!("{}/unsubscribe/{}", stage.app.base, token.unwrap());
    let answer = stage.app.http.post(link).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (_, contact) = stage.app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(contact["email_suppressed"], "unsubscribed", "{contact}");
    let said = run(&["contacts", "show", "contact:asha"]);
    assert!(said.contains("(unsubscribed, 20"), "{said}");
    assert!(!said.contains("asha@example.com"), "masked: {said}");
    // Another mailbox is another matter.
    run(&[
        "contacts",
        "set",
        "+12025550101",
        "--email",
        "asha@example.org",
    ]);
    let (_, contact) = stage.app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(
        (&contact["email"], &contact["email_suppressed"]),
        (&json!("asha@example.org"), &Value::Null)
    );
    run(&["contacts", "set", "+12025550101", "--email", "none"]);
    let (_, contact) = stage.app.get("/api/v1/contacts?phone=%2B12025550101").await;
    assert_eq!(contact["email"], Value::Null);
}

async fn a_code_that_has_failed_is_not_offered_again(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(CODES).await;
    stage
        .mail
        .plays(&[MailFate::RecipientRefused("550 5.1.1 no such user")]);
    let (code, answer) = a_code(&stage, "contact:asha", &["email"]).await;
    assert_eq!(code, 201, "{answer}");
    stage.mail_out().await;
    let (_, listed) = stage.app.get("/api/v1/notifications?status=failed").await;
    let id = listed["notifications"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/notifications/{id}");
    let (_, story) = stage.app.get(&format!("{path}/story")).await;
    assert_eq!(story["can_do"], json!([]), "{story}");
    let retried = stage.app.post(&format!("{path}/retry"), &json!({})).await;
    assert_eq!(retried.0, 409, "{retried:?}");
}
