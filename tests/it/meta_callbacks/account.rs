//! Everything that is not about a message: templates, numbers and the account.

use herald::domain::own_event::HeraldEventType;
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Value, json};

use super::{app, told};
use crate::{
    harness::{Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    a_paused_template_holds_its_queue_and_an_approved_one_releases_it,
    a_refused_template_fails_what_waits_and_refuses_what_is_asked_directly,
    templates_are_shown_with_quality_and_category,
    a_word_of_the_provider_that_is_not_known_is_other,
    template_news_in_any_order_end_the_same,
    a_restricted_account_holds_its_senders_and_a_reinstated_one_releases_them,
    properties_of_numbers_and_accounts_are_shown_newest_first_in_provider_time,
    what_matters_goes_through_the_user_s_own_routes,
    a_held_account_is_not_released_by_what_was_under_way,
    a_hold_that_came_before_its_number_is_known_holds_it,
    what_waits_for_a_template_fails_when_it_will_never_be_sent,
    several_things_of_one_kind_have_each_their_newest_value,
];

const AT: i64 = 1_767_225_600;

async fn first_order(app: &TestApp, name: &str) -> (String, String, String) {
    let id = app.order(name, "+12025550101").await;
    let found = app.notification(&id).await;
    let text = |key: &str| found[key].as_str().unwrap_or("en").to_owned();
    (id.clone(), text("template"), text("language"))
}

fn status(template: &str, language: &str, event: &str) -> Value {
    json!({ "event": event, "message_template_id": 1_689_556_908_129_832_i64, "message_template_name": template,
        "message_template_language": language.replace('_', "-"), "reason": null, "message_template_category": "UTILITY",
        "other_info": { "title": "FIRST_PAUSE", "description": "low quality" } })
}

async fn a_paused_template_holds_its_queue_and_an_approved_one_releases_it(database: Database) {
    let app = app(&database).await;
    let (id, template, language) = first_order(&app, "A-1").await;
    told(
        &app,
        "message_template_status_update",
        Some(AT),
        status(&template, &language, "PAUSED"),
    )
    .await;
    app.send().await;
    let held = app.notification(&id).await;
    assert_eq!(held["status"], "held");
    assert_eq!(
        held["reason"],
        format!("the template {template} is paused (low quality): it waits until it is approved")
    );
    assert_eq!(app.meta.calls(), 0);
    // Nothing releases it by the way.
    herald::engine::delivery::sweeper::release(&app.engine, app.now())
        .await
        .unwrap();
    app.send().await;
    assert_eq!(app.status_of(&id).await, "held");
    // An older word changes nothing.
    told(
        &app,
        "message_template_status_update",
        Some(AT - 5),
        status(&template, &language, "APPROVED"),
    )
    .await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "held");
    told(
        &app,
        "message_template_status_update",
        Some(AT + 5),
        status(&template, &language, "APPROVED"),
    )
    .await;
    app.send().await;
    let sent = app.notification(&id).await;
    assert_eq!(sent["status"], "accepted");
    assert_eq!(sent["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(
        sent["attempts"][0]["number"], 1,
        "waiting uses up no attempt"
    );
    // What waits too long expires, as always.
    let (id, ..) = first_order(&app, "A-2").await;
    told(
        &app,
        "message_template_status_update",
        Some(AT + 6),
        status(&template, &language, "PAUSED"),
    )
    .await;
    app.send().await;
    app.pass(25 * 3600);
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "expired");
}

async fn a_refused_template_fails_what_waits_and_refuses_what_is_asked_directly(
    database: Database,
) {
    let app = app(&database).await;
    let (id, template, language) = first_order(&app, "A-1").await;
    for event in ["REJECTED", "DISABLED", "DELETED", "PENDING_DELETION"] {
        told(
            &app,
            "message_template_status_update",
            Some(AT + 1),
            status(&template, &language, event),
        )
        .await;
    }
    app.send().await;
    let failed = app.notification(&id).await;
    assert_eq!(
        (&failed["status"], &failed["failure"]["title"]),
        (&json!("failed"), &json!("template_unusable"))
    );
    assert_eq!(app.meta.calls(), 0);
    let body = json!({ "to": "+12025550101", "template": template, "params": { "customer": "A", "order_number": "1" } });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 422, "{problem}");
    assert!(
        problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .any(|error| error["pointer"] == "/template"),
        "{problem}"
    );
}

