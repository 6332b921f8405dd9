//! How a process starts when its database is not there yet, and how it ends when its
//! commits are not in it; and commands beside a server that is busy.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::Value;

use crate::{
    cli,
    harness::{
        APP_SECRET, DEMO, Database, PHONE_NUMBER_ID, SmallDisk, TestApp, Wire, fresh_database,
        noise, postgres, sign,
    },
};

crate::tests![
    a_start_on_a_full_disk_answers_503_and_waits,
    a_start_on_a_read_only_disk_answers_503_and_waits,
    a_start_without_postgres_answers_503_and_waits,
    a_start_with_a_wrong_address_is_refused,
    a_server_whose_commits_are_missing_ends_with_code_74,
    bytes_that_are_no_http_leave_no_line_in_the_log,
    commands_beside_a_busy_server_are_not_locked_out,
    a_start_says_what_its_senders_lack,
];

/// A server whose log is read.
struct Started {
    child: Child,
    log: std::io::Lines<BufReader<ChildStderr>>,
}

impl Started {
    fn new(url: &str, folder: &Path) -> Self {
        Self::with(url, folder, &[("WHATSAPP_APP_SECRET", APP_SECRET)])
    }

    fn with(url: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command: Command = cli::command(url, folder, &["serve", "--migrate"]);
        let mut child = command
            .env("HERALD_LOG", "info")
            .env("HERALD_LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The events up to this one that say what lacks.
    fn lacking_until(&mut self, name: &str) -> Vec<String> {
        let mut lacking = Vec::new();
        for line in &mut self.log {
            let value: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
            let fields = value.get("fields").unwrap_or(&value);
            let event = fields["event"].as_str().unwrap_or_default();
            if event == name {
                return lacking;
            }
            if event.starts_with("config.no_") {
                lacking.push(event.to_owned());
            }
        }
        panic!("the process ended without {name}");
    }

    /// Reads the log until this event. Gives the address that it names.
    fn until(&mut self, name: &str) -> String {
        let mut seen = String::new();
        for line in &mut self.log {
            let line = line.unwrap();
            let value: Value = serde_json::from_str(&line).unwrap_or_default();
            let fields = value.get("fields").unwrap_or(&value);
            if fields["event"] == name {
                return format!("http://{}", fields["address"].as_str().unwrap_or_default());
            }
            seen += &line;
        }
        panic!("the process ended without {name}: {seen}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn status(method: reqwest::Method, url: String) -> u16 {
    let body = br#"{"entry":[]}"#.to_vec();
    let client = herald::providers::http_client(
        std::time::Duration::from_secs(20),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    let request = client
        .request(method, url)
        .header("X-Hub-Signature-256", sign(APP_SECRET, &body))
        .body(body);
    request.send().await.unwrap().status().as_u16()
}

/// What is answered while the process waits, and after its database has come.
async fn waits_and_then_works(mut server: Started, comes: impl FnOnce()) {
    let base = server.until("start.waiting");
    let webhook = format!("{base}/webhooks/meta");
    for path in ["/readyz", "/dashboard", "/api/v1/events", "/webhooks/meta"] {
        let answer = status(reqwest::Method::GET, format!("{base}{path}")).await;
        assert_eq!(answer, 503, "{path}");
    }
    assert_eq!(status(reqwest::Method::POST, webhook.clone()).await, 503);
    assert_eq!(
        status(reqwest::Method::GET, format!("{base}/livez")).await,
        200
    );
    comes();
    assert_eq!(server.until("http.listening"), base);
    assert_eq!(
        status(reqwest::Method::GET, format!("{base}/readyz")).await,
        200
    );
    assert_eq!(status(reqwest::Method::POST, webhook).await, 200);
}

async fn a_start_on_a_full_disk_answers_503_and_waits(database: Database) {
    let Database::Sqlite = database else { return };
    let disk = SmallDisk::new(8);
    disk.fill();
    let url = format!("sqlite:{}", disk.path().join("herald.sqlite").display());
    let folder = tempfile::tempdir().unwrap();
    waits_and_then_works(Started::new(&url, folder.path()), || disk.free()).await;
}

async fn a_start_on_a_read_only_disk_answers_503_and_waits(database: Database) {
    let Database::Sqlite = database else { return };
    let disk = SmallDisk::new(8);
    let url = format!("sqlite:{}", disk.path().join("herald.sqlite").display());
    let folder = tempfile::tempdir().unwrap();
    assert!(
        cli::herald(&url, folder.path(), &["migrate", "up"])
            .status
            .success()
    );
    disk.read_only(true);
    waits_and_then_works(Started::new(&url, folder.path()), || disk.read_only(false)).await;
}

async fn a_start_without_postgres_answers_503_and_waits(database: Database) {
    let Database::Postgres = database else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let name = url.rsplit('/').next().unwrap();
    let wire = Wire::to(&postgres().unwrap().server).await;
    wire.cut();
    let url = format!("postgres://herald@127.0.0.1:{}/{name}", wire.port);
    waits_and_then_works(Started::new(&url, folder.path()), || wire.mend()).await;
}

async fn a_start_with_a_wrong_address_is_refused(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let (url, says) = match database {
        Database::Sqlite => {
            // A folder in the place of the file.
            std::fs::create_dir(folder.path().join("herald.sqlite")).unwrap();
            (
                format!("sqlite:{}", folder.path().join("herald.sqlite").display()),
                "cannot be reached",
            )
        }
        Database::Postgres => (
            format!("{}/no_such_database", postgres().unwrap().server),
            "no_such_database",
        ),
    };
    let refused = cli::herald(&url, folder.path(), &["serve", "--migrate"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = cli::text(&refused);
    assert!(text.contains(says), "{text}");
}

async fn a_server_whose_commits_are_missing_ends_with_code_74(database: Database) {
    let Database::Sqlite = database else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let mut server = Started::new(&url, folder.path());
    let base = server.until("http.listening");
    let webhook = format!("{base}/webhooks/meta");
    assert_eq!(status(reqwest::Method::POST, webhook.clone()).await, 200);
    let raw = sea_orm::Database::connect(url).await.unwrap();
    sea_orm::ConnectionTrait::execute_unprepared(
        &raw,
        "CREATE TRIGGER lost AFTER UPDATE ON commit_marker \
         BEGIN UPDATE commit_marker SET number = number - 1000; END",
    )
    .await
    .unwrap();
    // Its own workers write, too: the first miss may not be this callback's.
    server.until("store.commit_missing");
    let ended = tokio::task::spawn_blocking(move || server.child.wait().unwrap())
        .await
        .unwrap();
    assert_eq!(ended.code(), Some(74));
}

async fn bytes_that_are_no_http_leave_no_line_in_the_log(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let mut server = Started::new(&url, folder.path());
    let base = server.until("http.listening");
    let address = base.trim_start_matches("http://");
    for bytes in [
        &b"\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\n\xff: 1\r\n\r\n",
    ] {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let rest: Vec<String> = (&mut server.log).map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("process.stopping")));
    assert!(
        !rest.iter().any(|line| line.contains("parse")),
        "{}",
        rest.join("\n")
    );
}

async fn commands_beside_a_busy_server_are_not_locked_out(database: Database) {
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let busy = async {
        let mut written = 0_u32;
        while !stop.load(Ordering::Acquire) {
            let text = noise(u64::from(written), 20_000);
            let body = format!(r#"{{"entry":[],"number":{written},"text":"{text}"}}"#);
            assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
            written += 1;
        }
        written
    };
    let commands = async {
        for number in 0..12 {
            let phone = format!("+1202555{:04}", 100 + number);
            let runs: [&[&str]; 3] = [
                &["keys", "list"],
                &["stats"],
                &["contacts", "set", &phone, "--name", "Asha"],
            ];
            for words in runs {
                let mut command = cli::command(&app.database_url, folder.path(), words);
                let done = tokio::task::spawn_blocking(move || command.output().unwrap())
                    .await
                    .unwrap();
                assert!(
                    !cli::text(&done).contains("locked"),
                    "{words:?}: {}",
                    cli::text(&done)
                );
                assert!(done.status.success(), "{words:?}: {}", cli::text(&done));
            }
        }
        stop.store(true, Ordering::Release);
    };
    let (written, ()) = tokio::join!(busy, commands);
    assert!(written > 20, "{written} callbacks beside the commands");
}

async fn a_start_says_what_its_senders_lack(database: Database) {
    let mail = [
        ("SMTP_URL", "smtp://127.0.0.1:9?tls=none"),
        ("SMTP_FROM", "shop@example.com"),
    ];
    let number = [
        ("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID),
        ("WHATSAPP_ACCESS_TOKEN", "a-token-of-the-tests-0123456789"),
    ];
    let public = [("HERALD_PUBLIC_URL", "https://herald.example.com")];
    for (settings, lacking) in [
        (mail.to_vec(), vec!["config.no_unsubscribe_link"]),
        (
            [mail, number].concat(),
            vec!["config.no_app_secret", "config.no_unsubscribe_link"],
        ),
        ([&mail[..], &public[..]].concat(), vec![]),
        (number.to_vec(), vec!["config.no_app_secret"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = fresh_database(&database, folder.path()).await;
        let mut server = Started::with(&url, folder.path(), &settings);
        assert_eq!(
            server.lacking_until("http.listening"),
            lacking,
            "{settings:?}"
        );
    }
}
