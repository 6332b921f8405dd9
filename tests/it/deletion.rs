//! People, staff and groups are made, and deleted again.

pub mod erasure;
pub mod meanwhile;

use herald::engine::delivery;
use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    harness::{Database, TestApp, status},
};

crate::tests![
    a_deleted_person_is_gone_and_hears_nothing_more,
    all_that_waits_is_cancelled_however_much_it_is,
    nothing_reaches_a_deleted_person_by_a_rule_a_retry_or_an_answer,
    who_has_opted_out_is_still_spared_after_their_deletion,
    whom_something_is_linked_to_is_not_deleted,
    whoever_a_route_names_by_id_or_is_about_is_not_deleted,
    who_is_for_an_alert_hears_it_though_it_is_about_somebody_deleted,
    an_event_that_runs_again_reaches_no_number_twice,
    a_number_that_passed_on_is_of_somebody_who_has_not_heard,
    users_and_groups_are_made_and_deleted,
    somebody_is_added_by_what_whatsapp_calls_them,
    people_are_deleted_at_the_command_line,
];

const CATALOGUE: &str = r#"
name = "shop"
[[kind]]
name = "shop.news"
[[contact]]
name = "asha"
phone = "+12025550101"
[[contact]]
name = "mina"
phone = "+12025550102"
[[user]]
name = "ravi"
[[user]]
name = "grace"
contact = "asha"
[[group]]
name = "Sales"
members = ["ravi"]
[[group]]
name = "Spare"
members = ["ravi"]
[[template]]
name = "hello"
category = "utility"
body = "Hello to all of you."
[[route]]
name = "new"
event = "shop.new"
to = "groups:Sales, Spare"
template = "hello"
[[route]]
name = "named"
event = "shop.named"
to = "contact:mina"
template = "hello"
[[rule]]
name = "failed"
on = "failed"
send = { to = ["user:ravi"], template = "hello" }
"#;

async fn add(app: &TestApp, body: &Value) -> String {
    let (code, added) = app.post("/api/v1/contacts", body).await;
    assert_eq!(code, 201, "{added}");
    format!("/api/v1/contacts/{}", added["id"].as_str().unwrap())
}

async fn hello(app: &TestApp, to: &str) -> String {
    let body = json!({ "to": to, "template": "hello" });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn a_deleted_person_is_gone_and_hears_nothing_more(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let person = json!({"phone": "+12025550111", "name": "Mina", "language": "hi"});
    let path = add(&app, &person).await;
    let before = hello(&app, "+12025550111").await;
    app.send().await;
    let wamid = app.notification(&before).await["attempts"][0]["provider_message_id"].clone();
    let waiting = hello(&app, "+12025550111").await;

    assert_eq!(app.request("DELETE", &path, &Value::Null).await.0, 403);
    let (code, deleted) = app.admin("DELETE", &path, &Value::Null).await;
    assert_eq!(
        (code, &deleted),
        (200, &json!({"cancelled": 1, "refusal_kept": false}))
    );
    let cancelled = app.notification(&waiting).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("cancelled"), &json!("the contact was deleted"))
    );
    assert_eq!(app.send().await, 0);
    assert_eq!(app.get(&path).await.0, 404);
    assert_eq!(
        app.request("PATCH", &path, &json!({"name": "M"})).await.0,
        404
    );
    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 404);
    let wants = json!({"preferences": []});
    let preferences = format!("{path}/preferences");
    assert_eq!(app.request("PUT", &preferences, &wants).await.0, 404);
    let (_, all) = app.get("/api/v1/contacts").await;
    assert_eq!(all["contacts"].as_array().unwrap().len(), 2, "{all}");

    // A status of what was sent before still counts, and does not bring their names back.
    let mut told = status(
        wamid.as_str().unwrap(),
        None,
        "delivered",
        app.now().unix_seconds(),
        None,
    );
    told["recipient_user_id"] = json!("US.7777777");
    app.callback(json!({ "statuses": [told] })).await;
    assert_eq!(app.status_of(&before).await, "delivered");
    let names = "SELECT count(*) FROM contact_alias a JOIN contact c ON c.id = a.contact_id WHERE c.handle IS NULL";
    assert_eq!(app.number(names).await, 0);

    // Whoever has this number from now on is somebody new.
    let again = add(&app, &json!({"phone": "+12025550111"})).await;
    assert_ne!(again, path);
    let (_, found) = app.get(&again).await;
    assert_eq!(
        (&found["name"], &found["language"]),
        (&Value::Null, &Value::Null)
    );
    app.callback(json!({ "statuses": [status(wamid.as_str().unwrap(), None, "read", app.now().unix_seconds(), None)] }))
        .await;
    assert_eq!(app.number("SELECT count(*) FROM contact_conflict").await, 0);
    let (_, audit) = app.admin("GET", "/api/v1/audit", &Value::Null).await;
    let audit = audit.to_string();
    assert!(
        audit.contains("contact.deleted") && !audit.contains("2025550111"),
        "{audit}"
    );
}

