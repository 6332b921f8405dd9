//! What strangers may write, and what others on the machine and on the way may read.

use std::{fs, os::unix::fs::PermissionsExt};

use herald::{domain::login::DashboardRole, domain::text::MAX_NAME};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::{herald, text},
    dashboard::somebody,
    harness::{DEMO, Database, TestApp},
};

crate::tests![
    every_operation_of_the_contract_refuses_nul_and_names_the_field,
    every_operation_of_the_contract_asks_who_it_is_before_it_reads_anything,
    nul_anywhere_in_a_callback_is_replaced_and_nothing_is_a_dead_letter,
    what_strangers_write_is_cut_and_shown_as_escapes,
    pages_take_nul_for_what_it_is,
    catalogues_with_nul_are_refused_with_the_line,
    answers_have_the_headers_that_keep_browsers_safe,
    nobody_else_on_the_machine_reads_the_database,
];

const NUL: &str = "a\0b";

/// An operation of the contract.
struct Operation {
    method: Method,
    path: String,
    /// Names of its parameters in the query.
    query: Vec<String>,
    /// Names of its body's fields; `None` without a body.
    body: Option<Vec<String>>,
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let (status, contract) = app.get("/api/v1/openapi.json").await;
    assert_eq!(status, 200);
    let mut found = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let query = parameters
                .iter()
                .filter(|it| it["in"] == "query")
                .map(|it| it["name"].as_str().unwrap().to_owned())
                .collect();
            let body = operation.get("requestBody").map(|body| {
                let schema = &body["content"]["application/json"]["schema"];
                fields(&contract, schema)
            });
            found.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                query,
                body,
            });
        }
    }
    assert!(found.len() > 50, "{}", found.len());
    found
}

/// The names of a schema's fields.
fn fields(contract: &Value, schema: &Value) -> Vec<String> {
    let mut names: Vec<String> = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().cloned())
        .collect();
    if let Some(reference) = schema["$ref"].as_str() {
        let found = contract.pointer(reference.trim_start_matches('#')).unwrap();
        names.extend(fields(contract, found));
    }
    for part in ["allOf", "oneOf", "anyOf"] {
        for schema in schema[part].as_array().into_iter().flatten() {
            names.extend(fields(contract, schema));
        }
    }
    names
}

/// The places of a path's parameters.
fn places(path: &str) -> usize {
    path.matches('{').count()
}

/// A path with a value at each place.
fn filled(path: &str, value: impl Fn(usize) -> &'static str) -> String {
    let mut filled = String::new();
    for (place, part) in path.split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if place > 0 => {
                filled.push_str(value(place - 1));
                filled.push_str(rest);
            }
            _ => filled.push_str(part),
        }
    }
    filled
}

const AN_ID: &str = "01990f2e-0000-7000-8000-000000000000";

