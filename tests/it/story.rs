//! The story of a message: every state has its sentence, every decision its reason.

use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    a_failure_is_told_with_meaning_remedy_and_what_rules_did,
    a_rule_that_did_not_fire_says_which_condition_said_no,
    who_was_left_out_is_named_with_the_reason,
    of_many_who_were_left_out_all_are_counted_and_the_first_named,
    what_waits_says_for_what_and_until_when,
    a_lost_answer_is_explained_and_may_be_repeated_by_hand,
    what_nobody_knows_is_not_found,
    the_command_line_masks_whom_it_is_about,
];

const GROUP: &str = r#"
[[route]]
name = "demo-everybody"
event = "demo.alarm.raised"
to = ["group:Technical Admin"]
template = "jaspers_market_plain_text_v1"
"#;

/// A rule whose condition is true of nothing.
const NEVER: &str = r#"
[[rule]]
name = "demo-never"
on = "delivered"
when = "notification.template == 'another'"
[rule.send]
to = "same"
template = "jaspers_market_plain_text_v1"
"#;

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(&format!("{DEMO}\n{GROUP}\n{NEVER}"))
        .await;
    app
}

async fn story(app: &TestApp, id: &str) -> Value {
    let (code, story) = app.get(&format!("/api/v1/notifications/{id}/story")).await;
    assert_eq!(code, 200, "{story}");
    story
}

fn texts(story: &Value, key: &str) -> Vec<String> {
    let all = story[key].as_array().unwrap();
    all.iter()
        .map(|one| one["text"].as_str().unwrap().to_owned())
        .collect()
}

async fn a_failure_is_told_with_meaning_remedy_and_what_rules_did(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.follow_up().await;
    let failed = story(&app, &id).await;
    assert_eq!(failed["status"], "failed");
    assert!(
        failed["standing"]
            .as_str()
            .unwrap()
            .starts_with("It failed: The message cannot be delivered"),
        "{failed}"
    );
    assert_eq!(failed["failure"]["code"], 131_026);
    for key in ["meaning", "action", "remedy"] {
        assert!(failed["failure"][key].as_str().unwrap().len() > 10, "{key}");
    }
    assert_eq!(
        failed["origin"]["text"],
        "The event A-1 of tests (demo.order.created) was posted, and the route demo-order created it."
    );
    assert_eq!(failed["origin"]["messages"], json!({ "failed": 1 }));
    let lines = texts(&failed, "lines");
    assert_eq!(lines[0], "The route demo-order made it.");
    assert_eq!(lines[1], "The provider accepted it.");
    assert!(
        lines[2].starts_with("It failed with code 131026"),
        "{lines:?}"
    );
    let calls = texts(&failed, "attempts");
    assert_eq!(calls, ["The provider accepted it."]);
    assert!(failed["attempts"][0]["request"].is_object());
    let follow_ups = texts(&failed, "follow_ups");
    assert_eq!(follow_ups.len(), 1, "{follow_ups:?}");
    assert!(
        follow_ups[0].starts_with("The rule demo-tell-technical-admin fired"),
        "{follow_ups:?}"
    );
    assert_eq!(failed["can_do"][0]["command"], format!("herald retry {id}"));
    // The alert knows what it follows.
    let (_, alerts) = app
        .get("/api/v1/notifications?template=hanna_message_send_failure")
        .await;
    let alert = story(&app, alerts["notifications"][0]["id"].as_str().unwrap()).await;
    assert_eq!(
        alert["origin"]["text"],
        format!("The rule demo-tell-technical-admin created it because of the notification {id}.")
    );
}

async fn a_rule_that_did_not_fire_says_which_condition_said_no(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "delivered", None).await;
    let told = story(&app, &id).await;
    let lines = texts(&told, "lines");
    let no = lines.iter().find(|line| line.contains("demo-never"));
    assert_eq!(
        no.map(String::as_str),
        Some(
            "The rule demo-never did not fire on delivered: its condition does not hold \
             (notification.template == 'another')."
        )
    );
    // The reminder is planned.
    assert_eq!(told["follow_ups"][0]["state"], "pending");
    assert!(told["follow_ups"][0]["due_at"].is_string());
    assert_eq!(told["can_do"], json!([]));
}

async fn of_many_who_were_left_out_all_are_counted_and_the_first_named(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut catalogue = format!("{DEMO}\n{GROUP}").replace("group:Technical Admin", "group:Crowd");
    let names: Vec<String> = (0..25).map(|number| format!("crowd-{number:02}")).collect();
    for name in &names {
        catalogue = format!("{catalogue}\n[[user]]\nname = \"{name}\"\n");
    }
    catalogue = format!("{catalogue}\n[[group]]\nname = \"Crowd\"\nmembers = {names:?}\n");
    app.apply_catalogue(&catalogue).await;
    let answer = app.event("E-1", "demo.alarm.raised", json!({})).await;
    let first = answer["notifications"][0].as_str().unwrap();
    let told = story(&app, first).await;
    assert_eq!(told["origin"]["messages"], json!({ "skipped": 25 }));
    assert_eq!(told["origin"]["left_out"].as_array().unwrap().len(), 20);
}

