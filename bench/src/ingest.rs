//! `bench ingest`

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use crate::{
    Common, database,
    database::Fresh,
    load::{self, Supply},
    print, progress,
    server::Server,
};

/// Signed callbacks into the real server, one status each, in random order over 200,000 notifications.
#[derive(Debug, Args)]
pub struct Ingest {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Measure with applying off, too.
    #[arg(long)]
    no_apply: bool,
    /// Measure the real server alone, without what it is compared with.
    #[arg(long)]
    alone: bool,
}

/// More than any machine takes in a second with storing on.
const MOST_PER_SECOND: u64 = 40_000;

struct Measured {
    outcome: load::Outcome,
    applied_per_second: f64,
    durability: serde_json::Value,
    rss_megabytes: f64,
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

impl Measured {
    /// What is known of the real server without a comparison.
    fn keys(&mut self) -> serde_json::Value {
        json!({
            "durable_per_second": self.outcome.per_second().round(),
            "p50_ms": round(self.outcome.percentile_ms(50)),
            "p99_ms": round(self.outcome.percentile_ms(99)),
            "applied_per_second": self.applied_per_second.round(),
            "refused": self.outcome.refused,
            "rss_megabytes": self.rss_megabytes.round(),
            "durability": self.durability,
        })
    }
}

impl Ingest {
    pub async fn run(self) -> anyhow::Result<()> {
        let most = usize::try_from(self.common.seconds * MOST_PER_SECOND)?;
        progress("signing callbacks …");
        let shots = Arc::new(load::shots(most, 7));
        if self.alone {
            let mut durable = self.measure("durable", &[], &shots).await?;
            print(&durable.keys(), self.common.json);
            return Ok(());
        }
        let bare = self
            .measure("bare", &["--ingest", "bare", "--no-apply"], &shots)
            .await?;
        let alone = self
            .measure("per-request", &["--ingest", "per-request"], &shots)
            .await?;
        let idle = self
            .measure(
                "per-request, applying off",
                &["--ingest", "per-request", "--no-apply"],
                &shots,
            )
            .await?;
        let mut durable = self.measure("durable", &[], &shots).await?;
        let unapplied = if self.no_apply {
            Some(self.measure("no-apply", &["--no-apply"], &shots).await?)
        } else {
            None
        };
        let per_second = durable.outcome.per_second();
        let (bare, alone, idle) = (
            bare.outcome.per_second(),
            alone.outcome.per_second(),
            idle.outcome.per_second(),
        );
        let mut result = durable.keys();
        let comparison = json!({
            // The same server with all workers on; and, for who asks, with applying off.
            "per_request_per_second": alone.round(),
            "per_request_no_apply_per_second": idle.round(),
            "bare_per_second": bare.round(),
            "ratio_to_per_request": round(per_second / alone),
            "ratio_to_bare": round(per_second / bare),
            "connections": self.connections,
            "seconds": self.common.seconds,
        });
        if let (Some(object), Some(more)) = (result.as_object_mut(), comparison.as_object()) {
            object.extend(more.clone());
        }
        if let (Some(mut unapplied), Some(object)) = (unapplied, result.as_object_mut()) {
            let rate = unapplied.outcome.per_second();
            object.insert("no_apply_per_second".to_owned(), json!(rate.round()));
            object.insert(
                "no_apply_ratio_to_per_request".to_owned(),
                json!(round(rate / idle)),
            );
            object.insert(
                "no_apply_ratio_to_bare".to_owned(),
                json!(round(rate / bare)),
            );
            object.insert(
                "no_apply_p99_ms".to_owned(),
                json!(round(unapplied.outcome.percentile_ms(99))),
            );
        }
        print(&result, self.common.json);
        Ok(())
    }

    async fn measure(
        &self,
        name: &str,
        words: &[&str],
        shots: &Arc<Vec<load::Shot>>,
    ) -> anyhow::Result<Measured> {
        progress(&format!("{name}: filling a fresh database …"));
        let fresh = Fresh::make(&self.common, name).await?;
        database::seed(&fresh).await?;
        let server = Server::start(&fresh.url, &fresh.directory, words, &[]).await?;
        let durability = server.durability().await?;
        let bare = name == "bare";
        let supply = Arc::new(Supply::new(bare));
        let stop = Arc::new(AtomicBool::new(false));
        progress(&format!("{name}: {} s of load …", self.common.seconds));
        let outcome = load::fire(
            server.address,
            shots,
            &supply,
            self.connections,
            self.common.seconds,
            &stop,
        )
        .await;
        let mut measured = Measured {
            outcome,
            applied_per_second: 0.0,
            durability,
            rss_megabytes: rss(server.pid()),
        };
        if !bare {
            let connection = fresh.connect().await?;
            let applied = database::number(
                &connection,
                "SELECT count(*) FROM callback WHERE processed_at IS NOT NULL",
            )
            .await?;
            measured.applied_per_second =
                load::count(usize::try_from(applied)?) / measured.outcome.elapsed.as_secs_f64();
            load::write_ledger(
                &database::file(&fresh.directory, "acknowledged.jsonl"),
                shots,
                &measured.outcome.acknowledged,
            )?;
            let stored = database::number(&connection, "SELECT count(*) FROM callback").await?;
            ensure!(
                usize::try_from(stored)? >= measured.outcome.acknowledged.len(),
                "{} were acknowledged and {stored} are stored",
                measured.outcome.acknowledged.len()
            );
            if !words.contains(&"--no-apply") {
                wait_applied(&connection).await?;
            }
            connection.close().await?;
        }
        drop(server);
        fresh.drop().await?;
        Ok(measured)
    }
}

/// Waits until nothing is left to apply.
pub async fn wait_applied(connection: &sea_orm::DatabaseConnection) -> anyhow::Result<()> {
    for _ in 0..1200 {
        let waiting = database::number(
            connection,
            "SELECT count(*) FROM callback WHERE processed_at IS NULL",
        )
        .await?;
        if waiting == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("callbacks are still unapplied after two minutes")
}

/// Memory of a process, in megabytes.
pub fn rss(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(0.0, |kilobytes| kilobytes / 1024.0)
}
