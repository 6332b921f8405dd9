//! `bench failover`

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use herald::state::Clock;
use sea_orm::{Database, DatabaseConnection};
use serde_json::json;

use crate::{
    Common,
    cluster::{Cluster, Owner},
    database::{self, Fresh},
    load,
    network::Network,
    outbound::Sandbox,
    print, progress,
    server::{self, READY_WITHIN, Server},
    system::empty_folder,
    traffic::{Kind, Ledger, Traffic},
    verdict::{self, Verdict},
};

/// PostgreSQL's host disappears under load without closing a connection, and its synchronous
/// standby is promoted: nothing acknowledged may be lost, and work goes on by itself.
#[derive(Debug, Args)]
pub struct Failover {
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long nothing answers before the standby is promoted.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Where logs and ledgers go; a fresh folder if absent.
    #[arg(long)]
    directory: Option<std::path::PathBuf>,
}

/// Notifications whose statuses come in.
const NOTIFICATIONS: u64 = 8_000;

/// Load before the host disappears, and after work has begun again.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);

/// From the new primary's first answer until callbacks are stored and applied, and sends
/// accepted and sent.
const WORKS_WITHIN: Duration = Duration::from_secs(15);

const PORT: u16 = 5432;

/// What a primary and its standby have in common.
const SETTINGS: &str = "max_connections = 60\nwal_level = replica\nhot_standby = on\n\
    synchronous_commit = on\nwal_receiver_status_interval = 1s";

/// What happened in one round.
struct Done {
    verdict: Verdict,
    /// From the new primary's first answer.
    until_work: Duration,
}

impl Failover {
    pub async fn run(self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let directory = self.directory.clone();
        let directory = directory.unwrap_or_else(|| folder.path().to_owned());
        let (mut verdict, mut times, mut wrong) = (Verdict::default(), Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            let folder = directory.join(format!("failover-{round}"));
            empty_folder(&folder)?;
            match self.round(&folder).await {
                Ok(done) => {
                    let within = done.until_work.as_millis();
                    progress(&format!("round {round}: works after {within} ms"));
                    times.push(within);
                    let faults = done.verdict.faults(0);
                    wrong.extend(faults.iter().map(|what| format!("round {round}: {what}")));
                    verdict.add(&done.verdict);
                }
                Err(error) => {
                    progress(&format!("round {round}: {error:#}"));
                    wrong.push(format!("round {round}: {error:#}"));
                }
            }
        }
        print(
            &json!({
                "rounds": self.rounds,
                "acknowledged": verdict.acknowledged,
                "accepted": verdict.accepted,
                "missing_callbacks": verdict.missing_callbacks,
                "missing_sends": verdict.missing_sends,
                "doubled": verdict.doubled,
                "undone": verdict.undone,
                "unsent": verdict.unsent,
                "gave_up": verdict.gave_up,
                "works_after_ms": times,
                "wrong": wrong,
            }),
            self.json,
        );
        ensure!(wrong.is_empty(), "{} things went wrong", wrong.len());
        Ok(())
    }

    async fn round(&self, folder: &Path) -> anyhow::Result<Done> {
        let owner = Owner::find()?;
        owner.give(folder)?;
        let network = Network::build(2)?;
        let host = |place: usize, name: &str| -> anyhow::Result<Cluster> {
            let (namespace, address) = network.host(place).context("no such host")?;
            let within = ["ip", "netns", "exec", namespace];
            Cluster::at(folder.join(name), &address, PORT, &within, owner)
        };
        let primary = host(0, "primary")?;
        primary.make(&[], SETTINGS)?;
        primary.start()?;
        let common = Common {
            database: Some(primary.url("postgres")),
            seconds: 0,
            json: false,
            directory: Some(folder.join("seed")),
        };
        let fresh = Fresh::make(&common, "failover").await?;
        let words = ["keys", "create", "bench", "--all"];
        let key = server::command(&fresh.url, &fresh.directory, &words)?;
        database::seed_of_sender(&fresh, NOTIFICATIONS).await?;
        let (_, name) = fresh.url.rsplit_once('/').context("no database")?;

        let standby = host(1, "standby")?;
        follow(&primary, &standby).await?;

        let sandbox = Sandbox::start(folder).await?;
        let url = format!(
            "postgres://herald@{}:{PORT},{}:{PORT}/{name}?target_session_attrs=read-write",
            primary.host, standby.host
        );
        let mut server = launch(&url, folder, &sandbox)?;
        server.wait(READY_WITHIN).await?;
        server.durability().await?;
        let count = usize::try_from(NOTIFICATIONS * 3)?;
        let shots = Arc::new(load::shots_of(NOTIFICATIONS, count, 11));
        let traffic = Traffic::new(server.address, &key, &shots);
        let firing = traffic.start();
        let outcome = self
            .live(&network, &primary, &standby, name, &traffic, &mut server)
            .await;
        traffic.stop();
        let ended = firing.join();
        let until_work = outcome?;
        ended?;

        let connection = connect(&standby.url(name)).await?;
        let undone = verdict::wait(&connection).await?;
        let status = server.stop(Duration::from_secs(30)).await?;
        ensure!(status.success(), "asked to end, the server said {status}");
        let ledger = traffic.read(Ledger::promises);
        let verdict = verdict::judge(&connection, &sandbox, &shots, &ledger, undone).await?;
        connection.close().await?;
        Ok(Done {
            verdict,
            until_work,
        })
    }

