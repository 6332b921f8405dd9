//! The catalogues that come with Herald: every event of theirs, to the text that is read and
//! the request that leaves.

use herald::engine::catalogue::Catalogue;
use serde_json::{Value, json};

use crate::harness::{Database, TestApp, without_ids};

crate::tests![
    the_exam_results_catalogue_tells_educators_of_final_results,
    the_documented_calls_work_with_their_own_parameter_names,
    the_delivery_catalogue_has_a_message_for_everything,
    whoever_reads_hindi_gets_it_with_rupees_and_dates_as_they_are_written_there,
    the_mobile_money_catalogue_tells_each_side_of_a_transaction,
    catalogues_load_beside_each_other_and_twice,
];

const EXAM_RESULTS: &str = include_str!("../../deploy/catalogues/exam-results.toml");
const MOBILE_MONEY: &str = include_str!("../../deploy/catalogues/mobile-money.toml");
const SOLAR_CRM: &str = include_str!("../../deploy/catalogues/solar-crm.toml");
const DELIVERY: &str = include_str!("../../deploy/catalogues/delivery.toml");

async fn app(database: &Database, catalogue: &str) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(catalogue).await;
    app
}

fn parsed(catalogue: &str) -> Catalogue {
    let parsed = herald::engine::catalogue::parse(catalogue, &TestApp::catalogue_values());
    parsed.unwrap().catalogue
}

/// The event types that a catalogue has routes for.
fn events(catalogue: &str) -> Vec<String> {
    let routes = parsed(catalogue).route.into_iter();
    let mut events: Vec<String> = routes.map(|route| route.event).collect();
    events.sort();
    events.dedup();
    events
}

