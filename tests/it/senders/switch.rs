//! The default, named senders, holding by hand and going on.

use herald::{engine::delivery::sweeper, workers::senders::hold_turn};
use serde_json::{Value, json};

use super::{SECOND, add, ask, with_graph};
use crate::harness::{Database, TestApp};

crate::tests![
    the_default_is_switched_for_what_has_no_sender_yet,
    there_is_never_a_second_default,
    a_named_sender_sends_and_its_backlog_is_in_nobodys_way,
    whoever_heard_from_a_number_is_reminded_from_it,
    a_route_names_its_sender,
    a_sender_held_by_hand_keeps_its_queue,
    what_waited_too_long_is_discarded_when_it_goes_on,
    a_new_number_in_the_environment_is_the_default_when_the_old_one_cannot_send,
    a_token_that_cannot_be_read_here_takes_no_queue_from_others,
    a_template_waits_for_its_own_account_only,
    the_important_ones_go_first_when_it_goes_on,
];

async fn post(app: &TestApp, path: &str, body: Value) -> Value {
    let (code, answer) = app.admin("POST", path, &body).await;
    assert_eq!(code, 200, "{path} {answer}");
    answer
}

async fn the_default_is_switched_for_what_has_no_sender_yet(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let shop = add(&app, "shop", SECOND, json!({})).await;
    ask(&app, "+12025550150", None).await;
    assert_eq!(app.send_of(shop).await, 0, "it is not the default");
    assert_eq!(app.send_of(app.sender).await, 1);
    ask(&app, "+12025550151", None).await;
    post(&app, "/api/v1/senders/shop/default", json!({})).await;
    assert_eq!(app.send_of(app.sender).await, 0);
    assert_eq!(app.send_of(shop).await, 1);
    assert_eq!(graph.last().0, SECOND);
    let (_, senders) = app.get("/api/v1/senders").await;
    let defaults: Vec<&Value> = senders
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["default"] == true)
        .collect();
    assert_eq!((defaults.len(), &defaults[0]["name"]), (1, &json!("shop")));
}

async fn there_is_never_a_second_default(database: Database) {
    let app = TestApp::spawn(&database).await;
    for (name, number) in [("a", "1"), ("b", "2"), ("c", "3")] {
        add(&app, name, number, json!({})).await;
    }
    let switches = ["a", "b", "c", "a", "c", "b"].map(async |name| {
        let path = format!("/api/v1/senders/{name}/default");
        app.admin("POST", &path, &json!({})).await.0
    });
    let codes = futures_util::future::join_all(switches).await;
    assert_eq!(codes, [200; 6]);
    assert_eq!(
        app.number("SELECT count(*) FROM sender WHERE is_default")
            .await,
        1
    );
    let second = app
        .store
        .write(async |tx| {
            herald::store::dialect::execute(tx, "UPDATE sender SET is_default = true", []).await?;
            Ok(())
        })
        .await;
    assert!(second.is_err(), "the database itself refuses it");
}

async fn a_named_sender_sends_and_its_backlog_is_in_nobodys_way(database: Database) {
    let (app, graph) = with_graph(&database, &[("HERALD_SEND_SLOTS", "2")]).await;
    let shop = add(&app, "shop", SECOND, json!({})).await;
    for number in 150..155 {
        ask(&app, &format!("+12025550{number}"), Some("shop")).await;
    }
    let id = ask(&app, "+12025550160", None).await;
    assert_eq!(app.send_of(app.sender).await, 1, "only what is its own");
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.send_of(shop).await, 5);
    assert_eq!(
        graph.last(),
        (SECOND.to_owned(), "token-of-shop-0123456789".to_owned())
    );
    let body = json!({ "to": "+12025550150", "template": "jaspers_market_plain_text_v1", "sender": "nobody" });
    let (code, problem) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/sender"))
    );
}

async fn whoever_heard_from_a_number_is_reminded_from_it(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    app.apply_catalogue(
        r#"
        name = "reminders"
        [[rule]]
        name = "again"
        on = "accepted"
        [rule.send]
        to = "same"
        template = "jaspers_market_plain_text_v1"
        "#,
    )
    .await;
    let shop = add(&app, "shop", SECOND, json!({})).await;
    ask(&app, "+12025550150", Some("shop")).await;
    assert_eq!(app.send_of(shop).await, 1);
    app.follow_up().await;
    assert_eq!(
        (app.send_of(app.sender).await, app.send_of(shop).await),
        (0, 1)
    );
    assert_eq!(graph.last().0, SECOND);
}

