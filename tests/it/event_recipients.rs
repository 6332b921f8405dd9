//! Whom an event reaches, at once and in chunks, whom it does not, and why.

use herald::engine::intake::targets::recipients_at_once;
use serde_json::json;

use crate::harness::{DEMO, Database, TestApp, crowd, group, test_result};

crate::tests![
    a_class_and_test_notify_once_and_a_failed_one_says_retry_it,
    an_event_that_notifies_nobody_says_why,
    one_person_in_two_groups_gets_one_message_and_large_groups_are_expanded_in_chunks,
    an_event_the_database_refuses_stops_no_other,
];

async fn ready(database: &Database) -> TestApp {
    let app = TestApp::spawn(database).await;
    app.apply_catalogue(DEMO).await;
    app
}

async fn a_class_and_test_notify_once_and_a_failed_one_says_retry_it(database: Database) {
    let app = ready(&database).await;
    let all = futures_util::future::join_all((0..12).map(|number| {
        let id = format!("event-{number}");
        let app = &app;
        async move {
            app.event(&id, "demo.test.processed", test_result("Successful"))
                .await
        }
    }))
    .await;
    assert_eq!(
        all.iter()
            .filter(|answer| answer["routes"][0]["notifications"] == 1)
            .count(),
        1
    );
    let id = app.get("/api/v1/notifications?label=class_id=10C").await.1["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    app.send().await;
    app.told(&id, "failed", Some(131_026)).await;
    let late = app
        .event("late", "demo.test.processed", test_result("Successful"))
        .await;
    assert_eq!(
        late["routes"][0]["duplicates"],
        json!([{ "of": id, "status": "failed", "hint": format!("duplicate of {id}, failed: retry it") }])
    );
}

async fn an_event_that_notifies_nobody_says_why(database: Database) {
    let app = ready(&database).await;
    let pending = app
        .event("1", "demo.test.processed", test_result("Processing"))
        .await;
    assert_eq!(pending["routes"][0]["outcome"], "did_not_fire");
    let unknown = app.event("2", "nobody.listens", json!({})).await;
    assert_eq!(unknown["routes"], json!([]));
    let mut nameless = test_result("Successful");
    nameless.as_object_mut().unwrap().remove("educator");
    let broken = app.event("3", "demo.test.processed", nameless).await;
    assert_eq!(broken["routes"][0]["outcome"], "error");
    assert!(
        broken["routes"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("educator")
    );
    let mut phoneless = test_result("Successful");
    phoneless.as_object_mut().unwrap().remove("phone");
    let skipped = app.event("4", "demo.test.processed", phoneless).await;
    let row = app
        .notification(skipped["notifications"][0].as_str().unwrap())
        .await;
    assert_eq!(
        (&row["status"], &row["reason"]),
        (
            &json!("skipped"),
            &json!("the recipient has no phone number")
        )
    );
    let (code, stored) = app
        .get(&format!(
            "/api/v1/events/{}",
            broken["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!((code, &stored["routes"]), (200, &broken["routes"]));
}

async fn one_person_in_two_groups_gets_one_message_and_large_groups_are_expanded_in_chunks(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    let mut catalogue = String::from(
        "name = \"crowd\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello {{ contact.name }}.\"\n\
         [[route]]\nname = \"crowd\"\nevent = \"crowd.called\"\nto = [\"group:One\", \"group:Two\"]\ntemplate = \"hello\"\n",
    );
    let names: Vec<String> = (0..450).map(|number| format!("person-{number}")).collect();
    catalogue += &crowd(&names);
    catalogue += &group("One", &names);
    catalogue += &group("Two", &names[400..]);
    app.apply_catalogue(&catalogue).await;
    let answer = app.event("1", "crowd.called", json!({})).await;
    assert_eq!(answer["expanding"], true, "{}", answer["routes"]);
    // The catalogue changes meanwhile: a route that sorts before disturbs nobody.
    let more = "name = \"more\"\n[[route]]\nname = \"a-new-one\"\nevent = \"crowd.called\"\nto = \"user:person-1\"\ntemplate = \"hello\"\n";
    app.apply_catalogue(more).await;
    let made = app.number("SELECT count(*) FROM notification").await;
    assert_eq!(
        usize::try_from(made).unwrap(),
        recipients_at_once(app.store.reader())
    );
    app.follow_up().await;
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 450);
    assert_eq!(
        app.number("SELECT count(DISTINCT contact_id) FROM notification")
            .await,
        450
    );
    let (_, event) = app
        .get(&format!(
            "/api/v1/events/{}",
            answer["id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (&event["expanding"], &event["routes"][0]["notifications"]),
        (&json!(false), &json!(450))
    );
    assert_eq!(app.send().await, 450);
}

async fn an_event_the_database_refuses_stops_no_other(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut catalogue = String::from(
        "name = \"crowd\"\n[[template]]\nname = \"hello\"\ncategory = \"utility\"\nbody = \"Hello {{ contact.name }}.\"\n\
         [[route]]\nname = \"crowd\"\nevent = \"crowd.called\"\nto = \"group:One\"\ntemplate = \"hello\"\nreference = \"{{ event.id }}\"\n",
    );
    let names: Vec<String> = (0..250)
        .map(|number| format!("person-{number:03}"))
        .collect();
    catalogue += &crowd(&names);
    catalogue += &group("One", &names);
    app.apply_catalogue(&catalogue).await;
    // Both have their first chunk; the second of one of them will be refused.
    let bad = app.event("bad", "crowd.called", json!({})).await;
    let good = app.event("good", "crowd.called", json!({})).await;
    let bad = bad["id"].as_str().unwrap();
    let reject = match database {
        Database::Sqlite => format!(
            "CREATE TRIGGER broken BEFORE INSERT ON notification WHEN NEW.event_id = unhex('{}') \
             BEGIN SELECT RAISE(ABORT, 'played by a test'); END",
            bad.replace('-', "")
        ),
        Database::Postgres => format!(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.event_id = '{bad}' THEN RAISE EXCEPTION 'played by a test' USING ERRCODE = '22000'; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER broken BEFORE INSERT ON notification FOR EACH ROW EXECUTE FUNCTION broken()"
        ),
    };
    app.sql(&reject).await;
    app.follow_up().await;
    let of = |id: &str| format!("/api/v1/events/{id}");
    let (_, refused) = app.get(&of(bad)).await;
    assert_eq!(refused["expanding"], false);
    let route = &refused["routes"][0];
    assert_eq!(route["outcome"], "error", "{route}");
    assert_eq!(
        route["reason"],
        "not every recipient was reached: the database refuses it"
    );
    assert_eq!(
        route["notifications"],
        recipients_at_once(app.store.reader()),
        "{route}"
    );
    let (_, whole) = app.get(&of(good["id"].as_str().unwrap())).await;
    assert_eq!(whole["routes"][0]["notifications"], 250);
}
