//! `bench send`

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    Common, database,
    database::Fresh,
    load,
    outbound::{self, Sandbox},
    print, progress,
    server::{self, Server},
};

/// Messages out, against the sandbox: unpaced, callbacks off.
#[derive(Debug, Args)]
pub struct Send {
    #[command(flatten)]
    common: Common,
    /// Messages that wait when the server starts.
    #[arg(long, default_value_t = 40_000)]
    count: u64,
    /// To so many people.
    #[arg(long, default_value_t = 5_000)]
    people: u64,
    /// Callers that wait for the provider's answer at the same time.
    #[arg(long, default_value_t = 100)]
    callers: usize,
}

/// Requests of each caller.
const REQUESTS: usize = 40;

/// How long the provider takes in the second round, on average, in milliseconds: each
/// call its own, as calls over a network do.
const PROVIDER_MS: u32 = 200;

/// From the request to the answer, less the time that the provider takes: our own share.
struct Immediate {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of each caller's first request: all at once, to a server that has just started.
    first_p99_ms: f64,
}

impl Send {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "send").await?;
        outbound::queue(&fresh, self.count, self.people, 2).await?;
        let sandbox = Sandbox::start(&fresh.directory).await?;
        progress("sending …");
        let started = Instant::now();
        let server = Server::start(&fresh.url, &fresh.directory, &[], &sandbox.settings(0)).await?;
        let connection = fresh.connect().await?;
        let limit = Duration::from_secs(self.common.seconds);
        let mut settled = 0;
        while started.elapsed() < limit && settled < i64::try_from(self.count)? {
            tokio::time::sleep(Duration::from_millis(200)).await;
            settled = database::number(
                &connection,
                "SELECT count(*) FROM attempt WHERE outcome = 'accepted'",
            )
            .await?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        // What is left of the queue would stand before the immediate ones.
        progress("the rest of the queue …");
        while database::number(
            &connection,
            "SELECT count(*) FROM notification WHERE status IN ('queued', 'sending', 'retrying')",
        )
        .await?
            > 0
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        drop(server);
        progress("immediate sends …");
        let at_once = self.immediate(&fresh, &sandbox).await?;
        let slow = Sandbox::start_with(
            &fresh.directory,
            &["--takes-milliseconds", &PROVIDER_MS.to_string()],
        )
        .await?;
        let immediate = self.immediate(&fresh, &slow).await?;
        let accepted = sandbox.accepted()?;
        let distinct: HashSet<Uuid> = accepted.iter().map(|accepted| accepted.attempt).collect();
        let twice = accepted.len() - distinct.len();
        let per_notification = database::number(
            &connection,
            "SELECT count(*) FROM (SELECT notification_id FROM attempt GROUP BY notification_id HAVING count(*) > 1) AS t",
        )
        .await?;
        connection.close().await?;
        let result = json!({
            "accepted_per_second": (load::count(usize::try_from(settled)?) / elapsed).round(),
            "settled": settled,
            "accepted_by_sandbox": accepted.len(),
            "accepted_twice": twice,
            "notifications_with_two_attempts": per_notification,
            "immediate_own_p50_ms": immediate.p50_ms,
            "immediate_own_p99_ms": immediate.p99_ms,
            "immediate_own_first_p99_ms": immediate.first_p99_ms,
            "immediate_per_second": immediate.per_second,
            "immediate_saturated_p50_ms": at_once.p50_ms,
            "immediate_saturated_p99_ms": at_once.p99_ms,
            "immediate_saturated_per_second": at_once.per_second,
            "seconds": (elapsed * 10.0).round() / 10.0,
        });
        print(&result, self.common.json);
        fresh.drop().await?;
        ensure!(
            twice == 0 && per_notification == 0,
            "something was sent twice"
        );
        Ok(())
    }

    /// All callers at once, each with one request after the other. The provider's own
    /// ledger says how long it took over each call.
    async fn immediate(&self, fresh: &Fresh, sandbox: &Sandbox) -> anyhow::Result<Immediate> {
        let key = server::command(
            &fresh.url,
            &fresh.directory,
            &["keys", "create", "bench", "--all"],
        )?;
        let mut settings = sandbox.settings(0);
        settings.push(("HERALD_PAIR_SECONDS", "0".to_owned()));
        let server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for caller in 0..self.callers {
            let (address, key) = (server.address, key.trim().to_owned());
            callers.spawn(async move {
                let mut times: Vec<(Uuid, f64)> = Vec::with_capacity(REQUESTS);
                for _ in 0..REQUESTS {
                    let body = json!({ "to": format!("+1202555{:04}", 150 + caller % 40),
                        "template": "bench_template", "params": { "name": "Asha" } })
                    .to_string();
                    let text = format!(
                        "POST /api/v1/notifications HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {key}\r\n\
                         Prefer: wait=30\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let asked = Instant::now();
                    let (status, answer) = server::request(address, &text).await?;
                    let time = asked.elapsed().as_secs_f64() * 1000.0;
                    ensure!(status == 200, "no answer in time: {status} {answer}");
                    let answer: serde_json::Value = serde_json::from_str(&answer)?;
                    let id = answer.pointer("/notifications/0/id").and_then(serde_json::Value::as_str);
                    times.push((Uuid::parse_str(id.unwrap_or_default())?, time));
                }
                anyhow::Ok(times)
            });
        }
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        while let Some(caller) = callers.join_next().await {
            let mut times = caller??;
            rest.extend(times.split_off(1.min(times.len())));
            first.extend(times);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let requests = first.len() + rest.len();
        let provider = provider_times(sandbox)?;
        let own = |times: &[(Uuid, f64)]| {
            let mut own: Vec<f64> = times
                .iter()
                .map(|(id, time)| time - provider.get(id).copied().unwrap_or_default())
                .collect();
            own.sort_by(f64::total_cmp);
            own
        };
        let (first, rest) = (own(&first), own(&rest));
        let at = |times: &[f64], percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            (times.get(place).copied().unwrap_or_default() * 10.0).round() / 10.0
        };
        Ok(Immediate {
            per_second: (load::count(requests) / elapsed).round(),
            p50_ms: at(&rest, 50),
            p99_ms: at(&rest, 99),
            first_p99_ms: at(&first, 99),
        })
    }
}

/// How long the provider took over each notification, in milliseconds: from its ledger.
fn provider_times(sandbox: &Sandbox) -> anyhow::Result<HashMap<Uuid, f64>> {
    Ok(sandbox
        .accepted()?
        .into_iter()
        .map(|accepted| (accepted.notification, accepted.took / 1000.0))
        .collect())
}
