//! Events looked at and run again: from the command line and over the API.

use herald::engine::insight::{alarms, attention};
use serde_json::json;

use crate::{
    cli::{herald, text},
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    what_was_posted_is_shown_and_a_type_without_a_route_is_flagged,
    an_event_that_names_an_unknown_group_makes_nothing,
    an_event_is_run_again_after_its_route_was_mended,
    what_cannot_be_run_again_says_why,
    a_route_with_another_name_tells_nobody_again,
    a_template_that_was_removed_is_an_error_of_the_route_and_leaves_nobody_out_silently,
];

const CATALOGUE: &str = r#"
name = "shop"

[[template]]
name = "news"
category = "utility"
body = "Something is new in the shop."

[[route]]
name = "a-customer"
event = "shop.news"
to = "{{ data.phone }}"
template = "news"

[[route]]
name = "b-staff"
event = "shop.news"
to = ["+12025550105", "{{ 'group:Staff' }}"]
template = "news"

[[route]]
name = "c-never"
event = "shop.news"
when = "data.loud"
to = "+12025550106"
template = "news"
"#;

/// A command's answer, ids and times left out.
fn said(output: &std::process::Output) -> String {
    let lines = text(output);
    let words = lines.lines().map(|line| {
        let kept = line.split(' ').map(|word| {
            if word.len() == 36 && word.matches('-').count() == 4 {
                "ID"
            } else if word.ends_with('Z') && word.contains('T') {
                "TIME"
            } else {
                word
            }
        });
        kept.collect::<Vec<_>>().join(" ")
    });
    words.collect::<Vec<_>>().join("\n")
}

async fn an_event_is_run_again_after_its_route_was_mended(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let data = json!({ "phone": "+12025550101", "loud": false });
    let answer = app.event("n-1", "shop.news", data).await;
    let id = answer["id"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let (_, listed) = app.get("/api/v1/events?errors=true").await;
    assert_eq!(listed["events"][0]["id"], id.as_str(), "{listed}");
    let before = [
        said(&run(&["events", "list", "--errors"])),
        said(&run(&["events", "show", &id, "--show"])),
    ];
    // All or nothing: one of its routes names a group that is not there.
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
    // The group that was missing, and somebody in it.
    app.admin("PUT", "/api/v1/groups/Staff", &json!({})).await;
    let linked = json!({ "contact": "+12025550107" });
    app.admin("PUT", "/api/v1/users/tariro/contact", &linked)
        .await;
    app.admin("PUT", "/api/v1/groups/Staff/members/tariro", &json!({}))
        .await;
    let replayed = run(&["events", "replay", &id]);
    assert!(replayed.status.success(), "{}", text(&replayed));
    let after = said(&run(&["events", "list"]));
    assert_eq!(
        app.number("SELECT count(*) FROM notification").await,
        3,
        "nobody hears twice"
    );
    insta::assert_snapshot!(
        "events_run_again",
        [before.join("\n"), said(&replayed), after].join("\n----\n")
    );
    // Once more changes nothing, over the API.
    let (code, again) = app
        .post(&format!("/api/v1/events/{id}/replay"), &json!({}))
        .await;
    assert_eq!(code, 200, "{again}");
    assert_eq!(again["routes"].as_array().unwrap().len(), 3);
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 3);
    let (_, none) = app.get("/api/v1/events?errors=true").await;
    assert_eq!(none["events"], json!([]));
    let (_, audit) = app.admin("GET", "/api/v1/audit", &json!(null)).await;
    assert!(audit.to_string().contains("event.replayed"), "{audit}");
}

async fn what_cannot_be_run_again_says_why(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let data = json!({ "phone": "+12025550101", "loud": false });
    let answer = app.event("n-1", "shop.news", data).await;
    let path = format!("/api/v1/events/{}/replay", answer["id"].as_str().unwrap());
    app.sql("UPDATE event SET data = ''").await;
    let (code, problem) = app.post(&path, &json!({})).await;
    assert_eq!(
        (code, &problem["detail"]),
        (
            409,
            &json!(
                "the data of this event were sensitive and have been wiped: post it again under a new id"
            )
        )
    );
    app.sql("UPDATE event SET data = '{}', state = 'expanding'")
        .await;
    let (code, _) = app.post(&path, &json!({})).await;
    assert_eq!(code, 409);
    let nobody = "/api/v1/events/00000000-0000-7000-8000-000000000000/replay";
    assert_eq!(app.post(nobody, &json!({})).await.0, 404);
}

