//! MyOperator, as what is public of it says.

use serde_json::{Value, json};

use super::ProviderUnderTest;
use crate::harness::TestApp;

pub struct MyOperator;

const SECRET: &str = "a-secret-of-the-callbacks";

impl ProviderUnderTest for MyOperator {
    fn kind(&self) -> &'static str {
        "myoperator"
    }

    fn sender(&self, base: &str) -> Value {
        json!({ "kind": "myoperator", "endpoint_id": "+12025550199",
            "settings": { "api_base": base, "company_id": "tested-company" }, "credentials": [
            { "kind": "access_token", "value": "a-key-for-tests-0123456789" },
            { "kind": "app_secret", "value": SECRET },
        ] })
    }

    fn accepts(&self, message_id: &str) -> (u16, Value) {
        (
            200,
            json!({ "status": "success", "code": "200", "message": "Accepted",
            "data": { "conversation_id": "c-1", "message_id": message_id } }),
        )
    }

    fn refuses(&self) -> (u16, Value) {
        (
            400,
            json!({ "status": "error", "code": "400", "message": "template not found" }),
        )
    }

    fn denies(&self) -> (u16, Value) {
        (401, json!({ "message": "Unauthorized" }))
    }

    fn reads(&self, path: &str) -> Option<(u16, Value)> {
        (path == "/chat/phonenumbers").then(|| {
            let number = json!({ "phone_number_id": "5550783882", "display_phone_number": "+1 202-555-0199" });
            (200, json!({ "status": "success", "data": { "results": [number] } }))
        })
    }

    fn reports(&self, message_id: &str, our_id: Option<&str>, state: &str) -> Value {
        json!({ "message_id": message_id, "conversaton_id": "c-1", "myop_ref_id": our_id, "status": state,
            "timestamp": "1795900000" })
    }

    fn post(&self, app: &TestApp, body: &Value, is_proven: bool) -> reqwest::RequestBuilder {
        let secret = if is_proven {
            SECRET
        } else {
            "another-secret-0123"
        };
        app.http
            .post(format!("{}/webhooks/myoperator", app.base))
            .query(&[("key", secret)])
            .json(body)
    }

    fn our_id(&self, request: &Value) -> Option<String> {
        request["myop_ref_id"].as_str().map(str::to_owned)
    }

    /// One capture shows it come back empty.
    fn returns_our_id(&self) -> bool {
        false
    }
}
