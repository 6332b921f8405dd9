//! One-time passwords that Herald makes, sends and checks, through the API.

use std::{path::Path, sync::Arc};

use herald::{
    domain::login::DashboardRole,
    engine::{runtime::retention::RetentionCleaner, verification},
    providers::ProviderRegistry,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli, dashboard,
    harness::{Database, TestApp, fresh_database},
    toy_channel::FileProvider,
};

crate::tests![
    a_code_is_sent_checked_once_and_found_nowhere_afterwards,
    a_wrong_code_leaves_tries_and_the_last_one_ends_it,
    a_code_expires_and_what_was_not_sent_is_cancelled,
    many_checks_at_once_get_no_more_tries_than_there_are,
    new_verifications_bring_no_new_tries,
    a_lock_ends_after_ten_minutes,
    too_many_codes_to_a_number_a_block_or_a_client_are_refused,
    a_resend_carries_the_same_code,
    what_is_not_delivered_in_time_goes_by_the_next_channel,
    what_fails_goes_by_the_next_channel_at_once,
    what_arrives_in_time_does_not_fall_back,
    a_request_says_what_is_wrong_with_it,
    a_repeated_request_makes_one_code,
    a_product_sees_its_own_verifications_only,
    an_erased_person_leaves_no_verification,
    what_is_old_is_deleted,
    a_clock_that_is_put_back_does_not_lengthen_a_code,
    statistics_show_the_conversion,
];

const MOBILE_MONEY: &str = include_str!("../../deploy/catalogues/mobile-money.toml");

async fn app(database: &Database) -> TestApp {
    app_with(database, &[]).await
}

/// A server whose limits of sends do not matter.
async fn generous(database: &Database) -> TestApp {
    app_with(
        database,
        &[
            ("HERALD_VERIFICATION_SENDS_PER_ADDRESS", "1000"),
            ("HERALD_VERIFICATION_SENDS_PER_PREFIX", "1000"),
        ],
    )
    .await
}

async fn app_with(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::spawn_with(database, settings, "").await;
    app.apply_catalogue(MOBILE_MONEY).await;
    app
}

fn request() -> Value {
    json!({ "to": "+12025550101", "template": "otp_verification", "reference": "sign-in-7" })
}

