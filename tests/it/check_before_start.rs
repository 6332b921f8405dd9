//! `herald check` before the first start of a server: what the environment has is looked at, although
//! nothing of it is stored.

use crate::{
    cli::{command, herald, text},
    harness::{Database, MailServer, fresh_database, migrated_database},
};

crate::tests![
    a_mail_server_of_the_environment_is_looked_at,
    a_number_of_the_environment_is_looked_at,
];

async fn a_mail_server_of_the_environment_is_looked_at(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = migrated_database(&database, folder.path()).await;
    let mail = MailServer::start().await;
    let server = format!("smtp://127.0.0.1:{}?tls=none", mail.port);
    // The check waits for the mail server, which runs here.
    let check = async |more: &[(&str, &str)]| {
        let mut command = command(&url, folder.path(), &["check"]);
        command
            .env("SMTP_URL", &server)
            .env("SMTP_FROM", "shop@example.com");
        for (name, value) in more {
            command.env(name, value);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        text(&output.await.unwrap())
    };
    let said = check(&[]).await;
    for line in [
        "SMTP_FROM                      shop@example.com",
        "shop@example.com: The environment's sender is stored when herald serve starts.",
        "mail_server          shop@example.com: The mail server answers, on this machine, without TLS",
        "app_secret           No sender has callbacks.",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(!said.contains("no_sender"), "{said}");
    mail.stop().await;
    let said = check(&[]).await;
    assert!(said.contains("The mail server cannot be used"), "{said}");
    // Both may stand in files; one without the other is named.
    let from = folder.path().join("from");
    std::fs::write(&from, "shop@example.com\n").unwrap();
    for (name, missing, why) in [
        ("SMTP_URL", "SMTP_FROM", "SMTP_FROM: needed with SMTP_URL"),
        ("SMTP_FROM", "SMTP_URL", "SMTP_URL: needed with SMTP_FROM"),
    ] {
        let value = if name == "SMTP_URL" {
            server.as_str()
        } else {
            "shop@example.com"
        };
        let output = command(&url, folder.path(), &["check"])
            .env(name, value)
            .env_remove(missing)
            .output();
        let said = text(&output.unwrap());
        assert!(said.contains(why), "{why} is not in\n{said}");
    }
    let output = command(&url, folder.path(), &["check"])
        .env("SMTP_URL", &server)
        .env("SMTP_FROM_FILE", &from)
        .output();
    let said = text(&output.unwrap());
    assert!(
        said.contains("SMTP_FROM                      shop@example.com"),
        "{said}"
    );
    let url = format!("smtp://127.0.0.1:{}", mail.port);
    for (path, why) in [
        ("/no/such/file.pem", "cannot be read"),
        ("relative.pem", "an absolute path"),
    ] {
        let said = check(&[("SMTP_URL", &url), ("SMTP_CA_FILE", path)]).await;
        assert!(said.contains(why), "{why} is not in\n{said}");
    }
}

async fn a_number_of_the_environment_is_looked_at(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let migrated = herald(&url, folder.path(), &["migrate", "up"]);
    assert!(migrated.status.success(), "{}", text(&migrated));
    let output = command(&url, folder.path(), &["check"])
        .env("WHATSAPP_PHONE_NUMBER_ID", "106540352242922")
        .env("WHATSAPP_ACCESS_TOKEN", "a-token-for-tests-0123456789")
        .env("WHATSAPP_API_BASE", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let said = text(&output);
    assert!(!said.contains("no_sender"), "{said}");
    assert!(
        said.contains("The app secret is not known: every callback is answered 503."),
        "{said}"
    );
    assert!(
        said.contains("106540352242922: "),
        "its provider was asked: {said}"
    );
}
