//! Meta's Cloud API.

use serde_json::{Value, json};

use super::{
    ProviderUnderTest,
    stand_in::{HttpAnswers, HttpStandIn, StandInFate},
};
use crate::harness::{TestApp, sign, status, value};

#[derive(Clone, Copy)]
pub struct Meta;

const NUMBER_ID: &str = "106540352242923";
const SECRET: &str = "a-secret-of-the-tested-app";

impl HttpAnswers for Meta {
    fn answer(&self, fate: StandInFate) -> (u16, Value) {
        match fate {
            StandInFate::Taken(id) | StandInFate::TakenSlowly(id) => (
                200,
                json!({ "messaging_product": "whatsapp", "messages": [{ "id": format!("wamid.{id}") }],
                "contacts": [{ "input": "+12025550101", "wa_id": "12025550101" }] }),
            ),
            StandInFate::Denied => (
                401,
                json!({ "error": { "message": "Error validating access token", "type": "OAuthException", "code": 190 } }),
            ),
            StandInFate::Refused | StandInFate::Lost => (
                400,
                json!({ "error": { "message": "(#132000) Number of parameters does not match", "code": 132_000 } }),
            ),
        }
    }

    fn read(&self, _path: &str) -> Option<(u16, Value)> {
        None
    }
}

impl ProviderUnderTest for Meta {
    type StandIn = HttpStandIn<Self>;

    fn kind(&self) -> &'static str {
        "meta"
    }

    async fn stand_in(&self) -> HttpStandIn<Self> {
        HttpStandIn::start(*self).await
    }

    fn sender(&self, port: u16) -> Value {
        json!({ "phone_number_id": NUMBER_ID, "api_base": format!("http://127.0.0.1:{port}"), "api_version": "v26.0", "credentials": [
            { "kind": "access_token", "value": "a-token-for-tests-0123456789" },
            { "kind": "app_secret", "value": SECRET },
        ] })
    }

    fn our_id(&self, message: &str) -> Option<String> {
        let request: Value = serde_json::from_str(message).unwrap();
        request["biz_opaque_callback_data"]
            .as_str()
            .map(str::to_owned)
    }

    fn facts(&self) -> &'static [&'static str] {
        &["sent", "delivered", "read"]
    }

    async fn report(&self, app: &TestApp, id: &str, our_id: Option<&str>, fact: &str) {
        assert_eq!(post(app, id, our_id, fact, SECRET).await, 200);
    }

    async fn report_without_proof(&self, app: &TestApp, id: &str, our_id: &str, fact: &str) {
        let secret = "another-secret-0123";
        assert_eq!(post(app, id, Some(our_id), fact, secret).await, 401);
        let url = format!("{}/webhooks/meta", app.base);
        let bare = app.http.post(url).json(&body(id, Some(our_id), fact));
        assert_eq!(bare.send().await.unwrap().status(), 401);
    }
}

fn body(id: &str, our_id: Option<&str>, fact: &str) -> Value {
    let mut one = status(&format!("wamid.{id}"), our_id, fact, 1_795_900_000, None);
    one["recipient_id"] = json!("12025550101");
    let mut body = value(json!({ "statuses": [one] }));
    body["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = json!(NUMBER_ID);
    body
}

/// A callback, signed with this secret.
async fn post(app: &TestApp, id: &str, our_id: Option<&str>, fact: &str, secret: &str) -> u16 {
    let body = body(id, our_id, fact).to_string().into_bytes();
    let post = app
        .http
        .post(format!("{}/webhooks/meta", app.base))
        .header("X-Hub-Signature-256", sign(secret, &body))
        .body(body);
    post.send().await.unwrap().status().as_u16()
}
