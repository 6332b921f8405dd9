//! Secrets that are looked for everywhere: logs, errors, answers, metrics, and every
//! byte of the database.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use herald::store;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::SECOND;
use crate::harness::{DEMO, Database, Graph, PHONE_NUMBER_ID, fresh_database, sign};

crate::tests![no_secret_is_found_anywhere];

const ENVIRONMENT_TOKEN: &str = "CANARYenvtokenCANARYenvtoken01";
const ENVIRONMENT_SECRET: &str = "CANARYenvsecretCANARYenvsecret";
const ENVIRONMENT_VERIFY: &str = "CANARYenvverify";
const OWN_TOKEN: &str = "CANARYowntokenCANARYowntoken02";
const OWN_SECRET: &str = "CANARYownsecretCANARYownsecret";
const OWN_VERIFY: &str = "CANARYownverifyCANARYownverify";
const WRONG_TOKEN: &str = "CANARYwrong";
const PASSWORD: &str = "CANARYpassword";
const SECRET_KEY: &str = "ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a";
const TEXT: &str = "CANARYtext";
const PERSON: &str = "12025550173";

/// What may be nowhere.
const SECRETS: [&str; 9] = [
    ENVIRONMENT_TOKEN,
    ENVIRONMENT_SECRET,
    ENVIRONMENT_VERIFY,
    OWN_TOKEN,
    OWN_SECRET,
    OWN_VERIFY,
    WRONG_TOKEN,
    PASSWORD,
    SECRET_KEY,
];

/// Everything that was said, and by whom.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn note(&mut self, who: &str, what: &str) {
        self.0.push((who.to_owned(), what.to_owned()));
    }

    fn output(&mut self, who: &str, output: &Output) {
        self.note(who, &String::from_utf8_lossy(&output.stdout));
        self.note(who, &String::from_utf8_lossy(&output.stderr));
    }

    fn nowhere(&self, canary: &str, within: &[&str]) {
        for (who, what) in &self.0 {
            if within.is_empty() || within.contains(&who.as_str()) {
                let at = what.find(canary);
                assert!(
                    at.is_none(),
                    "{canary} was said by {who}: …{}…",
                    at.map_or("", |at| &what[at.saturating_sub(200).min(at)..at])
                );
            }
        }
    }
}

fn command(url: &str, folder: &Path, graph: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herald"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .envs([
            ("DATABASE_URL", url),
            ("HERALD_LISTEN", "127.0.0.1:0"),
            ("HERALD_SECRET_KEY", SECRET_KEY),
            // As much as there is.
            ("HERALD_LOG", "trace"),
            ("WHATSAPP_PHONE_NUMBER_ID", PHONE_NUMBER_ID),
            ("WHATSAPP_ACCESS_TOKEN", ENVIRONMENT_TOKEN),
            ("WHATSAPP_APP_SECRET", ENVIRONMENT_SECRET),
            ("WHATSAPP_WEBHOOK_VERIFY_TOKEN", ENVIRONMENT_VERIFY),
            ("WHATSAPP_API_BASE", graph),
        ]);
    command
}

/// A server whose every log line is kept.
struct Served {
    child: Child,
    base: String,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .arg("serve")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let base = loop {
            let mut line = String::new();
            assert!(
                lines.read_line(&mut line).unwrap() > 0,
                "it ended: {}",
                log.lock().unwrap()
            );
            log.lock().unwrap().push_str(&line);
            if line.contains("http.listening") || line.contains("start.waiting") {
                let at = line.find("127.0.0.1:").unwrap();
                let address: String = line[at..]
                    .chars()
                    .take_while(|letter| letter.is_ascii_digit() || ".:".contains(*letter))
                    .collect();
                break format!("http://{address}");
            }
        };
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            let mut rest = Vec::new();
            lines.read_to_end(&mut rest).unwrap();
            kept.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&rest));
        });
        Self {
            child,
            base,
            log,
            reader,
        }
    }

    /// Stops it, and gives back its log.
    fn stop(mut self) -> String {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success() && self.child.wait().unwrap().success());
        self.reader.join().unwrap();
        self.log.lock().unwrap().clone()
    }
}

