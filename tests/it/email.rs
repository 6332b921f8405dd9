//! E-mail: addresses, mails as they arrive, refusals, lost answers, and messages that fall back to it.

use herald::engine::{
    delivery::{self, channel_fallback},
    runtime::retention::RetentionCleaner,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Database, MailFate, MailServer, TestApp};

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
    what_is_not_delivered_goes_by_e_mail_once,
    what_arrives_before_the_mail_leaves_stops_it,
    what_fails_goes_by_e_mail_at_once,
    what_a_person_refuses_goes_by_no_other_channel,
    a_mail_goes_to_the_mailbox_that_a_named_person_has_now,
    a_route_names_channels_in_order_and_a_rule_its_channel,
    a_route_with_wrong_channels_is_refused,
    secrets_for_another_channel_are_not_kept,
];

const CATALOGUE: &str = r#"
name = "shop"

[[kind]]
name = "alarms"
required = true

[[template]]
name = "order"
language = "en"
category = "utility"
subject = "Order {{ number }} of {{ name }}"
body = "Hello {{ name }}, your order {{ number }} is on its way."
footer = "The shop"
html = "<p>Hello <b>{{ name }}</b>, your order {{ number }} is on its way.</p>"

[[template]]
name = "news"
language = "en"
category = "marketing"
body = "Hello {{ name }}, there is something new in the shop."

[[contact]]
name = "asha"
phone = "+12025550101"
email = "asha@example.com"

[[contact]]
name = "bela"
phone = "+12025550102"

[[contact]]
name = "chipo"
email = "chipo@example.com"
"#;

/// A server with a mail server beside WhatsApp.
pub struct Stage {
    pub app: TestApp,
    pub mail: MailServer,
    sender: Uuid,
}

pub async fn stage(database: &Database) -> Stage {
    stage_with(database, &[]).await
}

pub async fn stage_with(database: &Database, more: &[(&str, &str)]) -> Stage {
    let mail = MailServer::start().await;
    let url = more.iter().find(|(name, _)| *name == "SMTP_URL");
    let url = url.map_or("smtp://127.0.0.1:PORT?tls=none", |(_, url)| url);
    let url = url.replace("PORT", &mail.port.to_string());
    let settings = [
        ("SMTP_URL", url.as_str()),
        ("SMTP_FROM", "shop@example.com"),
        ("SMTP_FROM_NAME", "The Shop"),
        ("SMTP_BOUNCES", "bounces@example.com"),
        ("HERALD_PUBLIC_URL", "https://herald.example.com"),
    ];
    let more = more.iter().filter(|(name, _)| *name != "SMTP_URL").copied();
    let settings: Vec<(&str, &str)> = settings.into_iter().chain(more).collect();
    let app = TestApp::spawn_with(database, &settings, "").await;
    app.apply_catalogue(CATALOGUE).await;
    let ring = app.engine.keyring();
    let sender = ring.accounts.iter().find(|it| it.kind == "smtp").unwrap();
    assert!(!sender.is_default, "WhatsApp stays the default");
    let sender = sender.id;
    Stage { app, mail, sender }
}

pub fn order(to: &str, channels: &[&str]) -> Value {
    json!({ "to": to, "template": "order", "params": { "name": "Asha <A>", "number": "A-17" }, "channels": channels })
}

