//! What senders send with: written, never read, used by the next call.

use herald::{
    domain::own_event::HeraldEventType,
    engine::{
        admin::senders::{ageing_turn, throughput_turn},
        delivery::{self, ProviderCallSlots},
    },
    workers::senders::hold_turn,
};
use serde_json::{Value, json};

use super::{SECOND, add, ask, with_graph};
use crate::{
    harness::{Database, PHONE_NUMBER_ID, TestApp},
    own_events::are_like_their_examples,
};

crate::tests![
    what_is_given_is_never_shown_again,
    wrong_senders_and_credentials_are_refused_field_by_field,
    a_key_makes_a_sender_or_a_credential_once,
    the_database_goes_first_and_the_environment_steps_in,
    a_new_token_is_used_by_the_next_call_in_every_process,
    a_token_that_expires_with_a_full_queue_loses_nothing,
    calls_with_the_old_token_do_not_hold_the_new_one,
    a_sender_without_a_token_holds_its_queue,
    credentials_that_age_or_expire_are_told_once,
    a_number_may_send_what_its_provider_reports,
    who_changed_what_is_written_down,
];

const OWN: &str = "own-token-of-the-database-0123456789";

async fn give(app: &TestApp, sender: &str, kind: &str, value: &str) -> Value {
    let body = json!({ "kind": kind, "value": value });
    let path = format!("/api/v1/senders/{sender}/credentials");
    let (code, view) = app.admin("POST", &path, &body).await;
    assert_eq!(code, 201, "{view}");
    view
}

fn of_kind<'a>(view: &'a Value, kind: &str, source: &str) -> &'a Value {
    view["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["kind"] == kind && it["source"] == source)
        .unwrap_or(&Value::Null)
}

async fn what_is_given_is_never_shown_again(database: Database) {
    let app = TestApp::spawn(&database).await;
    let id = add(
        &app,
        "shop",
        SECOND,
        json!({ "waba_id": "102290129340398" }),
    )
    .await;
    let path = format!("/api/v1/senders/{id}");
    let (code, view) = app.admin("GET", "/api/v1/senders/shop", &Value::Null).await;
    assert_eq!((code, &view["id"]), (200, &json!(id)));
    let token = of_kind(&view, "access_token", "database");
    assert_eq!(
        (&token["masked"], &token["active"]),
        (&json!("token-of…789"), &json!(true))
    );
    assert_eq!(
        (&view["default"], &view["state"], &view["reason"]),
        (&json!(false), &json!("active"), &Value::Null)
    );
    assert!(!view.to_string().contains("token-of-shop-0123456789"));
    let (code, view) = app.get(&path).await;
    assert_eq!(
        (code, &view["credentials"]),
        (200, &Value::Null),
        "a product's key sees no credentials"
    );
    for (method, path, body) in [
        (
            "POST",
            "/api/v1/senders".to_owned(),
            json!({ "name": "x", "phone_number_id": "1" }),
        ),
        ("POST", format!("{path}/hold"), json!({ "reason": "x" })),
        ("POST", format!("{path}/release"), json!({})),
        ("POST", format!("{path}/default"), json!({})),
        (
            "POST",
            format!("{path}/credentials"),
            json!({ "kind": "access_token", "value": "x" }),
        ),
        ("PATCH", path.clone(), json!({ "name": "x" })),
        ("GET", "/api/v1/audit".to_owned(), json!({})),
    ] {
        let answer = app
            .http
            .request(method.parse().unwrap(), format!("{}{path}", app.base))
            .bearer_auth(&app.key)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 403, "{method} {path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/forbidden");
    }
}

