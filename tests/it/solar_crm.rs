//! The catalogue of the solar installer's CRM: who hears of what, in which words, and what
//! follows when it does not arrive.

use herald::engine::delivery::service_window;
use serde_json::{Value, json};

use crate::harness::{Database, TestApp, without_ids};

crate::tests![
    every_event_reaches_its_groups_in_words_that_can_be_read,
    staff_gets_text_in_the_window_and_the_alert_outside_it,
    what_leaves_outside_the_window_is_the_alert,
    a_failed_message_alerts_the_technical_admins_without_a_loop,
    an_alert_names_whom_it_did_not_reach,
    a_request_tells_groups_of_somebody_else,
    what_waited_too_long_or_has_no_number_is_said,
    windows_that_close_remind_their_owner_or_the_pastoral_team,
    customers_of_another_sender_are_not_the_crm_s,
    a_flow_names_its_groups_and_an_unknown_one_is_said,
];

const CATALOGUE: &str = include_str!("../../deploy/catalogues/solar-crm.toml");

/// Staff by name, with the end of the number and the groups.
const STAFF: [(&str, &str, &[&str]); 5] = [
    ("tariro", "51", &["Technical Admin", "System Admins"]),
    ("rudo", "52", &["Sales Team", "System Admins"]),
    ("farai", "53", &["Pfungwa Staff"]),
    ("chipo", "54", &["Finance Team"]),
    ("nyasha", "55", &["Pastoral Team"]),
];

async fn app(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(CATALOGUE).await;
    for (name, number, groups) in STAFF {
        let body = json!({ "contact": format!("+120255501{number}") });
        let (code, answer) = app
            .admin("PUT", &format!("/api/v1/users/{name}/contact"), &body)
            .await;
        assert_eq!(code, 200, "{answer}");
        for group in groups {
            join(&app, group, name).await;
        }
    }
    // Somebody in the sales team whom nobody has linked.
    app.apply_catalogue("name = \"staff\"\n[[user]]\nname = \"new-colleague\"\n")
        .await;
    join(&app, "Sales Team", "new-colleague").await;
    app
}

async fn join(app: &TestApp, group: &str, user: &str) {
    let path = format!(
        "/api/v1/groups/{}/members/{user}",
        group.replace(' ', "%20")
    );
    let (code, answer) = app.admin("PUT", &path, &Value::Null).await;
    assert_eq!(code, 200, "{answer}");
}

/// Who was told what of an event, or why not; by name.
async fn told(app: &TestApp, event: &str) -> Vec<Value> {
    let (_, answer) = app.get(&format!("/api/v1/events/{event}")).await;
    let mut all = Vec::new();
    for id in answer["notifications"].as_array().unwrap() {
        let shown = app.notification(id.as_str().unwrap()).await;
        all.push(json!({
            "to": shown["recipient"], "template": shown["template"], "kind": shown["kind"],
            "text": shown["text"], "reason": shown["reason"],
        }));
    }
    all.sort_by_key(|it| it["to"].as_str().unwrap().to_owned());
    all
}

/// A message from somebody opens their window.
async fn writes(app: &TestApp, number: &str) {
    app.callback(json!({ "messages": [{
        "from": format!("120255501{number}"), "id": format!("wamid.IN{number}{}", app.now().micros()),
        "timestamp": app.now().unix_seconds().to_string(), "type": "text", "text": { "body": "Hello" }
    }] }))
    .await;
}

async fn every_event_reaches_its_groups_in_words_that_can_be_read(database: Database) {
    let app = app(&database).await;
    for (_, number, _) in STAFF {
        writes(&app, number).await;
    }
    let (_, known) = app.get("/api/v1/event-types").await;
    let mut all = Vec::new();
    for kind in known["event_types"].as_array().unwrap() {
        let name = kind["type"].as_str().unwrap();
        let answer = app.event(name, name, kind["example"].clone()).await;
        assert_eq!(answer["routes"].as_array().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["routes"][0]["outcome"], "fired", "{answer}");
        let told = told(&app, answer["id"].as_str().unwrap()).await;
        let people: Vec<&Value> = told.iter().map(|it| &it["to"]).collect();
        let mut once = people.clone();
        once.dedup();
        assert_eq!(people, once, "nobody is told twice of {name}");
        all.push(json!({ "event": name, "told": told }));
    }
    assert_eq!(all.len(), 13);
    insta::assert_json_snapshot!("solar_crm_who_hears_what", all);
    // The same order again, by another event, tells nobody.
    let order = &known["event_types"]
        .as_array()
        .unwrap()
        .iter()
        .find(|kind| kind["type"] == "solar-crm.order.created")
        .unwrap()["example"];
    let again = app
        .event("again", "solar-crm.order.created", order.clone())
        .await;
    assert_eq!(
        again["routes"][0]["notifications"], 1,
        "who was skipped is not in the ledger: {again}"
    );
    assert_eq!(
        again["routes"][0]["duplicates"].as_array().unwrap().len(),
        2
    );
    app.send().await;
    // Every event again is the first answer: nothing more leaves.
    let calls = app.meta.calls();
    for kind in known["event_types"].as_array().unwrap() {
        let name = kind["type"].as_str().unwrap();
        let again = app.event(name, name, kind["example"].clone()).await;
        assert_eq!(again["duplicate"], true, "{again}");
    }
    app.send().await;
    assert_eq!(app.meta.calls(), calls);
    insta::assert_json_snapshot!("solar_crm_requests", requests(&app));
}

