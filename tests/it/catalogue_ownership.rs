//! Catalogues own their rows: what is planned, what is refused, what was changed by hand.

pub mod any_order;

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{Database, SECRET_KEY, TestApp},
};

crate::tests![
    a_plan_shows_each_field_and_changes_nothing,
    what_was_changed_by_hand_is_a_conflict_until_it_is_overwritten,
    a_file_with_mistakes_keeps_the_others_from_being_applied,
    a_user_in_a_group_of_another_catalogue_is_not_removed,
    what_others_need_may_move_from_one_file_to_another,
    what_goes_over_may_lose_a_part_in_any_order,
    what_was_set_by_hand_where_a_file_said_nothing_is_asked_about,
    two_files_of_one_name_are_refused,
    a_catalogue_takes_settings_that_are_meant_for_it_and_no_others,
    every_route_must_be_able_to_use_its_example,
    a_contact_that_has_a_name_is_not_taken_by_its_number,
];

const STAFF: &str = r#"
name = "staff"

[[contact]]
name = "asha"
phone = "+12025550101"
language = "hi"

[[user]]
name = "asha"
contact = "asha"

[[user]]
name = "ravi"

[[group]]
name = "Sales Team"
description = "New orders"
members = ["asha"]

[[group]]
name = "Finance Team"

[[template]]
name = "order"
category = "utility"
body = "Order {{ number }} is in."

[[route]]
name = "order"
event = "staff.order.created"
to = "group:Sales Team"
template = "order"
params = { number = "{{ data.number }}" }

[[rule]]
name = "unread"
on = "delivered"
after = "24h"
unless = ["read", "replied"]
send = { to = "same", template = "order", params = { number = "again" } }
"#;

/// What every table of catalogues holds, in an order of its own.
async fn rows(app: &TestApp) -> Vec<String> {
    let mut all = Vec::new();
    for sql in [
        "SELECT handle || coalesce(name, '') || coalesce(language, '') || coalesce(catalogue, '') FROM contact WHERE handle IS NOT NULL",
        "SELECT name || coalesce(catalogue, '') FROM user_account",
        "SELECT name || coalesce(description, '') || coalesce(catalogue, '') FROM user_group",
        "SELECT name || language || body || coalesce(catalogue, '') FROM template",
        "SELECT name || event_type || params || coalesce(catalogue, '') FROM route",
        "SELECT name || send || coalesce(catalogue, '') FROM rule WHERE active",
    ] {
        let mut found = app.texts(sql).await;
        found.sort();
        all.extend(found);
    }
    all
}

async fn a_plan_shows_each_field_and_changes_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let write = |text: &str| std::fs::write(folder.path().join("staff.toml"), text).unwrap();
    write(STAFF);
    let planned = run(&["plan", "staff.toml"]);
    assert_eq!(planned.status.code(), Some(3));
    insta::assert_snapshot!("the_plan_of_a_new_catalogue", text(&planned));
    assert!(rows(&app).await.is_empty());
    assert_eq!(run(&["apply", "staff.toml"]).status.code(), Some(0));
    let nothing = run(&["plan", "staff.toml"]);
    assert_eq!(nothing.status.code(), Some(0), "{}", text(&nothing));
    write(
        &STAFF
            .replace("is in.", "has come in.")
            .replace("[[user]]\nname = \"ravi\"\n", "")
            .replace("after = \"24h\"", "after = \"12h\""),
    );
    let before = rows(&app).await;
    insta::assert_snapshot!(
        "the_plan_of_a_changed_catalogue",
        text(&run(&["plan", "staff.toml"]))
    );
    assert_eq!(rows(&app).await, before);
    let json = run(&["plan", "staff.toml", "--json"]);
    let all: Value = serde_json::from_slice(&json.stdout).unwrap();
    let steps = all[0]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3, "{all}");
    assert_eq!(steps[2]["action"], "remove");
}

