//! One round: load, a disk that fails, a disk that works again, an end, and a comparison.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use super::{
    Fault,
    place::{NOTIFICATIONS, Place, Site},
};
use crate::{
    database,
    load::{self, Shot},
    outbound::Sandbox,
    server::{self, READY_WITHIN, Server},
    system::empty_folder,
    traffic::{Answer, Kind, Ledger, PATIENCE, Traffic},
    verdict::{self, Verdict},
};

/// Load before the disk fails, and again after it has recovered.
const BEFORE: Duration = Duration::from_millis(1200);
const AFTER: Duration = Duration::from_millis(1200);

/// `/readyz` says by then that nothing can be stored.
const NOT_READY_WITHIN: Duration = Duration::from_secs(5);

/// By then everything works again once the disk does.
const RECOVERED_WITHIN: Duration = Duration::from_secs(15);

/// A server that starts on a disk that fails answers by then.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Calls in flight at a kill.
const SEND_SLOTS: usize = 8;

/// What is to happen.
pub struct Plan {
    pub fault: Fault,
    pub seconds: u64,
    pub kills: bool,
    pub folder: PathBuf,
}

/// What happened.
pub struct Done {
    pub verdict: Verdict,
    pub kills: u32,
    /// Answers 503 while the disk failed.
    pub refused: usize,
    /// Good answers meanwhile.
    pub taken: usize,
    pub ready_off_ms: u64,
    pub recovery_ms: u64,
    pub wrong: Vec<String>,
}

impl Done {
    pub fn summary(&self) -> String {
        format!(
            "{} callbacks acknowledged, {} missing; {} sends accepted, {} missing; {} doubled; refused {} meanwhile; {}",
            self.verdict.acknowledged,
            self.verdict.missing_callbacks,
            self.verdict.accepted,
            self.verdict.missing_sends,
            self.verdict.doubled,
            self.refused,
            if self.wrong.is_empty() {
                "all right"
            } else {
                "WRONG"
            }
        )
    }
}

/// When the disk failed: between these, apart from when the server was down.
struct Window {
    from: Instant,
    until: Instant,
    down: Option<(Instant, Instant)>,
}

impl Window {
    fn has(&self, at: Instant) -> bool {
        at >= self.from && at <= self.until && !self.is_down(at)
    }

    fn is_down(&self, at: Instant) -> bool {
        self.down
            .is_some_and(|(from, until)| at >= from && at <= until)
    }
}

impl Plan {
    pub async fn play(&self, site: &mut Site) -> anyhow::Result<Done> {
        empty_folder(&self.folder)?;
        let mut place = site.place(self.fault, &self.folder).await?;
        let result = self.play_at(site, &mut place).await;
        let mended = site.mend(&mut place).await;
        let cleared = site.clear(place).await;
        let done = result?;
        mended?;
        cleared?;
        Ok(done)
    }

    async fn play_at(&self, site: &Site, place: &mut Place) -> anyhow::Result<Done> {
        let sandbox = Sandbox::start(&self.folder).await?;
        let shots = Arc::new(load::shots_of(
            NOTIFICATIONS,
            usize::try_from(NOTIFICATIONS * 3)?,
            11,
        ));
        let address = server::free_address()?;
        let traffic = Traffic::new(address, &site.key, &shots);
        let ready = Ready::watch(address);
        if self.fault.is_at_start() {
            site.fail(place).await?;
        }
        let mut server = self.launch(address, place, &sandbox)?;
        if self.fault.is_at_start() {
            answers(&mut server, false).await?;
        } else {
            server.wait(READY_WITHIN).await?;
            server.durability().await?;
        }
        let firing = traffic.start();
        let outcome = self
            .live(site, place, &sandbox, &mut server, &traffic)
            .await;
        traffic.stop();
        let ended = firing.join();
        let live = outcome?;
        ended?;

        let compared = self.compare(place, &sandbox, &shots, &traffic).await?;
        Ok(self.judge(compared, &live, &traffic, &ready))
    }

