//! Signed callbacks over kept-alive connections.

use std::{
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{database, server::APP_SECRET};

/// One status of one notification, as a signed HTTP request.
pub struct Shot {
    pub request: Vec<u8>,
    pub notification: u64,
    pub status: &'static str,
}

const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

/// A generator of numbers that is the same every time: xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// Distinct shots in random order: a permutation of (notification, status).
pub fn shots(count: usize, seed: u64) -> Vec<Shot> {
    shots_of(database::NOTIFICATIONS, count, seed)
}

/// The same over so many notifications.
pub fn shots_of(notifications: u64, count: usize, seed: u64) -> Vec<Shot> {
    shuffled(notifications, count, seed)
        .into_iter()
        .map(|number| {
            let (notification, status) = status_of(number);
            Shot {
                request: request(&body(notification, status)),
                notification,
                status,
            }
        })
        .collect()
}

/// Numbers for [`status_of`], over so many notifications: distinct, in random order.
pub fn shuffled(notifications: u64, count: usize, seed: u64) -> Vec<u32> {
    let total = notifications * 3;
    let mut random = Random(seed | 1);
    let mut order: Vec<u32> = (0..u32::try_from(total).unwrap_or(u32::MAX)).collect();
    let count = count.min(order.len());
    for place in 0..count {
        let other =
            place + usize::try_from(random.below((order.len() - place) as u64)).unwrap_or(0);
        order.swap(place, other);
    }
    order.truncate(count);
    order
}

/// The notification and the status that a number stands for.
pub fn status_of(number: u32) -> (u64, &'static str) {
    let status = STATUSES.get(number as usize % 3).copied().unwrap_or("sent");
    (u64::from(number) / 3, status)
}

/// A callback with one status, as Meta writes it.
pub fn body(notification: u64, status: &str) -> String {
    let pricing = if status == "read" {
        ""
    } else {
        r#","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}"#
    };
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}},"statuses":[{{"id":"{}","status":"{status}","timestamp":"1763692{:03}","recipient_id":"12025550101","biz_opaque_callback_data":"{}"{pricing}}}]}},"field":"messages"}}]}}]}}"#,
        database::wamid(notification),
        800 + notification % 100,
        database::our_id(notification),
    )
}

/// A signed callback.
pub fn request(body: &str) -> Vec<u8> {
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(APP_SECRET.as_bytes()) else {
        return Vec::new();
    };
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    format!(
        "POST /webhooks/meta HTTP/1.1\r\nHost: herald\r\nContent-Type: application/json\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What a run of load did.
#[derive(Default)]
pub struct Outcome {
    /// Positions of the shots that were answered 200.
    pub acknowledged: Vec<usize>,
    pub refused: u64,
    pub latencies_micros: Vec<u32>,
    pub elapsed: Duration,
}

impl Outcome {
    pub fn note(&mut self, place: usize, is_good: bool, since: Instant) {
        if is_good {
            self.acknowledged.push(place);
            self.latencies_micros
                .push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
        } else {
            self.refused += 1;
        }
    }

    pub fn per_second(&self) -> f64 {
        count(self.acknowledged.len()) / self.elapsed.as_secs_f64()
    }

    /// A latency in milliseconds that this share of requests stayed under.
    pub fn percentile_ms(&mut self, percent: usize) -> f64 {
        self.latencies_micros.sort_unstable();
        let place = (self.latencies_micros.len() * percent / 100)
            .min(self.latencies_micros.len().saturating_sub(1));
        f64::from(self.latencies_micros.get(place).copied().unwrap_or(0)) / 1000.0
    }
}

pub fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Where the next shot comes from, shared by all connections.
pub struct Supply {
    next: AtomicUsize,
    /// Begin again at the end: for what is not stored.
    cycle: bool,
}

impl Supply {
    pub const fn new(cycle: bool) -> Self {
        Self {
            next: AtomicUsize::new(0),
            cycle,
        }
    }

    pub fn take(&self, count: usize) -> Option<usize> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        if place < count {
            Some(place)
        } else if self.cycle {
            Some(place % count)
        } else {
            None
        }
    }
}

/// Fires from `connections` connections until the time is up or all are fired.
/// A connection that breaks is made again; its shot counts as not acknowledged.
pub async fn fire(
    address: SocketAddr,
    shots: &Arc<Vec<Shot>>,
    supply: &Arc<Supply>,
    connections: usize,
    seconds: u64,
    stop: &Arc<AtomicBool>,
) -> Outcome {
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let total = Arc::new(Mutex::new(Outcome::default()));
    let (shots, supply, stop, collected) = (
        Arc::clone(shots),
        Arc::clone(supply),
        Arc::clone(stop),
        Arc::clone(&total),
    );
    // One thread fires: the load is to leave the machine to what is measured.
    let thread = std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        let local = tokio::task::LocalSet::new();
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let (shots, supply) = (Arc::clone(&shots), Arc::clone(&supply));
                let (stop, collected) = (Arc::clone(&stop), Arc::clone(&collected));
                local.spawn_local(async move {
                    let mine = connection(address, &shots, &supply, until, &stop).await;
                    let mut total = collected.lock().unwrap_or_else(PoisonError::into_inner);
                    total.acknowledged.extend(mine.acknowledged);
                    total.latencies_micros.extend(mine.latencies_micros);
                    total.refused += mine.refused;
                })
            })
            .collect();
        local.block_on(&runtime, async {
            for worker in workers {
                drop(worker.await);
            }
        });
    });
    drop(tokio::task::spawn_blocking(move || thread.join()).await);
    let mut outcome = std::mem::take(&mut *total.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.elapsed = started.elapsed();
    outcome
}

async fn connection(
    address: SocketAddr,
    shots: &[Shot],
    supply: &Supply,
    until: Instant,
    stop: &AtomicBool,
) -> Outcome {
    let mut outcome = Outcome::default();
    'connect: while Instant::now() < until && !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        drop(stream.set_nodelay(true));
        loop {
            let sent = Instant::now();
            if sent >= until || stop.load(Ordering::Relaxed) {
                return outcome;
            }
            let Some((place, shot)) = supply
                .take(shots.len())
                .and_then(|place| Some((place, shots.get(place)?)))
            else {
                return outcome;
            };
            let Some(is_good) = exchange(&mut stream, &shot.request).await else {
                continue 'connect;
            };
            outcome.note(place, is_good, sent);
        }
    }
    outcome
}

/// Writes a request and reads its answer: whether that is 200; nothing if the connection broke.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<bool> {
    let mut buffer = [0_u8; 1024];
    stream.write_all(request).await.ok()?;
    let mut filled = 0;
    loop {
        match stream
            .read(buffer.get_mut(filled..).unwrap_or_default())
            .await
        {
            Ok(0) | Err(_) => return None,
            Ok(more) => filled += more,
        }
        if is_complete(buffer.get(..filled).unwrap_or_default()) {
            return Some(buffer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

/// The head and as much body as it announces.
pub fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = answer.get(..end).unwrap_or_default();
    let length = head
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })
        .unwrap_or(0);
    answer.len() >= end + 4 + length
}

/// Writes the ledger of what was acknowledged.
pub fn write_ledger(path: &Path, shots: &[Shot], acknowledged: &[usize]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::options().create(true).append(true).open(path)?);
    for place in acknowledged {
        if let Some(shot) = shots.get(*place) {
            writeln!(
                file,
                r#"{{"wamid":"{}","our_id":"{}","status":"{}"}}"#,
                database::wamid(shot.notification),
                database::our_id(shot.notification),
                shot.status
            )?;
        }
    }
    file.flush()?;
    Ok(())
}