async fn what_was_changed_by_hand_is_a_conflict_until_it_is_overwritten(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    std::fs::write(folder.path().join("staff.toml"), STAFF).unwrap();
    app.apply_catalogue(STAFF).await;
    app.sql("UPDATE template SET body = 'Order {{ number }} is here now.'")
        .await;
    app.sql("UPDATE contact SET language = 'en' WHERE handle = 'asha'")
        .await;
    app.sql("DELETE FROM route").await;
    let refused = run(&["apply", "staff.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    insta::assert_snapshot!("what_was_changed_by_hand", text(&refused));
    assert_eq!(app.number("SELECT count(*) FROM route").await, 0);
    let done = run(&["apply", "--overwrite", "staff.toml"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert_eq!(app.number("SELECT count(*) FROM route").await, 1);
    assert_eq!(
        app.number("SELECT count(*) FROM template WHERE body LIKE '%is in.'")
            .await,
        1
    );
    // What a catalogue leaves out is nobody's business but that of who does it by hand.
    app.sql("UPDATE user_account SET contact_id = (SELECT id FROM contact WHERE handle = 'asha') WHERE name = 'ravi'").await;
    app.sql("INSERT INTO group_member (group_id, user_id, created_at) SELECT g.id, u.id, 1 FROM user_group g, user_account u WHERE g.name = 'Finance Team' AND u.name = 'ravi'").await;
    let plan = app.try_catalogue(STAFF).await.unwrap();
    assert!(plan.steps.is_empty(), "{plan:?}");
    // What was made by hand and says the same is taken over.
    app.sql("UPDATE user_group SET catalogue = NULL WHERE name = 'Finance Team'")
        .await;
    let plan = app.try_catalogue(STAFF).await.unwrap();
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(app.number("SELECT count(*) FROM group_member").await, 2);
}

async fn a_file_with_mistakes_keeps_the_others_from_being_applied(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("staff.toml", STAFF);
    write(
        "other.toml",
        "name = \"other\"\n\n[[route]]\nname = \"x\"\nevent = \"e\"\nto = \"group:Sales Team\"\ntemplate = \"nobodys\"\n",
    );
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let refused = run(&["apply", "staff.toml", "other.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(
        said.contains("other.toml:7: route x: template: there is no template nobodys"),
        "{said}"
    );
    assert!(rows(&app).await.is_empty());
    write(
        "other.toml",
        "name = \"other\"\n\n[[route]]\nname = \"x\"\nevent = \"e\"\nto = \"group:Sales Team\"\ntemplate = \"order\"\n",
    );
    let done = run(&["apply", "staff.toml", "other.toml"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
}

async fn a_user_in_a_group_of_another_catalogue_is_not_removed(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(STAFF).await;
    app.apply_catalogue("name = \"b\"\n[[group]]\nname = \"Admins\"\nmembers = [\"ravi\"]\n")
        .await;
    let fewer = STAFF.replace("[[user]]\nname = \"ravi\"\n", "");
    assert_eq!(
        app.try_catalogue(&fewer).await.unwrap_err(),
        ["user ravi: cannot be removed: it is in the group Admins, which is not this catalogue's"]
    );
    let thief = "name = \"thief\"\n[[user]]\nname = \"ravi\"\n[[template]]\nname = \"order\"\nlanguage = \"hi\"\ncategory = \"utility\"\nbody = \"x\"\n";
    assert_eq!(
        app.try_catalogue(thief).await.unwrap_err(),
        [
            "line 2: user ravi: belongs to the catalogue staff",
            "line 4: template order hi: belongs to the catalogue staff"
        ]
    );
}

async fn what_others_need_may_move_from_one_file_to_another(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let write = |name: &str, text: &str| {
        let text = format!("name = \"{name}\"\n{text}");
        std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
    };
    let moves = r#"
[[kind]]
name = "news"
[[contact]]
name = "asha"
phone = "+12025550101"
[[user]]
name = "ravi"
[[group]]
name = "Sales Team"
members = ["ravi"]
[[group]]
name = "Night"
[[template]]
name = "order"
category = "utility"
body = "An order is in."
"#;
    write("old", moves);
    write("new", "");
    write(
        "shop",
        r#"
[[route]]
name = "order"
event = "shop.order"
to = ["group:Sales Team", "user:ravi", "contact:asha"]
template = "order"
kind = "news"
"#,
    );
    let done = run(&["apply", "old.toml", "new.toml", "shop.toml"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    // What is set by hand is nobody's but theirs who did it.
    let by_hand = async |method: &str, path: &str, body: Value| {
        let (code, answer) = app.admin(method, path, &body).await;
        assert!((200..300).contains(&code), "{answer}");
    };
    by_hand(
        "PUT",
        "/api/v1/users/ravi/contact",
        json!({"contact": "+12025550102"}),
    )
    .await;
    by_hand("PUT", "/api/v1/groups/Night/members/ravi", Value::Null).await;
    by_hand("PUT", "/api/v1/groups/Other", json!({})).await;
    by_hand("PUT", "/api/v1/groups/Other/members/ravi", Value::Null).await;
    // Left out of the one without being in the other, it is missed.
    write("old", "");
    by_hand("DELETE", "/api/v1/groups/Other/members/ravi", Value::Null).await;
    let refused = run(&["apply", "old.toml", "new.toml"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    for row in [
        "kind news",
        "contact asha",
        "user ravi",
        "group Sales Team",
        "template order en_US",
    ] {
        let rule =
            format!("{row}: cannot be removed: the route order of the catalogue shop needs it");
        assert!(said.contains(&rule), "{rule} in {said}");
    }
    by_hand("PUT", "/api/v1/groups/Other/members/ravi", Value::Null).await;
    // Whichever stands first, and though one of them is changed on the way.
    write(
        "new",
        &moves.replace("An order is in.", "An order has come in."),
    );
    let planned = run(&["plan", "new.toml", "old.toml"]);
    assert_eq!(planned.status.code(), Some(3));
    insta::assert_snapshot!("the_plan_of_what_moves", text(&planned));
    let done = run(&["apply", "new.toml", "old.toml"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    let owners = app
        .texts("SELECT DISTINCT catalogue FROM user_group WHERE name <> 'Other' UNION SELECT DISTINCT catalogue FROM contact WHERE handle IS NOT NULL")
        .await;
    assert_eq!(owners, ["new"]);
    assert_eq!(
        run(&["plan", "old.toml", "new.toml", "shop.toml"])
            .status
            .code(),
        Some(0)
    );
    app.event("e-1", "shop.order", json!({})).await;
    let (_, list) = app.get("/api/v1/notifications?type=shop.order").await;
    let list = list["notifications"].as_array().unwrap();
    assert_eq!(list.len(), 2, "{list:?}");
    assert!(list.iter().all(|it| it["status"] == "queued"), "{list:?}");
    for group in ["Sales%20Team", "Night", "Other"] {
        let (_, members) = app.get(&format!("/api/v1/groups/{group}/members")).await;
        assert_eq!(members["users"][0]["name"], "ravi", "{group}: {members}");
    }
}

const HINDI: &str = "[[template]]\nname = \"order\"\nlanguage = \"hi\"\ncategory = \"utility\"\nbody = \"ऑर्डर आया है।\"\n";

async fn what_goes_over_may_lose_a_part_in_any_order(database: Database) {
    for order in [["old.toml", "new.toml"], ["new.toml", "old.toml"]] {
        let app = TestApp::spawn(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
        let write = |name: &str, text: &str| {
            let text = format!("name = \"{name}\"\n{text}");
            std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        };
        let english =
            "[[template]]\nname = \"order\"\ncategory = \"utility\"\nbody = \"An order is in.\"\n";
        let users = "[[user]]\nname = \"asha\"\n[[user]]\nname = \"ravi\"\n";
        let group = "[[group]]\nname = \"Sales\"\nmembers = [\"asha\", \"ravi\"]\n";
        write("old", &format!("{users}{group}{english}{HINDI}"));
        write("new", "");
        assert_eq!(run(&["apply", order[0], order[1]]).status.code(), Some(0));
        // One member and one translation are retired on the way.
        write("old", "");
        let asha = "[[user]]\nname = \"asha\"\n";
        let smaller = group.replace(", \"ravi\"", "");
        write("new", &format!("{asha}{smaller}{english}"));
        let done = run(&["apply", order[0], order[1]]);
        assert_eq!(done.status.code(), Some(0), "{}", text(&done));
        let (_, users) = app.get("/api/v1/users").await;
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
        assert_eq!(app.texts("SELECT language FROM template").await, ["en_US"]);
        let again = run(&["plan", order[0], order[1]]);
        assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    }
}

async fn what_was_set_by_hand_where_a_file_said_nothing_is_asked_about(database: Database) {
    let app = TestApp::spawn(&database).await;
    let without = "name = \"shop\"\n[[user]]\nname = \"asha\"\n[[user]]\nname = \"ravi\"\n[[group]]\nname = \"Night\"\n";
    app.apply_catalogue(without).await;
    let path = "/api/v1/groups/Night/members/ravi";
    assert_eq!(app.admin("PUT", path, &Value::Null).await.0, 200);
    let with = without.replace("\"Night\"", "\"Night\"\nmembers = [\"asha\"]");
    let asked = app.try_catalogue(&with).await.unwrap_err().join("\n");
    assert!(asked.contains("group Night"), "{asked}");
    let (_, members) = app.get("/api/v1/groups/Night/members").await;
    assert_eq!(members["users"][0]["name"], "ravi", "{members}");
    // Nobody is in it by hand: the file may fill it.
    assert_eq!(app.admin("DELETE", path, &Value::Null).await.0, 200);
    app.apply_catalogue(&with).await;
}

async fn two_files_of_one_name_are_refused(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    for (file, kind) in [("a.toml", "one"), ("b.toml", "two")] {
        let text = format!("name = \"shop\"\n[[kind]]\nname = \"{kind}\"\n");
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let refused = herald(
        &app.database_url,
        folder.path(),
        &["apply", "a.toml", "b.toml"],
    );
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(
        said.contains("b.toml: name: another of these files has the catalogue name shop"),
        "{said}"
    );
    assert_eq!(app.number("SELECT count(*) FROM message_kind").await, 0);
}

async fn a_catalogue_takes_settings_that_are_meant_for_it_and_no_others(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let asked = STAFF.replace(
        "to = \"group:Sales Team\"",
        "to = \"groups:${INVOICE_PROCESSED_NOTIFICATION_GROUPS:-Sales Team}\"",
    );
    std::fs::write(folder.path().join("staff.toml"), &asked).unwrap();
    let apply = |name: &str, value: &str| {
        Command::new(env!("CARGO_BIN_EXE_herald"))
            .current_dir(folder.path())
            .args(["apply", "staff.toml"])
            .env_clear()
            .env("DATABASE_URL", &app.database_url)
            .env("HERALD_SECRET_KEY", SECRET_KEY)
            .env(name, value)
            .output()
            .unwrap()
    };
    let done = apply(
        "INVOICE_PROCESSED_NOTIFICATION_GROUPS",
        "Finance Team, Sales Team",
    );
    assert!(done.status.success(), "{}", text(&done));
    assert_eq!(
        app.texts("SELECT recipients FROM route").await,
        ["[\"group:Finance Team\",\"group:Sales Team\"]"]
    );
    let broken = apply("INVOICE_PROCESSED_NOTIFICATION_GROUPS", "A\"\nname = \"B");
    assert_eq!(broken.status.code(), Some(1));
    let secret = asked.replace("INVOICE_PROCESSED_NOTIFICATION_GROUPS", "HERALD_SECRET_KEY");
    let wrong = app.try_catalogue(&secret).await.unwrap_err();
    assert!(
        wrong[0].starts_with("line 32: ${HERALD_SECRET_KEY}: a catalogue may use"),
        "{wrong:?}"
    );
}

async fn every_route_must_be_able_to_use_its_example(database: Database) {
    let app = TestApp::spawn(&database).await;
    let with = |example: &str| {
        format!("{STAFF}\n[[event]]\ntype = \"staff.order.created\"\nexample = {example}\n")
    };
    assert_eq!(
        app.try_catalogue(&with("{ nr = \"A-1\" }"))
            .await
            .unwrap_err(),
        [
            "line 29: route order: with the example of staff.order.created: its parameter number: cannot be rendered: undefined value: `data.number` is undefined"
        ]
    );
    let typo = with("{ number = \"A-1\" }").replace(
        "event = \"staff.order.created\"",
        "event = \"staff.order.made\"",
    );
    assert_eq!(
        app.try_catalogue(&typo).await.unwrap_err(),
        ["line 31: route order: event: staff.order.made is none of its [[event]]s"]
    );
    app.apply_catalogue(&with("{ number = \"A-1\" }")).await;
    let (_, kinds) = app.get("/api/v1/event-types").await;
    assert_eq!(kinds["event_types"][0]["example"], json!({"number": "A-1"}));
}

async fn a_contact_that_has_a_name_is_not_taken_by_its_number(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(STAFF).await;
    let thief = "name = \"thief\"\n[[contact]]\nname = \"on-call\"\nphone = \"+12025550101\"\n";
    assert_eq!(
        app.try_catalogue(thief).await.unwrap_err(),
        ["line 4: contact on-call: phone: belongs to another contact"]
    );
    // A number that its owner has lost is free.
    let lost = thief.replace("0101", "0102");
    app.apply_catalogue(&lost).await;
    app.sql("UPDATE contact_alias SET superseded_at = 1 WHERE value = '+12025550102'")
        .await;
    let (code, shown) = app
        .post(
            "/api/v1/contacts",
            &json!({"phone": "+12025550102", "name": "Ravi"}),
        )
        .await;
    assert_eq!(code, 201, "{shown}");
    assert_eq!(shown["aliases"][0]["value"], "+12025550102", "{shown}");
    assert_eq!(shown["aliases"][0]["superseded_at"], Value::Null);
}
