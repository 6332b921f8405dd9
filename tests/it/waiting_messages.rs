//! What waits for its turn with one person, or for its template, is in nobody else's way.

use herald::{
    engine::delivery::{self, sweeper},
    store::sender,
};
use serde_json::json;

use crate::harness::{DEMO, Database, TestApp};

crate::tests![
    what_waits_for_one_person_does_not_delay_another,
    what_waits_for_a_template_does_not_delay_another,
    turns_go_to_the_important_ones_first_and_leave_no_gaps,
    a_turn_is_shown_with_what_goes_first,
    what_waits_for_somebody_who_is_deleted_is_not_sent_and_not_forgotten,
    what_waits_for_two_contacts_goes_to_the_one_that_they_become,
    without_a_pace_of_people_what_waited_goes,
    what_is_too_much_for_one_look_is_passed_by_from_the_other_end,
    everybody_gets_their_turn_however_many_have_one,
    a_turn_behind_very_many_is_not_foretold,
    a_template_is_looked_at_however_many_others_are_waited_for,
    what_another_process_has_taken_of_the_pace_is_not_given_back,
];

/// The usual pace of a number: what is taken of it in vain would be missed.
const SETTINGS: &[(&str, &str)] = &[
    ("HERALD_SEND_PER_SECOND", "80"),
    ("HERALD_PAIR_BURST", "2"),
    ("HERALD_SEND_SLOTS", "16"),
];

async fn app(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn ask(app: &TestApp, to: &str, template: &str, priority: &str) -> String {
    let body = json!({ "to": to, "template": template, "priority": priority });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

const TEMPLATE: &str = "jaspers_market_plain_text_v1";
const CROWDED: &str = "+12025550101";
const OTHER: &str = "+12025550102";

/// As many messages of these as there are, and nothing of the queue's is left to be done.
async fn waiting(app: &TestApp, for_what: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM notification WHERE held_for = '{for_what}' AND due_at IS NULL"
    );
    app.number(&sql).await
}

async fn contact(app: &TestApp, number: &str) -> String {
    let query = format!("phone={}", number.replace('+', "%2B"));
    app.contact(&query).await["id"].as_str().unwrap().to_owned()
}

/// So many messages for somebody who is known, as they stand in the queue, or outside of it.
async fn fill(app: &TestApp, count: usize, state: &str, due: i64, held_for: &str, template: &str) {
    let (id, series) = if app.database_url.starts_with("sqlite:") {
        (
            "randomblob(16)",
            format!(
                "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count}) SELECT i FROM s) AS s"
            ),
        )
    } else {
        (
            "gen_random_uuid()",
            format!("generate_series(1, {count}) AS s(i)"),
        )
    };
    let now = app.now().micros();
    let due = if due > 0 {
        due.to_string()
    } else {
        "NULL".to_owned()
    };
    app.sql(&format!(
        "INSERT INTO notification (id, created_at, updated_at, depth, channel, contact_id, recipient, address, kind, template, \
         language, category, params, body, labels, priority, generation, status, open_status, engine_state, triggered, replied, \
         attempt_count, due_at, sender_id, held_for) \
         SELECT {id}, {now}, {now}, 0, 'whatsapp', (SELECT contact_id FROM contact_alias WHERE value = '{CROWDED}'), '{CROWDED}', \
         '{CROWDED}', 'template', {template}, 'en_US', 'utility', '{{}}', '', '{{}}', 2, 1, '{state}', '{state}', '{state}', 0, false, \
         0, {due}, (SELECT id FROM sender), {held_for} FROM {series}"
    ))
    .await;
}

async fn pace(app: &TestApp) -> i64 {
    app.number("SELECT pace_next_at FROM sender").await
}

async fn what_waits_for_one_person_does_not_delay_another(database: Database) {
    let app = app(&database, SETTINGS).await;
    for _ in 0..200 {
        ask(&app, CROWDED, TEMPLATE, "normal").await;
    }
    let other = ask(&app, OTHER, TEMPLATE, "normal").await;
    // In one claim, though it could take only 16 of the 201.
    assert_eq!(app.send().await, 2 + 1);
    assert_eq!(app.status_of(&other).await, "accepted");
    assert_eq!(waiting(&app, "turn").await, 198);
    assert_eq!(app.number("SELECT count(*) FROM attempt").await, 3);
    // Three calls were made, and three were charged: 80 in a little more than a second.
    let taken = pace(&app).await - app.now().micros();
    assert!(taken < 25_000 + 4 * 12_750, "{taken}");
    // Another one later: nothing that waits is looked at.
    let before = app
        .number("SELECT max(updated_at) FROM notification WHERE held_for = 'turn'")
        .await;
    app.pass(1);
    let other = ask(&app, OTHER, TEMPLATE, "normal").await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&other).await, "accepted");
    let after = app
        .number("SELECT max(updated_at) FROM notification WHERE held_for = 'turn'")
        .await;
    assert_eq!(before, after);
    // And all of them arrive.
    for _ in 0..198 {
        app.pass(6);
        assert_eq!(app.send().await, 1);
    }
    assert_eq!(waiting(&app, "turn").await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE status = 'accepted'")
            .await,
        202
    );
    // Once nothing waits, nothing is looked for.
    app.pass(6);
    assert_eq!(app.send().await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM conversation WHERE turn_at IS NOT NULL")
            .await,
        0
    );
}

