//! Clocks that are hours ahead, and are put right.

pub mod any_steps;

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use herald::{
    engine::{
        delivery,
        insight::check,
        runtime::clock::{self, DatabaseClock},
    },
    state::Clock,
    store::{self, connect, setting},
    workers::{WorkerTurnOutcome, cleanup, watchdog::ClockWatchdog},
};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    cli::{command, text},
    harness::{DEMO, Database, TestApp, fresh_database, status, value},
};

crate::tests![
    the_pace_of_a_clock_ahead_keeps_nothing_back,
    a_restart_goes_on_at_once_too,
    one_person_is_not_kept_waiting_by_a_clock_ahead,
    a_probe_of_a_clock_ahead_is_due,
    an_account_held_by_a_clock_ahead_is_released_by_a_call,
    a_slowdown_of_a_clock_ahead_is_over_and_the_next_one_counts,
    a_retry_of_a_clock_ahead_is_due_after_its_own_pause,
    what_was_asked_for_at_a_later_time_waits_for_it,
    a_lease_of_a_clock_ahead_is_one_full_lease_and_ends_as_unknown,
    a_call_that_is_open_is_not_sent_again_however_the_clock_goes,
    a_callback_taken_by_a_clock_ahead_is_applied_after_one_lease,
    a_timer_of_a_clock_ahead_fires_after_its_own_time,
    timers_are_not_early_because_a_callback_is_of_a_time_to_come,
    what_a_clock_ahead_has_sent_is_stale_in_time,
    a_reply_counts_for_what_a_clock_ahead_has_sent,
    a_template_paused_by_a_clock_ahead_hears_what_comes_next,
    pages_hear_of_what_comes_after_a_clock_was_ahead,
    a_worker_that_a_clock_ahead_has_seen_is_not_alive_for_ever,
    the_processor_and_the_senders_look_again_after_a_step_back,
    check_and_explain_say_that_the_clock_was_changed,
    after_a_step_nothing_is_decided_for_one_lease,
    after_a_step_nothing_is_deleted_for_an_hour,
    a_process_with_a_wrong_clock_takes_the_databases,
];

const HOURS: i64 = 6 * 3600;

async fn ready(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    app.apply_catalogue(DEMO).await;
    app
}

/// Puts right what the clock has left behind, as the watchdog does.
async fn mend(app: &TestApp) -> u64 {
    clock::mend_turn(&app.engine, app.now()).await.unwrap()
}

async fn story(app: &TestApp, id: &str) -> String {
    let path = format!("/api/v1/notifications/{id}/story");
    app.get(&path).await.1.to_string()
}

/// What the check says of changed clocks: its verdict and what was found.
async fn checked(app: &TestApp) -> String {
    let asked = check::InstallationCheckInputs {
        public_url: None,
        nonce: "0".to_owned(),
        timeout: Duration::from_millis(200),
        is_enabled: true,
        sender: None,
    };
    let rows = check::run(&app.engine, &asked, app.now()).await.unwrap();
    let row = rows.iter().find(|row| row.name == "clock_changed").unwrap();
    format!("{:?} {}", row.verdict, row.found)
}

async fn sender(app: &TestApp) -> entity::sender::Model {
    store::sender::find(app.store.reader(), app.sender)
        .await
        .unwrap()
        .unwrap()
}

async fn claimed(app: &TestApp) -> delivery::DeliveryClaimOutcome {
    delivery::claim(
        &app.engine,
        app.sender,
        delivery::ProviderCallSlots::each(10),
        app.now(),
    )
    .await
    .unwrap()
}

const PACED: &[(&str, &str)] = &[("HERALD_SEND_PER_SECOND", "20")];

async fn the_pace_of_a_clock_ahead_keeps_nothing_back(database: Database) {
    let app = ready(&database, PACED).await;
    assert!(checked(&app).await.starts_with("Ok"));
    app.pass(HOURS);
    app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 1);
    app.pass(-HOURS);
    let id = app.order("A-2", "+12025550102").await;
    let told = story(&app, &id).await;
    assert!(
        told.contains("The pace of its sender is taken until 2026-01-01T06:00:00")
            && told.contains("too far in the future: the clock was changed"),
        "{told}"
    );
    let found = checked(&app).await;
    assert!(found.starts_with("Warning"), "{found}");
    assert!(found.contains("pace 1"), "{found}");
    assert!(found.contains("was made at 2026-01-01T06:00:00"), "{found}");
    assert_eq!(app.send().await, 1, "nothing waits for the pace");
    assert!(sender(&app).await.pace_next_at < app.now().plus_seconds(15).micros());
    assert!(!story(&app, &id).await.contains("too far in the future"));
}

