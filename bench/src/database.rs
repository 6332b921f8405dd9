//! A fresh database, filled in bulk, and read without Herald's code.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, bail};
use herald::state::Clock;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use crate::{
    Common, record,
    server::{self, READY_WITHIN, Server},
};

/// Every measurement works on notifications of this many people.
pub const NOTIFICATIONS: u64 = 200_000;

/// A database made for one measurement.
pub struct Fresh {
    pub url: String,
    pub directory: PathBuf,
    /// Where it was made, to be dropped again.
    admin: Option<(String, String)>,
    /// Removes the folder at the end, unless it was given.
    _folder: Option<tempfile::TempDir>,
}

impl Fresh {
    /// Makes and migrates a database.
    pub async fn make(common: &Common, name: &str) -> anyhow::Result<Self> {
        let (directory, folder) = if let Some(directory) = &common.directory {
            let directory = directory.join(name);
            if directory.exists() {
                std::fs::remove_dir_all(&directory)?;
            }
            std::fs::create_dir_all(&directory)?;
            (directory, None)
        } else {
            let folder = tempfile::tempdir()?;
            (folder.path().to_owned(), Some(folder))
        };
        let (url, admin) = match &common.database {
            None => (
                format!("sqlite:{}", directory.join("herald.sqlite").display()),
                None,
            ),
            Some(url) if url.starts_with("sqlite:") => {
                bail!("--database is for PostgreSQL; SQLite files go to --directory")
            }
            Some(url) => {
                let database = format!("herald_bench_{}", uuid::Uuid::new_v4().simple());
                let admin = Database::connect(url.as_str())
                    .await
                    .context("--database cannot be reached")?;
                admin
                    .execute_unprepared(&format!("CREATE DATABASE {database}"))
                    .await?;
                admin.close().await?;
                let (server, _) = url
                    .rsplit_once('/')
                    .context("--database has no database name")?;
                (
                    format!("{server}/{database}"),
                    Some((url.clone(), database)),
                )
            }
        };
        let fresh = Self {
            url,
            directory,
            admin,
            _folder: folder,
        };
        server::command(&fresh.url, &fresh.directory, &["migrate", "up"])?;
        Ok(fresh)
    }

    pub async fn connect(&self) -> anyhow::Result<DatabaseConnection> {
        open(&self.url).await
    }

    /// Drops what was made.
    pub async fn drop(self) -> anyhow::Result<()> {
        if let Some((url, database)) = &self.admin {
            let admin = Database::connect(url.as_str()).await?;
            admin
                .execute_unprepared(&format!("DROP DATABASE {database} WITH (FORCE)"))
                .await?;
        }
        Ok(())
    }
}

/// One connection to a database; on SQLite with its second file.
pub async fn open(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await?;
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.split('?').next().unwrap_or_default();
        let attach = format!("ATTACH DATABASE '{path}.inbox' AS inbox");
        connection.execute_unprepared(&attach).await?;
    }
    Ok(connection)
}

/// The first half of the ids of this run, as text: the millisecond it began. What
/// is older than it should be is deleted while it is measured.
pub fn era() -> &'static str {
    static ERA: OnceLock<String> = OnceLock::new();
    ERA.get_or_init(|| {
        let millis = Clock::System.now().micros() / 1000;
        let hex = format!("{millis:012x}");
        let (first, second) = hex.split_at(8);
        format!("{first}-{second}-7000")
    })
}

/// What travels with the message of a notification, as the seed writes it.
pub fn our_id(number: u64) -> String {
    let era = era();
    format!("{era}-8000-{number:012x}.{era}-9000-{number:012x}")
}

/// The sender of what is filled in.
const SENDER: uuid::Uuid = uuid::uuid!("00000000-0000-7000-a000-000000000001");

/// How SQL writes the id of row `i`; `kind` is the third group of digits.
pub fn id_sql(postgres: bool, kind: &str) -> String {
    if postgres {
        format!("('{}-{kind}-' || lpad(to_hex(i), 12, '0'))::uuid", era())
    } else {
        format!(
            "unhex('{}{kind}' || printf('%012x', i))",
            era().replace('-', "")
        )
    }
}

pub fn wamid(number: u64) -> String {
    format!("wamid.BENCH{number:012}")
}

/// Fills in notifications that were accepted, one attempt each, and one timer rule.
pub async fn seed(fresh: &Fresh) -> anyhow::Result<()> {
    seed_with(fresh, NOTIFICATIONS).await
}

