//! How a process ends: what runs is finished, and a second signal ends it at once.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

use herald::store::notification::NotificationRecord;
use serde_json::{Value, json};

use crate::harness::{DEMO, Database, SECRET_KEY, fresh_database};

crate::tests![
    what_is_logged_changes_while_the_process_runs,
    a_stop_finishes_the_calls_that_are_being_made,
    a_second_signal_ends_at_once_and_leaves_an_unknown,
    a_file_that_was_not_closed_in_order_is_read_whole_before_it_is_used,
];

/// `herald serve` as an operator starts it, in front of a provider played by the test.
pub struct Served {
    pub child: Child,
    pub log: std::io::Lines<BufReader<ChildStderr>>,
    pub base: String,
    pub key: String,
}

fn command(url: &str, folder: &Path, meta: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .envs([
            ("DATABASE_URL", url),
            ("HERALD_LISTEN", "127.0.0.1:0"),
            ("HERALD_SECRET_KEY", SECRET_KEY),
            ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922"),
            ("WHATSAPP_ACCESS_TOKEN", "token-for-tests"),
            ("WHATSAPP_APP_SECRET", "app-secret-for-tests"),
            ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", "verify-token-for-tests"),
            ("WHATSAPP_API_BASE", meta),
            // Otherwise the number is asked what it may send.
            ("HERALD_SEND_PER_SECOND", "80"),
        ]);
    command
}

impl Served {
    pub fn start(url: &str, folder: &Path, meta: &str) -> Self {
        Self::start_with(url, folder, meta, DEMO, "info")
    }

