//! Mailboxes that several people have: what one of them has refused, and how they are found.

use serde_json::{Value, json};

use crate::{
    cli,
    harness::{
        Database, TestApp,
        email::{Stage, order, stage},
    },
};

crate::tests![
    a_mailbox_gets_nothing_that_one_of_its_people_has_refused,
    quiet_hours_of_one_delay_what_goes_to_the_mailbox_of_two,
    a_mailbox_that_a_product_has_set_is_its_person_s_too,
    who_is_named_as_a_person_and_by_mailbox_is_meant_as_a_person,
    people_are_found_by_their_mailbox,
    a_product_finds_the_mailboxes_that_it_knows,
];

const FAMILY: &str = r#"
name = "family"

[[contact]]
name = "dora"
phone = "+12025550107"
email = "home@example.com"

[[contact]]
name = "emil"
phone = "+12025550108"
email = "Home@Example.com"
"#;

async fn family(database: &Database) -> Stage {
    let stage = stage(database).await;
    stage.app.apply_catalogue(FAMILY).await;
    stage
}

fn news(to: &str) -> Value {
    json!({ "to": to, "template": "news", "params": { "name": "Emil" }, "channels": ["email"] })
}

/// The id of the contact of a catalogue.
async fn contact(app: &TestApp, name: &str) -> String {
    let (_, list) = app.get(&format!("/api/v1/contacts?query={name}")).await;
    let id = list["contacts"][0]["id"].as_str();
    id.unwrap_or_else(|| panic!("{name}: {list}")).to_owned()
}

async fn change(app: &TestApp, contact: &str, body: &Value) {
    let (code, answer) = app
        .admin("PATCH", &format!("/api/v1/contacts/{contact}"), body)
        .await;
    assert_eq!(code, 200, "{answer}");
}

/// Emil wants no e-mail any more.
async fn emil_refuses(app: &TestApp) {
    let emil = contact(app, "emil").await;
    let path = format!("/api/v1/contacts/{emil}/preferences");
    let refused = json!({ "preferences": [{ "channel": "email", "wanted": false }] });
    let (code, answer) = app.admin("PUT", &path, &refused).await;
    assert_eq!(code, 200, "{answer}");
}

async fn a_mailbox_gets_nothing_that_one_of_its_people_has_refused(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    let before = stage.ask(&news("home@example.com")).await;
    emil_refuses(app).await;
    // At the last moment, and when it is asked for.
    let after = stage.ask(&news("HOME@example.com")).await;
    let to_dora = stage.ask(&news("contact:dora")).await;
    stage.mail_out().await;
    for (id, status) in [
        (&before, "skipped"),
        (&after, "skipped"),
        (&to_dora, "accepted"),
    ] {
        assert_eq!(stage.status(id).await, status);
    }
    let (_, story) = app.get(&format!("/api/v1/notifications/{after}")).await;
    assert_eq!(
        story["reason"], "the person does not want messages by email",
        "{story}"
    );
    assert_eq!(stage.mail.taken().len(), 1);
}

async fn quiet_hours_of_one_delay_what_goes_to_the_mailbox_of_two(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    let emil = contact(app, "emil").await;
    change(
        app,
        &emil,
        &json!({ "quiet_hours": { "from": "00:00", "until": "23:59" } }),
    )
    .await;
    let shared = stage.ask(&order("home@example.com", &["email"])).await;
    let to_dora = stage.ask(&order("contact:dora", &["email"])).await;
    stage.mail_out().await;
    assert_eq!(stage.status(&shared).await, "queued");
    assert_eq!(stage.status(&to_dora).await, "accepted");
}

/// A key of a product of its own.
async fn product_key(app: &TestApp, scopes: &[&str]) -> String {
    let body =
        json!({ "product": "clinic", "source": "clinic", "catalogue": "shop", "scopes": scopes });
    let (code, key) = app.admin("POST", "/api/v1/keys", &body).await;
    assert_eq!(code, 201, "{key}");
    key["key"].as_str().unwrap().to_owned()
}

async fn a_mailbox_that_a_product_has_set_is_its_person_s_too(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    let key = product_key(app, &["contacts:write"]).await;
    let own = json!({ "phone": "+12025550109", "email": "Clinic@example.com" });
    let request = app
        .http
        .post(format!("{}/api/v1/contacts", app.base))
        .bearer_auth(key);
    let made = request.json(&own).send().await.unwrap();
    assert!(made.status().is_success());
    let stop = json!({ "id": "wamid.STOP", "from": "12025550109", "type": "text", "text": { "body": "STOP" },
        "timestamp": app.now().unix_seconds().to_string() });
    app.callback(json!({ "messages": [stop] })).await;
    let id = stage.ask(&order("clinic@example.com", &["email"])).await;
    stage.mail_out().await;
    assert_eq!(stage.status(&id).await, "skipped");
}