async fn templates_are_shown_with_quality_and_category(database: Database) {
    let app = app(&database).await;
    let about = json!({ "message_template_id": "12", "message_template_name": "hello", "message_template_language": "en-US" });
    let with = |more: Value| {
        let mut value = about.clone();
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        value
    };
    told(
        &app,
        "message_template_status_update",
        Some(AT),
        with(
            json!({ "event": "FLAGGED", "reason": "NONE", "disable_info": { "disable_date": 1 } }),
        ),
    )
    .await;
    told(
        &app,
        "message_template_quality_update",
        Some(AT),
        with(json!({ "previous_quality_score": "GREEN", "new_quality_score": "YELLOW" })),
    )
    .await;
    // Meta's own example shows this under the field of a status.
    told(
        &app,
        "message_template_status_update",
        Some(AT + 1),
        with(json!({ "previous_quality_score": "YELLOW", "new_quality_score": "RED" })),
    )
    .await;
    told(&app, "template_category_update", Some(AT), with(json!({ "correct_category": "MARKETING", "new_category": "UTILITY", "category_update_timestamp": 1_767_300_000 }))).await;
    // An older announcement comes late, and changes nothing.
    told(
        &app,
        "template_category_update",
        Some(AT - 1),
        with(json!({ "correct_category": "AUTHENTICATION", "new_category": "UTILITY" })),
    )
    .await;
    let (_, templates) = app.get("/api/v1/templates").await;
    assert_eq!(
        (&templates[0]["category"], &templates[0]["category_due"]),
        (&json!(null), &json!("marketing")),
        "it was only announced"
    );
    told(
        &app,
        "template_category_update",
        Some(AT + 2),
        with(json!({ "previous_category": "UTILITY", "new_category": "MARKETING" })),
    )
    .await;
    told(
        &app,
        "message_template_components_update",
        Some(AT + 3),
        with(json!({ "message_template_element": "Hi", "message_template_buttons": [] })),
    )
    .await;
    told(
        &app,
        "template_correct_category_detection",
        Some(AT + 3),
        with(json!({ "correct_category": "MARKETING" })),
    )
    .await;
    let (_, templates) = app.get("/api/v1/templates").await;
    assert_eq!(templates.as_array().unwrap().len(), 1);
    let template = &templates[0];
    assert_eq!(
        (
            &template["language"],
            &template["status"],
            &template["quality"],
            &template["category"],
            &template["sendable"]
        ),
        (
            &json!("en_US"),
            &json!("flagged"),
            &json!("red"),
            &json!("marketing"),
            &json!("yes")
        )
    );
    let (_, notices) = app.get("/api/v1/notices").await;
    assert_eq!(notices["notices"].as_array().unwrap().len(), 8);
}

async fn a_word_of_the_provider_that_is_not_known_is_other(database: Database) {
    let app = app(&database).await;
    for (field, key, word) in [
        (
            "message_template_quality_update",
            "new_quality_score",
            "PURPLE",
        ),
        ("template_category_update", "new_category", "TRANSACTIONAL"),
        (
            "template_correct_category_detection",
            "correct_category",
            "MARKETING",
        ),
        ("message_template_status_update", "event", "SLEEPING"),
    ] {
        let mut value =
            json!({ "message_template_name": "hello", "message_template_language": "en-US" });
        value[key] = json!(word);
        told(&app, field, Some(AT), value).await;
    }
    let (_, templates) = app.get("/api/v1/templates").await;
    let template = &templates[0];
    for (key, word) in [
        ("quality", "other"),
        ("category", "other"),
        ("category_due", "marketing"),
        ("status", "other"),
        ("sendable", "yes"),
    ] {
        assert_eq!(template[key], word, "{key} of {template}");
    }
    let (_, notices) = app.get("/api/v1/notices").await;
    let notices = notices["notices"].as_array().unwrap();
    assert!(
        notices
            .iter()
            .any(|notice| notice["value"]["new_quality_score"] == "PURPLE"),
        "the provider's own word is kept: {notices:?}"
    );
}

