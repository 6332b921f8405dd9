//! What every provider must hold, whichever it is: the documentation of the port by examples.
//!
//! A stand-in plays a provider, and is as odd as asked for: it refuses, is out of reach, is slow,
//! takes the message and loses the answer, and reports before its answer, twice and in any order. A
//! provider is a [`ProviderUnderTest`]; each test runs with each of them, on both databases.

mod meta;
mod myoperator;
mod smtp;
mod stand_in;

use herald::providers::{ProviderRegistry, UnknownOutcomeResolution};
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::{
    myoperator::MyOperator,
    stand_in::{HttpStandIn, ProviderStandIn, StandInFate},
};
use crate::harness::{DEMO, Database, TestApp};

/// A provider, as the tests need it.
pub trait ProviderUnderTest {
    type StandIn: ProviderStandIn;

    /// The word for it.
    fn kind(&self) -> &'static str;

    async fn stand_in(&self) -> Self::StandIn;

    /// `POST /api/v1/senders` without its name, for a stand-in at this port.
    fn sender(&self, port: u16) -> Value;

    /// Whom messages go to.
    fn recipient(&self) -> &'static str {
        "+12025550101"
    }

    /// Where our id of the attempt stands in a message.
    fn our_id(&self, message: &str) -> Option<String>;

    /// What it reports of a message that it has taken, the last thing last.
    fn facts(&self) -> &'static [&'static str];

    /// Whether a report may come before the answer to the message.
    fn reports_before_its_answer(&self) -> bool {
        true
    }

    /// Reports this of a message, as the provider does.
    async fn report(&self, app: &TestApp, id: &str, our_id: Option<&str>, fact: &str);

    /// The same without what proves that it comes from the provider. It is refused.
    async fn report_without_proof(&self, app: &TestApp, id: &str, our_id: &str, fact: &str);
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
                crate::harness::Test {
                    name: concat!(module_path!(), "::smtp::", stringify!($test)),
                    run: |database| Box::pin(async move { $test(&smtp::Smtp, database).await }),
                },
            )*]
        }
    };
}

conformance![
    a_message_is_accepted_once_and_its_reports_come_in_any_order,
    what_is_refused_fails_with_its_reason_and_is_not_repeated,
    what_did_not_reach_the_provider_is_sent_later_and_once,
    a_slow_answer_is_waited_for_and_nothing_leaves_meanwhile,
    a_lost_answer_is_never_repeated_by_itself,
    a_call_whose_process_has_ended_is_never_repeated_by_itself,
    a_wrong_key_holds_the_sender_and_loses_nothing,
    what_proves_nothing_changes_nothing,
    a_code_is_stored_nowhere,
];

/// A server with one sender of a provider, and the provider's stand-in.
struct Stage<'a, P: ProviderUnderTest> {
    under_test: &'a P,
    app: TestApp,
    sender: Uuid,
    provider: P::StandIn,
}

async fn stage<P: ProviderUnderTest>(under_test: &P, database: Database) -> Stage<'_, P> {
    let provider = under_test.stand_in().await;
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let mut sender = under_test.sender(provider.port());
    sender["name"] = json!("tested");
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    let sender = made["id"].as_str().unwrap().parse().unwrap();
    Stage {
        under_test,
        app,
        sender,
        provider,
    }
}

impl<P: ProviderUnderTest> Stage<'_, P> {
    async fn ask(&self, template: &str, params: Value) -> String {
        let body = json!({ "to": self.under_test.recipient(), "template": template, "params": params,
            "sender": "tested" });
        let (code, answer) = self.app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = &answer["notifications"][0]["id"];
        id.as_str().unwrap().to_owned()
    }

    async fn order(&self) -> String {
        let params = json!({ "customer_name": "Asha", "order_number": "A-17" });
        self.ask("order_confirmation", params).await
    }

    async fn send(&self) -> usize {
        self.app.send_of(self.sender).await
    }

    async fn status(&self, id: &str) -> String {
        self.app.status_of(id).await
    }

    /// What our request called the attempt; only the provider's reports know.
    fn our_id(&self) -> String {
        let messages = self.provider.messages();
        self.under_test.our_id(&messages[0]).unwrap()
    }

    /// A report on the first message, applied.
    async fn report(&self, fact: &str) {
        let our_id = self.our_id();
        self.under_test
            .report(&self.app, "m-1", Some(&our_id), fact)
            .await;
        self.app.process().await;
    }

    fn last_fact(&self) -> &'static str {
        self.under_test.facts().last().unwrap()
    }
}

async fn a_message_is_accepted_once_and_its_reports_come_in_any_order(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::Taken("m-1")]);
    assert_eq!(stage.send().await, 1);
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.send().await, 0, "once");
    // The newest first, each twice: facts only accumulate.
    let facts = under_test.facts();
    for fact in facts.iter().rev().chain(facts) {
        stage.report(fact).await;
    }
    let shown = stage.app.notification(&id).await;
    assert_eq!(shown["status"], stage.last_fact(), "{shown}");
    let known = &shown["attempts"][0]["facts"];
    for fact in facts.iter().chain(&["accepted"]) {
        assert!(known[fact].is_object(), "{fact} of {known}");
    }
    let stats = stage.app.stats().await;
    for fact in facts.iter().chain(&["accepted"]) {
        assert_eq!(stats[fact], json!(1), "{fact} of {stats}");
    }
    stage.app.settle().await;
    assert_eq!(stage.provider.messages().len(), 1);
}

