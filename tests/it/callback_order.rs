//! Order does not matter: any permutation, duplication and batching of the same
//! callbacks ends in the same state, and no trigger fires twice.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, status, value};

crate::tests![any_order_of_callbacks_ends_in_the_same_state];

/// Cases of each kind: with one attempt and with two.
const CASES: usize = 20;

/// What was told: attempt, status, second, failure code, with pricing.
type Told = (usize, &'static str, i64, Option<i64>, bool);

fn told() -> impl Strategy<Value = Vec<Told>> {
    let one = (
        0_usize..2,
        prop::sample::select(vec![
            "sent",
            "delivered",
            "read",
            "played",
            "failed",
            "warning",
        ]),
        0_i64..4,
        prop::sample::select(vec![131_026_i64, 131_000, 131_047]),
        any::<bool>(),
    );
    prop::collection::vec(one, 1..7).prop_map(|all| {
        all.into_iter()
            .map(|(attempt, name, second, code, priced)| {
                (
                    attempt,
                    name,
                    second,
                    (name == "failed").then_some(code),
                    priced,
                )
            })
            .collect()
    })
}

/// Makes an order with one attempt, or with two of which the first was refused.
async fn order(app: &TestApp, id: &str, attempts: usize) -> Vec<(String, Option<String>)> {
    if attempts == 2 {
        app.meta
            .will_answer(&[(500, r#"{"error":{"code":131016,"message":"passing"}}"#)]);
    }
    let notification = app.order(id, "+12025550101").await;
    app.send().await;
    if attempts == 2 {
        app.pass(30);
        app.send().await;
    }
    let found = app.notification(&notification).await;
    let made = found["attempts"].as_array().unwrap();
    assert_eq!(made.len(), attempts);
    let mut names = vec![(notification, None)];
    names.extend(
        made.iter()
            .map(|attempt| {
                let wamid = attempt["provider_message_id"].as_str().map(str::to_owned);
                let our_id = format!("{}.{}", attempt["id"].as_str().unwrap(), names[0].0);
                (our_id, wamid)
            })
            .collect::<Vec<_>>(),
    );
    names
}

fn callback(names: &[(String, Option<String>)], told: &Told, at: i64) -> Value {
    let (attempt, name, second, code, priced) = told;
    let (our_id, wamid) = &names[1 + attempt % (names.len() - 1)];
    let wamid = wamid
        .clone()
        .unwrap_or_else(|| format!("wamid.LATE{our_id}"));
    let mut status = status(&wamid, Some(our_id), name, at + second, *code);
    if *priced {
        status["pricing"] = json!({ "billable": true, "category": format!("category-{second}") });
    }
    status
}

/// The API body without what may differ: ids, times of our own, timeline order and follow-ups.
fn body(found: &Value) -> Value {
    let attempts: Vec<Value> = found["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| {
            json!([
                attempt["number"],
                attempt["outcome"],
                attempt["facts"],
                attempt["failure"],
                attempt["pricing"]
            ])
        })
        .collect();
    json!([
        found["status"],
        found["group"],
        found["generation"],
        found["failure"],
        found["reason"],
        found["due_at"],
        attempts
    ])
}

fn difference(before: &Value, after: &Value) -> Value {
    let number = |stats: &Value, key: &str| stats[key].as_i64().unwrap();
    let keys = [
        "total",
        "accepted",
        "sent",
        "delivered",
        "read",
        "played",
        "failed",
        "skipped",
    ];
    let mut changes: Vec<i64> = keys
        .iter()
        .map(|key| number(after, key) - number(before, key))
        .collect();
    for code in ["131026", "131000", "131047", "131016"] {
        changes.push(
            after["failures"][code].as_i64().unwrap_or(0)
                - before["failures"][code].as_i64().unwrap_or(0),
        );
    }
    json!(changes)
}

async fn any_order_of_callbacks_ends_in_the_same_state(database: Database) {
    let app = TestApp::spawn_with(
        &database,
        &[("HERALD_SETTLE_AFTER_FAILED_SECONDS", "60")],
        "",
    )
    .await;
    app.apply_catalogue(DEMO).await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    for case in 0..CASES * 2 {
        let attempts = 1 + case % 2;
        let all = told().new_tree(&mut runner).unwrap().current();
        // Both are made first, so that the same clock stands above both.
        let straight = order(&app, &format!("straight-{case}"), attempts).await;
        let crooked = order(&app, &format!("crooked-{case}"), attempts).await;
        let at = app.now().unix_seconds();
        // The straight way: one by one, in the order they were told.
        let before = app.stats().await;
        for told in &all {
            app.callback(json!({ "statuses": [callback(&straight, told, at)] }))
                .await;
        }
        let between = app.stats().await;
        // The crooked way: shuffled, repeated, split at random into bodies and batches.
        let mut order: Vec<Told> = all.iter().chain(&all).copied().collect();
        order = Just(order)
            .prop_shuffle()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let size = (1..=rest.len()).new_tree(&mut runner).unwrap().current();
            let (now, later) = rest.split_at(size);
            let statuses: Vec<Value> = now
                .iter()
                .map(|told| callback(&crooked, told, at))
                .collect();
            let bytes = value(json!({ "statuses": statuses, "case": case, "left": later.len() }))
                .to_string()
                .into_bytes();
            assert_eq!(app.callback_bytes(bytes).await, 200);
            if any::<bool>().new_tree(&mut runner).unwrap().current() {
                app.process().await;
            }
            rest = later;
        }
        app.process().await;
        let after = app.stats().await;
        let (one, other) = (
            app.notification(&straight[0].0).await,
            app.notification(&crooked[0].0).await,
        );
        assert_eq!(
            clean(body(&one)),
            clean(body(&other)),
            "case {case}: {all:?}\n{order:?}"
        );
        assert_eq!(
            difference(&before, &between),
            difference(&between, &after),
            "case {case}: {all:?}\n{order:?}"
        );
        // No trigger twice: one follow-up for each rule and trigger.
        let follow_ups = other["follow_ups"].as_array().unwrap();
        let mut seen: Vec<String> = follow_ups
            .iter()
            .map(|follow_up| format!("{} {}", follow_up["rule"], follow_up["on"]))
            .collect();
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count, "case {case}: {follow_ups:?}");
        // Whatever waits for a retry is not the business of the next case.
        app.sql("UPDATE notification SET due_at = NULL").await;
    }
}

/// Our own calls were answered at different times in the two orders.
fn clean(mut body: Value) -> Value {
    for attempt in body[6].as_array_mut().into_iter().flatten() {
        let outcome = attempt[1].clone();
        for (ours, fact) in [("accepted", "accepted"), ("refused", "failed")] {
            if outcome == ours && attempt[2][fact]["implied"] == false {
                attempt[2][fact]["at"] = json!("by the answer");
            }
        }
    }
    body
}
