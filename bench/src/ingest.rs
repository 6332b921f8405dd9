//! `bench ingest`

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use crate::{
    Common,
    behind::{self, Target},
    cost::Meter,
    database,
    database::Fresh,
    load::{self, Outcome, Supply},
    print, progress,
    server::Server,
};

/// Signed callbacks into the real server, one status each, in random order over 200,000 notifications.
#[derive(Debug, Args)]
pub struct Ingest {
    #[command(flatten)]
    common: Common,
    /// Default: 64; with --rate 512, because a provider does not wait for answers.
    #[arg(long)]
    connections: Option<u32>,
    /// Measure with applying off, too; with --alone, only so.
    #[arg(long)]
    no_apply: bool,
    /// Measure the real server alone, without what it is compared with.
    #[arg(long)]
    alone: bool,
    /// Offer so many a second, to the real server alone, and say whether it applies as many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["held", "no_apply"])]
    rate: Option<u64>,
    /// Load the real server alone, and pause whenever more than N bodies (2,000) are not applied.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2000", conflicts_with = "no_apply")]
    held: Option<u64>,
}

/// More than any machine takes in a second with storing on.
const MOST_PER_SECOND: u64 = 40_000;

/// What is offered.
enum Offer {
    /// As much as is answered, signed before.
    Most(Arc<Vec<load::Shot>>),
    /// So many a second.
    Rate(u64),
    /// As much as is answered, while no more than this is not applied.
    Held(u64),
}