/// Everything that left, in an order of its own.
fn requests(app: &TestApp) -> Vec<Value> {
    let mut all: Vec<Value> = (0..app.meta.calls())
        .map(|index| without_ids(app.meta.request(index)))
        .collect();
    all.sort_by_key(ToString::to_string);
    all
}

/// Outside their windows staff get the alert's template, with the whole text in it.
async fn what_leaves_outside_the_window_is_the_alert(database: Database) {
    let app = app(&database).await;
    let loan = json!({ "amount": 2400, "customer": { "phone": "+12025550142" } });
    app.event("l-1", "solar-crm.loan.applied", loan).await;
    // Of whom neither a name nor a number is known, staff hear all the same.
    let nameless = json!({ "amount": 2400, "customer": {} });
    let answer = app.event("l-2", "solar-crm.loan.applied", nameless).await;
    assert_eq!(answer["routes"][0]["outcome"], "fired", "{answer}");
    app.pass(60);
    app.send().await;
    insta::assert_json_snapshot!("solar_crm_requests_outside_the_window", requests(&app));
}

async fn staff_gets_text_in_the_window_and_the_alert_outside_it(database: Database) {
    let app = app(&database).await;
    let loan = json!({ "amount": 2400, "customer": { "phone": "+12025550142" } });
    let answer = app
        .event("l-1", "solar-crm.loan.applied", loan.clone())
        .await;
    let outside = &told(&app, answer["id"].as_str().unwrap()).await[0];
    assert_eq!(outside["template"], "hanna_loan_application_received");
    assert_eq!(
        outside["text"],
        "A notification for staff: *New loan application* Customer: +12025550142 Over: $2,400 Employer: not given \
         Please look at it in the CRM. Answer this message to get the next ones in full."
    );
    writes(&app, "54").await;
    let answer = app.event("l-2", "solar-crm.loan.applied", loan).await;
    let inside = &told(&app, answer["id"].as_str().unwrap()).await[0];
    assert_eq!(
        (&inside["kind"], &inside["template"]),
        (&json!("text"), &json!("hanna_loan_application_received"))
    );
    app.send().await;
    assert_eq!(
        app.meta.request(0)["template"]["name"],
        "admin_notification_alert"
    );
    assert_eq!(app.meta.request(1)["type"], "text");
}

async fn a_failed_message_alerts_the_technical_admins_without_a_loop(database: Database) {
    let app = app(&database).await;
    let invoice = json!({
        "invoice_number": "INV-1", "amount": 100, "due_date": "2026-02-15",
        "customer": { "name": "Tendai Moyo", "phone": "+12025550142" },
    });
    let answer = app
        .event("i-1", "solar-crm.invoice.confirmed", invoice)
        .await;
    let id = answer["notifications"][0].as_str().unwrap().to_owned();
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    app.pass(120);
    app.settle().await;
    app.follow_up().await;
    let (_, list) = app.get("/api/v1/notifications?recipient=user:tariro").await;
    let alert = &list["notifications"][0];
    let shown = app.notification(alert["id"].as_str().unwrap()).await;
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.contains("*A message to Tendai Moyo was not delivered*")
            && text.contains("Code: 131026"),
        "{text}"
    );
    assert_eq!(shown["message_kind"], "solar-crm.alerts");
    // The alert itself fails, for good: nothing more comes of it.
    app.send().await;
    app.told(alert["id"].as_str().unwrap(), "failed", Some(131_026))
        .await;
    app.pass(120);
    app.settle().await;
    app.follow_up().await;
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 2);
}