/// The same with so many notifications.
pub async fn seed_with(fresh: &Fresh, notifications: u64) -> anyhow::Result<()> {
    let catalogue = fresh.directory.join("bench.toml");
    std::fs::write(&catalogue, CATALOGUE)?;
    server::command(
        &fresh.url,
        &fresh.directory,
        &["apply", &catalogue.display().to_string()],
    )?;
    let connection = fresh.connect().await?;
    let postgres = connection.get_database_backend() == DbBackend::Postgres;
    let (series, notification, attempt, wamid, sender) = if postgres {
        (
            format!("generate_series(0, {}) AS s(i)", notifications - 1),
            id_sql(true, "9000"),
            id_sql(true, "8000"),
            "'wamid.BENCH' || lpad(i::text, 12, '0')",
            "'00000000-0000-7000-a000-000000000001'::uuid",
        )
    } else {
        (
            format!(
                "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {}) SELECT i FROM s)",
                notifications - 1
            ),
            id_sql(false, "9000"),
            id_sql(false, "8000"),
            "'wamid.BENCH' || printf('%012d', i)",
            "unhex('0000000000007000a000000000000001')",
        )
    };
    let at = Clock::System.now();
    let now = at.micros();
    let accepted = record::sent(at, SENDER, &[]);
    let record = record::sql(
        postgres,
        &accepted,
        at,
        &[(record::placeholder(1), &attempt)],
    )?;
    for statement in [
        format!(
            "INSERT INTO notification (id, created_at, updated_at, depth, sender_id, channel, recipient, address, kind, template, \
             category, params, body, labels, priority, generation, status, engine_state, triggered, replied, attempt_count, record) \
             SELECT {notification}, {now}, {now}, 0, {sender}, 'whatsapp', '+12025550101', '+12025550101', 'template', \
             'bench_template', 'utility', '{{\"name\":\"Asha\"}}', 'Hello Asha, this is a message.', '{{}}', 2, 1, 'accepted', 'settled', \
             1, false, 1, {record} FROM {series}"
        ),
        format!(
            "INSERT INTO attempt (id, notification_id, sender_id, number, outcome, answered_at, http_status, provider_message_id, request, answer) \
             SELECT {attempt}, {notification}, {sender}, 1, 'accepted', {now}, 200, {wamid}, \
             '{{\"type\":\"template\",\"to\":\"+*********01\"}}', '{{\"messages\":[{{\"id\":\"x\"}}]}}' FROM {series}"
        ),
    ] {
        connection.execute_unprepared(&statement).await?;
    }
    tidy(&connection).await?;
    connection.close().await?;
    Ok(())
}

/// The same with a sender of that number, which the server makes when it starts: what it
/// sent itself and what was filled in come from one sender.
pub async fn seed_of_sender(fresh: &Fresh, notifications: u64) -> anyhow::Result<()> {
    seed_with(fresh, notifications).await?;
    let settings = [
        ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
        ("WHATSAPP_ACCESS_TOKEN", "sandbox-token".to_owned()),
        ("WHATSAPP_API_BASE", "http://127.0.0.1:9".to_owned()),
    ];
    let connection = own_messages(fresh, &settings).await?;
    // It is going to be copied on purpose: a server of a copy would hold sending.
    let files: &[&str] = if connection.get_database_backend() == DbBackend::Postgres {
        &["setting"]
    } else {
        &["main.setting", "inbox.setting"]
    };
    for setting in files {
        let forget = format!("DELETE FROM {setting} WHERE name = 'server_file'");
        connection.execute_unprepared(&forget).await?;
    }
    tidy(&connection).await?;
    connection.close().await?;
    Ok(())
}

/// What was filled in was sent by the number in these settings: a first start makes its sender.
pub async fn own_messages(
    fresh: &Fresh,
    settings: &[(&str, String)],
) -> anyhow::Result<DatabaseConnection> {
    let mut server = Server::start(&fresh.url, &fresh.directory, &[], settings).await?;
    // Killed, it would leave a log that the connection below writes back, as if by a copy.
    server.stop(READY_WITHIN).await?;
    let connection = fresh.connect().await?;
    for table in ["notification", "attempt"] {
        let of_sender = format!("UPDATE {table} SET sender_id = (SELECT id FROM sender)");
        connection.execute_unprepared(&of_sender).await?;
    }
    record::set_sender(&connection, SENDER).await?;
    Ok(connection)
}

/// Leaves nothing to be done about what was filled in.
async fn tidy(connection: &DatabaseConnection) -> anyhow::Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        connection.execute_unprepared("VACUUM ANALYZE").await?;
        connection.execute_unprepared("CHECKPOINT").await?;
    } else {
        let write_back = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.execute_unprepared(write_back).await?;
    }
    Ok(())
}

const CATALOGUE: &str = r#"
name = "bench"

[[template]]
name = "bench_template"
category = "utility"
body = "Hello {{ name }}, this is a message."

[[rule]]
name = "bench-unread"
on = "delivered"
after = "24h"
unless = ["read", "replied"]
[rule.send]
to = "same"
template = "bench_template"
params = { name = "{{ notification.params.name }}" }
"#;

/// One number out of the database.
pub async fn number(connection: &DatabaseConnection, sql: &str) -> anyhow::Result<i64> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection
        .query_one_raw(statement)
        .await?
        .context("no row")?;
    Ok(row.try_get_by_index(0)?)
}

/// How many callbacks are stored.
pub async fn stored(connection: &DatabaseConnection) -> anyhow::Result<i64> {
    let stored = "SELECT CAST(coalesce(sum(bodies), 0) AS bigint) FROM inbox_segment";
    number(connection, stored).await
}

/// How many callbacks are stored and not applied.
pub async fn waiting(connection: &DatabaseConnection) -> anyhow::Result<i64> {
    let waiting = "SELECT CAST(coalesce(sum(bodies), 0) AS bigint) FROM inbox_pending \
         WHERE NOT EXISTS (SELECT 1 FROM inbox_applied a WHERE a.segment = inbox_pending.segment)";
    number(connection, waiting).await
}

/// How many callbacks are applied.
pub async fn applied(connection: &DatabaseConnection) -> anyhow::Result<i64> {
    let applied = "SELECT CAST(coalesce(sum(s.bodies), 0) AS bigint) FROM inbox_segment s \
         JOIN inbox_applied a ON a.segment = s.id";
    number(connection, applied).await
}

/// Where a file of a measurement goes.
pub fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}