async fn what_waits_for_a_template_does_not_delay_another(database: Database) {
    let settings = [SETTINGS, &[("HERALD_PAIR_SECONDS", "0")]].concat();
    let app = app(&database, &settings).await;
    app.sql(
        "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
         VALUES ('', 'jaspers_market_plain_text_v1', 'en_US', 1, 1, 'paused', 1)",
    )
    .await;
    for number in 0..100 {
        ask(&app, &format!("+120255501{number:02}"), TEMPLATE, "normal").await;
    }
    let other = app.order("B-1", OTHER).await;
    assert_eq!(app.send().await, 1);
    assert_eq!(app.status_of(&other).await, "accepted");
    assert_eq!(waiting(&app, "template").await, 100);
    // Each says so.
    assert_eq!(
        app.number("SELECT count(*) FROM timeline WHERE kind = 'held'")
            .await,
        100
    );
    // Approved again: all of them go, and nothing is kept out by those that still wait for another.
    app.sql("UPDATE template_sync SET status = 'approved'")
        .await;
    for _ in 0..3 {
        sweeper::release(&app.engine, app.now()).await.unwrap();
    }
    assert_eq!(waiting(&app, "template").await, 0);
    let mut sent = 0;
    for _ in 0..30 {
        sent += app.send().await;
        app.pass(1);
    }
    assert_eq!(sent, 100);
}

async fn turns_go_to_the_important_ones_first_and_leave_no_gaps(database: Database) {
    let app = app(&database, SETTINGS).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(ask(&app, CROWDED, TEMPLATE, "bulk").await);
    }
    assert_eq!(app.send().await, 2);
    let code = ask(&app, CROWDED, TEMPLATE, "otp").await;
    assert_eq!(app.send().await, 0);
    assert_eq!(app.status_of(&code).await, "queued");
    // One that is cancelled leaves no gap.
    let (status, answer) = app
        .post(
            &format!("/api/v1/notifications/{}/cancel", ids[2]),
            &json!({}),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    let mut order = Vec::new();
    for _ in 0..4 {
        app.pass(6);
        assert_eq!(app.send().await, 1);
        for id in ids.iter().skip(2).chain([&code]) {
            if !order.contains(id) && app.status_of(id).await == "accepted" {
                order.push(id.clone());
            }
        }
    }
    assert_eq!(order, [&code, &ids[3], &ids[4], &ids[5]].map(Clone::clone));
    // Whoever comes while nobody waits goes at once.
    app.pass(12);
    ask(&app, CROWDED, TEMPLATE, "bulk").await;
    assert_eq!(app.send().await, 1);
}