async fn start_with(app: &TestApp, body: &Value) -> Value {
    let (code, answer) = app.post("/api/v1/verifications", body).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

async fn start(app: &TestApp) -> String {
    id(&start_with(app, &request()).await)
}

fn id(verification: &Value) -> String {
    verification["id"].as_str().unwrap().to_owned()
}

async fn shown(app: &TestApp, id: &str) -> Value {
    let (code, answer) = app.get(&format!("/api/v1/verifications/{id}")).await;
    assert_eq!(code, 200, "{answer}");
    answer
}

async fn check(app: &TestApp, id: &str, code: &str) -> (u16, Value) {
    let path = format!("/api/v1/verifications/{id}/check");
    app.post(&path, &json!({ "code": code })).await
}

/// What a check says: its status and the tries that are left.
async fn result(app: &TestApp, id: &str, code: &str) -> (String, i64) {
    let (status, answer) = check(app, id, code).await;
    assert_eq!(status, 200, "{answer}");
    let word = answer["status"].as_str().unwrap().to_owned();
    (word, answer["tries_left"].as_i64().unwrap())
}

/// The code that the person was sent, in the message at this place.
fn sent_code(app: &TestApp, place: usize) -> String {
    let request = app.meta.request(place);
    let body = &request["template"]["components"][0]["parameters"][0]["text"];
    body.as_str().unwrap().to_owned()
}

/// A code that it certainly is not.
fn other_than(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

async fn turn(app: &TestApp) {
    while verification::turn(&app.engine, app.now()).await.unwrap() > 0 {}
}

async fn a_code_is_sent_checked_once_and_found_nowhere_afterwards(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    let pending = shown(&app, &id).await;
    assert_eq!(
        (
            &pending["status"],
            &pending["tries_left"],
            &pending["channel"]
        ),
        (&json!("pending"), &json!(3), &json!("whatsapp")),
        "{pending}"
    );
    assert_eq!(pending["purpose"], "otp_verification");
    app.send().await;
    let code = sent_code(&app, 0);
    assert!(code.len() == 6 && code.bytes().all(|it| it.is_ascii_digit()));
    // The copy button carries it as well.
    let button = &app.meta.request(0)["template"]["components"][1]["parameters"][0]["text"];
    assert_eq!(button, &json!(code));

    // People type what groups the digits, and zeros in front count.
    let typed = format!(" {} {} ", &code[..3], &code[3..]);
    assert_eq!(result(&app, &id, &typed).await, ("approved".to_owned(), 0));
    assert_eq!(result(&app, &id, &code).await, ("used".to_owned(), 0));
    let done = shown(&app, &id).await;
    assert_eq!(done["status"], "approved");
    assert!(done["ended_at"].is_string());

    for (table, columns) in [
        (
            "verification",
            "code_sealed || request || recipient || coalesce(reference, '')",
        ),
        (
            "notification",
            "params || coalesce(body, '') || coalesce(sealed, '')",
        ),
        ("attempt", "coalesce(request, '') || coalesce(answer, '')"),
        ("timeline", "coalesce(detail, '')"),
    ] {
        for text in app.texts(&format!("SELECT {columns} FROM {table}")).await {
            assert!(!text.contains(&code), "{table}: {text}");
        }
    }
    let sealed = "SELECT count(*) FROM notification WHERE sealed <> ''";
    assert_eq!(app.number(sealed).await, 0);
    let kept =
        "SELECT count(*) FROM verification WHERE code_sealed <> '' OR length(code_digest) > 0";
    assert_eq!(app.number(kept).await, 0);
    let (_, metrics) = app.text("/metrics").await;
    assert!(!metrics.contains(&code));
    // Whatever the database keeps beside its rows: the file and its write-ahead log.
    let (url, folder) = app.shut_down().await;
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.split('?').next().unwrap();
        let folder_of_file = Path::new(path).parent().unwrap();
        for entry in std::fs::read_dir(folder_of_file).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
            assert!(!bytes.windows(6).any(|it| it == code.as_bytes()));
        }
    }
    drop(folder);
}

async fn a_wrong_code_leaves_tries_and_the_last_one_ends_it(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    for left in [2, 1, 0] {
        let wrong = other_than(&code);
        assert_eq!(result(&app, &id, wrong).await, ("wrong".to_owned(), left));
    }
    assert_eq!(result(&app, &id, &code).await, ("too_many".to_owned(), 0));
    assert_eq!(shown(&app, &id).await["status"], "too_many");
    assert_eq!(
        app.texts("SELECT code_sealed FROM verification").await,
        [String::new()]
    );
    let (status, problem) = app
        .post(&format!("/api/v1/verifications/{id}/resend"), &json!({}))
        .await;
    assert_eq!(
        (status, &problem["detail"]),
        (409, &json!("no tries are left: start a new verification"))
    );
}

async fn a_code_expires_and_what_was_not_sent_is_cancelled(database: Database) {
    let app = app(&database).await;
    let mut body = request();
    body["expires_in"] = json!(60);
    let id = id(&start_with(&app, &body).await);
    app.pass(61);
    assert_eq!(result(&app, &id, "123456").await, ("expired".to_owned(), 0));
    assert_eq!(shown(&app, &id).await["status"], "expired");
    turn(&app).await;
    app.settle().await;
    let notification = shown(&app, &id).await["sends"][0]["notification_id"].clone();
    assert_eq!(
        app.status_of(notification.as_str().unwrap()).await,
        "cancelled"
    );
    assert_eq!(app.meta.requests.lock().unwrap().len(), 0);
    let kept = "SELECT count(*) FROM verification WHERE code_sealed <> ''";
    assert_eq!(app.number(kept).await, 0);

    // The same by hand.
    let id = start(&app).await;
    let path = format!("/api/v1/verifications/{id}");
    assert_eq!(app.request("DELETE", &path, &Value::Null).await.0, 204);
    assert_eq!(app.request("DELETE", &path, &Value::Null).await.0, 409);
    assert_eq!(shown(&app, &id).await["status"], "cancelled");
    assert_eq!(app.send().await, 0);
}

