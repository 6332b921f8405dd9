//! E-mail: addresses, mails as they arrive, refusals and lost answers.

use serde_json::json;

use crate::harness::{
    Database, MailFate,
    email::{order, stage, stage_with},
};

crate::tests![
    a_mail_has_what_its_template_says,
    what_cannot_be_written_to_is_refused_or_skipped_with_the_reason,
    an_unknown_mailbox_is_written_to_once,
    what_is_about_us_holds_the_sender_and_loses_nothing,
    a_full_mailbox_and_a_grey_list_are_tried_again,
    a_mail_whose_answer_was_lost_is_decided_at_once,
    a_server_that_is_away_gets_the_mail_later_and_once,
    a_server_that_stalls_is_given_up_in_time,
    a_server_without_tls_gets_neither_password_nor_mail,
    a_mail_goes_to_the_mailbox_that_a_named_person_has_now,
];

async fn a_mail_has_what_its_template_says(database: Database) {
    let stage = stage(&database).await;
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(stage.mail_out().await, 1);
    let shown = stage.app.notification(&id).await;
    assert_eq!(
        (&shown["status"], &shown["channel"]),
        (&json!("accepted"), &json!("email")),
        "{shown}"
    );
    let mails = stage.mail.taken();
    let mail = &mails[0];
    assert_eq!(mail.to, "asha@example.com");
    let attempt = shown["attempts"][0]["id"]
        .as_str()
        .unwrap()
        .replace('-', "");
    assert_eq!(mail.from, format!("bounces+{attempt}@example.com"));
    let headers = mail.text.split("\n\n").next().unwrap();
    for line in [
        "From: \"The Shop\" <shop@example.com>",
        "To: asha@example.com",
        "Subject: Order A-17 of Asha <A>",
        &format!("Message-ID: <{attempt}@example.com>"),
        "Auto-Submitted: auto-generated",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "MIME-Version: 1.0",
    ] {
        assert!(
            headers.lines().any(|it| it == line),
            "{line} is not in\n{headers}"
        );
    }
    assert!(headers.contains("List-Unsubscribe: <https://herald.example.com/unsubscribe/"));
    assert!(headers.contains("\nDate: ") && headers.contains("multipart/alternative"));
    let body = mail.text.replace("=\n", "");
    assert!(
        body.contains("Hello Asha <A>, your order A-17 is on its way.\n\nThe shop"),
        "{body}"
    );
    assert!(
        body.contains("<p>Hello <b>Asha &lt;A&gt;</b>, your order A-17"),
        "{body}"
    );
    assert_eq!(
        shown["attempts"][0]["provider_message_id"],
        format!("{attempt}@example.com")
    );

    // A text without a template, to a mailbox: its first line is the subject.
    let free = json!({ "to": "new@example.com", "text": "Are you there?\nWe are.", "channels": ["email"] });
    let id = stage.ask(&free).await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.status(&id).await, "accepted");
    let mails = stage.mail.taken();
    assert!(
        mails[1].text.contains("Subject: Are you there?\n"),
        "{}",
        mails[1].text
    );
}

async fn what_cannot_be_written_to_is_refused_or_skipped_with_the_reason(database: Database) {
    let stage = stage(&database).await;
    let (code, problem) = stage
        .app
        .post("/api/v1/notifications", &order("asha@", &["email"]))
        .await;
    assert_eq!(code, 422);
    assert_eq!(
        problem["errors"][0],
        json!({ "pointer": "/to/0", "rule": "after the @ of an e-mail address stands a domain, such as example.com" })
    );
    for (channels, pointer, rule) in [
        (
            json!(["email", "fax"]),
            "/channels/1",
            "whatsapp, email, sms, push, in_app or webhook",
        ),
        (
            json!(["email", "email"]),
            "/channels/1",
            "each channel once",
        ),
        (
            json!(["whatsapp", "sms"]),
            "/channels/1",
            "no sender serves this channel",
        ),
    ] {
        let mut body = order("contact:asha", &[]);
        body["channels"] = channels;
        let (code, problem) = stage.app.post("/api/v1/notifications", &body).await;
        assert_eq!(
            (code, &problem["errors"][0]),
            (422, &json!({ "pointer": pointer, "rule": rule }))
        );
    }
    let id = stage.ask(&order("contact:bela", &["email"])).await;
    let shown = stage.app.notification(&id).await;
    assert_eq!(
        (&shown["status"], &shown["reason"]),
        (
            &json!("skipped"),
            &json!("the contact has no e-mail address")
        )
    );
    // And the other way round.
    let id = stage.ask(&order("chipo@example.com", &["whatsapp"])).await;
    let shown = stage.app.notification(&id).await;
    assert_eq!(
        shown["reason"],
        "an e-mail address gets only e-mail: channel email"
    );
    let (code, problem) = stage
        .app
        .post(
            "/api/v1/contacts",
            &json!({ "name": "Dan", "email": "dan@localhost" }),
        )
        .await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/email"))
    );
}

async fn an_unknown_mailbox_is_written_to_once(database: Database) {
    let stage = stage(&database).await;
    stage.mail.plays(&[MailFate::RecipientRefused(
        "550 5.1.1 <asha@example.com>: no such user",
    )]);
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    let shown = stage.app.notification(&id).await;
    assert_eq!(shown["status"], "failed", "{shown}");
    assert_eq!(shown["failure"]["title"], "smtp_550_5.1.1");
    assert_eq!(shown["failure"]["meaning"], "There is no such mailbox.");
    let next = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    let shown = stage.app.notification(&next).await;
    assert_eq!(
        (&shown["status"], &shown["reason"]),
        (
            &json!("skipped"),
            &json!("there is no such mailbox: a mail to it came back")
        )
    );
    assert_eq!(stage.mail.connections(), 1);
}

