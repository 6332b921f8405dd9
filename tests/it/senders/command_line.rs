//! `herald senders`, and replacing the secret key.

use herald::engine::runtime::vault::{self, Vault, VaultKeyCheck};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::SECOND;
use crate::{
    cli::{command, herald, text},
    harness::{Database, SECRET_KEY, TestApp, fresh_database},
};

crate::tests![
    senders_are_managed_from_the_command_line,
    the_secret_key_is_replaced_and_everything_still_opens,
    a_row_that_was_left_behind_is_sealed_anew_at_the_next_start,
    a_lost_key_is_a_clear_error,
    a_process_with_the_key_of_before_keeps_nothing_new,
    a_check_row_of_the_first_versions_is_understood_and_replaced,
];

const TOKEN: &str = "token-in-a-file-0123456789";

async fn senders_are_managed_from_the_command_line(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let run = |words: &[&str]| {
        let output = herald(&url, folder.path(), words);
        (output.status.code().unwrap(), text(&output))
    };
    assert_eq!(run(&["migrate", "up"]).0, 0);
    assert!(run(&["senders", "list"]).1.contains("There is no sender"));
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    let (code, said) = run(&[
        "senders",
        "add",
        "shop",
        "--phone-number-id",
        SECOND,
        "--app-id",
        "222",
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("It cannot send yet: WhatsApp is not configured"),
        "{said}"
    );
    let (code, said) = run(&[
        "senders",
        "add",
        "shop",
        "--phone-number-id",
        "x",
        "--messages-per-second",
        "-1",
    ]);
    assert_ne!(code, 0, "{said}");
    let (code, said) = run(&["senders", "add", "shop", "--phone-number-id", "x"]);
    assert!(
        code == 1 && said.contains("phone-number-id: digits only"),
        "{said}"
    );
    let (code, said) = run(&[
        "senders",
        "set",
        "shop",
        "--access-token-file",
        "token",
        "--access-token-expires",
        "2099-01-01T00:00:00Z",
        "--messages-per-second",
        "20",
        "--api-version",
        "v25.0",
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("It has everything that it needs to send.") && !said.contains(TOKEN),
        "{said}"
    );
    let (_, said) = run(&["senders", "list"]);
    for words in [
        "shop  (default)",
        "active",
        "token-in…789",
        "expires 2099-01-01",
        "20 messages per second (its own limit)",
        "API version    v25.0",
        "updated        20",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let (_, said) = run(&["senders", "list", "--json"]);
    let shown: Value = serde_json::from_str(said.trim()).unwrap();
    // Whoever is logged in to the machine did it, whatever the environment says.
    let user = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    assert_eq!(shown["changed_by"], format!("cli:{user}"), "{shown}");
    assert!(shown["changed_at"].is_string() && shown["updated_at"].is_string());
    let id = shown["credentials"][0]["id"].as_str().unwrap().to_owned();
    let (_, said) = run(&["senders", "set", "shop", "--deactivate", &id]);
    assert!(
        said.contains("It cannot send: WhatsApp is not configured"),
        "{said}"
    );
    let (_, said) = run(&["senders", "set", "shop", "--activate", &id]);
    assert!(
        said.contains("It has everything that it needs to send."),
        "{said}"
    );
    run(&["senders", "add", "other", "--phone-number-id", "1"]);
    assert!(
        run(&["senders", "default", "other"])
            .1
            .contains("other is the default.")
    );
    assert!(
        run(&["senders", "hold", "shop", "--reason", "a test"])
            .1
            .contains("shop is held.")
    );
    assert!(run(&["senders", "list"]).1.contains("off: a test"));
    let (code, said) = run(&["senders", "release", "shop", "--discard-older-than", "soon"]);
    assert!(
        code == 1 && said.contains("a number and s, m, h or d"),
        "{said}"
    );
    let (_, said) = run(&[
        "senders",
        "release",
        "shop",
        "--discard-older-than",
        "2h",
        "--dry-run",
    ]);
    assert!(
        said.contains("0 of 0 messages would be discarded."),
        "{said}"
    );
    assert!(run(&["senders", "list"]).1.contains("off: a test"));
    assert!(
        run(&["senders", "release", "shop"])
            .1
            .contains("shop is released.")
    );
    let (_, said) = run(&[
        "senders", "set", "shop", "--remove", &id, "--rename", "store", "--app-id", "",
    ]);
    assert!(said.contains("is deleted"), "{said}");
    let (code, said) = run(&["senders", "hold", "shop", "--reason", "x"]);
    assert!(
        code == 1 && said.contains("there is no sender shop"),
        "{said}"
    );
}

/// Runs `herald senders list` with these keys.
fn list(url: &str, folder: &std::path::Path, key: &str, previous: Option<&str>) -> (i32, String) {
    let mut command = command(url, folder, &["senders", "list"]);
    command.env("HERALD_SECRET_KEY", key);
    if let Some(previous) = previous {
        command.env("HERALD_SECRET_KEY_PREVIOUS", previous);
    }
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

const NEXT_KEY: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f";

async fn the_secret_key_is_replaced_and_everything_still_opens(database: Database) {
    let app = TestApp::spawn(&database).await;
    super::add(&app, "shop", SECOND, serde_json::json!({})).await;
    let (url, folder) = app.shut_down().await;
    let folder = folder.unwrap();
    let shown = "token-of…789";
    let lists = |key: &str, previous: Option<&str>| {
        let (code, said) = list(&url, folder.path(), key, previous);
        (code == 0 && said.contains(shown), said)
    };
    assert!(lists(SECRET_KEY, None).0);
    let (_, said) = lists(NEXT_KEY, None);
    assert!(said.contains("HERALD_SECRET_KEY_PREVIOUS"), "{said}");
    // A command compares; it is the server's start that replaces.
    assert!(lists(NEXT_KEY, Some(SECRET_KEY)).0);
    assert!(!lists(NEXT_KEY, None).0);
    let both = [
        ("HERALD_SECRET_KEY", NEXT_KEY),
        ("HERALD_SECRET_KEY_PREVIOUS", SECRET_KEY),
    ];
    let app = TestApp::start(&url, &both).await;
    // What somebody with the key of before would keep now, nobody could read later.
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let old = herald(
        &url,
        folder.path(),
        &["senders", "set", "shop", "--access-token-file", "token"],
    );
    assert_eq!(old.status.code(), Some(1), "{}", text(&old));
    drop(app.shut_down().await);
    let (opens, said) = lists(NEXT_KEY, None);
    assert!(opens, "the new key is enough now: {said}");
    let (_, said) = lists(SECRET_KEY, None);
    assert!(
        said.contains("not the key this database was made with"),
        "{said}"
    );
    let (code, said) = list(&url, folder.path(), SECRET_KEY, Some("ab"));
    assert!(
        code == 2 && said.contains("HERALD_SECRET_KEY_PREVIOUS: 64 hex digits"),
        "{said}"
    );
}

async fn a_row_that_was_left_behind_is_sealed_anew_at_the_next_start(database: Database) {
    let app = TestApp::spawn(&database).await;
    super::add(&app, "shop", SECOND, serde_json::json!({})).await;
    let behind = app.number("SELECT count(*) FROM credential").await;
    assert_eq!(behind, 1);
    // The check row is of the new key already; a row of the old key came in meanwhile.
    app.sql("CREATE TABLE kept AS SELECT * FROM credential")
        .await;
    let (url, folder) = app.shut_down().await;
    let folder = folder.unwrap();
    let both = [
        ("HERALD_SECRET_KEY", NEXT_KEY),
        ("HERALD_SECRET_KEY_PREVIOUS", SECRET_KEY),
    ];
    let app = TestApp::start(&url, &both).await;
    app.sql("DELETE FROM credential").await;
    app.sql("INSERT INTO credential SELECT * FROM kept").await;
    drop(app.shut_down().await);
    let app = TestApp::start(&url, &both).await;
    drop(app.shut_down().await);
    let (code, said) = list(&url, folder.path(), NEXT_KEY, None);
    assert!(code == 0 && said.contains("token-of…789"), "{said}");
}

async fn a_lost_key_is_a_clear_error(database: Database) {
    let app = TestApp::spawn(&database).await;
    super::add(&app, "shop", SECOND, serde_json::json!({})).await;
    // Whoever restores a part of the tables has no check row.
    app.sql("DELETE FROM setting WHERE name = 'secret_key_check'")
        .await;
    let (url, folder) = app.shut_down().await;
    let folder = folder.unwrap();
    let other = "f0e1d2c3b4a5968778695a4b3c2d1e0f".repeat(2);
    let (code, said) = list(&url, folder.path(), &other, None);
    assert!(
        code == 1 && said.contains("not the key this database was made with"),
        "{said}"
    );
    let (code, said) = list(&url, folder.path(), SECRET_KEY, None);
    assert!(code == 0 && said.contains("token-of"), "{said}");
    let missing = command(&url, folder.path(), &["serve"])
        .env_remove("HERALD_SECRET_KEY")
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        text(&missing).contains("HERALD_SECRET_KEY: missing"),
        "{}",
        text(&missing)
    );
    let published = command(&url, folder.path(), &["serve"])
        .env("HERALD_SECRET_KEY", "00".repeat(32))
        .output()
        .unwrap();
    assert_eq!(published.status.code(), Some(2), "{}", text(&published));
}

fn next_vault() -> Vault {
    Vault::new(
        &SecretString::from(NEXT_KEY),
        Some(&SecretString::from(SECRET_KEY)),
    )
    .unwrap()
}

async fn a_process_with_the_key_of_before_keeps_nothing_new(database: Database) {
    let app = TestApp::spawn(&database).await;
    super::add(&app, "shop", SECOND, json!({})).await;
    let replaced = vault::check(&app.store, &next_vault(), true, || Some([1; 24]), app.now())
        .await
        .unwrap();
    assert_eq!(replaced, VaultKeyCheck::Rotated(1));
    let body = json!({ "kind": "app_secret", "value": "some-new-secret" });
    let path = "/api/v1/senders/shop/credentials";
    let (code, problem) = app.admin("POST", path, &body).await;
    assert_eq!((code, &problem["type"]), (409, &json!("/problems/state")));
    assert_eq!(app.number("SELECT count(*) FROM credential").await, 1);
    // Without random bytes nothing is half done.
    let failed = vault::check(&app.store, &next_vault(), true, || None, app.now()).await;
    assert!(failed.is_err());
}

async fn a_check_row_of_the_first_versions_is_understood_and_replaced(database: Database) {
    let app = TestApp::spawn(&database).await;
    super::add(&app, "shop", SECOND, json!({})).await;
    let kept = herald::store::setting::get(app.store.reader(), "secret_key_check")
        .await
        .unwrap()
        .unwrap();
    let mut parts: Vec<&str> = kept.split(':').collect();
    parts.remove(1);
    let legacy = parts.join(":");
    app.sql(&format!(
        "UPDATE setting SET value = '{legacy}' WHERE name = 'secret_key_check'"
    ))
    .await;
    let (url, folder) = app.shut_down().await;
    let folder = folder.unwrap();
    assert_eq!(list(&url, folder.path(), SECRET_KEY, None).0, 0);
    assert_eq!(list(&url, folder.path(), NEXT_KEY, None).0, 1);
    let both = [
        ("HERALD_SECRET_KEY", NEXT_KEY),
        ("HERALD_SECRET_KEY_PREVIOUS", SECRET_KEY),
    ];
    drop(TestApp::start(&url, &both).await.shut_down().await);
    let (code, said) = list(&url, folder.path(), NEXT_KEY, None);
    assert!(code == 0 && said.contains("token-of…789"), "{said}");
}