async fn all_that_waits_is_cancelled_however_much_it_is(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111"})).await;
    // More than one transaction cancels.
    for _ in 0..130 {
        hello(&app, "+12025550111").await;
    }
    let (_, deleted) = app.admin("DELETE", &path, &Value::Null).await;
    assert_eq!(deleted["cancelled"], 130, "{deleted}");
    assert_eq!(app.send().await, 0);
}

async fn nothing_reaches_a_deleted_person_by_a_rule_a_retry_or_an_answer(database: Database) {
    nothing_reaches(&database, false).await;
    // Nor one who refuses something else, which is kept.
    nothing_reaches(&database, true).await;
}

async fn nothing_reaches(database: &Database, refuses: bool) {
    let app = TestApp::spawn(database).await;
    let catalogue = format!(
        r#"{CATALOGUE}
[[rule]]
name = "unread"
on = "delivered"
after = "24h"
unless = ["read"]
send = {{ to = "same", template = "hello" }}
[[template]]
name = "alarm"
category = "utility"
body = "A message to {{{{ name }}}} ({{{{ related_contact_name }}}}) did not go out."
[[user]]
name = "head"
contact = "mina"
[[rule]]
name = "told"
on = "skipped"
when = "notification.template == 'hello'"
send = {{ to = "user:head", template = "alarm", params = {{ name = "{{{{ contact.name or 'Somebody' }}}}" }} }}
"#
    );
    app.apply_catalogue(&catalogue).await;
    let path = add(&app, &json!({"phone": "+12025550111", "name": "Mina"})).await;
    if refuses {
        let wanted = json!({"preferences": [{"kind": "shop.news", "wanted": false}]});
        let preferences = format!("{path}/preferences");
        assert_eq!(app.request("PUT", &preferences, &wanted).await.0, 200);
    }
    // One was delivered, and they are to be reminded of it; one has failed.
    let delivered = hello(&app, "+12025550111").await;
    app.send().await;
    app.told(&delivered, "delivered", None).await;
    app.meta.will_answer(&[(
        400,
        r#"{"error":{"code":131008,"message":"Required parameter is missing"}}"#,
    )]);
    let failed = hello(&app, "+12025550111").await;
    app.send().await;
    assert_eq!(app.status_of(&failed).await, "failed");
    // A call is on its way while they are deleted: the provider wants it again later.
    let slots = delivery::ProviderCallSlots::each(5);
    let in_flight = hello(&app, "+12025550111").await;
    let claim = delivery::claim(&app.engine, app.sender, slots, app.now())
        .await
        .unwrap();
    let (code, deleted) = app.admin("DELETE", &path, &Value::Null).await;
    assert_eq!(
        (code, &deleted["cancelled"], &deleted["refusal_kept"]),
        (200, &json!(0), &json!(refuses)),
        "{deleted}"
    );
    app.meta
        .will_answer(&[(500, r#"{"error":{"code":131000,"message":"later"}}"#)]);
    app.answer(claim).await;
    assert_eq!(app.status_of(&in_flight).await, "retrying");

    app.pass(3600);
    let retry = format!("/api/v1/notifications/{failed}/retry");
    assert_eq!(app.post(&retry, &json!({})).await.0, 202);
    let calls = app.meta.calls();
    assert_eq!(app.send().await, 0);
    // The one has a try that failed, and that is what became of it.
    for (id, status) in [(&failed, "skipped"), (&in_flight, "failed")] {
        let kept = app.notification(id).await;
        assert_eq!(
            (&kept["status"], &kept["reason"]),
            (&json!(status), &json!("the contact was deleted")),
            "{kept}"
        );
    }
    app.pass(24 * 3600);
    app.follow_up().await;
    let (_, list) = app
        .get("/api/v1/notifications?recipient=%2B12025550111")
        .await;
    let all = list["notifications"].as_array().unwrap();
    let reminder = all
        .iter()
        .find(|it| {
            [&delivered, &failed, &in_flight]
                .iter()
                .all(|id| it["id"] != **id)
        })
        .unwrap();
    assert_eq!(
        (all.len(), &reminder["status"], &reminder["reason"]),
        (4, &json!("skipped"), &json!("the contact was deleted"))
    );
    // The head alone is told of the one that no rule has sent.
    app.follow_up().await;
    app.send().await;
    for call in calls..app.meta.calls() {
        let request = app.meta.request(call);
        assert_eq!(request["to"], "+12025550102", "{request}");
        // Nothing is known of them but the number of that message.
        for text in ["Somebody", "+12025550111"] {
            assert!(request.to_string().contains(text), "{request}");
        }
    }
    assert_eq!(app.meta.calls() - calls, 1);
}

async fn who_has_opted_out_is_still_spared_after_their_deletion(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(&app, &json!({"phone": "+12025550111", "name": "Mina"})).await;
    app.callback(json!({ "messages": [{
        "from": "12025550111", "id": "wamid.STOP", "timestamp": app.now().unix_seconds().to_string(),
        "type": "text", "text": {"body": "STOP"},
    }] }))
    .await;
    let (_, deleted) = app.admin("DELETE", &path, &Value::Null).await;
    assert_eq!(deleted["refusal_kept"], true, "{deleted}");
    let kept =
        |deleted: &Value| format!("/api/v1/contacts/{}", deleted["kept_as"].as_str().unwrap());
    let (code, left) = app.get(&kept(&deleted)).await;
    assert_eq!(
        (code, &left["name"], &left["windows"]),
        (200, &Value::Null, &json!([])),
        "{left}"
    );
    assert_eq!(left["aliases"][0]["value"], "+12025550111", "{left}");
    assert_eq!(app.get(&path).await.0, 404);
    let id = hello(&app, "+12025550111").await;
    assert_eq!(app.status_of(&id).await, "skipped");
    // A kind of message that they turned off counts like a word.
    let other = add(&app, &json!({"phone": "+12025550112"})).await;
    let wanted = json!({"preferences": [{"kind": "shop.news", "wanted": false}, {"kind": "shop.news", "channel": "sms", "wanted": true}]});
    let preferences = format!("{other}/preferences");
    assert_eq!(app.request("PUT", &preferences, &wanted).await.0, 200);
    let (_, deleted) = app.admin("DELETE", &other, &Value::Null).await;
    assert_eq!(deleted["refusal_kept"], true);
    let preferences = format!("{}/preferences", kept(&deleted));
    let (_, kept) = app.get(&preferences).await;
    assert_eq!(kept["preferences"][0]["kind"], "shop.news", "{kept}");
    // What they do want, too: it may be all that reaches them.
    assert_eq!(kept["preferences"][1]["wanted"], true, "{kept}");
    // Nobody needs to be spared who cannot be reached.
    let nameless = add(&app, &json!({"handle": "nobody"})).await;
    let preferences = format!("{nameless}/preferences");
    assert_eq!(app.admin("PUT", &preferences, &wanted).await.0, 200);
    let (_, deleted) = app.admin("DELETE", &nameless, &Value::Null).await;
    assert_eq!(deleted["refusal_kept"], false, "{deleted}");
}

async fn whom_something_is_linked_to_is_not_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let (_, asha) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    let asha = format!("/api/v1/contacts/{}", asha["id"].as_str().unwrap());
    let refused = async |path: &str, rule: &str| {
        let (code, problem) = app.admin("DELETE", path, &Value::Null).await;
        assert_eq!(code, 422, "{problem}");
        let said = problem["errors"][0]["rule"].as_str().unwrap();
        assert!(said.contains(rule), "{said}");
    };
    refused(&asha, "the user grace is this person").await;
    let (_, mina) = app.get("/api/v1/contacts?phone=%2B12025550102").await;
    let mina = format!("/api/v1/contacts/{}", mina["id"].as_str().unwrap());
    refused(&mina, "it is named by the route named: change that first").await;
    refused("/api/v1/users/ravi", "it is named by the rule failed").await;
    refused("/api/v1/groups/Sales", "it is named by the route new").await;
    refused("/api/v1/groups/Spare", "it is named by the route new").await;
    let without: String = CATALOGUE
        .split("[[route]]\nname = \"named\"")
        .next()
        .unwrap()
        .to_owned();
    app.apply_catalogue(&without).await;
    assert_eq!(app.admin("DELETE", &mina, &Value::Null).await.0, 200);
    assert_eq!(
        app.admin("DELETE", "/api/v1/users/ravi", &Value::Null)
            .await
            .0,
        204
    );
    // What a catalogue wants and somebody has deleted is asked about.
    let problems = app.try_catalogue(&without).await.unwrap_err();
    let said = problems.join("\n");
    for row in ["contact mina", "user ravi"] {
        assert!(said.contains(row), "{said}");
    }
}

async fn whoever_a_route_names_by_id_or_is_about_is_not_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut ids = Vec::new();
    for (phone, name) in [("+12025550111", "Mina"), ("+12025550112", "Ravi")] {
        let path = add(&app, &json!({"phone": phone, "name": name})).await;
        ids.push(path.rsplit('/').next().unwrap().to_owned());
    }
    let with = |about: &str| {
        format!(
            r#"{CATALOGUE}
[[route]]
name = "by-id"
event = "shop.by_id"
to = " contact: {}"
about = "{about}"
template = "hello"
[[rule]]
name = "spaced"
on = "expired"
send = {{ to = "group: Night", template = "hello" }}
[[group]]
name = "Night"
"#,
            ids[0].to_uppercase()
        )
    };
    for (about, rule) in [
        ("contact:nobody", "about: there is no contact nobody"),
        ("user: nobody", "about: there is no user nobody"),
        (
            "contact:01900000-0000-7000-8000-000000000000",
            "about: there is no contact 01900000-0000-7000-8000-000000000000",
        ),
    ] {
        let said = app
            .try_catalogue(&with(about))
            .await
            .unwrap_err()
            .join("\n");
        assert!(said.contains(rule), "{said}");
    }
    app.apply_catalogue(&with(&format!("contact:{}", ids[1])))
        .await;
    for (path, rule) in [
        (format!("/api/v1/contacts/{}", ids[0]), "the route by-id"),
        (format!("/api/v1/contacts/{}", ids[1]), "the route by-id"),
        ("/api/v1/groups/Night".to_owned(), "the rule spaced"),
    ] {
        let (code, problem) = app.admin("DELETE", &path, &Value::Null).await;
        assert_eq!(code, 422, "{problem}");
        let said = problem["errors"][0]["rule"].as_str().unwrap();
        assert!(said.contains(rule), "{said}");
    }
    // Who is named by id is reached.
    app.event("e-1", "shop.by_id", json!({})).await;
    let (_, list) = app.get("/api/v1/notifications?type=shop.by_id").await;
    assert_eq!(list["notifications"][0]["status"], "queued", "{list}");
    assert_eq!(app.send().await, 1);
}

async fn who_is_for_an_alert_hears_it_though_it_is_about_somebody_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!(
        r#"{CATALOGUE}
[[template]]
name = "about"
category = "utility"
body = "Something is up with {{{{ related_contact_name | default('somebody') }}}} today."
[[route]]
name = "alert"
event = "shop.alert"
to = "contact:mina"
about = "contact:{{{{ data.contact }}}}"
template = "about"
"#
    ))
    .await;
    let path = add(&app, &json!({"phone": "+12025550111", "name": "Chipo"})).await;
    let about = json!({"contact": path.rsplit('/').next().unwrap()});
    let told = async |id: &str, text: &str| {
        let answer = app.event(id, "shop.alert", about.clone()).await;
        let id = answer["notifications"][0].as_str().unwrap();
        assert_eq!(app.notification(id).await["text"], text);
    };
    told("e-1", "Something is up with Chipo today.").await;
    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 200);
    told("e-2", "Something is up with somebody today.").await;
    assert_eq!(app.send().await, 2);
    let (_, events) = app.get("/api/v1/events?type=shop.alert").await;
    let said = events.to_string();
    assert!(said.contains("its subject: there is no contact"), "{said}");
    // What can never name anybody is refused when it is applied.
    for (about, rule) in [
        ("mina", "must start with +"),
        ("same", "`same` is for rules"),
        ("groups:Sales,Spare", "must start with +"),
        ("{{ data.contact", "cannot read the expression"),
    ] {
        let wrong = format!(
            "name = \"wrong\"\n[[route]]\nname = \"w\"\nevent = \"shop.w\"\nto = \"user:ravi\"\nabout = \"{about}\"\ntemplate = \"hello\"\n"
        );
        let said = app.try_catalogue(&wrong).await.unwrap_err().join("\n");
        assert!(
            said.contains("route w: about: ") && said.contains(rule),
            "{said}"
        );
    }
}