impl Stage {
    pub async fn ask(&self, body: &Value) -> String {
        let (code, answer) = self.app.post("/api/v1/notifications", body).await;
        assert_eq!(code, 202, "{answer}");
        answer["notifications"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub async fn mail_out(&self) -> usize {
        self.app.send_of(self.sender).await
    }

    /// One claim.
    pub async fn mail_batch(&self) -> usize {
        delivery::turn_of(&self.app.engine, self.sender, 500, self.app.now())
            .await
            .unwrap()
    }

    pub async fn fall_back(&self) {
        while channel_fallback::turn(&self.app.engine, self.app.now())
            .await
            .unwrap()
            > 0
        {}
    }

    /// The message that stands in for another.
    pub async fn stand_in(&self, id: &str) -> Option<String> {
        let sql = format!(
            "SELECT CAST(child_id AS text) FROM channel_fallback WHERE child_id IS NOT NULL AND notification_id = {}",
            self.literal(id)
        );
        let hex = self
            .app
            .texts(&sql.replace("CAST(child_id AS text)", self.as_text("child_id")))
            .await;
        hex.first()
            .map(|text| Uuid::parse_str(text).unwrap().to_string())
    }

    fn literal(&self, id: &str) -> String {
        if self.app.store.is_sqlite() {
            format!("x'{}'", id.replace('-', ""))
        } else {
            format!("'{id}'")
        }
    }

    fn as_text(&self, column: &'static str) -> &'static str {
        match (self.app.store.is_sqlite(), column) {
            (true, _) => "lower(hex(child_id))",
            (false, _) => "CAST(child_id AS text)",
        }
    }

    pub async fn status(&self, id: &str) -> String {
        self.app.status_of(id).await
    }
}

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
    assert_eq!(shown["reason"], "the contact has no phone number");
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

async fn what_is_not_delivered_goes_by_e_mail_once(database: Database) {
    let stage = stage(&database).await;
    let mut body = order("contact:asha", &["whatsapp", "email"]);
    body["fallback_after_seconds"] = json!(60);
    let id = stage.ask(&body).await;
    stage.app.send().await;
    assert_eq!(stage.status(&id).await, "accepted");
    stage.app.pass(59);
    stage.fall_back().await;
    assert_eq!(stage.stand_in(&id).await, None);
    stage.app.pass(1);
    stage.fall_back().await;
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    let child = stage.stand_in(&id).await.unwrap();
    let shown = stage.app.notification(&child).await;
    assert_eq!(
        (&shown["status"], &shown["channel"], &shown["recipient"]),
        (&json!("accepted"), &json!("email"), &json!("contact:asha")),
        "{shown}"
    );
    assert!(stage.mail.taken()[0].text.contains("Order A-17 of Asha"));
    // A late receipt comes for the first: both went out, and the story of the first says so.
    stage.app.told(&id, "delivered", None).await;
    stage.fall_back().await;
    let (_, story) = stage
        .app
        .get(&format!("/api/v1/notifications/{id}/story"))
        .await;
    let lines = story["lines"].to_string();
    assert!(lines.contains("the next channel is email"), "{lines}");
    assert_eq!(stage.mail.taken().len(), 1);
    assert_eq!(stage.status(&id).await, "delivered");
}

async fn what_arrives_before_the_mail_leaves_stops_it(database: Database) {
    let stage = stage(&database).await;
    let mut body = order("contact:asha", &["whatsapp", "email"]);
    body["fallback_after_seconds"] = json!(60);
    // Before its time.
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.told(&id, "delivered", None).await;
    stage.app.pass(61);
    stage.fall_back().await;
    assert_eq!(stage.stand_in(&id).await, None);
    assert_eq!(
        stage
            .app
            .number("SELECT count(*) FROM channel_fallback")
            .await,
        0
    );
    // After its time, and before the mail is claimed.
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.pass(61);
    stage.fall_back().await;
    let child = stage.stand_in(&id).await.unwrap();
    stage.app.told(&id, "delivered", None).await;
    assert_eq!(stage.mail_out().await, 0);
    assert_eq!(stage.status(&child).await, "cancelled");
    assert!(stage.mail.taken().is_empty());
}

async fn what_fails_goes_by_e_mail_at_once(database: Database) {
    let stage = stage(&database).await;
    let body = order("contact:asha", &["whatsapp", "email"]);
    let id = stage.ask(&body).await;
    stage.app.send().await;
    stage.app.told(&id, "failed", Some(131_026)).await;
    stage.app.pass(15);
    stage.app.settle().await;
    assert_eq!(stage.status(&id).await, "failed");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    // So does what cannot be written to by the first channel.
    let id = stage
        .ask(&order("contact:chipo", &["whatsapp", "email"]))
        .await;
    assert_eq!(stage.status(&id).await, "skipped");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[1].to, "chipo@example.com");
    // And what was not sent in time: it must not arrive as well.
    stage.app.meta.is_dead(true);
    let id = stage.ask(&body).await;
    stage.app.pass(301);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.status(&id).await, "cancelled");
    // An expired one as well.
    let mut body = body.clone();
    body["expires_in_seconds"] = json!(20);
    let id = stage.ask(&body).await;
    stage.app.pass(30);
    stage.app.watch().await;
    assert_eq!(stage.status(&id).await, "expired");
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
}

async fn what_a_person_refuses_goes_by_no_other_channel(database: Database) {
    let stage = stage(&database).await;
    let contact = stage
        .app
        .get("/api/v1/contacts?phone=%2B12025550101")
        .await
        .1;
    let path = format!(
        "/api/v1/contacts/{}/preferences",
        contact["id"].as_str().unwrap()
    );
    let none = json!({ "preferences": [{ "channel": "whatsapp", "wanted": false }] });
    assert_eq!(stage.app.request("PUT", &path, &none).await.0, 200);
    let id = stage
        .ask(&order("contact:asha", &["whatsapp", "email"]))
        .await;
    assert_eq!(stage.status(&id).await, "skipped");
    stage.app.pass(600);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 0);
    assert!(stage.mail.taken().is_empty());
    // What the person still wants goes out.
    stage.ask(&order("contact:asha", &["email"])).await;
    assert_eq!(stage.mail_out().await, 1);
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

const ROUTES: &str = r#"
name = "routes"

[[event]]
type = "shop.order"

[[template]]
name = "news_mail"
language = "en"
category = "utility"
body = "Something went wrong with an order."

[[contact]]
name = "dan"
phone = "+12025550104"
email = "dan@example.com"

[[contact]]
name = "office"
email = "office@example.com"

[[route]]
name = "order-placed"
event = "shop.order"
to = "contact:dan"
template = "news_mail"
channels = ["whatsapp", "email"]
fallback_after = "2m"

[[route]]
name = "order-office"
event = "shop.order"
to = "contact:office"
template = "news_mail"
channel = "email"

[[rule]]
name = "order-failed"
on = "failed"
send = { to = ["contact:office"], template = "news_mail", channel = "email" }
"#;

async fn a_route_names_channels_in_order_and_a_rule_its_channel(database: Database) {
    let stage = stage(&database).await;
    stage.app.apply_catalogue(ROUTES).await;
    let event = json!({ "id": "o-1", "source": "shop", "type": "shop.order", "data": {} });
    let (code, answer) = stage.app.post("/api/v1/events", &event).await;
    assert_eq!(code, 202, "{answer}");
    stage.app.send().await;
    assert_eq!((stage.app.meta.calls(), stage.mail_out().await), (1, 1));
    assert_eq!(stage.mail.taken()[0].to, "office@example.com");
    let (_, listed) = stage
        .app
        .get("/api/v1/notifications?recipient=contact:dan")
        .await;
    let id = listed["notifications"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{listed}"))
        .to_owned();
    stage.app.pass(119);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 0, "too early");
    stage.app.pass(1);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[1].to, "dan@example.com");
    // The rule writes to the office by its own channel, not from the number of the message.
    stage.app.told(&id, "failed", Some(131_026)).await;
    stage.app.pass(15);
    stage.app.settle().await;
    stage.app.follow_up().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(stage.mail.taken()[2].to, "office@example.com");
    assert_eq!(stage.app.meta.calls(), 1);
}

