//! `bench crash`

use std::{
    collections::{HashMap, HashSet},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use herald::{domain::facts::DeliveryFact, engine::ingest::inbox, store::callback::segment};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Common, database,
    database::Fresh,
    load::{self, Random, Supply},
    print, progress, record,
    server::Server,
};

/// Kills the server (`kill -9`) at random moments under load and restarts it;
/// with --postgres-data also `pg_ctl stop -m immediate`. Then compares its own
/// ledger with the database.
#[derive(Debug, Args)]
pub struct Crash {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 12)]
    kills: u32,
    /// The data directory of the PostgreSQL server: every third kill stops it at once, too.
    #[arg(long, requires = "database")]
    postgres_data: Option<std::path::PathBuf>,
    /// The program that stops and starts PostgreSQL.
    #[arg(long, default_value = "pg_ctl")]
    pg_ctl: String,
    /// Run it as this user, because PostgreSQL refuses to run as root.
    #[arg(long)]
    pg_user: Option<String>,
}

/// Short, so that what a dead process held is soon taken over.
const LEASE_SECONDS: &str = "3";

impl Crash {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "crash").await?;
        database::seed(&fresh).await?;
        let shots = Arc::new(load::shots(
            usize::try_from(database::NOTIFICATIONS * 3)?,
            11,
        ));
        let supply = Arc::new(Supply::new(false));
        let ledger = database::file(&fresh.directory, "acknowledged.jsonl");
        let mut random = Random(0x5eed_5eed);
        let mut acknowledged: Vec<usize> = Vec::new();
        let settings = [
            ("HERALD_LEASE_SECONDS", LEASE_SECONDS.to_owned()),
            ("HERALD_SEND_TIMEOUT_SECONDS", "2".to_owned()),
        ];
        let mut postgres_stops = 0;
        for kill in 0..self.kills {
            let mut server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
            server.durability().await?;
            let life = Duration::from_millis(500 + random.below(1500));
            progress(&format!(
                "life {} of {}: {} ms",
                kill + 1,
                self.kills,
                life.as_millis()
            ));
            let stop = Arc::new(AtomicBool::new(false));
            let (address, shots_here, supply_here, stop_here) = (
                server.address,
                Arc::clone(&shots),
                Arc::clone(&supply),
                Arc::clone(&stop),
            );
            let firing = async move {
                load::fire(address, &shots_here, &supply_here, 32, 3600, &stop_here).await
            };
            let killing = async {
                tokio::time::sleep(life).await;
                let stops_postgres = self.postgres_data.is_some() && kill % 3 == 2;
                if stops_postgres {
                    self.pg(&["stop", "-m", "immediate"])?;
                    // The server goes on meanwhile: it must answer 503, and lose nothing.
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                server.kill()?;
                stop.store(true, Ordering::Relaxed);
                if stops_postgres {
                    self.pg(&["start", "-w"])?;
                    postgres_stops += 1;
                }
                anyhow::Ok(())
            };
            let (outcome, killed) = tokio::join!(firing, killing);
            killed?;
            load::write_ledger(&ledger, &shots, &outcome.acknowledged)?;
            acknowledged.extend(outcome.acknowledged);
        }
        progress("the last life: everything is to be applied …");
        let server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
        let connection = fresh.connect().await?;
        let waiting = usize::try_from(wait(&connection).await?)?;
        drop(server);
        let compared = compare(&connection, &shots, &acknowledged).await?;
        connection.close().await?;
        let result = json!({
            "kills": self.kills,
            "postgres_stops": postgres_stops,
            "acknowledged": acknowledged.len(),
            "missing": compared.missing,
            "applied_twice": compared.applied_twice,
            "unapplied": waiting + compared.unapplied,
        });
        print(&result, self.common.json);
        fresh.drop().await?;
        ensure!(
            compared.missing == 0
                && compared.applied_twice == 0
                && waiting + compared.unapplied == 0,
            "something was lost, applied twice or left"
        );
        Ok(())
    }

    fn pg(&self, words: &[&str]) -> anyhow::Result<()> {
        let Some(data) = &self.postgres_data else {
            return Ok(());
        };
        let mut command = match &self.pg_user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--", &self.pg_ctl]);
                command
            }
            None => Command::new(&self.pg_ctl),
        };
        let log = data.join("crash.log");
        let status = command
            .arg("-D")
            .arg(data)
            .arg("-l")
            .arg(log)
            .args(words)
            .stdout(std::process::Stdio::null())
            .status()
            .context("--pg-ctl cannot be run")?;
        ensure!(status.success(), "pg_ctl {} failed", words.join(" "));
        Ok(())
    }
}

