//! A transition sends the follow-up: once, in time, or not at all.

use herald::engine::delivery::follow_up;
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, TestApp, crowd, group};

crate::tests![
    a_failed_message_alerts_the_group_and_skips_visibly,
    an_alert_that_fails_itself_alerts_nobody,
    a_timer_fires_once_when_it_is_due_and_not_read,
    a_receipt_cancels_the_timer_even_at_the_last_moment,
    a_child_whose_reason_has_gone_is_not_sent,
    a_removed_rule_fires_no_more,
    a_condition_that_cannot_be_evaluated_is_recorded,
    an_alert_that_was_overruled_says_so,
    a_reply_cancels_the_reminder,
    a_retry_opens_a_generation_in_which_rules_fire_again,
    timers_wait_while_older_callbacks_wait,
    timers_wait_as_long_as_a_backlog_moves_and_not_for_one_that_is_stuck,
    a_follow_up_the_database_refuses_stops_no_other,
    one_person_without_a_name_keeps_nobody_from_hearing,
    a_rule_for_many_is_worked_through_in_chunks_and_reaches_everybody_once,
    a_rule_for_many_ends_where_its_unless_came,
    many_rules_that_are_due_are_fired_a_chunk_at_a_time,
    a_rule_for_many_lets_others_pass_and_says_when_it_was_overruled,
    a_rule_for_many_goes_on_while_callbacks_keep_coming,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn children(app: &TestApp, template: &str) -> Vec<Value> {
    app.get(&format!("/api/v1/notifications?template={template}"))
        .await
        .1["notifications"]
        .as_array()
        .unwrap()
        .clone()
}

async fn a_failed_message_alerts_the_group_and_skips_visibly(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.follow_up().await;
    let alerts = children(&app, "hanna_message_send_failure").await;
    let mut said: Vec<_> = alerts
        .iter()
        .map(|alert| {
            (
                alert["recipient"].clone(),
                alert["status"].clone(),
                alert["reason"].clone(),
            )
        })
        .collect();
    said.sort_by_key(|(recipient, _, _)| recipient.to_string());
    assert_eq!(
        json!(said),
        json!([
            [
                "user:new-colleague",
                "skipped",
                "the user is not linked to a contact"
            ],
            ["user:tariro", "queued", null]
        ])
    );
    app.send().await;
    let body = &app.meta.request(1)["template"]["components"][0]["parameters"];
    assert_eq!(body[2]["text"], "131026");
    // Everything once more changes nothing.
    app.told(&id, "failed", Some(131_026)).await;
    app.settle().await;
    assert_eq!(children(&app, "hanna_message_send_failure").await.len(), 2);
    assert_eq!(app.stats().await["skipped"], 1);
}

async fn an_alert_that_fails_itself_alerts_nobody(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.follow_up().await;
    app.send().await;
    let alert = children(&app, "hanna_message_send_failure")
        .await
        .into_iter()
        .find(|alert| alert["status"] == "accepted")
        .unwrap();
    let alert = alert["id"].as_str().unwrap();
    app.told(alert, "failed", Some(131_026)).await;
    app.settle().await;
    assert_eq!(children(&app, "hanna_message_send_failure").await.len(), 2);
    let story = app.notification(alert).await["timeline"].to_string();
    assert!(
        story.contains("rule_did_not_fire") && story.contains("chain"),
        "{story}"
    );
}

async fn a_timer_fires_once_when_it_is_due_and_not_read(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(24 * 3600 - 60);
    app.follow_up().await;
    assert!(children(&app, "order_reminder").await.is_empty());
    app.pass(61);
    app.follow_up().await;
    app.follow_up().await;
    app.told(&id, "delivered", None).await;
    app.settle().await;
    let reminders = children(&app, "order_reminder").await;
    assert_eq!(reminders.len(), 1);
    assert_eq!(reminders[0]["status"], "accepted");
    let reminder = app.notification(reminders[0]["id"].as_str().unwrap()).await;
    assert_eq!(
        (&reminder["parent"], &reminder["rule"]),
        (&json!(id), &json!("demo-unread-order"))
    );
    assert_eq!(
        reminder["text"],
        "Hello Asha, your order A-1 is still waiting for you."
    );
}

async fn a_receipt_cancels_the_timer_even_at_the_last_moment(database: Database) {
    let app = ready(&database).await;
    let early = app.order("A-1", "+12025550101").await;
    let unordered = app.order("A-2", "+12025550102").await;
    app.send().await;
    app.told(&early, "delivered", None).await;
    app.told(&early, "read", None).await;
    // `read` first: it implies `delivered`, and the timer is not even started.
    app.told(&unordered, "read", None).await;
    app.told(&unordered, "delivered", None).await;
    app.pass(2 * 24 * 3600);
    app.settle().await;
    assert!(children(&app, "order_reminder").await.is_empty());
    let states = app.notification(&early).await["follow_ups"].to_string();
    assert!(
        states.contains("cancelled") && states.contains("one of its `unless` happened"),
        "{states}"
    );
    assert!(
        app.notification(&unordered).await["timeline"]
            .to_string()
            .contains("rule_did_not_fire")
    );
}

async fn a_child_whose_reason_has_gone_is_not_sent(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(24 * 3600 + 1);
    app.follow_up().await;
    assert_eq!(
        children(&app, "order_reminder").await[0]["status"],
        "queued"
    );
    // Read after the timer fired and before its child is sent.
    app.told(&id, "read", None).await;
    assert_eq!(app.send().await, 0);
    let reminder = &children(&app, "order_reminder").await[0];
    assert_eq!(reminder["status"], "cancelled");
    assert!(reminder["reason"].as_str().unwrap().contains("unless"));
    assert_eq!(app.meta.calls(), 1);
}

async fn a_removed_rule_fires_no_more(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let without = &DEMO[..DEMO.find("[[rule]]\nname = \"demo-unread-order\"").unwrap()];
    app.apply_catalogue(without).await;
    app.pass(24 * 3600 + 1);
    app.follow_up().await;
    assert!(children(&app, "order_reminder").await.is_empty());
    assert!(
        app.notification(&id).await["follow_ups"]
            .to_string()
            .contains("the rule was removed")
    );
}

async fn a_condition_that_cannot_be_evaluated_is_recorded(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&DEMO.replace(
        "notification.template == 'order_confirmation'",
        "event.data.missing.deeper > 3",
    ))
    .await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let found = app.notification(&id).await;
    assert_eq!(
        found["status"], "delivered",
        "a rule's trouble fails no callback"
    );
    let follow_up = &found["follow_ups"][0];
    assert_eq!(follow_up["state"], "skipped");
    assert!(
        follow_up["reason"]
            .as_str()
            .unwrap()
            .starts_with("its condition cannot be evaluated")
    );
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn an_alert_that_was_overruled_says_so(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.settle().await;
    app.told(&id, "delivered", None).await;
    let found = app.notification(&id).await;
    assert_eq!(found["status"], "delivered");
    assert!(
        found["timeline"].to_string().contains("rule_overruled"),
        "{}",
        found["timeline"]
    );
    assert_eq!(app.stats().await["failed"], 0);
}

async fn a_reply_cancels_the_reminder(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(10);
    let at = app.now().unix_seconds();
    app.callback(json!({ "messages": [
        { "id": "wamid.in1", "from": "12025550101", "timestamp": at, "type": "text", "text": { "body": "Coming!" } } ] }))
    .await;
    assert_eq!(
        app.notification(&id).await["follow_ups"][0]["state"],
        "cancelled"
    );
    app.pass(24 * 3600);
    app.settle().await;
    assert!(children(&app, "order_reminder").await.is_empty());
}

async fn a_retry_opens_a_generation_in_which_rules_fire_again(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.settle().await;
    assert_eq!(
        app.post(&format!("/api/v1/notifications/{id}/retry"), &json!({}))
            .await
            .0,
        202
    );
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.settle().await;
    assert_eq!(children(&app, "hanna_message_send_failure").await.len(), 4);
    assert_eq!(
        app.stats().await["by_template"]["order_confirmation"]["failed"],
        1,
        "a cohort never exceeds 100 %"
    );
}

async fn timers_wait_while_older_callbacks_wait(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(24 * 3600 - 5);
    // Its receipt has arrived and is not applied yet when the timer is due.
    let wamid = app.notification(&id).await["attempts"][0]["provider_message_id"].clone();
    let read = crate::harness::status(
        wamid.as_str().unwrap(),
        None,
        "read",
        app.now().unix_seconds(),
        None,
    );
    let body = crate::harness::value(json!({ "statuses": [read] }))
        .to_string()
        .into_bytes();
    assert_eq!(app.callback_bytes(body).await, 200);
    app.pass(10);
    app.follow_up().await;
    assert!(
        children(&app, "order_reminder").await.is_empty(),
        "it does not fire while the receipt waits"
    );
    app.process().await;
    app.follow_up().await;
    assert!(children(&app, "order_reminder").await.is_empty());
}

async fn timers_wait_as_long_as_a_backlog_moves_and_not_for_one_that_is_stuck(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    app.pass(24 * 3600 - 300);
    // Three callbacks, a minute apart, before the timer is due.
    for number in 0..3 {
        let body = crate::harness::value(json!({ "statuses": [], "number": number }));
        assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
        app.pass(60);
    }
    app.pass(130);
    let apply_oldest =
        "DELETE FROM inbox_pending WHERE segment = (SELECT min(segment) FROM inbox_pending)";
    for _ in 0..2 {
        // The oldest has waited for over two minutes; yet they are applied, one by one.
        app.follow_up().await;
        assert!(children(&app, "order_reminder").await.is_empty());
        app.pass(100);
        app.sql(apply_oldest).await;
    }
    app.follow_up().await;
    app.pass(119);
    app.follow_up().await;
    assert!(children(&app, "order_reminder").await.is_empty());
    // The last one is not: after two minutes it is not waited for.
    app.pass(1);
    app.follow_up().await;
    assert_eq!(children(&app, "order_reminder").await.len(), 1);
}

async fn a_follow_up_the_database_refuses_stops_no_other(database: Database) {
    let app = ready(&database).await;
    let (bad, good) = (
        app.order("A-1", "+12025550110").await,
        app.order("A-2", "+12025550111").await,
    );
    app.send().await;
    let reject = match database {
        Database::Sqlite => format!(
            "CREATE TRIGGER broken BEFORE INSERT ON notification WHEN NEW.parent_id = unhex('{}') \
             BEGIN SELECT RAISE(ABORT, 'played by a test'); END",
            bad.replace('-', "")
        ),
        Database::Postgres => format!(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.parent_id = '{bad}' THEN RAISE EXCEPTION 'played by a test' USING ERRCODE = '22000'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER broken BEFORE INSERT ON notification FOR EACH ROW EXECUTE FUNCTION broken()"
        ),
    };
    app.sql(&reject).await;
    for id in [&bad, &good] {
        app.told(id, "failed", Some(131_026)).await;
    }
    app.follow_up().await;
    assert_eq!(
        children(&app, "hanna_message_send_failure").await.len(),
        2,
        "the other's alerts are made"
    );
    let follow_up = &app.notification(&bad).await["follow_ups"][0];
    assert_eq!(follow_up["state"], "skipped");
    assert!(
        follow_up["reason"]
            .as_str()
            .unwrap()
            .starts_with("it cannot be created")
    );
}

async fn one_person_without_a_name_keeps_nobody_from_hearing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let catalogue = DEMO
        .replace(
            "to = \"group:Technical Admin\"",
            "to = [\"same\", \"{{ 'group:Nobody' }}\", \"group:Technical Admin\"]",
        )
        .replace(
            "could not be sent: {{ reason }}",
            "could not be sent, {{ contact.name }}: {{ reason }}",
        );
    app.apply_catalogue(&catalogue).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.follow_up().await;
    let said: Vec<Value> = children(&app, "hanna_message_send_failure")
        .await
        .iter()
        .map(|child| child["status"].clone())
        .collect();
    assert_eq!(
        said.iter().filter(|status| **status == "queued").count(),
        1,
        "{said:?}"
    );
    assert_eq!(
        said.iter().filter(|status| **status == "skipped").count(),
        2,
        "{said:?}"
    );
    assert!(
        app.notification(&id).await["timeline"]
            .to_string()
            .contains("there is no group Nobody")
    );
}

