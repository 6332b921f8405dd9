//! Every reason for which a person gets nothing by a channel, with every category of message, and what
//! becomes of the next channel: what a person refuses goes by no other one, what cannot reach the
//! person does.

use herald::{domain::failure::DeliveryFailure, engine::ingest::bounces};
use serde_json::{Value, json};

use crate::harness::{
    Database,
    email::{Stage, stage},
};

crate::tests![
    nothing_refused_goes_by_both,
    a_stop_stops_both_channels,
    an_opt_out_of_marketing_stops_marketing_by_both,
    a_preference_against_whatsapp,
    a_preference_against_email,
    a_preference_against_a_kind_stops_it_by_both,
    an_unsubscribed_mailbox_stops_mails,
    a_mailbox_that_does_not_exist_is_no_refusal,
    a_person_without_a_number_or_a_mailbox_is_written_to_by_the_other,
    a_deleted_person_gets_nothing,
    quiet_hours_are_no_reason_for_another_channel,
];

const CATALOGUE: &str = r#"
name = "shop"

[[kind]]
name = "alarms"
required = true

[[kind]]
name = "orders"

[[template]]
name = "order"
language = "en"
category = "utility"
body = "Your order is on its way."

[[template]]
name = "news"
language = "en"
category = "marketing"
body = "There is something new in the shop."

[[template]]
name = "sign_in"
language = "en"
category = "authentication"
body = "{{ code }} is your code."

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

/// A message of each sort: those that can be refused, marketing, codes, and what is required.
const SORTS: [(&str, &str, Option<&str>); 4] = [
    ("utility", "order", Some("orders")),
    ("marketing", "news", Some("orders")),
    ("authentication", "sign_in", None),
    ("required", "order", Some("alarms")),
];

/// What becomes of a message by its first channel and by its next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// By the first, and when it does not arrive by the next.
    Both,
    First,
    Next,
    Neither,
}

use Outcome::{Both, First, Neither, Next};

struct Shop(Stage);

async fn shop(database: &Database) -> Shop {
    let shop = Shop(stage(database).await);
    shop.0.app.apply_catalogue(CATALOGUE).await;
    shop
}

impl Shop {
    async fn contact(&self, name: &str) -> String {
        let found = self
            .0
            .app
            .get(&format!("/api/v1/contacts?query={name}"))
            .await
            .1;
        let id = found["contacts"][0]["id"].as_str();
        id.unwrap_or_else(|| panic!("{found}")).to_owned()
    }

    async fn prefers(&self, preferences: Value) {
        let path = format!(
            "/api/v1/contacts/{}/preferences",
            self.contact("asha").await
        );
        let body = json!({ "preferences": preferences });
        let (code, answer) = self.0.app.request("PUT", &path, &body).await;
        assert_eq!(code, 200, "{answer}");
    }

    async fn writes(&self, text: &str) {
        let message = json!({ "from": "12025550101", "id": format!("wamid.{text}"), "type": "text",
            "timestamp": self.0.app.now().unix_seconds().to_string(), "text": { "body": text } });
        self.0.app.callback(json!({ "messages": [message] })).await;
    }

    async fn ask(&self, to: &str, sort: (&str, &str, Option<&str>), channels: [&str; 2]) -> String {
        let (_, template, kind) = sort;
        let mut body = json!({ "to": to, "template": template, "channels": channels,
            "fallback_after_seconds": 60, "params": {} });
        if let Some(kind) = kind {
            body["message_kind"] = json!(kind);
        } else {
            body["params"] = json!({ "code": "123456" });
        }
        self.0.ask(&body).await
    }

    /// What has gone out by WhatsApp and by e-mail.
    fn sent(&self) -> (usize, usize) {
        (self.0.app.meta.calls(), self.0.mail.taken().len())
    }

    async fn send(&self) {
        self.0.app.send().await;
        self.0.mail_out().await;
    }

