//! Numbers: from counters, equal to what history says.

use std::collections::BTreeMap;

use entity::{cohort, counter, notification};
use herald::{
    domain::{facts::DeliveryFact, latency, time::Timestamp},
    store::notification::NotificationRecord,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{DEMO, Database, TestApp, status, value, without_ids},
};

crate::tests![
    statistics_come_from_counters,
    counters_equal_a_recount_of_a_day_with_everything_in_it,
    a_time_is_told_by_steps_in_a_zone,
    one_request_tells_the_last_day_and_who_failed_why,
    a_question_with_everything_wrong_names_it_all,
    the_command_line_tells_the_same,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn statistics_come_from_counters(database: Database) {
    let app = ready(&database).await;
    let ids = [
        app.order("A-1", "+12025550101").await,
        app.order("A-2", "+12025550102").await,
    ];
    app.order("A-3", "+12025550103").await;
    app.sql("UPDATE notification SET due_at = NULL WHERE reference = 'A-3'")
        .await;
    app.send().await;
    app.told(&ids[0], "read", None).await;
    app.told(&ids[1], "failed", Some(131_026)).await;
    insta::assert_json_snapshot!("statistics", without_ids(app.stats().await));
    app.pass(3 * 3600);
    let (_, later) = app.get("/api/v1/stats?hours=1").await;
    assert_eq!(
        (&later["total"], &later["pending_now"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(app.get("/api/v1/stats?hours=0").await.0, 422);
}

/// A class of what is counted, without sender and slot.
type Counted = BTreeMap<(i64, i64, String, String, String, String), i64>;

const GRAINS: [i64; 5] = [900, 1_800, 3_600, 86_400, 604_800];

async fn counted(app: &TestApp) -> Counted {
    let mut counted = Counted::new();
    let rows = counter::Entity::find()
        .all(app.store.reader())
        .await
        .unwrap();
    for row in rows {
        let key = (
            row.grain,
            row.bucket,
            row.template,
            row.event_type,
            row.fact,
            row.code,
        );
        *counted.entry(key).or_default() += row.count;
    }
    let rows = cohort::Entity::find()
        .all(app.store.reader())
        .await
        .unwrap();
    for row in rows {
        let facts = [
            ("created", row.created),
            ("accepted", row.accepted),
            ("sent", row.sent),
            ("delivered", row.delivered),
            ("read", row.read),
            ("played", row.played),
            ("replied", row.replied),
            ("out", row.out),
            ("skipped", row.skipped),
            ("cancelled", row.cancelled),
            ("stale", row.stale),
            ("failed", row.failed),
        ];
        for (fact, count) in facts {
            let key = (
                row.grain,
                row.bucket,
                row.template.clone(),
                row.event_type.clone(),
                fact.to_owned(),
                String::new(),
            );
            *counted.entry(key).or_default() += count;
        }
    }
    counted.retain(|_, count| *count != 0);
    counted
}

/// The same out of notifications and attempts, by rules written down a second time.
async fn recounted(app: &TestApp) -> Counted {
    let mut recounted = Counted::new();
    for row in notification::Entity::find()
        .all(app.store.reader())
        .await
        .unwrap()
    {
        let own = NotificationRecord::of(&row).unwrap().attempts;
        let mut facts: Vec<(String, String)> = vec![("created".to_owned(), String::new())];
        for (name, fact) in [
            ("accepted", DeliveryFact::Accepted),
            ("sent", DeliveryFact::Sent),
            ("delivered", DeliveryFact::Delivered),
            ("read", DeliveryFact::Read),
            ("played", DeliveryFact::Played),
        ] {
            if own.iter().any(|attempt| attempt.facts.has(fact)) {
                facts.push((name.to_owned(), String::new()));
            }
        }
        let shown = app.notification(&row.id.to_string()).await;
        match shown["group"].as_str().unwrap() {
            "sent" => facts.push(("out".to_owned(), String::new())),
            "failed" => {
                let code = &shown["failure"]["code"];
                let code = match code {
                    Value::Null => shown["failure"]["title"]
                        .as_str()
                        .unwrap_or_else(|| shown["status"].as_str().unwrap())
                        .to_owned(),
                    code => code.to_string(),
                };
                facts.push(("failed".to_owned(), code));
            }
            "not_sent" => facts.push((shown["status"].as_str().unwrap().to_owned(), String::new())),
            _ => {}
        }
        if row.replied {
            facts.push(("replied".to_owned(), String::new()));
        }
        let lines = shown["timeline"].as_array().unwrap();
        if shown["status"] == "accepted" && lines.iter().any(|line| line["kind"] == "stale") {
            facts.push(("stale".to_owned(), String::new()));
        }
        for pricing in own.iter().filter_map(|attempt| attempt.pricing.as_ref()) {
            let word = |key: &str| {
                let word = pricing.value[key].as_str();
                word.unwrap_or("unknown").to_owned()
            };
            facts.push((
                "priced".to_owned(),
                format!("{}/{}/US", word("category"), word("type")),
            ));
        }
        for (name, from, to) in [
            ("took_sent", DeliveryFact::Accepted, DeliveryFact::Sent),
            (
                "took_delivered",
                DeliveryFact::Sent,
                DeliveryFact::Delivered,
            ),
            ("took_read", DeliveryFact::Delivered, DeliveryFact::Read),
        ] {
            let took = own.iter().find_map(|attempt| {
                let reported = |fact| attempt.facts.get(fact).filter(|known| !known.implied);
                Some(reported(to)?.at.micros_since(reported(from)?.at))
            });
            if let Some(took) = took {
                facts.push((name.to_owned(), latency::code(latency::class_of(took))));
            }
        }
        let event_type = row.event_type.clone().unwrap_or_default();
        for (fact, code) in facts {
            let timed = fact.starts_with("took_");
            for grain in GRAINS {
                let coarse = [1_800, 3_600].contains(&grain);
                let bucket = row.created_at - row.created_at.rem_euclid(grain * 1_000_000);
                let or_none = |text: &str, none: bool| {
                    if none { String::new() } else { text.to_owned() }
                };
                let mut count = |code: &str| {
                    let key = (
                        grain,
                        bucket,
                        or_none(&row.template, coarse || timed),
                        or_none(&event_type, coarse || timed),
                        fact.clone(),
                        code.to_owned(),
                    );
                    *recounted.entry(key).or_default() += 1;
                };
                if code.is_empty() || fact == "failed" {
                    count("");
                }
                if !code.is_empty() && !coarse {
                    count(&code);
                }
            }
        }
    }
    recounted
}

/// Statuses of the newest attempt, each as often as it says and in any order.
fn told() -> impl Strategy<Value = Vec<(&'static str, i64, usize, bool)>> {
    let one = (
        prop::sample::select(vec!["sent", "delivered", "read", "played", "failed"]),
        0_i64..400,
        1_usize..3,
        any::<bool>(),
    );
    prop::collection::vec(one, 0..5)
}

async fn counters_equal_a_recount_of_a_day_with_everything_in_it(database: Database) {
    let app = ready(&database).await;
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for number in 0..40 {
        let (refused, pause, kind) = (any::<bool>(), 0_i64..4_000, 0..6)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let phone = format!("+1202555{:04}", 100 + number % 9);
        let id = if kind < 4 {
            app.order(&format!("A-{number}"), &phone).await
        } else {
            let body = json!({ "to": phone, "template": "jaspers_market_plain_text_v1" });
            let (code, answer) = app.post("/api/v1/notifications", &body).await;
            assert_eq!(code, 202, "{answer}");
            answer["notifications"][0]["id"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        if kind == 0 {
            app.post(&format!("/api/v1/notifications/{id}/cancel"), &json!({}))
                .await;
        }
        if refused && kind == 1 {
            app.meta.will_answer(&[(
                400,
                r#"{"error":{"code":131026,"message":"Undeliverable"}}"#,
            )]);
        }
        app.send().await;
        app.meta.forget_answers();
        let found = app.notification(&id).await;
        let attempt = found["attempts"].as_array().unwrap().last().cloned();
        if let Some(attempt) = attempt
            && let Some(wamid) = attempt["provider_message_id"].as_str()
        {
            let all = told().new_tree(&mut runner).unwrap().current();
            for (name, second, times, priced) in all {
                let at = app.now().unix_seconds() + second;
                let our_id = format!("{}.{id}", attempt["id"].as_str().unwrap());
                let code = (name == "failed").then_some(131_026);
                let mut one = status(wamid, Some(&our_id), name, at, code);
                if priced {
                    one["pricing"] =
                        json!({ "billable": true, "category": "utility", "type": "regular" });
                }
                for copy in 0..times {
                    let body = json!({ "statuses": [one], "copy": copy });
                    bodies.push(value(body).to_string().into_bytes());
                }
            }
        }
        if kind == 5 {
            app.post(&format!("/api/v1/notifications/{id}/retry"), &json!({}))
                .await;
        }
        app.pass(pause);
    }
    let mut bodies = Just(bodies)
        .prop_shuffle()
        .new_tree(&mut runner)
        .unwrap()
        .current();
    // A part of them comes again, later.
    bodies.extend(bodies.clone().into_iter().step_by(3));
    for (number, body) in bodies.into_iter().enumerate() {
        assert_eq!(app.callback_bytes(body).await, 200);
        if number % 7 == 0 {
            app.process().await;
            app.pass(200);
            app.settle().await;
        }
    }
    app.process().await;
    app.pass(90_000);
    app.settle().await;
    let (counted, recounted) = (counted(&app).await, recounted(&app).await);
    assert_eq!(counted, recounted);
    let facts: std::collections::BTreeSet<&str> =
        counted.keys().map(|key| key.4.as_str()).collect();
    for fact in [
        "out",
        "failed",
        "cancelled",
        "priced",
        "took_read",
        "played",
    ] {
        assert!(facts.contains(fact), "the day has no {fact}: {facts:?}");
    }
}

async fn a_time_is_told_by_steps_in_a_zone(database: Database) {
    let app = ready(&database).await;
    // From 04:00 UTC on, every four hours for a day: India's day is 5:30 ahead.
    let start = Timestamp::parse_rfc3339("2026-01-02T04:00:00Z").unwrap();
    app.pass((start.micros_since(app.now())) / 1_000_000);
    for number in 0..6 {
        app.order(&format!("A-{number}"), "+12025550101").await;
        app.pass(4 * 3_600);
    }
    let question = "since=2026-01-02T00:00:00Z&until=2026-01-04T00:00:00Z";
    let created = async |more: &str| -> Vec<(String, i64)> {
        let (code, answer) = app.get(&format!("/api/v1/stats?{question}&{more}")).await;
        assert_eq!(code, 200, "{answer}");
        let points = answer["series"].as_array().unwrap();
        points
            .iter()
            .map(|point| {
                let start = point["start"].as_str().unwrap()[..16].to_owned();
                (start, point["counts"]["created"].as_i64().unwrap())
            })
            .collect()
    };
    let days = |found: &[(&str, i64)]| -> Vec<(String, i64)> {
        found
            .iter()
            .map(|(at, count)| ((*at).to_owned(), *count))
            .collect()
    };
    assert_eq!(
        created("step=day").await,
        days(&[("2026-01-02T00:00", 5), ("2026-01-03T00:00", 1)])
    );
    assert_eq!(
        created("step=day&zone=Asia/Kolkata").await,
        days(&[
            ("2026-01-01T18:30", 4),
            ("2026-01-02T18:30", 2),
            ("2026-01-03T18:30", 0)
        ])
    );
    // A template is told by quarters, and is the same.
    assert_eq!(
        created("step=day&zone=Asia/Kolkata&template=order_confirmation").await,
        created("step=day&zone=Asia/Kolkata&event_type=demo.order.created").await,
    );
    // Half an hour to either side of India's midnight: both lie in one hour of UTC, and the
    // time ends within a counted hour and a counted day.
    let midnight = Timestamp::parse_rfc3339("2026-01-04T18:15:00Z").unwrap();
    app.pass(midnight.micros_since(app.now()) / 1_000_000);
    for number in 6..9 {
        app.order(&format!("A-{number}"), "+12025550101").await;
        app.pass(15 * 60);
    }
    let (_, answer) = app
        .get("/api/v1/stats?since=2026-01-03T00:00:00Z&until=2026-01-04T18:45:00Z&step=day&zone=Asia/Kolkata")
        .await;
    let points = answer["series"].as_array().unwrap();
    let told: Vec<&Value> = points.iter().map(|it| &it["counts"]["created"]).collect();
    assert_eq!(told, [2, 1, 1]);
    assert_eq!(created("step=hour").await.len(), 48);
    assert_eq!(created("step=quarter").await.len(), 192);
    let sum: i64 = created("step=quarter")
        .await
        .iter()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(sum, 6);
    let other = created("step=day&template=another").await;
    assert_eq!(
        other,
        days(&[("2026-01-02T00:00", 0), ("2026-01-03T00:00", 0)])
    );
    let (_, answer) = app
        .get(&format!("/api/v1/stats?{question}&by=event_type"))
        .await;
    assert_eq!(answer["by_event_type"]["demo.order.created"]["created"], 6);
    assert!(answer["by_template"].is_null());
    let (_, answer) = app
        .get(&format!("/api/v1/stats?{question}&by=sender"))
        .await;
    assert_eq!(answer["by_sender"].as_object().unwrap().len(), 1);
}

async fn one_request_tells_the_last_day_and_who_failed_why(database: Database) {
    let app = ready(&database).await;
    let ids = [
        app.order("A-1", "+12025550101").await,
        app.order("A-2", "+12025550102").await,
        app.order("A-3", "+12025550103").await,
    ];
    app.send().await;
    app.pass(2);
    app.told(&ids[0], "sent", None).await;
    app.pass(60);
    app.told(&ids[0], "delivered", None).await;
    app.told(&ids[1], "failed", Some(131_026)).await;
    app.order("A-4", "+12025550104").await;
    let (_, day) = app.get("/api/v1/stats").await;
    assert_eq!(day["total"], 4);
    // The failure's alert goes to people of its own; it is no event's notification.
    assert_eq!(
        day["groups"],
        json!({ "pending": 1, "sent": 2, "failed": 1, "not_sent": 0 })
    );
    assert_eq!(day["rates"]["delivery"], 0.3333);
    assert_eq!(day["rates"]["failure"], 0.25);
    assert_eq!(day["latency"]["accepted_to_sent"]["count"], 1);
    let took = day["latency"]["sent_to_delivered"]["p50_ms"]
        .as_i64()
        .unwrap();
    assert!((30_000..=60_000).contains(&took), "{took}");
    let failed = &day["failed_newest"][0];
    assert_eq!(failed["id"], ids[1].as_str());
    assert_eq!(failed["address"], "+12025550102");
    assert_eq!(failed["code"], "131026");
    assert!(failed["reason"].as_str().unwrap().len() > 10, "{failed}");
    assert!(failed["remedy"].as_str().unwrap().len() > 10, "{failed}");
    // What waits has no sender: of one sender, all is what it has tried.
    let (_, of_sender) = app
        .get(&format!("/api/v1/stats?sender={}", app.sender))
        .await;
    assert_eq!(of_sender["total"], 3);
    assert_eq!(
        of_sender["groups"],
        json!({ "pending": 0, "sent": 2, "failed": 1, "not_sent": 0 })
    );
    assert_eq!(of_sender["rates"]["failure"], 0.3333);
    let (_, none) = app.get("/api/v1/stats?failed=0").await;
    assert_eq!(none["failed_newest"], json!([]));
    assert_eq!(day["callbacks"]["waiting"], 0);
    app.pass(120);
    let (_, later) = app.get("/api/v1/stats").await;
    assert_eq!(later["queue_age_seconds"], 120);
}

async fn a_question_with_everything_wrong_names_it_all(database: Database) {
    let app = ready(&database).await;
    let (code, wrong) = app
        .get("/api/v1/stats?hours=0&since=yesterday&until=x&by=colour&step=week&zone=Mars&failed=999&sender=nobody")
        .await;
    assert_eq!(code, 422, "{wrong}");
    let mut named: Vec<&str> = wrong["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "by", "failed", "hours", "sender", "since", "step", "until", "zone"
        ]
    );
    for question in [
        "hours=9600&step=hour",
        "hours=3&since=2026-01-02T00:00:00Z",
        "since=2020-01-01T00:00:00Z",
    ] {
        assert_eq!(
            app.get(&format!("/api/v1/stats?{question}")).await.0,
            422,
            "{question}"
        );
    }
}

async fn the_command_line_tells_the_same(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let folder = tempfile::tempdir().unwrap();
    let since = "2025-12-20T00:00:00Z";
    let until = "2026-01-20T00:00:00Z";
    let words = ["stats", "--since", since, "--until", until, "--step", "day"];
    let shown = text(&herald(&app.database_url, folder.path(), &words));
    assert!(
        shown.contains("1 notifications: 0 sent, 0 pending, 1 failed"),
        "{shown}"
    );
    assert!(shown.contains("131026"), "{shown}");
    assert!(shown.contains('█'), "{shown}");
    assert!(!shown.contains("2025550101"), "numbers are masked: {shown}");
    let open = text(&herald(
        &app.database_url,
        folder.path(),
        &[&words[..], &["--show"]].concat(),
    ));
    assert!(open.contains("+12025550101"), "{open}");
    let json = text(&herald(
        &app.database_url,
        folder.path(),
        &[&words[..], &["--json", "--show"]].concat(),
    ));
    let json: Value = serde_json::from_str(&json).unwrap();
    let (_, api) = app
        .get(&format!(
            "/api/v1/stats?since={since}&until={until}&step=day&failed=10"
        ))
        .await;
    for key in [
        "total",
        "groups",
        "failures",
        "series",
        "by_template",
        "failed_newest",
    ] {
        assert_eq!(json[key], api[key], "{key}");
    }
}