async fn an_alert_names_whom_it_did_not_reach(database: Database) {
    let app = app(&database).await;
    let alerts = async || {
        app.pass(120);
        app.settle().await;
        app.follow_up().await;
        let (_, list) = app.get("/api/v1/notifications?recipient=user:tariro").await;
        let mut said = Vec::new();
        for it in list["notifications"].as_array().unwrap() {
            let shown = app.notification(it["id"].as_str().unwrap()).await;
            if shown["message_kind"] == "solar-crm.alerts" {
                let text = shown["text"].as_str().unwrap();
                said.push(text.split('*').nth(1).unwrap().to_owned());
            }
        }
        said
    };
    // A customer without a name, by their number.
    let invoice = json!({
        "invoice_number": "INV-1", "amount": 100, "due_date": "2026-02-15",
        "customer": { "phone": "+12025550142" },
    });
    let answer = app
        .event("i-1", "solar-crm.invoice.confirmed", invoice)
        .await;
    let id = answer["notifications"][0].as_str().unwrap().to_owned();
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    assert_eq!(
        alerts().await,
        ["A message to +12025550142 was not delivered"]
    );
    // Free text that somebody wrote, and that nobody can get any more.
    let body = json!({ "to": "+12025550143", "text": "We are on our way." });
    let (code, text) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{text}");
    app.send().await;
    let mut said = alerts().await;
    said.retain(|text| !text.contains("+12025550142"));
    assert_eq!(said, ["A message to +12025550143 was not delivered"]);
    // Somebody of the staff, not the customer whom it is about.
    let loan = json!({
        "amount": 100, "employer": "A bank",
        "customer": { "name": "Tendai Moyo", "phone": "+12025550142" },
    });
    let answer = app.event("l-1", "solar-crm.loan.applied", loan).await;
    let staff = app
        .notification(answer["notifications"][0].as_str().unwrap())
        .await;
    app.send().await;
    app.told(staff["id"].as_str().unwrap(), "failed", Some(131_026))
        .await;
    let mut said = alerts().await;
    said.retain(|text| !text.contains("+1202555"));
    assert_eq!(said.len(), 1, "{said:?}");
    let name = staff["recipient"].as_str().unwrap().replace("user:", "");
    assert_eq!(said[0], format!("A message to {name} was not delivered"));
    // As it goes out, while the admin's window is closed.
    app.send().await;
    let request = without_ids(app.meta.request(app.meta.calls() - 1));
    insta::assert_json_snapshot!("solar_crm_an_alert", request);
}

async fn a_request_tells_groups_of_somebody_else(database: Database) {
    let app = app(&database).await;
    let ask = |about: &str| {
        json!({
            "to": ["group:Technical Admin", "user:tariro", "group:Sales Team"], "about": about,
            "template": "hanna_human_handover_flow", "params": { "last_bot_message": "One moment." },
        })
    };
    let body = json!({ "phone": "+12025550142", "name": "Tendai Moyo" });
    app.post("/api/v1/contacts", &body).await;
    for (about, name) in [
        ("+12025550142", "Tendai Moyo"),
        ("+12025550143", "+12025550143"),
    ] {
        let (code, answer) = app.post("/api/v1/notifications", &ask(about)).await;
        assert_eq!(code, 202, "{answer}");
        let mut told = Vec::new();
        for it in answer["notifications"].as_array().unwrap() {
            let shown = app.notification(it["id"].as_str().unwrap()).await;
            if shown["status"] == "queued" {
                let text = shown["text"].as_str().unwrap();
                assert!(text.contains(&format!("needed* by {name}")), "{text}");
            }
            told.push((shown["recipient"].clone(), shown["status"].clone()));
        }
        told.sort_by_key(|it| it.0.to_string());
        let expected = [
            ("user:new-colleague", "skipped"),
            ("user:rudo", "queued"),
            ("user:tariro", "queued"),
        ];
        assert_eq!(
            told,
            expected.map(|(who, status)| (json!(who), json!(status)))
        );
    }
    for (about, rule) in [
        ("contact:nobody", "there is no contact nobody"),
        ("Tendai", "must start with +"),
    ] {
        let (code, problem) = app.post("/api/v1/notifications", &ask(about)).await;
        let error = &problem["errors"][0];
        assert_eq!(
            (code, &error["pointer"]),
            (422, &json!("/about")),
            "{problem}"
        );
        assert!(error["rule"].as_str().unwrap().contains(rule), "{problem}");
    }
}

