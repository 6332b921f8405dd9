//! What `herald check` says of channels beside WhatsApp at Meta.

use serde_json::Value;

use crate::{
    cli,
    harness::{Database, TestApp, email::stage, fresh_database},
    myoperator_senders,
};

crate::tests![
    without_a_public_address_mails_have_no_link_to_unsubscribe,
    the_webhook_of_each_kind_of_sender_is_tried,
    a_number_at_myoperator_needs_nothing_of_metas,
];

/// The rows of a check: name, verdict and finding.
fn rows(app: &TestApp, settings: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = cli::command(&app.database_url, folder.path(), &["check", "--json"]);
    command.env_remove("HERALD_PUBLIC_URL");
    for (name, value) in settings {
        command.env(name, value);
    }
    read(&cli::text(&command.output().unwrap()))
}

fn read(answer: &str) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(answer).unwrap_or_else(|_| panic!("{answer}"));
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = document["rows"].as_array().unwrap().iter();
    rows.map(|row| (word(row, "name"), word(row, "verdict"), word(row, "found")))
        .collect()
}

async fn without_a_public_address_mails_have_no_link_to_unsubscribe(database: Database) {
    const LINKS: &str = "Mails that people may refuse have no link to unsubscribe.";
    let with_mail = stage(&database).await;
    let of = |app: &TestApp, settings: &[(&str, &str)]| {
        let rows = rows(app, settings);
        let found = rows.into_iter().find(|(name, ..)| name == "public_url");
        found.unwrap()
    };
    let (_, verdict, found) = of(&with_mail.app, &[]);
    assert_eq!(verdict, "warning");
    assert!(found.ends_with(LINKS), "{found}");
    let (_, _, found) = of(
        &with_mail.app,
        &[("HERALD_PUBLIC_URL", "https://127.0.0.1:9")],
    );
    assert!(!found.contains(LINKS), "{found}");
    let without_mail = TestApp::spawn(&database).await;
    let (_, verdict, found) = of(&without_mail, &[]);
    assert_eq!(verdict, "warning");
    assert!(!found.contains(LINKS), "{found}");
}

async fn the_webhook_of_each_kind_of_sender_is_tried(database: Database) {
    let (app, _provider, _) = myoperator_senders::server(&database).await;
    let signed = |secret: &str| -> Vec<String> {
        let settings = [
            ("HERALD_PUBLIC_URL", app.base.as_str()),
            ("MYOPERATOR_API_SECRET", secret),
        ];
        let rows = rows(&app, &settings).into_iter();
        rows.filter(|(name, _, found)| name == "signed_post" && found.contains("myoperator"))
            .map(|(_, verdict, found)| format!("{verdict}: {found}"))
            .collect()
    };
    assert_eq!(
        signed("a-secret-of-the-callbacks"),
        ["ok: /webhooks/myoperator can be reached, and accepts the callback secret."]
    );
    assert_eq!(
        signed("another-secret-of-callbacks"),
        ["failed: /webhooks/myoperator can be reached, but refuses the callback secret."]
    );
    // What the probes left behind says nothing.
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
    assert_eq!(app.number("SELECT count(*) FROM notice").await, 0);
    assert_eq!(
        app.number("SELECT count(*) FROM inbox_segment").await,
        1,
        "the probes were stored, as one"
    );
}

/// Before a server has run: the settings alone.
async fn a_number_at_myoperator_needs_nothing_of_metas(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let migrated = cli::herald(&url, folder.path(), &["migrate", "up"]);
    assert!(migrated.status.success(), "{}", cli::text(&migrated));
    let run = |secret: &str| {
        let mut command = cli::command(&url, folder.path(), &["check", "--json"]);
        for name in [
            "WHATSAPP_PHONE_NUMBER_ID",
            "WHATSAPP_ACCESS_TOKEN",
            "WHATSAPP_APP_SECRET",
            "WHATSAPP_WEBHOOK_VERIFY_TOKEN",
        ] {
            command.env_remove(name);
        }
        command
            .env("MYOPERATOR_PHONE_NUMBER", "+12025550199")
            .env("MYOPERATOR_ACCOUNT_ID", "tested-company")
            .env("MYOPERATOR_API_KEY", "a-key-for-tests-0123456789")
            .env("MYOPERATOR_API_SECRET", secret)
            .env("MYOPERATOR_API_BASE", "http://127.0.0.1:9")
            .env("SMTP_URL", "smtp://127.0.0.1:9?tls=none")
            .env("SMTP_FROM", "shop@example.com");
        read(&cli::text(&command.output().unwrap()))
    };
    let rows = run("a-secret-of-the-callbacks");
    let found = |name: &str| rows.iter().find(|(row, ..)| row == name);
    assert_eq!(found("verify_token"), None);
    assert_eq!(found("app_secret"), None);
    let (_, verdict, words) = found("callback_secret").unwrap();
    assert_eq!(
        (verdict.as_str(), words.as_str()),
        ("ok", "The callback secret is long enough.")
    );
    let (_, _, words) = found("public_url").unwrap();
    assert!(
        words.ends_with("Mails that people may refuse have no link to unsubscribe."),
        "{words}"
    );
    let rows = run("short");
    let short = (
        "callback_secret".to_owned(),
        "warning".to_owned(),
        "The callback secret is short enough to be guessed.".to_owned(),
    );
    assert!(rows.contains(&short), "{rows:?}");
}
