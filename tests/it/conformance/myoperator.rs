//! MyOperator, as what is public of it says.

use serde_json::{Value, json};

use super::{
    ProviderUnderTest,
    stand_in::{HttpAnswers, HttpStandIn, StandInFate},
};
use crate::harness::TestApp;

#[derive(Clone, Copy)]
pub struct MyOperator;

const SECRET: &str = "a-secret-of-the-callbacks";

impl HttpAnswers for MyOperator {
    fn answer(&self, fate: StandInFate) -> (u16, Value) {
        match fate {
            StandInFate::Taken(id) | StandInFate::TakenSlowly(id) => (
                200,
                json!({ "status": "success", "code": "200", "message": "Accepted",
                "data": { "conversation_id": "c-1", "message_id": id } }),
            ),
            StandInFate::Denied => (401, json!({ "message": "Unauthorized" })),
            StandInFate::Refused | StandInFate::Lost => (
                400,
                json!({ "status": "error", "code": "400", "message": "template not found" }),
            ),
        }
    }

    fn read(&self, path: &str) -> Option<(u16, Value)> {
        (path == "/chat/phonenumbers").then(|| {
            let numbers = json!([
                { "phone_number_id": "5550783881", "display_phone_number": "+1 202-555-0198" },
                { "phone_number_id": "5550783882", "display_phone_number": "+1 202-555-0199" },
            ]);
            (
                200,
                json!({ "status": "success", "data": { "results": numbers } }),
            )
        })
    }
}

impl ProviderUnderTest for MyOperator {
    type StandIn = HttpStandIn<Self>;

    fn kind(&self) -> &'static str {
        "myoperator"
    }

    async fn stand_in(&self) -> HttpStandIn<Self> {
        HttpStandIn::start(*self).await
    }

    fn sender(&self, port: u16) -> Value {
        let base = format!("http://127.0.0.1:{port}");
        json!({ "kind": "myoperator", "endpoint_id": "+12025550199",
            "settings": { "api_base": base, "company_id": "tested-company" }, "credentials": [
            { "kind": "access_token", "value": "a-key-for-tests-0123456789" },
            { "kind": "app_secret", "value": SECRET },
        ] })
    }

    fn our_id(&self, message: &str) -> Option<String> {
        let request: Value = serde_json::from_str(message).unwrap();
        request["myop_ref_id"].as_str().map(str::to_owned)
    }

    fn facts(&self) -> &'static [&'static str] {
        &["sent", "delivered", "read"]
    }

    /// One capture shows our id come back empty.
    async fn report(&self, app: &TestApp, id: &str, _our_id: Option<&str>, fact: &str) {
        assert_eq!(post(app, &body(id, None, fact), Some(SECRET)).await, 200);
    }

    async fn report_without_proof(&self, app: &TestApp, id: &str, our_id: &str, fact: &str) {
        let body = body(id, Some(our_id), fact);
        for key in [Some("another-secret-0123"), Some(""), None] {
            assert_eq!(post(app, &body, key).await, 401);
        }
    }
}

fn body(id: &str, our_id: Option<&str>, fact: &str) -> Value {
    json!({ "message_id": id, "conversaton_id": "c-1", "myop_ref_id": our_id, "status": fact,
        "timestamp": "1795900000" })
}

/// A callback with this secret in its URL.
async fn post(app: &TestApp, body: &Value, key: Option<&str>) -> u16 {
    let mut post = app.http.post(format!("{}/webhooks/myoperator", app.base));
    if let Some(key) = key {
        post = post.query(&[("key", key)]);
    }
    post.json(body).send().await.unwrap().status().as_u16()
}
