//! `bench siege`

mod hostile;
mod nginx;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use herald::http::limits::files;
use serde_json::{Map, Value, json};

use crate::{
    Common, database,
    database::Fresh,
    ingest::rss,
    load::{self, Outcome, Supply},
    print, progress,
    server::{Server, request},
    steady,
};
use hostile::Siege;
use nginx::Nginx;

/// Good callbacks at a steady rate beside connections that do nothing good: directly, behind
/// nginx as a trusted proxy, and behind nginx that Herald does not know of.
#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    common: Common,
    /// Good callbacks a second.
    #[arg(long, default_value_t = 500)]
    per_second: u64,
    /// Connections that do nothing good, a fifth of each kind.
    #[arg(long, default_value_t = 2000)]
    hostile: usize,
    /// One way only.
    #[arg(long)]
    way: Option<Way>,
    /// Begin with the siege: no callback has shown yet that the address is a good one's.
    #[arg(long)]
    cold: bool,
    /// The 99th percentile may be as long, in milliseconds.
    #[arg(long, default_value_t = 100.0)]
    most_p99: f64,
}

/// How long good callbacks come before the siege does; all of them are measured.
const BEFORE_SIEGE: Duration = Duration::from_millis(500);

/// How callers reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    Direct,
    TrustedProxy,
    UnknownProxy,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::TrustedProxy, Self::UnknownProxy];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::TrustedProxy => "trusted_proxy",
            Self::UnknownProxy => "unknown_proxy",
        }
    }

    /// What `/livez` says of the way, for `herald check`.
    const fn proxy(self) -> &'static str {
        match self {
            Self::Direct => "none",
            Self::TrustedProxy => "trusted",
            Self::UnknownProxy => "not_trusted",
        }
    }
}

/// What came of one way.
struct Stood {
    outcome: Outcome,
    fired: usize,
    stored: usize,
    hostile_open: usize,
    hostile_opened: usize,
    rss_idle: f64,
    rss: f64,
}

impl Command {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut result = Map::new();
        let mut failures = Vec::new();
        for way in Way::ALL {
            if self.way.is_some_and(|only| only != way) {
                continue;
            }
            let name = way.name();
            match self.stand(way).await {
                Ok(mut stood) => {
                    let lost = stood.fired - stood.outcome.acknowledged.len();
                    let p99 = stood.outcome.percentile_ms(99);
                    if lost > 0 || p99 >= self.most_p99 {
                        failures.push(format!("{name}: {lost} lost, p99 {p99} ms"));
                    }
                    if stood.stored < stood.outcome.acknowledged.len() {
                        failures.push(format!(
                            "{name}: {} acknowledged, {} stored",
                            stood.outcome.acknowledged.len(),
                            stood.stored
                        ));
                    }
                    let mut show = |key: &str, value: Value| {
                        result.insert(format!("{name}_{key}"), value);
                    };
                    show("callbacks", json!(stood.fired));
                    show("lost", json!(lost));
                    show("p50_ms", json!(stood.outcome.percentile_ms(50)));
                    show("p99_ms", json!(p99));
                    show("hostile_open_at_most", json!(stood.hostile_open));
                    show("hostile_opened", json!(stood.hostile_opened));
                    show("rss_idle_megabytes", json!(stood.rss_idle));
                    show("rss_megabytes", json!(stood.rss));
                }
                Err(error) => failures.push(format!("{name}: {error:#}")),
            }
        }
        print(&Value::Object(result), self.common.json);
        ensure!(failures.is_empty(), "{}", failures.join("; "));
        Ok(())
    }

    async fn stand(&self, way: Way) -> anyhow::Result<Stood> {
        progress(&format!("{}: filling the database …", way.name()));
        let fresh = Fresh::make(&self.common, way.name()).await?;
        database::seed(&fresh).await?;
        let proxies = match way {
            Way::TrustedProxy => vec![("HERALD_TRUSTED_PROXIES", "127.0.0.1".to_owned())],
            Way::Direct | Way::UnknownProxy => Vec::new(),
        };
        // Before this program's own limit is raised: the server raises its own.
        let server = Server::start(&fresh.url, &fresh.directory, &[], &proxies).await?;
        files::raise_limit();
        let nginx = match way {
            Way::Direct => None,
            Way::TrustedProxy | Way::UnknownProxy => {
                Some(Nginx::start(&fresh.directory, server.address).await?)
            }
        };
        let address = nginx.as_ref().map_or(server.address, |nginx| nginx.address);
        let (_, live) = request(
            address,
            "GET /livez HTTP/1.1\r\nHost: herald\r\nConnection: close\r\n\r\n",
        )
        .await?;
        let live: Value = serde_json::from_str(&live).context("/livez is no JSON")?;
        ensure!(
            live.get("proxy").and_then(Value::as_str) == Some(way.proxy()),
            "/livez says of the proxy: {live}"
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        let rss_idle = rss(server.pid());
        let stood = self.under_siege(way, address, &server, rss_idle).await?;
        let connection = fresh.connect().await?;
        let stored = database::stored(&connection).await?;
        connection.close().await?;
        drop((nginx, server));
        fresh.drop().await?;
        Ok(Stood {
            stored: usize::try_from(stored)?,
            ..stood
        })
    }

    async fn under_siege(
        &self,
        way: Way,
        address: SocketAddr,
        server: &Server,
        rss_idle: f64,
    ) -> anyhow::Result<Stood> {
        let siege = if self.cold {
            progress(&format!("{}: laying siege …", way.name()));
            let siege = Siege::lay(address, self.hostile)?;
            siege.wait_open(self.hostile * 9 / 10).await?;
            Some(siege)
        } else {
            None
        };
        progress(&format!("{}: good callbacks …", way.name()));
        let wanted = self.per_second * self.common.seconds;
        let shots = Arc::new(load::shots(usize::try_from(wanted)?, 19));
        let steady = steady::fire(
            address,
            &shots,
            &Arc::new(Supply::new(false)),
            self.per_second,
            Duration::from_secs(self.common.seconds),
            &Arc::new(AtomicBool::new(false)),
        );
        let siege = if let Some(siege) = siege {
            siege
        } else {
            tokio::time::sleep(BEFORE_SIEGE).await;
            progress(&format!("{}: laying siege …", way.name()));
            let siege = Siege::lay(address, self.hostile)?;
            siege.wait_open(self.hostile * 9 / 10).await?;
            siege
        };
        let outcome = steady.join().await?;
        let fired = outcome.acknowledged.len() + usize::try_from(outcome.refused)?;
        ensure!(
            fired * 10 >= shots.len() * 9,
            "only {fired} of {} callbacks were fired: this machine is too busy",
            shots.len()
        );
        Ok(Stood {
            fired,
            outcome,
            stored: 0,
            hostile_open: siege.most_open(),
            hostile_opened: siege.opened(),
            rss_idle,
            rss: rss(server.pid()),
        })
    }
}