    fn launch(
        &self,
        address: SocketAddr,
        place: &Place,
        sandbox: &Sandbox,
    ) -> anyhow::Result<Server> {
        let mut settings = sandbox.settings(0);
        settings.extend(place.settings.iter().cloned());
        settings.extend([
            ("HERALD_LEASE_SECONDS", "3".to_owned()),
            ("HERALD_SEND_TIMEOUT_SECONDS", "2".to_owned()),
            ("HERALD_UNKNOWN_AFTER_SECONDS", "2".to_owned()),
            ("HERALD_UNKNOWN_POLICY", "give_up".to_owned()),
            ("HERALD_PAIR_SECONDS", "0".to_owned()),
            ("HERALD_SEND_SLOTS", SEND_SLOTS.to_string()),
            ("HERALD_SEND_RETRY_SECONDS", "1".to_owned()),
        ]);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("herald.log"))?;
        Server::launch(
            address,
            &place.url,
            &place.data,
            &["--migrate"],
            &settings,
            Some(log),
        )
    }

    /// Everything up to the end of the server.
    async fn live(
        &self,
        site: &Site,
        place: &mut Place,
        sandbox: &Sandbox,
        server: &mut Server,
        traffic: &Arc<Traffic>,
    ) -> anyhow::Result<Live> {
        let strikes = site.strikes()?;
        let mut failing = Instant::now();
        if !self.fault.is_at_start() {
            tokio::time::sleep(BEFORE).await;
            failing = Instant::now();
            site.fail(place).await?;
        }
        let fails = Instant::now();
        let lasts = Duration::from_secs(self.seconds);
        let most = if self.fault.leaves_room() {
            PATIENCE
        } else {
            lasts
        };
        let refused = first_refusal(traffic, failing, fails + most, server).await?;
        let bitten = refused.unwrap_or(fails).max(fails);
        let mut down = None;
        if self.kills {
            tokio::time::sleep(lasts / 2).await;
            let since = Instant::now();
            server.kill()?;
            *server = self.launch(server.address, place, sandbox)?;
            answers(server, self.fault.leaves_room())
                .await
                .context("killed and started again while the disk fails")?;
            down = Some((since, Instant::now()));
        }
        let over = bitten + lasts;
        tokio::time::sleep(over.saturating_duration_since(Instant::now())).await;
        let struck = site.strikes()? > strikes;
        ensure!(
            place.settings.is_empty() || struck,
            "nothing was asked of the disk while it failed"
        );
        let window = Window {
            from: bitten,
            until: Instant::now(),
            down,
        };
        site.mend(place).await?;
        let mended = Instant::now();
        still_runs(server)?;
        recovered(traffic, server, mended).await?;
        let recovery = mended.elapsed();
        tokio::time::sleep(AFTER).await;
        still_runs(server)?;
        if self.kills {
            server.kill()?;
        } else {
            let status = server.stop(Duration::from_secs(30)).await?;
            ensure!(status.success(), "asked to end, the server said {status}");
        }
        Ok(Live { window, recovery })
    }

    /// Starts the server once more, lets it finish everything, and compares.
    async fn compare(
        &self,
        place: &Place,
        sandbox: &Sandbox,
        shots: &[Shot],
        traffic: &Traffic,
    ) -> anyhow::Result<Verdict> {
        let mut server = self.launch(server::free_address()?, place, sandbox)?;
        server.wait(READY_WITHIN).await?;
        let connection = database::open(&place.url).await?;
        let undone = verdict::wait(&connection).await?;
        server.stop(Duration::from_secs(30)).await?;
        let ledger = traffic.read(Ledger::promises);
        let file = database::file(&self.folder, "acknowledged.jsonl");
        load::write_ledger(&file, shots, &ledger.acknowledged)?;
        let verdict = verdict::judge(&connection, sandbox, shots, &ledger, undone).await?;
        connection.close().await?;
        Ok(verdict)
    }

    fn judge(&self, verdict: Verdict, live: &Live, traffic: &Traffic, ready: &Ready) -> Done {
        let kills = if self.kills { 2 } else { 0 };
        let mut wrong = verdict.faults(SEND_SLOTS * kills);
        let (mut refused, mut taken) = (0, 0);
        traffic.read(|ledger| {
            for answer in &ledger.answers {
                let came = answer.asked + answer.took;
                let in_window = live.window.has(answer.asked) && live.window.has(came);
                // What hangs is wrong, whenever its time was up.
                let hung = live.window.has(answer.asked) && answer.took >= PATIENCE;
                if !in_window && !hung {
                    continue;
                }
                match answer.status {
                    503 => refused += 1,
                    // Asked again, it may be known already.
                    200..=299 if !answer.is_first || self.fault.leaves_room() => taken += 1,
                    200..=299 => {
                        taken += 1;
                        wrong.push(said(answer, &live.window, "was taken"));
                    }
                    0 => wrong.push(said(answer, &live.window, "was not answered")),
                    other => {
                        wrong.push(said(answer, &live.window, &format!("was answered {other}")));
                    }
                }
            }
        });
        if refused == 0 {
            wrong.push("while the disk failed, everything was taken".to_owned());
        }
        let ready_off = ready.off(&live.window, !self.fault.leaves_room(), &mut wrong);
        let many = wrong.len();
        wrong.truncate(8);
        if many > wrong.len() {
            wrong.push(format!("… {many} in all"));
        }
        Done {
            verdict,
            kills: u32::from(self.kills) * 2,
            refused,
            taken,
            ready_off_ms: millis(ready_off),
            recovery_ms: millis(live.recovery),
            wrong,
        }
    }
}