async fn what_is_refused_fails_with_its_reason_and_is_not_repeated(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::Refused]);
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
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    stage.provider.plays(&[StandInFate::Taken("m-1")]);
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

async fn a_slow_answer_is_waited_for_and_nothing_leaves_meanwhile(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::TakenSlowly("m-1")]);
    let meanwhile = async {
        stage.provider.until_slow().await;
        assert_eq!(stage.status(&id).await, "sending");
        stage.app.watch().await;
        assert_eq!(
            stage.send().await,
            0,
            "another process finds nothing to send"
        );
        if under_test.reports_before_its_answer() {
            stage.report(stage.last_fact()).await;
        }
        stage.provider.release();
    };
    let (sent, ()) = tokio::join!(stage.send(), meanwhile);
    assert_eq!(sent, 1);
    stage.app.process().await;
    let expected = if under_test.reports_before_its_answer() {
        stage.last_fact()
    } else {
        "accepted"
    };
    assert_eq!(stage.status(&id).await, expected);
    assert_eq!(stage.provider.messages().len(), 1);
}

async fn a_lost_answer_is_never_repeated_by_itself(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::Lost]);
    stage.send().await;
    stage.is_unknown_and_never_sent_again(&id).await;
}

async fn a_call_whose_process_has_ended_is_never_repeated_by_itself(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::TakenSlowly("m-1")]);
    tokio::select! {
        sent = stage.send() => panic!("{sent} were sent"),
        // Here the process ends: the message was taken, and nothing waits for the answer.
        () = stage.provider.until_slow() => {}
    }
    stage.provider.release();
    assert_eq!(stage.status(&id).await, "sending");
    // Its lease.
    stage.app.pass(61);
    stage.app.watch_once().await;
    stage.is_unknown_and_never_sent_again(&id).await;
}

impl<P: ProviderUnderTest> Stage<'_, P> {
    async fn is_unknown_and_never_sent_again(&self, id: &str) {
        assert_eq!(self.status(id).await, "unknown");
        assert_eq!(self.send().await, 0);
        let registry = ProviderRegistry::standard();
        let provider = registry.find(self.under_test.kind()).unwrap();
        match provider.unknown_outcome() {
            UnknownOutcomeResolution::ByOurId => {
                self.report(self.last_fact()).await;
                assert_eq!(self.status(id).await, self.last_fact());
            }
            // A report by the provider's id alone cannot be joined: it is waited for, and then
            // decided.
            UnknownOutcomeResolution::ByOurIdPerhaps => {
                self.report(self.last_fact()).await;
                assert_eq!(self.status(id).await, "unknown");
                self.app.pass(24 * 60 * 60);
                self.app.settle().await;
                assert_eq!(self.status(id).await, "gave_up");
            }
            UnknownOutcomeResolution::Never => {
                self.app.watch().await;
                assert_eq!(self.status(id).await, "gave_up");
            }
        }
        for _ in 0..5 {
            self.app.pass(3600);
            self.app.settle().await;
            assert_eq!(self.send().await, 0);
        }
        let count = self.provider.messages().len();
        assert_eq!(count, 1, "nothing was sent again");
    }
}

async fn a_wrong_key_holds_the_sender_and_loses_nothing(
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let first = stage.order().await;
    stage.provider.plays(&[
        StandInFate::Denied,
        StandInFate::Taken("m-1"),
        StandInFate::Taken("m-2"),
    ]);
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
    under_test: &impl ProviderUnderTest,
    database: Database,
) {
    let stage = stage(under_test, database).await;
    let id = stage.order().await;
    stage.provider.plays(&[StandInFate::Taken("m-1")]);
    stage.send().await;
    let our_id = stage.our_id();
    for fact in under_test.facts() {
        under_test
            .report_without_proof(&stage.app, "m-1", &our_id, fact)
            .await;
    }
    stage.app.process().await;
    assert_eq!(stage.status(&id).await, "accepted");
    assert_eq!(stage.app.callbacks_stored().await, 0);
}

async fn a_code_is_stored_nowhere(under_test: &impl ProviderUnderTest, database: Database) {
    let stage = stage(under_test, database).await;
    stage
        .app
        .apply_catalogue(include_str!("../../../deploy/catalogues/mobile-money.toml"))
        .await;
    let code = "739158";
    let id = stage.ask("otp_verification", json!({ "code": code })).await;
    stage.provider.plays(&[StandInFate::Taken("m-1")]);
    stage.send().await;
    assert_eq!(stage.status(&id).await, "accepted");
    assert!(stage.provider.messages()[0].contains(code));
    let kept = "SELECT coalesce(request, '') || coalesce(answer, '') FROM attempt \
                UNION ALL SELECT params || coalesce(body, '') FROM notification";
    for text in stage.app.texts(kept).await {
        assert!(!text.contains(code), "{text}");
    }
    let shown = stage.app.notification(&id).await;
    assert!(!shown.to_string().contains(code), "{shown}");
}