async fn a_template_that_was_removed_is_an_error_of_the_route_and_leaves_nobody_out_silently(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    let words =
        "[[template]]\nname = \"news\"\ncategory = \"utility\"\nbody = \"Something is new.\"\n";
    app.apply_catalogue(&format!("name = \"words\"\n{words}"))
        .await;
    app.apply_catalogue("name = \"ways\"\n[[route]]\nname = \"news\"\nevent = \"news\"\nto = \"+12025550101\"\ntemplate = \"news\"\n")
        .await;
    assert_eq!(
        app.try_catalogue("name = \"words\"\n").await.unwrap_err(),
        ["template news en_US: cannot be removed: the route news of the catalogue ways needs it"]
    );
    // By hand it can.
    app.sql("DELETE FROM template").await;
    app.sql("DELETE FROM catalogue_row WHERE kind = 'template'")
        .await;
    let answer = app.event("n-1", "news", json!({})).await;
    assert_eq!(answer["routes"][0]["outcome"], "error", "{answer}");
    assert_eq!(answer["routes"][0]["reason"], "there is no template news");
    app.apply_catalogue(&format!("name = \"words\"\n{words}"))
        .await;
    let path = format!("/api/v1/events/{}/replay", answer["id"].as_str().unwrap());
    let (_, again) = app.post(&path, &json!({})).await;
    assert_eq!(again["routes"][0]["outcome"], "fired", "{again}");
}

async fn a_route_with_another_name_tells_nobody_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(CATALOGUE).await;
    let data = json!({ "phone": "+12025550101", "loud": false });
    let answer = app.event("n-1", "shop.news", data).await;
    let renamed = CATALOGUE
        .replace("\"a-customer\"", "\"a-client\"")
        .replace(", \"{{ 'group:Staff' }}\"", "");
    app.apply_catalogue(&renamed).await;
    let path = format!("/api/v1/events/{}/replay", answer["id"].as_str().unwrap());
    let (code, again) = app.post(&path, &json!({})).await;
    assert_eq!(code, 200, "{again}");
    assert_eq!(
        app.number("SELECT count(*) FROM notification").await,
        2,
        "{again}"
    );
}

const GROUPS: &str = r#"
[[route]]
name = "a-to-chosen-groups"
event = "shop.closed"
to = "{{ data.groups }}"
template = "jaspers_market_plain_text_v1"

[[route]]
name = "b-to-the-customer"
event = "shop.closed"
to = "{{ data.phone }}"
template = "jaspers_market_plain_text_v1"
"#;

async fn what_was_posted_is_shown_and_a_type_without_a_route_is_flagged(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let data = json!({ "phone": "+12025550101", "amount": 3 });
    let body = json!({ "id": "1", "source": "shop", "type": "shop.closde", "subject": "s", "time": "2026-01-01T00:00:00Z", "data": data });
    let (code, made) = app.post("/api/v1/events", &body).await;
    assert_eq!(code, 202);
    app.order("A-1", "+12025550101").await;
    let (_, shown) = app
        .get(&format!("/api/v1/events/{}", made["id"].as_str().unwrap()))
        .await;
    assert_eq!(shown["data"], data);
    assert_eq!(
        (
            &shown["source"],
            &shown["external_id"],
            &shown["type"],
            &shown["subject"]
        ),
        (
            &json!("shop"),
            &json!("1"),
            &json!("shop.closde"),
            &json!("s")
        )
    );
    assert_eq!(
        (&shown["unrouted"], &shown["sensitive"]),
        (&json!(true), &json!(false))
    );
    let (_, listed) = app.get("/api/v1/events?unrouted=true").await;
    let listed = listed["events"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["type"], "shop.closde");
    let flagged = async || -> Vec<String> {
        let found = attention::findings(&app.engine, app.now()).await.unwrap();
        let found = found
            .into_iter()
            .filter(|it| it.kind.name() == "event_unrouted");
        found.map(|it| it.subject).collect()
    };
    let raised = "SELECT count(*) FROM alarm WHERE kind = 'event_unrouted' AND cleared_at IS NULL";
    assert_eq!(flagged().await, ["shop.closde"]);
    alarms::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.number(raised).await, 1);
    app.pass(25 * 3600);
    assert!(flagged().await.is_empty(), "nobody posts it any more");
    alarms::turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(app.number(raised).await, 0);
}

async fn an_event_that_names_an_unknown_group_makes_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&format!("{DEMO}\n{GROUPS}")).await;
    for unknown in ["group:Nobody Knows", "user:nobody.knows"] {
        let groups = format!("group:Technical Admin, {unknown}");
        let data = json!({ "phone": "+12025550101", "groups": groups });
        let made = app.event(unknown, "shop.closed", data).await;
        assert_eq!(made["notifications"], json!([]), "{made}");
        for (route, said) in [
            (0, "nothing of it was sent"),
            (1, "no message of the event was sent"),
        ] {
            let result = &made["routes"][route];
            assert_eq!(result["outcome"], "error", "{made}");
            assert!(result["reason"].as_str().unwrap().contains(said), "{made}");
        }
        app.follow_up().await;
        assert_eq!(app.number("SELECT count(*) FROM notification").await, 0);
    }
    // All known: all of it.
    let data = json!({ "phone": "+12025550101", "groups": "group:Technical Admin" });
    let made = app.event("3", "shop.closed", data).await;
    assert!(
        made["notifications"].as_array().unwrap().len() >= 2,
        "{made}"
    );
}