async fn many_checks_at_once_get_no_more_tries_than_there_are(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    let wrong = (0..20).map(|number| {
        let guess = format!("9{number:05}");
        let guess = if guess == code {
            "000000".to_owned()
        } else {
            guess
        };
        let (app, id) = (&app, &id);
        async move { result(app, id, &guess).await.0 }
    });
    let results = futures_util::future::join_all(wrong).await;
    let count = |word: &str| results.iter().filter(|it| *it == word).count();
    assert_eq!((count("wrong"), count("too_many")), (3, 17), "{results:?}");
    assert_eq!(result(&app, &id, &code).await.0, "too_many");
    assert_eq!(
        app.texts("SELECT CAST(tries AS text) FROM verification")
            .await,
        ["3"]
    );
}

async fn new_verifications_bring_no_new_tries(database: Database) {
    let app = generous(&database).await;
    let mut failures = 0;
    let mut locked = None;
    for _ in 0..8 {
        let id = start(&app).await;
        for _ in 0..3 {
            match check(&app, &id, "zzzzzz").await {
                (200, answer) => {
                    assert_eq!(answer["status"], "wrong");
                    failures += 1;
                }
                (status, problem) => {
                    assert_eq!(status, 429, "{problem}");
                    assert_eq!(problem["type"], "/problems/limited");
                    locked = Some(problem);
                }
            }
        }
    }
    assert_eq!(failures, 10, "the tenth locks");
    assert!(locked.is_some());
    // Another purpose, and another number, are not locked by it.
    for (field, value) in [("purpose", "payment"), ("to", "+12025550177")] {
        let mut body = request();
        body[field] = json!(value);
        let id = id(&start_with(&app, &body).await);
        assert_eq!(result(&app, &id, "zzzzzz").await.0, "wrong");
    }
}

