//! The commands, as somebody types them.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::harness::{DEMO, Database, SECRET_KEY, TestApp, fresh_blocker, fresh_database};

crate::tests![
    migrate_says_what_it_did_and_serve_refuses_an_old_schema,
    a_second_server_on_one_sqlite_file_is_refused,
    a_wrong_secret_key_is_a_clear_start_error,
    wrong_settings_are_reported_together,
    apply_is_idempotent_atomic_and_names_every_mistake,
    keys_are_shown_once_listed_by_prefix_and_revoked,
    dead_letters_are_listed_and_replayed,
    callbacks_are_shown_and_replayed_by_time,
    commands_work_beside_a_running_dev,
    commands_that_read_need_no_lock_and_those_that_write_wait_for_it,
    every_command_has_help,
];

pub fn herald(url: &str, folder: &Path, words: &[&str]) -> Output {
    command(url, folder, words).output().unwrap()
}

/// The same, to be given more before it runs.
pub fn command(url: &str, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("DATABASE_URL", url)
        .env("HERALD_LISTEN", "127.0.0.1:0")
        .env("HERALD_LOG", "error")
        .env("HERALD_SECRET_KEY", SECRET_KEY);
    command
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

async fn migrate_says_what_it_did_and_serve_refuses_an_old_schema(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let refused = herald(&url, folder.path(), &["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("herald migrate up"),
        "{}",
        text(&refused)
    );
    assert_eq!(
        herald(&url, folder.path(), &["migrate", "status"])
            .status
            .code(),
        Some(1)
    );
    let done = herald(&url, folder.path(), &["migrate", "up"]);
    assert!(
        done.status.success() && text(&done).contains("applied"),
        "{}",
        text(&done)
    );
    let again = herald(&url, folder.path(), &["migrate", "up"]);
    assert!(
        again.status.success() && text(&again).contains("applied before"),
        "{}",
        text(&again)
    );
    assert!(
        herald(&url, folder.path(), &["migrate", "status"])
            .status
            .success()
    );
}

async fn a_second_server_on_one_sqlite_file_is_refused(database: Database) {
    let Database::Sqlite = database else { return };
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let refused = herald(&app.database_url, folder.path(), &["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("another `herald serve`"),
        "{}",
        text(&refused)
    );
    assert!(
        herald(&app.database_url, folder.path(), &["migrate", "status"])
            .status
            .success(),
        "commands work beside it"
    );
}

async fn a_wrong_secret_key_is_a_clear_start_error(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (url, _keep) = app.shut_down().await;
    let folder = tempfile::tempdir().unwrap();
    let refused = command(&url, folder.path(), &["serve"])
        .env("HERALD_SECRET_KEY", "0123456789abcdef".repeat(4))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("not the key this database was made with"),
        "{}",
        text(&refused)
    );
}

async fn wrong_settings_are_reported_together(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    std::fs::write(
        folder.path().join(".env"),
        "HERALD_SEND_TRIES=none\nWHATSAPP_ENABLED=perhaps\n",
    )
    .unwrap();
    let refused = herald(&url, folder.path(), &["migrate", "status"]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "wrong settings have an exit code of their own"
    );
    let said = text(&refused);
    assert!(
        said.contains("HERALD_SEND_TRIES") && said.contains("WHATSAPP_ENABLED"),
        "{said}"
    );
    assert!(!said.contains("perhaps"), "values are not repeated: {said}");
}

async fn apply_is_idempotent_atomic_and_names_every_mistake(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("demo.toml", DEMO);
    let first = herald(&app.database_url, folder.path(), &["apply", "demo.toml"]);
    assert!(first.status.success(), "{}", text(&first));
    let again = herald(&app.database_url, folder.path(), &["apply", "demo.toml"]);
    assert!(text(&again).contains("unchanged"), "{}", text(&again));
    write(
        "bad.toml",
        "name = \"bad\"\n\
         [[template]]\nname = \"Bad Name\"\ncategory = \"gossip\"\nbody = \"{% if x %}\"\n\
         [[contact]]\nname = \"c\"\nphone = \"0049 1\"\n\
         [[route]]\nname = \"r\"\nevent = \"e\"\nto = \"nobody\"\ntemplate = \"missing\"\nwhen = \"a b\"\npriority = \"now\"\n\
         [[rule]]\nname = \"q\"\non = \"eaten\"\nafter = \"soon\"\nsend = { to = \"same\", template = \"t\", channel = \"pigeon\" }\n",
    );
    let bad = herald(&app.database_url, folder.path(), &["apply", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(1));
    insta::assert_snapshot!("a_catalogue_with_everything_wrong", text(&bad));
    write("syntax.toml", "name = \"x\"\n[[rule]]\nnam = 1\n");
    assert!(
        text(&herald(
            &app.database_url,
            folder.path(),
            &["apply", "syntax.toml"]
        ))
        .contains("syntax.toml:3: ")
    );
    write(
        "thief.toml",
        "name = \"thief\"\n[[group]]\nname = \"Technical Admin\"\n[[user]]\nname = \"u\"\ncontact = \"nobody\"\n",
    );
    let thief = herald(&app.database_url, folder.path(), &["apply", "thief.toml"]);
    assert!(
        text(&thief).contains("belongs to the catalogue demo"),
        "{}",
        text(&thief)
    );
    assert_eq!(app.number("SELECT count(*) FROM catalogue").await, 1);
    assert_eq!(
        app.number("SELECT count(*) FROM user_account").await,
        2,
        "nothing of a refused file stays"
    );
}

async fn keys_are_shown_once_listed_by_prefix_and_revoked(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let made = herald(
        &app.database_url,
        folder.path(),
        &["keys", "create", "solar-crm", "--all"],
    );
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let ask = || async {
        app.http
            .get(format!("{}/api/v1/stats", app.base))
            .bearer_auth(&key)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(ask().await, 200);
    let listed = text(&herald(&app.database_url, folder.path(), &["keys", "list"]));
    assert!(
        listed.contains("solar-crm") && !listed.contains(&key),
        "{listed}"
    );
    assert!(
        herald(
            &app.database_url,
            folder.path(),
            &["keys", "revoke", &key[..15]]
        )
        .status
        .success()
    );
    assert_eq!(ask().await, 401);
    assert_eq!(
        herald(
            &app.database_url,
            folder.path(),
            &["keys", "revoke", "herald_nothing"]
        )
        .status
        .code(),
        Some(1)
    );
}

async fn dead_letters_are_listed_and_replayed(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(app.callback_bytes(b"not json".to_vec()).await, 200);
    app.process().await;
    let listed = text(&herald(
        &app.database_url,
        folder.path(),
        &["callbacks", "list"],
    ));
    assert!(
        listed.contains("1 items, 1 dead") || listed.contains("0 items, 1 dead"),
        "{listed}"
    );
    let dead = text(&herald(
        &app.database_url,
        folder.path(),
        &["callbacks", "list", "--dead"],
    ));
    assert!(dead.contains("it is not JSON"), "{dead}");
    let replayed = herald(
        &app.database_url,
        folder.path(),
        &["callbacks", "replay", "--all-dead"],
    );
    assert_eq!(replayed.status.code(), Some(1), "{}", text(&replayed));
    assert!(text(&replayed).contains("still cannot be applied"));
    let unknown = uuid::Uuid::nil().to_string();
    assert_eq!(
        herald(
            &app.database_url,
            folder.path(),
            &["callbacks", "replay", &unknown]
        )
        .status
        .code(),
        Some(1)
    );
    assert_eq!(
        herald(&app.database_url, folder.path(), &["retry", &unknown])
            .status
            .code(),
        Some(1)
    );
}

async fn every_command_has_help(_: Database) {
    let folder = tempfile::tempdir().unwrap();
    for command in [
        "serve",
        "dev",
        "migrate",
        "plan",
        "apply",
        "keys",
        "senders",
        "callbacks",
        "retry",
        "cancel",
        "send-now",
        "sandbox",
        "stats",
        "explain",
        "events",
        "users",
        "groups",
        "templates",
        "contacts",
        "check",
        "send",
    ] {
        let help = herald("sqlite:unused", folder.path(), &[command, "--help"]);
        assert!(
            help.status.success() && text(&help).len() > 100,
            "{command}"
        );
    }
    assert_eq!(
        herald("sqlite:unused", folder.path(), &["nonsense"])
            .status
            .code(),
        Some(2)
    );
}

async fn callbacks_are_shown_and_replayed_by_time(database: Database) {
    let app = TestApp::spawn(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let url = app.database_url.clone();
    for number in 0..3 {
        let body = format!(r#"{{"entry":[],"number":{number}}}"#);
        assert_eq!(app.callback_bytes(body.into_bytes()).await, 200);
        app.pass(3600);
    }
    assert_eq!(app.callback_bytes(br#"{"entry":[7]}"#.to_vec()).await, 200);
    app.process().await;
    let newest = app.newest_callback().await.to_string();
    let shown = herald(&url, folder.path(), &["callbacks", "show", &newest]);
    let text = text(&shown);
    assert!(shown.status.success(), "{text}");
    for part in [
        "processed  yes, 1 items, 1 dead",
        "dead       /entry/0  not an entry",
        "\"entry\": [",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let nobody = "00000000-0000-7000-8000-000000000001";
    let missing = herald(&url, folder.path(), &["callbacks", "show", nobody]);
    assert_eq!(missing.status.code(), Some(1));
    // The first two hours: two bodies, nothing dead.
    let words = [
        "callbacks",
        "replay",
        "--since",
        "2026-01-01T00:00:00Z",
        "--until",
        "2026-01-01T02:00:00Z",
    ];
    let replayed = herald(&url, folder.path(), &words);
    let text = self::text(&replayed);
    assert!(replayed.status.success(), "{text}");
    assert_eq!(text.matches(" items applied, 0 dead").count(), 2, "{text}");
    // All of them: one is still dead, and the exit code says so.
    let all = herald(
        &url,
        folder.path(),
        &["callbacks", "replay", "--since", "2026-01-01T00:00:00Z"],
    );
    assert_eq!(all.status.code(), Some(1), "{}", self::text(&all));
    for wrong in [
        ["callbacks", "replay", "--until", "2026-01-01T00:00:00Z"],
        ["callbacks", "replay", "--since", "yesterday"],
    ] {
        assert_eq!(
            herald(&url, folder.path(), &wrong).status.code(),
            Some(2),
            "{wrong:?}"
        );
    }
}

async fn commands_that_read_need_no_lock_and_those_that_write_wait_for_it(database: Database) {
    if !matches!(database, Database::Sqlite) {
        return;
    }
    let app = TestApp::spawn(&database).await;
    app.apply_catalogue(DEMO).await;
    let id = app.order("A-1", "+12025550101").await;
    app.send().await;
    let folder = tempfile::tempdir().unwrap();
    // A server that is busy has the lock again and again; this one keeps it.
    let blocker = fresh_blocker(&app.database_url).await;
    let reading: [&[&str]; 15] = [
        &["migrate", "status"],
        &["keys", "list"],
        &["callbacks", "list"],
        &["users", "links"],
        &["events", "list"],
        &["explain", &id],
        &["retry", "--status", "failed", "--dry-run"],
        &["cancel", "--status", "queued", "--dry-run"],
        &["senders", "list"],
        &["stats"],
        &["users", "list"],
        &["groups", "list"],
        &["contacts", "list"],
        &["contacts", "conflicts"],
        &["hold", "show"],
    ];
    for words in reading {
        let output = herald(&app.database_url, folder.path(), words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    }
    // One that writes is patient.
    let words = ["keys", "create", "late", "--all"];
    let mut writing = command(&app.database_url, folder.path(), &words)
        .spawn()
        .unwrap();
    let output = herald(&app.database_url, folder.path(), &["keys", "list"]);
    assert!(!text(&output).contains("late"), "{}", text(&output));
    assert!(writing.try_wait().unwrap().is_none(), "it waits");
    blocker.release().await;
    assert!(writing.wait().unwrap().success());
    let output = herald(&app.database_url, folder.path(), &["keys", "list"]);
    assert!(text(&output).contains("late"), "{}", text(&output));
}

async fn commands_work_beside_a_running_dev(database: Database) {
    // It makes a database of its own.
    if !matches!(database, Database::Sqlite) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_herald"))
        .args(["dev", "--sandbox-listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HERALD_LISTEN", "127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(dev.stdout.take().unwrap()));
    while !said.contains("Ctrl-C stops it") {
        said.push_str(&lines.next().unwrap().unwrap());
        said.push('\n');
    }
    let after = |word: &str| {
        let rest = said.split_once(word).unwrap().1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    // The callback that it prints is taken when it is signed as it says.
    let base = after("API              ").replace("/api/v1", "");
    let secret = after("-hmac ");
    let body = said
        .split_once("body='")
        .unwrap()
        .1
        .split('\'')
        .next()
        .unwrap();
    let client = herald::providers::http_client(
        std::time::Duration::from_secs(10),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    for (secret, code) in [(secret.as_str(), 200), ("another", 401)] {
        let answer = client
            .post(format!("{base}/webhooks/meta"))
            .header(
                "X-Hub-Signature-256",
                crate::harness::sign(secret, body.as_bytes()),
            )
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), code);
    }
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_herald"))
            .args(words)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .output()
            .unwrap();
        (output.status.code(), text(&output))
    };
    for words in [
        &["check"][..],
        &["templates", "sync"],
        &["templates", "status"],
        &[
            "send",
            "+12025550101",
            "--template",
            "jaspers_market_plain_text_v1",
            "--yes",
        ],
        &["contacts", "list"],
    ] {
        let (code, said) = run(words);
        assert_eq!(code, Some(0), "{words:?}: {said}");
    }
    dev.kill().unwrap();
    dev.wait().unwrap();
    // What a killed one has left means nothing.
    assert!(folder.path().join("data/dev.env").exists());
    let (_, said) = run(&["check"]);
    assert!(said.contains("NOT VALID"), "{said}");
}