    /// With this catalogue, and a log of this filter.
    pub fn start_with(url: &str, folder: &Path, meta: &str, catalogue: &str, log: &str) -> Self {
        std::fs::write(folder.join("catalogue.toml"), catalogue).unwrap();
        let mut key = String::new();
        for words in [
            ["migrate", "up"],
            ["apply", "catalogue.toml"],
            ["keys", "create"],
        ] {
            let mut command = command(url, folder, meta);
            command.args(words);
            if words[0] == "keys" {
                command.args(["tests", "--all"]);
            }
            let output = command.output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .clone_into(&mut key);
        }
        let mut child = command(url, folder, meta)
            .arg("serve")
            .env("HERALD_LOG", log)
            .env("HERALD_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = event(&mut log, "http.listening");
        let address = listening["address"].as_str().unwrap();
        Self {
            base: format!("http://{address}"),
            child,
            log,
            key,
        }
    }

    pub async fn order(&self) -> String {
        let client = herald::providers::http_client(
            std::time::Duration::from_secs(20),
            std::time::Duration::from_secs(5),
        )
        .unwrap();
        let answer: Value = client
            .post(format!("{}/api/v1/events", self.base))
            .bearer_auth(&self.key)
            .json(
                &json!({ "id": "1", "source": "tests", "type": "demo.order.created",
                "data": { "phone": "+12025550101", "customer": "Asha", "order_number": "A-1" } }),
            )
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        answer["notifications"][0].as_str().unwrap().to_owned()
    }

    pub fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

/// Reads the log until a line with this event name.
pub fn event(log: &mut std::io::Lines<BufReader<ChildStderr>>, name: &str) -> Value {
    let mut seen = String::new();
    for line in log {
        let line = line.unwrap();
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        let fields = if value["fields"].is_object() {
            value["fields"].clone()
        } else {
            value
        };
        if fields["event"] == name {
            return fields;
        }
        seen += &line;
    }
    panic!("the process ended without {name}: {seen}");
}

/// Waits for the call and reads its request.
pub fn call(provider: &TcpListener) -> TcpStream {
    call_with_request(provider).0
}

/// The same, with the request.
pub fn call_with_request(provider: &TcpListener) -> (TcpStream, Vec<u8>) {
    loop {
        let (mut stream, _) = provider.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n")
            || (request.starts_with(b"POST") && !request.ends_with(b"}"))
        {
            let size = stream.read(&mut buffer).unwrap();
            assert!(size > 0);
            request.extend_from_slice(&buffer[..size]);
        }
        // What is asked about the number may come first.
        if request.starts_with(b"POST") {
            return (stream, request);
        }
    }
}

async fn stored(url: &str) -> Vec<(String, Option<String>)> {
    use entity::notification;
    use sea_orm::{Database, EntityTrait};
    let connection = Database::connect(url).await.unwrap();
    let all = notification::Entity::find().all(&connection).await.unwrap();
    let mut found = Vec::new();
    for row in all {
        for attempt in NotificationRecord::of(&row).unwrap().attempts {
            found.push((
                sea_orm::ActiveEnum::to_value(&row.engine_state),
                attempt.outcome.map(|outcome| outcome.name().to_owned()),
            ));
        }
    }
    found
}

async fn a_stop_finishes_the_calls_that_are_being_made(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let meta = format!("http://{}", provider.local_addr().unwrap());
    let mut served = Served::start(&url, folder.path(), &meta);
    served.order().await;
    let mut stream = call(&provider);
    served.terminate();
    event(&mut served.log, "process.stopping");
    assert!(
        served.child.try_wait().unwrap().is_none(),
        "a call is being made"
    );
    let body = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": "+12025550101", "wa_id": "12025550101" }],
        "messages": [{ "id": "wamid.LATE" }],
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    assert!(served.child.wait().unwrap().success());
    let found = stored(&url).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.as_deref(), Some("accepted"));
}

async fn a_second_signal_ends_at_once_and_leaves_an_unknown(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let meta = format!("http://{}", provider.local_addr().unwrap());
    let mut served = Served::start(&url, folder.path(), &meta);
    served.order().await;
    let stream = call(&provider);
    served.terminate();
    event(&mut served.log, "process.stopping");
    served.terminate();
    event(&mut served.log, "process.killed");
    let rest: Vec<String> = served.log.by_ref().map(Result::unwrap).collect();
    assert!(
        !rest.iter().any(|line| line.contains("panicked")),
        "{rest:?}"
    );
    served.child.wait().unwrap();
    drop(stream);
    // The attempt was committed before its call: whoever comes next knows of it.
    assert_eq!(stored(&url).await, [("sending".to_owned(), None)]);
}

async fn what_is_logged_changes_while_the_process_runs(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let mut served = Served::start(&url, folder.path(), "http://127.0.0.1:9");
    let made = command(&url, folder.path(), "http://127.0.0.1:9")
        .args(["keys", "create", "admin", "--admin", "--all"])
        .output()
        .unwrap();
    let admin = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    let client = herald::providers::http_client(
        std::time::Duration::from_secs(20),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    let put = async |key: &str, filter: &str| {
        let answer = client
            .put(format!("{}/api/v1/log", served.base))
            .bearer_auth(key)
            .json(&json!({ "filter": filter }))
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    };
    // A handshake that fails has a line.
    let fail = async || {
        let url = format!("{}/webhooks/meta?hub.mode=subscribe", served.base);
        assert_eq!(client.get(url).send().await.unwrap().status().as_u16(), 403);
    };
    assert_eq!(put(&served.key, "off").await, 403);
    assert_eq!(put(&admin, "herald=loud").await, 422);
    assert_eq!(put(&admin, "off").await, 200);
    for _ in 0..3 {
        fail().await;
    }
    assert_eq!(put(&admin, "warn").await, 200);
    fail().await;
    served.terminate();
    let lines: Vec<String> = served.log.by_ref().map(Result::unwrap).collect();
    let told = lines
        .iter()
        .filter(|line| line.contains("webhook.verification_failed"))
        .count();
    assert_eq!(told, 1, "{lines:?}");
    assert!(served.child.wait().unwrap().success());
}

/// The events of a log until the server listens.
fn until_listening(log: &mut std::io::Lines<BufReader<ChildStderr>>) -> Vec<String> {
    let mut events = Vec::new();
    for line in log {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        let fields = if value["fields"].is_object() {
            value["fields"].clone()
        } else {
            value
        };
        let name = fields["event"].as_str().unwrap_or_default().to_owned();
        let listens = name == "http.listening";
        events.push(name);
        if listens {
            return events;
        }
    }
    panic!("the process ended: {events:?}");
}

async fn a_file_that_was_not_closed_in_order_is_read_whole_before_it_is_used(database: Database) {
    let Database::Sqlite = database else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let again = || {
        let mut child = command(&url, folder.path(), "http://127.0.0.1:9")
            .arg("serve")
            .env("HERALD_LOG", "info")
            .env("HERALD_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let events = until_listening(&mut log);
        let checked = events.iter().any(|event| event == "database.checked");
        let held = events.iter().any(|event| event == "hold.active");
        (child, log, checked, held)
    };
    let mut served = Served::start(&url, folder.path(), "http://127.0.0.1:9");
    served.order().await;
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    // Killed: all of it is read, and nothing is missing, as its log is there.
    let (mut child, log, checked, held) = again();
    assert!(checked && !held);
    child.kill().unwrap();
    child.wait().unwrap();
    drop(log);
    // The same when a command has written the log back meanwhile.
    let status = command(&url, folder.path(), "http://127.0.0.1:9")
        .args(["migrate", "status"])
        .output()
        .unwrap();
    assert!(status.status.success());
    let (mut child, log, checked, held) = again();
    assert!(checked && !held);
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    drop(log);
    child.wait().unwrap();
    // Stopped in order: the file alone is the database, and nothing is read.
    for suffix in ["-wal", "-shm"] {
        let left = format!("{}{suffix}", url.trim_start_matches("sqlite:"));
        assert!(!Path::new(&left).exists(), "{left}");
    }
    let (mut child, _log, checked, held) = again();
    assert!(!checked && !held);
    child.kill().unwrap();
    child.wait().unwrap();
}