/// Waits until nothing is left to apply, and says how much is.
pub async fn wait(connection: &DatabaseConnection) -> anyhow::Result<i64> {
    let started = Instant::now();
    loop {
        let waiting = database::waiting(connection).await?;
        if waiting == 0 || started.elapsed() > Duration::from_mins(2) {
            return Ok(waiting);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What became of callbacks that were acknowledged.
pub struct Compared {
    pub missing: usize,
    pub applied_twice: usize,
    pub unapplied: usize,
}

/// What was acknowledged must be stored, be a fact of its attempt, and stand on
/// the timeline as applied once and no more; counters must equal the facts.
pub async fn compare(
    connection: &DatabaseConnection,
    shots: &[load::Shot],
    acknowledged: &[usize],
) -> anyhow::Result<Compared> {
    let stored = stored_digests(connection).await?;
    let missing = acknowledged
        .iter()
        .filter_map(|place| shots.get(*place))
        .filter(|shot| {
            let body = load::body(shot.notification, shot.status);
            !stored.contains(&inbox::digest("meta", body.as_bytes(), None))
        })
        .count();
    let recorded = record::all(connection).await?;
    // A fact that was reported is not implied.
    let mut reported: HashMap<String, [bool; 3]> = HashMap::new();
    let mut known = [0_i64; 3];
    for attempt in recorded.iter().flat_map(|it| &it.record.attempts) {
        let facts = FACTS.map(|(_, fact)| attempt.facts.get(fact));
        for (known, fact) in known.iter_mut().zip(facts) {
            *known += i64::from(fact.is_some());
        }
        let facts = facts.map(|fact| fact.is_some_and(|fact| !fact.implied));
        reported.insert(attempt.id.to_string(), facts);
    }
    let unapplied = acknowledged
        .iter()
        .filter_map(|place| shots.get(*place))
        .filter(|shot| {
            let our_id = database::our_id(shot.notification);
            let attempt = our_id.split('.').next().unwrap_or_default();
            let facts = reported.get(attempt).copied().unwrap_or_default();
            let of_status = FACTS.iter().zip(facts);
            !of_status
                .into_iter()
                .any(|((name, _), is_reported)| *name == shot.status && is_reported)
        })
        .count();
    let mut applied_twice = 0;
    let mut lines: HashMap<(Uuid, String), usize> = HashMap::new();
    for recorded in &recorded {
        for line in &recorded.lines {
            let key = (recorded.notification, line.kind.name().to_owned());
            *lines.entry(key).or_default() += 1;
        }
        applied_twice += usize::from(recorded.record.follow_ups.len() > 1);
    }
    for row in rows(connection, "SELECT notification_id, kind FROM timeline").await? {
        let key = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        *lines.entry(key).or_default() += 1;
    }
    applied_twice += lines
        .iter()
        .filter(|((_, kind), count)| **count > 1 && FACTS.iter().any(|(name, _)| name == kind))
        .count();
    for ((name, _), known) in FACTS.iter().zip(known) {
        let counted = format!(
            "SELECT CAST(coalesce(sum({name}), 0) AS bigint) FROM cohort WHERE grain = 900"
        );
        let difference = database::number(connection, &counted).await? - known;
        applied_twice += usize::try_from(difference.abs())?;
    }
    Ok(Compared {
        missing,
        applied_twice,
        unapplied,
    })
}

/// The statuses that are loaded.
const FACTS: [(&str, DeliveryFact); 3] = [
    ("sent", DeliveryFact::Sent),
    ("delivered", DeliveryFact::Delivered),
    ("read", DeliveryFact::Read),
];

/// The digests of all bodies that are stored, from the heads of their segments.
async fn stored_digests(connection: &DatabaseConnection) -> anyhow::Result<HashSet<[u8; 32]>> {
    let mut stored = HashSet::new();
    let segments = "SELECT bodies, size_bytes, heads FROM inbox_segment";
    for row in rows(connection, segments).await? {
        let heads: Vec<u8> = row.try_get_by_index(2)?;
        let heads =
            segment::decode_heads(&heads, row.try_get_by_index(0)?, row.try_get_by_index(1)?)
                .context("the heads of a segment cannot be read")?;
        stored.extend(heads.iter().map(|head| head.digest));
    }
    Ok(stored)
}

async fn rows(
    connection: &DatabaseConnection,
    sql: &str,
) -> anyhow::Result<Vec<sea_orm::QueryResult>> {
    Ok(connection
        .query_all_raw(Statement::from_string(
            connection.get_database_backend(),
            sql,
        ))
        .await?)
}
