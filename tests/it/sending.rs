//! Messages out: once, with a reason for everything.

use herald::{
    domain::facts::DeliveryFact,
    engine::delivery::{self, sweeper},
    store::{
        self,
        notification::{QueueHoldCause, QueueSenderScope},
    },
    workers::senders::hold_turn,
};
use serde_json::json;

use crate::harness::{DEMO, Database, START, TestApp, without_ids};

crate::tests![
    a_request_is_written_as_meta_reads_it,
    a_passing_trouble_is_tried_again_with_backoff_and_no_more_than_three_times,
    an_invalid_number_is_never_tried_again,
    a_lost_answer_is_not_repeated_and_is_resolved_by_its_callback,
    without_a_callback_the_policy_gives_up_visibly,
    the_policy_may_resend_instead,
    a_category_may_have_a_policy_of_its_own,
    an_hour_without_the_provider_loses_nothing,
    a_process_that_dies_while_sending_leaves_an_unknown,
    no_connection_costs_no_try_and_five_in_a_row_hold_the_sender,
    a_dead_token_holds_the_sender_with_its_queue_intact,
    while_switched_off_everything_is_accepted_held_and_expires,
    what_was_held_goes_out_when_sending_is_switched_on,
    the_pace_is_kept_and_shared,
    high_priority_passes_low,
    a_failed_callback_is_retried_after_it_has_settled_unless_it_arrives,
    each_failed_callback_doubles_the_pause_before_the_next_attempt,
    a_person_retries_what_failed_and_must_insist_on_what_arrived,
    accepted_and_never_heard_of_is_stale,
    a_message_that_was_not_even_sent_releases_no_sender,
    a_second_wish_for_a_retry_makes_no_second_copy,
    a_retry_that_is_held_is_neither_failed_nor_forgotten,
    a_copy_that_arrives_stops_the_next_one,
    a_row_that_is_woken_for_nothing_is_not_woken_again,
    single_messages_are_not_charged_for_free_slots,
    throttling_doubles_its_pause,
];

async fn ready(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn a_request_is_written_as_meta_reads_it(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let body = json!({ "to": "+12025550102", "template": "jaspers_market_plain_text_v1" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    assert_eq!(
        app.meta.request(0)["biz_opaque_callback_data"],
        format!("{}.{id}", attempt["id"].as_str().unwrap())
    );
    insta::assert_json_snapshot!("the_request_of_an_order", without_ids(app.meta.request(0)));
    insta::assert_json_snapshot!(
        "the_request_of_a_template_without_parameters",
        without_ids(app.meta.request(1))
    );
    assert!(
        !attempt["request"].to_string().contains("Bearer"),
        "no token is kept"
    );
}

async fn a_passing_trouble_is_tried_again_with_backoff_and_no_more_than_three_times(
    database: Database,
) {
    let app = ready(&database, &[]).await;
    let trouble = r#"{"error":{"code":131016,"message":"Service unavailable","fbtrace_id":"x"}}"#;
    app.meta
        .will_answer(&[(500, trouble), (500, trouble), (500, trouble)]);
    let id = app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 1);
    let waiting = app.notification(&id).await;
    assert_eq!(
        (&waiting["status"], &waiting["reason"]),
        (&json!("retrying"), &json!("Service unavailable"))
    );
    assert_eq!(app.send().await, 0, "not before it is due");
    app.pass(30);
    assert_eq!(app.send().await, 1);
    app.pass(30);
    assert_eq!(app.send().await, 0, "the second delay is longer");
    app.pass(30);
    assert_eq!(app.send().await, 1);
    let failed = app.notification(&id).await;
    assert_eq!(
        (&failed["status"], &failed["failure"]["code"]),
        (&json!("failed"), &json!(131_016))
    );
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 3);
    assert_eq!(failed["attempts"][2]["http_status"], 500);
    assert!(
        failed["attempts"][2]["answer"]
            .as_str()
            .unwrap()
            .contains("fbtrace_id")
    );
    app.pass(100_000);
    assert_eq!(app.send().await, 0);
    assert_eq!(app.stats().await["failures"]["131016"], 1);
}

async fn an_invalid_number_is_never_tried_again(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(
        400,
        r#"{"error":{"code":131026,"message":"Undeliverable"}}"#,
    )]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(100_000);
    app.send().await;
    let failed = app.notification(&id).await;
    assert_eq!((&failed["status"], app.meta.calls()), (&json!("failed"), 1));
    assert!(failed["failure"]["remedy"].as_str().unwrap().len() > 10);
}

