//! `herald check`: each thing that can be wrong is told apart, against the sandbox.

use herald::{engine::runtime::heartbeat, sandbox::ACCOUNT_ID, state::Clock};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    cli::{command, text},
    harness::{
        APP_SECRET, DEMO, Database, PHONE_NUMBER_ID, Played, VERIFY_TOKEN, fresh_database, play,
    },
};

crate::tests![
    all_is_well_and_nothing_secret_is_printed,
    what_is_wrong_at_meta_is_told_apart,
    what_is_wrong_here_is_told_apart,
    a_proxy_that_is_not_trusted_is_warned_about,
    a_token_that_was_replaced_has_expired,
    sending_that_is_switched_off_is_no_failure,
    templates_of_one_status_are_one_row_with_our_command,
    a_send_looks_at_its_own_sender_only,
    a_test_send_checks_asks_sends_and_follows,
    a_schema_that_is_old_and_a_database_that_is_away_are_said,
];

const TOKEN: &str = "sandbox-token-for-the-check-1234567890";

async fn ready(database: &Database) -> Played {
    let played = play(database, TOKEN, &[]).await;
    played.app.apply_catalogue(DEMO).await;
    for worker in heartbeat::WORKERS {
        heartbeat::beat(&played.app.engine, worker, Clock::System.now())
            .await
            .unwrap();
    }
    played
}

impl Played {
    /// Runs the check with some settings changed. Its exit code and its answer.
    fn check(&self, words: &[&str], settings: &[(&str, &str)]) -> (i32, String) {
        let words: Vec<&str> = ["check"].iter().chain(words).copied().collect();
        let mut command = command(&self.app.database_url, self.folder.path(), &words);
        command
            .env("HERALD_PUBLIC_URL", &self.app.base)
            .env("WHATSAPP_API_BASE", &self.sandbox)
            .env("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID)
            .env("WHATSAPP_WABA_ID", ACCOUNT_ID)
            .env("WHATSAPP_ACCESS_TOKEN", TOKEN)
            .env("WHATSAPP_APP_SECRET", APP_SECRET)
            .env("WHATSAPP_WEBHOOK_VERIFY_TOKEN", VERIFY_TOKEN);
        for (name, value) in settings {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), text(&output))
    }

    /// What is not well, as `name: found`, and the exit code. The PostgreSQL of the tests
    /// runs without fsync, which the check says each time: it is looked at here, and left out.
    async fn wrong(&self, settings: &[(&str, &str)]) -> (i32, Vec<String>) {
        // The probe of the check before.
        self.app.process().await;
        let (code, answer) = self.check(&["--strict", "--json"], settings);
        let document: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        let rows = document["rows"].as_array().unwrap();
        let mut wrong: Vec<String> = rows
            .iter()
            .filter(|row| row["verdict"] == "failed" || row["verdict"] == "warning")
            .map(|row| {
                assert!(row["remedy"].as_str().unwrap().len() > 10, "{row}");
                format!(
                    "{}: {}",
                    row["name"].as_str().unwrap(),
                    row["found"].as_str().unwrap()
                )
            })
            .collect();
        if self.app.store.is_sqlite() {
            return (code, wrong);
        }
        assert_eq!(code, 3, "{wrong:?}");
        let lost = wrong.remove(0);
        assert!(
            lost.starts_with("durability: What is committed may be lost: fsync = off"),
            "{lost}"
        );
        let of = |area: &str, verdict: &str| {
            rows.iter().any(|row| {
                row["area"] == area && row["verdict"] == verdict && row["name"] != "durability"
            })
        };
        let code = match (of("ours", "failed"), of("provider", "failed")) {
            (true, _) => 3,
            (false, true) => 4,
            _ if wrong.is_empty() => 0,
            _ => 5,
        };
        (code, wrong)
    }