async fn a_restart_goes_on_at_once_too(database: Database) {
    let app = ready(&database, PACED).await;
    app.pass(HOURS);
    for number in 1..=3 {
        app.order(&format!("A-{number}"), &format!("+1202555010{number}"))
            .await;
    }
    assert_eq!(app.send().await, 3);
    let meta = app.meta.clone();
    let (url, _folder) = app.shut_down().await;
    // Its clock is right again.
    let mut app = TestApp::start(&url, PACED).await;
    app.meta = meta;
    app.order("A-4", "+12025550104").await;
    assert_eq!(app.send().await, 1);
}

async fn one_person_is_not_kept_waiting_by_a_clock_ahead(database: Database) {
    let app = ready(&database, &[("HERALD_PAIR_BURST", "1")]).await;
    app.pass(HOURS);
    app.order("A-1", "+12025550101").await;
    app.order("A-2", "+12025550101").await;
    assert_eq!(app.send().await, 1, "the other waits for its turn");
    app.pass(-HOURS);
    app.order("A-3", "+12025550101").await;
    let found = checked(&app).await;
    assert!(
        found.contains("pair_pace 2"),
        "its pace, and the turn of what waits for it: {found}"
    );
    assert_eq!(app.send().await, 1);
    mend(&app).await;
    assert_eq!(app.send().await, 0, "the pace of the pair is kept");
    app.pass(6);
    assert_eq!(app.send().await, 1);
    let all = app.number("SELECT count(*) FROM notification WHERE status = 'accepted'");
    assert_eq!(all.await, 3);
    assert_eq!(app.meta.calls(), 3);
}

async fn a_probe_of_a_clock_ahead_is_due(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    app.meta.will_answer(&[(0, ""); 5]);
    for number in 1..=5 {
        app.order(&format!("A-{number}"), &format!("+1202555010{number}"))
            .await;
    }
    app.send().await;
    assert_eq!(sender(&app).await.state, "held");
    app.pass(-HOURS);
    let id = app.order("A-6", "+12025550106").await;
    let told = story(&app, &id).await;
    assert!(told.contains("held without a probe until"), "{told}");
    let found = checked(&app).await;
    assert!(
        found.contains("probe 1") && found.contains("retry 5"),
        "{found}"
    );
    // The probe goes out at once; those that failed have their own pause.
    assert_eq!(app.send().await, 1);
    assert_eq!(sender(&app).await.state, "active");
    mend(&app).await;
    for _ in 0..4 {
        app.pass(16);
        app.send().await;
    }
    let all = app.number("SELECT count(*) FROM notification WHERE status = 'accepted'");
    assert_eq!(all.await, 6);
}

async fn an_account_held_by_a_clock_ahead_is_released_by_a_call(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    app.sql(&format!(
        "UPDATE sender SET state = 'held', state_reason = 'restricted', account_held_at = {now}, \
         credentials_at = {now}, unheard_since = {now}, probe_at = {now} + 3600000000",
        now = app.now().micros()
    ))
    .await;
    app.pass(-HOURS);
    app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 0, "the provider has said when");
    assert!(mend(&app).await > 0);
    let row = sender(&app).await;
    assert_eq!(row.unheard_since, Some(app.now().micros()));
    assert_eq!(row.credentials_at, app.now().micros());
    app.pass(3601);
    assert_eq!(app.send().await, 1, "an hour after it was seen");
    assert_eq!(sender(&app).await.state, "active");
}