async fn ask(app: &TestApp, method: &Method, path: &str, key: &str, body: &str) -> (u16, Value) {
    let answer = app
        .http
        .request(method.clone(), format!("{}{path}", app.base))
        .header("Authorization", format!("Bearer {key}"))
        .header("Content-Type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

async fn every_operation_of_the_contract_refuses_nul_and_names_the_field(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let key = app.admin_key.clone();
    let mut tried = 0;
    for operation in operations(&app).await {
        let Operation { method, path, .. } = &operation;
        let about = format!("{method} {path}");
        for place in 0..places(path) {
            let path = filled(path, |at| if at == place { "a%00b" } else { AN_ID });
            let (status, answer) = ask(&app, method, &path, &key, "{}").await;
            assert_eq!(status, 404, "{about}: {answer}");
            tried += 1;
        }
        let plain = filled(path, |_| AN_ID);
        for name in &operation.query {
            let path = format!("{plain}?{name}=a%00b");
            let (status, answer) = ask(&app, method, &path, &key, "{}").await;
            assert_eq!(status, 400, "{about} {name}: {answer}");
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.starts_with(name.as_str()), "{about}: {detail}");
            tried += 1;
        }
        for name in operation.body.iter().flatten() {
            let nested = json!({ "deep": [{ "x": NUL }] });
            for (value, pointer) in [
                (json!(NUL), format!("/{name}")),
                (nested, format!("/{name}/deep/0/x")),
                (json!({ "a\0": 1 }), format!("/{name}/a")),
            ] {
                let body = json!({ name.as_str(): value }).to_string();
                let (status, answer) = ask(&app, method, &plain, &key, &body).await;
                assert_eq!(status, 422, "{about} {name}: {answer}");
                assert_eq!(answer["type"], "/problems/invalid");
                assert_eq!(answer["errors"][0]["pointer"], json!(pointer), "{about}");
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
    // A backslash before it: that is no NUL, and it is kept as it is.
    let body = r#"{"id": "a\\u0000b", "source": "tests", "type": "no.such", "data": {}}"#;
    let (status, answer) = ask(&app, &Method::POST, "/api/v1/events", &key, body).await;
    assert_eq!(status, 202, "{answer}");
    let ids = app.texts("SELECT external_id FROM event").await;
    assert_eq!(ids, ["a\\u0000b"]);
    // Larger than any request may be.
    let body = format!(r#"{{"id": "{}"}}"#, "x".repeat(600 * 1024));
    let (status, answer) = ask(&app, &Method::POST, "/api/v1/events", &key, &body).await;
    assert_eq!(status, 413, "{answer}");
}

async fn every_operation_of_the_contract_asks_who_it_is_before_it_reads_anything(
    database: Database,
) {
    let app = TestApp::spawn(&database).await;
    for operation in operations(&app).await {
        let Operation { method, path, .. } = &operation;
        for value in ["not-an-id", AN_ID, "a%00b", "%ff"] {
            let path = filled(path, |_| value);
            for query in ["", "?limit=many&cursor=%00&since=never&unknown=%ff"] {
                for body in ["", "{", "{\"id\": \"\\u0000\"}", "\u{feff}[1, 2"] {
                    for key in ["", "hk_no_such_key", "\u{e9}"] {
                        let path = format!("{path}{query}");
                        let (status, answer) = ask(&app, method, &path, key, body).await;
                        assert_eq!(status, 401, "{method} {path} {body:?}: {answer}");
                        assert_eq!(answer["type"], "/problems/unauthorized");
                    }
                }
            }
        }
    }
}

/// The same document once for each of its texts and keys, with NUL in it.
fn with_nul(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![json!(format!("{text}\0"))],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| {
                with_nul(item).into_iter().map(move |changed| {
                    let mut items = items.clone();
                    items[index] = changed;
                    Value::Array(items)
                })
            })
            .collect(),
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, field) in fields {
                for changed in with_nul(field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    all.push(Value::Object(fields));
                }
                let mut more = fields.clone();
                more.insert(format!("{name}\0"), field.clone());
                all.push(Value::Object(more));
            }
            all
        }
        _ => Vec::new(),
    }
}

fn message(id: &str, name: &str) -> Value {
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": [{
        "field": "messages",
        "value": {
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": "106540352242922" },
            "contacts": [{ "profile": { "name": name, "username": "@asha" }, "wa_id": "12025550101" }],
            "messages": [
                { "from": "12025550101", "id": id, "timestamp": "1767225600", "type": "text",
                  "text": { "body": "Hello" }, "context": { "id": "wamid.OTHER" } },
                { "from": "12025550101", "id": format!("{id}B"), "timestamp": "1767225601", "type": "button",
                  "button": { "text": "Yes", "payload": "yes" } },
            ],
            "statuses": [{ "id": "wamid.NOBODY", "status": "failed", "timestamp": "1767225600",
                "recipient_id": "12025550101", "pricing": { "category": "utility", "pricing_model": "PMP" },
                "errors": [{ "code": 131_026, "title": "Undeliverable", "error_data": { "details": "x" } }] }],
        },
    }, { "field": "account_update", "value": { "event": "ACCOUNT_RESTRICTION", "phone_number": "15550783881" } }] }] })
}