async fn a_route_with_wrong_channels_is_refused(database: Database) {
    let stage = stage(&database).await;
    let good = "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"2m\"";
    for (wrong, rule) in [
        ("channels = [\"whatsapp\", \"fax\"]", "whatsapp, email"),
        ("channels = [\"email\", \"email\"]", "each channel once"),
        (
            "channel = \"email\"\nchannels = [\"email\", \"whatsapp\"]",
            "either channel or channels",
        ),
        (
            "channels = [\"email\"]\nfallback_after = \"2m\"",
            "needs two channels or more",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"soon\"",
            "such as",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"9s\"",
            "10s to 7d",
        ),
        (
            "channels = [\"whatsapp\", \"email\"]\nfallback_after = \"8d\"",
            "10s to 7d",
        ),
    ] {
        let text = ROUTES.replace(good, wrong);
        let errors = stage.app.try_catalogue(&text).await.unwrap_err();
        assert!(format!("{errors:?}").contains(rule), "{errors:?}");
    }
}

async fn secrets_for_another_channel_are_not_kept(database: Database) {
    let stage = stage(&database).await;
    let codes = "name = \"codes\"\n[[template]]\nname = \"sign_in\"\nlanguage = \"en\"\ncategory = \"authentication\"\nbody = \"{{ code }} is your code.\"\n";
    stage.app.apply_catalogue(codes).await;
    let body = json!({ "to": "contact:asha", "template": "sign_in", "params": { "code": "482916" },
        "channels": ["whatsapp", "email"], "fallback_after_seconds": 60 });
    let kept = "SELECT count(*) FROM channel_fallback WHERE sealed IS NOT NULL";
    stage.ask(&body).await;
    assert_eq!(stage.app.number(kept).await, 1);
    stage.app.send().await;
    stage.app.pass(60);
    stage.fall_back().await;
    assert_eq!(stage.mail_out().await, 1);
    assert_eq!(
        stage.app.number(kept).await,
        0,
        "they are with the other message now"
    );
    // And while sending is on hold for hours.
    stage.ask(&body).await;
    let hold = json!({ "reason": "maintenance" });
    assert_eq!(stage.app.admin("POST", "/api/v1/hold", &hold).await.0, 200);
    stage.app.pass(3600 + 61);
    stage.fall_back().await;
    let mut cleaner = RetentionCleaner::default();
    while cleaner
        .turn(&stage.app.engine, stage.app.now())
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(stage.app.number(kept).await, 0);
}
