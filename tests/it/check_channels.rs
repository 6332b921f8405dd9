//! What `herald check` says of channels beside WhatsApp at Meta.

use serde_json::Value;

use crate::{
    cli,
    harness::{Database, TestApp, email::stage},
    myoperator_senders,
};

crate::tests![
    without_a_public_address_mails_have_no_link_to_unsubscribe,
    the_webhook_of_each_kind_of_sender_is_tried,
];

/// The rows of a check: name, verdict and finding.
fn rows(app: &TestApp, settings: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = cli::command(&app.database_url, folder.path(), &["check", "--json"]);
    command.env_remove("HERALD_PUBLIC_URL");
    for (name, value) in settings {
        command.env(name, value);
    }
    let answer = cli::text(&command.output().unwrap());
    let document: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
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
    app.process().await;
    assert_eq!(app.number("SELECT count(*) FROM dead_letter").await, 0);
}