/// A rule that tells 450 people in three groups, some of whom are in two; one group is not there.
fn alarmed(on: &str, unless: &str) -> String {
    let names: Vec<String> = (0..450).map(|number| format!("person-{number}")).collect();
    let mut catalogue = format!(
        "name = \"alarmed\"\n[[template]]\nname = \"told\"\ncategory = \"utility\"\nbody = \"Hello {{{{ contact.name | default('you') }}}}.\"\n\
         [[rule]]\nname = \"tell-everybody\"\non = \"{on}\"\nunless = [{unless}]\n[rule.send]\ntemplate = \"told\"\n\
         to = [\"group:One\", \"user:person-3\", \"group:Two\"]\n"
    );
    catalogue += &crowd(&names);
    catalogue += &group("One", &names[..300]);
    catalogue += &group("Two", &names[250..]);
    catalogue
}

async fn a_rule_for_many_is_worked_through_in_chunks_and_reaches_everybody_once(
    database: Database,
) {
    let app = ready(&database).await;
    app.apply_catalogue(&alarmed("failed", "")).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let told = "SELECT count(*) FROM notification WHERE template = 'told'";
    let mut seen = Vec::new();
    while follow_up::turn(&app.engine, app.now()).await.unwrap() > 0 {
        seen.push(app.number(told).await);
    }
    seen.dedup();
    assert!(
        seen.windows(2).all(|two| two[1] - two[0] <= 199),
        "{seen:?}"
    );
    assert!(seen.len() > 1, "{seen:?}");
    assert_eq!(app.number(told).await, 450);
    let people = "SELECT count(DISTINCT contact_id) FROM notification WHERE template = 'told'";
    assert_eq!(app.number(people).await, 450);
    let timeline = &app.notification(&id).await["timeline"];
    let fired: Vec<&Value> = timeline
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["kind"] == "rule_fired" && line["detail"]["rule"] == "tell-everybody")
        .collect();
    assert_eq!(fired.len(), 1, "{timeline}");
    assert_eq!(fired[0]["detail"]["count"], 450);
    assert_eq!(
        fired[0]["detail"]["notifications"]
            .as_array()
            .unwrap()
            .len(),
        100
    );
}

