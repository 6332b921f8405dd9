//! `bench send`

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    Common, database,
    database::Fresh,
    load, print, progress,
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
}

struct Sandbox(Child);

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Send {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "send").await?;
        queue(&fresh, self.count).await?;
        let ledger = database::file(&fresh.directory, "accepted.jsonl");
        let address = server::free_address()?;
        let sandbox = Command::new(std::env::current_exe()?)
            .args([
                "herald",
                "sandbox",
                "--listen",
                &address.to_string(),
                "--ledger",
            ])
            .arg(&ledger)
            .stdout(Stdio::null())
            .spawn()?;
        let _sandbox = Sandbox(sandbox);
        let settings = [
            ("WHATSAPP_PHONE_NUMBER_ID", "106540352242922".to_owned()),
            ("WHATSAPP_ACCESS_TOKEN", "sandbox-token".to_owned()),
            ("WHATSAPP_API_BASE", format!("http://{address}")),
            ("HERALD_SEND_PER_SECOND", "0".to_owned()),
        ];
        tokio::time::sleep(Duration::from_millis(300)).await;
        progress("sending …");
        let started = Instant::now();
        let server = Server::start(&fresh.url, &fresh.directory, &[], &settings).await?;
        let connection = fresh.connect().await?;
        let limit = Duration::from_secs(self.common.seconds);
        let mut settled = 0;
        while started.elapsed() < limit && settled < i64::try_from(self.count)? {
            tokio::time::sleep(Duration::from_millis(200)).await;
            settled = database::number(
                &connection,
                "SELECT count(*) FROM attempt WHERE accepted_at IS NOT NULL",
            )
            .await?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        drop(server);
        let accepted =
            BufReader::new(std::fs::File::open(&ledger).context("the sandbox wrote no ledger")?)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
                .filter_map(|line| line.get("our_id")?.as_str().map(str::to_owned))
                .collect::<Vec<_>>();
        let distinct: HashSet<&String> = accepted.iter().collect();
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
}

/// Fills the queue.
async fn queue(fresh: &Fresh, count: u64) -> anyhow::Result<()> {
    let catalogue = fresh.directory.join("send.toml");
    std::fs::write(
        &catalogue,
        "name = \"bench\"\n[[template]]\nname = \"bench_template\"\ncategory = \"utility\"\nbody = \"Hello {{ name }}, this is a message.\"\n",
    )?;
    server::command(
        &fresh.url,
        &fresh.directory,
        &["apply", &catalogue.display().to_string()],
    )?;
    let connection = fresh.connect().await?;
    let (series, id, number) = if connection.get_database_backend() == sea_orm::DbBackend::Postgres
    {
        (
            format!("generate_series(0, {}) AS s(i)", count - 1),
            database::id_sql(true, "9000"),
            "'+1202' || lpad((i % 5000000 + 2000000)::text, 7, '0')",
        )
    } else {
        (
            format!(
                "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {}) SELECT i FROM s)",
                count - 1
            ),
            database::id_sql(false, "9000"),
            "'+1202' || printf('%07d', i % 5000000 + 2000000)",
        )
    };
    let now = herald::state::Clock::System.now().micros();
    connection
        .execute_unprepared(&format!(
            "INSERT INTO notification (id, created_at, updated_at, depth, channel, recipient, address, kind, template, \
             category, params, body, labels, priority, generation, status, open_status, engine_state, triggered, replied, \
             attempt_count, due_at) \
             SELECT {id}, {now}, {now}, 0, 'whatsapp', {number}, {number}, 'template', 'bench_template', 'utility', \
             '{{\"name\":\"Asha\"}}', 'Hello Asha, this is a message.', '{{}}', 2, 1, 'queued', 'queued', 'queued', 0, false, 0, {now} \
             FROM {series}"
        ))
        .await?;
    connection.close().await?;
    Ok(())
}
