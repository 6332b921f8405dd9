//! Keys are made with bounds, listed with them, used, and end.

use serde_json::{Value, json};

use super::{ask, catalogue, key, sender, two};
use crate::{
    cli::{herald, text},
    harness::{Database, TestApp},
};

crate::tests![
    a_key_without_bounds_must_be_asked_for,
    what_is_wrong_with_a_key_is_said_by_field,
    bounds_of_two_products_cannot_overlap,
    a_key_shows_its_bounds_its_expiry_and_its_last_use_and_never_its_text,
    a_key_makes_none_that_may_do_more_than_itself,
    an_expired_key_opens_nothing,
    whoever_has_no_key_is_told_nothing_of_a_body_or_an_address,
    a_key_with_few_scopes_is_told_so_before_anything_else,
    the_command_line_makes_the_same_keys,
    a_use_is_written_once_a_minute,
];

async fn made(app: &TestApp, wanted: Value) -> (u16, Value) {
    app.admin("POST", "/api/v1/keys", &wanted).await
}

/// What stands against a key: pointers in order.
async fn refused(app: &TestApp, wanted: Value) -> Vec<String> {
    let (code, problem) = made(app, wanted).await;
    assert_eq!(code, 422, "{problem}");
    let errors = problem["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect()
}

async fn a_key_without_bounds_must_be_asked_for(database: Database) {
    let app = TestApp::spawn(&database).await;
    assert_eq!(refused(&app, json!({ "product": "shop" })).await, ["/all"]);
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let bare = run(&["keys", "create", "shop"]);
    assert_eq!(bare.status.code(), Some(1));
    for option in ["--source", "--sender", "--catalogue", "--all"] {
        assert!(text(&bare).contains(option), "{}", text(&bare));
    }
    assert_eq!(
        run(&["keys", "create", "shop", "--admin"]).status.code(),
        Some(1)
    );
    assert!(run(&["keys", "create", "shop", "--all"]).status.success());
    let (code, _) = made(&app, json!({ "product": "shop", "all": true })).await;
    assert_eq!(code, 201);
}

async fn what_is_wrong_with_a_key_is_said_by_field(database: Database) {
    let app = TestApp::spawn(&database).await;
    for (wanted, pointers) in [
        (json!({ "product": " ", "all": true }), vec!["/product"]),
        (
            json!({ "product": "a\u{7}", "all": true }),
            vec!["/product"],
        ),
        (
            json!({ "product": "shop", "all": true, "source": "shop" }),
            vec!["/all"],
        ),
        (
            json!({ "product": "shop", "role": "admin", "source": "shop" }),
            vec!["/role"],
        ),
        (
            json!({ "product": "shop", "all": true, "scopes": ["senders:write"] }),
            vec!["/scopes"],
        ),
        (
            json!({ "product": "shop", "all": true, "scopes": ["everything"] }),
            vec!["/scopes/0"],
        ),
        (
            json!({ "product": "shop", "all": true, "scopes": [] }),
            vec!["/scopes"],
        ),
        (
            json!({ "product": "shop", "source": "herald/x" }),
            vec!["/source"],
        ),
        (json!({ "product": "shop", "source": "" }), vec!["/source"]),
        // Whoever posts events without a source could take another's.
        (
            json!({ "product": "shop", "senders": [app.sender] }),
            vec!["/source"],
        ),
        (
            json!({ "product": "shop", "source": "shop", "senders": ["nobody"], "catalogue": "none" }),
            vec!["/senders/0", "/catalogue"],
        ),
        (
            json!({ "product": "shop", "source": "shop", "expires_at": "2026-01-01T00:00:00Z" }),
            vec!["/expires_at"],
        ),
    ] {
        assert_eq!(refused(&app, wanted.clone()).await, pointers, "{wanted}");
    }
    let few = json!({ "product": "shop", "senders": [app.sender], "scopes": ["messages:read"] });
    assert_eq!(made(&app, few).await.0, 201);
}

async fn bounds_of_two_products_cannot_overlap(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&catalogue("shop", "+12025550191"))
        .await;
    let first = json!({ "product": "shop", "source": "shop/eu", "catalogue": "shop" });
    let (code, kept) = made(&app, first.clone()).await;
    assert_eq!(code, 201);
    // Another key of the same product may have them.
    assert_eq!(made(&app, first).await.0, 201);
    for source in ["shop", "shop/eu", "shop/eu/orders"] {
        let wanted = json!({ "product": "clinic", "source": source });
        assert_eq!(refused(&app, wanted).await, ["/source"], "{source}");
    }
    let wanted = json!({ "product": "clinic", "source": "clinic", "catalogue": "shop" });
    assert_eq!(refused(&app, wanted).await, ["/catalogue"]);
    assert_eq!(
        made(
            &app,
            json!({ "product": "clinic", "source": "shop/europe" })
        )
        .await
        .0,
        201,
        "a word that begins alike is another"
    );
    // What is revoked bounds nobody.
    app.sql("UPDATE api_key SET revoked_at = 1 WHERE name = 'shop'")
        .await;
    assert_eq!(
        made(&app, json!({ "product": "clinic", "source": "shop/eu" }))
            .await
            .0,
        201
    );
    let gone = format!("/api/v1/keys/{}", kept["id"].as_str().unwrap());
    assert_eq!(app.admin("DELETE", &gone, &Value::Null).await.0, 404);
}