    async fn sandbox(&self, path: &str, body: &Value) {
        let answer = self
            .app
            .http
            .post(format!("{}/sandbox/{path}", self.sandbox))
            .json(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{body}");
    }
}

async fn all_is_well_and_nothing_secret_is_printed(database: Database) {
    let checked = ready(&database).await;
    let (code, wrong) = checked.wrong(&[]).await;
    assert_eq!((code, wrong), (0, Vec::new()));
    checked.app.process().await;
    let (code, answer) = checked.check(&["--strict"], &[]);
    if database == Database::Sqlite {
        assert_eq!(code, 0, "{answer}");
        assert!(answer.contains("VALID: all is well."), "{answer}");
    }
    for words in [
        "sandbox-…890",
        "The access token is valid and does not expire.",
        "/webhooks/meta can be reached, and accepts the verify token.",
        "/webhooks/meta can be reached, and accepts the app secret.",
        "This app gets the account's callbacks.",
        "The app secret is this app's.",
        "All 6 templates of the catalogues are approved.",
        "Callbacks go to",
        "for sending",
    ] {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    for secret in [TOKEN, APP_SECRET, VERIFY_TOKEN] {
        assert!(!answer.contains(secret), "{answer}");
    }
    // What the probe left behind says nothing to anybody.
    checked.app.process().await;
    assert_eq!(
        checked.app.number("SELECT count(*) FROM dead_letter").await,
        0
    );
}

async fn what_is_wrong_at_meta_is_told_apart(database: Database) {
    let checked = ready(&database).await;
    let elsewhere = "https://example.org/hook";
    for (broken, code, expected) in [
        (
            json!({ "scopes": ["whatsapp_business_management"] }),
            4,
            "scopes: The access token lacks whatsapp_business_messaging",
        ),
        (
            json!({ "scopes": ["whatsapp_business_messaging"] }),
            5,
            "scopes: The access token lacks whatsapp_business_management",
        ),
        (
            json!({ "expires_at": Clock::System.now().unix_seconds() + 3_600 }),
            5,
            "token: The access token is valid, and expires at",
        ),
        (
            json!({ "subscribed": false }),
            4,
            "subscribed: This app does not get",
        ),
        (
            json!({ "callback_of_number": elsewhere }),
            4,
            "callback: Callbacks go to https://example.org/hook (set at the number)",
        ),
        (
            json!({ "callback_of_account": elsewhere }),
            4,
            "callback: Callbacks go to https://example.org/hook (set at the account)",
        ),
        (
            json!({ "callback_of_app": elsewhere }),
            4,
            "callback: Callbacks go to https://example.org/hook (set at the app)",
        ),
        (
            json!({ "callback_of_app": null }),
            4,
            "callback: Meta has no address",
        ),
        (
            json!({ "fields": ["message_template_status_update", "template_category_update", "phone_number_quality_update", "account_update"] }),
            4,
            "fields: The app is not subscribed to messages",
        ),
        (
            json!({ "fields": ["messages", "message_template_status_update", "template_category_update", "account_update"] }),
            5,
            "fields: The app is not subscribed to phone_number_quality_update",
        ),
        (
            json!({ "active": false }),
            4,
            "fields: The app's subscription is not active",
        ),
        (
            json!({ "templates": { "order_confirmation": "PAUSED" } }),
            5,
            "templates: The template order_confirmation (en_US) is paused",
        ),
        (
            json!({ "templates": { "order_confirmation": null } }),
            5,
            "templates: The account has no template order_confirmation (en_US)",
        ),
        (
            json!({ "number_status": "RESTRICTED" }),
            4,
            "number: The number is restricted",
        ),
        (
            json!({ "quality": "RED" }),
            5,
            "quality: The number's quality is red",
        ),
        (
            json!({ "can_send": "BLOCKED", "error": { "entity": "WABA", "code": 141_000, "description": "The account is restricted" } }),
            4,
            "account: Meta reports for the waba: The account is restricted (code 141000)",
        ),
        (
            json!({ "can_send": "LIMITED", "error": { "entity": "BUSINESS", "code": 131_042, "description": "No payment method" } }),
            5,
            "payment: Meta reports for the business: No payment method",
        ),
        (
            json!({ "can_send": "BLOCKED" }),
            4,
            "account: Meta blocks the sending",
        ),
        (
            json!({ "clock_seconds": -3_600 }),
            5,
            "clock: This machine's clock and Meta's differ by 3",
        ),
    ] {
        checked.sandbox("account", &broken).await;
        let (found_code, wrong) = checked.wrong(&[]).await;
        assert_eq!(wrong.len(), 1, "{broken}: {wrong:?}");
        assert!(wrong[0].starts_with(expected), "{wrong:?}");
        assert_eq!(found_code, code, "{wrong:?}");
        // Well again.
        let own = format!("{}/webhooks/meta", checked.app.base);
        let fields = json!([
            "messages",
            "message_template_status_update",
            "template_category_update",
            "phone_number_quality_update",
            "account_update"
        ]);
        let healthy = json!({
            "scopes": ["whatsapp_business_messaging", "whatsapp_business_management"], "expires_at": 0,
            "subscribed": true, "callback_of_number": null, "callback_of_account": null, "callback_of_app": own,
            "fields": fields, "active": true, "templates": { "order_confirmation": "APPROVED" },
            "number_status": "CONNECTED", "quality": "GREEN", "can_send": "AVAILABLE", "error": null, "clock_seconds": 0,
        });
        checked.sandbox("account", &healthy).await;
    }
    // Without --strict, a warning is no failure.
    checked
        .sandbox("account", &json!({ "quality": "RED" }))
        .await;
    checked.app.process().await;
    let (code, answer) = checked.check(&[], &[]);
    if database == Database::Sqlite {
        assert_eq!(code, 0, "{answer}");
        assert!(answer.contains("VALID, with 1 warning."), "{answer}");
    }
}

/// A server that answers 200 to whatever comes.
async fn everything_is_fine() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine";
                    let _gone = stream.write_all(answer).await;
                }
            });
        }
    });
    format!("http://{address}")
}

