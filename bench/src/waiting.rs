//! `bench waiting`

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::{Map, Value, json};

use crate::{
    Common, database,
    database::Fresh,
    outbound::{self, Sandbox},
    print, progress,
    server::{self, Server},
};

/// What waits for one person, or for a template, beside messages to others: how long theirs take.
#[derive(Debug, Args)]
pub struct Waiting {
    #[command(flatten)]
    common: Common,
    /// Messages that wait.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// The pace of the number.
    #[arg(long, default_value_t = 80)]
    per_second: u64,
}

/// To others, a second.
const PER_SECOND: u64 = 20;

/// Where the messages are that have to wait.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// There are none.
    None,
    /// For their turn with one person.
    Turn,
    /// For a template that is paused.
    Template,
    /// For one person, and not looked at yet.
    DueForPerson,
    /// For a template that is paused, and not looked at yet.
    DueForTemplate,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Turn,
        Self::Template,
        Self::DueForPerson,
        Self::DueForTemplate,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing_waits",
            Self::Turn => "for_a_turn",
            Self::Template => "for_a_template",
            Self::DueForPerson => "due_for_one_person",
            Self::DueForTemplate => "due_for_a_template",
        }
    }

    /// Template, state, what it is held for, whether it is due.
    const fn columns(self) -> (&'static str, &'static str, &'static str, bool) {
        match self {
            Self::None | Self::DueForPerson => ("bench_template", "queued", "NULL", true),
            Self::Turn => ("bench_template", "queued", "'turn'", false),
            Self::Template => ("bench_code", "held", "'template'", false),
            Self::DueForTemplate => ("bench_code", "queued", "NULL", true),
        }
    }
}

impl Waiting {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "waiting").await?;
        outbound::queue(&fresh, 1, 200, 2).await?;
        let sandbox = Sandbox::start(&fresh.directory).await?;
        let settings = sandbox.settings(self.per_second);
        let key = server::command(
            &fresh.url,
            &fresh.directory,
            &["keys", "create", "bench", "--all"],
        )?;
        let mut result = Map::new();
        for kind in Kind::ALL {
            if !matches!(kind, Kind::None) {
                progress(&format!("{} messages {} …", self.count, kind.name()));
                let connection = fresh.connect().await?;
                self.fill(&connection, kind).await?;
                connection.close().await?;
            }
            let server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
            if !matches!(kind, Kind::None) {
                // A file that was written to without a server starts on hold.
                drop(server::command(
                    &fresh.url,
                    &fresh.directory,
                    &["hold", "release"],
                ));
            }
            let times = self.others(&server, key.trim()).await?;
            let at = |percent: usize| {
                let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
                (times.get(place).copied().unwrap_or_default() * 10.0).round() / 10.0
            };
            let found: Value = json!({ "p50_ms": at(50), "p99_ms": at(99), "slowest_ms": at(100) });
            progress(&format!("{}: {found}", kind.name()));
            result.insert(kind.name().to_owned(), found);
        }
        let connection = fresh.connect().await?;
        for (name, held) in [
            ("wait_for_a_turn", "turn"),
            ("wait_for_a_template", "template"),
        ] {
            let sql = format!("SELECT count(*) FROM notification WHERE held_for = '{held}'");
            let count = database::number(&connection, &sql).await?;
            result.insert(name.to_owned(), count.into());
        }
        connection.close().await?;
        print(&Value::Object(result), self.common.json);
        fresh.drop().await
    }

    /// Messages that wait, all for the same person and from the number that is there.
    async fn fill(&self, connection: &DatabaseConnection, kind: Kind) -> anyhow::Result<()> {
        let postgres = connection.get_database_backend() == DbBackend::Postgres;
        let (template, state, held_for, is_due) = kind.columns();
        let id = database::id_sql(
            postgres,
            match kind {
                Kind::None => "9100",
                Kind::Turn => "9101",
                Kind::Template => "9102",
                Kind::DueForPerson => "9103",
                Kind::DueForTemplate => "9104",
            },
        );
        let series = outbound::series(postgres, self.count);
        let now = herald::state::Clock::System.now().micros();
        let due = if is_due {
            now.to_string()
        } else {
            "NULL".to_owned()
        };
        // The last of the people, to whom no other message goes.
        let person = "(SELECT max(contact_id) FROM contact_alias)";
        let number = format!("(SELECT value FROM contact_alias WHERE contact_id = {person})");
        let sender = "(SELECT id FROM sender)";
        for statement in [
            format!(
                "INSERT INTO notification (id, created_at, updated_at, depth, channel, contact_id, recipient, address, kind, template, \
                 language, category, params, body, labels, priority, generation, status, open_status, engine_state, triggered, replied, \
                 attempt_count, due_at, sender_id, held_for, expires_at, wake_at) \
                 SELECT {id}, {now}, {now}, 0, 'whatsapp', {person}, {number}, {number}, 'template', '{template}', 'en_US', 'utility', \
                 '{{\"name\":\"Asha\",\"code\":\"1\"}}', 'Hello Asha, this is a message.', '{{}}', 2, 1, '{state}', '{state}', '{state}', 0, false, \
                 0, {due}, {sender}, {held_for}, {now} + 86400000000, {now} + 86400000000 FROM {series}"
            ),
            format!(
                "INSERT INTO conversation (sender_id, contact_id, created_at, pair_next_at, turn_at) \
                 VALUES ({sender}, {person}, {now}, {now} + 270000000, {now} + 6000000) ON CONFLICT (sender_id, contact_id) \
                 DO UPDATE SET pair_next_at = excluded.pair_next_at, turn_at = excluded.turn_at"
            ),
            format!(
                "INSERT INTO template_sync (account_id, name, language, created_at, updated_at, status, status_at) \
                 VALUES ('', 'bench_code', 'en_US', {now}, {now}, 'paused', {now}) ON CONFLICT DO NOTHING"
            ),
        ] {
            connection.execute_unprepared(&statement).await?;
        }
        if postgres {
            connection.execute_unprepared("VACUUM ANALYZE").await?;
        }
        Ok(())
    }

    /// Messages to others, one after the other: from the request to the provider's answer.
    async fn others(&self, server: &Server, key: &str) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        let pause = Duration::from_secs(1) / u32::try_from(PER_SECOND)?;
        for number in 0..self.common.seconds * PER_SECOND {
            let body = json!({ "to": format!("+1202{:07}", 2_000_000 + number % 150),
                "template": "bench_template", "params": { "name": "Asha" } })
            .to_string();
            let text = format!(
                "POST /api/v1/notifications HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {key}\r\n\
                 Prefer: wait=60\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let asked = Instant::now();
            let (status, answer) = server::request(server.address, &text).await?;
            let took = asked.elapsed();
            ensure!(status == 200, "no answer in time: {status} {answer}");
            let answer: Value = serde_json::from_str(&answer)?;
            let accepted = answer
                .pointer("/notifications/0/status")
                .and_then(Value::as_str);
            let accepted = accepted.context("no status")?;
            ensure!(
                !matches!(accepted, "queued" | "held"),
                "it waits as well: {answer}"
            );
            times.push(took.as_secs_f64() * 1000.0);
            tokio::time::sleep(pause.saturating_sub(took)).await;
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}
