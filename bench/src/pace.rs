//! `bench pace`

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use herald::state::Clock;
use serde_json::{Value, json};

use crate::{
    Common,
    database::Fresh,
    outbound::{self, Accepted, Sandbox},
    print, progress,
    server::{self, Server},
};

/// One number shared by two processes (one on SQLite): how many messages leave in
/// any second, how much of the pace is used, and how long a one-time password
/// waits behind a backlog.
#[derive(Debug, Args)]
pub struct Pace {
    #[command(flatten)]
    common: Common,
    /// The paces to measure, in messages a second.
    #[arg(long, value_delimiter = ',', default_values_t = [80, 1000])]
    limits: Vec<u64>,
    #[arg(long, default_value_t = 5_000)]
    people: u64,
    /// Messages that one-time passwords have to pass.
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
    /// One-time passwords that are asked for, two a second.
    #[arg(long, default_value_t = 60)]
    passwords: u64,
}

const SECOND: i64 = 1_000_000;

impl Pace {
    pub async fn run(self) -> anyhow::Result<()> {
        let mut runs = Vec::new();
        for limit in &self.limits {
            progress(&format!("{limit} a second …"));
            runs.push(self.keep(*limit).await?);
        }
        progress("one-time passwords …");
        let otp = self.passwords_behind_a_backlog().await?;
        let result = json!({ "runs": runs, "otp_p99_ms": otp });
        print(&result, self.common.json);
        Ok(())
    }

    /// Servers on one database: two, where two can share it.
    async fn servers(
        &self,
        fresh: &Fresh,
        sandbox: &Sandbox,
        limit: u64,
    ) -> anyhow::Result<Vec<Server>> {
        let count = if self.common.database.is_some() { 2 } else { 1 };
        let settings = sandbox.settings(limit);
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(Server::start(&fresh.url, &fresh.directory, &[], &settings).await?);
        }
        Ok(servers)
    }

    /// Sends at one pace for some time.
    async fn keep(&self, limit: u64) -> anyhow::Result<Value> {
        let fresh = Fresh::make(&self.common, "pace").await?;
        let count = limit * (self.common.seconds + 5);
        outbound::queue(&fresh, count, self.people.min(count), 2).await?;
        let sandbox = Sandbox::start(&fresh.directory).await?;
        let servers = self.servers(&fresh, &sandbox, limit).await?;
        tokio::time::sleep(Duration::from_secs(self.common.seconds + 1)).await;
        drop(servers);
        let accepted = sandbox.accepted()?;
        fresh.drop().await?;
        let mut times: Vec<i64> = accepted.iter().map(|accepted| accepted.at).collect();
        times.sort_unstable();
        let start = *times.first().context("nothing was sent")?;
        let whole = i64::try_from(self.common.seconds)? * SECOND;
        let within = times.iter().filter(|at| **at < start + whole).count();
        let used = f64::from(u32::try_from(within)?)
            / f64::from(u32::try_from(limit * self.common.seconds)?);
        Ok(json!({
            "limit": limit,
            "max_in_a_second": most_in_a_second(&times),
            "used_percent": (used * 1000.0).round() / 10.0,
        }))
    }

    /// From the request to the provider's call, the ninety-ninth of a hundred, in milliseconds.
    async fn passwords_behind_a_backlog(&self) -> anyhow::Result<f64> {
        let limit = self.limits.first().copied().unwrap_or(80);
        let fresh = Fresh::make(&self.common, "pace").await?;
        outbound::queue(&fresh, self.backlog, self.people, 3).await?;
        let key = server::command(
            &fresh.url,
            &fresh.directory,
            &["keys", "create", "bench", "--all"],
        )?;
        let sandbox = Sandbox::start(&fresh.directory).await?;
        let servers = self.servers(&fresh, &sandbox, limit).await?;
        let address = servers.first().context("no server")?.address;
        // The backlog has taken all that it may.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut asked: HashMap<String, i64> = HashMap::new();
        for number in 0..self.passwords {
            let next = Instant::now() + Duration::from_millis(500);
            let body = json!({ "to": format!("+1202555{:04}", 150 + number % 30),
                "template": "bench_code", "params": { "code": "123456" }, "priority": "otp" })
            .to_string();
            let text = format!(
                "POST /api/v1/notifications HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                key.trim(),
                body.len()
            );
            let (status, answer) = server::request(address, &text).await?;
            let accepted_at = Clock::System.now().micros();
            ensure!(status == 202, "a one-time password was refused: {answer}");
            let answer: Value = serde_json::from_str(&answer)?;
            let id = answer
                .pointer("/notifications/0/id")
                .and_then(Value::as_str)
                .context("no notification")?;
            asked.insert(id.to_owned(), accepted_at);
            tokio::time::sleep_until(next.into()).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(servers);
        let waits = Self::waits(&asked, &sandbox.accepted()?);
        fresh.drop().await?;
        ensure!(
            waits.len() == asked.len(),
            "{} of {} one-time passwords were sent",
            waits.len(),
            asked.len()
        );
        let index = (waits.len() * 99).div_ceil(100).saturating_sub(1);
        let micros = *waits.get(index).context("no one-time passwords")?;
        Ok(f64::from(i32::try_from(micros / 100)?) / 10.0)
    }

    /// How long each took, shortest first.
    fn waits(asked: &HashMap<String, i64>, accepted: &[Accepted]) -> Vec<i64> {
        let mut waits: Vec<i64> = accepted
            .iter()
            .filter_map(|accepted| {
                let asked = asked.get(&accepted.notification.to_string())?;
                Some((accepted.at - asked).max(0))
            })
            .collect();
        waits.sort_unstable();
        waits
    }
}

/// The most that lie in any window of a second.
fn most_in_a_second(times: &[i64]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (index, at) in times.iter().enumerate() {
        while times.get(first).is_some_and(|begin| at - begin >= SECOND) {
            first += 1;
        }
        most = most.max(index + 1 - first);
    }
    most
}
