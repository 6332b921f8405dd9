//! A channel of its own in one file: messages are lines of a file. What Herald needs to know of a
//! channel stands here, and in the registry that the server is started with.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use herald::{
    domain::{
        channel::{MessageChannel, ProviderCapabilities},
        field_error::FieldError,
        outcome::ProviderCallOutcome,
        time::Timestamp,
    },
    engine::delivery,
    providers::{
        CallbackItem, CallbackItemContent, CallbackProof, HttpClient, MessageSender,
        MessageStatusUpdate, MessagingProvider, OutgoingContent, OutgoingMessage, ParsedCallback,
        PersonIds, ProviderCallbackReceiver, ProviderExchange, ProviderRegistry,
        ReportedDeliveryFact, SenderConnectionSettings, SenderFields, UnknownOutcomeResolution,
        WebhookHandshake,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{APP_SECRET, DEMO, Database, TestApp, fresh_database, sign};

crate::tests![
    a_channel_is_one_file_and_a_line_in_the_registry,
    a_channel_without_a_provider_is_refused,
    a_webhook_believes_the_secrets_of_its_own_provider_only,
    a_callback_of_a_provider_that_is_gone_is_kept_and_can_be_replayed,
];

#[derive(Debug)]
pub struct FileProvider;

impl MessagingProvider for FileProvider {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn channel(&self) -> MessageChannel {
        MessageChannel::Sms
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities::default()
    }

    fn unknown_outcome(&self) -> UnknownOutcomeResolution {
        UnknownOutcomeResolution::Never
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

    fn receiver(&self) -> Option<&dyn ProviderCallbackReceiver> {
        Some(self)
    }

    fn connect(
        &self,
        _http: &HttpClient,
        connection: SenderConnectionSettings,
    ) -> Arc<dyn MessageSender> {
        Arc::new(FileSender(connection.setting("path").into()))
    }
}

/// Callbacks are `{"attempt": …}`: it was delivered.
impl ProviderCallbackReceiver for FileProvider {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn endpoint(&self) -> &'static str {
        "file"
    }

    fn is_well_formed(&self, proof: &CallbackProof<'_>) -> bool {
        proof.header(HEADER).is_some() || proof.parameter("key").is_some()
    }

    /// Signed, or with the secret in the URL.
    fn fitting(
        &self,
        secrets: &[&SecretString],
        proof: &CallbackProof<'_>,
        body: &[u8],
    ) -> Vec<usize> {
        let fits = |secret: &SecretString| {
            let secret = secret.expose_secret();
            proof.header(HEADER) == Some(&*sign(secret, body))
                || proof.parameter("key").as_deref() == Some(secret)
        };
        let positions = secrets.iter().enumerate();
        positions
            .filter(|(_, secret)| fits(secret))
            .map(|(position, _)| position)
            .collect()
    }

    fn handshake(&self, _query: &[(String, String)]) -> Option<WebhookHandshake> {
        None
    }

    fn is_urgent(&self, _body: &[u8]) -> bool {
        false
    }

    fn parse(&self, body: &[u8], received_at: Timestamp) -> ParsedCallback {
        let body: Value = serde_json::from_slice(body).unwrap();
        let attempt = body["attempt"].as_str().unwrap().to_owned();
        let update = MessageStatusUpdate {
            our_id: attempt.parse().ok(),
            provider_message_id: attempt,
            fact: Some(ReportedDeliveryFact::Delivered),
            status: "delivered".to_owned(),
            at: received_at,
            failure: None,
            pricing: None,
            recipient: PersonIds::default(),
            participant: None,
        };
        let item = CallbackItem {
            pointer: String::new(),
            account_id: None,
            endpoint_id: Some("lines".to_owned()),
            display_number: None,
            kind: CallbackItemContent::Update(Box::new(update)),
        };
        ParsedCallback {
            items: vec![item],
            dead: Vec::new(),
        }
    }
}

const HEADER: &str = "X-File-Signature";
const FILE_SECRET: &str = "a-secret-of-the-file-provider";

#[derive(Debug)]
struct FileSender(PathBuf);

#[async_trait]
impl MessageSender for FileSender {
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange {
        let OutgoingContent::Free(content) = &message.content else {
            panic!("it keeps no templates: {message:?}");
        };
        let content = serde_json::to_value(content).unwrap();
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&self.0)
            .unwrap();
        writeln!(file, "{:?} {content}", message.to).unwrap();
        ProviderExchange {
            request: json!("a line"),
            http_status: None,
            answer: None,
            outcome: ProviderCallOutcome::Accepted {
                provider_message_id: message.our_id.attempt.to_string(),
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
    let providers = ProviderRegistry::standard().with(Arc::new(FileProvider));
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

/// A server on which a message went to the file, and the callback that says that it arrived.
async fn delivered(url: &str, folder: &Path) -> (TestApp, String, Vec<u8>) {
    let providers = ProviderRegistry::standard().with(Arc::new(FileProvider));
    let app = TestApp::start_with(url, &[], providers).await;
    app.apply_catalogue(DEMO).await;
    let sender = json!({
        "name": "lines", "kind": "file", "endpoint_id": "lines", "settings": { "path": folder.join("sent.txt") },
        "credentials": [{ "kind": "app_secret", "value": FILE_SECRET }],
    });
    let (code, made) = app.admin("POST", "/api/v1/senders", &sender).await;
    assert_eq!(code, 201, "{made}");
    let body = json!({ "to": "+12025550101", "sender": "lines", "text": "Come at ten." });
    let (code, answer) = app.post("/api/v1/notifications", &body).await;
    assert_eq!(code, 202, "{answer}");
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    let provider = app.engine.provider(id).unwrap();
    let turn = delivery::turn(&app.engine, provider.as_ref(), id, 10, app.now()).await;
    turn.unwrap();
    let id = answer["notifications"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let attempt = app.notification(&id).await["attempts"][0]["id"].clone();
    let callback = json!({ "attempt": attempt }).to_string().into_bytes();
    (app, id, callback)
}

async fn post(app: &TestApp, endpoint: &str, header: &str, secret: &str, body: &[u8]) -> u16 {
    let request = app
        .http
        .post(format!("{}/webhooks/{endpoint}", app.base))
        .header(header, sign(secret, body))
        .body(body.to_vec());
    request.send().await.unwrap().status().as_u16()
}

async fn a_webhook_believes_the_secrets_of_its_own_provider_only(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let (app, id, callback) = delivered(&url, folder.path()).await;
    let of_meta = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    for (endpoint, header, secret, body, expected) in [
        ("file", HEADER, APP_SECRET, &callback[..], 401),
        ("meta", "X-Hub-Signature-256", FILE_SECRET, of_meta, 401),
        ("meta", "X-Hub-Signature-256", APP_SECRET, of_meta, 200),
        ("file", HEADER, FILE_SECRET, &callback, 200),
    ] {
        let code = post(&app, endpoint, header, secret, body).await;
        assert_eq!(code, expected, "{endpoint} with {secret}");
    }
    let twice = format!("file?key={APP_SECRET}&key={FILE_SECRET}");
    for (endpoint, expected) in [
        (format!("file?key={APP_SECRET}"), 401),
        (twice, 401),
        (format!("file?key={FILE_SECRET}"), 200),
        (format!("meta?key={APP_SECRET}"), 401),
    ] {
        let code = post(&app, &endpoint, "X-Other", "", &callback).await;
        assert_eq!(code, expected, "{endpoint}");
    }
    app.process().await;
    assert_eq!(app.notification(&id).await["status"], "delivered");
    app.shut_down().await;
}

async fn a_callback_of_a_provider_that_is_gone_is_kept_and_can_be_replayed(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let (app, id, callback) = delivered(&url, folder.path()).await;
    let code = post(&app, "file", HEADER, FILE_SECRET, &callback).await;
    assert_eq!(code, 200);
    // It was not processed yet: the next server does not know the provider.
    app.shut_down().await;
    let without = TestApp::start(&url, &[]).await;
    without.pass(120);
    without.process().await;
    let reason = without.texts("SELECT reason FROM dead_letter").await;
    assert_eq!(
        reason,
        ["this version takes no callbacks of the endpoint file"]
    );
    without.shut_down().await;
    let providers = ProviderRegistry::standard().with(Arc::new(FileProvider));
    let again = TestApp::start_with(&url, &[], providers).await;
    let callback = again.newest_callback().await;
    assert_eq!(again.replay(callback).await.dead, 0);
    assert_eq!(again.notification(&id).await["status"], "delivered");
    again.shut_down().await;
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
        (422, &json!("one of meta, myoperator, smtp"))
    );
    let (code, _) = app.post("/webhooks/file", &json!({})).await;
    assert_eq!(code, 404);
}