async fn template_news_in_any_order_end_the_same(database: Database) {
    let news = [
        ("APPROVED", AT),
        ("PAUSED", AT + 10),
        ("REINSTATED", AT + 20),
        ("DISABLED", AT + 20),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let orders = Just((0..news.len()).collect::<Vec<usize>>()).prop_shuffle();
    for _ in 0..8 {
        let app = app(&database).await;
        let order = orders.new_tree(&mut runner).unwrap().current();
        for index in &order {
            let (event, at) = news[*index];
            told(
                &app,
                "message_template_status_update",
                Some(at),
                status("hello", "en", event),
            )
            .await;
        }
        let (_, templates) = app.get("/api/v1/templates").await;
        assert_eq!(templates[0]["status"], "disabled", "{order:?}");
    }
}

async fn sender(app: &TestApp) -> Value {
    app.get("/api/v1/senders").await.1[0].clone()
}

async fn a_restricted_account_holds_its_senders_and_a_reinstated_one_releases_them(
    database: Database,
) {
    let app = app(&database).await;
    // The account of a number is learned from its callbacks.
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    assert_eq!(sender(&app).await["account"], super::ACCOUNT);
    let rows = [
        (
            json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE", "waba_ban_date": "x" } }),
            "held",
        ),
        (
            json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": ["REINSTATE"] } }),
            "active",
        ),
        (
            json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [{ "restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION", "expiration": 1_767_300_000 }] }),
            "active",
        ),
        (
            json!({ "event": "ACCOUNT_RESTRICTION", "restriction_info": [{ "restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": 1_767_300_000 }] }),
            "held",
        ),
        (json!({ "event": "ACCOUNT_RECONNECTED" }), "active"),
        (json!({ "event": "ACCOUNT_OFFBOARDED" }), "held"),
        (json!({ "event": "ACCOUNT_RECONNECTED" }), "active"),
        (json!({ "event": "ACCOUNT_DELETED" }), "held"),
    ];
    for (seconds, (value, state)) in rows.into_iter().enumerate() {
        let at = AT + i64::try_from(seconds).unwrap();
        told(&app, "account_update", Some(at), value.clone()).await;
        assert_eq!(sender(&app).await["state"], state, "{value}");
    }
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "queued", "its queue is intact");
    assert_eq!(sender(&app).await["reason"], "the account was deleted");
    // An older word releases nothing.
    told(
        &app,
        "account_update",
        Some(AT - 60),
        json!({ "event": "ACCOUNT_RECONNECTED", "x": 1 }),
    )
    .await;
    assert_eq!(sender(&app).await["state"], "held");
    let (_, notices) = app
        .get("/api/v1/notices?field=account_update&limit=1")
        .await;
    assert_eq!(
        notices["notices"][0]["outcome"],
        "ignored: a newer value is known"
    );
    told(
        &app,
        "account_update",
        Some(AT + 60),
        json!({ "event": "ACCOUNT_RECONNECTED" }),
    )
    .await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted");
    are_like_their_examples(&app, HeraldEventType::SenderReleased).await;
}