async fn who_is_named_as_a_person_and_by_mailbox_is_meant_as_a_person(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    emil_refuses(app).await;
    for to in [
        ["contact:dora", "home@example.com"],
        ["home@example.com", "contact:dora"],
    ] {
        let mut body = news("");
        body["to"] = json!(to);
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
        let made: Vec<(&Value, &Value)> = answer["notifications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (&one["recipient"], &one["status"]))
            .collect();
        assert_eq!(made, [(&json!("contact:dora"), &json!("queued"))], "{to:?}");
    }
}

async fn people_are_found_by_their_mailbox(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    let (code, found) = app.get("/api/v1/contacts?email=HOME%40example.com").await;
    assert_eq!(code, 200, "{found}");
    let mailboxes: Vec<&Value> = found["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|contact| &contact["email"])
        .collect();
    assert_eq!(mailboxes, ["home@example.com", "Home@Example.com"]);
    let (_, none) = app
        .get("/api/v1/contacts?email=nowhere%40example.com")
        .await;
    assert_eq!(none["contacts"], json!([]));
    for (query, pointer) in [
        ("email=asha", "email"),
        ("email=a%40example.com&query=a", "query"),
        ("email=a%40example.com&phone=%2B12025550101", "query"),
    ] {
        let (code, problem) = app.get(&format!("/api/v1/contacts?{query}")).await;
        assert_eq!(code, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    // A plus sign that was not written as %2B.
    let plus = json!({ "phone": "+12025550110", "email": "home+news@example.com" });
    let (code, made) = app.admin("POST", "/api/v1/contacts", &plus).await;
    assert!(code < 300, "{made}");
    for query in [
        "email=home+news@example.com",
        "email=home%2Bnews%40example.com",
    ] {
        let (_, found) = app.get(&format!("/api/v1/contacts?{query}")).await;
        assert_eq!(found["contacts"][0]["phone"], "+12025550110", "{found}");
    }
    let (_, found) = app.get("/api/v1/contacts?phone=+12025550110").await;
    assert_eq!(found["email"], "home+news@example.com");
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| cli::text(&cli::herald(&app.database_url, folder.path(), words));
    let asha = run(&["contacts", "show", "asha@example.com", "--show"]);
    assert!(asha.contains("contact:asha"), "{asha}");
    let preferred = run(&[
        "contacts",
        "prefer",
        "asha@example.com",
        "--channel",
        "email",
        "off",
    ]);
    assert!(
        preferred.contains("every kind, email: not wanted"),
        "{preferred}"
    );
    let id = stage.ask(&news("asha@example.com")).await;
    assert_eq!(stage.status(&id).await, "skipped");
    let several = run(&["contacts", "show", "home@example.com"]);
    let emil = contact(app, "emil").await;
    assert!(
        several.contains("several contacts have this e-mail address") && several.contains(&emil),
        "{several}"
    );
    let unknown = run(&["contacts", "show", "nowhere@example.com"]);
    assert!(
        unknown.contains("no contact has this e-mail address"),
        "{unknown}"
    );
    let listed = run(&["contacts", "list", "--begins", "dora"]);
    assert!(
        listed.contains("@example.com") && !listed.contains("home@"),
        "masked: {listed}"
    );
}

async fn a_product_finds_the_mailboxes_that_it_knows(database: Database) {
    let stage = family(&database).await;
    let app = &stage.app;
    let key = json!({ "product": "clinic", "source": "clinic", "scopes": ["contacts:read", "contacts:write"] });
    let (code, key) = app.admin("POST", "/api/v1/keys", &key).await;
    assert_eq!(code, 201, "{key}");
    let ask = |method: reqwest::Method, path: &str| {
        let request = app.http.request(method, format!("{}{path}", app.base));
        request.bearer_auth(key["key"].as_str().unwrap())
    };
    let own = json!({ "phone": "+12025550109", "email": "home@example.com" });
    let made = ask(reqwest::Method::POST, "/api/v1/contacts")
        .json(&own)
        .send()
        .await
        .unwrap();
    assert!(made.status().is_success(), "{}", made.text().await.unwrap());
    let path = "/api/v1/contacts?email=home%40example.com";
    let found: Value = ask(reqwest::Method::GET, path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let found = found["contacts"].as_array().unwrap();
    assert_eq!(found.len(), 1, "not those of others: {found:?}");
    assert_eq!(found[0]["phone"], "+12025550109");
    assert_eq!(found[0]["email"], "home@example.com");
}