struct Measured {
    outcome: Outcome,
    applied_per_second: f64,
    durability: Value,
    rss_megabytes: f64,
    /// How far applying was behind.
    behind: Value,
    /// What a status has cost.
    cost: Value,
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Adds the keys of one object to another.
fn extend(result: &mut Value, more: Value) {
    if let (Some(result), Value::Object(more)) = (result.as_object_mut(), more) {
        result.extend(more);
    }
}

impl Measured {
    /// What is known of the real server without a comparison.
    fn keys(&mut self) -> Value {
        let mut keys = json!({
            "durable_per_second": self.outcome.per_second().round(),
            "p50_ms": round(self.outcome.percentile_ms(50)),
            "p99_ms": round(self.outcome.percentile_ms(99)),
            "applied_per_second": self.applied_per_second.round(),
            "refused": self.outcome.refused,
            "rss_megabytes": self.rss_megabytes.round(),
            "durability": self.durability,
        });
        extend(&mut keys, self.behind.take());
        extend(&mut keys, self.cost.take());
        keys
    }
}

impl Ingest {
    pub async fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.rate.is_none() || self.common.seconds >= behind::LEAST_SECONDS,
            "--rate needs --seconds {} or more",
            behind::LEAST_SECONDS
        );
        let watched = self.rate.map(Offer::Rate);
        if let Some(offer) = watched.or(self.held.map(Offer::Held)) {
            let mut durable = self.measure("durable", &[], &offer).await?;
            let mut result = durable.keys();
            extend(&mut result, self.settings());
            print(&result, self.common.json);
            return Ok(());
        }
        let most = usize::try_from(self.common.seconds * MOST_PER_SECOND)?;
        progress("signing callbacks …");
        let shots = Offer::Most(Arc::new(load::shots(most, 7)));
        if self.alone {
            let words: &[&str] = if self.no_apply { &["--no-apply"] } else { &[] };
            let mut durable = self.measure("durable", words, &shots).await?;
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
        });
        extend(&mut result, comparison);
        extend(&mut result, self.settings());
        if let Some(mut unapplied) = unapplied {
            let rate = unapplied.outcome.per_second();
            let comparison = json!({
                "no_apply_per_second": rate.round(),
                "no_apply_ratio_to_per_request": round(rate / idle),
                "no_apply_ratio_to_bare": round(rate / bare),
                "no_apply_p99_ms": round(unapplied.outcome.percentile_ms(99)),
            });
            extend(&mut result, comparison);
        }
        print(&result, self.common.json);
        Ok(())
    }

    fn connections(&self) -> u32 {
        let default = if self.rate.is_some() { 512 } else { 64 };
        self.connections.unwrap_or(default)
    }

    fn settings(&self) -> Value {
        json!({
            "connections": self.connections(),
            "seconds": self.common.seconds,
        })
    }

    fn notifications(&self, offer: &Offer) -> u64 {
        match offer {
            Offer::Most(_) => database::NOTIFICATIONS,
            Offer::Rate(rate) => behind::rate_notifications(*rate, self.common.seconds),
            Offer::Held(_) => behind::held_notifications(self.common.seconds),
        }
    }

    async fn measure(&self, name: &str, words: &[&str], offer: &Offer) -> anyhow::Result<Measured> {
        progress(&format!("{name}: filling a fresh database …"));
        let fresh = Fresh::make(&self.common, name).await?;
        database::seed_with(&fresh, self.notifications(offer)).await?;
        let server = Server::start(&fresh.url, &fresh.directory, words, &[]).await?;
        let durability = server.durability().await?;
        let connection = fresh.connect().await?;
        let bare = name == "bare";
        progress(&format!("{name}: {} s of load …", self.common.seconds));
        let meter = Meter::start(&connection, server.pid()).await?;
        let (outcome, behind) = self.load(offer, &server, &connection, bare).await?;
        let spent = meter.read(&connection).await?;
        let mut measured = Measured {
            outcome,
            applied_per_second: 0.0,
            durability,
            rss_megabytes: rss(server.pid()),
            behind,
            cost: Value::Null,
        };
        if !bare {
            let applied = database::applied(&connection).await?;
            measured.applied_per_second =
                load::count(usize::try_from(applied)?) / measured.outcome.elapsed.as_secs_f64();
            if let Offer::Most(shots) = offer {
                load::write_ledger(
                    &database::file(&fresh.directory, "acknowledged.jsonl"),
                    shots,
                    &measured.outcome.acknowledged,
                )?;
            }
            let stored = database::stored(&connection).await?;
            ensure!(
                usize::try_from(stored)? >= measured.outcome.acknowledged.len(),
                "{} were acknowledged and {stored} are stored",
                measured.outcome.acknowledged.len()
            );
            if !words.contains(&"--no-apply") {
                wait_applied(&connection).await?;
                let (applied, stored) = (u64::try_from(applied)?, u64::try_from(stored)?);
                measured.cost = meter.keys(&connection, spent, applied, stored).await?;
            }
        }
        connection.close().await?;
        drop(server);
        fresh.drop().await?;
        Ok(measured)
    }

    async fn load(
        &self,
        offer: &Offer,
        server: &Server,
        connection: &DatabaseConnection,
        bare: bool,
    ) -> anyhow::Result<(Outcome, Value)> {
        let target = Target {
            address: server.address,
            connection,
            connections: self.connections(),
            seconds: self.common.seconds,
            notifications: self.notifications(offer),
        };
        match offer {
            Offer::Rate(rate) => target.at_rate(*rate).await,
            Offer::Held(most) => target.held(*most).await,
            Offer::Most(shots) => {
                let outcome = load::fire(
                    server.address,
                    shots,
                    &Arc::new(Supply::new(bare)),
                    usize::try_from(self.connections())?,
                    self.common.seconds,
                    &Arc::new(AtomicBool::new(false)),
                )
                .await;
                Ok((outcome, Value::Null))
            }
        }
    }
}

/// Nothing was applied for so long: nothing will be.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until nothing is left to apply.
pub async fn wait_applied(connection: &DatabaseConnection) -> anyhow::Result<()> {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let waiting = behind::unapplied(connection).await?;
        if waiting == 0 {
            return Ok(());
        }
        if waiting < least {
            (least, since) = (waiting, Instant::now());
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{waiting} callbacks are still unapplied, and for two minutes none was applied"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