async fn who_was_left_out_is_named_with_the_reason(database: Database) {
    let app = ready(&database).await;
    let answer = app.event("E-1", "demo.alarm.raised", json!({})).await;
    let ids = answer["notifications"].as_array().unwrap();
    assert_eq!(ids.len(), 2);
    let told = story(&app, ids[0].as_str().unwrap()).await;
    assert_eq!(
        told["origin"]["messages"],
        json!({ "queued": 1, "skipped": 1 })
    );
    let left_out = &told["origin"]["left_out"];
    assert_eq!(left_out.as_array().unwrap().len(), 1);
    assert_eq!(left_out[0]["recipient"], "user:new-colleague");
    assert_eq!(left_out[0]["reason"], "the user is not linked to a contact");
    assert_eq!(told["origin"]["routes"][0]["outcome"], "fired");
    let skipped = story(&app, left_out[0]["notification"].as_str().unwrap()).await;
    assert_eq!(
        skipped["standing"],
        "It was skipped: the user is not linked to a contact."
    );
}

async fn what_waits_says_for_what_and_until_when(database: Database) {
    let app = ready(&database).await;
    app.meta
        .will_answer(&[(500, r#"{"error":{"code":131016,"message":"passing"}}"#)]);
    let id = app.order("A-1", "+12025550101").await;
    let queued = story(&app, &id).await;
    assert_eq!(
        queued["standing"].as_str().unwrap().split('.').next(),
        Some("It is queued")
    );
    assert_eq!(
        queued["can_do"][0]["command"],
        format!("herald cancel {id}")
    );
    app.send().await;
    let waits = story(&app, &id).await;
    assert_eq!(waits["status"], "retrying");
    let standing = waits["standing"].as_str().unwrap();
    assert!(
        standing.contains("It is looked at again at 2026-01-01T"),
        "{standing}"
    );
    let lines = texts(&waits, "lines");
    assert!(
        lines.last().unwrap().ends_with("It will be tried again."),
        "{lines:?}"
    );
    let commands: Vec<&str> = waits["can_do"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| deed["command"].as_str().unwrap())
        .collect();
    assert_eq!(
        commands,
        [
            format!("herald send-now {id}"),
            format!("herald cancel {id}")
        ]
    );
}

async fn a_lost_answer_is_explained_and_may_be_repeated_by_hand(database: Database) {
    let app = ready(&database).await;
    app.meta.will_answer(&[(1, "")]);
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let lost = story(&app, &id).await;
    assert!(
        lost["standing"]
            .as_str()
            .unwrap()
            .contains("its response was lost"),
        "{lost}"
    );
    app.pass(901);
    app.settle().await;
    let gave_up = story(&app, &id).await;
    assert_eq!(gave_up["status"], "gave_up");
    assert_eq!(
        gave_up["can_do"][0]["command"],
        format!("herald retry --even-if-delivered {id}")
    );
    assert_eq!(gave_up["can_do"][0]["action"], "retry_even_if_delivered");
    // What is offered works.
    let folder = tempfile::tempdir().unwrap();
    let words = ["retry", "--even-if-delivered", &id];
    let done = herald(&app.database_url, folder.path(), &words);
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(app.status_of(&id).await, "queued");
}

async fn what_nobody_knows_is_not_found(database: Database) {
    let app = ready(&database).await;
    let nobody = uuid::Uuid::nil();
    let (code, _) = app
        .get(&format!("/api/v1/notifications/{nobody}/story"))
        .await;
    assert_eq!(code, 404);
    let folder = tempfile::tempdir().unwrap();
    let words = ["explain", &nobody.to_string()];
    let shown = herald(&app.database_url, folder.path(), &words);
    assert_eq!(shown.status.code(), Some(1));
    assert!(
        text(&shown).contains("there is no notification"),
        "{}",
        text(&shown)
    );
}

async fn the_command_line_masks_whom_it_is_about(database: Database) {
    let app = ready(&database).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let folder = tempfile::tempdir().unwrap();
    for words in [&["explain", &id][..], &["explain", &id, "--json"]] {
        let shown = text(&herald(&app.database_url, folder.path(), words));
        assert!(shown.contains("131026"), "{shown}");
        assert!(shown.contains(&format!("herald retry {id}")), "{shown}");
        assert!(!shown.contains("2025550101"), "{shown}");
        assert!(!shown.contains("wamid"), "{shown}");
    }
    let words = ["explain", &id, "--show"];
    let open = text(&herald(&app.database_url, folder.path(), &words));
    assert!(
        open.contains("+12025550101") && open.contains("request:"),
        "{open}"
    );
}
