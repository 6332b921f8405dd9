//! `bench backlog`

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use sea_orm::DatabaseConnection;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    Common,
    database::{self, Fresh},
    load, print, progress,
    server::Server,
};

/// More callbacks than can be applied: offered 1.5 times the highest applied rate, then half of
/// it. Nothing may be refused or lost, a STOP is applied within 2 s, and the backlog goes.
#[derive(Debug, Args)]
pub struct Backlog {
    #[command(flatten)]
    common: Common,
    /// Connections of the provider: it has no more calls open than this.
    #[arg(long, default_value_t = 512)]
    connections: u64,
    /// For so many seconds more is offered than can be applied.
    #[arg(long, default_value_t = 120)]
    overload_seconds: u64,
    /// The backlog must be gone so many seconds later.
    #[arg(long, default_value_t = 240)]
    gone_seconds: u64,
}

/// A person's STOP must be applied within this.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Between two people who stop.
const STOP_EVERY: Duration = Duration::from_secs(3);

/// People who may stop: the last two digits of their numbers.
const PEOPLE: u64 = 100;

/// Connections of the load that finds the highest rate.
const MEASURING_CONNECTIONS: u64 = 64;

/// More than any machine takes in a second.
const UNLIMITED: u64 = 1_000_000;

/// What was sent, by all phases.
#[derive(Debug, Default)]
struct Ledger {
    /// The next callback; none is sent twice.
    next: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

impl Ledger {
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// The callback of a number: a status of some notification.
fn request(number: u64) -> Vec<u8> {
    let (round, place) = (
        number / database::NOTIFICATIONS,
        number % database::NOTIFICATIONS,
    );
    let status = ["sent", "delivered", "read"]
        .get(usize::try_from(round % 3).unwrap_or(0))
        .copied()
        .unwrap_or("sent");
    // Without a common factor, every notification comes up once a round, in no order.
    let notification = place * 123_457 % database::NOTIFICATIONS;
    // A later round says it of another second: it is another callback.
    let body = load::body(notification, status).replacen(
        "\"timestamp\":\"1763692",
        &format!("\"timestamp\":\"1763{:03}", 692 + round / 3),
        1,
    );
    load::request(&body)
}

/// Fires from a thread of its own until `until`, each connection at its own moments.
fn offer(
    address: SocketAddr,
    ledger: &Arc<Ledger>,
    connections: u64,
    per_second: u64,
    stop: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let (ledger, stop) = (Arc::clone(ledger), Arc::clone(stop));
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        let gap = Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
        let started = Instant::now();
        runtime.block_on(async {
            let mut workers = JoinSet::new();
            for worker in 0..u32::try_from(connections).unwrap_or(1) {
                let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
                let first = started + gap * worker;
                let each = gap * u32::try_from(connections).unwrap_or(1);
                workers.spawn(async move { fire(address, &ledger, first, each, &stop).await });
            }
            while workers.join_next().await.is_some() {}
        });
    })
}

async fn fire(
    address: SocketAddr,
    ledger: &Ledger,
    mut next: Instant,
    each: Duration,
    stop: &AtomicBool,
) {
    let mut stream = None;
    loop {
        tokio::time::sleep_until(next.into()).await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let shot = request(ledger.next.fetch_add(1, Ordering::Relaxed));
        let open = match stream.take() {
            Some(open) => Some(open),
            None => TcpStream::connect(address).await.ok(),
        };
        match open {
            Some(mut open) => {
                let answer = load::exchange(&mut open, &shot).await;
                if answer.is_some() {
                    stream = Some(open);
                }
                ledger.note(answer == Some(true));
            }
            None => ledger.note(false),
        }
        next += each;
    }
}