async fn a_lost_answer_is_not_repeated_and_is_resolved_by_its_callback(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(1, "")]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "unknown");
    app.pass(600);
    app.settle().await;
    assert_eq!(app.meta.calls(), 1);
    app.told(&id, "delivered", None).await;
    let found = app.notification(&id).await;
    assert_eq!(
        (&found["status"], &found["attempts"][0]["outcome"]),
        (&json!("delivered"), &json!("unknown"))
    );
    assert_eq!(
        found["attempts"][0]["provider_message_id"], "wamid.UNHEARD",
        "the id is learned from the callback"
    );
    app.pass(100_000);
    app.settle().await;
    let attempts = app.notification(&id).await["attempts"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(attempts, 1, "the call a day later is the reminder's");
}

async fn without_a_callback_the_policy_gives_up_visibly(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(1, "")]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(901);
    app.settle().await;
    let found = app.notification(&id).await;
    assert_eq!(
        (&found["status"], app.meta.calls()),
        (&json!("gave_up"), 1 + 1),
        "the second call is the alert to staff"
    );
    assert_eq!(found["failure"]["title"], "gave_up");
    // A callback that comes at last still wins.
    app.told(&id, "read", None).await;
    assert_eq!(app.status_of(&id).await, "read");
    assert_eq!(app.stats().await["failed"], 0);
}

async fn the_policy_may_resend_instead(database: Database) {
    let app = ready(&database, &[("HERALD_UNKNOWN_POLICY", "resend")]).await;
    app.meta.will_answer(&[(200, "{}")]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    assert_eq!(
        app.status_of(&id).await,
        "unknown",
        "a yes that names no message is unknown"
    );
    app.pass(901);
    app.settle().await;
    let found = app.notification(&id).await;
    assert_eq!(
        (
            &found["status"],
            found["attempts"].as_array().unwrap().len()
        ),
        (&json!("accepted"), 2)
    );
}

async fn a_category_may_have_a_policy_of_its_own(database: Database) {
    let policy = ("HERALD_UNKNOWN_POLICY", "give_up, utility=resend");
    let app = ready(&database, &[policy]).await;
    app.meta.will_answer(&[(1, ""), (1, "")]);
    let utility = app.order("A-1", "+12025550101").await;
    let other = app.order("A-2", "+12025550102").await;
    app.sql("UPDATE notification SET category = 'marketing' WHERE address = '+12025550102'")
        .await;
    assert_eq!(app.send().await, 2);
    app.pass(901);
    app.settle().await;
    assert_eq!(app.status_of(&utility).await, "accepted");
    assert_eq!(app.status_of(&other).await, "gave_up");
    // A person may think otherwise.
    let path = format!("/api/v1/notifications/{other}/retry");
    assert_eq!(app.post(&path, &json!({})).await.0, 409);
    let (code, _) = app.post(&path, &json!({ "even_if_delivered": true })).await;
    assert_eq!(code, 202);
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&other).await, "accepted");
}