async fn what_is_about_us_holds_the_sender_and_loses_nothing(database: Database) {
    let stage = stage(&database).await;
    stage
        .mail
        .plays(&[MailFate::Refused("550 5.7.26 This mail is unauthenticated")]);
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    let sender_state = "SELECT state FROM sender WHERE kind = 'smtp'";
    assert_eq!(stage.app.texts(sender_state).await, ["held"]);
    for _ in 0..10 {
        stage.app.pass(61);
        stage.app.watch().await;
        stage.mail_out().await;
    }
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.mail.taken().len(), 1);
    assert_eq!(stage.app.texts(sender_state).await, ["active"]);
}

async fn a_full_mailbox_and_a_grey_list_are_tried_again(database: Database) {
    let stage = stage(&database).await;
    stage.mail.plays(&[
        MailFate::RecipientRefused("450 4.2.0 Grey-listed, try again"),
        MailFate::RecipientRefused("452 4.2.2 Mailbox full"),
    ]);
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "retrying");
    stage.app.pass(300);
    assert_eq!(stage.mail_out().await, 0, "too early");
    stage.app.pass(500);
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "retrying");
    stage.app.pass(3600);
    assert_eq!(stage.mail_out().await, 0, "too early");
    stage.app.pass(4 * 3600);
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "accepted");
}

async fn a_mail_whose_answer_was_lost_is_decided_at_once(database: Database) {
    let stage = stage(&database).await;
    stage
        .mail
        .plays(&[MailFate::TakenAndCut, MailFate::CutBefore]);
    for _ in 0..2 {
        let id = stage.ask(&order("contact:asha", &["email"])).await;
        stage.mail_out().await;
        assert_eq!(stage.status(&id).await, "unknown");
        stage.app.watch().await;
        stage.mail_out().await;
        assert_eq!(stage.status(&id).await, "gave_up");
    }
    assert_eq!(stage.mail.taken().len(), 1, "nothing is sent twice");
}

async fn a_server_that_is_away_gets_the_mail_later_and_once(database: Database) {
    let stage = stage(&database).await;
    stage.mail.plays(&[
        MailFate::SenderRefused("421 4.7.0 Try again later"),
        MailFate::Refused("451 4.3.0 Try again later"),
    ]);
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    for _ in 0..20 {
        stage.mail_out().await;
        stage.app.pass(120);
        stage.app.watch().await;
    }
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.mail.taken().len(), 1);
}

async fn a_server_without_tls_gets_neither_password_nor_mail(database: Database) {
    let url = ("SMTP_URL", "smtp://herald:password@127.0.0.1:PORT");
    let stage = stage_with(&database, &[url]).await;
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    stage.mail_batch().await;
    assert_eq!(stage.mail.commands(), ["EHLO"]);
    let shown = stage.app.notification(&id).await;
    assert!(
        shown.to_string().contains("offers no TLS"),
        "the reason is shown: {shown}"
    );
    assert_ne!(shown["status"], "failed", "it waits: {shown}");
}

/// The client's own time-outs act, so that this takes as long as the longest of them.
async fn a_server_that_stalls_is_given_up_in_time(database: Database) {
    let stage = stage(&database).await;
    stage
        .mail
        .plays(&[MailFate::StallsBefore, MailFate::StallsAfter]);
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(stage.ask(&order("contact:asha", &["email"])).await);
    }
    assert_eq!(stage.mail_batch().await, 2);
    let mut reasons = Vec::new();
    for id in &ids {
        reasons.push(stage.app.notification(id).await["attempts"][0]["reason"].to_string());
    }
    for _ in 0..5 {
        stage.app.pass(120);
        stage.app.watch().await;
        stage.mail_out().await;
    }
    let mut states = Vec::new();
    for id in &ids {
        states.push(stage.status(id).await);
    }
    states.sort_unstable();
    // What had not been taken goes out; what may have been is not sent again.
    assert_eq!(states, ["accepted", "gave_up"], "{reasons:?}");
    assert_eq!(stage.mail.taken().len(), 2, "{reasons:?}");
    assert_eq!(stage.mail.connections(), 3, "{reasons:?}");
}

async fn a_mail_goes_to_the_mailbox_that_a_named_person_has_now(database: Database) {
    let stage = stage(&database).await;
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    let contact = stage
        .app
        .get("/api/v1/contacts?phone=%2B12025550101")
        .await
        .1;
    let path = format!("/api/v1/contacts/{}", contact["id"].as_str().unwrap());
    let (code, changed) = stage
        .app
        .request("PATCH", &path, &json!({ "email": "asha.rao@example.org" }))
        .await;
    assert_eq!(
        (code, &changed["email"]),
        (200, &json!("asha.rao@example.org")),
        "{changed}"
    );
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.mail.taken()[0].to, "asha.rao@example.org");
    // Without one it waits, and goes out when there is one again.
    let id = stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(
        stage
            .app
            .request("PATCH", &path, &json!({ "email": null }))
            .await
            .0,
        200
    );
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "held");
    assert_eq!(
        stage
            .app
            .request("PATCH", &path, &json!({ "email": "asha@example.com" }))
            .await
            .0,
        200
    );
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "accepted");
}