async fn a_lock_ends_after_ten_minutes(database: Database) {
    let settings = [("HERALD_VERIFICATION_FAILURES_PER_HOUR", "2")];
    let app = app_with(&database, &settings).await;
    let id = start(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    for _ in 0..2 {
        assert_eq!(result(&app, &id, other_than(&code)).await.0, "wrong");
    }
    let response = app
        .http
        .post(format!("{}/api/v1/verifications/{id}/check", app.base))
        .bearer_auth(&app.key)
        .json(&json!({ "code": code }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "600");
    // It is reported.
    let (_, problems) = app.text("/metrics").await;
    assert!(problems.contains("herald_verification_checks_total"));
    app.pass(240);
    assert_eq!(check(&app, &id, &code).await.0, 429);
    app.pass(361);
    let mut later = request();
    later["expires_in"] = json!(600);
    let id = self::id(&start_with(&app, &later).await);
    app.send().await;
    let code = sent_code(&app, 1);
    assert_eq!(result(&app, &id, &code).await.0, "approved");
}

async fn too_many_codes_to_a_number_a_block_or_a_client_are_refused(database: Database) {
    let app = app(&database).await;
    let to = |number: &str, client: Option<&str>| {
        let mut body = request();
        body["to"] = json!(number);
        if let Some(client) = client {
            body["client_address"] = json!(client);
        }
        body
    };
    for _ in 0..5 {
        start(&app).await;
    }
    let (status, problem) = app.post("/api/v1/verifications", &request()).await;
    assert_eq!(
        (status, &problem["detail"]),
        (429, &json!("too many codes were sent to this address"))
    );
    assert_eq!(problem["retryable"], true);
    // Nothing of it is left.
    assert_eq!(app.number("SELECT count(*) FROM verification").await, 5);
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 5);
    let neighbour = to("+12025550102", None);
    let (status, problem) = app.post("/api/v1/verifications", &neighbour).await;
    assert_eq!(
        (status, &problem["detail"]),
        (
            429,
            &json!("too many codes were sent to numbers that begin like this one")
        )
    );
    app.pass(600);
    start(&app).await;

    // One client, however many numbers, and one network of IPv6 is one client.
    for (place, number) in [
        "+12125550101",
        "+12135550101",
        "+12145550101",
        "+12155550101",
        "+12165550101",
    ]
    .into_iter()
    .enumerate()
    {
        start_with(&app, &to(number, Some(&format!("2001:db8:1:2::{place}")))).await;
    }
    let sixth = to("+12175550101", Some("2001:db8:1:2:ffff::1"));
    let (status, problem) = app.post("/api/v1/verifications", &sixth).await;
    assert_eq!(
        (status, &problem["detail"]),
        (
            429,
            &json!("too many codes were sent for this client address")
        )
    );
    start_with(&app, &to("+12175550101", Some("2001:db8:1:3::1"))).await;
}

async fn a_resend_carries_the_same_code(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    assert_eq!(result(&app, &id, other_than(&code)).await.1, 2);
    app.pass(30);
    let path = format!("/api/v1/verifications/{id}/resend");
    for _ in 0..2 {
        // A repeat with the same key sends nothing.
        let (status, again) = app.post_with_key(&path, &json!({}), "again").await;
        assert_eq!(status, 200, "{again}");
        assert_eq!(again["sends"].as_array().unwrap().len(), 2);
        assert_eq!(again["tries_left"], 2, "tries do not begin anew");
    }
    app.send().await;
    assert_eq!(sent_code(&app, 1), code);
    let (status, problem) = app.post(&path, &json!({ "channel": "sms" })).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &json!("/channel"))
    );
    assert_eq!(result(&app, &id, &code).await.0, "approved");
}

/// A server with a second channel, whose messages are lines of a file.
async fn two_channels(database: &Database, folder: &Path) -> TestApp {
    let url = fresh_database(database, folder).await;
    let providers = ProviderRegistry::standard().with(Arc::new(FileProvider));
    let app = TestApp::start_with(&url, &[], providers).await;
    app.apply_catalogue(MOBILE_MONEY).await;
    let sender = json!({
        "name": "lines", "kind": "file", "endpoint_id": "lines",
        "settings": { "path": folder.join("sent.txt") },
    });
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    app
}

async fn by_both(app: &TestApp) -> String {
    let mut body = request();
    body["channels"] = json!(["whatsapp", "sms"]);
    body["fallback_after"] = json!(20);
    id(&start_with(app, &body).await)
}

/// Sends what is due by the second channel, and returns its lines.
async fn lines(app: &TestApp, folder: &Path) -> String {
    let ring = app.engine.keyring();
    let sender = ring
        .accounts
        .iter()
        .find(|it| it.name == "lines")
        .unwrap()
        .id;
    let provider = app.engine.provider(sender).unwrap();
    let turn =
        herald::engine::delivery::turn(&app.engine, provider.as_ref(), sender, 10, app.now());
    turn.await.unwrap();
    std::fs::read_to_string(folder.join("sent.txt")).unwrap_or_default()
}