/// The one notification that an event makes.
async fn told(app: &TestApp, id: &str, kind: &str, data: Value) -> Value {
    let answer = app.event(id, kind, data).await;
    assert_eq!(answer["routes"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["routes"][0]["outcome"], "fired", "{answer}");
    let event = answer["event_id"].as_str().or(answer["id"].as_str());
    assert!(event.is_some(), "{answer}");
    let (_, list) = app.get("/api/v1/notifications?limit=1").await;
    let newest = list["notifications"][0]["id"].as_str().unwrap().to_owned();
    app.notification(&newest).await
}

fn result(status: &str, test: &str) -> Value {
    json!({
        "status": status, "class_id": "7b", "test_num": test, "test_name": "Algebra, unit 3",
        "dashboard_url": format!("https://results.example/7b/{test}"),
        "educator": { "name": "Asha", "phone": "+12025550101" },
    })
}

async fn the_exam_results_catalogue_tells_educators_of_final_results(database: Database) {
    const PROCESSED: &str = "exam-results.test.processed";
    const JOINED: &str = "exam-results.educator.joined";
    let app = app(&database, EXAM_RESULTS).await;
    assert_eq!(events(EXAM_RESULTS), [JOINED, PROCESSED]);
    let shown = told(&app, "r-1", PROCESSED, result("Successful", "3")).await;
    assert_eq!(
        shown["text"],
        "Hello Asha, the results of Algebra, unit 3 are ready: https://results.example/7b/3 shows them, class by class."
    );
    assert_eq!(shown["labels"], json!({"class_id": "7b", "test_num": "3"}));
    // Any other status: nobody hears, and the event says why.
    for status in ["Processing", "Failed", "Partially Successful"] {
        let answer = app.event(status, PROCESSED, result(status, "4")).await;
        assert_eq!(answer["routes"][0]["outcome"], "did_not_fire", "{answer}");
        let reason = answer["routes"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("data.status == 'Successful'"), "{reason}");
    }
    // The same class and test, by another event.
    let answer = app.event("r-2", PROCESSED, result("Successful", "3")).await;
    let duplicate = &answer["routes"][0]["duplicates"][0];
    assert_eq!(answer["routes"][0]["notifications"], 0, "{answer}");
    assert_eq!(duplicate["of"], shown["id"]);
    // An educator without a phone is skipped, and one with a wrong number, each with why.
    let mut nobody = result("Successful", "5");
    nobody["educator"] = json!({ "name": "Ravi" });
    let skipped = told(&app, "r-3", PROCESSED, nobody).await;
    assert_eq!(skipped["status"], "skipped");
    assert_eq!(skipped["reason"], "the recipient has no phone number");
    let mut wrong = result("Successful", "6");
    wrong["educator"]["phone"] = json!("202 555");
    let skipped = told(&app, "r-4", PROCESSED, wrong).await;
    assert_eq!(skipped["status"], "skipped");
    let welcome = told(
        &app,
        "j-1",
        JOINED,
        json!({"educator": {"name": "Asha", "phone": "+12025550101"}}),
    )
    .await;
    assert_eq!(welcome["template"], "jaspers_market_plain_text_v1");
    app.send().await;
    insta::assert_json_snapshot!("exam_results_requests", requests(&app));
    // What failed for good is not repeated by its event, and says how.
    app.told(shown["id"].as_str().unwrap(), "failed", Some(131_026))
        .await;
    app.pass(120);
    app.settle().await;
    let answer = app.event("r-5", PROCESSED, result("Successful", "3")).await;
    let hint = answer["routes"][0]["duplicates"][0]["hint"]
        .as_str()
        .unwrap();
    assert!(hint.ends_with("failed: retry it"), "{hint}");
}

async fn the_documented_calls_work_with_their_own_parameter_names(database: Database) {
    let app = app(&database, EXAM_RESULTS).await;
    for catalogue in [DELIVERY, MOBILE_MONEY, SOLAR_CRM] {
        app.apply_catalogue(catalogue).await;
    }
    for (template, params, text) in [
        (
            "delivery_reminder",
            json!({ "delivery_date": "2026-02-01", "customer_name": "Asha" }),
            "Hello Asha! Your EarlyBird delivery scheduled for February 1 brings your usual order. \
             Anything to change? Answer this message.",
        ),
        (
            "delivery_reminder",
            json!({ "delivery_date": "2026-02-01T06:30:00", "customer_name": null }),
            "Hello customer! Your EarlyBird delivery scheduled for February 1 brings your usual \
             order. Anything to change? Answer this message.",
        ),
        (
            "otp_verification",
            json!({ "code": "482913" }),
            "•••••• is your verification code.",
        ),
    ] {
        let body = json!({ "to": "+12025550101", "template": template, "params": params });
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let id = answer["notifications"][0]["id"].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text);
    }
    for (template, params) in [
        ("jaspers_market_plain_text_v1", json!({})),
        (
            "hanna_human_handover_flow",
            json!({ "related_contact_name": "Asha", "last_bot_message": "Which panel?" }),
        ),
    ] {
        let body = json!({ "to": "+12025550101", "template": template, "params": params });
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{template}: {answer}");
    }
}

