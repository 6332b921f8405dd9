//! What every provider must hold, whichever it is: the documentation of the port by examples.
//!
//! A stand-in plays a provider over HTTP, and is as odd as asked for: it refuses, is out of reach,
//! takes the message and loses the answer, and reports twice and in any order. A provider is a
//! [`ProviderUnderTest`]; each test runs with each of them, on both databases.

mod meta;
mod myoperator;
mod stand_in;

use serde_json::{Value, json};
use uuid::Uuid;

use self::stand_in::{StandIn, StandInAnswer};
use crate::harness::{DEMO, Database, TestApp};

/// A provider, as the tests need it.
pub trait ProviderUnderTest {
    /// The word for it.
    fn kind(&self) -> &'static str;

    /// `POST /api/v1/senders` without its name.
    fn sender(&self, base: &str) -> Value;

    /// How it answers a message that it takes.
    fn accepts(&self, message_id: &str) -> (u16, Value);

    /// How it answers a message that it refuses for the message's sake.
    fn refuses(&self) -> (u16, Value);

    /// How it answers when its key is wrong.
    fn denies(&self) -> (u16, Value);

    /// How it answers a read that a client makes before or beside a message, such as a look-up.
    fn reads(&self, path: &str) -> Option<(u16, Value)>;

    /// A callback that says of a message that it has reached this state; `our_id` is what our request
    /// carried.
    fn reports(&self, message_id: &str, our_id: Option<&str>, state: &str) -> Value;

    /// Posts a callback as the provider does: with what proves it, or with something else.
    fn post(&self, app: &TestApp, body: &Value, is_proven: bool) -> reqwest::RequestBuilder;

    /// Where our id stands in a request.
    fn our_id(&self, request: &Value) -> Option<String>;

    /// Whether its callbacks bring our id back, so that an unknown outcome resolves by itself.
    fn returns_our_id(&self) -> bool;
}

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        /// Each test with each provider.
        pub fn tests() -> Vec<crate::harness::Test> {
            vec![$(
                crate::harness::Test {
                    name: concat!(module_path!(), "::meta::", stringify!($test)),
                    run: |database| Box::pin(async move { $test(&meta::Meta, database).await }),
                },
                crate::harness::Test {
                    name: concat!(module_path!(), "::myoperator::", stringify!($test)),
                    run: |database| Box::pin(async move { $test(&myoperator::MyOperator, database).await }),
                },
            )*]
        }
    };
}

conformance![
    a_message_is_accepted_once_and_its_reports_come_in_any_order,
    what_is_refused_fails_with_its_reason_and_is_not_repeated,
    what_did_not_reach_the_provider_is_sent_later_and_once,
    a_lost_answer_is_never_repeated_by_itself,
    a_wrong_key_holds_the_sender_and_loses_nothing,
    what_proves_nothing_changes_nothing,
    a_code_is_stored_nowhere,
];

/// A server with one sender of a provider, and the provider's stand-in.
struct Stage {
    app: TestApp,
    sender: Uuid,
    provider: StandIn,
}

async fn stage(under_test: &impl ProviderUnderTest, database: Database) -> Stage {
    let provider = StandIn::start().await;
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let mut sender = under_test.sender(&provider.base);
    sender["name"] = json!("tested");
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    let sender = made["id"].as_str().unwrap().parse().unwrap();
    Stage {
        app,
        sender,
        provider,
    }
}

impl Stage {
    async fn ask(&self, body: Value) -> String {
        let mut body = body;
        body["sender"] = json!("tested");
        let (code, answer) = self.app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = &answer["notifications"][0]["id"];
        id.as_str().unwrap().to_owned()
    }

    async fn order(&self) -> String {
        self.ask(
            json!({ "to": "+12025550101", "template": "order_confirmation",
            "params": { "customer_name": "Asha", "order_number": "A-17" } }),
        )
        .await
    }

    /// Answers reads as the provider does, and messages as said, one after another.
    fn plays(&self, under_test: &(impl ProviderUnderTest + Sync), answers: &[StandInAnswer]) {
        self.provider.plays(answers, |path| under_test.reads(path));
    }

    async fn send(&self) -> usize {
        self.app.send_of(self.sender).await
    }

    async fn status(&self, id: &str) -> String {
        self.app.status_of(id).await
    }
}