async fn a_route_names_its_sender(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    app.apply_catalogue(
        r#"
        name = "routes"
        [[route]]
        name = "from-the-shop"
        event = "routes.sold"
        to = "{{ data.phone }}"
        template = "jaspers_market_plain_text_v1"
        sender = "shop"
        "#,
    )
    .await;
    let early = app
        .event("1", "routes.sold", json!({ "phone": "+12025550150" }))
        .await;
    assert_eq!(early["routes"][0]["outcome"], "error", "{early}");
    assert!(
        early.to_string().contains("there is no sender named shop"),
        "{early}"
    );
    let shop = add(&app, "shop", SECOND, json!({})).await;
    app.event("2", "routes.sold", json!({ "phone": "+12025550150" }))
        .await;
    assert_eq!(app.send_of(shop).await, 1);
    assert_eq!(graph.last().0, SECOND);
}

async fn a_sender_held_by_hand_keeps_its_queue(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let shop = add(&app, "shop", SECOND, json!({})).await;
    let view = post(
        &app,
        "/api/v1/senders/shop/hold",
        json!({ "reason": "moving the number" }),
    )
    .await;
    assert_eq!(
        (&view["state"], &view["reason"]),
        (&json!("off"), &json!("moving the number"))
    );
    let waits = ask(&app, "+12025550150", Some("shop")).await;
    assert_eq!(app.send_of(shop).await, 0);
    hold_turn(&app.engine, app.now()).await.unwrap();
    let held = app.notification(&waits).await;
    assert_eq!(
        (&held["status"], &held["reason"]),
        (
            &json!("held"),
            &json!("the sender shop is held by hand: moving the number")
        )
    );
    // Another sender goes on, and time alone releases nothing.
    let goes = ask(&app, "+12025550151", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    assert_eq!(app.status_of(&goes).await, "accepted");
    app.pass(3600);
    sweeper::release(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.send_of(shop).await, 0);
    let late = ask(&app, "+12025550152", Some("shop")).await;
    app.pass(23 * 3600 + 1);
    app.watch().await;
    assert_eq!(
        app.status_of(&waits).await,
        "expired",
        "what is held expires as always"
    );
    let released = post(&app, "/api/v1/senders/shop/release", Value::Null).await;
    assert_eq!(
        (&released["discarded"], &released["sender"]["state"]),
        (&json!(0), &json!("active"))
    );
    assert_eq!(app.send_of(shop).await, 1);
    assert_eq!(
        (app.status_of(&late).await.as_str(), graph.last().0.as_str()),
        ("accepted", SECOND)
    );
}

async fn what_waited_too_long_is_discarded_when_it_goes_on(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let name = format!("/api/v1/senders/{}", app.sender);
    post(
        &app,
        &format!("{name}/hold"),
        json!({ "reason": "restored from a backup" }),
    )
    .await;
    let old = ask(&app, "+12025550150", None).await;
    hold_turn(&app.engine, app.now()).await.unwrap();
    app.pass(3 * 3600);
    let young = ask(&app, "+12025550151", None).await;
    let friday = json!({ "to": "+12025550152", "template": "jaspers_market_plain_text_v1", "send_at": "2026-01-09T00:00:00Z" });
    let (_, friday) = app.post("/api/v1/notifications", &friday).await;
    let friday = friday["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.pass(3 * 3600);
    let young = if app.status_of(&young).await == "queued" {
        ask(&app, "+12025550153", None).await
    } else {
        young
    };
    let wish = json!({ "discard_older_than_seconds": 7200, "dry_run": true });
    let would = post(&app, &format!("{name}/release"), wish).await;
    assert_eq!(
        (&would["discarded"], &would["sender"]["state"]),
        (&json!(2), &json!("off"))
    );
    assert_eq!(app.status_of(&old).await, "held");
    let wish = json!({ "discard_older_than_seconds": 7200 });
    assert_eq!(
        post(&app, &format!("{name}/release"), wish).await["discarded"],
        2
    );
    assert_eq!(app.status_of(&friday).await, "queued", "it has not waited");
    app.send_of(app.sender).await;
    let discarded = app.notification(&old).await;
    assert_eq!(discarded["status"], "cancelled");
    assert!(
        discarded["reason"]
            .as_str()
            .unwrap()
            .contains("waited too long"),
        "{discarded}"
    );
    assert_eq!(app.status_of(&young).await, "accepted");
    assert_eq!(graph.calls().len(), 1);
}

async fn a_new_number_in_the_environment_is_the_default_when_the_old_one_cannot_send(
    database: Database,
) {
    let (app, graph) = with_graph(&database, &[]).await;
    let (url, _folder) = app.shut_down().await;
    let settings = [
        ("WHATSAPP_API_BASE", graph.base.as_str()),
        ("WHATSAPP_PHONE_NUMBER_ID", SECOND),
    ];
    let app = TestApp::start(&url, &settings).await;
    let (_, senders) = app.get("/api/v1/senders").await;
    let default = senders
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["default"] == true)
        .unwrap();
    assert_eq!(default["phone_number_id"], SECOND);
    let id = default["id"].as_str().unwrap().parse().unwrap();
    ask(&app, "+12025550150", None).await;
    assert_eq!(app.send_of(id).await, 1);
    assert_eq!(graph.last().0, SECOND);
    let (_, page) = app.admin("GET", "/api/v1/audit", &Value::Null).await;
    let entries = page["entries"].as_array().unwrap();
    let change = entries
        .iter()
        .find(|entry| entry["action"] == "sender.default");
    assert_eq!(change.unwrap()["actor"], "herald");
}

async fn a_token_that_cannot_be_read_here_takes_no_queue_from_others(database: Database) {
    let (app, _graph) = with_graph(&database, &[]).await;
    add(&app, "shop", SECOND, json!({})).await;
    let id = ask(&app, "+12025550150", Some("shop")).await;
    app.sql("UPDATE credential SET sealed = 'v1:00000000:' || substr(sealed, 13)")
        .await;
    app.sql("UPDATE setting SET value = '1000' WHERE name = 'senders_revision'")
        .await;
    app.engine.refresh_keyring().await.unwrap();
    assert!(app.engine.obstacle(None).is_none());
    hold_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        app.status_of(&id).await,
        "queued",
        "another process may have the key"
    );
    let (_, shop) = app.get("/api/v1/senders/shop").await;
    assert_eq!(shop["state"], "blocked");
}