/// As when a group was deleted while its event was worked through.
const ENDED_EARLY: &str =
    r#"UPDATE event SET routes = replace(routes, '"outcome":"fired"', '"outcome":"error"')"#;

async fn an_event_that_runs_again_reaches_no_number_twice(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!(
        r#"{CATALOGUE}
[[route]]
name = "both"
event = "shop.both"
to = ["+12025550111", "{{% if data.night %}}group:Night{{% else %}}group:Sales{{% endif %}}"]
template = "hello"
"#
    ))
    .await;
    assert_eq!(
        app.admin("PUT", "/api/v1/groups/Night", &json!({})).await.0,
        201
    );
    let answer = app.event("e-1", "shop.both", json!({"night": true})).await;
    let event = answer["id"].as_str().unwrap();
    assert_eq!(app.send().await, 1);
    app.sql(ENDED_EARLY).await;
    let path = format!(
        "/api/v1/contacts/{}",
        app.get("/api/v1/contacts?phone=%2B12025550111").await.1["id"]
            .as_str()
            .unwrap()
    );
    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 200);
    // Somebody is in the group now: the event is run again for them.
    let member = "/api/v1/groups/Night/members/grace";
    assert_eq!(app.admin("PUT", member, &Value::Null).await.0, 200);
    let again = format!("/api/v1/events/{event}/replay");
    let (code, answer) = app.post(&again, &json!({})).await;
    assert_eq!(code, 200, "{answer}");
    app.follow_up().await;
    assert_eq!(app.send().await, 1, "grace alone");
    assert_eq!(app.meta.request(1)["to"], "+12025550101");
}