async fn what_waited_too_long_or_has_no_number_is_said(database: Database) {
    let app = app(&database).await;
    let invoice = |number: &str, customer: Value| json!({ "invoice_number": number, "amount": 100, "due_date": "2026-02-15", "customer": customer });
    let nobody = invoice("INV-1", json!({ "name": "Tendai Moyo" }));
    let answer = app
        .event("i-1", "solar-crm.invoice.confirmed", nobody)
        .await;
    let route = &answer["routes"][0];
    assert_eq!(
        (&route["notifications"], &route["skipped"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    let skipped = told(&app, answer["id"].as_str().unwrap()).await;
    assert_eq!(skipped[0]["reason"], "the recipient has no phone number");

    let somebody = json!({ "name": "Tendai Moyo", "phone": "+12025550142" });
    let late = invoice("INV-2", somebody);
    let answer = app.event("i-2", "solar-crm.invoice.confirmed", late).await;
    let id = answer["notifications"][0].as_str().unwrap().to_owned();
    app.pass(30 * 24 * 3600);
    app.send().await;
    app.settle().await;
    app.follow_up().await;
    assert_eq!(app.status_of(&id).await, "expired");
    let (_, list) = app.get("/api/v1/notifications?recipient=user:tariro").await;
    let alert = list["notifications"][0]["id"].as_str().unwrap();
    let shown = app.notification(alert).await;
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.contains("*A message to Tendai Moyo was not delivered*")
            && text.contains("It waited until it was of no use any more."),
        "{text}"
    );
}

async fn windows_that_close_remind_their_owner_or_the_pastoral_team(database: Database) {
    let app = app(&database).await;
    writes(&app, "54").await;
    writes(&app, "42").await;
    app.pass(23 * 3600 + 60);
    while service_window::turn(&app.engine, app.now()).await.unwrap() > 0 {}
    let (_, list) = app.get("/api/v1/notifications").await;
    let mut all = Vec::new();
    for it in list["notifications"].as_array().unwrap() {
        let shown = app.notification(it["id"].as_str().unwrap()).await;
        all.push(format!(
            "{} {} {}: {}",
            shown["recipient"].as_str().unwrap(),
            shown["kind"].as_str().unwrap(),
            shown["template"].as_str().unwrap(),
            shown["text"].as_str().unwrap()
        ));
    }
    all.sort();
    // Once a window: to its owner as text, and of a customer's to the group.
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.iter().any(|it| it.contains(
            "text hanna_admin_24h_window_reminder: Your 24-hour window closes at 00:00 UTC."
        )),
        "{all:?}"
    );
    assert!(
        all.iter().any(|it| it
            .starts_with("user:nyasha template hanna_customer_24h_window_closing: ")
            && it.contains("*A window closes*: +12025550142 has not written")),
        "{all:?}"
    );
}

async fn customers_of_another_sender_are_not_the_crm_s(database: Database) {
    let app = app(&database).await;
    let ours = app.texts("SELECT name FROM sender").await.remove(0);
    for (sender, made) in [("Another number", 0), (ours.as_str(), 2)] {
        app.apply_catalogue(&CATALOGUE.replace("${SOLAR_CRM_SENDER:-}", sender))
            .await;
        writes(&app, "54").await;
        writes(&app, "42").await;
        app.pass(23 * 3600 + 60);
        while service_window::turn(&app.engine, app.now()).await.unwrap() > 0 {}
        let count = "SELECT count(*) FROM notification";
        assert_eq!(app.number(count).await, made, "{sender}");
    }
}

async fn a_flow_names_its_groups_and_an_unknown_one_is_said(database: Database) {
    let app = app(&database).await;
    let data = json!({ "flow": "Products", "text": "A price list.", "groups": ["Sales Team", "System Admins", "Nobody"], "customer": { "name": "Tendai Moyo" } });
    let answer = app.event("f-1", "solar-crm.flow.notified", data).await;
    let route = &answer["routes"][0];
    assert_eq!(route["outcome"], "error", "{answer}");
    assert_eq!(
        route["reason"],
        "there is no group Nobody: nothing of it was sent"
    );
    assert_eq!(answer["notifications"], json!([]), "all or nothing");
    let data = json!({ "flow": "Products", "text": "A price list.", "groups": ["Sales Team", "System Admins"], "customer": { "name": "Tendai Moyo" } });
    let answer = app.event("f-2", "solar-crm.flow.notified", data).await;
    let route = &answer["routes"][0];
    // Rudo is in both groups; the unlinked colleague is skipped, visibly.
    assert_eq!(
        (&route["notifications"], &route["skipped"]),
        (&json!(3), &json!(1)),
        "{answer}"
    );
    let told = told(&app, answer["id"].as_str().unwrap()).await;
    assert_eq!(told[0]["to"], "user:new-colleague");
    assert_eq!(told[0]["reason"], "the user is not linked to a contact");
}
