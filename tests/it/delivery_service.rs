//! The delivery service moves to Herald: its ten messages over MyOperator from event to receipt, and
//! the calls of its API as `docs/coming-from.md` shows them.

use herald::engine::catalogue;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    conformance::{HttpStandIn, MyOperator, ProviderStandIn, ProviderUnderTest, StandInFate},
    harness::{Database, TestApp},
};

crate::tests![
    its_ten_messages_go_over_myoperator_from_event_to_receipt,
    its_calls_work_as_they_are_documented,
    what_the_provider_refuses_is_tried_once,
];

const CATALOGUE: &str = include_str!("../../deploy/catalogues/delivery.toml");
const DOCUMENT: &str = include_str!("../../docs/coming-from.md");

/// A server whose default sender is a number at MyOperator.
struct DeliveryService {
    app: TestApp,
    sender: Uuid,
    provider: HttpStandIn<MyOperator>,
}

async fn delivery_service(database: &Database) -> DeliveryService {
    let provider = MyOperator.stand_in().await;
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    let mut sender = MyOperator.sender(provider.port());
    sender["name"] = json!("delivery");
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    let path = "/api/v1/senders/delivery/default";
    let (code, answer) = app.admin("POST", path, &Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    DeliveryService {
        sender: made["id"].as_str().unwrap().parse().unwrap(),
        app,
        provider,
    }
}

impl DeliveryService {
    async fn send(&self) -> usize {
        self.app.send_of(self.sender).await
    }

    /// A receipt of MyOperator, with its secret in the URL.
    async fn report(&self, message_id: &str, fact: &str) {
        MyOperator.report(&self.app, message_id, None, fact).await;
        self.app.process().await;
    }
}

/// MyOperator's ids of the ten messages.
const IDS: [&str; 10] = [
    "m-0", "m-1", "m-2", "m-3", "m-4", "m-5", "m-6", "m-7", "m-8", "m-9",
];

async fn its_ten_messages_go_over_myoperator_from_event_to_receipt(database: Database) {
    let service = delivery_service(&database).await;
    let app = &service.app;
    let known = catalogue::parse(CATALOGUE, &TestApp::catalogue_values()).unwrap();
    let events = known.catalogue.event;
    assert_eq!(events.len(), 10);
    let mut sent = Vec::new();
    for (event, message_id) in events.iter().zip(IDS) {
        let example = serde_json::to_value(event.example.as_ref().unwrap()).unwrap();
        let kind = &event.r#type;
        let answer = app.event(kind, kind, example).await;
        let id = answer["notifications"][0].as_str().unwrap().to_owned();
        service.provider.plays(&[StandInFate::Taken(message_id)]);
        assert_eq!(service.send().await, 1, "{kind}");
        assert_eq!(app.status_of(&id).await, "accepted", "{kind}");
        sent.push(id);
    }
    for (id, message_id) in sent.iter().zip(IDS) {
        for state in ["delivered", "read"] {
            service.report(message_id, state).await;
            assert_eq!(app.status_of(id).await, state);
        }
    }
    let requests = service.provider.bodies();
    let mut templates: Vec<&str> = requests
        .iter()
        .map(|it| it["data"]["context"]["template_name"].as_str().unwrap())
        .collect();
    templates.sort_unstable();
    assert_eq!(
        templates,
        [
            "delivery_confirmation",
            "delivery_delayed",
            "delivery_reminder",
            "order_confirmation",
            "out_for_delivery",
            "payment_confirmation",
            "payment_reminder",
            "subscription_confirmation",
            "subscription_expiring",
            "subscription_paused",
        ]
    );
    for request in &requests {
        assert_eq!(request["customer_number"], "2025550101", "{request}");
    }
    let stats = app.stats().await;
    assert_eq!(
        (&stats["accepted"], &stats["read"]),
        (&json!(10), &json!(10))
    );
}

async fn what_the_provider_refuses_is_tried_once(database: Database) {
    let service = delivery_service(&database).await;
    let app = &service.app;
    let body = json!({ "to": "+12025550101", "template": "delivery_reminder",
        "params": { "delivery_date": "2026-02-01" } });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    service.provider.plays(&[StandInFate::Refused]);
    for _ in 0..4 {
        service.send().await;
        app.pass(600);
        app.watch().await;
    }
    assert_eq!(app.status_of(id).await, "failed");
    assert_eq!(service.provider.messages().len(), 1);
}

/// A call of the document, and the answer beside it.
struct DocumentedCall {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    answer: Value,
}

/// The calls of the section, in order.
fn documented_calls() -> Vec<DocumentedCall> {
    let (_, section) = DOCUMENT.split_once("### Its calls, one by one").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut calls = Vec::new();
    for part in section.split("```http\n").skip(1) {
        let (call, rest) = part.split_once("```").unwrap();
        let (_, answer) = rest.split_once("```json\n").expect("an answer follows");
        let (answer, _) = answer.split_once("```").unwrap();
        let (head, body) = call.split_once("\n\n").unwrap_or((call, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        calls.push(DocumentedCall {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers: lines
                .map(|line| {
                    let (name, value) = line.split_once(": ").unwrap();
                    (name.to_owned(), value.to_owned())
                })
                .collect(),
            body: (!body.trim().is_empty()).then(|| serde_json::from_str(body).unwrap()),
            answer: serde_json::from_str(answer).unwrap(),
        });
    }
    calls
}

/// Whether an answer has everything that the document shows, where `…` stands for any value that is
/// there. Lists are as long as shown.
fn shows(answer: &Value, shown: &Value) -> bool {
    match (shown, answer) {
        (Value::String(any), _) if any == "…" => !answer.is_null(),
        (Value::Object(shown), Value::Object(answer)) => shown
            .iter()
            .all(|(key, value)| answer.get(key).is_some_and(|it| shows(it, value))),
        (Value::Array(shown), Value::Array(answer)) => {
            shown.len() == answer.len() && shown.iter().zip(answer).all(|(a, b)| shows(b, a))
        }
        _ => shown == answer,
    }
}

async fn its_calls_work_as_they_are_documented(database: Database) {
    let service = delivery_service(&database).await;
    let app = &service.app;
    let calls = documented_calls();
    assert_eq!(calls.len(), 13);
    let (mut id, mut contact) = (String::new(), String::new());
    for call in calls {
        let path = call
            .path
            .replace("{id}", &id)
            .replace("{contact}", &contact);
        let waits = call.headers.iter().any(|(name, _)| name == "Prefer");
        if path.ends_with("/retry") {
            // It is about a message that failed.
            service.provider.plays(&[StandInFate::Refused]);
            service.send().await;
            assert_eq!(app.status_of(&id).await, "failed");
        }
        let is_new = call.path == "/api/v1/notifications" && call.method == Method::POST;
        let mut request = app
            .http
            .request(call.method, format!("{}{path}", app.base))
            .bearer_auth(&app.key);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let work = async {
            if waits {
                service.provider.plays(&[StandInFate::Taken("m-1")]);
                while service.send().await == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let (answer, ()) = tokio::join!(request.send(), work);
        let answer: Value = answer.unwrap().json().await.unwrap();
        assert!(
            shows(&answer, &call.answer),
            "{path} answers {answer:#}\nand the document says {:#}",
            call.answer
        );
        if let Some(made) = answer["notifications"][0]["id"].as_str()
            && is_new
        {
            made.clone_into(&mut id);
        }
        if call.path.starts_with("/api/v1/contacts?") {
            answer["id"].as_str().unwrap().clone_into(&mut contact);
        }
    }
    assert_eq!(service.provider.messages().len(), 2);
}