async fn a_turn_is_shown_with_what_goes_first(database: Database) {
    let app = app(&database, SETTINGS).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(ask(&app, CROWDED, TEMPLATE, "normal").await);
    }
    assert_eq!(app.send().await, 2);
    for (id, place) in ids.iter().skip(2).zip(1..) {
        let found = app.notification(id).await;
        assert_eq!(found["status"], "queued");
        assert_eq!(
            found["reason"],
            "this recipient has got many messages in a short time"
        );
        assert_eq!(
            found["waits_until"],
            app.now().plus_seconds(6 * place).to_string()
        );
        assert_eq!(found["attempts"], json!([]), "no attempt was used up");
    }
    let story = |id: &str| format!("/api/v1/notifications/{id}/story");
    let (_, first) = app.get(&story(&ids[2])).await;
    let until = app.now().plus_seconds(6);
    assert_eq!(
        first["standing"],
        format!(
            "It is queued: this recipient has got many messages in a short time. It is looked at again at {until}."
        )
    );
    let (_, third) = app.get(&story(&ids[4])).await;
    assert_eq!(
        third["standing"],
        "It is queued: this recipient has got many messages in a short time, and 2 others go first."
    );
}

async fn what_waits_for_somebody_who_is_deleted_is_not_sent_and_not_forgotten(database: Database) {
    let app = app(&database, SETTINGS).await;
    for _ in 0..4 {
        ask(&app, CROWDED, TEMPLATE, "normal").await;
    }
    assert_eq!(app.send().await, 2);
    assert_eq!(waiting(&app, "turn").await, 2);
    let id = contact(&app, CROWDED).await;
    let (code, answer) = app
        .admin("DELETE", &format!("/api/v1/contacts/{id}"), &json!({}))
        .await;
    assert!(code < 300, "{code} {answer}");
    app.pass(60);
    assert_eq!(app.send().await, 0);
    assert_eq!(waiting(&app, "turn").await, 0);
    let open = "SELECT count(*) FROM notification WHERE open_status IS NOT NULL AND open_status NOT IN ('accepted')";
    assert_eq!(app.number(open).await, 0, "none of them waits for ever");
}

async fn what_waits_for_two_contacts_goes_to_the_one_that_they_become(database: Database) {
    let app = app(&database, SETTINGS).await;
    for to in [CROWDED, OTHER] {
        for _ in 0..4 {
            ask(&app, to, TEMPLATE, "normal").await;
        }
    }
    assert_eq!(app.send().await, 4);
    assert_eq!(waiting(&app, "turn").await, 4);
    let (one, two) = (contact(&app, CROWDED).await, contact(&app, OTHER).await);
    let body = json!({ "contact": one, "other": two });
    let (code, answer) = app.admin("POST", "/api/v1/contacts/merge", &body).await;
    assert_eq!(code, 200, "{answer}");
    // The pace is that of one person now.
    for _ in 0..4 {
        app.pass(6);
        assert_eq!(app.send().await, 1);
    }
    assert_eq!(waiting(&app, "turn").await, 0);
}

async fn without_a_pace_of_people_what_waited_goes(database: Database) {
    let first = app(&database, SETTINGS).await;
    for _ in 0..5 {
        ask(&first, CROWDED, TEMPLATE, "normal").await;
    }
    assert_eq!(first.send().await, 2);
    first.pass(6);
    let meta = first.meta.clone();
    let now = first.now();
    let (url, _folder) = first.shut_down().await;
    let mut app = TestApp::start(&url, &[("HERALD_PAIR_SECONDS", "0")]).await;
    app.pass(now.micros_since(app.now()) / 1_000_000);
    app.meta = meta;
    assert_eq!(app.send().await, 3);
}

/// The template that everything is sent with, as a literal.
const QUOTED: &str = "'jaspers_market_plain_text_v1'";

async fn what_is_too_much_for_one_look_is_passed_by_from_the_other_end(database: Database) {
    let app = app(&database, SETTINGS).await;
    ask(&app, CROWDED, TEMPLATE, "normal").await;
    assert_eq!(app.send().await, 1);
    app.pass(60);
    fill(
        &app,
        700,
        "queued",
        app.now().micros() - 1_000_000,
        "NULL",
        QUOTED,
    )
    .await;
    let other = ask(&app, OTHER, TEMPLATE, "normal").await;
    let slots = delivery::ProviderCallSlots::each(16);
    let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    app.answer(claim).await;
    // One claim: 16 and the next 500, and not the 184 behind them.
    assert_eq!(app.status_of(&other).await, "accepted");
    let aside = waiting(&app, "turn").await;
    assert!((500..700).contains(&aside), "{aside}");
    app.send().await;
    assert_eq!(waiting(&app, "turn").await, 698);
}