async fn what_is_wrong_here_is_told_apart(database: Database) {
    let checked = ready(&database).await;
    for (settings, code, expected) in [
        (
            vec![("WHATSAPP_ACCESS_TOKEN", "another-token-1234567890")],
            4,
            vec!["token: Meta does not know the access token"],
        ),
        (
            vec![("WHATSAPP_ACCESS_TOKEN", "")],
            3,
            vec!["sender_held: ", "token: WhatsApp is not configured"],
        ),
        (
            vec![("WHATSAPP_APP_SECRET", "another-app-secret-1234")],
            3,
            vec![
                "signed_post: /webhooks/meta can be reached, but refuses the app secret",
                "app_secret: Meta does not accept the app secret",
            ],
        ),
        (
            vec![("WHATSAPP_APP_SECRET", "")],
            3,
            vec!["app_secret: The app secret is not known"],
        ),
        (
            vec![("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "another-verify-token-1")],
            3,
            vec!["handshake: /webhooks/meta can be reached, but refuses the verify token"],
        ),
        (
            vec![("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "short")],
            3,
            vec!["verify_token: The verify token is short", "handshake: "],
        ),
        (
            vec![("WHATSAPP_API_BASE", "http://127.0.0.1:9")],
            4,
            vec!["reachable: Meta's Graph API cannot be reached"],
        ),
    ] {
        let (found_code, wrong) = checked.wrong(&settings).await;
        let fits = wrong.len() == expected.len()
            && expected
                .iter()
                .all(|expected| wrong.iter().any(|wrong| wrong.starts_with(expected)));
        assert!(fits, "{settings:?}: {wrong:?}");
        assert_eq!(found_code, code, "{settings:?}: {wrong:?}");
    }
    let (code, wrong) = checked
        .wrong(&[("HERALD_PUBLIC_URL", "http://127.0.0.1:9")])
        .await;
    assert_eq!(code, 3);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].starts_with("handshake: /webhooks/meta cannot be reached"));
    assert!(
        wrong[2].starts_with("callback: Callbacks go to"),
        "{wrong:?}"
    );
    let (code, wrong) = checked
        .wrong(&[("HERALD_PUBLIC_URL", &checked.sandbox)])
        .await;
    assert_eq!(code, 3);
    assert!(wrong[0].contains("answers HTTP 401"), "{wrong:?}");
    // A page of a hosting company says 200 to everything.
    let page = everything_is_fine().await;
    let settings = [
        ("HERALD_PUBLIC_URL", page.as_str()),
        ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", ""),
    ];
    let (code, wrong) = checked.wrong(&settings).await;
    assert_eq!(code, 3, "{wrong:?}");
    assert!(
        wrong
            .iter()
            .any(|row| row.starts_with("signed_post: Another server than Herald answers")),
        "{wrong:?}"
    );
    let (code, wrong) = checked.wrong(&[("HERALD_PUBLIC_URL", "")]).await;
    assert_eq!(code, 5);
    assert!(
        wrong[0].starts_with("public_url: HERALD_PUBLIC_URL is not set"),
        "{wrong:?}"
    );
    // A worker that was seen long ago.
    let old = Clock::System.now().plus_seconds(-120);
    heartbeat::beat(&checked.app.engine, "apply", old)
        .await
        .unwrap();
    let (code, wrong) = checked.wrong(&[]).await;
    assert_eq!(code, 3);
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("workers: It has had no heartbeat for 12"),
        "{wrong:?}"
    );
    heartbeat::gone(&checked.app.engine, "apply").await.unwrap();
    let (code, wrong) = checked.wrong(&[]).await;
    assert_eq!(code, 5);
    assert!(wrong[0].starts_with("workers: No server runs"), "{wrong:?}");
    heartbeat::beat(&checked.app.engine, "apply", Clock::System.now())
        .await
        .unwrap();
    // What the pages show is found here as well.
    checked
        .app
        .callback(json!({ "statuses": [{ "id": "wamid.X" }] }))
        .await;
    let (code, wrong) = checked.wrong(&[]).await;
    assert_eq!(code, 5);
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("dead_letters: 1 items"),
        "{wrong:?}"
    );
    // Settings that cannot be read are all named.
    let (code, answer) = checked.check(
        &[],
        &[
            ("HERALD_PUBLIC_URL", "example.org"),
            ("HERALD_SEND_TRIES", "many"),
        ],
    );
    assert_eq!(code, 2);
    assert!(
        answer.contains("HERALD_PUBLIC_URL: starts with https")
            && answer.contains("HERALD_SEND_TRIES"),
        "{answer}"
    );
}