async fn what_is_not_delivered_in_time_goes_by_the_next_channel(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = two_channels(&database, folder.path()).await;
    let id = by_both(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    turn(&app).await;
    assert!(lines(&app, folder.path()).await.is_empty());
    app.pass(20);
    turn(&app).await;
    let sent = lines(&app, folder.path()).await;
    assert!(sent.contains(&code), "the same code: {sent}");
    let pending = shown(&app, &id).await;
    assert_eq!(pending["channel"], "sms");
    assert_eq!(pending["fallback_at"], Value::Null, "no channel is left");
    let sends = pending["sends"].as_array().unwrap();
    let by: Vec<&Value> = sends.iter().map(|send| &send["channel"]).collect();
    assert_eq!(by, [&json!("whatsapp"), &json!("sms")]);
    // A late receipt changes nothing: the code is the same.
    let first = sends[0]["notification_id"].as_str().unwrap();
    app.told(first, "delivered", None).await;
    turn(&app).await;
    assert_eq!(lines(&app, folder.path()).await.lines().count(), 1);
    assert_eq!(result(&app, &id, &code).await.0, "approved");
    app.shut_down().await;
}

async fn what_fails_goes_by_the_next_channel_at_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = two_channels(&database, folder.path()).await;
    let id = by_both(&app).await;
    app.send().await;
    let first = shown(&app, &id).await["sends"][0]["notification_id"].clone();
    app.told(first.as_str().unwrap(), "failed", Some(131_026))
        .await;
    app.pass(15);
    app.settle().await;
    assert_eq!(app.status_of(first.as_str().unwrap()).await, "failed");
    let sent = &shown(&app, &id).await["sends"][0];
    assert!(sent["reason"].as_str().unwrap().len() > 10, "{sent}");
    turn(&app).await;
    assert!(
        lines(&app, folder.path())
            .await
            .contains(&sent_code(&app, 0))
    );
    app.shut_down().await;
}

async fn what_arrives_in_time_does_not_fall_back(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let app = two_channels(&database, folder.path()).await;
    let id = by_both(&app).await;
    app.send().await;
    let first = shown(&app, &id).await["sends"][0]["notification_id"].clone();
    app.pass(5);
    app.told(first.as_str().unwrap(), "delivered", None).await;
    app.pass(60);
    turn(&app).await;
    assert!(lines(&app, folder.path()).await.is_empty());
    assert_eq!(shown(&app, &id).await["fallback_at"], Value::Null);
    // What the limits refuse does not fall back either, and is not tried for ever.
    app.pass(600);
    let id = by_both(&app).await;
    for _ in 0..4 {
        let path = format!("/api/v1/verifications/{id}/resend");
        assert_eq!(app.post(&path, &json!({})).await.0, 200);
    }
    app.pass(20);
    turn(&app).await;
    assert_eq!(shown(&app, &id).await["sends"].as_array().unwrap().len(), 5);
    app.shut_down().await;
}