async fn a_slowdown_of_a_clock_ahead_is_over_and_the_next_one_counts(database: Database) {
    let app = ready(&database, PACED).await;
    let slow = r#"{"error":{"code":130429,"message":"(#130429) Rate limit hit"}}"#;
    app.pass(HOURS);
    app.meta.will_answer(&[(400, slow)]);
    app.order("A-1", "+12025550101").await;
    app.send().await;
    assert_eq!(sender(&app).await.slowed_to, 500);
    app.pass(-HOURS);
    for number in 10..60 {
        app.order(&format!("B-{number}"), &format!("+120255501{number}"))
            .await;
    }
    let full = claimed(&app).await;
    assert_eq!(
        full.jobs.len(),
        2,
        "a quarter of a second at 20 a second, less what is kept"
    );
    app.meta.will_answer(&[(400, slow)]);
    app.answer(full).await;
    let row = sender(&app).await;
    assert!(
        row.slowed_to == 500 && row.slowed_at == app.now().micros(),
        "asked again, it slows down again"
    );
}

async fn a_retry_of_a_clock_ahead_is_due_after_its_own_pause(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    app.meta
        .will_answer(&[(500, r#"{"error":{"code":131016,"message":"passing"}}"#)]);
    let id = app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 1);
    app.pass(-HOURS);
    assert_eq!(app.send().await, 0);
    let told = story(&app, &id).await;
    assert!(
        told.contains("It waits until 2026-01-01T06:00:")
            && told.contains("the clock was changed. It is treated as due."),
        "{told}"
    );
    assert!(checked(&app).await.contains("retry 1"));
    assert!(mend(&app).await > 0);
    assert!(!checked(&app).await.contains("retry"));
    assert_eq!(app.send().await, 0, "its pause is kept");
    app.pass(30);
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
    let told = story(&app, &id).await;
    assert!(
        told.contains("The clock was changed: it waited until 2026-01-01T06:00:"),
        "{told}"
    );
}

async fn what_was_asked_for_at_a_later_time_waits_for_it(database: Database) {
    let app = ready(&database, &[]).await;
    let at = app.now().plus_seconds(3 * 3600);
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1", "send_at": at.to_string() });
    assert_eq!(app.post("/api/v1/notifications", &body).await.0, 202);
    // Wrong now, and right again an hour later.
    app.pass(-HOURS);
    mend(&app).await;
    assert_eq!(app.send().await, 0);
    app.pass(HOURS + 3600);
    mend(&app).await;
    assert_eq!(app.send().await, 0, "two hours are left");
    app.pass(2 * 3600);
    assert_eq!(app.send().await, 1);
    // What was not asked for at a later time was due when it was made.
    app.pass(HOURS);
    let id = app.order("A-1", "+12025550102").await;
    app.pass(-HOURS);
    assert_eq!(app.send().await, 0);
    mend(&app).await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn a_lease_of_a_clock_ahead_is_one_full_lease_and_ends_as_unknown(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    let id = app.order("A-1", "+12025550101").await;
    // The process that makes the call is gone, or somewhere else.
    drop(claimed(&app).await);
    app.pass(-HOURS);
    let told = story(&app, &id).await;
    assert!(
        told.contains("one full lease from when this is seen"),
        "{told}"
    );
    assert!(checked(&app).await.contains("lease 1"));
    assert_eq!(mend(&app).await, 1);
    app.watch().await;
    assert_eq!(
        app.status_of(&id).await,
        "sending",
        "its holder may be alive"
    );
    app.pass(59);
    mend(&app).await;
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "sending");
    app.pass(2);
    app.watch().await;
    let found = app.notification(&id).await;
    assert_eq!(
        (&found["status"], &found["attempts"][0]["outcome"]),
        (&json!("unknown"), &json!("unknown")),
        "it may have been sent"
    );
    // The same of the wait for a callback that tells.
    app.pass(HOURS);
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "gave_up");
    assert_eq!(app.meta.calls(), 0);
    app.meta.will_answer(&[(1, "")]);
    let id = app.order("A-2", "+12025550102").await;
    app.send().await;
    app.pass(-HOURS);
    assert!(checked(&app).await.contains("unknown_outcome 1"));
    mend(&app).await;
    app.pass(899);
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "unknown");
    app.pass(2);
    app.watch().await;
    assert_eq!(app.status_of(&id).await, "gave_up");
}