async fn nul_anywhere_in_a_callback_is_replaced_and_nothing_is_a_dead_letter(database: Database) {
    let app = TestApp::spawn(&database).await;
    let bodies = with_nul(&message("wamid.IN", "Asha"));
    assert!(bodies.len() > 60, "{}", bodies.len());
    for (index, body) in bodies.iter().enumerate() {
        // Each is news: a message that is known changes nothing.
        let body = body
            .to_string()
            .replace("wamid.IN", &format!("wamid.IN{index}."));
        let status = app.callback_bytes(body.clone().into_bytes()).await;
        assert_eq!(status, 200, "{body}");
    }
    app.process().await;
    let dead = app
        .texts("SELECT pointer || ' ' || reason FROM dead_letter")
        .await;
    assert_eq!(dead, [""; 0]);
    let names = app
        .texts("SELECT profile_name FROM contact WHERE profile_name IS NOT NULL")
        .await;
    assert!(names.iter().all(|name| !name.contains('\0')), "{names:?}");
    let texts = app
        .texts("SELECT text FROM inbound_message WHERE text LIKE '%\u{fffd}%'")
        .await;
    assert!(!texts.is_empty());
}

async fn what_strangers_write_is_cut_and_shown_as_escapes(database: Database) {
    let app = TestApp::spawn(&database).await;
    let name = format!("Asha\n\u{1b}]0;x\u{7}\u{202e}oaR{}", "x".repeat(100_000));
    let mut body = message("wamid.IN", &name);
    let inbound = &mut body["entry"][0]["changes"][0]["value"]["messages"][0];
    inbound["text"]["body"] = json!("Hi \u{1b}[2J\u{9b}1m\u{202e}");
    inbound["id"] = json!("wamid.".to_owned() + &"A".repeat(5000));
    inbound["context"] = Value::Null;
    assert_eq!(app.callback_bytes(body.to_string().into_bytes()).await, 200);
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
    let names = app
        .texts("SELECT profile_name FROM contact WHERE profile_name IS NOT NULL")
        .await;
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].chars().count(), MAX_NAME);
    assert!(
        names[0].starts_with("Asha  ]0;x \u{202e}oaR"),
        "{}",
        names[0]
    );
    let ids = app
        .texts("SELECT provider_message_id FROM inbound_message ORDER BY provider_message_id")
        .await;
    assert!(ids.iter().all(|id| id.len() <= 256), "{ids:?}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for words in [
        &["contacts", "list"][..],
        &["contacts", "show", "+12025550101"],
    ] {
        let shown = text(&herald(&app.database_url, folder, words));
        assert!(shown.contains("Asha"), "{words:?}: {shown}");
        assert!(shown.contains("\\u202eoaR"), "{words:?}: {shown}");
        let unsafe_one = shown.chars().find(|it| {
            it.is_control() && !matches!(it, '\n' | '\t') || ('\u{202a}'..='\u{202e}').contains(it)
        });
        assert_eq!(unsafe_one, None, "{words:?}: {shown}");
    }
}

async fn pages_take_nul_for_what_it_is(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let mut admin = somebody(&app, "ada", DashboardRole::Admin).await;
    for path in [
        "/dashboard/notifications?recipient=%00",
        "/dashboard/notifications?label=a%00%3Db&reference=%00",
        "/dashboard/contacts?q=%00",
        "/dashboard/templates/a%00b",
        "/dashboard/staff/groups/a%00b",
        "/dashboard/callbacks?cursor=%00",
        "/dashboard/enter/a%00b",
    ] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
    for form in [
        &[("name", NUL), ("phone", "+12025550109")][..],
        &[("name", "Asha"), ("phone", NUL)],
        &[
            ("name", "Asha"),
            ("phone", "+12025550109"),
            ("once", NUL),
            (NUL, NUL),
        ],
    ] {
        let page = admin.post("/dashboard/contacts", form).await;
        assert!(page.status < 500, "{form:?}: {}", page.text);
    }
    let mut stranger = crate::dashboard::Browser::new(&app);
    assert_eq!(stranger.log_in(NUL, NUL).await.status, 422);
    let names = app
        .texts("SELECT name FROM contact WHERE name IS NOT NULL")
        .await;
    assert!(names.contains(&"a\u{fffd}b".to_owned()), "{names:?}");
}