async fn a_request_says_what_is_wrong_with_it(database: Database) {
    let app = app(&database).await;
    for (field, value, pointer, rule) in [
        (
            "to",
            json!("group:Sales Team"),
            "/to",
            "one person: a number, contact:NAME or user:NAME",
        ),
        (
            "to",
            json!("contact:unknown"),
            "/to",
            "there is no contact unknown",
        ),
        (
            "template",
            json!("unknown"),
            "/template",
            "there is no template of this name",
        ),
        (
            "template",
            json!("kyc_approved"),
            "/template",
            "a template of the category authentication",
        ),
        ("length", json!(5), "/length", "6 to 8"),
        ("length", json!(9), "/length", "6 to 8"),
        ("expires_in", json!(601), "/expires_in", "30 to 600 seconds"),
        (
            "fallback_after",
            json!(1),
            "/fallback_after",
            "5 to 600 seconds",
        ),
        (
            "code",
            json!("12345"),
            "/code",
            "6 to 8 digits or Latin letters",
        ),
        ("channels", json!([]), "/channels", "at least one channel"),
        (
            "channels",
            json!(["fax"]),
            "/channels/0",
            "whatsapp, email, sms, push, in_app or webhook",
        ),
        (
            "channels",
            json!(["whatsapp", "sms"]),
            "/channels/1",
            "no sender serves this channel",
        ),
        (
            "channels",
            json!(["whatsapp", "whatsapp"]),
            "/channels/1",
            "each channel once: a resend is a request of its own",
        ),
        (
            "channels",
            json!(["whatsapp", "email"]),
            "/channels/1",
            "e-mail must be allowed by `allow_email`: it does not prove who holds the phone",
        ),
        (
            "client_address",
            json!("10.0.0.1:80"),
            "/client_address",
            "an IPv4 or IPv6 address, without a port",
        ),
        ("purpose", json!(""), "/purpose", "1 to 64 bytes"),
        (
            "sender",
            json!("unknown"),
            "/sender",
            "no sender has this name",
        ),
        (
            "params",
            json!({ "code": "123456" }),
            "/params/code",
            "the code is not a parameter: `code` is your own",
        ),
        (
            "params",
            json!({ "name": "Asha" }),
            "/params/name",
            "the template has no such parameter",
        ),
    ] {
        let mut body = request();
        body[field] = value;
        let (status, problem) = app.post("/api/v1/verifications", &body).await;
        assert_eq!(status, 422, "{field}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        assert!(
            errors.contains(&json!({ "pointer": pointer, "rule": rule })),
            "{field}: {problem}"
        );
    }
    // A code is never a number: zeros in front would be lost.
    let mut body = request();
    body["code"] = json!(12_345_678);
    let (status, problem) = app.post("/api/v1/verifications", &body).await;
    assert_eq!(status, 400, "{problem}");
    assert!(!problem.to_string().contains("12345678"), "{problem}");
    let id = start(&app).await;
    let path = format!("/api/v1/verifications/{id}/check");
    let (status, problem) = app.post(&path, &json!({ "code": 123_456 })).await;
    assert_eq!(status, 400, "{problem}");
    assert!(!problem.to_string().contains("123456"), "{problem}");
    let unknown = Uuid::new_v4();
    assert_eq!(check(&app, &unknown.to_string(), "123456").await.0, 404);

    // An own code, and no key to seal it with.
    let mut body = request();
    body["code"] = json!("A7K2QX");
    let own = id_of(&start_with(&app, &body).await);
    assert_eq!(result(&app, &own, "A7K2QX").await.0, "approved");
}

fn id_of(verification: &Value) -> String {
    id(verification)
}

async fn a_repeated_request_makes_one_code(database: Database) {
    let app = app(&database).await;
    let (status, first) = app
        .post_with_key("/api/v1/verifications", &request(), "once")
        .await;
    assert_eq!(status, 201, "{first}");
    let (status, second) = app
        .post_with_key("/api/v1/verifications", &request(), "once")
        .await;
    assert_eq!((status, &second["id"]), (200, &first["id"]));
    let mut other = request();
    other["length"] = json!(8);
    let (status, problem) = app
        .post_with_key("/api/v1/verifications", &other, "once")
        .await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(app.number("SELECT count(*) FROM notification").await, 1);
}

async fn a_product_sees_its_own_verifications_only(database: Database) {
    let app = app(&database).await;
    let of_all = start(&app).await;
    let body = json!({
        "product": "wallet", "source": "mobile-money", "catalogue": "mobile-money",
        "scopes": ["verifications:read", "verifications:write"],
    });
    let (status, key) = app.admin("POST", "/api/v1/keys", &body).await;
    assert_eq!(status, 201, "{key}");
    let asks = |method: reqwest::Method, path: String, body: Value| {
        let request = app
            .http
            .request(method, format!("{}{path}", app.base))
            .bearer_auth(key["key"].as_str().unwrap())
            .json(&body);
        async move {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json::<Value>().await.unwrap_or_default())
        }
    };
    let path = format!("/api/v1/verifications/{of_all}");
    assert_eq!(
        asks(reqwest::Method::GET, path.clone(), Value::Null)
            .await
            .0,
        404
    );
    let guess = json!({ "code": "123456" });
    assert_eq!(
        asks(reqwest::Method::POST, format!("{path}/check"), guess)
            .await
            .0,
        404
    );
    assert_eq!(shown(&app, &of_all).await["tries_left"], 3);
    let (status, own) = asks(
        reqwest::Method::POST,
        "/api/v1/verifications".to_owned(),
        request(),
    )
    .await;
    assert_eq!(status, 201, "{own}");
    let path = format!("/api/v1/verifications/{}", id(&own));
    assert_eq!(asks(reqwest::Method::GET, path, Value::Null).await.0, 200);
}