async fn everybody_gets_their_turn_however_many_have_one(database: Database) {
    let settings = [("HERALD_SEND_PER_SECOND", "0"), ("HERALD_PAIR_BURST", "1")];
    let app = app(&database, &settings).await;
    // More than one claim gives turns to.
    for number in 100..152 {
        for _ in 0..2 {
            ask(&app, &format!("+1202555{number:04}"), TEMPLATE, "normal").await;
        }
    }
    assert_eq!(app.send().await, 52);
    assert_eq!(waiting(&app, "turn").await, 52);
    app.pass(6);
    assert_eq!(app.send().await, 52);
    // And without a pace of people, however many one of them has.
    fill(&app, 450, "queued", app.now().micros(), "NULL", QUOTED).await;
    assert_eq!(app.send().await, 0);
    assert_eq!(waiting(&app, "turn").await, 450);
    app.pass(6);
    let (meta, now) = (app.meta.clone(), app.now());
    let (url, _folder) = app.shut_down().await;
    let off = [
        ("HERALD_SEND_PER_SECOND", "0"),
        ("HERALD_PAIR_SECONDS", "0"),
    ];
    let mut app = TestApp::start(&url, &off).await;
    app.pass(now.micros_since(app.now()) / 1_000_000);
    app.meta = meta;
    assert_eq!(app.send().await, 450);
}

async fn a_turn_behind_very_many_is_not_foretold(database: Database) {
    let app = app(&database, SETTINGS).await;
    for _ in 0..2 {
        ask(&app, CROWDED, TEMPLATE, "normal").await;
    }
    assert_eq!(app.send().await, 2);
    let last = ask(&app, CROWDED, TEMPLATE, "bulk").await;
    app.send().await;
    fill(&app, 9_999, "queued", 0, "'turn'", QUOTED).await;
    let turn = app.now().plus_seconds(6 * 10_000).to_string();
    assert_eq!(app.notification(&last).await["waits_until"], turn);
    fill(&app, 1, "queued", 0, "'turn'", QUOTED).await;
    assert_eq!(app.notification(&last).await["waits_until"], json!(null));
}

async fn a_template_is_looked_at_however_many_others_are_waited_for(database: Database) {
    let app = app(&database, SETTINGS).await;
    ask(&app, CROWDED, TEMPLATE, "normal").await;
    assert_eq!(app.send().await, 1);
    fill(&app, 130, "held", 0, "'template'", "'paused_' || (100 + i)").await;
    fill(&app, 1, "held", 0, "'template'", "'ready'").await;
    app.sql(
        "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
         SELECT '', template, 'en_US', 1, 1, CASE WHEN template = 'ready' THEN 'approved' ELSE 'paused' END, 1 \
         FROM notification WHERE held_for = 'template'",
    )
    .await;
    sweeper::release(&app.engine, app.now()).await.unwrap();
    assert_eq!(waiting(&app, "template").await, 130);
    let due = "SELECT count(*) FROM notification WHERE template = 'ready' AND due_at IS NOT NULL";
    assert_eq!(app.number(due).await, 1);
}

async fn what_another_process_has_taken_of_the_pace_is_not_given_back(database: Database) {
    let app = app(&database, SETTINGS).await;
    let now = app.now();
    let (taken, theirs) = (now.plus_seconds(2), now.plus_seconds(3));
    app.sql(&format!(
        "UPDATE sender SET pace_next_at = {}",
        theirs.micros()
    ))
    .await;
    for (expected, is) in [(taken, theirs), (theirs, now)] {
        sender::give_back_pace(&app.store, app.sender, expected, now)
            .await
            .unwrap();
        assert_eq!(pace(&app).await, is.micros());
    }
}
