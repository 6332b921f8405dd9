//! However the clock goes, nothing is lost and nothing is sent twice.

use std::time::Duration;

use herald::{
    domain::{facts::DeliveryFact, time::Timestamp},
    engine::delivery,
    workers::watchdog::ClockWatchdog,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::json;

use crate::harness::{DEMO, Database, START, TestApp, status};

crate::tests![no_step_of_the_clock_loses_or_doubles_a_message];

const CASES: usize = 12;

/// What happens between two steps of the clock.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Order,
    Send,
    /// A call is begun, and its answer comes later.
    BeginCalls,
    EndCalls,
    /// A process dies over calls that it has not made yet.
    Crash,
    /// The next call is refused for a while.
    Refuse,
    Told,
    Idle,
}

/// A deed, where the clock stands then (seconds off the truth), and how long it takes.
type Step = (Deed, i64, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deed = prop::sample::select(vec![
        Deed::Order,
        Deed::Order,
        Deed::Send,
        Deed::Send,
        Deed::BeginCalls,
        Deed::EndCalls,
        Deed::Crash,
        Deed::Refuse,
        Deed::Told,
        Deed::Told,
        Deed::Idle,
    ]);
    let off = prop_oneof![Just(0_i64), -5 * 3600_i64..5 * 3600];
    prop::collection::vec((deed, off, 0_u64..40), 12..50)
}

/// A Herald whose clock is not always right.
struct World<'a> {
    app: &'a TestApp,
    watchdog: ClockWatchdog,
    /// Seconds since the beginning, in truth.
    passed: u64,
    off: i64,
    /// Calls that were begun, and when the first of them was.
    open: Vec<delivery::DeliveryClaimOutcome>,
    began: u64,
}

impl World<'_> {
    fn truth(&self) -> i64 {
        START + i64::try_from(self.passed).unwrap()
    }

    async fn go(&mut self, off: i64, seconds: u64) {
        // No call takes as long as a lease, in truth.
        if self.passed + seconds > self.began + 55 {
            self.end_calls().await;
        }
        self.app
            .pass(off - self.off + i64::try_from(seconds).unwrap());
        self.off = off;
        self.passed += seconds;
        assert_eq!(
            self.app.now(),
            Timestamp::from_unix_seconds(self.truth() + self.off)
        );
        let monotonic = Duration::from_secs(self.passed);
        self.watchdog
            .turn(&self.app.engine, self.app.now(), monotonic)
            .await
            .unwrap();
        self.app.process().await;
        self.app.follow_up().await;
    }

    async fn claim(&self) -> delivery::DeliveryClaimOutcome {
        let slots = delivery::ProviderCallSlots::each(3);
        delivery::claim(&self.app.engine, self.app.sender, slots, self.app.now())
            .await
            .unwrap()
    }

    async fn end_calls(&mut self) {
        for claim in std::mem::take(&mut self.open) {
            self.app.answer(claim).await;
        }
    }

    /// The provider tells of one message that it has taken.
    async fn tell(&self, name: &str) {
        let delivered: Vec<String> = self
            .app
            .attempts()
            .await
            .iter()
            .filter(|attempt| attempt.facts.has(DeliveryFact::Delivered))
            .map(|attempt| attempt.id.simple().to_string())
            .collect();
        let taken = "SELECT provider_message_id FROM attempt WHERE provider_message_id IS NOT NULL \
                     AND lower(replace(ID, '-', '')) NOT IN ('DELIVERED') ORDER BY provider_message_id LIMIT 1";
        let id = if self.app.store.is_sqlite() {
            "hex(id)"
        } else {
            "id::text"
        };
        let taken = taken
            .replace("ID", id)
            .replace("DELIVERED", &delivered.join("', '"));
        if let Some(wamid) = self.app.texts(&taken).await.first() {
            let told = status(wamid, None, name, self.truth(), None);
            self.app.callback(json!({ "statuses": [told] })).await;
        }
    }
}

async fn play(app: &TestApp, case: usize, steps: &[Step], passed: u64) -> u64 {
    let mut world = World {
        app,
        watchdog: ClockWatchdog::default(),
        passed,
        off: 0,
        open: Vec::new(),
        began: 0,
    };
    let mut ids = Vec::new();
    for (number, (deed, off, seconds)) in steps.iter().enumerate() {
        world.go(*off, *seconds).await;
        match deed {
            Deed::Order => {
                let phone = format!("+120255501{:02}", number % 4);
                ids.push(app.order(&format!("A-{case}-{number}"), &phone).await);
            }
            Deed::Send => drop(app.send().await),
            Deed::BeginCalls => {
                if world.open.is_empty() {
                    world.began = world.passed;
                }
                let claim = world.claim().await;
                world.open.push(claim);
            }
            Deed::EndCalls => world.end_calls().await,
            Deed::Crash => drop(world.claim().await),
            Deed::Refuse => app
                .meta
                .will_answer(&[(500, r#"{"error":{"code":131016,"message":"passing"}}"#)]),
            Deed::Told => world.tell("delivered").await,
            Deed::Idle => {}
        }
    }
    // In the end the clock is right, and stays so for half an hour.
    app.meta.forget_answers();
    world.go(0, 1).await;
    world.end_calls().await;
    for _ in 0..60 {
        world.go(0, 31).await;
        app.send().await;
    }
    for id in ids {
        let status = app.status_of(&id).await;
        assert!(
            ["accepted", "delivered"].contains(&status.as_str()),
            "case {case}: {id} is {status}: {steps:?}"
        );
    }
    world.passed
}

async fn no_step_of_the_clock_loses_or_doubles_a_message(database: Database) {
    let settings = [
        ("HERALD_UNKNOWN_POLICY", "resend"),
        ("HERALD_SEND_PER_SECOND", "20"),
        ("HERALD_PAIR_BURST", "3"),
        ("HERALD_SEND_TRIES", "10"),
    ];
    let app = TestApp::spawn_with(&database, &settings, "").await;
    app.apply_catalogue(DEMO).await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut passed = 0;
    for case in 0..CASES {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        passed = play(&app, case, &steps, passed).await;
        let twice = app
            .number(
                "SELECT count(*) FROM (SELECT notification_id FROM attempt WHERE outcome = 'accepted' \
                 GROUP BY notification_id HAVING count(*) > 1) AS twice",
            )
            .await;
        assert_eq!(twice, 0, "case {case}: {steps:?}");
        let made = app
            .number("SELECT count(*) FROM attempt WHERE outcome IN ('accepted', 'refused')")
            .await;
        assert_eq!(
            i64::try_from(app.meta.calls()).unwrap(),
            made,
            "case {case}: each call is an attempt that knows its answer: {steps:?}"
        );
    }
    let all = app.number("SELECT count(*) FROM notification").await;
    assert!(all > 40, "{all}");
}