async fn a_message_is_accepted_once_and_its_reports_come_in_any_order(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    let id = stage.order().await;
    stage.plays(provider, &[provider.accepts("m-1").into()]);
    assert_eq!(stage.send().await, 1);
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.send().await, 0, "once");
    let our_id = provider.our_id(&stage.provider.messages()[0]);
    let returned = our_id.as_deref().filter(|_| provider.returns_our_id());
    // The newest first, each twice: facts only accumulate.
    for state in ["read", "delivered", "sent", "sent", "delivered", "read"] {
        let body = provider.reports("m-1", returned, state);
        let answer = provider.post(&stage.app, &body, true).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{body}");
        stage.app.process().await;
    }
    let shown = stage.app.notification(&id).await;
    assert_eq!(shown["status"], "read", "{shown}");
    let facts = &shown["attempts"][0]["facts"];
    for fact in ["accepted", "sent", "delivered", "read"] {
        assert!(facts[fact].is_object(), "{fact} of {facts}");
    }
    let stats = stage.app.stats().await;
    assert_eq!(
        (&stats["accepted"], &stats["delivered"], &stats["read"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(stage.provider.messages().len(), 1);
}

async fn what_is_refused_fails_with_its_reason_and_is_not_repeated(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    let id = stage.order().await;
    stage.plays(provider, &[provider.refuses().into()]);
    stage.send().await;
    for _ in 0..5 {
        stage.app.pass(3600);
        stage.app.watch().await;
        stage.send().await;
    }
    let shown = stage.app.notification(&id).await;
    assert_eq!(shown["status"], "failed", "{shown}");
    for part in ["meaning", "remedy", "title"] {
        assert!(shown["failure"][part].is_string(), "{part}: {shown}");
    }
    assert_eq!(stage.provider.messages().len(), 1);
}

async fn what_did_not_reach_the_provider_is_sent_later_and_once(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    stage.plays(provider, &[provider.accepts("m-1").into()]);
    stage.provider.stop().await;
    let id = stage.order().await;
    assert_eq!(stage.send().await, 1);
    assert!(["retrying", "held", "queued"].contains(&&*stage.status(&id).await));
    stage.provider.restart().await;
    for _ in 0..10 {
        stage.app.pass(60);
        stage.app.watch().await;
        stage.send().await;
    }
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.provider.messages().len(), 1);
}

async fn a_lost_answer_is_never_repeated_by_itself(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    let id = stage.order().await;
    stage.plays(provider, &[StandInAnswer::Lost]);
    stage.send().await;
    assert_eq!(stage.status(&id).await, "unknown");
    for _ in 0..5 {
        stage.app.pass(60);
        stage.app.watch().await;
        assert_eq!(stage.send().await, 0);
    }
    let our_id = provider.our_id(&stage.provider.messages()[0]);
    if provider.returns_our_id() {
        // A report with our id tells what became of it.
        let body = provider.reports("m-1", our_id.as_deref(), "delivered");
        let answer = provider.post(&stage.app, &body, true).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        stage.app.process().await;
        assert_eq!(stage.status(&id).await, "delivered");
    } else {
        // A report by the provider's id alone cannot be joined: the outcome is decided in time.
        let body = provider.reports("m-1", None, "delivered");
        let answer = provider.post(&stage.app, &body, true).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        stage.app.process().await;
        assert_eq!(stage.status(&id).await, "unknown");
        stage.app.pass(24 * 60 * 60);
        stage.app.settle().await;
        stage.send().await;
        assert_eq!(stage.status(&id).await, "gave_up");
    }
    assert_eq!(stage.provider.messages().len(), 1, "nothing was sent again");
}

async fn a_wrong_key_holds_the_sender_and_loses_nothing(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    let first = stage.order().await;
    let (accepted, again) = (provider.accepts("m-1"), provider.accepts("m-2"));
    stage.plays(
        provider,
        &[provider.denies().into(), accepted.into(), again.into()],
    );
    assert_eq!(stage.send().await, 1);
    let (_, sender) = stage
        .app
        .admin("GET", "/api/v1/senders/tested", &Value::Null)
        .await;
    assert_eq!(sender["state"], "held", "{sender}");
    let ids = [first, stage.order().await];
    assert_eq!(stage.send().await, 0);
    // A probe a minute finds out when it is right again.
    for _ in 0..10 {
        stage.app.pass(61);
        stage.app.watch().await;
        stage.send().await;
    }
    for id in ids {
        assert_eq!(stage.status(&id).await, "accepted");
    }
}

async fn what_proves_nothing_changes_nothing(
    provider: &(impl ProviderUnderTest + Sync),
    database: Database,
) {
    let stage = stage(provider, database).await;
    let id = stage.order().await;
    stage.plays(provider, &[provider.accepts("m-1").into()]);
    stage.send().await;
    let our_id = provider.our_id(&stage.provider.messages()[0]);
    let body = provider.reports("m-1", our_id.as_deref(), "delivered");
    let answer = provider
        .post(&stage.app, &body, false)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let bare = stage
        .app
        .http
        .post(format!("{}/webhooks/{}", stage.app.base, provider.kind()))
        .json(&body);
    assert_eq!(bare.send().await.unwrap().status(), 401);
    stage.app.process().await;
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.app.callbacks_stored().await, 0);
}

async fn a_code_is_stored_nowhere(provider: &(impl ProviderUnderTest + Sync), database: Database) {
    let stage = stage(provider, database).await;
    stage
        .app
        .apply_catalogue(include_str!("../../../deploy/catalogues/mobile-money.toml"))
        .await;
    let code = "739158";
    let id = stage
        .ask(json!({ "to": "+12025550101", "template": "otp_verification", "params": { "code": code } }))
        .await;
    stage.plays(provider, &[provider.accepts("m-1").into()]);
    stage.send().await;
    assert_eq!(stage.status(&id).await, "accepted");
    assert!(stage.provider.messages()[0].to_string().contains(code));
    let kept = "SELECT coalesce(request, '') || coalesce(answer, '') FROM attempt \
                UNION ALL SELECT params || coalesce(body, '') FROM notification";
    for text in stage.app.texts(kept).await {
        assert!(!text.contains(code), "{text}");
    }
    let shown = stage.app.notification(&id).await;
    assert!(!shown.to_string().contains(code), "{shown}");
}
