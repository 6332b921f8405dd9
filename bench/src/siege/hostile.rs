//! Connections that do nothing good: five kinds, each opened again when it is closed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Addresses that the connections come from, in 127.0.1.0/24.
const ADDRESSES: usize = 40;

/// Between two bytes of those that drip.
const DRIP: Duration = Duration::from_secs(1);

/// Before a connection that was closed is opened again.
const REST: Duration = Duration::from_millis(200);

/// What a connection does once it is open: what it sends at first, what it goes on with, and
/// how much it reads at a time.
struct Kind {
    first: String,
    drip: &'static str,
    reads: usize,
}

fn kinds() -> [Kind; 5] {
    [
        // A head that never ends.
        Kind {
            first: "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nX-Filler: ".to_owned(),
            drip: "x",
            reads: 512,
        },
        // A login of which half is sent.
        Kind {
            first: "POST /dashboard/login HTTP/1.1\r\nHost: herald\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 200\r\n\r\nname=some".to_owned(),
            drip: "",
            reads: 512,
        },
        // A callback with a made-up signature that announces much, and one byte of it.
        Kind {
            first: format!(
                "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nX-Hub-Signature-256: sha256={}\r\nContent-Length: 262144\r\n\r\n{{",
                "0".repeat(64)
            ),
            drip: "",
            reads: 512,
        },
        // Many large answers, and hardly a byte of them read.
        Kind {
            first: "GET /api/v1/openapi.json HTTP/1.1\r\nHost: herald\r\n\r\n".repeat(30),
            drip: "",
            reads: 1,
        },
        // Something else than HTTP, or nothing at all.
        Kind {
            first: String::new(),
            drip: "\u{1}",
            reads: 512,
        },
    ]
}

#[derive(Default)]
struct Counters {
    open: AtomicUsize,
    most_open: AtomicUsize,
    opened: AtomicUsize,
    stop: AtomicBool,
}

/// All of them, on a thread of their own. Dropped, they end.
pub struct Siege {
    counters: Arc<Counters>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Siege {
    /// Keeps so many connections open to an address.
    pub fn lay(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let counters: Arc<Counters> = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let theirs = Arc::clone(&counters);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let kinds: Arc<[Kind; 5]> = Arc::new(kinds());
                let mut all = JoinSet::new();
                for number in 0..count {
                    let (kinds, counters) = (Arc::clone(&kinds), Arc::clone(&theirs));
                    all.spawn(async move {
                        if let Some(kind) = kinds.get(number % kinds.len()) {
                            keep_on(address, number, kind, &counters).await;
                        }
                    });
                }
                while !theirs.stop.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(50)).await;
                }
            });
        });
        Ok(Self {
            counters,
            thread: Some(thread),
        })
    }

    /// Waits until so many have been open at once.
    pub async fn wait_open(&self, count: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.most_open() < count {
            if started.elapsed() > Duration::from_mins(1) {
                bail!(
                    "only {} of {count} hostile connections could be opened",
                    self.most_open()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub fn most_open(&self) -> usize {
        self.counters.most_open.load(Ordering::Relaxed)
    }

    pub fn opened(&self) -> usize {
        self.counters.opened.load(Ordering::Relaxed)
    }
}

async fn keep_on(address: SocketAddr, number: usize, kind: &Kind, counters: &Counters) {
    loop {
        if let Some(mut stream) = connect(address, number).await {
            counters.opened.fetch_add(1, Ordering::Relaxed);
            let open = counters.open.fetch_add(1, Ordering::Relaxed) + 1;
            counters.most_open.fetch_max(open, Ordering::Relaxed);
            hold(&mut stream, kind).await;
            counters.open.fetch_sub(1, Ordering::Relaxed);
        }
        sleep(REST).await;
    }
}

async fn connect(address: SocketAddr, number: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    let from = format!("127.0.1.{}:0", 1 + number % ADDRESSES);
    socket.bind(from.parse().ok()?).ok()?;
    socket.connect(address).await.ok()
}

/// Holds a connection as long as the other end lets it.
async fn hold(stream: &mut TcpStream, kind: &Kind) {
    // What is not taken in time need not be: the other end has stopped reading.
    if let Ok(Err(_)) = timeout(DRIP, stream.write_all(kind.first.as_bytes())).await {
        return;
    }
    let mut buffer = vec![0; kind.reads];
    loop {
        match timeout(DRIP, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            // Answered: those that read a byte at a time wait, the others are done.
            Ok(Ok(_)) if kind.reads > 1 => return,
            Ok(Ok(_)) => sleep(DRIP).await,
            Err(_) => {
                if !kind.drip.is_empty() && stream.write_all(kind.drip.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}