async fn properties_of_numbers_and_accounts_are_shown_newest_first_in_provider_time(
    database: Database,
) {
    let app = app(&database).await;
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    let number = "15550783881";
    for (field, value) in [
        (
            "phone_number_quality_update",
            json!({ "display_phone_number": number, "event": "THROUGHPUT_UPGRADE", "current_limit": "TIER_10K", "max_daily_conversations_per_business": "TIER_10K" }),
        ),
        (
            "phone_number_name_update",
            json!({ "display_phone_number": number, "decision": "APPROVED", "requested_verified_name": "Acme", "rejection_reason": null }),
        ),
        ("account_review_update", json!({ "decision": "APPROVED" })),
        (
            "account_alerts",
            json!({ "entity_type": "BUSINESS", "entity_id": 1, "alert_info": { "alert_severity": "INFORMATIONAL", "alert_status": "NONE", "alert_type": "OBA_APPROVED", "alert_description": "x" } }),
        ),
        (
            "business_capability_update",
            json!({ "max_daily_conversations_per_business": 2000, "max_phone_numbers_per_waba": 25 }),
        ),
        (
            "security",
            json!({ "display_phone_number": number, "event": "PIN_CHANGED", "requester": "1" }),
        ),
        (
            "account_update",
            json!({ "event": "VOLUME_BASED_PRICING_TIER_UPDATE", "volume_tier_info": { "tier_update_time": 1 } }),
        ),
        (
            "account_update",
            json!({ "event": "PARTNER_REMOVED", "disconnection_info": { "reason": "x" } }),
        ),
        (
            "payment_configuration_update",
            json!({ "configuration_name": "c", "status": "Active" }),
        ),
        (
            "flows",
            json!({ "event": "FLOW_STATUS_CHANGE", "flow_id": "1", "message": "x" }),
        ),
        (
            "business_username_updates",
            json!({ "display_phone_number": number, "username": "acme", "status": "approved" }),
        ),
    ] {
        told(&app, field, Some(AT + 10), value).await;
    }
    // Older quality: kept as a notice, and not shown as the present one.
    told(
        &app,
        "phone_number_quality_update",
        Some(AT),
        json!({ "display_phone_number": number, "event": "FLAGGED", "current_limit": "TIER_250" }),
    )
    .await;
    let facts = sender(&app).await["facts"].clone();
    let fact = |property: &str| {
        facts
            .as_array()
            .unwrap()
            .iter()
            .find(|fact| fact["property"] == property)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(fact("quality")["value"]["current_limit"], "TIER_10K");
    assert_eq!(fact("quality")["number"], number);
    assert_eq!(fact("name")["value"]["decision"], "APPROVED");
    assert_eq!(fact("review")["value"]["decision"], "APPROVED");
    assert_eq!(
        fact("capability")["value"]["max_daily_conversations_per_business"],
        2000
    );
    assert_eq!(
        fact("alert oba_approved 1")["at"],
        "2026-01-01T00:00:10.000000Z"
    );
    assert_eq!(fact("security")["value"]["event"], "PIN_CHANGED");
    let (_, notices) = app.get("/api/v1/notices?limit=200").await;
    assert_eq!(notices["notices"].as_array().unwrap().len(), 12);
    let (_, page) = app.get("/api/v1/notices?limit=5").await;
    let next = page["next"].as_str().unwrap();
    let (_, page) = app
        .get(&format!("/api/v1/notices?limit=200&cursor={next}"))
        .await;
    assert_eq!(page["notices"].as_array().unwrap().len(), 7);
    are_like_their_examples(&app, HeraldEventType::AccountChanged).await;
}

async fn what_matters_goes_through_the_user_s_own_routes(database: Database) {
    let app = app(&database).await;
    let catalogue = "name = \"ops\"\n[[contact]]\nname = \"Ops\"\nphone = \"+12025550190\"\n\
        [[template]]\nname = \"ops_alert\"\ncategory = \"utility\"\nbody = \"Attention: {{ what }}.\"\n\
        [[route]]\nname = \"paused\"\nevent = \"herald.template.paused\"\nto = \"contact:Ops\"\ntemplate = \"ops_alert\"\nparams = { what = \"{{ data.summary }}\" }\n\
        [[route]]\nname = \"held\"\nevent = \"herald.sender.held\"\nto = \"contact:Ops\"\ntemplate = \"ops_alert\"\nparams = { what = \"{{ data.summary }}\" }\n\
        [[route]]\nname = \"quiet\"\nevent = \"herald.silence\"\nto = \"contact:Ops\"\ntemplate = \"ops_alert\"\nparams = { what = \"{{ data.remedy }}\" }\n";
    app.apply_catalogue(catalogue).await;
    let value = status("hello", "en", "PAUSED");
    told(
        &app,
        "message_template_status_update",
        Some(AT),
        value.clone(),
    )
    .await;
    // Told again in another body: it is the same news, and older than itself.
    let mut again = value;
    again["x"] = json!(1);
    told(&app, "message_template_status_update", Some(AT), again).await;
    let (_, page) = app.get("/api/v1/notifications").await;
    let alerts = page["notifications"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "{page}");
    assert_eq!(alerts[0]["event_type"], "herald.template.paused");
    // Messages are accepted, and of none is anything heard: told once, until something is.
    app.order("A-1", "+12025550101").await;
    app.send().await;
    let silent = async |app: &TestApp| {
        herald::engine::delivery::silent_senders::turn(&app.engine, app.now())
            .await
            .unwrap()
    };
    assert_eq!(silent(&app).await, 0);
    app.pass(31 * 60);
    assert_eq!(silent(&app).await, 1);
    assert_eq!(silent(&app).await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE event_type = 'herald.silence'")
            .await,
        1
    );
    are_like_their_examples(&app, HeraldEventType::SenderSilent).await;
    are_like_their_examples(&app, HeraldEventType::TemplateStatus).await;
    assert!(sender(&app).await["unheard_since"].is_string());
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    assert_eq!(sender(&app).await["unheard_since"], json!(null));
}

async fn a_held_account_is_not_released_by_what_was_under_way(database: Database) {
    let app = app(&database).await;
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    app.order("A-1", "+12025550101").await;
    // Claimed, and its call is being made, when the account is disabled.
    let claim = herald::engine::delivery::claim(
        &app.engine,
        app.sender,
        herald::engine::delivery::ProviderCallSlots::each(5),
        app.now(),
    )
    .await
    .unwrap();
    assert_eq!(claim.jobs.len(), 1);
    app.pass(1);
    let disabled =
        json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE" } });
    told(&app, "account_update", Some(AT + 1), disabled).await;
    app.answer(claim).await;
    assert_eq!(sender(&app).await["state"], "held");
    // The probe, an hour later, is a call that knows of it.
    app.pass(3601);
    app.order("A-2", "+12025550102").await;
    app.send().await;
    assert_eq!(sender(&app).await["state"], "active");
}

async fn a_hold_that_came_before_its_number_is_known_holds_it(database: Database) {
    let app = app(&database).await;
    told(
        &app,
        "account_update",
        Some(AT),
        json!({ "event": "ACCOUNT_DELETED" }),
    )
    .await;
    assert_eq!(
        sender(&app).await["state"],
        "active",
        "whose account it is, nobody knows yet"
    );
    let (_, notices) = app.get("/api/v1/notices").await;
    assert_eq!(
        notices["notices"][0]["outcome"],
        "applied: no sender of this account is known yet"
    );
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    assert_eq!(sender(&app).await["state"], "held");
}

async fn what_waits_for_a_template_fails_when_it_will_never_be_sent(database: Database) {
    let app = app(&database).await;
    let (id, template, language) = first_order(&app, "A-1").await;
    told(
        &app,
        "message_template_status_update",
        Some(AT + 1),
        status(&template, &language, "PAUSED"),
    )
    .await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "held");
    told(
        &app,
        "message_template_status_update",
        Some(AT + 2),
        status(&template, &language, "DISABLED"),
    )
    .await;
    app.send().await;
    assert_eq!(
        app.notification(&id).await["failure"]["title"],
        "template_unusable"
    );
    // What was held while the good news came is found by who looks.
    told(
        &app,
        "message_template_status_update",
        Some(AT + 3),
        status(&template, &language, "PAUSED"),
    )
    .await;
    let (id, ..) = first_order(&app, "A-2").await;
    app.send().await;
    app.sql("UPDATE template_sync SET status = 'approved'")
        .await;
    assert_eq!(
        herald::engine::delivery::sweeper::release(&app.engine, app.now())
            .await
            .unwrap(),
        1
    );
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn several_things_of_one_kind_have_each_their_newest_value(database: Database) {
    let app = app(&database).await;
    super::said(
        &app,
        json!([]),
        super::from_asha("wamid.1", AT, "text", json!({ "body": "x" })),
    )
    .await;
    for flow in ["1", "2"] {
        told(
            &app,
            "flows",
            Some(AT),
            json!({ "event": "FLOW_STATUS_CHANGE", "flow_id": flow }),
        )
        .await;
    }
    let alert = |entity: &str| json!({ "entity_type": "PHONE_NUMBER", "entity_id": entity, "alert_info": { "alert_type": "X\u{0}", "alert_severity": "WARNING" } });
    for entity in ["7", "8"] {
        told(&app, "account_alerts", Some(AT), alert(entity)).await;
    }
    assert_eq!(sender(&app).await["facts"].as_array().unwrap().len(), 4);
    // The same news in another body are told once.
    let mut again = alert("8");
    again["alert_info"]["x"] = json!(1);
    told(&app, "account_alerts", Some(AT), alert("8")).await;
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE source = 'herald'")
            .await,
        4
    );
}