async fn a_call_that_is_open_is_not_sent_again_however_the_clock_goes(database: Database) {
    let app = ready(&database, &[("HERALD_UNKNOWN_POLICY", "resend")]).await;
    let id = app.order("A-1", "+12025550101").await;
    let open = claimed(&app).await;
    assert_eq!(open.jobs.len(), 1);
    for step in [-HOURS, 2 * HOURS, 901, -HOURS, HOURS + 901, 901] {
        app.pass(step);
        mend(&app).await;
        app.watch().await;
        assert_eq!(app.send().await, 0, "after {step} seconds");
    }
    assert_eq!(app.status_of(&id).await, "unknown");
    app.answer(open).await;
    assert_eq!(app.status_of(&id).await, "accepted");
    app.pass(HOURS);
    app.settle().await;
    assert_eq!(app.meta.calls(), 1);
    // One that ends with its process is sent again, as the policy says.
    let id = app.order("A-2", "+12025550102").await;
    drop(claimed(&app).await);
    app.pass(61);
    app.watch().await;
    app.pass(901);
    app.watch().await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn a_callback_taken_by_a_clock_ahead_is_applied_after_one_lease(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let at = app.now().unix_seconds();
    app.pass(HOURS);
    let body = value(json!({ "statuses": [status("wamid.FAKE0", None, "delivered", at, None)] }));
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    // The process that had it in memory is gone.
    drop(app.handover.take_all());
    app.pass(-HOURS);
    assert!(checked(&app).await.contains("callback_lease 1"));
    mend(&app).await;
    app.process().await;
    assert_eq!(app.status_of(&id).await, "accepted");
    app.pass(61);
    app.process().await;
    assert_eq!(app.status_of(&id).await, "delivered");
}

const AFTER_AN_HOUR: &str = r#"
[[rule]]
name = "demo-after-an-hour"
on = "delivered"
after = "1h"
unless = ["read", "replied"]
[rule.send]
to = "same"
template = "jaspers_market_plain_text_v1"
"#;

async fn reminded(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&format!("{DEMO}{AFTER_AN_HOUR}")).await;
    app
}

async fn a_timer_of_a_clock_ahead_fires_after_its_own_time(database: Database) {
    let app = reminded(&database).await;
    app.pass(HOURS);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(-HOURS);
    let told = story(&app, &id).await;
    assert!(told.contains("The rule waits until"), "{told}");
    assert!(checked(&app).await.contains("timer"));
    assert!(mend(&app).await > 0);
    mend(&app).await;
    app.pass(3599);
    mend(&app).await;
    app.follow_up().await;
    assert_eq!(app.send().await, 0);
    app.pass(2);
    app.follow_up().await;
    assert_eq!(app.send().await, 1);
    // The one that waits for a day is not early either.
    app.pass(HOURS + 24 * 3600);
    app.follow_up().await;
    assert_eq!(app.send().await, 1, "the reminder of the demo, once");
}

async fn timers_are_not_early_because_a_callback_is_of_a_time_to_come(database: Database) {
    let app = reminded(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let ahead = 30 * 3600;
    app.pass(ahead);
    let body = value(json!({ "statuses": [] })).to_string().into_bytes();
    assert_eq!(app.callback_bytes(body).await, 200);
    app.pass(-ahead);
    app.pass(3601);
    app.follow_up().await;
    assert_eq!(app.send().await, 1, "an hour has passed, and no day");
}

async fn what_a_clock_ahead_has_sent_is_stale_in_time(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(-HOURS);
    mend(&app).await;
    let stale = async || {
        app.watch().await;
        let timeline = app.notification(&id).await["timeline"].to_string();
        timeline.contains("\"stale\"")
    };
    app.pass(1799);
    assert!(!stale().await);
    app.pass(2);
    assert!(stale().await, "half an hour after it was seen");
}

async fn a_reply_counts_for_what_a_clock_ahead_has_sent(database: Database) {
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.pass(-HOURS);
    app.pass(5);
    let at = app.now().unix_seconds().to_string();
    app.callback(json!({
        "contacts": [{ "profile": { "name": "Asha" }, "wa_id": "12025550101" }],
        "messages": [{ "from": "12025550101", "id": "wamid.IN1", "timestamp": at, "type": "text", "text": { "body": "thanks" } }],
    }))
    .await;
    let timeline = app.notification(&id).await["timeline"].to_string();
    assert!(timeline.contains("\"replied\""), "{timeline}");
}

async fn a_template_paused_by_a_clock_ahead_hears_what_comes_next(database: Database) {
    let app = ready(&database, &[("WHATSAPP_WABA_ID", "102290129340398")]).await;
    app.pass(HOURS);
    app.meta.will_answer(&[(
        400,
        r#"{"error":{"code":132015,"message":"(#132015) Template is Paused"}}"#,
    )]);
    app.order("A-1", "+12025550101").await;
    app.send().await;
    let statuses = "SELECT status FROM template_sync";
    assert_eq!(app.texts(statuses).await, ["paused"]);
    app.pass(-HOURS);
    mend(&app).await;
    app.pass(60);
    let approved = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "time": app.now().unix_seconds(),
        "changes": [{ "field": "message_template_status_update", "value": {
            "event": "APPROVED", "message_template_id": 1, "message_template_name": "order_confirmation", "message_template_language": "en_US" } }] }] });
    assert_eq!(
        app.callback_bytes(approved.to_string().into_bytes()).await,
        200
    );
    app.process().await;
    assert_eq!(app.texts(statuses).await, ["approved"]);
}

