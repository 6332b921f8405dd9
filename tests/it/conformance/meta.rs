//! Meta's Cloud API.

use serde_json::{Value, json};

use super::ProviderUnderTest;
use crate::harness::{TestApp, sign, status, value};

pub struct Meta;

const NUMBER_ID: &str = "106540352242923";
const SECRET: &str = "a-secret-of-the-tested-app";

impl ProviderUnderTest for Meta {
    fn kind(&self) -> &'static str {
        "meta"
    }

    fn sender(&self, base: &str) -> Value {
        json!({ "phone_number_id": NUMBER_ID, "api_base": base, "api_version": "v26.0", "credentials": [
            { "kind": "access_token", "value": "a-token-for-tests-0123456789" },
            { "kind": "app_secret", "value": SECRET },
        ] })
    }

    fn accepts(&self, message_id: &str) -> (u16, Value) {
        (
            200,
            json!({ "messaging_product": "whatsapp", "messages": [{ "id": format!("wamid.{message_id}") }],
            "contacts": [{ "input": "+12025550101", "wa_id": "12025550101" }] }),
        )
    }

    fn refuses(&self) -> (u16, Value) {
        (
            400,
            json!({ "error": { "message": "(#132000) Number of parameters does not match", "code": 132_000 } }),
        )
    }

    fn denies(&self) -> (u16, Value) {
        (
            401,
            json!({ "error": { "message": "Error validating access token", "type": "OAuthException", "code": 190 } }),
        )
    }

    fn reads(&self, _path: &str) -> Option<(u16, Value)> {
        None
    }

    fn reports(&self, message_id: &str, our_id: Option<&str>, state: &str) -> Value {
        let mut one = status(
            &format!("wamid.{message_id}"),
            our_id,
            state,
            1_795_900_000,
            None,
        );
        one["recipient_id"] = json!("12025550101");
        let mut body = value(json!({ "statuses": [one] }));
        body["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = json!(NUMBER_ID);
        body
    }

    fn post(&self, app: &TestApp, body: &Value, is_proven: bool) -> reqwest::RequestBuilder {
        let body = body.to_string().into_bytes();
        let secret = if is_proven {
            SECRET
        } else {
            "another-secret-0123"
        };
        app.http
            .post(format!("{}/webhooks/meta", app.base))
            .header("X-Hub-Signature-256", sign(secret, &body))
            .body(body)
    }

    fn our_id(&self, request: &Value) -> Option<String> {
        request["biz_opaque_callback_data"]
            .as_str()
            .map(str::to_owned)
    }

    fn returns_our_id(&self) -> bool {
        true
    }
}