impl Ledger {
    fn note(&self, is_good: bool) {
        let counter = if is_good {
            &self.acknowledged
        } else {
            &self.refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets time pass under load, and stops the load.
async fn load_for(
    seconds: u64,
    thread: std::thread::JoinHandle<()>,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    ensure!(joined.is_ok(), "the load has panicked");
    Ok(())
}

/// A number among the server's metrics; nothing yet is 0.
async fn metric(server: &Server, name: &str) -> anyhow::Result<f64> {
    let (_, metrics) = server.get("/metrics").await?;
    Ok(metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or(0.0))
}

const APPLIED: &str = "herald_callback_items_total{result=\"applied\"} ";
const WAITING: &str = "herald_callbacks_waiting ";
const LAG: &str = "herald_apply_lag_seconds ";

/// The most that was applied in any second while there was work, until there is none.
async fn highest_rate(server: &Server, stop: &AtomicBool) -> anyhow::Result<f64> {
    let (mut highest, mut last) = (0.0_f64, (Instant::now(), metric(server, APPLIED).await?));
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = (Instant::now(), metric(server, APPLIED).await?);
        let rate = (now.1 - last.1) / now.0.duration_since(last.0).as_secs_f64();
        highest = highest.max(rate);
        last = now;
        if stop.load(Ordering::Relaxed) && metric(server, WAITING).await? < 1.0 {
            return Ok(highest);
        }
    }
}

/// People who stop, one after the other: how long the slowest took.
async fn people_stop(
    address: SocketAddr,
    connection: &DatabaseConnection,
    done: &AtomicBool,
) -> anyhow::Result<(u64, Duration)> {
    let (mut stopped, mut slowest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) && stopped < PEOPLE {
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"field":"messages","value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}},"messages":[{{"id":"wamid.STOP{stopped}","from":"120255501{stopped:02}","timestamp":"{}","type":"text","text":{{"body":"STOP"}}}}]}}}}]}}]}}"#,
            1_763_692_800 + stopped
        );
        let sent = Instant::now();
        let mut answers = JoinSet::new();
        answers.spawn(async move {
            let mut stream = TcpStream::connect(address).await.ok()?;
            load::exchange(&mut stream, &load::request(&body)).await
        });
        stopped += 1;
        loop {
            let applied = database::number(connection, "SELECT count(*) FROM suppression").await?;
            if u64::try_from(applied)? >= stopped {
                break;
            }
            ensure!(
                sent.elapsed() < Duration::from_mins(1),
                "a STOP is not applied after a minute"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        slowest = slowest.max(sent.elapsed());
        let answer = answers.join_next().await;
        ensure!(matches!(answer, Some(Ok(Some(true)))), "a STOP was refused");
        tokio::time::sleep(STOP_EVERY.saturating_sub(sent.elapsed())).await;
    }
    Ok((stopped, slowest))
}

fn whole(number: f64) -> u64 {
    format!("{:.0}", number.max(0.0)).parse().unwrap_or(0)
}

impl Backlog {
    pub async fn run(self) -> anyhow::Result<()> {
        progress("filling a fresh database …");
        let fresh = Fresh::make(&self.common, "backlog").await?;
        database::seed(&fresh).await?;
        let server = Server::start(&fresh.url, &fresh.directory, &[], &[]).await?;
        let durability = server.durability().await?;
        let connection = fresh.connect().await?;
        let ledger = Arc::new(Ledger::default());

        progress(&format!("{} s for the highest rate …", self.common.seconds));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = offer(
            server.address,
            &ledger,
            MEASURING_CONNECTIONS,
            UNLIMITED,
            &stop,
        );
        let (loaded, highest) = tokio::join!(
            load_for(self.common.seconds, thread, &stop),
            highest_rate(&server, &stop)
        );
        loaded?;
        let highest = highest?;
        ensure!(highest >= 1.0, "nothing was applied");

        let offered = whole(highest * 1.5);
        progress(&format!(
            "{offered} a second for {} s …",
            self.overload_seconds
        ));
        let before = ledger.next.load(Ordering::Relaxed);
        let (stop, done) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
        let thread = offer(server.address, &ledger, self.connections, offered, &stop);
        let people = people_stop(server.address, &connection, &done);
        let phases = async {
            let (loaded, peak) = tokio::join!(
                load_for(self.overload_seconds, thread, &stop),
                peak(&server, &stop)
            );
            loaded?;
            let peak = peak?;
            let sent = ledger.next.load(Ordering::Relaxed) - before;
            progress("half of the highest rate …");
            let rest = Arc::new(AtomicBool::new(false));
            let thread = offer(
                server.address,
                &ledger,
                self.connections,
                whole(highest / 2.0),
                &rest,
            );
            let gone = gone(&server, Duration::from_secs(self.gone_seconds)).await;
            load_for(0, thread, &rest).await?;
            done.store(true, Ordering::Relaxed);
            anyhow::Ok((peak, sent, gone?))
        };
        let (phases, people) = tokio::join!(phases, people);
        done.store(true, Ordering::Relaxed);
        let ((peak_waiting, peak_lag), sent, gone) = phases?;
        let (stopped, slowest) = people?;

        crate::ingest::wait_applied(&connection).await?;
        let stored = database::stored(&connection).await?;
        let dead = database::number(&connection, "SELECT count(*) FROM dead_letter").await?;
        let expected = ledger.acknowledged() + stopped;
        let lost = expected.saturating_sub(u64::try_from(stored)?);
        let refused = ledger.refused.load(Ordering::Relaxed);
        let result = json!({
            "highest_applied_per_second": whole(highest),
            "offered_per_second": offered,
            "offered": offered * self.overload_seconds,
            "sent_while_overloaded": sent,
            "acknowledged": expected,
            "refused": refused,
            "lost": lost,
            "dead_letters": dead,
            "delayed": whole(metric(&server, "herald_callbacks_delayed_total ").await?),
            "peak_waiting": whole(peak_waiting),
            "peak_lag_seconds": whole(peak_lag),
            "stops": stopped,
            "slowest_stop_ms": u64::try_from(slowest.as_millis())?,
            "backlog_gone_after_seconds": gone.map(|gone| gone.as_secs()),
            "durability": durability,
        });
        print(&result, self.common.json);
        drop(server);
        connection.close().await?;
        fresh.drop().await?;
        ensure!(refused == 0, "{refused} callbacks were refused");
        ensure!(lost == 0, "{lost} acknowledged callbacks are not stored");
        ensure!(dead == 0, "{dead} items are dead letters");
        ensure!(stopped > 0, "no STOP was sent");
        ensure!(
            slowest <= STOP_WITHIN,
            "a STOP was applied after {slowest:?}"
        );
        gone.context("the backlog is not gone in time")?;
        Ok(())
    }
}

/// The most that waited, and the greatest lag, until the load stops.
async fn peak(server: &Server, stop: &AtomicBool) -> anyhow::Result<(f64, f64)> {
    let (mut waiting, mut lag) = (0.0_f64, 0.0_f64);
    loop {
        waiting = waiting.max(metric(server, WAITING).await?);
        lag = lag.max(metric(server, LAG).await?);
        if stop.load(Ordering::Relaxed) {
            return Ok((waiting, lag));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// How long it takes until applying is behind no more: what waits came just now.
async fn gone(server: &Server, within: Duration) -> anyhow::Result<Option<Duration>> {
    let started = Instant::now();
    while started.elapsed() < within {
        if metric(server, LAG).await? < 1.0 {
            return Ok(Some(started.elapsed()));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(None)
}