async fn wrong_senders_and_credentials_are_refused_field_by_field(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut wrong = json!({
        "name": " ", "kind": "meta", "phone_number_id": "+12025550101", "waba_id": "x", "app_id": "",
        "api_version": "26", "api_base": "graph.facebook.com", "messages_per_second": -1,
        "credentials": [
            { "kind": "access_token", "value": "two words" },
            { "kind": "app_secret", "value": "changeme" },
            { "kind": "verify_token", "value": "fine", "expires_at": "2020-01-01T00:00:00Z" },
        ],
    });
    let (code, problem) = app.admin("POST", "/api/v1/senders", &wrong).await;
    assert_eq!(code, 422, "{problem}");
    insta::assert_json_snapshot!("a_sender_with_everything_wrong", problem);
    assert!(!problem.to_string().contains("two words"));
    // What a sender of an unknown kind needs is not known.
    wrong["kind"] = json!("pigeon");
    let (code, problem) = app.admin("POST", "/api/v1/senders", &wrong).await;
    assert_eq!(
        (code, &problem["errors"][0]),
        (
            422,
            &json!({ "pointer": "/kind", "rule": "one of meta, myoperator, smtp" })
        )
    );
    add(&app, "shop", SECOND, json!({})).await;
    for (body, pointer) in [
        (json!({ "name": "shop", "phone_number_id": "1" }), "/name"),
        (
            json!({ "name": "other", "phone_number_id": SECOND }),
            "/phone_number_id",
        ),
    ] {
        let (code, problem) = app.admin("POST", "/api/v1/senders", &body).await;
        assert_eq!(
            (code, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer))
        );
    }
    for (path, body, expected) in [
        (
            "/api/v1/senders/nobody/credentials",
            json!({ "kind": "access_token", "value": "x" }),
            404,
        ),
        (
            "/api/v1/senders/shop/credentials",
            json!({ "kind": "password", "value": "x" }),
            422,
        ),
        (
            "/api/v1/senders/shop/credentials",
            json!({ "kind": "access_token", "value": "" }),
            422,
        ),
        (
            "/api/v1/senders/shop/credentials",
            json!({ "kind": "access_token" }),
            400,
        ),
        ("/api/v1/senders/shop/hold", json!({ "reason": " " }), 422),
        (
            "/api/v1/senders/shop/hold",
            json!({ "reason": "x".repeat(201) }),
            422,
        ),
        (
            "/api/v1/senders/shop/release",
            json!({ "discard_older_than_seconds": -1 }),
            422,
        ),
    ] {
        let (code, problem) = app.admin("POST", path, &body).await;
        assert_eq!(code, expected, "{path} {problem}");
    }
    let (code, problem) = app
        .admin(
            "PATCH",
            "/api/v1/senders/shop",
            &json!({ "api_base": "ftp://x", "messages_per_second": 10_001 }),
        )
        .await;
    assert_eq!(
        (code, problem["errors"].as_array().unwrap().len()),
        (422, 2)
    );
    let (code, view) = app
        .admin(
            "PATCH",
            "/api/v1/senders/shop",
            &json!({ "name": "store", "waba_id": "1", "messages_per_second": 20 }),
        )
        .await;
    assert_eq!(code, 200, "{view}");
    let (_, view) = app
        .admin(
            "PATCH",
            "/api/v1/senders/store",
            &json!({ "waba_id": null }),
        )
        .await;
    assert_eq!(
        (
            &view["name"],
            &view["account"],
            &view["messages_per_second"],
            &view["messages_per_second_by"]
        ),
        (&json!("store"), &Value::Null, &json!(20), &json!("sender"))
    );
}

async fn a_key_makes_a_sender_or_a_credential_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    let with_key = async |path: &str, key: &str, body: &Value| {
        let answer = app
            .http
            .post(format!("{}{path}", app.base))
            .bearer_auth(&app.admin_key)
            .header("Idempotency-Key", key)
            .json(body)
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let body = json!({ "name": "shop", "phone_number_id": SECOND });
    let (code, first) = with_key("/api/v1/senders", "a", &body).await;
    assert_eq!(code, 201, "{first}");
    let (code, again) = with_key("/api/v1/senders", "a", &body).await;
    assert_eq!((code, &again["id"]), (201, &first["id"]));
    let other = json!({ "name": "other", "phone_number_id": "1" });
    assert_eq!(with_key("/api/v1/senders", "a", &other).await.0, 409);
    let path = "/api/v1/senders/shop/credentials";
    let secret = json!({ "kind": "app_secret", "value": "one-app-secret" });
    assert_eq!(with_key(path, "b", &secret).await.0, 201);
    let (code, view) = with_key(path, "b", &secret).await;
    assert_eq!(
        (code, view["credentials"].as_array().unwrap().len()),
        (201, 1)
    );
    let secret = json!({ "kind": "app_secret", "value": "another-secret" });
    assert_eq!(with_key(path, "b", &secret).await.0, 409);
}