    /// Every mail comes back: nothing else says that it has not arrived.
    async fn mails_come_back(&self) {
        let app = &self.0.app;
        let path = "/api/v1/notifications?channel=email&status=accepted&limit=100";
        let (_, listed) = app.get(path).await;
        for mail in listed["notifications"].as_array().unwrap() {
            let shown = app.notification(mail["id"].as_str().unwrap()).await;
            let attempt = shown["attempts"][0]["id"].as_str().unwrap();
            let failure = DeliveryFailure::ours("smtp_5.4.1", "No answer from host.", "");
            let attempts = [attempt.parse().unwrap()];
            let found = bounces::apply(&app.engine, &attempts, &failure, app.now()).await;
            assert!(found.unwrap().is_some());
        }
    }

    /// Sends a message that never arrives by its first channel.
    async fn outcome(
        &self,
        to: &str,
        sort: (&str, &str, Option<&str>),
        channels: [&str; 2],
    ) -> Outcome {
        let before = self.sent();
        let id = self.ask(to, sort, channels).await;
        self.send().await;
        if channels[0] == "email" {
            self.mails_come_back().await;
        }
        self.0.app.pass(61);
        self.0.fall_back().await;
        self.send().await;
        let after = self.sent();
        let (by_whatsapp, by_email) = (after.0 - before.0, after.1 - before.1);
        assert!(by_whatsapp < 2 && by_email < 2, "{id} went out twice");
        let (first, next) = match channels[0] {
            "whatsapp" => (by_whatsapp, by_email),
            _ => (by_email, by_whatsapp),
        };
        match (first, next) {
            (1, 1) => Both,
            (1, 0) => First,
            (0, 1) => Next,
            _ => Neither,
        }
    }

    /// The outcomes of each sort of message, from WhatsApp to e-mail and the other way round.
    async fn outcomes(&self, to: &str) -> [[Outcome; 4]; 2] {
        let mut found = [[Neither; 4]; 2];
        for (row, channels) in found
            .iter_mut()
            .zip([["whatsapp", "email"], ["email", "whatsapp"]])
        {
            for (cell, sort) in row.iter_mut().zip(SORTS) {
                *cell = self.outcome(to, sort, channels).await;
            }
        }
        found
    }
}

async fn nothing_refused_goes_by_both(database: Database) {
    let shop = shop(&database).await;
    assert_eq!(shop.outcomes("contact:asha").await, [[Both; 4]; 2]);
}

async fn a_stop_stops_both_channels(database: Database) {
    let shop = shop(&database).await;
    shop.writes("STOP").await;
    let expected = [[Neither, Neither, Both, Both]; 2];
    assert_eq!(shop.outcomes("contact:asha").await, expected);
    // Also for the person's mailbox by itself.
    assert_eq!(
        shop.outcome("asha@example.com", SORTS[0], ["email", "whatsapp"])
            .await,
        Neither
    );
    shop.writes("START").await;
    assert_eq!(shop.outcomes("contact:asha").await, [[Both; 4]; 2]);
}

async fn an_opt_out_of_marketing_stops_marketing_by_both(database: Database) {
    let shop = shop(&database).await;
    let id = shop
        .ask("contact:asha", SORTS[1], ["whatsapp", "email"])
        .await;
    shop.send().await;
    shop.0.app.told(&id, "failed", Some(131_050)).await;
    shop.0.app.pass(61);
    shop.0.fall_back().await;
    shop.send().await;
    assert_eq!(
        shop.sent(),
        (1, 0),
        "an opt-out is no reason for another channel"
    );
    assert_eq!(
        shop.outcomes("contact:asha").await,
        [[Both, Neither, Both, Both]; 2]
    );
}

async fn a_preference_against_whatsapp(database: Database) {
    let shop = shop(&database).await;
    shop.prefers(json!([{ "channel": "whatsapp", "wanted": false }]))
        .await;
    let expected = [[Neither, Neither, Both, Both], [First, First, Both, Both]];
    assert_eq!(shop.outcomes("contact:asha").await, expected);
}

async fn a_preference_against_email(database: Database) {
    let shop = shop(&database).await;
    shop.prefers(json!([{ "channel": "email", "wanted": false }]))
        .await;
    let expected = [[First, First, Both, Both], [Neither, Neither, Both, Both]];
    assert_eq!(shop.outcomes("contact:asha").await, expected);
}