async fn a_key_shows_its_bounds_its_expiry_and_its_last_use_and_never_its_text(database: Database) {
    let two = two(&database).await;
    let wanted = json!({ "product": "clinic", "source": "clinic", "senders": ["clinic"], "catalogue": "clinic",
        "scopes": ["events:write", "contacts:read"], "expires_at": "2026-02-01T00:00:00Z" });
    let (_, made) = made(&two.app, wanted).await;
    let text = made["key"].as_str().unwrap().to_owned();
    let found = async || {
        let (_, keys) = two.app.admin("GET", "/api/v1/keys", &Value::Null).await;
        assert!(!keys.to_string().contains(&text), "{keys}");
        let keys = keys["keys"].as_array().unwrap().clone();
        let mine = |key: &Value| key["id"] == made["id"];
        keys.into_iter().find(mine).unwrap()
    };
    let shown = found().await;
    assert_eq!(
        (
            &shown["source"],
            &shown["senders"],
            &shown["catalogue"],
            &shown["all"]
        ),
        (
            &json!("clinic"),
            &json!(["clinic"]),
            &json!("clinic"),
            &json!(false)
        )
    );
    assert_eq!(shown["scopes"], json!(["events:write", "contacts:read"]));
    assert_eq!(shown["expires_at"], "2026-02-01T00:00:00.000000Z");
    assert_eq!(shown["last_used_at"], Value::Null);
    assert!(text.starts_with(shown["prefix"].as_str().unwrap()));
    two.app.pass(7);
    ask(&two.app, &text, "GET", "/api/v1/contacts", &Value::Null).await;
    herald::engine::runtime::access::write_uses(&two.app.engine, two.app.now())
        .await
        .unwrap();
    assert_eq!(found().await["last_used_at"], two.app.now().to_string());
    // It is revoked by its id, and opens nothing then.
    let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(two.app.admin("DELETE", &path, &Value::Null).await.0, 204);
    let (code, _) = ask(&two.app, &text, "GET", "/api/v1/contacts", &Value::Null).await;
    assert_eq!(code, 401);
    assert!(found().await["revoked_at"].is_string());
    let (_, audit) = two.app.admin("GET", "/api/v1/audit", &Value::Null).await;
    for action in ["key.created", "key.revoked"] {
        assert!(audit.to_string().contains(action), "{audit}");
    }
    assert!(!audit.to_string().contains(&text));
}

async fn a_key_makes_none_that_may_do_more_than_itself(database: Database) {
    let app = TestApp::spawn(&database).await;
    let few = key(
        &app,
        json!({ "product": "ops", "role": "admin", "all": true, "scopes": ["keys:write", "events:read"] }),
    )
    .await;
    for (wanted, expected) in [
        (json!({ "product": "x", "role": "admin", "all": true }), 403),
        (
            json!({ "product": "x", "all": true, "scopes": ["contacts:read"] }),
            403,
        ),
        (
            json!({ "product": "x", "all": true, "scopes": ["events:read"] }),
            201,
        ),
    ] {
        let (code, answer) = ask(&app, &few, "POST", "/api/v1/keys", &wanted).await;
        assert_eq!(code, expected, "{answer}");
    }
    let (code, _) = ask(
        &app,
        &app.key,
        "POST",
        "/api/v1/keys",
        &json!({ "product": "x", "all": true }),
    )
    .await;
    assert_eq!(code, 403, "a key of a product makes none");
}