async fn a_template_waits_for_its_own_account_only(database: Database) {
    let (app, _graph) = with_graph(&database, &[]).await;
    let path = format!("/api/v1/senders/{}", app.sender);
    app.admin("PATCH", &path, &json!({ "waba_id": "1" })).await;
    let shop = add(&app, "shop", SECOND, json!({ "waba_id": "2" })).await;
    let at = app.now().micros();
    let says = async |account: &str, status: &str, at: i64| {
        app.sql(&format!(
            "DELETE FROM template_sync WHERE account_id = '{account}'"
        ))
        .await;
        app.sql(&format!(
            "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
             VALUES ('{account}', 'jaspers_market_plain_text_v1', 'en_US', {at}, {at}, '{status}', {at})"
        ))
        .await;
    };
    says("1", "paused", at).await;
    says("2", "approved", at + 1).await;
    let waits = ask(&app, "+12025550150", None).await;
    let goes = ask(&app, "+12025550151", Some("shop")).await;
    app.send_of(app.sender).await;
    app.send_of(shop).await;
    assert_eq!(app.status_of(&goes).await, "accepted");
    assert_eq!(app.status_of(&waits).await, "held");
    for _ in 0..3 {
        assert_eq!(sweeper::release(&app.engine, app.now()).await.unwrap(), 0);
    }
    // The other account's newer word holds nothing back, either.
    says("2", "pending", at + 3).await;
    says("1", "approved", at + 2).await;
    assert_eq!(sweeper::release(&app.engine, app.now()).await.unwrap(), 1);
    app.send_of(app.sender).await;
    assert_eq!(app.status_of(&waits).await, "accepted");
}

async fn the_important_ones_go_first_when_it_goes_on(database: Database) {
    let (app, _graph) = with_graph(&database, &[]).await;
    let path = format!("/api/v1/senders/{}", app.sender);
    post(&app, &format!("{path}/hold"), json!({ "reason": "a test" })).await;
    let bulk = "INSERT INTO notification (id, created_at, updated_at, depth, channel, recipient, address, kind, template, language, \
        category, params, labels, priority, generation, status, open_status, engine_state, triggered, replied, attempt_count, held_for) ";
    let ids = if database == Database::Sqlite {
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 450) SELECT randomblob(16), 1, 1, 0, 'whatsapp', '+1', '+1', \
         'template', 'jaspers_market_plain_text_v1', 'en_US', 'utility', '{}', '{}', 3, 1, 'held', 'held', 'held', 0, false, 0, 'sender' FROM s"
    } else {
        "SELECT gen_random_uuid(), 1, 1, 0, 'whatsapp', '+1', '+1', \
         'template', 'jaspers_market_plain_text_v1', 'en_US', 'utility', '{}', '{}', 3, 1, 'held', 'held', 'held', 0, false, 0, 'sender' \
         FROM generate_series(1, 450)"
    };
    app.sql(&format!("{bulk}{ids}")).await;
    let body = json!({ "to": "+12025550150", "template": "jaspers_market_plain_text_v1", "priority": "otp" });
    app.post("/api/v1/notifications", &body).await;
    hold_turn(&app.engine, app.now()).await.unwrap();
    let (app, engine) = (&app, &app.engine);
    let whose = herald::store::notification::QueueSenderScope::Unassigned;
    let released = engine
        .store
        .write(async |tx| herald::store::notification::release(tx, whose, None, app.now(), 1).await)
        .await
        .unwrap();
    let first = app
        .number("SELECT priority FROM notification WHERE due_at IS NOT NULL")
        .await;
    assert_eq!((released, first), (1, 0));
    post(app, &format!("{path}/release"), Value::Null).await;
    assert_eq!(
        app.number("SELECT count(*) FROM notification WHERE engine_state = 'held'")
            .await,
        0,
        "all of them, at once"
    );
}