async fn a_preference_against_a_kind_stops_it_by_both(database: Database) {
    let shop = shop(&database).await;
    shop.prefers(json!([{ "kind": "orders", "wanted": false }]))
        .await;
    let expected = [[Neither, Neither, Both, Both]; 2];
    assert_eq!(shop.outcomes("contact:asha").await, expected);
}

async fn an_unsubscribed_mailbox_stops_mails(database: Database) {
    let shop = shop(&database).await;
    let id = shop
        .0
        .ask(&json!({ "to": "contact:asha", "template": "order", "channels": ["email"] }))
        .await;
    shop.send().await;
    let token = shop
        .0
        .app
        .engine
        .unsubscribe_token(id.parse().unwrap())
        .unwrap();
    let url = format!("{}/unsubscribe/{token}", shop.0.app.base);
    assert_eq!(
        shop.0.app.http.post(url).send().await.unwrap().status(),
        200
    );
    let expected = [[First, First, Both, Both], [Neither, Neither, Both, Both]];
    assert_eq!(shop.outcomes("contact:asha").await, expected);
}

async fn a_mailbox_that_does_not_exist_is_no_refusal(database: Database) {
    let shop = shop(&database).await;
    let gone = crate::harness::MailFate::RecipientRefused("550 5.1.1 no such user");
    shop.0.mail.plays(&[gone]);
    shop.0
        .ask(&json!({ "to": "contact:asha", "template": "order", "channels": ["email"] }))
        .await;
    shop.send().await;
    assert_eq!(shop.outcomes("contact:asha").await, [[First; 4], [Next; 4]]);
}

async fn a_person_without_a_number_or_a_mailbox_is_written_to_by_the_other(database: Database) {
    let shop = shop(&database).await;
    assert_eq!(
        shop.outcomes("contact:chipo").await,
        [[Next; 4], [First; 4]]
    );
    assert_eq!(shop.outcomes("contact:bela").await, [[First; 4], [Next; 4]]);
}

async fn a_deleted_person_gets_nothing(database: Database) {
    let shop = shop(&database).await;
    for channels in [["whatsapp", "email"], ["email", "whatsapp"]] {
        let mut contact =
            json!({ "name": "Dana", "phone": "+12025550109", "email": "dana@example.com" });
        let (code, made) = shop.0.app.post("/api/v1/contacts", &contact).await;
        assert!([200, 201].contains(&code), "{made}");
        contact = made;
        for sort in SORTS {
            shop.ask("+12025550109", sort, channels).await;
        }
        let path = format!("/api/v1/contacts/{}", contact["id"].as_str().unwrap());
        let (code, answer) = shop.0.app.admin("DELETE", &path, &Value::Null).await;
        assert!((200..300).contains(&code), "{answer}");
        shop.send().await;
        shop.0.app.pass(61);
        shop.0.fall_back().await;
        shop.send().await;
        assert_eq!(shop.sent(), (0, 0));
    }
}

async fn quiet_hours_are_no_reason_for_another_channel(database: Database) {
    let shop = shop(&database).await;
    let path = format!("/api/v1/contacts/{}", shop.contact("asha").await);
    // The clock of the test begins at midnight.
    let body = json!({ "quiet_hours": { "from": "22:00", "until": "02:00" }, "time_zone": "UTC" });
    let (code, answer) = shop.0.app.request("PATCH", &path, &body).await;
    assert_eq!(code, 200, "{answer}");
    for channels in [["whatsapp", "email"], ["email", "whatsapp"]] {
        for (sort, expected) in SORTS.into_iter().zip([Neither, Neither, Both, Both]) {
            assert_eq!(
                shop.outcome("contact:asha", sort, channels).await,
                expected,
                "{sort:?}"
            );
        }
    }
    let before = shop.sent();
    // In the morning each goes by its first channel, and after that by the next.
    shop.0.app.pass(2 * 3600);
    shop.send().await;
    assert_eq!(shop.sent(), (before.0 + 2, before.1 + 2));
    shop.mails_come_back().await;
    shop.0.app.pass(61);
    shop.0.fall_back().await;
    shop.send().await;
    assert_eq!(shop.sent(), (before.0 + 4, before.1 + 4));
}