async fn a_proxy_that_is_not_trusted_is_warned_about(database: Database) {
    let checked = ready(&database).await;
    let proxy = proxy_before(&checked.app.base).await;
    let (_, wrong) = checked.wrong(&[("HERALD_PUBLIC_URL", &proxy)]).await;
    let warned =
        "trusted_proxies: Requests arrive through a proxy that is not in HERALD_TRUSTED_PROXIES";
    assert!(wrong.iter().any(|row| row.starts_with(warned)), "{wrong:?}");
}

/// A proxy that names its client, and makes a connection for each request. Its address.
async fn proxy_before(base: &str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = base.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(upstream).await.unwrap();
                let mut line = Vec::new();
                while !line.ends_with(b"\r\n") {
                    match client.read_u8().await {
                        Ok(byte) => line.push(byte),
                        Err(_) => return,
                    }
                }
                line.extend(b"X-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n");
                server.write_all(&line).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    format!("http://{address}")
}

async fn a_token_that_was_replaced_has_expired(database: Database) {
    let checked = ready(&database).await;
    checked
        .sandbox("number", &json!({ "token": "the-next-token-1234567890" }))
        .await;
    let (code, wrong) = checked.wrong(&[]).await;
    assert_eq!(code, 4);
    assert_eq!(wrong, ["token: The access token has expired."]);
    checked.app.process().await;
    let (_, answer) = checked.check(&[], &[]);
    assert!(
        answer.contains("Test tokens are valid for 60 minutes"),
        "{answer}"
    );
    let failed = match database {
        Database::Sqlite => "NOT VALID: 1 thing fails, 0 warnings.",
        Database::Postgres => "NOT VALID: 2 things fail, 0 warnings.",
    };
    assert!(answer.contains(failed), "{answer}");
    let (code, _) = checked
        .wrong(&[("WHATSAPP_ACCESS_TOKEN", "the-next-token-1234567890")])
        .await;
    assert_eq!(code, 0);
}