/// Nobody answers for an hour: a handful of calls are unknown, the sender is held and
/// its provider knocked at, and then everything goes out or is visibly expired.
async fn an_hour_without_the_provider_loses_nothing(database: Database) {
    let settings = [("HERALD_PAIR_SECONDS", "0"), ("HERALD_SEND_SLOTS", "8")];
    let app = ready(&database, &settings).await;
    let mut ids = Vec::new();
    for number in 0..60 {
        ids.push(app.order(&format!("A-{number}"), "+12025550101").await);
    }
    let short = json!({
        "to": "+12025550102", "template": "jaspers_market_plain_text_v1", "expires_in_seconds": 600
    });
    let (_, answer) = app.post("/api/v1/notifications", &short).await;
    let short = answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.meta.is_dead(true);
    for _ in 0..360 {
        delivery::turn(&app.engine, &app.meta, app.sender, 5, app.now())
            .await
            .unwrap();
        app.pass(10);
        app.watch().await;
    }
    assert!(
        app.meta.calls() < 150,
        "{} calls in an hour",
        app.meta.calls()
    );
    let (_, senders) = app.get("/api/v1/senders").await;
    assert_eq!(senders[0]["state"], "held");
    assert_eq!(app.status_of(&short).await, "expired");
    let told = app
        .number("SELECT count(*) FROM event WHERE event_type = 'herald.sender.held'")
        .await;
    assert_eq!(told, 1, "the admins hear of it once");

    app.meta.is_dead(false);
    for _ in 0..120 {
        app.settle().await;
        app.pass(10);
    }
    let mut after = std::collections::BTreeMap::<String, usize>::new();
    for id in &ids {
        *after.entry(app.status_of(id).await).or_default() += 1;
    }
    let gave_up = after.get("gave_up").copied().unwrap_or(0);
    let accepted = after.get("accepted").copied().unwrap_or(0);
    assert_eq!(accepted + gave_up, 60, "{after:?}");
    assert!(gave_up <= 10, "a handful: {after:?}");
}

async fn a_process_that_dies_while_sending_leaves_an_unknown(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    let claim = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(10),
        app.now(),
    )
    .await
    .unwrap();
    assert_eq!(claim.jobs.len(), 1);
    drop(claim);
    assert_eq!(app.send().await, 0, "the lease protects it");
    app.pass(61);
    app.watch().await;
    let found = app.notification(&id).await;
    assert_eq!(
        (&found["status"], &found["attempts"][0]["outcome"]),
        (&json!("unknown"), &json!("unknown"))
    );
    app.pass(901);
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "gave_up");
    assert_eq!(app.meta.calls(), 0);
}

async fn no_connection_costs_no_try_and_five_in_a_row_hold_the_sender(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(0, ""); 6]);
    for number in 0..8 {
        app.order(&format!("A-{number}"), "+12025550101").await;
    }
    // Slots for five calls: five in a row hold the sender.
    for _ in 0..5 {
        let claim = delivery::claim(
            &app.engine,
            app.sender,
            delivery::ProviderCallSlots::each(1),
            app.now(),
        )
        .await
        .unwrap();
        for job in claim.jobs {
            let answer = delivery::call(&app.meta, job).await;
            delivery::settle(&app.engine, app.sender, &[answer], 500, app.now())
                .await
                .unwrap();
        }
    }
    let sender = store::sender::find(app.store.reader(), app.sender)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (sender.state.as_str(), sender.state_reason.as_deref()),
        ("held", Some("provider unavailable"))
    );
    assert_eq!(app.send().await, 0, "held");
    app.pass(2);
    assert_eq!(app.send().await, 1, "one probe, which fails too");
    assert_eq!(app.send().await, 0);
    app.pass(3);
    let claim = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(64),
        app.now(),
    )
    .await
    .unwrap();
    assert_eq!(claim.jobs.len(), 1, "one probe at a time");
    let second = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(64),
        app.now(),
    )
    .await
    .unwrap();
    assert!(second.jobs.is_empty() && second.again_at.is_some());
    for job in claim.jobs {
        let answer = delivery::call(&app.meta, job).await;
        delivery::settle(&app.engine, app.sender, &[answer], 500, app.now())
            .await
            .unwrap();
    }
    app.pass(60);
    app.send().await;
    assert_eq!(app.stats().await["accepted"], 8);
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE status = 'accepted'")
            .await,
        8
    );
    assert_eq!(
        app.attempts()
            .await
            .iter()
            .filter(|attempt| attempt.facts.has(DeliveryFact::Failed))
            .count(),
        0
    );
}

async fn a_dead_token_holds_the_sender_with_its_queue_intact(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(
        401,
        r#"{"error":{"code":190,"message":"Error validating access token"}}"#,
    )]);
    let id = app.order("A-1", "+12025550101").await;
    let claim = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(1),
        app.now(),
    )
    .await
    .unwrap();
    for job in claim.jobs {
        let answer = delivery::call(&app.meta, job).await;
        delivery::settle(&app.engine, app.sender, &[answer], 500, app.now())
            .await
            .unwrap();
    }
    app.order("A-2", "+12025550102").await;
    let sender = store::sender::find(app.store.reader(), app.sender)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sender.state, "held");
    assert!(sender.state_reason.unwrap().contains("expired"));
    assert_eq!(app.send().await, 0);
    assert_eq!(app.status_of(&id).await, "retrying", "nothing failed");
    app.pass(61);
    app.settle().await;
    app.pass(120);
    app.settle().await;
    assert_eq!(app.stats().await["accepted"], 2);
}

