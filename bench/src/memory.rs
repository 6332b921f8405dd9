//! `bench memory`

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde_json::json;

use crate::{
    Common, database,
    database::Fresh,
    ingest::{rss, wait_applied},
    load::{self, Shot, Supply},
    print, progress,
    server::Server,
};

/// The server's memory under 3 MB bodies from 64 connections, and over 10,000 bodies that wait.
#[derive(Debug, Args)]
pub struct Memory {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bodies of 3 MB to post.
    #[arg(long, default_value_t = 160)]
    large: u32,
    /// Ordinary bodies that wait before the server that applies them starts.
    #[arg(long, default_value_t = 10_000)]
    queued: usize,
}

/// What Meta sends at most.
const LARGE_BYTES: usize = 3_000_000;

/// Updates that Meta puts in one body at most.
const UPDATES: u32 = 1_000;

/// The greatest memory of a process while it is watched, in KiB.
pub struct Peak {
    kibibytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Peak {
    pub fn watch(pid: u32) -> Self {
        let peak = Self {
            kibibytes: Arc::default(),
            stop: Arc::default(),
        };
        let (kibibytes, stop) = (Arc::clone(&peak.kibibytes), Arc::clone(&peak.stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = format!("{:.0}", rss(pid) * 1024.0).parse().unwrap_or(0);
                kibibytes.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        peak
    }

    pub fn megabytes(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.kibibytes.load(Ordering::Relaxed) / 1024
    }
}

/// A body as large as there is: a thousand statuses of unknown messages.
fn large(number: u32) -> Shot {
    let filler = "x".repeat(LARGE_BYTES / UPDATES as usize - 150);
    let mut statuses = String::with_capacity(LARGE_BYTES);
    for update in 0..UPDATES {
        let comma = if update == 0 { "" } else { "," };
        let _cannot_fail = write!(
            statuses,
            r#"{comma}{{"id":"wamid.LARGE{number}x{update}","status":"delivered","timestamp":"1763692800","recipient_id":"12025550101","new":"{filler}"}}"#
        );
    }
    let body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"106540352242922"}},"statuses":[{statuses}]}}}}]}}]}}"#
    );
    Shot {
        request: load::request(&body),
        notification: 0,
        status: "delivered",
    }
}

impl Memory {
    pub async fn run(self) -> anyhow::Result<()> {
        let (large_peak, large_taken) = self.under_large_bodies().await?;
        let (queued_peak, queued) = self.over_a_queue().await?;
        let result = json!({
            "rss_megabytes_large": large_peak,
            "large_bodies": large_taken,
            "connections": self.connections,
            "rss_megabytes_queued": queued_peak,
            "queued_bodies": queued,
        });
        print(&result, self.common.json);
        Ok(())
    }

    async fn under_large_bodies(&self) -> anyhow::Result<(u64, usize)> {
        progress("large: writing bodies …");
        let shots: Arc<Vec<Shot>> = Arc::new((0..self.large).map(large).collect());
        let fresh = Fresh::make(&self.common, "large").await?;
        let server = Server::start(&fresh.url, &fresh.directory, &[], &[]).await?;
        let peak = Peak::watch(server.pid());
        let mut taken = 0;
        let supply = Arc::new(Supply::new(true));
        progress("large: posting …");
        let outcome = load::fire(
            server.address,
            &shots,
            &supply,
            self.connections,
            self.common.seconds,
            &Arc::new(AtomicBool::new(false)),
        )
        .await;
        taken += outcome.acknowledged.len();
        let connection = fresh.connect().await?;
        wait_applied(&connection).await?;
        connection.close().await?;
        let megabytes = peak.megabytes();
        drop(server);
        fresh.drop().await?;
        Ok((megabytes, taken))
    }

    async fn over_a_queue(&self) -> anyhow::Result<(u64, usize)> {
        let shots = Arc::new(load::shots(self.queued, 11));
        let fresh = Fresh::make(&self.common, "queued").await?;
        database::seed(&fresh).await?;
        progress("queued: posting with applying off …");
        let first = Server::start(&fresh.url, &fresh.directory, &["--no-apply"], &[]).await?;
        let outcome = load::fire(
            first.address,
            &shots,
            &Arc::new(Supply::new(false)),
            self.connections,
            60,
            &Arc::new(AtomicBool::new(false)),
        )
        .await;
        drop(first);
        progress("queued: applying …");
        let server = Server::start(&fresh.url, &fresh.directory, &[], &[]).await?;
        let peak = Peak::watch(server.pid());
        let connection = fresh.connect().await?;
        wait_applied(&connection).await?;
        connection.close().await?;
        let megabytes = peak.megabytes();
        drop(server);
        fresh.drop().await?;
        Ok((megabytes, outcome.acknowledged.len()))
    }
}