struct Live {
    window: Window,
    recovery: Duration,
}

fn said(answer: &Answer, window: &Window, what: &str) -> String {
    let kind = match answer.kind {
        Kind::Callback => "a callback",
        Kind::Send => "a send",
    };
    let after = |since: Instant| millis(answer.asked.saturating_duration_since(since));
    let since_start = window.down.map_or_else(String::new, |(_, until)| {
        format!(", {} ms after the start", after(until))
    });
    format!(
        "{} ms after the disk failed{since_start}, {kind} {what} ({} ms)",
        after(window.from),
        millis(answer.took)
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn still_runs(server: &mut Server) -> anyhow::Result<()> {
    match server.ended()? {
        Some(status) => bail!("the server ended by itself: {status}"),
        None => Ok(()),
    }
}

/// Waits until a server answers that cannot be ready, or may be.
async fn answers(server: &mut Server, may_be_ready: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        still_runs(server)?;
        match server.get("/readyz").await {
            Ok((503, _)) => return Ok(()),
            Ok((200, _)) if may_be_ready => return Ok(()),
            Ok((other, _)) => bail!("/readyz says {other} on a disk that fails"),
            Err(_) => {}
        }
        ensure!(
            started.elapsed() < ANSWERS_WITHIN,
            "started on a disk that fails, the server does not answer"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// When something was refused for the first time; nothing if everything is taken.
async fn first_refusal(
    traffic: &Traffic,
    since: Instant,
    until: Instant,
    server: &mut Server,
) -> anyhow::Result<Option<Instant>> {
    while Instant::now() < until {
        let refused = traffic.read(|ledger| {
            let recent = ledger.answers.iter().rev();
            recent
                .map(|answer| (answer.asked + answer.took, answer.is_good()))
                .take_while(|(came, _)| *came >= since)
                .filter_map(|(came, is_good)| (!is_good).then_some(came))
                .min()
        });
        if refused.is_some() {
            return Ok(refused);
        }
        still_runs(server)?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(None)
}

/// Waits until callbacks and sends are taken that were made after `since`, and the server is ready.
async fn recovered(traffic: &Traffic, server: &mut Server, since: Instant) -> anyhow::Result<()> {
    loop {
        let taken = |kind: Kind| traffic.read(|ledger| ledger.took(kind, since));
        let is_ready = matches!(server.get("/readyz").await, Ok((200, _)));
        let (callbacks, sends) = (taken(Kind::Callback), taken(Kind::Send));
        if is_ready && callbacks && sends {
            return Ok(());
        }
        still_runs(server)?;
        ensure!(
            since.elapsed() < RECOVERED_WITHIN,
            "not recovered {} s after the disk: ready {is_ready}, callbacks taken {callbacks}, sends accepted {sends}",
            RECOVERED_WITHIN.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What `/readyz` said.
struct Ready {
    said: Arc<Mutex<Vec<Said>>>,
    /// Dropped, it asks no more.
    _asking: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Said {
    asked: Instant,
    came: Instant,
    status: u16,
}

impl Ready {
    fn watch(address: SocketAddr) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&said);
        let mut asking = JoinSet::new();
        asking.spawn(async move {
            let text = "GET /readyz HTTP/1.1\r\nHost: herald\r\nConnection: close\r\n\r\n";
            loop {
                let asked = Instant::now();
                let answer = tokio::time::timeout(PATIENCE, server::request(address, text)).await;
                if let Ok(Ok((status, _))) = answer {
                    let came = Instant::now();
                    let mut said = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    said.push(Said {
                        asked,
                        came,
                        status,
                    });
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self {
            said,
            _asking: asking,
        }
    }

    /// How long it took to say that nothing can be stored; it must go on saying so, steadily.
    fn off(&self, window: &Window, steadily: bool, wrong: &mut Vec<String>) -> Duration {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut meanwhile = said.iter().filter(|said| window.has(said.asked));
        // Asked at the end, it may answer after it.
        let Some(off) = meanwhile.find(|said| said.status == 503) else {
            wrong.push("/readyz never said 503 while the disk failed".to_owned());
            return Duration::ZERO;
        };
        if steadily && meanwhile.any(|said| said.status == 200 && window.has(said.came)) {
            wrong.push("/readyz said 200 again while the disk failed".to_owned());
        }
        let after = off.came.saturating_duration_since(window.from);
        if after > NOT_READY_WITHIN {
            wrong.push(format!("/readyz said 503 after {} ms", after.as_millis()));
        }
        after
    }
}
