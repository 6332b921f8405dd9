//! Meta's error codes, one by one: what Herald does, and what people are told.

use std::fmt::Write;

use herald::{
    domain::{failure::FailureClass, own_event::HeraldEventType},
    engine::delivery::sweeper,
    providers::meta::errors,
};
use serde_json::{Value, json};

use crate::{
    harness::{DEMO, Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    each_code_has_its_words,
    each_code_does_what_its_class_says,
    a_template_that_is_paused_by_code_holds_its_queue,
    a_template_that_is_disabled_by_code_fails_its_queue,
    marketing_of_a_number_reported_as_spam_is_held_for_a_day,
    marketing_held_back_by_the_provider_is_tried_once_more_after_a_day,
    a_throughput_error_slows_the_number_down_for_a_while,
    an_unknown_code_is_tried_a_bounded_number_of_times,
    a_token_that_expires_burns_nothing_and_says_so,
];

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

fn refusal(code: i64) -> String {
    json!({ "error": { "message": "(#1) no", "type": "OAuthException", "code": code, "fbtrace_id": "x" } })
        .to_string()
}

/// Everything a person reads about a code.
async fn each_code_has_its_words(database: Database) {
    if database != Database::Sqlite {
        return;
    }
    let mut text = String::new();
    for known in errors::CATALOGUE {
        writeln!(
            text,
            "{} {:?}\n  {}\n  {}\n  {}",
            known.code,
            known.class,
            known.meaning,
            known.class.action(),
            known.remedy
        )
        .unwrap();
    }
    insta::assert_snapshot!("meta_error_codes", text);
}

async fn each_code_does_what_its_class_says(database: Database) {
    let app = app(&database).await;
    for (index, known) in errors::CATALOGUE.iter().enumerate() {
        app.meta.will_answer(&[(400, &refusal(known.code))]);
        let phone = format!("+1202555{:04}", 100 + index);
        let id = app.order(&format!("A-{}", known.code), &phone).await;
        assert_eq!(app.send().await, 1, "{}", known.code);
        let told = app.notification(&id).await;
        let attempt = &told["attempts"][0]["failure"];
        assert_eq!(
            (&attempt["code"], &attempt["meaning"], &attempt["remedy"]),
            (
                &json!(known.code),
                &json!(known.meaning),
                &json!(known.remedy)
            )
        );
        assert_eq!(attempt["action"], json!(known.class.action()));
        let waits = match known.class {
            FailureClass::Retry
            | FailureClass::Spam
            | FailureClass::PaceNumber
            | FailureClass::PacePair
            | FailureClass::WaitUntil
            | FailureClass::TemplatePaused
            | FailureClass::Token
            | FailureClass::Account => true,
            FailureClass::MarketingLimit
            | FailureClass::NeedsTemplate
            | FailureClass::FixRequest
            | FailureClass::RecipientGone
            | FailureClass::AddressRejected
            | FailureClass::OptedOut
            | FailureClass::TemplateDisabled
            | FailureClass::TemplateTrouble => false,
            FailureClass::Unknown => panic!("{} stands in the table", known.code),
        };
        let expected = if waits { "retrying" } else { "failed" };
        assert_eq!(told["status"], expected, "{}: {told}", known.code);
        assert_eq!(told["waits_until"].is_string(), waits, "{}", known.code);
        let (_, senders) = app.get("/api/v1/senders").await;
        let held = matches!(known.class, FailureClass::Token | FailureClass::Account);
        let state = if held { "held" } else { "active" };
        assert_eq!(senders[0]["state"], state, "{}", known.code);
        // The next code finds everything as it was.
        app.sql("UPDATE notification SET due_at = NULL, wake_at = NULL, open_status = NULL")
            .await;
        app.sql("DELETE FROM template_sync").await;
        app.sql("DELETE FROM suppression").await;
        app.sql("UPDATE sender SET state = 'active', state_reason = NULL, probe_at = NULL, failures_in_row = 0, \
                 slowed_to = 1000, slowed_at = 0, marketing_held_until = NULL")
            .await;
    }
}

async fn a_template_that_is_paused_by_code_holds_its_queue(database: Database) {
    let app = app(&database).await;
    let first = app.order("A-1", "+12025550101").await;
    app.meta.will_answer(&[(400, &refusal(132_015))]);
    assert_eq!(app.send().await, 1);
    let second = app.order("A-2", "+12025550102").await;
    app.pass(3600);
    assert_eq!(app.send().await, 0, "nothing that uses it goes out");
    for id in [&first, &second] {
        let held = app.notification(id).await;
        assert_eq!(held["status"], "held");
        assert_eq!(
            held["reason"],
            "the template order_confirmation is paused (132015): it waits until it is approved"
        );
    }
    let approved = json!({ "event": "APPROVED", "message_template_id": 1, "message_template_name": "order_confirmation",
        "message_template_language": "en-US", "reason": null });
    crate::meta_callbacks::told(
        &app,
        "message_template_status_update",
        Some(app.now().unix_seconds()),
        approved,
    )
    .await;
    assert!(sweeper::release(&app.engine, app.now()).await.is_ok());
    assert_eq!(app.send().await, 2);
    assert_eq!(app.status_of(&first).await, "accepted");
}

async fn a_template_that_is_disabled_by_code_fails_its_queue(database: Database) {
    let app = app(&database).await;
    let first = app.order("A-1", "+12025550101").await;
    app.meta.will_answer(&[(400, &refusal(132_016))]);
    app.send().await;
    let second = app.order("A-2", "+12025550102").await;
    app.send().await;
    assert_eq!(app.meta.calls(), 1);
    assert_eq!(app.status_of(&first).await, "failed");
    let failed = app.notification(&second).await;
    assert_eq!(
        (&failed["status"], &failed["failure"]["class"]),
        (&json!("failed"), &json!("template_trouble"))
    );
}

async fn market(app: &TestApp, phone: &str) -> String {
    let body = json!({ "to": phone, "template": "jaspers_market_plain_text_v1" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn marketing_of_a_number_reported_as_spam_is_held_for_a_day(database: Database) {
    let app = app(&database).await;
    market(&app, "+12025550101").await;
    app.meta.will_answer(&[(400, &refusal(131_048))]);
    assert_eq!(app.send().await, 1);
    let advert = market(&app, "+12025550102").await;
    let order = app.order("A-1", "+12025550103").await;
    app.pass(3600);
    assert_eq!(app.send().await, 1, "the order goes out");
    assert_eq!(app.status_of(&order).await, "accepted");
    let waits = app.notification(&advert).await;
    assert_eq!(waits["status"], "queued");
    let reason = waits["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("marketing of this number is held: recipients have reported it as spam"),
        "{reason}"
    );
    assert_eq!(waits["waits_until"], "2026-01-02T00:00:00.000000Z");
}

async fn marketing_held_back_by_the_provider_is_tried_once_more_after_a_day(database: Database) {
    let app = app(&database).await;
    for by_callback in [false, true] {
        let advert = market(&app, "+12025550101").await;
        let refuse = async || {
            if by_callback {
                app.send().await;
                app.told(&advert, "failed", Some(131_049)).await;
            } else {
                app.meta.will_answer(&[(400, &refusal(131_049))]);
                app.send().await;
            }
        };
        refuse().await;
        let before = app.meta.calls();
        assert_eq!(app.status_of(&advert).await, "retrying");
        app.pass(23 * 3600);
        app.watch().await;
        assert_eq!(app.send().await, 0, "not within a day");
        app.pass(3600);
        app.watch().await;
        refuse().await;
        assert_eq!(app.meta.calls(), before + 1);
        assert_eq!(app.status_of(&advert).await, "failed", "once is enough");
    }
    // What was given less than a day has no tomorrow.
    let body = json!({ "to": "+12025550102", "template": "jaspers_market_plain_text_v1", "expires_in_seconds": 3600 });
    let (_, answer) = app.post("/api/v1/notifications", &body).await;
    app.meta.will_answer(&[(400, &refusal(131_049))]);
    app.send().await;
    let id = answer["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(app.status_of(id).await, "failed");
}

async fn a_throughput_error_slows_the_number_down_for_a_while(database: Database) {
    let app = TestApp::spawn_with(
        &database,
        &[
            ("HERALD_SEND_PER_SECOND", "80"),
            ("HERALD_PAIR_SECONDS", "0"),
        ],
        "",
    )
    .await;
    app.apply_catalogue(DEMO).await;
    for number in 0..100 {
        app.order(&format!("A-{number}"), "+12025550101").await;
    }
    app.meta.will_answer(&[(400, &refusal(130_429))]);
    assert_eq!(app.send().await, 19);
    app.pass(1);
    // Half the pace.
    assert_eq!(app.send().await, 8);
    app.pass(60);
    assert_eq!(app.send().await, 19);
    let (_, senders) = app.get("/api/v1/senders").await;
    assert_eq!(senders[0]["state"], "active", "it is slowed down, not held");
}

async fn an_unknown_code_is_tried_a_bounded_number_of_times(database: Database) {
    let app = app(&database).await;
    let passing = json!({ "error": { "code": 424_242, "message": "?", "is_transient": true } });
    let id = app.order("A-1", "+12025550101").await;
    for _ in 0..10 {
        app.meta.will_answer(&[(500, &passing.to_string())]);
        app.send().await;
        app.pass(1000);
    }
    assert_eq!(app.meta.calls(), 3);
    assert_eq!(app.status_of(&id).await, "failed");
    let body = json!({ "error": { "code": 424_243, "message": "?" } });
    let id = app.order("A-2", "+12025550101").await;
    app.meta.forget_answers();
    app.meta.will_answer(&[(400, &body.to_string())]);
    app.send().await;
    assert_eq!(app.status_of(&id).await, "failed");
}

async fn a_token_that_expires_burns_nothing_and_says_so(database: Database) {
    let app = app(&database).await;
    let catalogue = "name = \"alarm\"\n[[contact]]\nname = \"Admin\"\nphone = \"+12025550190\"\n\
        [[template]]\nname = \"alarm\"\ncategory = \"utility\"\nbody = \"Attention: {{ what }} now\"\n\
        [[route]]\nname = \"held\"\nevent = \"herald.sender.held\"\nto = \"contact:Admin\"\n\
        template = \"alarm\"\nparams = { what = \"{{ data.summary }}\" }\n";
    app.apply_catalogue(catalogue).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(
            app.order(&format!("A-{number}"), &format!("+120255501{number:02}"))
                .await,
        );
    }
    let expired =
        json!({ "error": { "code": 190, "error_subcode": 463, "message": "Session has expired" } });
    let answers: Vec<(u16, String)> = vec![(401, expired.to_string()); 5];
    for (status, body) in &answers {
        app.meta.will_answer(&[(*status, body)]);
    }
    app.send().await;
    app.follow_up().await;
    assert_eq!(app.meta.calls(), 5);
    let (_, senders) = app.get("/api/v1/senders").await;
    assert_eq!(senders[0]["state"], "held");
    assert_eq!(
        senders[0]["reason"],
        "Token expired: the access token's time is over. (code 190)"
    );
    // The alarm is an event of its own, once; its message waits like any other.
    let events = app
        .number("SELECT count(*) FROM event WHERE event_type = 'herald.sender.held'")
        .await;
    assert_eq!(events, 1);
    let (_, page) = app.get("/api/v1/notifications?template=alarm").await;
    let text: &Value = &page["notifications"][0]["id"];
    let alarm = app.notification(text.as_str().unwrap()).await;
    assert!(
        alarm["text"].as_str().unwrap().contains("Token expired"),
        "{alarm}"
    );
    // One call a minute looks whether it works again; nothing is used up.
    app.meta.will_answer(&[(401, &expired.to_string())]);
    app.pass(61);
    app.send().await;
    assert_eq!(app.meta.calls(), 6);
    // A new token: the probe gets through, and the queue drains by itself.
    for _ in 0..20 {
        app.pass(120);
        app.send().await;
    }
    for id in &ids {
        assert_eq!(app.status_of(id).await, "accepted");
    }
    assert_eq!(app.meta.calls(), 6 + 5 + 1);
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE event_type = 'herald.sender.released'")
            .await,
        1
    );
    are_like_their_examples(&app, HeraldEventType::SenderHeld).await;
}
