//! Senders: several of them, their credentials, and who may speak for them.

mod apps;
mod canary;
mod command_line;
mod credentials;
mod switch;

use herald::{
    engine::{
        Engine,
        runtime::{keyring::ProviderCredentialCache, vault::Vault},
    },
    providers::ProviderRegistry,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{DEMO, Database, Graph, SECRET_KEY, Test, TestApp};

pub fn tests() -> Vec<Test> {
    [
        apps::tests(),
        canary::tests(),
        command_line::tests(),
        credentials::tests(),
        switch::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The second number of these tests.
const SECOND: &str = "106540352242923";

/// A server in front of a provider that writes down who calls.
async fn with_graph(database: &Database, settings: &[(&str, &str)]) -> (TestApp, Graph) {
    let graph = Graph::start();
    let mut all = vec![("WHATSAPP_API_BASE", graph.base.as_str())];
    all.extend_from_slice(settings);
    let app = TestApp::spawn_with(database, &all, "").await;
    app.apply_catalogue(DEMO).await;
    (app, graph)
}

/// Adds a sender with a token of its own.
async fn add(app: &TestApp, name: &str, number: &str, more: Value) -> Uuid {
    let mut body = json!({
        "name": name, "phone_number_id": number,
        "credentials": [{ "kind": "access_token", "value": format!("token-of-{name}-0123456789") }],
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let (code, made) = app.admin("POST", "/api/v1/senders", &body).await;
    assert_eq!(code, 201, "{made}");
    Uuid::parse_str(made["id"].as_str().unwrap()).unwrap()
}

/// Asks for a message, from a named sender or from the default.
async fn ask(app: &TestApp, to: &str, sender: Option<&str>) -> String {
    let mut body = json!({ "to": to, "template": "jaspers_market_plain_text_v1" });
    if let Some(sender) = sender {
        body["sender"] = json!(sender);
    }
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What another process is on the same database: it has read everything for itself.
fn elsewhere(app: &TestApp) -> Engine {
    let vault = Vault::new(&SecretString::from(SECRET_KEY), None).unwrap();
    Engine::new(
        app.store.clone(),
        app.engine.settings.clone(),
        Uuid::new_v4(),
    )
    .with_keys(ProviderCredentialCache::new(
        Some(vault),
        Vec::new(),
        ProviderRegistry::standard(),
        None,
    ))
}
