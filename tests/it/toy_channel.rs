//! A channel of its own in one file: messages are lines of a file. What Herald needs to know of a
//! channel stands here, and in the registry that the server is started with.

use std::{io::Write, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use herald::{
    domain::{
        channel::{Capabilities, Channel},
        field_error::FieldError,
        outcome::Outcome,
    },
    engine::delivery,
    providers::{
        Connection, Content, Exchange, HttpClient, Message, MessageSender, Provider, Registry,
        SenderFields, UnknownOutcome,
    },
};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{DEMO, Database, TestApp, fresh_database};

crate::tests![
    a_channel_is_one_file_and_a_line_in_the_registry,
    a_channel_without_a_provider_is_refused,
];

#[derive(Debug)]
struct FileProvider;

impl Provider for FileProvider {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn channel(&self) -> Channel {
        Channel::Sms
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn unknown_outcome(&self) -> UnknownOutcome {
        UnknownOutcome::Never
    }

    fn check_sender(&self, fields: SenderFields<'_>) -> Vec<FieldError> {
        let has_path = fields.settings.contains_key("path");
        let wrong = (fields.is_new && !has_path).then(|| FieldError {
            pointer: "/settings/path".to_owned(),
            rule: "needed: the file".to_owned(),
        });
        wrong.into_iter().collect()
    }

    fn endpoint_field(&self) -> &'static str {
        "endpoint_id"
    }

    fn needs_token(&self) -> bool {
        false
    }

    fn connect(&self, _http: &HttpClient, connection: Connection) -> Arc<dyn MessageSender> {
        Arc::new(FileSender(connection.setting("path").into()))
    }
}

#[derive(Debug)]
struct FileSender(PathBuf);

#[async_trait]
impl MessageSender for FileSender {
    async fn send(&self, message: &Message) -> Exchange {
        let Content::Free(content) = &message.content else {
            panic!("it keeps no templates: {message:?}");
        };
        let content = serde_json::to_value(content).unwrap();
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.0)
            .unwrap();
        writeln!(file, "{:?} {content}", message.to).unwrap();
        Exchange {
            request: json!("a line"),
            http_status: None,
            answer: None,
            outcome: Outcome::Accepted {
                provider_message_id: message.attempt_id.to_string(),
                wa_id: None,
                user_id: None,
                kept_back: None,
            },
        }
    }
}

async fn a_channel_is_one_file_and_a_line_in_the_registry(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let providers = Registry::standard().with(Arc::new(FileProvider));
    let app = TestApp::start_with(&url, &[], providers).await;
    app.apply_catalogue(DEMO).await;
    let path = folder.path().join("sent.txt");

    // Its own rules decide what a sender needs.
    let mut sender = json!({ "name": "lines", "kind": "file", "endpoint_id": "lines" });
    let (code, problem) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(
        (code, &problem["errors"][0]["pointer"]),
        (422, &json!("/settings/path"))
    );
    sender["settings"] = json!({ "path": path });
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["settings"]["path"], json!(path));
    assert_eq!(
        (&made["state"], &made["kind"]),
        (&json!("active"), &json!("file"))
    );

    // A template leaves as text, and free text needs no window.
    for body in [
        json!({ "to": "+12025550101", "sender": "lines", "template": "order_confirmation",
            "params": { "customer_name": "Asha", "order_number": "A-17" } }),
        json!({ "to": "+12025550101", "sender": "lines", "text": "Come at ten." }),
    ] {
        let (code, answer) = app.post("/api/v1/notifications", &body).await;
        assert_eq!(code, 202, "{answer}");
    }
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let provider = app.engine.provider(id).unwrap();
    let turn = delivery::turn(&app.engine, provider.as_ref(), id, 10, app.now()).await;
    turn.unwrap();

    let sent = std::fs::read_to_string(&path).unwrap();
    assert_eq!(sent.lines().count(), 2, "{sent}");
    assert!(
        sent.contains("Asha") && sent.contains("Come at ten."),
        "{sent}"
    );
    let (_, list) = app.get("/api/v1/notifications").await;
    let all = list["notifications"].as_array().unwrap();
    assert_eq!(all.len(), 2, "{list}");
    for notification in all {
        let id = notification["id"].as_str().unwrap();
        let (_, notification) = app.get(&format!("/api/v1/notifications/{id}")).await;
        assert_eq!(
            (&notification["channel"], &notification["status"]),
            (&json!("sms"), &json!("accepted")),
            "{notification}"
        );
    }
    app.shut_down().await;
}

async fn a_channel_without_a_provider_is_refused(database: Database) {
    let app = TestApp::spawn(&database).await;
    let (code, problem) = app
        .admin(
            "POST",
            "/api/v1/senders",
            &json!({ "name": "a", "kind": "file", "endpoint_id": "1" }),
        )
        .await;
    assert_eq!(
        (code, &problem["errors"][0]["rule"]),
        (422, &json!("one of meta"))
    );
    let (code, _) = app.post("/webhooks/file", &json!({})).await;
    assert_eq!(code, 404);
}
