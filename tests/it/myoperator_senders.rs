//! Several senders of MyOperator, whose callbacks name none: they are about those whose secret proved
//! them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    conformance::{HttpStandIn, MyOperator, ProviderStandIn, ProviderUnderTest, StandInFate},
    harness::{Database, TestApp},
};

crate::tests![
    two_senders_that_share_a_secret_both_get_their_reports,
    a_report_that_comes_before_its_answer_is_joined,
    a_secret_of_one_sender_reports_nothing_of_another,
];

/// A server with a number at MyOperator from the environment, beside that at Meta.
pub async fn server(database: &Database) -> (TestApp, HttpStandIn<MyOperator>, Uuid) {
    let provider = MyOperator.stand_in().await;
    let base = format!("http://127.0.0.1:{}", provider.port());
    let app = TestApp::spawn_with(
        database,
        &[
            ("MYOPERATOR_PHONE_NUMBER", "+12025550199"),
            ("MYOPERATOR_ACCOUNT_ID", "tested-company"),
            ("MYOPERATOR_API_KEY", "a-key-for-tests-0123456789"),
            ("MYOPERATOR_API_SECRET", "a-secret-of-the-callbacks"),
            ("MYOPERATOR_API_BASE", &base),
        ],
        "",
    )
    .await;
    app.apply_catalogue(crate::harness::DEMO).await;
    let ring = app.engine.keyring();
    let own = ring.accounts.iter().find(|it| it.kind == "myoperator");
    let own = own.unwrap().id;
    (app, provider, own)
}

/// Adds another number of the same kind, with these credentials besides its key.
async fn second(app: &TestApp, port: u16, more: &[Value]) -> Uuid {
    let key = json!({ "kind": "access_token", "value": "a-key-for-tests-9876543210" });
    let credentials: Vec<Value> = [key].into_iter().chain(more.iter().cloned()).collect();
    let body = json!({ "name": "second", "kind": "myoperator", "endpoint_id": "+12025550198",
        "settings": { "api_base": format!("http://127.0.0.1:{port}"), "company_id": "tested-company" },
        "credentials": credentials });
    let (code, made) = app.admin("POST", "/api/v1/senders", &body).await;
    assert_eq!(code, 201, "{made}");
    made["id"].as_str().unwrap().parse().unwrap()
}

async fn ask(app: &TestApp, sender: Uuid) -> String {
    let body = json!({ "to": "+12025550101", "text": "Hello", "sender": sender });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn report(app: &TestApp, message: &str, fact: &str) {
    MyOperator.report(app, message, None, fact).await;
    app.process().await;
}

async fn two_senders_that_share_a_secret_both_get_their_reports(database: Database) {
    let (app, provider, first) = server(&database).await;
    let second = second(&app, provider.port(), &[]).await;
    provider.plays(&[StandInFate::Taken("m-1"), StandInFate::Taken("m-2")]);
    let mut ids = Vec::new();
    for sender in [first, second] {
        ids.push(ask(&app, sender).await);
        assert_eq!(app.send_of(sender).await, 1);
    }
    for (id, message) in ids.iter().zip(["m-1", "m-2"]) {
        report(&app, message, "delivered").await;
        assert_eq!(app.status_of(id).await, "delivered");
    }
    let dead = "SELECT count(*) FROM dead_letter";
    assert_eq!(app.number(dead).await, 0);
}

async fn a_report_that_comes_before_its_answer_is_joined(database: Database) {
    let (app, provider, first) = server(&database).await;
    second(&app, provider.port(), &[]).await;
    report(&app, "m-1", "delivered").await;
    provider.plays(&[StandInFate::Taken("m-1")]);
    let id = ask(&app, first).await;
    assert_eq!(app.send_of(first).await, 1);
    assert_eq!(app.status_of(&id).await, "delivered");
}

async fn a_secret_of_one_sender_reports_nothing_of_another(database: Database) {
    let (app, provider, _) = server(&database).await;
    let own = json!({ "kind": "app_secret", "value": "another-secret-of-callbacks" });
    let second = second(&app, provider.port(), &[own]).await;
    provider.plays(&[StandInFate::Taken("m-2")]);
    let id = ask(&app, second).await;
    assert_eq!(app.send_of(second).await, 1);
    report(&app, "m-2", "delivered").await;
    assert_eq!(app.status_of(&id).await, "accepted");
}