async fn while_switched_off_everything_is_accepted_held_and_expires(database: Database) {
    for (settings, words) in [
        (
            vec![("WHATSAPP_ENABLED", "false")],
            "WHATSAPP_ENABLED is false",
        ),
        (
            vec![("WHATSAPP_ACCESS_TOKEN", "")],
            "WhatsApp is not configured",
        ),
    ] {
        let app = ready(&database, &settings).await;
        let id = app.order("A-1", "+12025550101").await;
        let reason = app.engine.obstacle(None).unwrap();
        assert!(reason.contains(words), "{reason}");
        hold_turn(&app.engine, app.now()).await.unwrap();
        let held = app.notification(&id).await;
        assert_eq!(
            (&held["status"], &held["reason"]),
            (&json!("held"), &json!(reason))
        );
        assert_eq!(
            app.get("/api/v1/notifications?status=held").await.1["notifications"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        app.pass(24 * 3600 + 1);
        app.watch().await;
        assert_eq!(app.status_of(&id).await, "expired");
        assert_eq!(
            (app.meta.calls(), app.stats().await["failed"].clone()),
            (0, json!(1))
        );
    }
}

async fn what_was_held_goes_out_when_sending_is_switched_on(database: Database) {
    let off = ready(&database, &[("WHATSAPP_ENABLED", "false")]).await;
    let id = off.order("A-1", "+12025550101").await;
    hold_turn(&off.engine, off.now()).await.unwrap();
    let (url, _folder) = off.shut_down().await;
    let app = TestApp::start(&url, &[]).await;
    assert_eq!(sweeper::release(&app.engine, app.now()).await.unwrap(), 1);
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn the_pace_is_kept_and_shared(database: Database) {
    let app = ready(
        &database,
        &[
            ("HERALD_SEND_PER_SECOND", "80"),
            ("HERALD_PAIR_SECONDS", "0"),
        ],
    )
    .await;
    for number in 0..50 {
        app.order(&format!("A-{number}"), "+12025550101").await;
    }
    assert_eq!(
        app.send().await,
        19,
        "a quarter of a second's worth, less what is kept for one-time passwords"
    );
    // Another process asks the same row.
    let refused = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(64),
        app.now(),
    )
    .await
    .unwrap();
    assert!(refused.jobs.is_empty() && refused.again_at.unwrap() > app.now());
    app.pass(1);
    assert_eq!(app.send().await, 19);
    app.pass(1);
    assert_eq!(app.send().await, 12);
}

async fn high_priority_passes_low(database: Database) {
    let app = ready(&database, &[]).await;
    for (priority, last) in [
        ("bulk", "11"),
        ("normal", "12"),
        ("otp", "13"),
        ("high", "14"),
    ] {
        let body = json!({ "to": format!("+120255501{last}"), "template": "jaspers_market_plain_text_v1", "priority": priority });
        assert_eq!(app.post("/api/v1/notifications", &body).await.0, 202);
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let claim = delivery::claim(
            &app.engine,
            app.sender,
            delivery::ProviderCallSlots::each(1),
            app.now(),
        )
        .await
        .unwrap();
        for job in claim.jobs {
            delivery::call(&app.meta, job).await;
        }
        order.push(
            app.meta.request(order.len())["to"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(
        order,
        [
            "+12025550113",
            "+12025550114",
            "+12025550112",
            "+12025550111"
        ]
    );
}

async fn a_failed_callback_is_retried_after_it_has_settled_unless_it_arrives(database: Database) {
    let app = ready(&database, &[]).await;
    let retried = app.order("A-1", "+12025550101").await;
    let arrives = app.order("A-2", "+12025550102").await;
    let hopeless = app.order("A-3", "+12025550103").await;
    app.send().await;
    app.told(&retried, "failed", Some(131_000)).await;
    app.told(&arrives, "failed", Some(131_000)).await;
    app.told(&hopeless, "failed", Some(131_026)).await;
    assert_eq!(app.status_of(&retried).await, "retrying");
    assert_eq!(app.status_of(&hopeless).await, "failed");
    assert_eq!(app.send().await, 0);
    app.told(&arrives, "delivered", None).await;
    app.pass(61);
    assert_eq!(
        app.send().await,
        1,
        "the one that arrived is not sent again"
    );
    assert_eq!(
        app.notification(&retried).await["attempts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(app.status_of(&arrives).await, "delivered");
}

async fn each_failed_callback_doubles_the_pause_before_the_next_attempt(database: Database) {
    let app = ready(&database, &[("HERALD_SETTLE_AFTER_FAILED_SECONDS", "60")]).await;
    let id = app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 1);
    for pause in [60, 120] {
        app.told(&id, "failed", Some(131_000)).await;
        assert_eq!(app.status_of(&id).await, "retrying");
        app.pass(pause - 1);
        assert_eq!(app.send().await, 0, "before {pause} s");
        app.pass(1);
        assert_eq!(app.send().await, 1, "after {pause} s");
    }
    app.told(&id, "failed", Some(131_000)).await;
    assert_eq!(app.status_of(&id).await, "failed", "three attempts are all");
}

async fn a_person_retries_what_failed_and_must_insist_on_what_arrived(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta.will_answer(&[(
        400,
        r#"{"error":{"code":131026,"message":"Undeliverable"}}"#,
    )]);
    let failed = app.order("A-1", "+12025550101").await;
    let delivered = app.order("A-2", "+12025550102").await;
    app.send().await;
    app.told(&delivered, "delivered", None).await;
    let (code, found) = app
        .post(&format!("/api/v1/notifications/{failed}/retry"), &json!({}))
        .await;
    assert_eq!(
        (code, &found["status"], &found["generation"]),
        (202, &json!("queued"), &json!(2))
    );
    let (code, problem) = app
        .post(&format!("/api/v1/notifications/{failed}/retry"), &json!({}))
        .await;
    assert_eq!(
        (code, &problem["detail"]),
        (
            409,
            &json!("it is still waiting or being sent: nothing to retry")
        )
    );
    app.send().await;
    assert_eq!(app.status_of(&failed).await, "accepted");
    let path = format!("/api/v1/notifications/{delivered}/retry");
    let (code, problem) = app.post(&path, &json!({})).await;
    assert_eq!(code, 409, "{problem}");
    let (code, _) = app.post(&path, &json!({ "even_if_delivered": true })).await;
    assert_eq!(code, 202);
    assert_eq!(app.send().await, 1);
    assert_eq!(
        app.post(&path.replace("retry", "cancel"), &json!({}))
            .await
            .0,
        409
    );
    let waiting = app.order("A-3", "+12025550103").await;
    let (code, found) = app
        .post(
            &format!("/api/v1/notifications/{waiting}/cancel"),
            &json!({}),
        )
        .await;
    assert_eq!((code, &found["status"]), (200, &json!("cancelled")));
    assert_eq!(app.send().await, 0);
    assert_eq!(
        app.post(
            &format!("/api/v1/notifications/{}/retry", uuid::Uuid::nil()),
            &json!({})
        )
        .await
        .0,
        404
    );
}

async fn accepted_and_never_heard_of_is_stale(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(1801);
    app.watch().await;
    let kinds = app.notification(&id).await["timeline"].to_string();
    assert!(kinds.contains("\"stale\""), "{kinds}");
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.now().unix_seconds(), START + 1801);
}

async fn a_message_that_was_not_even_sent_releases_no_sender(database: Database) {
    let app = ready(&database, &[]).await;
    app.meta
        .will_answer(&[(401, r#"{"error":{"code":190,"message":"expired"}}"#)]);
    app.order("A-1", "+12025550101").await;
    app.send().await;
    let body = json!({ "to": "+12025550102", "text": "outside the window", "priority": "otp" });
    assert_eq!(app.post("/api/v1/notifications", &body).await.0, 202);
    app.order("A-2", "+12025550103").await;
    app.pass(61);
    // The probe is the text, for which no call is made.
    let claim = delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(10),
        app.now(),
    )
    .await
    .unwrap();
    assert_eq!(claim.jobs.len(), 1);
    for job in claim.jobs {
        let answer = delivery::call(&app.meta, job).await;
        delivery::settle(&app.engine, app.sender, &[answer], 500, app.now())
            .await
            .unwrap();
    }
    assert_eq!(app.meta.calls(), 1);
    let sender = store::sender::find(app.store.reader(), app.sender)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sender.state, "held");
}

async fn a_second_wish_for_a_retry_makes_no_second_copy(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let path = format!("/api/v1/notifications/{id}/retry");
    let wish = json!({ "even_if_delivered": true });
    assert_eq!(app.post(&path, &wish).await.0, 202);
    assert_eq!(app.post(&path, &wish).await.0, 409);
    assert_eq!(app.send().await, 1);
}

async fn a_retry_that_is_held_is_neither_failed_nor_forgotten(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_000)).await;
    app.pass(61);
    sweeper::hold(
        &app.engine,
        QueueSenderScope::Sender(app.sender),
        QueueHoldCause::Sender,
        "switched off",
        app.now(),
    )
    .await
    .unwrap();
    app.told(&id, "failed", Some(131_000)).await;
    assert_eq!(app.status_of(&id).await, "retrying");
    assert!(
        app.notification(&id).await["follow_ups"]
            .as_array()
            .unwrap()
            .is_empty(),
        "nobody is alarmed"
    );
    assert_eq!(app.stats().await["failed"], 0);
    assert_eq!(sweeper::release(&app.engine, app.now()).await.unwrap(), 1);
    assert_eq!(app.send().await, 1);
}

async fn a_copy_that_arrives_stops_the_next_one(database: Database) {
    let app = ready(&database, &[("HERALD_UNKNOWN_POLICY", "resend")]).await;
    app.meta.will_answer(&[
        (1, ""),
        (400, r#"{"error":{"code":131026,"message":"no"}}"#),
    ]);
    let unknown = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(901);
    app.watch().await;
    assert_eq!(
        app.status_of(&unknown).await,
        "queued",
        "it is to be sent again"
    );
    app.told(&unknown, "sent", None).await;
    assert_eq!(app.send().await, 0, "it went out after all");
    // The same for a retry by hand without the explicit word.
    let failed = app.order("A-2", "+12025550102").await;
    app.send().await;
    assert_eq!(app.status_of(&failed).await, "failed");
    assert_eq!(
        app.post(&format!("/api/v1/notifications/{failed}/retry"), &json!({}))
            .await
            .0,
        202
    );
    let first = app.notification(&failed).await["attempts"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let late = crate::harness::status(
        "wamid.LATE",
        Some(&first),
        "delivered",
        app.now().unix_seconds(),
        None,
    );
    app.callback(json!({ "statuses": [late] })).await;
    assert_eq!(app.send().await, 0);
    assert_eq!(app.status_of(&failed).await, "delivered");
}

async fn a_row_that_is_woken_for_nothing_is_not_woken_again(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.sql("UPDATE notification SET wake_at = 1").await;
    let before = app.timeline_lines().await;
    app.watch().await;
    assert!(app.number("SELECT wake_at FROM notification").await > 1);
    assert_eq!(app.timeline_lines().await, before, "{id}");
}

async fn single_messages_are_not_charged_for_free_slots(database: Database) {
    let app = ready(&database, &[("HERALD_SEND_PER_SECOND", "80")]).await;
    for number in 0..10 {
        app.order(&format!("A-{number}"), "+12025550101").await;
        assert_eq!(app.send().await, 1, "message {number}");
    }
}

async fn throttling_doubles_its_pause(database: Database) {
    let app = ready(&database, &[]).await;
    let slow = (429, r#"{"error":{"code":131056,"message":"pair rate"}}"#);
    app.meta.will_answer(&[slow; 20]);
    let id = app.order("A-1", "+12025550101").await;
    for _ in 0..600 {
        app.send().await;
        app.pass(1);
    }
    let calls = app.meta.calls();
    assert!((5..=12).contains(&calls), "{calls} calls in ten minutes");
    assert_eq!(app.status_of(&id).await, "retrying");
}
