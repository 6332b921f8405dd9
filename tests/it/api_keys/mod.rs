//! API keys: what each may do, and whose things it sees.

mod making;
mod senders;
mod sharing;
mod walk;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Database, START, Test, TestApp, sign};

pub fn tests() -> Vec<Test> {
    [
        making::tests(),
        senders::tests(),
        sharing::tests(),
        walk::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Meta's id of the clinic's number.
const CLINIC_NUMBER: &str = "106540352242923";

/// What one product defines; names begin with the product's.
fn catalogue(product: &str, phone: &str) -> String {
    format!(
        r#"
name = "{product}"

[[kind]]
name = "{product}-news"

[[event]]
type = "{product}.order"

[[contact]]
name = "{product}-boss"
display_name = "Boss of {product}"
phone = "{phone}"

[[user]]
name = "{product}-boss"
contact = "{product}-boss"

[[group]]
name = "{product}-staff"
members = ["{product}-boss"]

[[template]]
name = "{product}_order"
language = "en"
category = "utility"
body = "Dear {{{{ contact.name | default('customer') }}}}, your order {{{{ number }}}} is here."

[[template]]
name = "{product}_code"
language = "en"
category = "authentication"
body = "{{{{ code }}}} is your code."
[[template.button]]
type = "otp"
otp_type = "copy_code"

[[route]]
name = "{product}-order"
event = "{product}.order"
to = "{{{{ data.to }}}}"
template = "{product}_order"
dedupe_key = "{{{{ data.number }}}}"
params = {{ number = "{{{{ data.number }}}}" }}
"#
    )
}

/// An answer: its status and its body, which is text if it is not JSON.
type Answer = (u16, Value);

async fn ask(app: &TestApp, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = app
        .http
        .request(method, format!("{}{path}", app.base))
        .bearer_auth(key);
    if !body.is_null() {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let code = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (code, body)
}

/// Makes a key and gives back its text.
async fn key(app: &TestApp, wanted: Value) -> String {
    let (code, made) = app.admin("POST", "/api/v1/keys", &wanted).await;
    assert_eq!(code, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// Adds a sender of its own number.
async fn sender(app: &TestApp, name: &str, number: &str) -> String {
    let body = json!({ "name": name, "phone_number_id": number, "waba_id": format!("9{number}"),
        "credentials": [{ "kind": "access_token", "value": format!("token-of-{name}-0123456789") },
            { "kind": "app_secret", "value": format!("secret-of-{name}-0123456789") }] });
    let (code, made) = app.admin("POST", "/api/v1/senders", &body).await;
    assert_eq!(code, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// A signed message of a person to the number of a sender.
async fn write(app: &TestApp, number: &str, secret: &str, from: &str, id: &str, more: Value) {
    let mut message = json!({ "from": from, "id": id, "timestamp": START.to_string(), "type": "text",
        "text": { "body": "Hello" } });
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": [{
        "field": "messages", "value": { "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": number },
            "contacts": [{ "wa_id": from, "profile": { "name": "As Meta calls them" } }],
            "messages": [message] } }] }] })
    .to_string()
    .into_bytes();
    let signature = sign(secret, &body);
    assert_eq!(app.callback_with(body, Some(&signature)).await.0, 200);
    app.process().await;
}

fn escaped(phone: &str) -> String {
    phone.replace('+', "%2B")
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Two products with a catalogue, a sender and a key each: the shop sends with the default.
struct Two {
    app: TestApp,
    shop: String,
    clinic: String,
    clinic_sender: Uuid,
}

async fn two(database: &Database) -> Two {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&catalogue("clinic", "+12025550190"))
        .await;
    app.apply_catalogue(&catalogue("shop", "+12025550191"))
        .await;
    let clinic_sender = sender(&app, "clinic", CLINIC_NUMBER).await;
    let shop = key(
        &app,
        json!({ "product": "shop", "source": "shop", "senders": [app.sender], "catalogue": "shop" }),
    )
    .await;
    let clinic = key(
        &app,
        json!({ "product": "clinic", "source": "clinic", "senders": ["clinic"], "catalogue": "clinic" }),
    )
    .await;
    Two {
        clinic_sender: clinic_sender.parse().unwrap(),
        app,
        shop,
        clinic,
    }
}

impl Two {
    /// One order of a product.
    async fn order(&self, key: &str, product: &str, id: &str, to: &str) -> Value {
        let body = json!({ "id": id, "source": product, "type": format!("{product}.order"),
            "data": { "to": to, "number": id } });
        let (code, answer) = ask(&self.app, key, "POST", "/api/v1/events", &body).await;
        assert_eq!(code, 202, "{answer}");
        answer
    }

    async fn contact(&self, key: &str, phone: &str) -> Answer {
        let path = format!("/api/v1/contacts?phone={}", escaped(phone));
        ask(&self.app, key, "GET", &path, &Value::Null).await
    }
}