async fn the_database_goes_first_and_the_environment_steps_in(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let name = format!("meta%20{PHONE_NUMBER_ID}");
    ask(&app, "+12025550150", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    let from_environment = (PHONE_NUMBER_ID.to_owned(), "token-for-tests".to_owned());
    assert_eq!(graph.last(), from_environment);

    let view = give(&app, &name, "access_token", OWN).await;
    let own = of_kind(&view, "access_token", "database")["id"].clone();
    assert_eq!(
        of_kind(&view, "access_token", "environment")["active"],
        false
    );
    ask(&app, "+12025550151", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    assert_eq!(graph.last().1, OWN);

    let path = format!(
        "/api/v1/senders/{name}/credentials/{}",
        own.as_str().unwrap()
    );
    let switched = app
        .admin("POST", &format!("{path}/deactivate"), &Value::Null)
        .await;
    assert_eq!(switched.0, 200, "{}", switched.1);
    assert_eq!(
        of_kind(&switched.1, "access_token", "environment")["active"],
        true
    );
    ask(&app, "+12025550152", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    assert_eq!(graph.last(), from_environment);

    assert_eq!(
        app.admin("POST", &format!("{path}/activate"), &Value::Null)
            .await
            .0,
        200
    );
    ask(&app, "+12025550153", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    assert_eq!(graph.last().1, OWN);

    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 200);
    assert_eq!(app.number("SELECT count(*) FROM credential").await, 0);
    ask(&app, "+12025550154", None).await;
    assert_eq!(app.send_of(app.sender).await, 1);
    assert_eq!(graph.last(), from_environment);
}

async fn a_new_token_is_used_by_the_next_call_in_every_process(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    ask(&app, "+12025550150", None).await;
    app.send_of(app.sender).await;
    // SQLite serves one process.
    let other = match database {
        Database::Sqlite => None,
        Database::Postgres => {
            let settings = [("WHATSAPP_API_BASE", graph.base.as_str())];
            Some(TestApp::start(&app.database_url, &settings).await)
        }
    };
    let sending = other.as_ref().unwrap_or(&app);
    ask(&app, "+12025550151", None).await;
    assert_eq!(sending.send_of(app.sender).await, 1);
    assert_eq!(graph.last().1, "token-for-tests");
    give(&app, &app.sender.to_string(), "access_token", OWN).await;
    ask(&app, "+12025550152", None).await;
    assert_eq!(sending.send_of(app.sender).await, 1);
    assert_eq!(graph.last().1, OWN, "nobody told the other process");
}

async fn a_token_that_expires_with_a_full_queue_loses_nothing(database: Database) {
    let (app, graph) = with_graph(&database, &[("HERALD_SEND_SLOTS", "4")]).await;
    let mut ids = Vec::new();
    for number in 150..170 {
        ids.push(ask(&app, &format!("+12025550{number}"), None).await);
    }
    graph.expires("token-for-tests");
    app.send_of(app.sender).await;
    app.follow_up().await;
    assert_eq!(graph.accepted(), 0);
    assert!(graph.calls().len() <= 8, "the others are not even tried");
    let (_, senders) = app.get("/api/v1/senders").await;
    assert_eq!(
        (&senders[0]["state"], &senders[0]["reason"]),
        (
            &json!("held"),
            &json!("Token expired: the access token's time is over. (code 190)")
        )
    );
    let alarms = "SELECT count(*) FROM event WHERE event_type = 'herald.sender.held'";
    assert_eq!(app.number(alarms).await, 1);
    for id in &ids {
        let status = app.status_of(id).await;
        assert!(
            ["queued", "retrying"].contains(&status.as_str()),
            "{status}"
        );
    }
    app.pass(1);
    // No restart, no waiting for a probe.
    give(&app, &app.sender.to_string(), "access_token", OWN).await;
    assert_eq!(app.get("/api/v1/senders").await.1[0]["state"], "active");
    app.send_of(app.sender).await;
    assert!(graph.accepted() >= 12, "what was not tried goes at once");
    app.pass(61);
    app.send_of(app.sender).await;
    for id in &ids {
        assert_eq!(app.status_of(id).await, "accepted");
    }
    let mut people: Vec<String> = graph
        .calls()
        .iter()
        .filter(|call| call.token == OWN)
        .map(|call| call.body["to"].to_string())
        .collect();
    people.sort();
    people.dedup();
    assert!(people.len() >= 20 && graph.accepted() == people.len());
}

async fn calls_with_the_old_token_do_not_hold_the_new_one(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let id = ask(&app, "+12025550150", None).await;
    let (claim, provider) = delivery::claim_current(
        &app.engine,
        app.sender,
        ProviderCallSlots::each(5),
        app.now(),
    )
    .await
    .unwrap();
    graph.expires("token-for-tests");
    app.pass(1);
    give(&app, &app.sender.to_string(), "access_token", OWN).await;
    let mut answers = Vec::new();
    for job in claim.jobs {
        answers.push(delivery::call(provider.as_ref(), job).await);
    }
    assert_eq!(answers.len(), 1);
    delivery::settle(&app.engine, app.sender, &answers, 500, app.now())
        .await
        .unwrap();
    assert_eq!(graph.last().1, "token-for-tests");
    let sender = app.get("/api/v1/senders").await.1[0].clone();
    assert_eq!(sender["state"], "active", "{sender}");
    app.pass(61);
    app.send_of(app.sender).await;
    assert_eq!(
        (app.status_of(&id).await.as_str(), graph.last().1.as_str()),
        ("accepted", OWN)
    );
}

async fn a_sender_without_a_token_holds_its_queue(database: Database) {
    let (app, graph) = with_graph(&database, &[]).await;
    let id = add(&app, "shop", SECOND, json!({})).await;
    let (_, view) = app.admin("GET", "/api/v1/senders/shop", &Value::Null).await;
    let token = of_kind(&view, "access_token", "database")["id"].clone();
    let path = format!(
        "/api/v1/senders/shop/credentials/{}",
        token.as_str().unwrap()
    );
    assert_eq!(app.admin("DELETE", &path, &Value::Null).await.0, 200);
    let waits = ask(&app, "+12025550150", Some("shop")).await;
    hold_turn(&app.engine, app.now()).await.unwrap();
    let held = app.notification(&waits).await;
    assert_eq!(held["status"], "held");
    assert!(
        held["reason"]
            .as_str()
            .unwrap()
            .contains("has no access token"),
        "{held}"
    );
    // The others are not concerned.
    let goes = ask(&app, "+12025550151", None).await;
    app.send_of(app.sender).await;
    assert_eq!(app.status_of(&goes).await, "accepted");
    give(&app, "shop", "access_token", OWN).await;
    herald::engine::delivery::sweeper::release(&app.engine, app.now())
        .await
        .unwrap();
    assert_eq!(app.send_of(id).await, 1);
    assert_eq!(graph.last(), (SECOND.to_owned(), OWN.to_owned()));
    assert_eq!(app.status_of(&waits).await, "accepted");
}

async fn credentials_that_age_or_expire_are_told_once(database: Database) {
    let app = TestApp::spawn(&database).await;
    add(
        &app,
        "shop",
        SECOND,
        json!({ "credentials": [{
            "kind": "access_token", "value": OWN, "expires_at": "2026-02-01T00:00:00Z"
        }]}),
    )
    .await;
    let told = async || {
        let mut told = Vec::new();
        for word in ["old", "expiring"] {
            let sql =
                format!("SELECT count(*) FROM event WHERE event_type = 'herald.credential.{word}'");
            told.push(app.number(&sql).await);
        }
        told
    };
    ageing_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(told().await, [0, 0]);
    let day = 24 * 60 * 60;
    app.pass(24 * day);
    for _ in 0..3 {
        ageing_turn(&app.engine, app.now()).await.unwrap();
    }
    assert_eq!(told().await, [0, 1]);
    app.pass(66 * day);
    for _ in 0..3 {
        ageing_turn(&app.engine, app.now()).await.unwrap();
    }
    assert_eq!(told().await, [1, 1]);
    let event = app
        .number("SELECT count(*) FROM event WHERE data LIKE '%shop%' AND data LIKE '%remedy%'")
        .await;
    assert_eq!(event, 2);
    are_like_their_examples(&app, HeraldEventType::CredentialOld).await;
    // A new one is young again.
    give(&app, "shop", "access_token", "a-younger-token-0123456789").await;
    ageing_turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(told().await, [1, 1]);
}

async fn a_number_may_send_what_its_provider_reports(database: Database) {
    let (app, graph) = with_graph(&database, &[("HERALD_SEND_PER_SECOND", "")]).await;
    let provider = app.engine.provider(app.sender).unwrap();
    let ask = async || {
        throughput_turn(&app.engine, provider.as_ref(), app.sender, app.now())
            .await
            .unwrap();
        let view = app.get("/api/v1/senders").await.1[0].clone();
        (
            view["messages_per_second"].as_i64().unwrap(),
            view["messages_per_second_by"].as_str().unwrap().to_owned(),
        )
    };
    graph.says(json!({ "id": PHONE_NUMBER_ID }));
    assert_eq!(ask().await, (80, "usual".to_owned()), "it does not say");
    app.pass(6 * 60 * 60);
    graph.says(json!({ "throughput": { "level": "HIGH" } }));
    assert_eq!(ask().await, (1000, "provider".to_owned()));
    graph.says(json!({ "throughput": { "level": "NOT_APPLICABLE" }, "is_on_biz_app": true }));
    app.pass(60);
    assert_eq!(ask().await.0, 1000, "it is not asked all the time");
    app.pass(6 * 60 * 60);
    assert_eq!(ask().await, (20, "provider".to_owned()));
    // One that does not answer is asked again in five minutes, not in six hours.
    app.pass(6 * 60 * 60);
    let second = std::time::Duration::from_secs(1);
    let http = herald::providers::http_client(second, second).unwrap();
    let nobody = herald::providers::ProviderRegistry::standard()
        .find("meta")
        .unwrap()
        .connect(
            &http,
            herald::providers::SenderConnectionSettings {
                endpoint_id: PHONE_NUMBER_ID.to_owned(),
                account_id: None,
                settings: [("api_base", "http://127.0.0.1:9"), ("api_version", "v26.0")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                token: "token".into(),
            },
        );
    let learnt = throughput_turn(&app.engine, nobody.as_ref(), app.sender, app.now()).await;
    assert!(!learnt.unwrap());
    graph.says(json!({ "throughput": { "level": "STANDARD" } }));
    app.pass(299);
    assert_eq!(ask().await.0, 20);
    app.pass(1);
    assert_eq!(ask().await, (80, "provider".to_owned()));
    let (code, _) = app
        .admin(
            "PATCH",
            &format!("/api/v1/senders/{}", app.sender),
            &json!({ "messages_per_second": 5 }),
        )
        .await;
    assert_eq!(code, 200);
    app.pass(6 * 60 * 60);
    assert_eq!(
        ask().await,
        (5, "sender".to_owned()),
        "a person knows better"
    );
}

async fn who_changed_what_is_written_down(database: Database) {
    let app = TestApp::spawn(&database).await;
    add(&app, "shop", SECOND, json!({})).await;
    give(&app, "shop", "app_secret", OWN).await;
    app.admin("PATCH", "/api/v1/senders/shop", &json!({ "waba_id": "1" }))
        .await;
    app.admin(
        "POST",
        "/api/v1/senders/shop/hold",
        &json!({ "reason": "a test" }),
    )
    .await;
    app.admin("POST", "/api/v1/senders/shop/release", &Value::Null)
        .await;
    app.admin("POST", "/api/v1/senders/shop/default", &Value::Null)
        .await;
    let (code, page) = app
        .admin("GET", "/api/v1/audit?subject=shop&limit=5", &Value::Null)
        .await;
    assert_eq!(code, 200, "{page}");
    let entries = page["entries"].as_array().unwrap();
    let actions: Vec<&str> = entries
        .iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "sender.default",
            "sender.released",
            "sender.held",
            "sender.changed",
            "credential.added"
        ]
    );
    assert_eq!(entries[3]["detail"], json!({ "account": [null, "1"] }));
    let prefix: String = app.admin_key.chars().take(15).collect();
    assert!(
        entries
            .iter()
            .all(|it| it["actor"] == format!("key:{prefix}"))
    );
    let next = page["next"].as_str().unwrap();
    let (_, page) = app
        .admin("GET", &format!("/api/v1/audit?cursor={next}"), &Value::Null)
        .await;
    assert_eq!(page["entries"][0]["action"], "sender.added");
    assert!(!page.to_string().contains(OWN));
}