async fn the_delivery_catalogue_has_a_message_for_everything(database: Database) {
    let app = app(&database, DELIVERY).await;
    let customer = json!({ "name": "Asha", "phone": "+12025550101" });
    let asked = [
        (
            "order.created",
            json!({"order_number": "A-1024", "amount": 125_000, "date": "2026-02-01"}),
        ),
        (
            "subscription.created",
            json!({"plan": "Milk, daily", "start": "2026-02-01"}),
        ),
        (
            "delivery.due",
            json!({"items": "two litres of milk", "date": "2026-02-01"}),
        ),
        (
            "delivery.dispatched",
            json!({"order_number": "A-1024", "driver": "Ravi"}),
        ),
        (
            "delivery.delayed",
            json!({"order_number": "A-1024", "date": "2026-02-02"}),
        ),
        ("delivery.delivered", json!({"order_number": "A-1024"})),
        (
            "payment.recorded",
            json!({"amount": "250.50", "reference": "P-77"}),
        ),
        (
            "payment.due",
            json!({"amount": 250, "currency": "USD", "date": "2026-02-01"}),
        ),
        (
            "subscription.paused",
            json!({"plan": "Milk, daily", "until": "2026-02-15"}),
        ),
        (
            "subscription.expiring",
            json!({"plan": "Milk, daily", "date": "2026-02-28"}),
        ),
    ];
    let mut posted: Vec<String> = asked
        .iter()
        .map(|(kind, _)| format!("delivery.{kind}"))
        .collect();
    posted.sort();
    assert_eq!(posted, events(DELIVERY), "every event is posted here");
    let mut texts = Vec::new();
    for (kind, mut data) in asked {
        data["customer"] = customer.clone();
        let shown = told(&app, kind, &format!("delivery.{kind}"), data.clone()).await;
        assert_eq!(shown["labels"]["message_type"], shown["template"]);
        texts.push(format!(
            "{}: {}",
            shown["template"].as_str().unwrap(),
            shown["text"].as_str().unwrap()
        ));
        // The same event again is the same answer; a customer without a number is skipped.
        let again = app
            .event(kind, &format!("delivery.{kind}"), data.clone())
            .await;
        assert_eq!(again["duplicate"], true, "{again}");
        data["customer"] = json!({ "name": "Max" });
        let id = format!("{kind}-nobody");
        let skipped = told(&app, &id, &format!("delivery.{kind}"), data).await;
        assert_eq!(skipped["status"], "skipped", "{skipped}");
    }
    insta::assert_json_snapshot!("delivery_texts", texts);
    app.send().await;
    insta::assert_json_snapshot!("delivery_requests", requests(&app));
}

/// Everything that left, by template.
fn requests(app: &TestApp) -> Vec<Value> {
    let mut all: Vec<Value> = (0..app.meta.calls())
        .map(|index| without_ids(app.meta.request(index)))
        .collect();
    all.sort_by_key(|request| request["template"].to_string());
    all
}

