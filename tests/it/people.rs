//! Contacts, staff and groups, as they are managed: over the API and from the command line.

pub mod any_mix;

use herald::store::{
    DatabaseTransaction,
    alias::{ContactAlias, ContactAliasKind},
    people,
};
use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{DEMO, Database, TestApp, crowd, group, while_open},
};

crate::tests![
    two_processes_that_meet_somebody_at_once_make_one_contact,
    contacts_are_added_found_changed_and_paged,
    wrong_fields_of_a_contact_are_named,
    staff_is_linked_and_put_into_groups,
    staff_is_listed_a_page_at_a_time,
    commands_make_groups_link_staff_and_take_preferences,
    whoever_is_nowhere_is_said,
];

async fn contacts_are_added_found_changed_and_paged(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (code, added) = app
        .post(
            "/api/v1/contacts",
            &json!({
                "name": "Asha", "phone": "+12025550101", "language": "hi", "handle": "asha",
                "time_zone": "Asia/Kolkata", "quiet_hours": {"from": "21:00", "until": "07:00"},
            }),
        )
        .await;
    assert_eq!(code, 201, "{added}");
    let id = added["id"].as_str().unwrap().to_owned();
    assert_eq!(
        added["quiet_hours"],
        json!({"from": "21:00", "until": "07:00"})
    );
    assert_eq!(added["aliases"][0]["value"], "+12025550101");
    // The same number is the same person.
    let (code, again) = app
        .post(
            "/api/v1/contacts",
            &json!({"phone": "+12025550101", "name": "Asha P."}),
        )
        .await;
    assert_eq!((code, &again["id"]), (201, &json!(id)));
    assert_eq!(again["language"], "hi", "what is not said is left");
    // Somebody who has a name in requests is not led elsewhere by a product's key.
    let path = format!("/api/v1/contacts/{id}");
    let elsewhere = json!({"quiet_hours": null, "phone": "+12025550102"});
    assert_eq!(app.request("PATCH", &path, &elsewhere).await.0, 403);
    let (code, changed) = app.admin("PATCH", &path, &elsewhere).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(
        (&changed["quiet_hours"], &changed["name"]),
        (&Value::Null, &json!("Asha P."))
    );
    assert_eq!(changed["aliases"][0]["value"], "+12025550102");
    for number in 3..8 {
        let body =
            json!({"phone": format!("+1202555010{number}"), "name": format!("Ravi {number}")});
        assert_eq!(app.post("/api/v1/contacts", &body).await.0, 201);
    }
    let (_, first) = app.get("/api/v1/contacts?limit=4").await;
    assert_eq!(first["contacts"].as_array().unwrap().len(), 4);
    let (_, rest) = app
        .get(&format!(
            "/api/v1/contacts?limit=4&after={}",
            first["next"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (rest["contacts"].as_array().unwrap().len(), &rest["next"]),
        (2, &Value::Null)
    );
    let count = async |query: &str| {
        let (code, found) = app.get(&format!("/api/v1/contacts?query={query}")).await;
        assert_eq!(code, 200, "{found}");
        found["contacts"].as_array().unwrap().len()
    };
    assert_eq!(count("ravi").await, 5);
    assert_eq!(count("asha").await, 1);
    assert_eq!(count("%2B12025550102").await, 1);
    assert_eq!(
        count("%25").await,
        0,
        "a sign of the search is a letter like others"
    );
    let (_, audit) = app.admin("GET", "/api/v1/audit", &Value::Null).await;
    let all = audit.to_string();
    assert!(
        all.contains("contact.changed") && !all.contains("2025550101"),
        "{all}"
    );
}

async fn wrong_fields_of_a_contact_are_named(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (_, other) = app
        .post(
            "/api/v1/contacts",
            &json!({"phone": "+12025550101", "handle": "asha"}),
        )
        .await;
    let (_, mine) = app
        .post("/api/v1/contacts", &json!({"phone": "+12025550102"}))
        .await;
    let path = format!("/api/v1/contacts/{}", mine["id"].as_str().unwrap());
    for (body, pointer, rule) in [
        (json!({"phone": "202 555"}), "/phone", "must start with +"),
        (
            json!({"phone": "+12025550101"}),
            "/phone",
            "belongs to another contact",
        ),
        (
            json!({"handle": "asha"}),
            "/handle",
            "belongs to another contact",
        ),
        (json!({"name": " "}), "/name", "1 to 200 characters"),
        (
            json!({"language": "hindi!"}),
            "/language",
            "a language is written",
        ),
        (
            json!({"time_zone": "India"}),
            "/time_zone",
            "a zone is written Africa/Harare",
        ),
    ] {
        let (code, problem) = app.request("PATCH", &path, &body).await;
        assert_eq!(code, 422, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        let said = problem["errors"][0]["rule"].as_str().unwrap();
        assert!(said.contains(rule), "{said}");
    }
    for body in [
        json!({"quiet_hours": {"from": "9", "until": "10"}}),
        json!({"colour": "red"}),
    ] {
        assert_eq!(app.request("PATCH", &path, &body).await.0, 400);
    }
    let nobody = "/api/v1/contacts/00000000-0000-7000-8000-000000000000";
    assert_eq!(app.request("PATCH", nobody, &json!({})).await.0, 404);
    assert_eq!(app.get(&format!("{nobody}/preferences")).await.0, 404);
    assert_eq!(other["handle"], "asha");
}

async fn staff_is_linked_and_put_into_groups(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (code, _) = app
        .request("PUT", "/api/v1/groups/Sales%20Team", &json!({}))
        .await;
    assert_eq!(code, 403, "staff is an admin's matter");
    let (code, group) = app
        .admin(
            "PUT",
            "/api/v1/groups/Sales%20Team",
            &json!({"description": "New orders"}),
        )
        .await;
    assert_eq!(
        (code, &group["description"]),
        (201, &json!("New orders")),
        "{group}"
    );
    let again = app
        .admin("PUT", "/api/v1/groups/Sales%20Team", &json!({}))
        .await;
    assert_eq!(again.0, 200);
    let (code, user) = app
        .admin(
            "PUT",
            "/api/v1/users/asha/contact",
            &json!({"contact": "+12025550101"}),
        )
        .await;
    assert_eq!(
        (code, &user["phone"]),
        (200, &json!("+12025550101")),
        "{user}"
    );
    let member = "/api/v1/groups/Sales%20Team/members/asha";
    let (code, group) = app.admin("PUT", member, &Value::Null).await;
    assert_eq!((code, &group["members"]), (200, &json!(1)), "{group}");
    let listed = "/api/v1/groups/Sales%20Team/members";
    let (_, members) = app.get(listed).await;
    assert_eq!(members["users"][0]["name"], "asha", "{members}");
    assert_eq!(app.get("/api/v1/groups/Nobody/members").await.0, 404);
    let (code, problem) = app
        .admin("PUT", "/api/v1/groups/Nobody/members/asha", &Value::Null)
        .await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/group"))
    );
    let (code, problem) = app
        .admin(
            "PUT",
            "/api/v1/users/asha/contact",
            &json!({"contact": "contact:nobody"}),
        )
        .await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/contact"))
    );
    let (_, user) = app
        .admin(
            "PUT",
            "/api/v1/users/asha/contact",
            &json!({"contact": null}),
        )
        .await;
    assert_eq!(user["contact"], Value::Null);
    let (_, users) = app.get("/api/v1/users").await;
    assert_eq!(users["users"][0]["groups"], json!(["Sales Team"]));
    let (_, group) = app.admin("DELETE", member, &Value::Null).await;
    assert_eq!(group["members"], json!(0));
    assert_eq!(app.get(listed).await.1["users"], json!([]));
}

async fn staff_is_listed_a_page_at_a_time(database: Database) {
    let app = TestApp::spawn(&database).await;
    let names: Vec<String> = (0..5).map(|number| format!("Person {number}")).collect();
    let catalogue = format!(
        "name = \"crowd\"\n{}{}",
        crowd(&names),
        group("Few", &names[3..])
    );
    app.apply_catalogue(&catalogue).await;
    let mut seen = Vec::new();
    let mut address = "/api/v1/users?limit=2".to_owned();
    loop {
        let (code, page) = app.get(&address).await;
        assert_eq!(code, 200, "{page}");
        let users = page["users"].as_array().unwrap().clone();
        assert!(users.len() <= 2);
        seen.extend(
            users
                .iter()
                .map(|it| it["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        address = format!("/api/v1/users?limit=2&after={}", next.replace(' ', "%20"));
    }
    assert_eq!(seen, names);
    let (_, found) = app.get("/api/v1/users?query=person%204").await;
    assert_eq!(found["users"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["users"][0]["groups"], json!(["Few"]));
    let (_, few) = app.get("/api/v1/groups/Few/members?limit=1").await;
    assert_eq!(
        (&few["users"][0]["name"], &few["next"]),
        (&json!("Person 3"), &json!("Person 3"))
    );
    // What begins with a sign that LIKE knows is looked for as it stands.
    assert_eq!(
        app.get("/api/v1/users?query=%25").await.1["users"],
        json!([])
    );
    assert_eq!(app.get("/api/v1/users?limit=0").await.0, 422);
}

async fn commands_make_groups_link_staff_and_take_preferences(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue("name = \"shop\"\n[[kind]]\nname = \"shop.orders\"\n[[kind]]\nname = \"shop.safety\"\nrequired = true\n")
        .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("crm.toml"),
        "name = \"crm\"\n[[group]]\nname = \"Sales Team\"\ndescription = \"New orders\"\n[[group]]\nname = \"Finance Team\"\n",
    )
    .unwrap();
    let run = |words: &[&str]| {
        let output = herald(&app.database_url, folder.path(), words);
        format!(
            "$ herald {}\n{}[{}]\n",
            words.join(" "),
            text(&output),
            output.status.code().unwrap()
        )
    };
    let mut said = String::new();
    for words in [
        &["groups", "ensure", "--from", "crm.toml"][..],
        &["users", "connect", "asha", "--to", "+12025550101"],
        &["users", "connect", "ravi", "--to", "contact:nobody"],
        &["groups", "ensure", "Sales Team"],
        &["groups", "add", "Sales Team", "asha", "ravi"],
        &["contacts", "set", "+12025550102", "--quiet-hours", "21:00"],
        &[
            "contacts",
            "prefer",
            "+12025550101",
            "--kind",
            "shop.orders",
            "off",
        ],
        &[
            "contacts",
            "prefer",
            "+12025550101",
            "--kind",
            "shop.safety",
            "off",
        ],
        &["contacts", "prefer", "+12025550109", "off"],
        &["users", "links"],
        &["groups", "list"],
        &["apply", "crm.toml"],
        &["groups", "remove", "Sales Team", "asha"],
        &["users", "disconnect", "asha"],
        &["groups", "ensure"],
    ] {
        said.push_str(&run(words));
    }
    insta::assert_snapshot!("people_at_the_command_line", said);
}

async fn whoever_is_nowhere_is_said(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(
        "name = \"nowhere\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello {{ name }}.\"\n\
         [[template.parameter]]\nname = \"name\"\ndefault = \"you\"\nexample = \"Asha\"\n\
         [[user]]\nname = \"unlinked\"\n[[group]]\nname = \"A\"\nmembers = [\"unlinked\"]\n[[group]]\nname = \"B\"\nmembers = [\"unlinked\"]\n\
         [[group]]\nname = \"Empty\"\nmembers = []\n\
         [[route]]\nname = \"two\"\nevent = \"nowhere.two\"\nto = [\"group:A\", \"group:B\", \"user:unlinked\"]\ntemplate = \"hello\"\nparams = { name = \"\" }\n\
         [[route]]\nname = \"none\"\nevent = \"nowhere.none\"\nto = \"group:Empty\"\ntemplate = \"hello\"\n",
    )
    .await;
    // A user without a contact who is in two groups is left out once, with the reason.
    let answer = app.event("1", "nowhere.two", json!({})).await;
    assert_eq!(answer["routes"][0]["skipped"], 1, "{answer}");
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 1);
    let answer = app.event("2", "nowhere.none", json!({})).await;
    let reason = answer["routes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("its groups are empty"), "{answer}");
}

async fn two_processes_that_meet_somebody_at_once_make_one_contact(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let now = app.now();
    let template = "jaspers_market_plain_text_v1";
    for (kind, name) in [
        (ContactAliasKind::UserId, "US.13491208655302741918"),
        (ContactAliasKind::Phone, "+12025550111"),
    ] {
        let theirs = [ContactAlias {
            kind,
            value: name.to_owned(),
        }];
        let meets = async |tx: &DatabaseTransaction| {
            people::insert_contact(tx, None, &theirs, now)
                .await
                .map(drop)
        };
        let before = app.number("SELECT count(*) FROM contact").await;
        let body = json!({ "to": name, "template": template });
        let request = Box::pin(app.post("/api/v1/notifications", &body));
        let (code, answer) = while_open(&app, meets, request).await;
        assert_eq!(code, 202, "{answer}");
        assert_eq!(
            app.number("SELECT count(*) FROM contact").await,
            before + 1,
            "{name}"
        );
        let of_them = "SELECT count(*) FROM notification n JOIN contact_alias a ON a.contact_id = n.contact_id WHERE a.kind = ";
        assert_eq!(
            app.number(&format!("{of_them}'{}'", kind.name())).await,
            1,
            "{name}"
        );
    }
}