    /// Takes the primary away, promotes the standby, and says how long work took to begin.
    async fn live(
        &self,
        network: &Network,
        primary: &Cluster,
        standby: &Cluster,
        name: &str,
        traffic: &Traffic,
        server: &mut Server,
    ) -> anyhow::Result<Duration> {
        tokio::time::sleep(BEFORE).await;
        let started = Instant::now();
        while traffic.read(|ledger| ledger.acknowledged.len() < 100 || ledger.accepted.len() < 20) {
            ensure!(started.elapsed() < READY_WITHIN, "there is no load");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // First silent, then dead: its last packets must not say so.
        network.silence(0)?;
        primary.stop("immediate")?;
        let silent = tokio::time::timeout(
            Duration::from_secs(1),
            tokio::net::TcpStream::connect((primary.host.as_str(), PORT)),
        );
        ensure!(silent.await.is_err(), "the primary's host is not silent");
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        standby.control(&["-w", "promote"])?;
        let connection = connect(&standby.url(name)).await?;
        database::number(&connection, "SELECT CAST(txid_current() AS bigint)").await?;
        let answers = Instant::now();
        let now = Clock::System.now().micros();
        let applied = format!("SELECT count(*) FROM inbox_applied WHERE processed_at > {now}");
        let sent = format!(
            "SELECT count(*) FROM attempt WHERE outcome = 'accepted' AND answered_at > {now}"
        );
        loop {
            ensure!(server.ended()?.is_none(), "the server ended by itself");
            let taken = |kind: Kind| traffic.read(|ledger| ledger.took(kind, answers));
            let work = [
                ("callbacks stored", taken(Kind::Callback)),
                ("sends accepted", taken(Kind::Send)),
                (
                    "callbacks applied",
                    database::number(&connection, &applied).await? > 0,
                ),
                (
                    "messages sent",
                    database::number(&connection, &sent).await? > 0,
                ),
                ("ready", matches!(server.get("/readyz").await, Ok((200, _)))),
            ];
            if work.iter().all(|(_, done)| *done) {
                break;
            }
            let left: Vec<_> = work.iter().filter(|(_, done)| !done).collect();
            ensure!(
                answers.elapsed() < WORKS_WITHIN,
                "{} s after the new primary's first answer not yet: {left:?}",
                WORKS_WITHIN.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let until_work = answers.elapsed();
        connection.close().await?;
        tokio::time::sleep(AFTER).await;
        Ok(until_work)
    }
}

fn launch(url: &str, folder: &Path, sandbox: &Sandbox) -> anyhow::Result<Server> {
    let mut settings = sandbox.settings(0);
    settings.extend([
        ("HERALD_LEASE_SECONDS", "3".to_owned()),
        ("HERALD_SEND_TIMEOUT_SECONDS", "2".to_owned()),
        ("HERALD_UNKNOWN_AFTER_SECONDS", "2".to_owned()),
        ("HERALD_UNKNOWN_POLICY", "give_up".to_owned()),
        ("HERALD_PAIR_SECONDS", "0".to_owned()),
        ("HERALD_SEND_RETRY_SECONDS", "1".to_owned()),
    ]);
    let log = File::create(folder.join("herald.log"))?;
    let address = server::free_address()?;
    Server::launch(address, url, folder, &[], &settings, Some(log))
}

/// Makes the standby a copy of the primary that follows it, and the primary wait for it.
async fn follow(primary: &Cluster, standby: &Cluster) -> anyhow::Result<()> {
    let data = standby.data.display().to_string();
    let port = primary.port.to_string();
    standby.run(
        "pg_basebackup",
        &[
            "-h",
            &primary.host,
            "-p",
            &port,
            "-U",
            "herald",
            "-D",
            &data,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        ],
    )?;
    standby.configure("")?;
    standby.start()?;
    primary.configure("synchronous_standby_names = '*'")?;
    primary.control(&["reload"])?;
    let connection = connect(&primary.url("postgres")).await?;
    let started = Instant::now();
    let sync = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while database::number(&connection, sync).await? == 0 {
        ensure!(
            started.elapsed() < Duration::from_secs(20),
            "the standby does not follow"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connection.close().await?;
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Ok(Database::connect(options).await?)
}