async fn an_erased_person_leaves_no_verification(database: Database) {
    let app = app(&database).await;
    start(&app).await;
    let recipients = app.texts("SELECT recipient FROM verification").await;
    assert_eq!(recipients, ["+12025550101"]);
    let (_, found) = app.get("/api/v1/contacts?phone=%2B12025550101").await;
    let contact = found["id"].as_str().unwrap().to_owned();
    let (status, answer) = app
        .admin(
            "DELETE",
            &format!("/api/v1/contacts/{contact}"),
            &Value::Null,
        )
        .await;
    assert!(matches!(status, 200 | 202 | 204), "{status} {answer}");
    assert_eq!(app.number("SELECT count(*) FROM verification").await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM verification_send").await,
        0
    );
    for subject in app.texts("SELECT times FROM verification_limit").await {
        assert!(!subject.contains("2025550101"));
    }
}

async fn what_is_old_is_deleted(database: Database) {
    let app = app(&database).await;
    start(&app).await;
    let mut cleaner = RetentionCleaner::default();
    app.pass(3 * 60 * 60);
    turn(&app).await;
    app.settle().await;
    cleaner.turn(&app.engine, app.now()).await.unwrap();
    assert_eq!(
        app.number("SELECT count(*) FROM verification_limit").await,
        0
    );
    assert_eq!(app.number("SELECT count(*) FROM verification").await, 1);
    app.pass(400 * 24 * 60 * 60);
    while cleaner.turn(&app.engine, app.now()).await.unwrap() > 0 {}
    assert_eq!(app.number("SELECT count(*) FROM verification").await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM verification_send").await,
        0
    );
}

async fn a_clock_that_is_put_back_does_not_lengthen_a_code(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    app.send().await;
    let code = sent_code(&app, 0);
    app.pass(-24 * 60 * 60);
    assert_eq!(result(&app, &id, &code).await.0, "expired");
    // And blocks nobody until it catches up.
    for _ in 0..5 {
        start(&app).await;
    }
}

async fn statistics_show_the_conversion(database: Database) {
    let app = app(&database).await;
    let id = start(&app).await;
    app.send().await;
    let path = format!("/api/v1/verifications/{id}/resend");
    assert_eq!(app.post(&path, &json!({})).await.0, 200);
    let other = start(&app).await;
    let code = sent_code(&app, 0);
    assert_eq!(result(&app, &id, &code).await.0, "approved");
    for _ in 0..3 {
        result(&app, &other, "zzzzzz").await;
    }
    start(&app).await;
    let stats = app.stats().await;
    assert_eq!(
        stats["verifications"],
        json!({ "started": 3, "sent": 4, "approved": 1, "expired": 0, "too_many": 1, "cancelled": 0, "conversion": 0.3333 })
    );
    // The same on the command line, and on the overview.
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "stats",
        "--since",
        "2025-12-20T00:00:00Z",
        "--until",
        "2026-01-20T00:00:00Z",
    ];
    let shown = cli::text(&cli::herald(&app.database_url, folder.path(), &words));
    let line = "3 one-time passwords: 1 approved (33.3 %), 1 pending, 0 expired, 1 ended by wrong codes, 0 cancelled; 4 messages";
    assert!(shown.contains(line), "{shown}");
    let mut browser = dashboard::somebody(&app, "ada", DashboardRole::Viewer).await;
    let page = browser.get("/dashboard").await;
    assert!(
        page.says("<div><dt>approved</dt><dd>1 (33.3 %)</dd></div>"),
        "{}",
        page.text
    );
}
