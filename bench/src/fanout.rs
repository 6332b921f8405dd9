//! `bench fanout`

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use herald::state::Clock;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::{Value, json};

use crate::{
    Common, database,
    database::Fresh,
    ingest::rss,
    load::{self, Supply},
    memory::Peak,
    outbound::Sandbox,
    print, progress,
    server::{self, Server},
    steady,
};

/// One event to all people in many groups, while callbacks come in and messages go out.
#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 100_000)]
    people: u64,
    /// Of equal size; every tenth person is in the next one, too.
    #[arg(long, default_value_t = 50)]
    groups: u64,
    /// The pace of the number.
    #[arg(long, default_value_t = 1000)]
    per_second: u64,
    /// Signed callbacks a second meanwhile, whether the one before was answered or not.
    #[arg(long, default_value_t = 240)]
    callbacks: u64,
    /// All people are notified by a follow-up rule instead of a route
    #[arg(long)]
    by_rule: bool,
}

/// All people are reached by then, or the run has failed.
const PATIENCE: Duration = Duration::from_mins(5);

impl Fanout {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "fanout").await?;
        database::seed(&fresh).await?;
        self.seed(&fresh).await?;
        let sandbox = Sandbox::start(&fresh.directory).await?;
        let settings = sandbox.settings(self.per_second);
        let filled = database::own_messages(&fresh, &settings).await?;
        filled.close().await?;
        let most = usize::try_from(self.callbacks * PATIENCE.as_secs())?;
        let shots = Arc::new(load::shots(most, 7));
        let key = server::command(
            &fresh.url,
            &fresh.directory,
            &["keys", "create", "bench", "--all"],
        )?;
        let server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
        let connection = fresh.connect().await?;
        progress("callbacks alone …");
        let stop = Arc::new(AtomicBool::new(false));
        let supply = Arc::new(Supply::new(false));
        let fire = || {
            steady::fire(
                server.address,
                &shots,
                &supply,
                self.callbacks,
                PATIENCE,
                &stop,
            )
        };
        let quiet = fire();
        tokio::time::sleep(Duration::from_secs(self.common.seconds)).await;
        stop.store(true, Ordering::Relaxed);
        let mut quiet = quiet.join().await?;
        stop.store(false, Ordering::Relaxed);
        progress("an event to all people …");
        let long_before = metric(&server, "herald_long_writes_total").await?;
        let rss_before = rss(server.pid());
        let peak = Peak::watch(server.pid());
        let meanwhile = fire();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let posted_at = Clock::System.now().micros();
        let asked = Instant::now();
        let (status, answer) = server::request(server.address, &event(key.trim())).await?;
        let answered = asked.elapsed();
        ensure!(status == 202, "the event was refused: {status} {answer}");
        let expanded = self.until_expanded(&connection, asked).await?;
        stop.store(true, Ordering::Relaxed);
        let mut meanwhile = meanwhile.join().await?;
        let rss_growth = f64::from(u32::try_from(peak.megabytes())?) - rss_before;
        let long = metric(&server, "herald_long_writes_total").await? - long_before;
        let (writes, slowest) = write_times(&server).await?;
        let reached = database::number(
            &connection,
            "SELECT count(*) FROM notification WHERE template = 'power_cut' AND contact_id IS NOT NULL",
        )
        .await?;
        let people = database::number(
            &connection,
            "SELECT count(DISTINCT contact_id) FROM notification WHERE template = 'power_cut'",
        )
        .await?;
        let dead = database::number(&connection, "SELECT count(*) FROM dead_letter").await?;
        let accepted = sandbox.accepted()?;
        let first = accepted.iter().map(|it| it.at).min().unwrap_or(i64::MAX);
        connection.close().await?;
        let milliseconds = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        let result = json!({
            "answer_ms": milliseconds(answered),
            "first_message_ms": (first - posted_at) / 1000,
            "expanded_seconds": (expanded.as_secs_f64() * 100.0).round() / 100.0,
            "people": people,
            "notifications": reached,
            "accepted_meanwhile": accepted.len(),
            "writes_over_50_ms": long,
            "writes": writes,
            "slowest_write_under_ms": slowest,
            "rss_growth_megabytes": rss_growth.round(),
            "callbacks_per_second": self.callbacks,
            "ingest_alone_p99_ms": quiet.percentile_ms(99),
            "ingest_p50_ms": meanwhile.percentile_ms(50),
            "ingest_p99_ms": meanwhile.percentile_ms(99),
            "callbacks_refused": meanwhile.refused,
        });
        print(&result, self.common.json);
        drop(server);
        fresh.drop().await?;
        let expected = i64::try_from(self.people)?;
        ensure!(
            people == expected && reached == expected,
            "a person was left out, or reached twice"
        );
        ensure!(
            dead == 0,
            "{dead} items of callbacks could not be applied: what was measured is not what it says"
        );
        Ok(())
    }

    /// Waits until all people have been reached, and says how long that took.
    async fn until_expanded(
        &self,
        connection: &DatabaseConnection,
        since: Instant,
    ) -> anyhow::Result<Duration> {
        let open = if self.by_rule {
            "SELECT (SELECT count(*) FROM follow_up WHERE state = 'pending' AND rule_name = 'fanout') + (SELECT count(*) FROM follow_up_timer)"
        } else {
            "SELECT count(*) FROM event WHERE state = 'expanding'"
        };
        while since.elapsed() < PATIENCE {
            if database::number(connection, open).await? == 0 {
                return Ok(since.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("not all people were reached after {} s", PATIENCE.as_secs())
    }

    /// People with numbers, staff that are these people, and their groups.
    async fn seed(&self, fresh: &Fresh) -> anyhow::Result<()> {
        progress("people and groups …");
        let mut catalogue = CATALOGUE.to_owned();
        if self.by_rule {
            catalogue.push_str(RULE);
        }
        let groups: Vec<String> = (0..self.groups)
            .map(|group| format!("\"group:Region {group}\""))
            .collect();
        write!(catalogue, "to = [{}]\n\n", groups.join(", "))?;
        for group in 0..self.groups {
            writeln!(catalogue, "[[group]]\nname = \"Region {group}\"")?;
        }
        let path = fresh.directory.join("fanout.toml");
        std::fs::write(&path, catalogue)?;
        server::command(
            &fresh.url,
            &fresh.directory,
            &["apply", &path.display().to_string()],
        )?;
        let connection = fresh.connect().await?;
        let postgres = connection.get_database_backend() == DbBackend::Postgres;
        let series = if postgres {
            format!("generate_series(0, {}) AS s(i)", self.people - 1)
        } else {
            format!(
                "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {}) SELECT i FROM s)",
                self.people - 1
            )
        };
        let (contact, user) = (
            database::id_sql(postgres, "a000"),
            database::id_sql(postgres, "b000"),
        );
        let number = if postgres {
            "'+1202' || lpad((i + 2000000)::text, 7, '0')"
        } else {
            "'+1202' || printf('%07d', i + 2000000)"
        };
        let now = Clock::System.now().micros();
        let groups = self.groups;
        let member = |place: &str, only: &str| {
            format!(
                "INSERT INTO group_member (group_id, user_id, created_at) SELECT g.id, {user}, {now} FROM {series} \
                 JOIN user_group g ON g.name = 'Region ' || CAST({place} AS text) {only}"
            )
        };
        for statement in [
            format!(
                "INSERT INTO contact (id, created_at, name) SELECT {contact}, {now}, 'Person ' || CAST(i AS text) FROM {series}"
            ),
            format!(
                "INSERT INTO contact_alias (kind, value, contact_id, created_at) SELECT 'phone', {number}, {contact}, {now} FROM {series}"
            ),
            format!(
                "INSERT INTO user_account (id, created_at, name, contact_id) SELECT {user}, {now}, 'user-' || CAST(i AS text), {contact} FROM {series}"
            ),
            member(&format!("(i % {groups})"), ""),
            member(&format!("((i + 1) % {groups})"), "WHERE i % 10 = 0"),
        ] {
            connection.execute_unprepared(&statement).await?;
        }
        if postgres {
            connection.execute_unprepared("VACUUM ANALYZE").await?;
            connection.execute_unprepared("CHECKPOINT").await?;
        } else {
            connection
                .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
                .await?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// Its route's `to`, and the groups, come behind it.
const CATALOGUE: &str = r#"
name = "fanout"

[[template]]
name = "power_cut"
category = "utility"
body = "Hello {{ contact.name }}, power is out in {{ area }} until {{ until }}."

[[route]]
name = "fanout"
event = "fanout.power.cut"
template = "power_cut"
params = { area = "{{ data.area }}", until = "{{ data.until }}" }
labels = { area = "{{ data.area }}" }
"#;

/// The route reaches no person, and the rule notifies all people of that.
const RULE: &str = r#"
to = "{{ data.nobody | default('') }}"

[[rule]]
name = "fanout"
on = "skipped"
[rule.send]
template = "power_cut"
params = { area = "North", until = "18:00" }
"#;

fn event(key: &str) -> String {
    let body = json!({
        "id": "cut-1", "source": "grid", "type": "fanout.power.cut",
        "data": { "area": "North", "until": "18:00" },
    })
    .to_string();
    format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A counter of the server; 0 while it was never counted up.
async fn metric(server: &Server, name: &str) -> anyhow::Result<f64> {
    let (_, text) = server.get("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(Ok(0.0), |value| {
        value.trim().parse().context("no number in /metrics")
    })
}

/// How many write transactions there were since the start, and the least bound that all of
/// them kept, in milliseconds.
async fn write_times(server: &Server) -> anyhow::Result<(f64, Value)> {
    let (_, text) = server.get("/metrics").await?;
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("herald_write_seconds_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((
                bound.parse().unwrap_or(f64::INFINITY),
                count.trim().parse().ok()?,
            ))
        })
        .collect();
    let all = buckets.last().map_or(0.0, |(_, count)| *count);
    let bound = buckets.iter().find(|(_, count)| *count >= all);
    let bound = bound.map_or(f64::INFINITY, |(bound, _)| bound * 1000.0);
    Ok((all, json!(bound)))
}
