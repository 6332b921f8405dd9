//! Callbacks and sends beside each other, as a provider and a product make them: what is not
//! taken comes again until it is. Every answer is kept, with when it was asked for.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::bail;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use uuid::Uuid;

use crate::load::{self, Shot};

/// Connections that post callbacks, and how long each rests after an answer.
const CALLBACK_CONNECTIONS: usize = 16;
const CALLBACK_REST: Duration = Duration::from_millis(30);

/// Connections that ask for messages, and how long each rests after an answer.
const SEND_CONNECTIONS: usize = 4;
const SEND_REST: Duration = Duration::from_millis(40);

/// After this a request counts as not answered.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Callback,
    Send,
}

/// What was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub kind: Kind,
    pub asked: Instant,
    pub took: Duration,
    /// The HTTP status; 0 where the connection broke or nothing came.
    pub status: u16,
    /// Nothing was asked with the same words before.
    pub is_first: bool,
}

impl Answer {
    pub const fn is_good(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// All that was answered so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Positions of the shots that were answered 200.
    pub acknowledged: Vec<usize>,
    /// The number of each send that was accepted, and the id it was given, if the answer has one.
    pub accepted: Vec<(u64, Option<Uuid>)>,
    pub answers: Vec<Answer>,
}

impl Ledger {
    /// A copy of what was promised.
    pub fn promises(&self) -> Self {
        Self {
            acknowledged: self.acknowledged.clone(),
            accepted: self.accepted.clone(),
            answers: Vec::new(),
        }
    }

    /// Whether anything of this kind was taken that was asked since then.
    pub fn took(&self, kind: Kind, since: Instant) -> bool {
        let recent = self.answers.iter().rev();
        recent
            .take_while(|answer| answer.asked + answer.took >= since)
            .any(|answer| answer.kind == kind && answer.is_good() && answer.asked >= since)
    }
}

/// A load that goes on until it is stopped.
pub struct Traffic {
    address: SocketAddr,
    key: String,
    shots: Arc<Vec<Shot>>,
    next_shot: AtomicUsize,
    next_send: AtomicU64,
    ledger: Mutex<Ledger>,
    is_over: AtomicBool,
}

impl Traffic {
    /// A load on `address` with an API key.
    pub fn new(address: SocketAddr, key: &str, shots: &Arc<Vec<Shot>>) -> Arc<Self> {
        Arc::new(Self {
            address,
            key: key.to_owned(),
            shots: Arc::clone(shots),
            next_shot: AtomicUsize::new(0),
            next_send: AtomicU64::new(0),
            ledger: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    /// Fires until [`Traffic::stop`], on a thread of its own.
    pub fn start(self: &Arc<Self>) -> Firing {
        let traffic = Arc::clone(self);
        Firing(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut workers = JoinSet::new();
                for _ in 0..CALLBACK_CONNECTIONS {
                    let traffic = Arc::clone(&traffic);
                    workers.spawn(async move { traffic.post_callbacks().await });
                }
                for _ in 0..SEND_CONNECTIONS {
                    let traffic = Arc::clone(&traffic);
                    workers.spawn(async move { traffic.ask_for_messages().await });
                }
                while workers.join_next().await.is_some() {}
            });
            Ok(())
        }))
    }

    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Looks at what was answered so far.
    pub fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    async fn post_callbacks(&self) {
        let mut stream = None;
        while !self.is_over() {
            let place = self.next_shot.fetch_add(1, Ordering::Relaxed);
            let Some(shot) = self.shots.get(place) else {
                return;
            };
            let request = &shot.request;
            let asked = self.ask(&mut stream, request, Kind::Callback, CALLBACK_REST);
            if asked.await.is_some() {
                self.note(|ledger| ledger.acknowledged.push(place));
            }
        }
    }