async fn catalogues_with_nul_are_refused_with_the_line(database: Database) {
    let app = TestApp::spawn(&database).await;
    let catalogue = |name: &str, key: &str| {
        format!(
            "name = \"tests\"\n\n[[contact]]\nname = \"{name}\"\nphone = \"+12025550101\"\n\n\
             [[group]]\nname = \"g\"\nmembers = []\n\n[[event]]\ntype = \"a\"\n[event.example]\n\"x{key}\" = \"y\"\n"
        )
    };
    for (text, line) in [
        (catalogue("a\\u0000b", ""), 4),
        (catalogue("a\\U00000000b", ""), 4),
        (catalogue("ab", "\\u0000"), 14),
    ] {
        let wrong = app.try_catalogue(&text).await.unwrap_err();
        let rule = format!("line {line}: no text may contain NUL (U+0000)");
        assert!(wrong.contains(&rule), "{wrong:?}");
    }
    app.apply_catalogue(&catalogue("ab", "")).await;
}

async fn answers_have_the_headers_that_keep_browsers_safe(database: Database) {
    let secure = [("HERALD_PUBLIC_URL", "https://herald.example.org")];
    for settings in [&secure[..], &[]] {
        let app = TestApp::spawn_with(&database, settings, "").await;
        for (method, path, status) in [
            ("GET", "/livez", 200),
            ("GET", "/api/v1/openapi.json", 200),
            ("GET", "/api/v1/stats", 401),
            ("GET", "/api/v1/no/such", 401),
            ("GET", "/no/such", 404),
            ("GET", "/problems/invalid", 200),
            ("GET", "/dashboard", 303),
            ("GET", "/dashboard/login", 200),
            ("GET", "/dashboard/templates/a%00b", 404),
            ("POST", "/dashboard/login", 403),
            ("POST", "/webhooks/meta", 401),
        ] {
            let answer = app
                .http
                .request(
                    Method::from_bytes(method.as_bytes()).unwrap(),
                    format!("{}{path}", app.base),
                )
                .header("Sec-Fetch-Site", "cross-site")
                .send()
                .await
                .unwrap();
            let found = answer.status().as_u16();
            // An address that is none of the API's may be said to be none.
            assert!(
                found == status || path.ends_with("no/such") && found == 404,
                "{path}: {found}"
            );
            let header = |name: &str| {
                let value = answer.headers().get(name);
                value.map(|value| value.to_str().unwrap().to_owned())
            };
            let expected = (!settings.is_empty()).then(|| "max-age=31536000".to_owned());
            assert_eq!(header("strict-transport-security"), expected, "{path}");
            if path.starts_with("/api/") || path.starts_with("/dashboard") {
                assert_eq!(
                    header("x-content-type-options").as_deref(),
                    Some("nosniff"),
                    "{path}"
                );
                assert_eq!(
                    header("cache-control").as_deref(),
                    Some("no-store"),
                    "{path}"
                );
            }
            if path.starts_with("/dashboard") {
                let policy = header("content-security-policy").unwrap_or_default();
                assert!(policy.contains("default-src 'none'"), "{path}");
            }
        }
    }
}

async fn nobody_else_on_the_machine_reads_the_database(database: Database) {
    if matches!(database, Database::Postgres) {
        // Its files are the server's.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data");
    let file = place.join("herald.sqlite");
    let url = format!("sqlite:{}", file.display());
    // Made by an older version, for everybody.
    fs::create_dir(&place).unwrap();
    fs::write(&file, "").unwrap();
    for path in [&place, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let data = place.display().to_string();
    let app = TestApp::start(&url, &[("HERALD_DATA_DIR", &data)]).await;
    app.apply_catalogue(DEMO).await;
    let mode = |name: &str| fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        fs::metadata(&place).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for name in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&format!("herald.sqlite{name}")), 0o600, "{name}");
    }
    let check = || {
        let output = herald(&url, folder.path(), &["check", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = found["rows"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == "files").unwrap()
    };
    assert_eq!(check()["verdict"], "ok");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let row = check();
    assert_eq!(row["verdict"], "warning", "{row}");
    assert!(
        row["found"].as_str().unwrap().contains("herald.sqlite"),
        "{row}"
    );
}