async fn a_number_that_passed_on_is_of_somebody_who_has_not_heard(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!(
        r#"{CATALOGUE}
[[route]]
name = "both"
event = "shop.both"
to = ["+12025550111", "{{{{ data.late }}}}"]
template = "hello"
"#
    ))
    .await;
    let answer = app
        .event("e-1", "shop.both", json!({"late": "group:Sales"}))
        .await;
    let event = answer["id"].as_str().unwrap();
    assert_eq!(app.send().await, 1);
    app.sql(ENDED_EARLY).await;
    let (_, first) = app.get("/api/v1/contacts?phone=%2B12025550111").await;
    let path = format!("/api/v1/contacts/{}", first["id"].as_str().unwrap());
    let other = json!({"phone": "+12025550119"});
    assert_eq!(app.admin("PATCH", &path, &other).await.0, 200);
    add(
        &app,
        &json!({"phone": "+12025550111", "name": "Somebody else"}),
    )
    .await;
    let again = format!("/api/v1/events/{event}/replay");
    assert_eq!(app.post(&again, &json!({})).await.0, 200);
    app.follow_up().await;
    assert_eq!(app.send().await, 1);
}

async fn users_and_groups_are_made_and_deleted(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let user = "/api/v1/users/mina";
    assert_eq!(app.request("PUT", user, &Value::Null).await.0, 403);
    let (code, made) = app.admin("PUT", user, &Value::Null).await;
    assert_eq!((code, &made["contact"]), (201, &Value::Null), "{made}");
    assert_eq!(app.admin("PUT", user, &Value::Null).await.0, 200);
    assert_eq!(
        app.admin("PUT", "/api/v1/users/%20", &Value::Null).await.0,
        422
    );
    let group = "/api/v1/groups/Night";
    assert_eq!(app.admin("PUT", group, &json!({})).await.0, 201);
    let member = "/api/v1/groups/Night/members/mina";
    assert_eq!(app.admin("PUT", member, &Value::Null).await.0, 200);
    assert_eq!(app.get(group).await.1["members"], 1);
    assert_eq!(app.get(user).await.1["groups"], json!(["Night"]));
    // What is for somebody who is linked to nobody is skipped, visibly.
    let id = hello(&app, "user:mina").await;
    assert_eq!(app.status_of(&id).await, "skipped");
    assert_eq!(app.request("DELETE", user, &Value::Null).await.0, 403);
    assert_eq!(app.admin("DELETE", user, &Value::Null).await.0, 204);
    assert_eq!(app.get(user).await.0, 404);
    assert_eq!(app.admin("DELETE", user, &Value::Null).await.0, 404);
    assert_eq!(app.get(group).await.1["members"], 0);
    assert_eq!(app.request("DELETE", group, &Value::Null).await.0, 403);
    assert_eq!(app.admin("DELETE", group, &Value::Null).await.0, 204);
    assert_eq!(app.get(group).await.0, 404);
    assert_eq!(app.admin("DELETE", group, &Value::Null).await.0, 404);
    assert_eq!(app.admin("POST", group, &Value::Null).await.0, 405);
    let body = json!({ "to": "group:Night", "template": "hello" });
    assert_eq!(app.post("/api/v1/notifications", &body).await.0, 422);
}

