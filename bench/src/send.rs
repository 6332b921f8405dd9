//! `bench send`

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use crate::{
    Common, database,
    database::Fresh,
    load,
    outbound::{self, Sandbox},
    print, progress,
    server::Server,
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
                "SELECT count(*) FROM attempt WHERE accepted_at IS NOT NULL",
            )
            .await?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        drop(server);
        let accepted = sandbox.accepted()?;
        let distinct: HashSet<&String> = accepted.iter().map(|accepted| &accepted.our_id).collect();
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