    async fn ask_for_messages(&self) {
        let mut stream = None;
        while !self.is_over() {
            let number = self.next_send.fetch_add(1, Ordering::Relaxed);
            let request = self.send_request(number);
            let asked = self.ask(&mut stream, &request, Kind::Send, SEND_REST);
            if let Some(answer) = asked.await {
                let id = accepted_id(&answer);
                self.note(|ledger| ledger.accepted.push((number, id)));
            }
        }
    }

    fn send_request(&self, number: u64) -> Vec<u8> {
        let (key, name) = (&self.key, send_name(number));
        let body = serde_json::json!({ "to": format!("+1202555{:04}", 150 + number % 40),
            "template": "bench_template", "params": { "name": name } })
        .to_string();
        format!(
            "POST /api/v1/notifications HTTP/1.1\r\nHost: herald\r\nAuthorization: Bearer {key}\r\n\
             Idempotency-Key: {name}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Asks until the answer is good, or the load is over: then nothing.
    async fn ask(
        &self,
        stream: &mut Option<TcpStream>,
        request: &[u8],
        kind: Kind,
        rest: Duration,
    ) -> Option<Vec<u8>> {
        let mut is_first = true;
        loop {
            let asked = Instant::now();
            let exchanged = exchange(self.address, stream, request);
            let exchanged = tokio::time::timeout(PATIENCE, exchanged).await;
            let bytes = exchanged.ok().and_then(Result::ok);
            let answer = Answer {
                kind,
                asked,
                took: asked.elapsed(),
                status: bytes.as_deref().and_then(status).unwrap_or(0),
                is_first,
            };
            self.note(|ledger| ledger.answers.push(answer));
            if answer.is_good() {
                tokio::time::sleep(rest).await;
                return bytes;
            }
            if self.is_over() {
                return None;
            }
            is_first = false;
            tokio::time::sleep(rest).await;
        }
    }

    fn note(&self, write: impl FnOnce(&mut Ledger)) {
        write(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A load under way.
pub struct Firing(JoinHandle<anyhow::Result<()>>);

impl Firing {
    /// Waits until it is over.
    pub fn join(self) -> anyhow::Result<()> {
        match self.0.join() {
            Ok(result) => result,
            Err(_panicked) => bail!("the load ended in a panic"),
        }
    }
}

/// What a send says of itself: its only parameter, and its idempotency key.
pub fn send_name(number: u64) -> String {
    format!("S{number:07}")
}

/// One request over a connection that is kept. Where the server has closed it meanwhile, the
/// request goes over a new one, as every client does.
async fn exchange(
    address: SocketAddr,
    stream: &mut Option<TcpStream>,
    request: &[u8],
) -> anyhow::Result<Vec<u8>> {
    if let Some(mut kept) = stream.take()
        && let Ok(answer) = over(&mut kept, request).await
    {
        return Ok(keep(kept, answer, stream));
    }
    let mut made = TcpStream::connect(address).await?;
    made.set_nodelay(true)?;
    let answer = over(&mut made, request).await?;
    Ok(keep(made, answer, stream))
}

async fn over(open: &mut TcpStream, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    open.write_all(request).await?;
    let mut answer = Vec::with_capacity(2048);
    while !load::is_complete(&answer) {
        anyhow::ensure!(
            open.read_buf(&mut answer).await? > 0,
            "the connection ended"
        );
    }
    Ok(answer)
}

/// Keeps the connection, unless the answer says that it ends.
fn keep(open: TcpStream, answer: Vec<u8>, stream: &mut Option<TcpStream>) -> Vec<u8> {
    let closes = answer
        .windows(17)
        .any(|words| words.eq_ignore_ascii_case(b"connection: close"));
    if !closes {
        *stream = Some(open);
    }
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let word = answer.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn accepted_id(answer: &[u8]) -> Option<Uuid> {
    let text = String::from_utf8_lossy(answer);
    let (_, body) = text.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    let id = body.pointer("/notifications/0/id")?.as_str()?;
    Uuid::parse_str(id).ok()
}
