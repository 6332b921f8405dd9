//! One person is one person, whichever alias they are met by: opt-outs, windows, replies, moves.

mod any_order;
mod by_hand;
mod in_between;
mod people;

use serde_json::{Value, json};

use crate::harness::{Database, Test, TestApp, status};

pub fn tests() -> Vec<Test> {
    [
        people::tests(),
        any_order::tests(),
        by_hand::tests(),
        in_between::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// When the first of the tests' messages was written.
pub const AT: i64 = 1_767_225_600;

const CATALOGUE: &str = r#"
name = "identity"
[[template]]
name = "hello"
category = "utility"
body = "Hello."
[[template]]
name = "offer"
category = "marketing"
body = "An offer."
[[template]]
name = "code"
category = "authentication"
body = "{{ code }} is your verification code."
[[template.button]]
type = "otp"
otp_type = "copy_code"
[[template.parameter]]
name = "code"
kind = "code"
example = "123456"
"#;

pub async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    app
}

pub fn later(app: &TestApp) -> String {
    app.now().plus_seconds(600).to_string()
}

/// A text from whoever these fields name.
pub fn text(from: &[(&str, &str)], at: i64, body: &str) -> Value {
    let who: Vec<&str> = from.iter().map(|(_, value)| *value).collect();
    let mut message = json!({
        "id": format!("wamid.{}.{at}.{body}", who.join(".")), "timestamp": at.to_string(),
        "type": "text", "text": { "body": body },
    });
    for (field, value) in from {
        message[*field] = json!(value);
    }
    message
}

impl TestApp {
    /// A text that was written so many seconds after [`AT`].
    pub async fn says(&self, from: &[(&str, &str)], after: i64, body: &str) {
        self.callback(json!({ "messages": [text(from, AT + after, body)] }))
            .await;
        assert_eq!(self.number("SELECT count(*) FROM dead_letter").await, 0);
    }

    pub async fn says_now(&self, from: &[(&str, &str)], body: &str) {
        let message = text(from, self.now().unix_seconds(), body);
        self.callback(json!({ "messages": [message] })).await;
        assert_eq!(self.number("SELECT count(*) FROM dead_letter").await, 0);
    }

    pub async fn moved(&self, from: &str, to: &str, after: i64) {
        let change = json!({ "id": format!("wamid.moved.{from}.{after}"), "from": from, "timestamp": (AT + after).to_string(),
            "type": "system", "system": { "type": "user_changed_number", "wa_id": to, "body": "changed" } });
        self.callback(json!({ "messages": [change] })).await;
    }

    /// Asks for a notification; gives back its id.
    pub async fn queued(&self, body: &Value) -> String {
        let (code, answer) = self.post("/api/v1/notifications", body).await;
        assert_eq!(code, 202, "{answer}");
        answer["notifications"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Sends a template to somebody; gives back the notification's id.
    pub async fn sent(&self, to: &str, template: &str) -> String {
        let id = self
            .queued(&json!({ "to": to, "template": template }))
            .await;
        self.send().await;
        // Nobody gets more than a few at once.
        self.pass(60);
        id
    }

    pub async fn text_to(&self, to: &str) -> String {
        self.queued(&json!({ "to": to, "text": "hello" })).await
    }

    pub async fn delivered(&self, notification: &str, recipient: &[(&str, &str)]) {
        self.delivered_with(notification, json!([]), recipient)
            .await;
    }

    pub async fn delivered_with(
        &self,
        notification: &str,
        contacts: Value,
        recipient: &[(&str, &str)],
    ) {
        let found = self.notification(notification).await;
        let attempt = found["attempts"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        let at = self.now().unix_seconds();
        let wamid = attempt["provider_message_id"].as_str().unwrap();
        let mut status = status(wamid, attempt["id"].as_str(), "delivered", at, None);
        for (field, value) in recipient {
            status[*field] = json!(value);
        }
        self.callback(json!({ "contacts": contacts, "statuses": [status] }))
            .await;
    }

    pub async fn contact(&self, query: &str) -> Value {
        let (code, contact) = self.get(&format!("/api/v1/contacts?{query}")).await;
        assert_eq!(code, 200, "{query}: {contact}");
        contact
    }

    /// Where a notification's newest call went.
    pub async fn address_of(&self, notification: &str) -> String {
        self.stored(notification).await.address.unwrap_or_default()
    }

    pub async fn stored(&self, notification: &str) -> entity::notification::Model {
        use sea_orm::EntityTrait;
        entity::notification::Entity::find_by_id(notification.parse::<uuid::Uuid>().unwrap())
            .one(self.store.reader())
            .await
            .unwrap()
            .unwrap()
    }

    /// How many people there are.
    pub async fn people(&self) -> i64 {
        self.number("SELECT count(*) FROM contact WHERE deleted_at IS NULL AND merged_into IS NULL")
            .await
    }
}
