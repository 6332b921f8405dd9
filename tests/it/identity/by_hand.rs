//! People decide which contacts are one person.

use serde_json::json;

use super::app;
use crate::{
    cli::{herald, text},
    dashboard::somebody,
    harness::Database,
};
use herald::domain::login::DashboardRole;

crate::tests![
    two_contacts_are_merged_and_taken_apart_again,
    what_differs_stays_two_that_act_as_one,
    whoever_is_deleted_is_deleted_with_all_that_is_theirs,
    a_person_decides_an_open_question,
    people_are_merged_and_split_at_the_command_line,
    people_are_merged_and_split_on_the_pages,
];

const NUMBER: &str = "12025550111";
const TO: &str = "+12025550111";

async fn two_contacts_are_merged_and_taken_apart_again(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER)], 1, "hello").await;
    app.says(&[("from_user_id", "US.1")], 2, "STOP").await;
    let (one, two) = (
        app.contact("phone=%2B12025550111").await["id"].clone(),
        app.contact("user_id=US.1").await["id"].clone(),
    );
    let body = json!({ "contact": one, "other": two });
    let (code, merged) = app.admin("POST", "/api/v1/contacts/merge", &body).await;
    assert_eq!(code, 200, "{merged}");
    assert_eq!(merged["id"], one);
    assert_eq!(app.people().await, 1);
    let id = app.sent(TO, "offer").await;
    assert_eq!(app.status_of(&id).await, "skipped");
    let (code, identity) = app
        .get(&format!(
            "/api/v1/contacts/{}/identity",
            one.as_str().unwrap()
        ))
        .await;
    assert_eq!(code, 200, "{identity}");
    assert_eq!(identity["merged"][0]["contact"], two, "{identity}");
    // What comes after the merge goes to whomever it came by when they are two again.
    app.says(&[("from", NUMBER)], 3, "one").await;
    app.says(&[("from_user_id", "US.1")], 4, "two").await;
    let path = format!("/api/v1/contacts/{}/split", one.as_str().unwrap());
    let (code, split) = app
        .admin("POST", &path, &json!({ "aliases": ["US.1"] }))
        .await;
    assert_eq!(code, 200, "{split}");
    assert_eq!(split["id"], two, "the contact that it was before: {split}");
    for (query, texts) in [
        ("phone=%2B12025550111", ["one", "hello"]),
        ("user_id=US.1", ["two", "STOP"]),
    ] {
        let contact = app.contact(query).await["id"].clone();
        let (_, page) = app
            .get(&format!(
                "/api/v1/messages?contact={}",
                contact.as_str().unwrap()
            ))
            .await;
        let found: Vec<&str> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["text"].as_str().unwrap())
            .collect();
        assert_eq!(found, texts, "{query}");
    }
    // The refusal stays with both, and evidence does not overrule a person.
    app.says(&[("from", NUMBER), ("from_user_id", "US.1")], 5, "both")
        .await;
    assert_eq!(app.people().await, 2);
    for to in [TO, "US.1"] {
        let id = app.sent(to, "offer").await;
        assert_eq!(app.status_of(&id).await, "skipped", "{to}");
    }
    for (path, body) in [
        (
            "/api/v1/contacts/merge",
            json!({ "contact": one, "other": one }),
        ),
        (path.as_str(), json!({ "aliases": ["US.9"] })),
        (path.as_str(), json!({ "aliases": [TO] })),
    ] {
        let (code, problem) = app.admin("POST", path, &body).await;
        assert_eq!(code, 422, "{problem}");
    }
    assert_eq!(
        app.post(
            "/api/v1/contacts/merge",
            &json!({ "contact": one, "other": two })
        )
        .await
        .0,
        403
    );
}

async fn what_differs_stays_two_that_act_as_one(database: Database) {
    let app = app(&database).await;
    for (handle, address) in [
        ("asha", json!({ "phone": TO })),
        ("customer-7", json!({ "user_id": "US.7" })),
    ] {
        let mut body = address;
        body["handle"] = json!(handle);
        assert_eq!(app.admin("POST", "/api/v1/contacts", &body).await.0, 201);
    }
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.7")], "hello")
        .await;
    assert_eq!(app.people().await, 2);
    let (_, open) = app.get("/api/v1/contacts/conflicts").await;
    assert_eq!(open[0]["state"], "linked", "{open}");
    // The window is open for both, and STOP holds for both.
    for to in ["contact:asha", "contact:customer-7"] {
        let id = app.text_to(to).await;
        app.send().await;
        assert_eq!(app.status_of(&id).await, "accepted", "{to}");
        app.pass(60);
    }
    app.says_now(&[("from_user_id", "US.7")], "STOP").await;
    for to in ["contact:asha", "contact:customer-7"] {
        let id = app.sent(to, "offer").await;
        assert_eq!(app.status_of(&id).await, "skipped", "{to}");
    }
    let (one, two) = (open[0]["contact"].clone(), open[0]["other"].clone());
    let body = json!({ "contact": one, "other": two });
    let (code, problem) = app.admin("POST", "/api/v1/contacts/merge", &body).await;
    assert_eq!(code, 422, "{problem}");
    let body = json!({ "contact": one, "other": two, "overwrite": true });
    let (code, merged) = app.admin("POST", "/api/v1/contacts/merge", &body).await;
    assert_eq!(code, 200, "{merged}");
    assert_eq!(app.people().await, 1);
}