async fn pages_hear_of_what_comes_after_a_clock_was_ahead(database: Database) {
    let app = ready(&database, &[]).await;
    let cursor = async || store::live::cursor(&app.store, app.now()).await.unwrap();
    app.pass(HOURS);
    app.order("A-1", "+12025550101").await;
    app.pass(-HOURS);
    app.pass(10);
    let before = cursor().await;
    assert_eq!(before, cursor().await);
    app.order("A-2", "+12025550102").await;
    assert_ne!(before, cursor().await);
}

async fn a_worker_that_a_clock_ahead_has_seen_is_not_alive_for_ever(database: Database) {
    use herald::engine::runtime::heartbeat::{self, WorkerLiveness};
    let app = ready(&database, &[]).await;
    app.pass(HOURS);
    heartbeat::beat(&app.engine, "work", app.now())
        .await
        .unwrap();
    app.pass(-HOURS);
    let pulse = async || {
        let pulses = heartbeat::pulses(&app.engine, app.now()).await.unwrap();
        pulses
            .into_iter()
            .find(|(worker, _)| *worker == "work")
            .unwrap()
            .1
    };
    assert_eq!(
        pulse().await,
        WorkerLiveness::Missing,
        "it says nothing of now"
    );
    mend(&app).await;
    assert_eq!(pulse().await, WorkerLiveness::Alive);
    app.pass(61);
    assert_eq!(pulse().await, WorkerLiveness::Dead(61));
}

async fn the_processor_and_the_senders_look_again_after_a_step_back(database: Database) {
    let app = ready(&database, &[]).await;
    // It has looked into the table while the clock was ahead.
    app.pass(HOURS);
    app.process().await;
    app.pass(-HOURS);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let at = app.now().unix_seconds();
    let body = value(json!({ "statuses": [status("wamid.FAKE0", None, "delivered", at, None)] }));
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    drop(app.handover.take_all());
    app.pass(61);
    app.process().await;
    assert_eq!(app.status_of(&id).await, "delivered");
}

/// What a command says, with the machine's clock.
fn said(app: &TestApp, words: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    text(
        &command(&app.database_url, folder.path(), words)
            .output()
            .unwrap(),
    )
}

