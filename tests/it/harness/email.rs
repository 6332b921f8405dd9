//! A server with a mail server beside WhatsApp, and a catalogue whose contacts have mailboxes.

use herald::engine::delivery::{self, channel_fallback};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Database, MailServer, TestApp};

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
    pub sender: Uuid,
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