async fn whoever_is_deleted_is_deleted_with_all_that_is_theirs(database: Database) {
    let app = app(&database).await;
    for (handle, address) in [
        ("asha", json!({ "phone": TO })),
        ("customer-7", json!({ "user_id": "US.7" })),
    ] {
        let mut body = address;
        body["handle"] = json!(handle);
        assert_eq!(app.admin("POST", "/api/v1/contacts", &body).await.0, 201);
    }
    app.says_now(&[("from_user_id", "US.8")], "hello").await;
    app.says_now(&[("from", NUMBER), ("from_user_id", "US.7")], "hello")
        .await;
    assert_eq!(app.people().await, 3);
    let contact = app.contact("phone=%2B12025550111").await["id"].clone();
    let path = format!("/api/v1/contacts/{}", contact.as_str().unwrap());
    let (code, deleted) = app.admin("DELETE", &path, &json!(null)).await;
    assert_eq!(code, 200, "{deleted}");
    assert_eq!(app.people().await, 1);
    for table in ["identity_evidence", "contact_conflict"] {
        let left = app.number(&format!("SELECT count(*) FROM {table}")).await;
        let others = i64::from(table == "identity_evidence");
        assert_eq!(left, others, "{table}");
    }
}

async fn a_person_decides_an_open_question(database: Database) {
    for is_one in [true, false] {
        let app = app(&database).await;
        app.says(&[("from", NUMBER), ("from_user_id", "US.1")], 1, "STOP")
            .await;
        app.says(&[("from", NUMBER), ("from_user_id", "US.2")], 5, "hello")
            .await;
        let (_, open) = app.get("/api/v1/contacts/conflicts").await;
        let (owner, claimant) = (open[0]["contact"].clone(), open[0]["other"].clone());
        let (path, body) = if is_one {
            (
                "/api/v1/contacts/merge".to_owned(),
                json!({ "contact": owner, "other": claimant }),
            )
        } else {
            let path = format!("/api/v1/contacts/{}/split", owner.as_str().unwrap());
            (path, json!({ "other": claimant }))
        };
        let (code, answer) = app.admin("POST", &path, &body).await;
        assert_eq!(code, 200, "{answer}");
        let (_, open) = app.get("/api/v1/contacts/conflicts").await;
        assert_eq!(open, json!([]));
        assert_eq!(app.people().await, if is_one { 1 } else { 2 });
        let id = app.sent(TO, "offer").await;
        assert_eq!(app.status_of(&id).await == "skipped", is_one);
    }
}

async fn people_are_merged_and_split_at_the_command_line(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER)], 1, "hello").await;
    app.says(&[("from_user_id", "US.1")], 2, "hello").await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = herald(&app.database_url, folder.path(), words);
        (output.status.code(), text(&output))
    };
    let (code, said) = run(&["contacts", "conflicts"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("No contacts are waiting for a decision"),
        "{said}"
    );
    let (code, said) = run(&["contacts", "merge", TO, "US.1"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(app.people().await, 1);
    let (code, said) = run(&["contacts", "identity", TO, "--show"]);
    assert_eq!(code, Some(0), "{said}");
    for part in [TO, "US.1", "merged ", "seen"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (_, masked) = run(&["contacts", "identity", TO]);
    assert!(!masked.contains(TO), "{masked}");
    let (code, said) = run(&["contacts", "split", TO, "--alias", "US.1"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(app.people().await, 2);
    for (words, rule) in [
        (
            &["contacts", "split", TO, "--alias", "US.9"][..],
            "the contact does not have it",
        ),
        (
            &["contacts", "split", TO, "--alias", "nobody"][..],
            "must start with +",
        ),
        (
            &["contacts", "merge", TO, TO][..],
            "they are one contact already",
        ),
    ] {
        let (code, said) = run(words);
        assert!(code != Some(0) && said.contains(rule), "{said}");
    }
    assert_eq!(run(&["contacts", "split", TO]).0, Some(2));
}

async fn people_are_merged_and_split_on_the_pages(database: Database) {
    let app = app(&database).await;
    app.says(&[("from", NUMBER), ("from_user_id", "US.1")], 1, "hello")
        .await;
    app.says(&[("from", NUMBER), ("from_user_id", "US.2")], 5, "hello")
        .await;
    let (_, open) = app.get("/api/v1/contacts/conflicts").await;
    let (owner, claimant) = (
        open[0]["contact"].as_str().unwrap(),
        open[0]["other"].as_str().unwrap(),
    );
    let mut boss = somebody(&app, "boss", DashboardRole::Admin).await;
    let overview = boss.get("/dashboard").await;
    assert!(
        overview.text.contains("Two contacts may be one person."),
        "{}",
        overview.text
    );
    let list = boss.get("/dashboard/contacts").await;
    assert!(
        list.text.contains("A new user id was seen at"),
        "{}",
        list.text
    );
    let path = format!("/dashboard/contacts/{owner}");
    let page = boss.get(&path).await;
    assert!(
        page.text.contains("may be the same person"),
        "{}",
        page.text
    );
    boss.post(&path, &[("action", "merge"), ("other", claimant)])
        .await;
    assert_eq!(app.people().await, 1);
    boss.post(&path, &[("action", "split"), ("alias", "US.2")])
        .await;
    assert_eq!(app.people().await, 2);
    // Whoever only operates sees it and decides nothing.
    let mut operator = somebody(&app, "op", DashboardRole::Operator).await;
    let refused = operator
        .post(&path, &[("action", "merge"), ("other", claimant)])
        .await;
    assert_eq!(refused.status, 403);
    assert_eq!(app.people().await, 2);
}