async fn a_schema_that_is_old_and_a_database_that_is_away_are_said(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let check = |url: &str| {
        let output = command(url, folder.path(), &["check"]).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    };
    let (code, answer) = check(&url);
    assert_eq!(code, 3, "{answer}");
    assert!(
        answer.contains("The schema is older than this program."),
        "{answer}"
    );
    assert!(answer.contains("-> herald migrate up"), "{answer}");
    let away = match database {
        Database::Sqlite => format!("sqlite:{}/file/herald.sqlite", folder.path().display()),
        Database::Postgres => "postgres://nobody:secret-word@127.0.0.1:9/none".to_owned(),
    };
    std::fs::write(folder.path().join("file"), "no folder").unwrap();
    let (code, answer) = check(&away);
    assert_eq!(code, 3, "{answer}");
    assert!(answer.contains("The database cannot be used"), "{answer}");
    assert!(!answer.contains("secret-word"), "{answer}");
}

/// `herald send` against a server that runs on its own: the check, the question, the story.
async fn a_test_send_checks_asks_sends_and_follows(database: Database) {
    let checked = ready(&database).await;
    let send = |words: &[&str], answer: &str, settings: &[(&str, &str)]| {
        let words: Vec<&str> = ["send"].iter().chain(words).copied().collect();
        let mut command = command(&checked.app.database_url, checked.folder.path(), &words);
        let file = checked.folder.path().join("answer");
        std::fs::write(&file, answer).unwrap();
        command
            .stdin(std::fs::File::open(&file).unwrap())
            .env("WHATSAPP_API_BASE", &checked.sandbox)
            .env("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID)
            .env("WHATSAPP_WABA_ID", ACCOUNT_ID)
            .env("WHATSAPP_ACCESS_TOKEN", TOKEN)
            .env("WHATSAPP_APP_SECRET", APP_SECRET)
            .env("WHATSAPP_WEBHOOK_VERIFY_TOKEN", VERIFY_TOKEN);
        for (name, value) in settings {
            command.env(name, value);
        }
        command
    };
    let run = |words: &[&str], answer: &str, settings: &[(&str, &str)]| {
        let output = send(words, answer, settings).output().unwrap();
        (output.status.code().unwrap(), text(&output))
    };
    let order = [
        "user:tariro",
        "--template",
        "order_confirmation",
        "--param",
        "customer_name=Asha",
        "--param",
        "order_number=A-17",
    ];
    // Whoever says no, or nothing, sends nothing.
    for answer in ["n\n", "", "yes please\n"] {
        let (code, said) = run(&order, answer, &[]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("Send the template order_confirmation to Tariro"),
            "{said}"
        );
        assert!(
            said.contains("Nothing was sent.") && !said.contains("2025550191"),
            "{said}"
        );
    }
    for (words, why) in [
        (
            vec!["user:nobody", "--text", "x"],
            "there is no user nobody",
        ),
        (
            vec!["user:new-colleague", "--text", "x"],
            "is not linked to a contact",
        ),
        (
            vec!["contact:nobody", "--text", "x"],
            "there is no contact nobody",
        ),
        (vec!["group:Technical Admin", "--text", "x"], "one person"),
        (vec!["12", "--text", "x"], "country code"),
        (
            vec!["+12025550101", "--yes", "--template", "unknown"],
            "template",
        ),
        (
            vec!["+12025550101", "--yes", "--template", "order_confirmation"],
            "params",
        ),
    ] {
        let (code, said) = run(&words, "y\n", &[]);
        assert_eq!(code, 1, "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
    }
    // What stands in the way is said before anybody is asked.
    let (code, said) = run(
        &order,
        "y\n",
        &[("WHATSAPP_ACCESS_TOKEN", "another-token-1234567890")],
    );
    assert_eq!(code, 1);
    assert!(
        said.contains("Meta does not know the access token") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(
        checked
            .app
            .number("SELECT count(*) FROM notification")
            .await,
        0
    );
    // Sent by the server, and followed until it is read.
    let mut words = order.to_vec();
    words.extend(["--follow-seconds", "60"]);
    let mut child = send(&words, "y\n", &[]);
    let following = std::thread::spawn(move || child.output().unwrap());
    while !following.is_finished() {
        // The server's clock stands still; what the command asked for is due by its own.
        let now = Clock::System.now();
        herald::engine::delivery::turn_of(&checked.app.engine, checked.app.sender, 10, now)
            .await
            .unwrap();
        checked.app.process().await;
        tokio::task::yield_now().await;
    }
    let output = following.join().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        "Queued as ",
        "The provider accepted it.",
        "It was read.",
        "herald explain",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

async fn sending_that_is_switched_off_is_no_failure(database: Database) {
    let played = ready(&database).await;
    let (code, wrong) = played.wrong(&[("WHATSAPP_ENABLED", "false")]).await;
    assert_eq!(code, 5, "{wrong:?}");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].starts_with("enabled: WHATSAPP_ENABLED is false"),
        "{wrong:?}"
    );
}

async fn templates_of_one_status_are_one_row_with_our_command(database: Database) {
    let played = ready(&database).await;
    let pending =
        json!({ "templates": { "order_confirmation": "PENDING", "order_reminder": "PENDING" } });
    played.sandbox("account", &pending).await;
    let (code, answer) = played.check(&[], &[]);
    assert!(code == 0 || code == 3, "{answer}");
    let lines: Vec<&str> = answer
        .lines()
        .filter(|line| line.contains("pending"))
        .collect();
    assert_eq!(lines.len(), 1, "{answer}");
    assert!(
        lines[0].contains(
            "2 templates are pending: order_confirmation (en_US), order_reminder (en_US)"
        ),
        "{answer}"
    );
    assert!(
        answer.contains("herald templates status --check-status"),
        "{answer}"
    );
}

async fn a_send_looks_at_its_own_sender_only(database: Database) {
    let played = ready(&database).await;
    let body = json!({ "name": "broken", "phone_number_id": "999", "api_base": played.sandbox,
        "credentials": [{ "kind": "access_token", "value": "a-token-that-the-sandbox-does-not-know" }] });
    let (code, made) = played.app.admin("POST", "/api/v1/senders", &body).await;
    assert_eq!(code, 201, "{made}");
    let send = |sender: &str| {
        let words = [
            "send",
            "+12025550101",
            "--template",
            "jaspers_market_plain_text_v1",
            "--yes",
            "--follow-seconds",
            "0",
            "--sender",
            sender,
        ];
        let mut command = command(&played.app.database_url, played.folder.path(), &words);
        command
            .env("WHATSAPP_API_BASE", &played.sandbox)
            .env("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID)
            .env("WHATSAPP_ACCESS_TOKEN", TOKEN)
            .env("WHATSAPP_APP_SECRET", APP_SECRET);
        text(&command.output().unwrap())
    };
    let (_, senders) = played.app.get("/api/v1/senders").await;
    let good = senders[0]["name"].as_str().unwrap();
    let said = send(good);
    assert!(said.contains("no problems with sending"), "{said}");
    assert!(said.contains("Queued as"), "{said}");
    let said = send("broken");
    assert!(
        said.contains("Meta does not know the access token"),
        "{said}"
    );
    assert!(!said.contains("Queued as"), "{said}");
}
