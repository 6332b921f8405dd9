//! What the programs that send share: a sandbox with a ledger, and a queue filled in bulk.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use herald::domain::attempt_id::AttemptReference;
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::Value;
use uuid::Uuid;

use crate::{database, database::Fresh, server};

/// The sandbox as a process of its own. Dropped, it is killed.
pub struct Sandbox {
    child: Child,
    pub address: SocketAddr,
    ledger: PathBuf,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One message that the sandbox accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub attempt: Uuid,
    pub notification: Uuid,
    /// By the sandbox's clock, in microseconds.
    pub at: i64,
    /// How long the answer took it, in microseconds.
    pub took: f64,
}

impl Sandbox {
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_with(directory, &[]).await
    }

    /// The same with more words.
    pub async fn start_with(directory: &Path, words: &[&str]) -> anyhow::Result<Self> {
        let ledger = database::file(directory, "accepted.jsonl");
        let address = server::free_address()?;
        // Two builds are compared against the same counterpart.
        let program = std::env::var_os("BENCH_SANDBOX")
            .map_or_else(std::env::current_exe, |path| Ok(path.into()))?;
        let child = Command::new(program)
            .args([
                "herald",
                "sandbox",
                "--listen",
                &address.to_string(),
                "--ledger",
            ])
            .arg(&ledger)
            .args(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(Self {
            child,
            address,
            ledger,
        })
    }

    /// The settings with which a server sends to it.
    pub fn settings(&self, per_second: u64) -> Vec<(&'static str, String)> {
        vec![
            ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
            ("WHATSAPP_ACCESS_TOKEN", "sandbox-token".to_owned()),
            ("WHATSAPP_API_BASE", format!("http://{}", self.address)),
            ("HERALD_SEND_PER_SECOND", per_second.to_string()),
        ]
    }

    /// What it accepted so far.
    pub fn accepted(&self) -> anyhow::Result<Vec<Accepted>> {
        let file = std::fs::File::open(&self.ledger).context("the sandbox wrote no ledger")?;
        Ok(BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .filter_map(|line| {
                let our_id: AttemptReference = line.get("our_id")?.as_str()?.parse().ok()?;
                Some(Accepted {
                    attempt: our_id.attempt,
                    notification: our_id.notification?,
                    at: line.get("at")?.as_i64()?,
                    took: line.get("took")?.as_f64()?,
                })
            })
            .collect())
    }
}

/// The catalogue of what is sent.
const CATALOGUE: &str = r#"
name = "bench"

[[template]]
name = "bench_template"
category = "utility"
body = "Hello {{ name }}, this is a message."

[[template]]
name = "bench_code"
category = "authentication"
body = "{{ code }} is your code."
"#;

/// A `FROM` item: the numbers `i` from 0, so many of them.
pub fn series(postgres: bool, count: u64) -> String {
    if postgres {
        format!("generate_series(0, {}) AS s(i)", count - 1)
    } else {
        format!(
            "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {}) SELECT i FROM s)",
            count - 1
        )
    }
}

/// Applies the catalogue and fills the queue with messages of one priority, to
/// so many people.
pub async fn queue(fresh: &Fresh, count: u64, people: u64, priority: u8) -> anyhow::Result<()> {
    let catalogue = fresh.directory.join("send.toml");
    std::fs::write(&catalogue, CATALOGUE)?;
    server::command(
        &fresh.url,
        &fresh.directory,
        &["apply", &catalogue.display().to_string()],
    )?;
    let connection = fresh.connect().await?;
    let postgres = connection.get_database_backend() == DbBackend::Postgres;
    let series = |count| series(postgres, count);
    let id = database::id_sql(postgres, "9000");
    let contact = database::id_sql(postgres, "a000");
    let of_person = contact.replace("(i)", &format!("(i % {people})"));
    let of_person = if postgres {
        of_person
    } else {
        of_person.replace(", i)", &format!(", i % {people})"))
    };
    let number = if postgres {
        format!("'+1202' || lpad((i % {people} + 2000000)::text, 7, '0')")
    } else {
        format!("'+1202' || printf('%07d', i % {people} + 2000000)")
    };
    let now = herald::state::Clock::System.now().micros();
    for statement in [
        // Every contact has the number that is written to: otherwise each would be made anew when a message leaves.
        format!(
            "INSERT INTO contact (id, created_at, anchor_kind, anchor, anchor_at) SELECT {contact}, {now}, 'phone', {number}, {now} FROM {}",
            series(people)
        ),
        format!(
            "INSERT INTO contact_alias (kind, value, contact_id, created_at) SELECT 'phone', {number}, {contact}, {now} FROM {}",
            series(people)
        ),
        format!(
            "INSERT INTO notification (id, created_at, updated_at, depth, channel, contact_id, recipient, address, kind, template, language, \
             category, params, body, labels, priority, generation, status, open_status, engine_state, triggered, replied, \
             attempt_count, due_at) \
             SELECT {id}, {now}, {now}, 0, 'whatsapp', {of_person}, {number}, {number}, 'template', 'bench_template', 'en_US', 'utility', \
             '{{\"name\":\"Asha\"}}', 'Hello Asha, this is a message.', '{{}}', {priority}, 1, 'queued', 'queued', 'queued', 0, false, 0, {now} \
             FROM {}",
            series(count)
        ),
    ] {
        connection.execute_unprepared(&statement).await?;
    }
    if postgres {
        connection.execute_unprepared("VACUUM ANALYZE").await?;
    }
    connection.close().await?;
    Ok(())
}
