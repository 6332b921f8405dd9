//! A load that goes on beside something else: at a pace, or as fast as it is answered.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};

use crate::load::{self, Outcome, Shot, Supply};

/// Where a load gets its requests from.
pub trait Source: Send + Sync + 'static {
    /// The next request with its number; nothing when there are no more.
    fn take(&self) -> Option<(usize, Cow<'_, [u8]>)>;

    /// Whether nothing is to be sent for now.
    fn is_held(&self) -> bool {
        false
    }
}

/// Shots that were signed before.
struct Signed {
    shots: Arc<Vec<Shot>>,
    supply: Arc<Supply>,
}

impl Source for Signed {
    fn take(&self) -> Option<(usize, Cow<'_, [u8]>)> {
        let place = self.supply.take(self.shots.len())?;
        let shot = self.shots.get(place)?;
        Some((place, Cow::Borrowed(shot.request.as_slice())))
    }
}

/// Distinct callbacks that are signed when they are sent: more than memory should hold.
pub struct Unsigned {
    order: Vec<u32>,
    next: AtomicUsize,
    held: AtomicBool,
}

impl Unsigned {
    /// So many statuses in random order over so many notifications.
    pub fn new(notifications: u64, count: usize, seed: u64) -> Self {
        Self {
            order: load::shuffled(notifications, count, seed),
            next: AtomicUsize::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// Lets nothing be sent until it is called again with `false`.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Whether all were sent.
    pub fn is_spent(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.order.len()
    }
}

impl Source for Unsigned {
    fn take(&self) -> Option<(usize, Cow<'_, [u8]>)> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let number = self.order.get(place).copied()?;
        let (notification, status) = load::status_of(number);
        let request = load::request(&load::body(notification, status));
        Some((place, Cow::Owned(request)))
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }
}

/// How a load comes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many a second, each at its own moment. Without it a connection sends the next when the
    /// one before was answered.
    pub per_second: Option<u64>,
    pub connections: u32,
    /// It ends after this, if it is not stopped before.
    pub most: Duration,
}

/// A load that goes on.
pub struct Steady {
    running: JoinHandle<Outcome>,
}

impl Steady {
    /// Waits for its end, which `stop` brings about.
    pub async fn join(self) -> anyhow::Result<Outcome> {
        Ok(self.running.await?)
    }
}

/// Connections of a load of signed shots: so many answers may be late before it is.
const STEADY_CONNECTIONS: u32 = 32;

/// How long a connection that is held waits before it looks again.
const HELD_FOR: Duration = Duration::from_millis(10);

/// Fires so many shots a second.
pub fn fire(
    address: SocketAddr,
    shots: &Arc<Vec<Shot>>,
    supply: &Arc<Supply>,
    per_second: u64,
    most: Duration,
    stop: &Arc<AtomicBool>,
) -> Steady {
    let source = Arc::new(Signed {
        shots: Arc::clone(shots),
        supply: Arc::clone(supply),
    });
    let pace = Pace {
        per_second: Some(per_second),
        connections: STEADY_CONNECTIONS,
        most,
    };
    offer(address, &source, pace, stop)
}

/// Sends what a source has. At a pace, how long an answer took is counted from when its request
/// was due, so that a server that stalls is not asked less.
pub fn offer<S: Source>(
    address: SocketAddr,
    source: &Arc<S>,
    pace: Pace,
    stop: &Arc<AtomicBool>,
) -> Steady {
    let (source, stop) = (Arc::clone(source), Arc::clone(stop));
    let gap = pace.per_second.map(|per_second| {
        Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX)
    });
    // A thread of its own: the load is to leave the machine to what is measured.
    let running = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else {
            return Outcome::default();
        };
        let started = Instant::now();
        let mut total = runtime.block_on(async {
            let mut workers = JoinSet::new();
            for worker in 0..pace.connections {
                let (source, stop) = (Arc::clone(&source), Arc::clone(&stop));
                let turns = Turns {
                    next: started + gap.unwrap_or_default() * worker,
                    gap: gap.map(|gap| gap * pace.connections),
                    until: started + pace.most,
                };
                workers.spawn(async move {
                    let source: &S = &source;
                    in_turns(address, source, turns, &stop).await
                });
            }
            let mut total = Outcome::default();
            while let Some(Ok(mine)) = workers.join_next().await {
                total.acknowledged.extend(mine.acknowledged);
                total.latencies_micros.extend(mine.latencies_micros);
                total.refused += mine.refused;
            }
            total
        });
        total.elapsed = started.elapsed();
        total
    });
    Steady { running }
}

/// When a connection sends.
struct Turns {
    next: Instant,
    /// Without it: whenever it was answered.
    gap: Option<Duration>,
    until: Instant,
}

impl Turns {
    /// Waits until the next request is due, and says when that was; nothing when the time is up.
    async fn due(&self) -> Option<Instant> {
        if self.gap.is_none() {
            return Some(Instant::now()).filter(|now| *now < self.until);
        }
        if self.next >= self.until {
            return None;
        }
        tokio::time::sleep_until(self.next.into()).await;
        Some(self.next)
    }
}

async fn in_turns<S: Source>(
    address: SocketAddr,
    source: &S,
    mut turns: Turns,
    stop: &AtomicBool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut stream = None;
    while let Some(due) = turns.due().await {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if source.is_held() {
            tokio::time::sleep(HELD_FOR).await;
            continue;
        }
        let Some((place, request)) = source.take() else {
            break;
        };
        let mut open = match stream.take() {
            Some(open) => Some(open),
            None => TcpStream::connect(address).await.ok(),
        };
        let answer = match open.as_mut() {
            Some(open) => load::exchange(open, &request).await,
            None => None,
        };
        if let Some(is_good) = answer {
            outcome.note(place, is_good, due);
            stream = open;
        } else {
            outcome.refused += 1;
        }
        turns.next += turns.gap.unwrap_or_default();
    }
    outcome
}
