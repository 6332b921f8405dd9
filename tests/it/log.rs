//! The log tells what became of a message by Herald's own ids, and nothing of whom it was for.

use std::{io::Write, net::TcpListener};

use serde_json::{Value, json};

use crate::{
    harness::{APP_SECRET, Database, fresh_database, sign, status, value},
    shutdown::{Served, call, event},
};

crate::tests![each_step_of_a_message_has_a_line_with_its_id_and_without_its_recipient];

async fn each_step_of_a_message_has_a_line_with_its_id_and_without_its_recipient(
    database: Database,
) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let meta = format!("http://{}", provider.local_addr().unwrap());
    let mut served = Served::start(&url, folder.path(), &meta);
    let client = herald::providers::http_client(
        std::time::Duration::from_secs(20),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    let handshake = format!(
        "{}/webhooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-token-for-tests",
        served.base
    );
    assert_eq!(client.get(handshake).send().await.unwrap().status(), 200);
    let id = served.order().await;
    let mut stream = call(&provider);
    let body = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": "+12025550101", "wa_id": "12025550101" }],
        "messages": [{ "id": "wamid.LOGGED" }],
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    drop(stream);
    let mut seen = vec![event(&mut served.log, "webhook.verified")];
    seen.push(event(&mut served.log, "event.accepted"));
    seen.push(event(&mut served.log, "send.accepted"));
    let at = || herald::state::Clock::System.now().unix_seconds();
    let text = json!({ "messages": [{ "id": "wamid.IN", "from": "12025550101", "timestamp": at().to_string(),
        "type": "text", "text": { "body": "Thank you" } }] });
    for (change, names) in [
        ("sent", &["callback.received", "notification.sent"][..]),
        (
            "delivered",
            &["callback.received", "notification.delivered"],
        ),
        ("read", &["callback.received", "notification.read"]),
        (
            "",
            &[
                "callback.received",
                "message.received",
                "notification.replied",
            ],
        ),
    ] {
        let items = if change.is_empty() {
            text.clone()
        } else {
            json!({ "statuses": [status("wamid.LOGGED", None, change, at(), None)] })
        };
        let body = value(items).to_string();
        let answer = client
            .post(format!("{}/webhooks/meta", served.base))
            .header("X-Hub-Signature-256", sign(APP_SECRET, body.as_bytes()))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        // Two threads write: what is received, and what is applied.
        let mut wanted = names.to_vec();
        while !wanted.is_empty() {
            let (name, line) = next(&mut served);
            wanted.retain(|wanted| *wanted != name);
            seen.push(line);
        }
    }
    let of_message: Vec<&Value> = seen
        .iter()
        .filter(|line| line["notification.id"] == id.as_str())
        .map(|line| &line["event"])
        .collect();
    assert_eq!(
        of_message,
        [
            "send.accepted",
            "notification.sent",
            "notification.delivered",
            "notification.read",
            "notification.replied"
        ]
    );
    served.terminate();
    let rest: Vec<String> = served.log.by_ref().map(Result::unwrap).collect();
    for line in seen.iter().map(Value::to_string).chain(rest) {
        for private in ["2025550101", "wamid", "Thank you", "Asha"] {
            assert!(!line.contains(private), "{line}");
        }
    }
    assert!(served.child.wait().unwrap().success());
}

/// The next line that has an event.
fn next(served: &mut Served) -> (String, Value) {
    loop {
        let line = served.log.next().expect("the process goes on").unwrap();
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        let fields = line.get("fields").unwrap_or(&line).clone();
        if let Some(name) = fields["event"].as_str() {
            return (name.to_owned(), fields);
        }
    }
}