async fn somebody_is_added_by_what_whatsapp_calls_them(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let path = add(
        &app,
        &json!({"user_id": "US.13491208655302741918", "name": "Mina"}),
    )
    .await;
    // Their number becomes known later: it is the same person.
    let (code, both) = app
        .request("PATCH", &path, &json!({"phone": "+12025550111"}))
        .await;
    assert_eq!(
        (code, both["aliases"].as_array().unwrap().len()),
        (200, 2),
        "{both}"
    );
    let again = json!({"user_id": "US.13491208655302741918", "phone": "+12025550111"});
    assert_eq!(add(&app, &again).await, path);
    let (_, found) = app
        .get("/api/v1/contacts?user_id=US.13491208655302741918")
        .await;
    assert_eq!(found["name"], "Mina");
    let wrong = async |body: Value, pointer: &str, rule: &str| {
        let (code, problem) = app.post("/api/v1/contacts", &body).await;
        assert_eq!(code, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        let said = problem["errors"][0]["rule"].as_str().unwrap();
        assert!(said.contains(rule), "{said}");
    };
    wrong(
        json!({"user_id": "12025550111"}),
        "/user_id",
        "is written US.",
    )
    .await;
    wrong(
        json!({"language": "hi"}),
        "",
        "a phone, a user_id, an email, a name or a handle",
    )
    .await;
    // Two people are not made one by naming both.
    add(&app, &json!({"phone": "+12025550112"})).await;
    let both = json!({"phone": "+12025550112", "user_id": "US.13491208655302741918"});
    wrong(both, "/user_id", "belongs to another contact").await;
    // A catalogue may know them by it, too.
    let catalogue = "name = \"ids\"\n[[contact]]\nname = \"chipo\"\nuser_id = \"US.777\"\n";
    app.apply_catalogue(catalogue).await;
    assert!(app.try_catalogue(catalogue).await.unwrap().steps.is_empty());
    let id = hello(&app, "contact:chipo").await;
    app.send().await;
    assert_eq!(app.status_of(&id).await, "accepted");
    assert_eq!(app.meta.request(0)["recipient"], "US.777");
    for (from, to, rule) in [
        ("US.777", "12025550111", "user_id: a user id is written US."),
        ("chipo", "other", "user_id: belongs to another contact"),
    ] {
        let wrong = catalogue.replace("\"ids\"", "\"more\"").replace(from, to);
        let said = app.try_catalogue(&wrong).await.unwrap_err().join("\n");
        assert!(said.contains(rule), "{said}");
    }
    // A product's key does not lead what is for staff to somebody else.
    let staff = json!({"phone": "+12025550101", "user_id": "US.2222222"});
    assert_eq!(app.post("/api/v1/contacts", &staff).await.0, 403);
    assert_eq!(app.admin("POST", "/api/v1/contacts", &staff).await.0, 201);
}

async fn people_are_deleted_at_the_command_line(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let output = herald(&app.database_url, folder.path(), words);
        format!(
            "$ herald {}\n{}[{}]\n",
            words.join(" "),
            text(&output),
            output.status.code().unwrap()
        )
    };
    hello(&app, "+12025550111").await;
    let mut said = String::new();
    for words in [
        &[
            "contacts",
            "set",
            "US.13491208655302741918",
            "--name",
            "Mina",
        ][..],
        &[
            "contacts",
            "set",
            "+12025550111",
            "--name",
            "Mina",
            "--quiet-hours",
            "21:00-07:00",
            "--language",
            "hi",
        ],
        &["contacts", "show", "+12025550111"],
        &[
            "contacts",
            "prefer",
            "+12025550111",
            "--kind",
            "shop.news",
            "off",
        ],
        &[
            "contacts",
            "prefer",
            "+12025550111",
            "--kind",
            "shop.news",
            "default",
        ],
        &["contacts", "show", "contact:asha", "--show"],
        &["contacts", "show", "+12025550199"],
        &["contacts", "show", "group:Sales"],
        &["contacts", "delete", "contact:asha"],
        &["contacts", "delete", "+12025550111"],
        &["contacts", "delete", "+12025550111"],
        &["users", "ensure", "mina", "ravi"],
        &["users", "delete", "mina", "ravi"],
        &["users", "delete", "nobody"],
        &["groups", "delete", "Sales"],
        &["groups", "ensure", "Night"],
        &["groups", "delete", "Night"],
    ] {
        said.push_str(&run(words));
    }
    let said: Vec<String> = said
        .split(' ')
        .map(|word| {
            let lines = word
                .split('\n')
                .map(|line| match uuid::Uuid::parse_str(line) {
                    Ok(_) => "ID",
                    Err(_) => line,
                });
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    let said = said.join(" ");
    insta::assert_snapshot!("people_deleted_at_the_command_line", said);
}
