//! People, not numbers: ids that are missing, change, or are claimed twice.

use herald::domain::own_event::HeraldEventType;
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Value, json};

use super::{app, said};
use crate::{
    harness::{Database, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    an_id_that_changed_stays_the_same_person,
    a_number_that_changed_stays_the_same_person,
    the_first_message_may_come_before_the_change,
    a_number_that_changed_hands_is_somebody_else_s,
    a_number_and_an_id_that_stand_side_by_side_are_one_person,
    a_change_of_nobody_we_know_is_kept_and_changes_nobody,
    any_order_of_changes_ends_in_the_same_aliases_or_a_conflict,
    a_number_that_comes_back_is_its_owner_s_in_any_order,
    a_chain_of_changes_told_in_advance_is_followed_to_its_end,
    stop_and_start_are_heard_the_newest_counts,
    marketing_wishes_in_whatsapp_itself_are_heeded,
    a_wish_in_any_order_ends_the_same,
    who_opts_out_between_two_attempts_is_counted_as_failed_once,
    what_became_of_a_number_is_not_its_next_owner_s_story,
    a_refusal_by_failure_is_heard_even_after_a_reply,
    a_changed_id_is_followed_when_a_status_names_it,
    a_message_without_a_time_opens_no_window,
];

const AT: i64 = 1_767_225_600;

fn text(id: &str, user: Option<&str>, number: Option<&str>, at: i64, body: &str) -> Value {
    let mut message =
        json!({ "id": id, "timestamp": at.to_string(), "type": "text", "text": { "body": body } });
    if let Some(user) = user {
        message["from_user_id"] = json!(user);
    }
    if let Some(number) = number {
        message["from"] = json!(number);
    }
    message
}

/// A system message: ids changed.
fn changed(id: &str, kind: &str, at: i64, from: Option<&str>, system: Value) -> Value {
    let mut message =
        json!({ "id": id, "timestamp": at.to_string(), "type": "system", "system": system });
    message["system"]["type"] = json!(kind);
    message["system"]["body"] = json!("changed");
    if let Some(from) = from {
        message["from"] = json!(from);
    }
    message
}

async fn tell(app: &TestApp, messages: &[Value]) {
    app.callback(json!({ "messages": messages })).await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}

async fn by_user(app: &TestApp, user: &str) -> Option<Value> {
    let (code, person) = app.get(&format!("/api/v1/contacts?user_id={user}")).await;
    (code == 200).then_some(person)
}

async fn by_number(app: &TestApp, number: &str) -> Option<Value> {
    let (code, person) = app
        .get(&format!("/api/v1/contacts?phone=%2B{number}"))
        .await;
    (code == 200).then_some(person)
}

async fn an_id_that_changed_stays_the_same_person(database: Database) {
    let app = app(&database).await;
    tell(
        &app,
        &[text("wamid.1", Some("US.1"), Some("12025550111"), AT, "a")],
    )
    .await;
    let before = by_user(&app, "US.1").await.unwrap();
    let change = changed(
        "wamid.2",
        "user_changed_user_id",
        AT + 10,
        None,
        json!({ "previous_user_id": "US.1", "user_id": "US.2", "previous_parent_user_id": "US.ENT.1", "parent_user_id": "US.ENT.2" }),
    );
    tell(&app, std::slice::from_ref(&change)).await;
    let after = by_user(&app, "US.2").await.unwrap();
    assert_eq!(before["id"], after["id"]);
    assert!(by_user(&app, "US.1").await.is_none(), "it is nobody's now");
    tell(&app, &[text("wamid.3", Some("US.2"), None, AT + 20, "b")]).await;
    // A late redelivery under the old id is still this person's.
    tell(&app, &[text("wamid.4", Some("US.1"), None, AT + 5, "c")]).await;
    assert_eq!(
        app.number("SELECT count(DISTINCT contact_id) FROM inbound_message")
            .await,
        1
    );
    // Once more, in another callback, changes nothing.
    let aliases = after["aliases"].clone();
    app.callback(json!({ "again": 1, "messages": [change] }))
        .await;
    assert_eq!(by_user(&app, "US.2").await.unwrap()["aliases"], aliases);
    assert_eq!(app.number("SELECT count(*) FROM contact_conflict").await, 0);
}

async fn a_number_that_changed_stays_the_same_person(database: Database) {
    let app = app(&database).await;
    for (number, kind, system) in [
        (0, "user_changed_number", json!({ "wa_id": "12025550121" })),
        (
            1,
            "customer_changed_number",
            json!({ "new_wa_id": "12025550131", "customer": "12025550130" }),
        ),
        (
            2,
            "user_changed_number",
            json!({ "wa_id": "12025550141", "user_id": "US.142", "previous_user_id": "US.140" }),
        ),
    ] {
        let old = format!("120255501{}0", number + 2);
        let new = format!("120255501{}1", number + 2);
        tell(
            &app,
            &[text(&format!("wamid.a{number}"), None, Some(&old), AT, "a")],
        )
        .await;
        let before = by_number(&app, &old).await.unwrap();
        let from = (kind != "customer_changed_number").then_some(old.as_str());
        tell(
            &app,
            &[changed(
                &format!("wamid.b{number}"),
                kind,
                AT + 10,
                from,
                system,
            )],
        )
        .await;
        assert!(by_number(&app, &old).await.is_none(), "{kind}");
        let after = by_number(&app, &new).await.unwrap();
        assert_eq!(before["id"], after["id"], "{kind}");
    }
    // A notification goes to the number of today.
    let answer = app
        .event(
            "1",
            "demo.order.created",
            json!({ "phone": "+12025550121", "customer": "A", "order_number": "A-1" }),
        )
        .await;
    assert_eq!(answer["notifications"].as_array().unwrap().len(), 1);
}

async fn the_first_message_may_come_before_the_change(database: Database) {
    let app = app(&database).await;
    tell(
        &app,
        &[text("wamid.1", Some("US.2"), None, AT + 20, "first")],
    )
    .await;
    let person = by_user(&app, "US.2").await.unwrap();
    let change = changed(
        "wamid.2",
        "user_changed_user_id",
        AT + 10,
        None,
        json!({ "previous_user_id": "US.1", "user_id": "US.2" }),
    );
    tell(&app, &[change]).await;
    // What was written under the old id before is the same person's.
    tell(&app, &[text("wamid.3", Some("US.1"), None, AT, "old")]).await;
    assert_eq!(
        app.number("SELECT count(DISTINCT contact_id) FROM inbound_message")
            .await,
        1
    );
    assert_eq!(by_user(&app, "US.2").await.unwrap()["id"], person["id"]);
}

async fn a_number_that_changed_hands_is_somebody_else_s(database: Database) {
    let app = app(&database).await;
    tell(&app, &[text("wamid.1", None, Some("12025550111"), AT, "a")]).await;
    let first = by_number(&app, "12025550111").await.unwrap();
    tell(
        &app,
        &[changed(
            "wamid.2",
            "user_changed_number",
            AT + 10,
            Some("12025550111"),
            json!({ "wa_id": "12025550112" }),
        )],
    )
    .await;
    tell(
        &app,
        &[text(
            "wamid.3",
            None,
            Some("12025550111"),
            AT + 1000,
            "hello, I am new here",
        )],
    )
    .await;
    let second = by_number(&app, "12025550111").await.unwrap();
    assert_ne!(first["id"], second["id"]);
    assert_eq!(
        by_number(&app, "12025550112").await.unwrap()["id"],
        first["id"]
    );
    // And a direct message to the number goes to its owner of today.
    let body = json!({ "to": "+12025550111", "text": "welcome" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    app.send().await;
    assert_eq!(
        app.status_of(answer["notifications"][0]["id"].as_str().unwrap())
            .await,
        "accepted"
    );
}

async fn a_number_and_an_id_that_stand_side_by_side_are_one_person(database: Database) {
    let app = app(&database).await;
    tell(
        &app,
        &[
            text("wamid.1", Some("US.1"), None, AT, "a"),
            text("wamid.2", None, Some("12025550112"), AT, "b"),
        ],
    )
    .await;
    let (one, two) = (
        by_user(&app, "US.1").await.unwrap(),
        by_number(&app, "12025550112").await.unwrap(),
    );
    assert_ne!(one["id"], two["id"]);
    tell(
        &app,
        &[text(
            "wamid.3",
            Some("US.1"),
            Some("12025550112"),
            AT + 1,
            "c",
        )],
    )
    .await;
    // The older of the two contacts is the one that stays, and leads on from the other's id.
    for person in [
        by_user(&app, "US.1").await.unwrap(),
        by_number(&app, "12025550112").await.unwrap(),
    ] {
        assert_eq!(person["id"], one["id"]);
        assert_eq!(person["aliases"].as_array().unwrap().len(), 2, "{person}");
    }
    let (code, led_on) = app
        .get(&format!("/api/v1/contacts/{}", two["id"].as_str().unwrap()))
        .await;
    assert_eq!((code, &led_on["id"]), (200, &one["id"]));
    assert_eq!(
        app.number("SELECT count(DISTINCT contact_id) FROM inbound_message")
            .await,
        1
    );
    let (_, conflicts) = app.get("/api/v1/contacts/conflicts").await;
    assert_eq!(conflicts, json!([]));
}

async fn a_change_of_nobody_we_know_is_kept_and_changes_nobody(database: Database) {
    let app = app(&database).await;
    let contacts = app.number("SELECT count(*) FROM contact").await;
    tell(
        &app,
        &[changed(
            "wamid.1",
            "user_changed_user_id",
            AT,
            None,
            json!({ "previous_user_id": "US.7", "user_id": "US.8" }),
        )],
    )
    .await;
    assert_eq!(app.number("SELECT count(*) FROM contact").await, contacts);
    let (_, notices) = app.get("/api/v1/notices").await;
    assert!(
        notices["notices"][0]["outcome"]
            .as_str()
            .unwrap()
            .starts_with("unknown contact"),
        "{notices}"
    );
    // Should we meet them under the old id, we know what became of it.
    tell(
        &app,
        &[text("wamid.2", Some("US.7"), None, AT - 60, "late")],
    )
    .await;
    let person = by_user(&app, "US.8").await.unwrap();
    assert!(by_user(&app, "US.7").await.is_none());
    assert_eq!(
        app.number("SELECT count(*) FROM contact").await,
        contacts + 1
    );
    said(
        &app,
        json!([]),
        text("wamid.3", Some("US.8"), None, AT + 60, "now"),
    )
    .await;
    assert_eq!(by_user(&app, "US.8").await.unwrap()["id"], person["id"]);
}

/// Who has which names, as a partition: sorted, without ids.
async fn partition(app: &TestApp) -> Vec<Vec<String>> {
    use entity::contact_alias;
    use sea_orm::EntityTrait;
    let mut people: std::collections::BTreeMap<uuid::Uuid, Vec<String>> =
        std::collections::BTreeMap::new();
    for row in contact_alias::Entity::find()
        .all(app.store.reader())
        .await
        .unwrap()
    {
        people.entry(row.contact_id).or_default().push(format!(
            "{}:{}:{}",
            row.kind,
            row.value,
            row.superseded_at.is_some()
        ));
    }
    let mut partition: Vec<Vec<String>> = people
        .into_values()
        .map(|mut names| {
            names.sort();
            names
        })
        .collect();
    partition.sort();
    partition
}

async fn a_number_that_comes_back_is_its_owner_s_in_any_order(database: Database) {
    let change = |id: &str, from: &str, to: &str, at| {
        changed(
            id,
            "user_changed_number",
            at,
            Some(from),
            json!({ "wa_id": to }),
        )
    };
    let (home, away) = ("12025550111", "12025550112");
    let life = [
        text("wamid.1", None, Some(home), AT, "a"),
        change("wamid.2", home, away, AT + 10),
        text("wamid.3", None, Some(away), AT + 15, "b"),
        change("wamid.4", away, home, AT + 20),
        change("wamid.5", home, away, AT + 30),
        change("wamid.6", away, home, AT + 40),
    ];
    in_any_order(&database, &life, 16).await;
    // Heard backwards, with the person known from the start.
    let app = app(&database).await;
    tell(&app, &life[..1]).await;
    for late in life[1..].iter().rev() {
        tell(&app, std::slice::from_ref(late)).await;
    }
    assert!(by_number(&app, home).await.is_some());
    assert!(by_number(&app, away).await.is_none());
    assert_eq!(app.number(PEOPLE_HEARD_OF).await, 1);
}

async fn a_chain_of_changes_told_in_advance_is_followed_to_its_end(database: Database) {
    let app = app(&database).await;
    for step in 0..25_i64 {
        let ids = json!({ "previous_user_id": format!("US.{step}"), "user_id": format!("US.{}", step + 1) });
        let id = format!("wamid.{step}");
        tell(
            &app,
            &[changed(&id, "user_changed_user_id", AT + step, None, ids)],
        )
        .await;
    }
    assert_eq!(app.number(PEOPLE_HEARD_OF).await, 0);
    tell(&app, &[text("wamid.x", Some("US.0"), None, AT - 1, "a")]).await;
    assert!(by_user(&app, "US.25").await.is_some());
    assert!(by_user(&app, "US.24").await.is_none());
    assert_eq!(app.number(PEOPLE_HEARD_OF).await, 1);
}

/// Contacts that the provider has named.
const PEOPLE_HEARD_OF: &str =
    "SELECT count(DISTINCT contact_id) FROM contact_alias WHERE seen_at IS NOT NULL";

async fn any_order_of_changes_ends_in_the_same_aliases_or_a_conflict(database: Database) {
    // One person's life: two messages and two changes, and a number.
    let life = [
        text("wamid.1", Some("US.1"), Some("12025550111"), AT, "a"),
        changed(
            "wamid.2",
            "user_changed_user_id",
            AT + 10,
            None,
            json!({ "previous_user_id": "US.1", "user_id": "US.2" }),
        ),
        text("wamid.3", Some("US.2"), None, AT + 20, "b"),
        changed(
            "wamid.4",
            "user_changed_user_id",
            AT + 30,
            None,
            json!({ "previous_user_id": "US.2", "user_id": "US.3" }),
        ),
        text("wamid.5", Some("US.3"), None, AT + 40, "c"),
    ];
    in_any_order(&database, &life, 12).await;
}

/// Tells a life in its own order and in others, split over two callbacks anywhere.
async fn in_any_order(database: &Database, life: &[Value], runs: usize) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let orders = Just((0..life.len()).collect::<Vec<usize>>()).prop_shuffle();
    let mut whole = None;
    for run in 0..runs {
        let order: Vec<usize> = if run == 0 {
            (0..life.len()).collect()
        } else {
            orders.new_tree(&mut runner).unwrap().current()
        };
        let app = app(database).await;
        let split = run % (life.len() + 1);
        let messages: Vec<Value> = order.iter().map(|index| life[*index].clone()).collect();
        for part in [&messages[..split], &messages[split..]] {
            if !part.is_empty() {
                tell(&app, part).await;
            }
        }
        let names = partition(&app).await;
        let conflicts = app.number("SELECT count(*) FROM contact_conflict").await;
        match &whole {
            None => {
                assert_eq!(conflicts, 0);
                whole = Some(names);
            }
            Some(whole) => assert!(
                names == *whole || conflicts > 0,
                "{order:?} split at {split}: {names:?} instead of {whole:?}"
            ),
        }
    }
}

async fn order_to(app: &TestApp, id: &str, phone: &str) -> Value {
    let id = app.order(id, phone).await;
    app.send().await;
    app.notification(&id).await
}

async fn stop_and_start_are_heard_the_newest_counts(database: Database) {
    let app = app(&database).await;
    let phone = "+12025550111";
    let waiting = app.order("A-0", phone).await;
    tell(
        &app,
        &[text(
            "wamid.1",
            None,
            Some("12025550111"),
            AT + 1,
            " Stop! ",
        )],
    )
    .await;
    // What waits is not sent any more, and what comes is skipped, both visibly.
    app.send().await;
    let waited = app.notification(&waiting).await;
    let reason = "the person has opted out of all messages";
    assert_eq!(
        (&waited["status"], &waited["reason"]),
        (&json!("skipped"), &json!(reason))
    );
    let skipped = order_to(&app, "A-1", phone).await;
    assert_eq!(
        (&skipped["status"], &skipped["reason"]),
        (&json!("skipped"), &json!(reason))
    );
    let (_, list) = app.get("/api/v1/suppressions").await;
    assert_eq!(
        (&list[0]["scope"], &list[0]["source"]),
        (&json!("all"), &json!("word"))
    );
    // An older START that comes late changes nothing; a newer one does.
    tell(
        &app,
        &[text("wamid.2", None, Some("12025550111"), AT, "START")],
    )
    .await;
    assert_eq!(order_to(&app, "A-2", phone).await["status"], "skipped");
    tell(
        &app,
        &[text("wamid.3", None, Some("12025550111"), AT + 9, "start")],
    )
    .await;
    assert_eq!(order_to(&app, "A-3", phone).await["status"], "accepted");
    // On a button, too; and a sentence is no wish.
    let mut tap = text("wamid.4", None, Some("12025550111"), AT + 10, "x");
    tap["type"] = json!("button");
    tap["button"] = json!({ "payload": "STOP", "text": "No more" });
    tell(
        &app,
        &[
            tap,
            text(
                "wamid.5",
                None,
                Some("12025550111"),
                AT + 11,
                "please start sending invoices",
            ),
        ],
    )
    .await;
    assert_eq!(order_to(&app, "A-4", phone).await["status"], "skipped");
    assert_eq!(
        app.number("SELECT count(*) FROM event WHERE event_type = 'herald.contact.opted_out'")
            .await,
        2
    );
    are_like_their_examples(&app, HeraldEventType::ContactOptedIn).await;
}

const MARKETING: &str = "name = \"shop\"\n[[template]]\nname = \"sale\"\ncategory = \"marketing\"\nbody = \"Hello\"\n\
    [[route]]\nname = \"sale\"\nevent = \"shop.sale\"\nto = \"{{ data.phone }}\"\ntemplate = \"sale\"\n";

async fn sale(app: &TestApp, id: &str, phone: &str) -> Value {
    let answer = app.event(id, "shop.sale", json!({ "phone": phone })).await;
    app.send().await;
    app.notification(answer["notifications"][0].as_str().unwrap())
        .await
}

fn preference(value: &str, at: i64) -> Value {
    json!({ "metadata": { "phone_number_id": crate::harness::PHONE_NUMBER_ID },
        "contacts": [{ "wa_id": "12025550111", "user_id": "US.1", "profile": { "name": "A" } }],
        "user_preferences": [{ "wa_id": "12025550111", "user_id": "US.1", "detail": "x", "category": "marketing_messages", "value": value, "timestamp": at }] })
}

async fn marketing_wishes_in_whatsapp_itself_are_heeded(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(MARKETING).await;
    let phone = "+12025550111";
    super::told(&app, "user_preferences", None, preference("stop", AT)).await;
    let skipped = sale(&app, "1", phone).await;
    assert_eq!(skipped["reason"], "the person has opted out of marketing");
    assert_eq!(
        order_to(&app, "A-1", phone).await["status"],
        "accepted",
        "an order is no marketing"
    );
    super::told(&app, "user_preferences", None, preference("resume", AT + 5)).await;
    let sent = sale(&app, "2", phone).await;
    assert_eq!(sent["status"], "accepted");
    app.pass(60);
    // Meta refuses: the person has stopped marketing, and we learn it of the failure.
    app.told(sent["id"].as_str().unwrap(), "failed", Some(131_050))
        .await;
    let (_, list) = app.get("/api/v1/suppressions").await;
    assert_eq!(
        (&list[0]["scope"], &list[0]["source"]),
        (&json!("marketing"), &json!("131050"))
    );
    assert_eq!(sale(&app, "3", phone).await["status"], "skipped");
    // A template that has become marketing is marketing, whatever the catalogue says.
    let category = json!({ "message_template_name": "order_confirmation", "message_template_language": "en_US", "message_template_id": 1,
        "previous_category": "UTILITY", "new_category": "MARKETING" });
    let (_, templates) = app.get("/api/v1/templates").await;
    assert_eq!(templates, json!([]));
    let order = app.order("A-2", phone).await;
    let template = app.notification(&order).await["template"]
        .as_str()
        .unwrap()
        .to_owned();
    let language = app.notification(&order).await["language"]
        .as_str()
        .unwrap_or("en")
        .to_owned();
    let mut category = category;
    category["message_template_name"] = json!(template);
    category["message_template_language"] = json!(language);
    super::told(&app, "template_category_update", Some(AT + 9), category).await;
    app.send().await;
    assert_eq!(
        app.notification(&order).await["reason"],
        "the person has opted out of marketing"
    );
}

async fn who_opts_out_between_two_attempts_is_counted_as_failed_once(database: Database) {
    let app = app(&database).await;
    let passing = r#"{"error":{"code":131016,"message":"Service unavailable"}}"#;
    app.meta.will_answer(&[(500, passing)]);
    let id = app.order("A-1", "+12025550111").await;
    app.send().await;
    assert_eq!(app.notification(&id).await["status"], "retrying");
    tell(
        &app,
        &[text("wamid.1", None, Some("12025550111"), AT + 1, "STOP")],
    )
    .await;
    app.pass(60);
    app.send().await;
    let withheld = app.notification(&id).await;
    assert_eq!(
        (&withheld["status"], &withheld["failure"]["code"]),
        (&json!("failed"), &json!(131_016))
    );
    let stats = app.stats().await;
    assert_eq!(stats["failures"], json!({ "131016": 1 }), "{stats}");
}

async fn a_wish_in_any_order_ends_the_same(database: Database) {
    let wishes = [
        ("stop", AT),
        ("resume", AT + 10),
        ("stop", AT + 20),
        ("resume", AT + 20),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let orders = Just((0..wishes.len()).collect::<Vec<usize>>()).prop_shuffle();
    for _ in 0..8 {
        let app = app(&database).await;
        for index in orders.new_tree(&mut runner).unwrap().current() {
            let (value, at) = wishes[index];
            super::told(&app, "user_preferences", None, preference(value, at)).await;
        }
        // Of two wishes of one second, the refusal counts.
        let (_, list) = app.get("/api/v1/suppressions").await;
        assert_eq!(list.as_array().unwrap().len(), 1);
    }
}

async fn what_became_of_a_number_is_not_its_next_owner_s_story(database: Database) {
    let app = app(&database).await;
    let change = changed(
        "wamid.1",
        "user_changed_number",
        AT,
        Some("12025550111"),
        json!({ "wa_id": "12025550112" }),
    );
    tell(&app, &[change]).await;
    // Nobody we knew; and much later somebody else has the old number.
    tell(
        &app,
        &[text(
            "wamid.2",
            None,
            Some("12025550111"),
            AT + 9000,
            "new here",
        )],
    )
    .await;
    let person = by_number(&app, "12025550111").await.unwrap();
    assert!(by_number(&app, "12025550112").await.is_none());
    let aliases = person["aliases"].as_array().unwrap();
    assert!(
        aliases.iter().all(|alias| alias["superseded_at"].is_null()),
        "{person}"
    );
}

async fn a_refusal_by_failure_is_heard_even_after_a_reply(database: Database) {
    let app = app(&database).await;
    app.apply_catalogue(MARKETING).await;
    let phone = "+12025550111";
    let sent = sale(&app, "1", phone).await;
    tell(
        &app,
        &[text(
            "wamid.1",
            None,
            Some("12025550111"),
            AT + 1,
            "who is this?",
        )],
    )
    .await;
    app.told(sent["id"].as_str().unwrap(), "failed", Some(131_050))
        .await;
    assert_eq!(sale(&app, "2", phone).await["status"], "skipped");
    // And of a status that came before we knew the message.
    let other = "+12025550112";
    let answer = app.event("3", "shop.sale", json!({ "phone": other })).await;
    let early = crate::harness::status("wamid.FAKE1", None, "failed", AT + 2, Some(131_050));
    app.callback(json!({ "statuses": [early] })).await;
    app.send().await;
    assert_eq!(
        app.status_of(answer["notifications"][0].as_str().unwrap())
            .await,
        "failed"
    );
    assert_eq!(sale(&app, "4", other).await["status"], "skipped");
}

async fn a_changed_id_is_followed_when_a_status_names_it(database: Database) {
    let app = app(&database).await;
    let change = changed(
        "wamid.1",
        "user_changed_user_id",
        AT + 50,
        None,
        json!({ "previous_user_id": "US.1", "user_id": "US.2" }),
    );
    tell(&app, &[change]).await;
    let id = app.order("A-1", "+12025550111").await;
    app.send().await;
    let attempt = app.notification(&id).await["attempts"][0].clone();
    app.callback(json!({ "statuses": [{ "id": attempt["provider_message_id"], "status": "delivered", "timestamp": AT + 10,
        "recipient_id": "12025550111", "recipient_user_id": "US.1", "biz_opaque_callback_data": attempt["id"] }] }))
        .await;
    let person = by_user(&app, "US.2").await.unwrap();
    assert_eq!(
        person["id"],
        by_number(&app, "12025550111").await.unwrap()["id"]
    );
    assert!(by_user(&app, "US.1").await.is_none());
}

async fn a_message_without_a_time_opens_no_window(database: Database) {
    let app = app(&database).await;
    let mut message = text("wamid.1", None, Some("12025550111"), AT, "when?");
    message.as_object_mut().unwrap().remove("timestamp");
    tell(&app, &[message]).await;
    assert_eq!(
        by_number(&app, "12025550111").await.unwrap()["windows"],
        json!([])
    );
    assert_eq!(app.number("SELECT count(*) FROM inbound_message").await, 1);
}
