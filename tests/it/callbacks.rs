//! From callbacks to facts.

use herald::engine::delivery::sweeper;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{DEMO, Database, TestApp, fresh_blocker, status, value, without_ids};

crate::tests![
    signed_callbacks_move_a_notification_to_read,
    a_status_before_the_answer_is_parked_and_joined,
    a_status_of_nobody_stays_parked,
    a_status_parked_while_its_answer_was_committed_is_joined_later,
    replies_are_kept_open_the_window_and_are_linked,
    an_item_that_cannot_be_applied_is_isolated_and_can_be_replayed,
    a_database_that_goes_away_dead_letters_nothing,
    what_a_dead_process_held_is_taken_over,
    a_body_that_ends_processes_is_isolated,
    replaying_a_callback_changes_nothing,
    two_processes_change_the_same_notifications_at_once,
];

async fn sent_order(app: &TestApp) -> String {
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550101").await;
    assert_eq!(app.send().await, 1);
    id
}

async fn signed_callbacks_move_a_notification_to_read(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    for name in ["sent", "delivered", "read"] {
        app.pass(2);
        app.told(&id, name, None).await;
        assert_eq!(app.status_of(&id).await, name);
    }
    app.told(&id, "sent", None).await;
    assert_eq!(
        app.status_of(&id).await,
        "read",
        "a late `sent` does not downgrade"
    );
    insta::assert_json_snapshot!(
        "a_notification_that_was_read",
        without_ids(app.notification(&id).await)
    );
}

async fn a_status_before_the_answer_is_parked_and_joined(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550101").await;
    // The fake names its first message so; the status comes before the call is made.
    app.callback(
        json!({ "statuses": [status("wamid.FAKE0", None, "delivered", 1_767_225_605, None)] }),
    )
    .await;
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 1);
    assert_eq!(app.status_of(&id).await, "queued");
    app.send().await;
    assert_eq!(app.status_of(&id).await, "delivered");
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 0);
}

async fn a_status_of_nobody_stays_parked(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    let other = Uuid::new_v4().to_string();
    app.callback(json!({ "statuses": [status("wamid.OTHER", Some(&other), "read", 1, None)] }))
        .await;
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 1);
    assert_eq!(app.status_of(&id).await, "accepted");
}

async fn a_status_parked_while_its_answer_was_committed_is_joined_later(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550101").await;
    app.callback(json!({ "statuses": [
        status("wamid.FAKE0", None, "read", 1_767_225_605, None),
        status("wamid.NOBODY", None, "read", 1_767_225_605, None),
    ] }))
    .await;
    // The settling transaction does not see what is parked at the same moment.
    app.sql("UPDATE parked_status SET provider_message_id = provider_message_id || '-later'")
        .await;
    app.send().await;
    app.sql(
        "UPDATE parked_status SET provider_message_id = replace(provider_message_id, '-later', '')",
    )
    .await;
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(
        sweeper::parked_turn(&app.engine, app.now()).await.unwrap(),
        1
    );
    assert_eq!(app.status_of(&id).await, "read");
    assert_eq!(app.number("SELECT count(*) FROM parked_status").await, 1);
    app.pass(24 * 3600 + 1);
    sweeper::parked_turn(&app.engine, app.now()).await.unwrap();
    // It was not ours: kept as that, and counted apart.
    let (_, metrics) = app.text("/metrics").await;
    assert!(metrics.contains("herald_parked_statuses 0"), "{metrics}");
    assert!(metrics.contains("herald_statuses_not_ours 1"), "{metrics}");
}