async fn a_rule_for_many_ends_where_its_unless_came(database: Database) {
    let app = ready(&database).await;
    app.apply_catalogue(&alarmed("delivered", "\"read\"")).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let told = "SELECT count(*) FROM notification WHERE template = 'told'";
    while app.number(told).await == 0 {
        assert!(follow_up::turn(&app.engine, app.now()).await.unwrap() > 0);
    }
    let first = app.number(told).await;
    assert!((1..450).contains(&first), "{first}");
    let story = app
        .get(&format!("/api/v1/notifications/{id}/story"))
        .await
        .1;
    assert!(
        story
            .to_string()
            .contains("The rule tell-everybody is firing"),
        "{story}"
    );
    app.told(&id, "read", None).await;
    app.settle().await;
    assert_eq!(
        app.number(told).await,
        first,
        "nobody else is made a message"
    );
    let sent =
        "SELECT count(*) FROM notification WHERE template = 'told' AND status <> 'cancelled'";
    assert_eq!(
        app.number(sent).await,
        0,
        "and those that were made do not leave"
    );
    let follow_ups = &app.notification(&id).await["follow_ups"];
    assert_eq!(follow_ups[0]["state"], "cancelled", "{follow_ups}");
    assert_eq!(follow_ups[0]["reason"], "one of its `unless` happened");
}