async fn no_secret_is_found_anywhere(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let graph = Graph::start();
    let plain = fresh_database(&database, folder.path()).await;
    // The throwaway cluster trusts everybody, and so takes any password.
    let url = plain.replacen('@', &format!(":{PASSWORD}@"), 1);
    let mut heard = Heard::default();
    std::fs::write(folder.path().join("demo.toml"), DEMO).unwrap();
    for (name, value) in [
        ("token", OWN_TOKEN),
        ("secret", OWN_SECRET),
        ("verify", OWN_VERIFY),
        ("bad", "CANARYwrong two words"),
    ] {
        std::fs::write(folder.path().join(name), value).unwrap();
    }
    let run = |words: &[&str]| {
        command(&url, folder.path(), &graph.base)
            .args(words)
            .output()
            .unwrap()
    };
    let mut keys = Vec::new();
    for words in [
        &["migrate", "up"][..],
        &["apply", "demo.toml"],
        &[
            "senders",
            "add",
            "shop",
            "--phone-number-id",
            SECOND,
            "--app-id",
            "222",
            "--access-token-file",
            "token",
            "--app-secret-file",
            "secret",
            "--verify-token-file",
            "verify",
            "--default",
        ],
        &["senders", "set", "shop", "--access-token-file", "bad"],
        &["senders", "list"],
        &["senders", "list", "--json"],
        &["keys", "list"],
    ] {
        heard.output(&words.join(" "), &run(words));
    }
    for words in [
        &["keys", "create", "canary", "--admin", "--all"][..],
        &["keys", "create", "product", "--all"],
    ] {
        // A key is printed once, here; only its log is looked at.
        let output = run(words);
        keys.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        heard.note("keys create", &String::from_utf8_lossy(&output.stderr));
    }
    let keys: [String; 2] = keys.try_into().unwrap();
    refused_starts(&url, folder.path(), &graph.base, &mut heard);
    database_away(&url, folder.path(), &graph.base, &mut heard).await;
    let served = Served::start(command(&url, folder.path(), &graph.base));
    whole_day(&served.base, &keys, &graph, &mut heard).await;
    let log = served.stop();
    // It is worth something only if they were in use.
    let used: Vec<String> = graph.calls().into_iter().map(|call| call.token).collect();
    assert!(
        used.iter().any(|token| token == OWN_TOKEN)
            && used.iter().any(|token| token == ENVIRONMENT_TOKEN)
    );
    assert!(log.contains("send.accepted") && log.contains("sender.held") && log.len() > 10_000);
    heard.note("log", &log);
    heard.note("database", &dump(&database, &plain, folder.path()).await);
    for secret in SECRETS {
        heard.nowhere(secret, &[]);
        heard.nowhere(&hex::encode(secret), &[]);
    }
    for key in &keys {
        heard.nowhere(key, &[]);
    }
    // What people write and who they are is kept, and not talked about.
    for private in [TEXT, PERSON, "wamid.GRAPH"] {
        heard.nowhere(private, &["log", "/metrics", "problem"]);
    }
}

/// Starts that fail, each with a secret in what is wrong.
fn refused_starts(url: &str, folder: &Path, graph: &str, heard: &mut Heard) {
    for (name, value) in [
        ("HERALD_SECRET_KEY", "CANARYwrong"),
        (
            "HERALD_SECRET_KEY",
            "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f",
        ),
        ("DATABASE_URL", "mysql://herald:CANARYpassword@host/db"),
        ("WHATSAPP_API_BASE", "CANARYwrong"),
    ] {
        let output = command(url, folder, graph)
            .arg("serve")
            .env(name, value)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{name}");
        heard.output("a refused start", &output);
    }
}

/// A start that waits for a database that does not answer.
async fn database_away(url: &str, folder: &Path, graph: &str, heard: &mut Heard) {
    let away = format!("postgres://herald:{PASSWORD}@127.0.0.1:9/nothing");
    let mut waiting = command(url, folder, graph);
    waiting.env("DATABASE_URL", away);
    let served = Served::start(waiting);
    let second = std::time::Duration::from_secs(1);
    let http = herald::providers::http_client(20 * second, 5 * second).unwrap();
    let answer = http
        .get(format!("{}/readyz", served.base))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    heard.note("/readyz", &answer.text().await.unwrap());
    heard.note("log", &served.stop());
}

