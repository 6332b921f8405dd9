//! `bench chaos`

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::json;
use uuid::Uuid;

use crate::{
    Common, database,
    database::Fresh,
    load::Random,
    outbound::{self, Sandbox},
    print, progress, record,
    server::{self, Server},
};

/// A bad day at the provider while a process is killed every few seconds: then the
/// sandbox's ledger is compared with the database.
#[derive(Debug, Args)]
pub struct Chaos {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    #[arg(long, default_value_t = 2_000)]
    people: u64,
    /// What becomes of a message with an unknown outcome.
    #[arg(long, value_enum, default_value_t = Policy::GiveUp)]
    policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Policy {
    GiveUp,
    Resend,
}

/// So long a call may take, and a lease lasts.
const CALL_SECONDS: u64 = 2;
const LEASE_SECONDS: u64 = 6;
/// So long a callback has time to tell what became of a call.
const UNKNOWN_SECONDS: u64 = 20;

/// Nothing may take longer than this.
const LIMIT: Duration = Duration::from_mins(8);

struct Run<'a> {
    fresh: &'a Fresh,
    settings: Vec<(&'static str, String)>,
    addresses: Vec<SocketAddr>,
    servers: Vec<Server>,
    kills: u64,
    /// Attempts that were open when their process was killed, and stayed so.
    in_flight: HashSet<Uuid>,
}

impl Chaos {
    pub async fn run(self) -> anyhow::Result<()> {
        let fresh = Fresh::make(&self.common, "chaos").await?;
        outbound::queue(&fresh, self.count, self.people.min(self.count), 2).await?;
        let processes = if self.common.database.is_some() { 2 } else { 1 };
        let addresses = (0..processes)
            .map(|_| server::free_address())
            .collect::<anyhow::Result<Vec<_>>>()?;
        let callbacks = addresses
            .first()
            .map(|address| format!("http://{address}/webhooks/meta"))
            .unwrap_or_default();
        let sandbox = Sandbox::start_with(
            &fresh.directory,
            &[
                "--chaos",
                "--callback-url",
                &callbacks,
                "--app-secret",
                server::APP_SECRET,
                "--sent-after-milliseconds",
                "100",
                "--delivered-after-milliseconds",
                "100",
                "--read-after-milliseconds",
                "100",
            ],
        )
        .await?;
        let policy = match self.policy {
            Policy::GiveUp => "give_up",
            Policy::Resend => "resend",
        };
        let mut settings = sandbox.settings(0);
        for (name, value) in [
            ("HERALD_SEND_SLOTS", "64".to_owned()),
            ("HERALD_SEND_TIMEOUT_SECONDS", CALL_SECONDS.to_string()),
            ("HERALD_LEASE_SECONDS", LEASE_SECONDS.to_string()),
            ("HERALD_UNKNOWN_AFTER_SECONDS", UNKNOWN_SECONDS.to_string()),
            ("HERALD_UNKNOWN_POLICY", policy.to_owned()),
            // Thousands of calls go wrong on purpose.
            ("HERALD_LOG", "off".to_owned()),
            // Refusals at random are no reason to fail a message here.
            ("HERALD_SEND_TRIES", "20".to_owned()),
            ("HERALD_SEND_RETRY_SECONDS", "1".to_owned()),
        ] {
            settings.push((name, value));
        }
        let mut run = Run {
            fresh: &fresh,
            settings,
            addresses,
            servers: Vec::new(),
            kills: 0,
            in_flight: HashSet::new(),
        };
        let connection = fresh.connect().await?;
        let stuck = run.live(&connection).await?;
        drop(run.servers);
        let compared = compare(&connection, &sandbox).await?;
        connection.close().await?;
        let in_flight = u64::try_from(run.in_flight.len())?;
        let result = json!({
            "notifications": self.count,
            "accepted_once": compared.once,
            "accepted_twice": compared.twice,
            "lost": compared.lost,
            "gave_up": compared.gave_up,
            "stuck": stuck,
            "kills": run.kills,
            "in_flight_at_kills": in_flight,
        });
        print(&result, self.common.json);
        fresh.drop().await?;
        ensure!(
            stuck == 0 && compared.lost == 0,
            "something was lost or is stuck"
        );
        match self.policy {
            Policy::GiveUp => ensure!(
                compared.twice == 0 && compared.gave_up <= in_flight,
                "something was sent twice, or given up without a kill"
            ),
            Policy::Resend => ensure!(
                compared.twice <= in_flight,
                "more was sent twice than was in flight at the kills"
            ),
        }
        Ok(())
    }
}

const PENDING: &str = "SELECT count(*) FROM notification WHERE open_status IN ('queued', 'held', 'sending', 'retrying', 'unknown')";

impl Run<'_> {
    /// Lets the day pass. Says how many messages are not decided at its end.
    async fn live(&mut self, connection: &DatabaseConnection) -> anyhow::Result<i64> {
        for place in 0..self.addresses.len() {
            let server = self.start(place).await?;
            self.servers.push(server);
        }
        let mut random = Random(0xbad_da70);
        let started = Instant::now();
        let waiting = "SELECT count(*) FROM notification WHERE open_status IN ('queued', 'held', 'sending', 'retrying')";
        loop {
            tokio::time::sleep(Duration::from_millis(2000 + random.below(2000))).await;
            let left = database::number(connection, waiting).await?;
            progress(&format!(
                "{} s, {left} still to be sent, {} kills",
                started.elapsed().as_secs(),
                self.kills
            ));
            // The last ones need no more kills: a day has an end.
            if left < 200 || started.elapsed() > LIMIT / 2 {
                break;
            }
            let place = usize::try_from(random.below(u64::try_from(self.servers.len())?))?;
            self.kill(connection, place).await?;
        }
        progress("everything is to be decided …");
        loop {
            let pending = database::number(connection, PENDING).await?;
            if (pending == 0 && database::waiting(connection).await? == 0)
                || started.elapsed() > LIMIT
            {
                return Ok(pending);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn start(&self, place: usize) -> anyhow::Result<Server> {
        let address = self.addresses.get(place).copied();
        let address = address.ok_or_else(|| anyhow::anyhow!("no such process"))?;
        let Fresh { url, directory, .. } = self.fresh;
        Server::start_at(address, url, directory, &[], &self.settings).await
    }

    async fn kill(&mut self, connection: &DatabaseConnection, place: usize) -> anyhow::Result<()> {
        if let Some(server) = self.servers.get_mut(place) {
            server.kill()?;
        }
        self.kills += 1;
        let open = open_attempts(connection).await?;
        // What another process has under way is answered by then.
        tokio::time::sleep(Duration::from_millis(CALL_SECONDS * 1000 + 1000)).await;
        let still = open_attempts(connection).await?;
        self.in_flight.extend(open.intersection(&still).copied());
        let server = self.start(place).await?;
        if let Some(slot) = self.servers.get_mut(place) {
            *slot = server;
        }
        Ok(())
    }
}

async fn open_attempts(connection: &DatabaseConnection) -> anyhow::Result<HashSet<Uuid>> {
    let attempts = record::attempts(connection).await?;
    let open = attempts.into_iter().filter(|(_, it)| it.outcome.is_none());
    Ok(open.map(|(_, attempt)| attempt.id).collect())
}

#[derive(Default)]
struct Compared {
    once: u64,
    twice: u64,
    lost: u64,
    gave_up: u64,
}

/// What the sandbox accepted, by notification, against what Herald says of each.
async fn compare(connection: &DatabaseConnection, sandbox: &Sandbox) -> anyhow::Result<Compared> {
    let attempts = record::attempts(connection).await?;
    let known: HashSet<(Uuid, Uuid)> = attempts.iter().map(|(of, it)| (*of, it.id)).collect();
    let mut accepted: HashMap<Uuid, u64> = HashMap::new();
    for call in sandbox.accepted()? {
        ensure!(
            known.contains(&(call.notification, call.attempt)),
            "a call of no attempt: {}",
            call.attempt
        );
        *accepted.entry(call.notification).or_default() += 1;
    }
    let statement = Statement::from_string(
        connection.get_database_backend(),
        "SELECT id, status FROM notification",
    );
    let mut compared = Compared::default();
    for row in connection.query_all_raw(statement).await? {
        let id: Uuid = row.try_get_by_index(0)?;
        let status: String = row.try_get_by_index(1)?;
        match accepted.get(&id) {
            Some(1) => compared.once += 1,
            Some(_) => compared.twice += 1,
            None if status == "gave_up" => compared.gave_up += 1,
            None => {
                progress(&format!("never accepted, and {status}: {id}"));
                compared.lost += 1;
            }
        }
    }
    Ok(compared)
}