async fn many_rules_that_are_due_are_fired_a_chunk_at_a_time(database: Database) {
    let app = ready(&database).await;
    app.apply_catalogue(&alarmed("failed", "")).await;
    for number in 0..3 {
        let id = app.order(&format!("A-{number}"), "+12025550110").await;
        app.send().await;
        app.told(&id, "failed", Some(131_026)).await;
    }
    let mut before = 0;
    while follow_up::turn(&app.engine, app.now()).await.unwrap() > 0 {
        let now = app
            .number("SELECT count(*) FROM notification WHERE template = 'told'")
            .await;
        assert!(
            now - before <= 199,
            "one transaction made {} messages",
            now - before
        );
        before = now;
    }
    assert_eq!(before, 3 * 450);
}

async fn a_rule_for_many_lets_others_pass_and_says_when_it_was_overruled(database: Database) {
    let app = ready(&database).await;
    app.apply_catalogue(&alarmed("failed", "\"delivered\""))
        .await;
    let many = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&many, "failed", Some(131_026)).await;
    let told = "SELECT count(*) FROM notification WHERE template = 'told'";
    while app.number(told).await == 0 {
        assert!(follow_up::turn(&app.engine, app.now()).await.unwrap() > 0);
    }
    // Another message fails while the first is being told to many: its own alert does not wait.
    app.pass(1);
    let other = app.order("A-2", "+12025550111").await;
    app.send().await;
    app.told(&other, "failed", Some(131_026)).await;
    for _ in 0..3 {
        follow_up::turn(&app.engine, app.now()).await.unwrap();
    }
    assert!(app.number(told).await < 2 * 450);
    let fired = app.notification(&other).await["follow_ups"].to_string();
    assert!(fired.contains("\"state\":\"fired\""), "{fired}");
    // The first arrives after all: what went out on the failure is said to be overruled.
    app.told(&many, "delivered", None).await;
    app.follow_up().await;
    let lines = app.notification(&many).await["timeline"].to_string();
    assert!(lines.contains("rule_overruled"), "{lines}");
    let story = app
        .get(&format!("/api/v1/notifications/{many}/story"))
        .await
        .1;
    assert!(
        story
            .to_string()
            .contains("was cancelled after some of its messages had been created"),
        "{story}"
    );
}

async fn a_rule_for_many_goes_on_while_callbacks_keep_coming(database: Database) {
    let app = ready(&database).await;
    app.apply_catalogue(&alarmed("failed", "")).await;
    let id = app.order("A-1", "+12025550110").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.pass(1);
    // It waits to be applied, and is newer than what the rule is about.
    let body = crate::harness::value(json!({ "statuses": [] }));
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    app.pass(1);
    let mut turns = 0;
    while follow_up::turn(&app.engine, app.now()).await.unwrap() > 0 {
        turns += 1;
        app.pass(1);
    }
    let told = "SELECT count(*) FROM notification WHERE template = 'told'";
    assert_eq!(app.number(told).await, 450);
    assert!(turns > 3, "{turns}");
}