async fn replies_are_kept_open_the_window_and_are_linked(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    app.told(&id, "delivered", None).await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    app.pass(60);
    let at = app.now().unix_seconds().to_string();
    let contacts = json!([{ "profile": { "name": "Asha" }, "wa_id": "12025550101" }]);
    app.callback(json!({ "contacts": contacts, "messages": [
        { "id": "wamid.in1", "from": "12025550101", "timestamp": at, "type": "button",
          "button": { "payload": "CONFIRM", "text": "Confirm" }, "context": { "id": wamid } },
        { "id": "wamid.in2", "from": "12025550101", "timestamp": at, "type": "text", "text": { "body": "Thanks" } },
        { "id": "wamid.in3", "from": "12025550101", "timestamp": at, "type": "interactive",
          "interactive": { "type": "list_reply", "list_reply": { "id": "row-1", "title": "First" } } },
        { "id": "wamid.in4", "from_user_id": "US.13491208655302741918", "timestamp": at, "type": "sticker", "sticker": {} },
    ] })).await;
    let (_, found) = app.get("/api/v1/messages?phone=%2B12025550101").await;
    let messages: Vec<(Value, Value, Value)> = found["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            (
                message["kind"].clone(),
                message["text"].clone(),
                message["payload"].clone(),
            )
        })
        .collect();
    assert_eq!(
        json!(messages),
        json!([
            ["interactive", "First", "row-1"],
            ["text", "Thanks", null],
            ["button", "Confirm", "CONFIRM"]
        ])
    );
    assert_eq!(found["messages"][2]["notification"], id.as_str());
    let (_, all) = app.get("/api/v1/messages").await;
    assert_eq!(
        all["messages"].as_array().unwrap().len(),
        4,
        "a person without a number is kept too"
    );
    let story = app.notification(&id).await;
    let lines: Vec<&Value> = story["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| &line["kind"])
        .collect();
    assert_eq!(
        lines.iter().filter(|kind| **kind == "replied").count(),
        1,
        "{lines:?}"
    );
    // The window is open: free text goes out, and closes after a day.
    let body = json!({ "to": "+12025550101", "text": "You are welcome" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    app.send().await;
    assert_eq!(
        app.status_of(answer["notifications"][0]["id"].as_str().unwrap())
            .await,
        "accepted"
    );
    app.pass(24 * 3600);
    let (_, answer) = app.post("/api/v1/notifications", &body).await;
    app.send().await;
    let late = app
        .notification(answer["notifications"][0]["id"].as_str().unwrap())
        .await;
    assert_eq!(
        (&late["status"], &late["failure"]["title"]),
        (&json!("failed"), &json!("window_closed"))
    );
    // The same message again changes nothing.
    let before = app.timeline_lines().await;
    app.callback(json!({ "note": "again", "messages": [
        { "id": "wamid.in2", "from": "12025550101", "timestamp": at, "type": "text", "text": { "body": "Thanks" } } ] })).await;
    assert_eq!(app.timeline_lines().await, before);
}

/// Makes the database refuse one message by its own means.
async fn break_message(app: &TestApp, database: &Database) {
    match database {
        Database::Sqlite => {
            app.sql(
                "CREATE TRIGGER broken BEFORE INSERT ON inbound_message WHEN NEW.provider_message_id = 'wamid.poison' \
                 BEGIN SELECT RAISE(ABORT, 'played by a test'); END",
            )
            .await;
        }
        Database::Postgres => {
            app.sql(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.provider_message_id = 'wamid.poison' THEN RAISE EXCEPTION 'played by a test' USING ERRCODE = '22000'; \
                 END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER broken BEFORE INSERT ON inbound_message FOR EACH ROW EXECUTE FUNCTION broken()",
            )
            .await;
        }
    }
}

async fn an_item_that_cannot_be_applied_is_isolated_and_can_be_replayed(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    break_message(&app, &database).await;
    let message = |id: &str| json!({ "id": id, "from": "12025550177", "timestamp": "1767225600", "type": "text", "text": { "body": "x" } });
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let mut messages: Vec<Value> = (0..50)
        .map(|number| message(&format!("wamid.fine{number}")))
        .collect();
    messages.insert(17, message("wamid.poison"));
    let read = status(wamid.as_str().unwrap(), None, "read", 1_767_225_610, None);
    app.callback(json!({ "messages": messages, "statuses": [read] }))
        .await;
    assert_eq!(app.status_of(&id).await, "read");
    assert_eq!(app.number("SELECT count(*) FROM inbound_message").await, 50);
    assert_eq!(app.number("SELECT count(*) FROM dead_letter WHERE pointer = '/entry/0/changes/0/value/messages/17'").await, 1);
    assert_eq!(app.newest_counts().await, (52, 1));
    let callback = app.newest_callback().await;
    assert_eq!(
        app.replay(callback).await.dead,
        1,
        "the fault is still there"
    );
    app.sql(match database {
        Database::Sqlite => "DROP TRIGGER broken",
        Database::Postgres => "DROP TRIGGER broken ON inbound_message",
    })
    .await;
    assert_eq!(app.replay(callback).await.dead, 0);
    assert_eq!(app.number("SELECT count(*) FROM inbound_message").await, 51);
    assert_eq!(
        app.number("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL")
            .await,
        0
    );
}

async fn a_database_that_goes_away_dead_letters_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let body = value(
        json!({ "statuses": [status(wamid.as_str().unwrap(), None, "read", 1_767_225_610, None)] }),
    );
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    let blocker = fresh_blocker(&app.database_url).await;
    let mut processor = herald::workers::inbox::CallbackProcessor::default();
    let failed = processor.turn(&app.engine, &app.handover, app.now());
    let failed = Box::pin(blocker.while_blocked(&app.engine, failed)).await;
    assert!(
        failed.is_err_and(|error| error.is_transient()),
        "the turn did not fail for a passing reason"
    );
    blocker.release().await;
    app.reconnect().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
    // The same processor repeats what it holds.
    for _ in 0..20 {
        if processor
            .turn(&app.engine, &app.handover, app.now())
            .await
            .is_ok()
        {
            break;
        }
    }
    assert_eq!(app.status_of(&id).await, "read");
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn what_a_dead_process_held_is_taken_over(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let body = value(
        json!({ "statuses": [status(wamid.as_str().unwrap(), None, "read", 1_767_225_610, None)] }),
    );
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    // The process dies: what it held in memory is gone.
    assert_eq!(app.handover.take_all().len(), 1);
    app.process().await;
    assert_eq!(
        app.status_of(&id).await,
        "accepted",
        "the lease still protects it"
    );
    app.pass(61);
    app.process().await;
    assert_eq!(app.status_of(&id).await, "read");
}

async fn a_body_that_ends_processes_is_isolated(database: Database) {
    let app = TestApp::spawn(&database).await;
    assert_eq!(app.callback_bytes(br#"{"entry":[]}"#.to_vec()).await, 200);
    app.handover.take_all();
    // Three processes take it up and die, the last one while it worked on nothing else.
    app.sql("UPDATE inbox_pending SET tries = 3, alone_at = 0, leased_until = 0")
        .await;
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 1);
    assert_eq!(app.callbacks_applied().await, 1);
    assert_eq!(app.newest_counts().await, (1, 1));
    // One that ended a process twice is tried once more, alone.
    assert_eq!(
        app.callback_bytes(br#"{"entry":[],"x":1}"#.to_vec()).await,
        200
    );
    app.handover.take_all();
    app.pass(2);
    app.sql("UPDATE inbox_pending SET tries = 2, leased_until = 0")
        .await;
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 1);
    assert_eq!(app.callbacks_waiting().await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM inbox_applied_body").await,
        0
    );
}

async fn replaying_a_callback_changes_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = sent_order(&app).await;
    app.told(&id, "delivered", None).await;
    let before = (app.notification(&id).await, app.stats().await);
    let callback = app.newest_callback().await;
    app.replay(callback).await;
    let after = (app.notification(&id).await, app.stats().await);
    assert_eq!(before.1, after.1);
    for key in ["status", "attempts", "follow_ups"] {
        assert_eq!(before.0[key], after.0[key]);
    }
    let last = after.0["timeline"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        last["kind"], "ignored",
        "the replay itself is on the timeline"
    );
}

async fn two_processes_change_the_same_notifications_at_once(database: Database) {
    let one = TestApp::spawn(&database).await;
    one.apply_catalogue(DEMO).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(
            one.order(&format!("A-{number}"), &format!("+1202555{number:04}"))
                .await,
        );
    }
    one.send().await;
    // A second process on PostgreSQL; on SQLite a second worker of the first.
    let two = match database {
        Database::Postgres => Some(TestApp::start(&one.database_url, &[]).await),
        Database::Sqlite => None,
    };
    for name in ["sent", "read", "delivered", "read"] {
        for app in [Some(&one), two.as_ref()].into_iter().flatten() {
            let mut statuses = Vec::new();
            for id in &ids {
                let attempt = one.notification(id).await["attempts"][0].clone();
                statuses.push(status(
                    attempt["provider_message_id"].as_str().unwrap(),
                    attempt["id"].as_str(),
                    name,
                    one.now().unix_seconds() + i64::from(app.base == one.base),
                    None,
                ));
            }
            let body = value(json!({ "statuses": statuses })).to_string();
            assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
        }
    }
    match &two {
        Some(two) => {
            tokio::join!(one.process(), two.process());
        }
        None => one.process().await,
    }
    for id in &ids {
        assert_eq!(one.status_of(id).await, "read");
    }
    let stats = one.stats().await;
    assert_eq!(stats["read"], 20, "{stats}");
    assert_eq!(stats["delivered"], 20, "{stats}");
    assert_eq!(one.number("SELECT count(*) FROM dead_letter").await, 0);
    assert_eq!(one.callbacks_waiting().await, 0);
}