async fn whoever_reads_hindi_gets_it_with_rupees_and_dates_as_they_are_written_there(
    database: Database,
) {
    let app = app(&database, DELIVERY).await;
    let body = json!({ "phone": "+12025550102", "language": "hi_IN" });
    assert_eq!(app.post("/api/v1/contacts", &body).await.0, 201);
    let mut texts = Vec::new();
    for (number, event) in parsed(DELIVERY).event.into_iter().enumerate() {
        let mut data = json!(event.example.unwrap());
        data["customer"] = json!({ "name": "आशा", "phone": "+12025550102" });
        let shown = told(&app, &format!("h-{number}"), &event.r#type, data.clone()).await;
        assert_eq!(shown["language"], "hi", "{shown}");
        texts.push(shown["text"].clone());
        // Without a name they are greeted as a customer, in their language.
        data["customer"] = json!({ "phone": "+12025550102" });
        let id = format!("h-{number}-nameless");
        let shown = told(&app, &id, &event.r#type, data).await;
        let text = shown["text"].as_str().unwrap();
        assert!(text.starts_with("नमस्ते ग्राहक, "), "{text}");
        app.sql("UPDATE notification SET due_at = NULL, status = 'cancelled' WHERE due_at IS NOT NULL AND body LIKE '%ग्राहक%'").await;
    }
    insta::assert_json_snapshot!("delivery_texts_in_hindi", texts);
    app.send().await;
    insta::assert_json_snapshot!("delivery_requests_in_hindi", requests(&app));
}

async fn the_mobile_money_catalogue_tells_each_side_of_a_transaction(database: Database) {
    let app = app(&database, MOBILE_MONEY).await;
    let user = json!({ "name": "Asha", "phone": "+12025550101" });
    let completed = |kind: &str, side: &str, number: i64| {
        json!({
            "type": kind, "side": side, "amount": "1250.50", "reference": format!("T-{number}"),
            "counterparty": "Ravi",
        })
    };
    let asked = [
        (
            "transaction.completed",
            completed("transfer", "received", 1),
        ),
        ("transaction.completed", completed("transfer", "sent", 2)),
        ("transaction.completed", completed("deposit", "", 3)),
        ("transaction.completed", completed("withdrawal", "", 4)),
        (
            "transaction.completed",
            completed("merchant_payment", "received", 5),
        ),
        (
            "transaction.completed",
            completed("merchant_payment", "sent", 6),
        ),
        (
            "transaction.failed",
            json!({"amount": 20, "reason": "the balance is too low"}),
        ),
        (
            "deposit.failed",
            json!({"amount": 20, "currency": "ZAR", "reason": "the card was refused"}),
        ),
        (
            "withdrawal.failed",
            json!({"amount": 20, "reason": "the agent is closed"}),
        ),
        ("kyc.approved", json!({})),
        (
            "kyc.rejected",
            json!({"reason": "the picture is not readable"}),
        ),
        (
            "referral.bonus_credited",
            json!({"amount": 5, "friend": "Chipo"}),
        ),
        ("user.signed_up", json!({})),
    ];
    let mut posted: Vec<String> = asked
        .iter()
        .map(|(kind, _)| format!("mobile-money.{kind}"))
        .chain(["mobile-money.otp.requested".to_owned()])
        .collect();
    posted.sort();
    posted.dedup();
    assert_eq!(posted, events(MOBILE_MONEY), "every event is posted here");
    let mut texts = Vec::new();
    for (number, (kind, mut data)) in asked.into_iter().enumerate() {
        data["user"] = user.clone();
        let kind = format!("mobile-money.{kind}");
        let answer = app.event(&format!("m-{number}"), &kind, data.clone()).await;
        let routes = answer["routes"].as_array().unwrap();
        let fired: Vec<&Value> = routes
            .iter()
            .filter(|route| route["outcome"] == "fired")
            .collect();
        assert_eq!(fired.len(), 1, "{answer}");
        assert!(
            routes.iter().all(|route| route["outcome"] != "error"),
            "{answer}"
        );
        let (_, list) = app.get("/api/v1/notifications?limit=1").await;
        let shown = app
            .notification(list["notifications"][0]["id"].as_str().unwrap())
            .await;
        texts.push(format!(
            "{}: {}",
            shown["template"].as_str().unwrap(),
            shown["text"].as_str().unwrap()
        ));
        // The same event again is the first answer; who has no number is left out, with the reason.
        let same = app.event(&format!("m-{number}"), &kind, data.clone()).await;
        assert_eq!(same["duplicate"], true, "{same}");
        let mut nobody = data.clone();
        nobody["user"] = json!({ "name": "Max" });
        if nobody["reference"].is_string() {
            nobody["reference"] = json!(format!("N-{number}"));
        }
        let left_out = app
            .event(&format!("m-{number}-nobody"), &kind, nobody)
            .await;
        let skipped: i64 = left_out["routes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|route| route["skipped"].as_i64().unwrap())
            .sum();
        assert_eq!(skipped, 1, "{left_out}");
        // Another event of the same transaction tells nobody twice.
        if data["reference"].is_string() {
            let again = app.event(&format!("m-{number}-again"), &kind, data).await;
            let made: i64 = again["routes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|route| route["notifications"].as_i64().unwrap())
                .sum();
            assert_eq!(made, 0, "{again}");
        }
    }
    insta::assert_json_snapshot!("mobile_money_texts", texts);
    // A code is nowhere to be read, leaves first, and stands in the text and in the button.
    let code = json!({"user": user, "code": "482913"});
    let shown = told(&app, "otp-1", "mobile-money.otp.requested", code).await;
    assert_eq!(shown["text"], "•••••• is your verification code.");
    app.send().await;
    assert_eq!(app.meta.request(0)["template"]["name"], "otp_verification");
    insta::assert_json_snapshot!("mobile_money_requests", requests(&app));
}

async fn catalogues_load_beside_each_other_and_twice(database: Database) {
    let app = app(&database, EXAM_RESULTS).await;
    app.apply_catalogue(DELIVERY).await;
    app.apply_catalogue(MOBILE_MONEY).await;
    app.apply_catalogue(SOLAR_CRM).await;
    for catalogue in [EXAM_RESULTS, DELIVERY, MOBILE_MONEY, SOLAR_CRM] {
        let done = app.try_catalogue(catalogue).await.unwrap();
        assert!(done.steps.is_empty() && done.unchanged > 0, "{done:?}");
    }
}