async fn an_expired_key_opens_nothing(database: Database) {
    let app = TestApp::spawn(&database).await;
    let short = key(
        &app,
        json!({ "product": "shop", "source": "shop", "expires_at": "2026-01-01T01:00:00Z" }),
    )
    .await;
    let code = async || {
        ask(&app, &short, "GET", "/api/v1/events", &Value::Null)
            .await
            .0
    };
    app.pass(3599);
    assert_eq!(code().await, 200);
    app.pass(1);
    assert_eq!(code().await, 401);
}

async fn whoever_has_no_key_is_told_nothing_of_a_body_or_an_address(database: Database) {
    let app = TestApp::spawn(&database).await;
    let mut bodies = Vec::new();
    for (method, path, body) in [
        ("POST", "/api/v1/events", "{"),
        ("POST", "/api/v1/notifications", "[1]"),
        ("PATCH", "/api/v1/contacts/no-id", "{}"),
        ("GET", "/api/v1/notifications?limit=x", ""),
        ("GET", "/api/v1/nothing/here", ""),
        ("DELETE", "/api/v1/events", ""),
        ("PUT", "/api/v1/log", "{"),
    ] {
        for key in [None, Some("herald_wrong")] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = app.http.request(method, format!("{}{path}", app.base));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let answer = request.body(body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 401, "{path}");
            bodies.push(answer.text().await.unwrap());
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let (code, _) = app.text("/api/v1/openapi.json").await;
    assert_eq!(code, 200, "the contract is for everybody");
}

async fn a_key_with_few_scopes_is_told_so_before_anything_else(database: Database) {
    let app = TestApp::spawn(&database).await;
    let reader = key(
        &app,
        json!({ "product": "shop", "source": "shop", "scopes": ["events:read"] }),
    )
    .await;
    for (path, body) in [("/api/v1/events", "{"), ("/api/v1/notifications", "{}")] {
        let answer = app
            .http
            .post(format!("{}{path}", app.base))
            .bearer_auth(&reader)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 403);
        let problem: Value = answer.json().await.unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(":write"),
            "{problem}"
        );
    }
}

async fn the_command_line_makes_the_same_keys(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(&catalogue("shop", "+12025550191"))
        .await;
    sender(&app, "second", super::CLINIC_NUMBER).await;
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| herald(&app.database_url, folder.path(), words);
    let made = run(&[
        "keys",
        "create",
        "shop",
        "--source",
        "shop",
        "--sender",
        "second",
        "--catalogue",
        "shop",
        "--scope",
        "events:write",
        "--scope",
        "contacts:read",
        "--expires",
        "90d",
    ]);
    assert!(made.status.success(), "{}", text(&made));
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let listed = text(&run(&["keys", "list"]));
    for word in [
        "shop",
        "source=shop",
        "sender=second",
        "catalogue=shop",
        "events:write",
        "last used never",
    ] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    assert!(!listed.contains(&key));
    let (code, _) = ask(&app, &key, "GET", "/api/v1/contacts", &Value::Null).await;
    assert_eq!(code, 200);
    let (code, _) = ask(&app, &key, "GET", "/api/v1/events", &Value::Null).await;
    assert_eq!(code, 403);
    for (words, named) in [
        (&["--scope", "everything"][..], "events:read"),
        (&["--source", "shop", "--expires", "soon"], "--expires"),
        (&["--source", "shop", "--sender", "nobody"], "--sender"),
        (
            &["--source", "shop", "--catalogue", "nothing"],
            "--catalogue",
        ),
    ] {
        let refused = run(&[&["keys", "create", "shop"], words].concat());
        assert!(!refused.status.success());
        assert!(text(&refused).contains(named), "{}", text(&refused));
    }
}

async fn a_use_is_written_once_a_minute(database: Database) {
    let app = TestApp::spawn(&database).await;
    let write = async || {
        herald::engine::runtime::access::write_uses(&app.engine, app.now())
            .await
            .unwrap()
    };
    write().await;
    for _ in 0..5 {
        app.get("/api/v1/events").await;
        app.pass(1);
    }
    assert_eq!(write().await, 1);
    app.get("/api/v1/events").await;
    assert_eq!(
        write().await,
        0,
        "a use of a moment ago is not written again"
    );
    app.pass(60);
    assert_eq!(write().await, 1);
    assert_eq!(write().await, 0);
}
