//! A one-time password is found nowhere after its end: not in the log at its most detailed, not in the
//! metrics, and not in any file of the database, the write-ahead log among them.

use std::{
    io::{BufReader, Write},
    net::TcpListener,
    path::Path,
    process::ChildStderr,
};

use serde_json::{Value, json};

use crate::{
    harness::{Database, Postgres, fresh_database, postgres},
    shutdown::{Served, call_with_request},
};

crate::tests![a_code_is_in_no_file_no_log_line_and_no_metric];

/// A code of the caller's own, which nothing else can look like.
const CODE: &str = "Q7XK2ZPM";
/// One that was given up.
const OTHER: &str = "W9RT4HJB";

const CATALOGUE: &str = r#"
name = "codes"

[[template]]
name = "sign_in"
language = "en"
category = "authentication"
body = "{{ code }} is your verification code."
[[template.parameter]]
name = "code"
kind = "code"
example = "123456"
"#;

/// Answers the next call of a provider, and gives back what was asked for.
fn answer(provider: &TcpListener, id: &str) -> String {
    let (mut stream, request) = call_with_request(provider);
    let body = json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": "+12025550101", "wa_id": "12025550101" }],
        "messages": [{ "id": id }],
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    String::from_utf8_lossy(&request).into_owned()
}

/// Every file below a folder that holds one of these words.
fn files_with(folder: &Path, words: &[&str], seen: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, words, seen));
            continue;
        }
        // Files of the database may go while they are looked for.
        let bytes = std::fs::read(&path).unwrap_or_default();
        *seen += bytes.len();
        let text = String::from_utf8_lossy(&bytes);
        if words.iter().any(|word| text.contains(word)) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn a_code_is_in_no_file_no_log_line_and_no_metric(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let url = fresh_database(&database, folder.path()).await;
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let meta = format!("http://{}", provider.local_addr().unwrap());
    let Served {
        mut child,
        log,
        base,
        key,
    } = Served::start_with(&url, folder.path(), &meta, CATALOGUE, "trace");
    // Read all the time: a full pipe would stop the process.
    let log = std::thread::spawn(move || collected(log));
    let client = herald::providers::http_client(
        std::time::Duration::from_secs(20),
        std::time::Duration::from_secs(5),
    )
    .unwrap();
    let post = async |path: &str, body: Value| -> Value {
        let url = format!("{base}/api/v1/verifications{path}");
        let request = client.post(url).bearer_auth(&key).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(!answer.to_string().contains(CODE), "{answer}");
        answer
    };
    let request = |code: &str| json!({ "to": "+12025550101", "template": "sign_in", "code": code });
    let started = post("", request(CODE)).await;
    let id = started["id"].as_str().unwrap();
    assert!(answer(&provider, "wamid.FIRST").contains(CODE));
    post(&format!("/{id}/resend"), json!({})).await;
    assert!(answer(&provider, "wamid.SECOND").contains(CODE));
    let wrong = post(&format!("/{id}/check"), json!({ "code": "00000000" })).await;
    assert_eq!(wrong["status"], "wrong", "{wrong}");
    let right = post(&format!("/{id}/check"), json!({ "code": CODE })).await;
    assert_eq!(right["status"], "approved", "{right}");
    let given_up = post("", request(OTHER)).await;
    assert!(answer(&provider, "wamid.THIRD").contains(OTHER));
    let path = format!(
        "{base}/api/v1/verifications/{}",
        given_up["id"].as_str().unwrap()
    );
    let gone = client.delete(path).bearer_auth(&key).send().await.unwrap();
    assert!(gone.status().is_success());
    // A mistake in the request is answered without its values, too.
    let mistaken =
        json!({ "to": "+12025550101", "template": "sign_in", "code": CODE, "nonsense": 1 });
    post("", mistaken).await;
    let metrics = client.get(format!("{base}/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let terminated = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(terminated.unwrap().success());
    assert!(child.wait().unwrap().success());
    let log = log.join().unwrap();
    assert!(log.contains("verification.checked"));
    for (what, text) in [("the log", &log), ("the metrics", &metrics)] {
        for code in [CODE, OTHER] {
            let line = text.lines().find(|line| line.contains(code));
            assert_eq!(line, None, "{what}");
        }
    }
    let mut size = 0;
    let codes = [CODE, OTHER];
    let mut found = files_with(folder.path(), &codes, &mut size);
    if database == Database::Postgres
        && let Some(data) = postgres().and_then(Postgres::data)
    {
        let oid = oid(&url).await;
        for part in [&format!("base/{oid}"), "pg_wal"] {
            found.extend(files_with(&data.join(part), &codes, &mut size));
        }
        let server_log = postgres().and_then(Postgres::log).unwrap();
        assert!(codes.iter().all(|code| !server_log.contains(code)));
    }
    assert_eq!(found, Vec::<String>::new());
    assert!(size > 500_000, "the files were read: {size} bytes");
}

fn collected(log: std::io::Lines<BufReader<ChildStderr>>) -> String {
    let mut text = String::new();
    for line in log {
        text += &line.unwrap();
        text.push('\n');
    }
    text
}

/// Under which number the server stores the database; what it has in memory is written first.
async fn oid(url: &str) -> i64 {
    use sea_orm::{ConnectionTrait, Statement};
    let connection = sea_orm::Database::connect(url).await.unwrap();
    connection.execute_unprepared("CHECKPOINT").await.unwrap();
    let sql = "SELECT oid::bigint AS oid FROM pg_database WHERE datname = current_database()";
    let backend = connection.get_database_backend();
    let row = connection
        .query_one_raw(Statement::from_string(backend, sql))
        .await;
    row.unwrap().unwrap().try_get("", "oid").unwrap()
}