async fn check_and_explain_say_that_the_clock_was_changed(database: Database) {
    let app = ready(&database, PACED).await;
    // Six hours ahead of the machine's clock, by which commands go.
    let machine = Clock::System.now();
    app.pass(machine.micros_since(app.now()) / 1_000_000 + HOURS);
    app.meta
        .will_answer(&[(500, r#"{"error":{"code":131016,"message":"passing"}}"#)]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let told = said(&app, &["explain", &id]);
    assert!(
        told.contains("which is too far in the future: the clock was changed"),
        "{told}"
    );
    let found = said(&app, &["check"]);
    assert!(
        found.contains("WARNING  clock_changed")
            && found.contains("pace 1")
            && found.contains("retry 1"),
        "{found}"
    );
    assert!(found.contains("seconds from now"), "{found}");
}

async fn after_a_step_nothing_is_decided_for_one_lease(database: Database) {
    let app = ready(&database, &[]).await;
    let id = app.order("A-1", "+12025550101").await;
    // Another process makes this call.
    drop(claimed(&app).await);
    let mut watchdog = ClockWatchdog::default();
    let mut turn = async |monotonic| {
        watchdog
            .turn(&app.engine, app.now(), Duration::from_secs(monotonic))
            .await
            .unwrap()
    };
    turn(0).await;
    app.pass(1);
    turn(1).await;
    app.pass(HOURS);
    assert_eq!(turn(2).await, WorkerTurnOutcome::Idle);
    assert_eq!(app.status_of(&id).await, "sending");
    let wrong = herald::engine::insight::attention::findings(&app.engine, app.now())
        .await
        .unwrap();
    let finding = wrong
        .iter()
        .find(|finding| finding.kind.name() == "clock")
        .unwrap();
    assert!(
        finding.summary.contains("put forward by 21599 seconds"),
        "{}",
        finding.summary
    );
    app.pass(58);
    assert_eq!(turn(60).await, WorkerTurnOutcome::Idle);
    assert_eq!(app.status_of(&id).await, "sending");
    app.pass(2);
    assert_eq!(turn(62).await, WorkerTurnOutcome::Worked);
    assert_eq!(app.status_of(&id).await, "unknown");
    // What is due is sent meanwhile.
    assert!(app.engine.may_claim());
}

async fn after_a_step_nothing_is_deleted_for_an_hour(database: Database) {
    let app = ready(&database, &[]).await;
    let body = json!({ "to": "+12025550101", "template": "jaspers_market_plain_text_v1" });
    let asked = async || {
        app.post_with_key("/api/v1/notifications", &body, "key-1")
            .await
            .1
    };
    let first = asked().await;
    let year = 370 * 24 * 3600;
    app.pass(year);
    app.engine.clock.note(year * 1_000_000);
    let mut cleaner = herald::engine::runtime::retention::RetentionCleaner::default();
    let turn = cleanup::turn(&mut cleaner, &app.engine, app.now()).await;
    assert_eq!(turn.unwrap(), WorkerTurnOutcome::Idle);
    app.pass(-year);
    let again = asked().await;
    assert_eq!(
        first["notifications"][0]["id"], again["notifications"][0]["id"],
        "a repeat is still known"
    );
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 1);
}

async fn a_process_with_a_wrong_clock_takes_the_databases(database: Database) {
    let app = ready(&database, &[]).await;
    let right = Clock::System.now();
    let machine = Arc::new(AtomicI64::new(right.plus_seconds(HOURS).micros()));
    let reference = Arc::new(DatabaseClock::of(Arc::clone(&machine)));
    let clock = Clock::Following(Arc::clone(&reference));
    let off = || clock.now().micros_since(Clock::System.now()).abs() / 1_000_000;
    reference.follow(&app.store).await.unwrap();
    if database == Database::Sqlite {
        assert!(off() > HOURS - 60, "the machine's clock is the only one");
        return;
    }
    assert!(off() <= 1, "{}", off());
    // In between it goes by its own, and a measure that fails leaves it so.
    let before = clock.now();
    machine.fetch_add(1_500_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(clock.now().micros_since(before), 1_500_000);
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let secret = SecretString::from(url.clone());
    let away = connect::open(&secret, 2, connect::ConnectPurpose::Command)
        .await
        .unwrap();
    let name = url.rsplit('/').next().unwrap();
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    store::dialect::execute(app.store.raw_writer(), drop, [])
        .await
        .unwrap();
    assert!(reference.follow(&away).await.is_err());
    assert_eq!(clock.now().micros_since(before), 1_500_000);
    // Put right meanwhile, it is the same time as before.
    machine.fetch_add(-HOURS * 1_000_000, std::sync::atomic::Ordering::SeqCst);
    reference.follow(&app.store).await.unwrap();
    assert!(off() <= 1, "{}", off());
    let ahead = setting::clock_ahead_micros(&app.store, || clock.now()).await;
    assert!(ahead.unwrap().unwrap().abs() < 1_000_000);
}