/// Everything that is said to a server, right and wrong.
async fn whole_day(base: &str, [admin, product]: &[String; 2], graph: &Graph, heard: &mut Heard) {
    let http = herald::providers::http_client(
        std::time::Duration::from_secs(20),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    let ask = async |key: &str, to: &str, more: Value| {
        let mut body = json!({ "to": to, "template": "order_confirmation",
            "params": { "customer_name": TEXT, "order_number": TEXT } });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let answer = http
            .post(format!("{base}/api/v1/notifications"))
            .bearer_auth(key)
            .header("Prefer", "wait=1")
            .json(&body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let person = format!("+{PERSON}");
    let own = ask(product, &person, json!({})).await;
    assert_eq!(own.0, 200, "{}", own.1);
    let environments = ask(
        product,
        &person,
        json!({ "sender": format!("meta {PHONE_NUMBER_ID}") }),
    )
    .await;
    assert_eq!(environments.0, 200, "{}", environments.1);
    // Callbacks: of both apps, forged, and nonsense.
    for (secret, number) in [
        (OWN_SECRET, SECOND),
        (ENVIRONMENT_SECRET, PHONE_NUMBER_ID),
        (OWN_SECRET, PHONE_NUMBER_ID),
        (WRONG_TOKEN, SECOND),
    ] {
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{ "field": "messages",
            "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": number },
                "contacts": [{ "wa_id": PERSON, "profile": { "name": TEXT } }],
                "messages": [{ "from": PERSON, "id": format!("wamid.GRAPHin{secret}").replace("CANARY", ""), "timestamp": "1767225600", "type": "text", "text": { "body": TEXT } }, 7],
            } }] }] }).to_string().into_bytes();
        let answer = http
            .post(format!("{base}/webhooks/meta"))
            .header("X-Hub-Signature-256", sign(secret, &body))
            .body(body)
            .send()
            .await
            .unwrap();
        heard.note("problem", &answer.text().await.unwrap());
    }
    for token in [OWN_VERIFY, ENVIRONMENT_VERIFY, WRONG_TOKEN] {
        let path = format!(
            "{base}/webhooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}"
        );
        heard.note(
            "problem",
            &http.get(path).send().await.unwrap().text().await.unwrap(),
        );
    }
    // Wrong requests that hold a secret.
    for body in [
        json!({ "kind": "access_token", "value": WRONG_TOKEN, "more": 1 }).to_string(),
        json!({ "kind": "access_token", "value": [WRONG_TOKEN] }).to_string(),
        json!({ "kind": WRONG_TOKEN, "value": WRONG_TOKEN }).to_string(),
        json!({ "kind": "access_token", "value": format!("{WRONG_TOKEN} {WRONG_TOKEN}") })
            .to_string(),
        format!("{{\"kind\": \"access_token\", \"value\": \"{WRONG_TOKEN}"),
    ] {
        for key in [admin.as_str(), product, WRONG_TOKEN] {
            let answer = http
                .post(format!("{base}/api/v1/senders/shop/credentials"))
                .bearer_auth(key)
                .body(body.clone())
                .send()
                .await
                .unwrap();
            assert!(answer.status().is_client_error());
            heard.note("problem", &answer.text().await.unwrap());
        }
    }
    // The token's time is over; and nobody is there any more.
    graph.expires(OWN_TOKEN);
    let held = ask(product, &person, json!({})).await;
    heard.note("an answer", &held.1);
    let away = json!({ "api_base": "http://127.0.0.1:9" });
    let moved = http
        .patch(format!("{base}/api/v1/senders/meta%20{PHONE_NUMBER_ID}"))
        .bearer_auth(admin)
        .json(&away)
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status().as_u16(), 200);
    let lost = ask(
        product,
        &person,
        json!({ "sender": format!("meta {PHONE_NUMBER_ID}") }),
    )
    .await;
    heard.note("an answer", &lost.1);
    for path in [
        "/metrics",
        "/readyz",
        "/livez",
        "/api/v1/openapi.json",
        "/api/v1/senders",
        "/api/v1/senders/shop",
        "/api/v1/audit",
        "/api/v1/notifications",
        "/api/v1/messages",
        "/api/v1/notices",
        "/api/v1/templates",
        "/api/v1/stats",
        "/api/v1/contacts/conflicts",
        "/api/v1/suppressions",
        "/problems",
    ] {
        let answer = http
            .get(format!("{base}{path}"))
            .bearer_auth(admin)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{path}");
        heard.note(path, &answer.text().await.unwrap());
    }
}

/// Every byte there is.
async fn dump(database: &Database, url: &str, folder: &Path) -> String {
    if *database == Database::Sqlite {
        let mut all = String::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("herald.sqlite")
            {
                all += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
            }
        }
        assert!(all.contains("v1:"));
        return all;
    }
    let open = store::connect::open(
        &SecretString::from(url),
        2,
        store::connect::ConnectPurpose::Command,
    )
    .await
    .unwrap();
    let tables = store::dialect::query(
        open.reader(),
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
        [],
    )
    .await
    .unwrap();
    let mut all = String::new();
    for table in &tables {
        let name: String = table.try_get_by_index(0).unwrap();
        let rows =
            store::dialect::query(open.reader(), format!("SELECT t::text FROM {name} t"), [])
                .await
                .unwrap();
        for row in &rows {
            all += &row.try_get_by_index::<String>(0).unwrap();
        }
    }
    assert!(tables.len() > 20 && all.contains("v1:"));
    all
}
