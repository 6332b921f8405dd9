//! State of request handlers, and the clock.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        ingest::inbox::CallbackInbox,
        intake::NotificationRequestSubmitter,
        runtime::clock::{DatabaseClock, OF_PROCESS},
    },
};

/// The source of `now`: whole microseconds in UTC, never before 1970.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock, or PostgreSQL's once it is followed.
    #[default]
    System,
    /// Like `System`, with a reference of its own instead of the process's.
    Following(Arc<DatabaseClock>),
    /// Stands still until it is set: tests walk through a day in a millisecond.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => OF_PROCESS.now(),
            Self::Following(reference) => reference.now(),
            Self::Fixed(micros) => Timestamp::from_micros(micros.load(Ordering::Acquire)),
        }
    }

    /// The reference that follows the database's clock, if there is one.
    pub fn reference(&self) -> Option<&DatabaseClock> {
        match self {
            Self::System => Some(&OF_PROCESS),
            Self::Following(reference) => Some(reference),
            Self::Fixed(_) => None,
        }
    }
}

/// A random number from 0 to 1000 for jitter: drawn here and passed on.
pub fn draw_permille() -> i64 {
    i64::from(
        uuid::Uuid::new_v4()
            .as_bytes()
            .iter()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(*byte))
            % 1001,
    )
}

/// Random bytes of the system, for keys and nonces.
pub fn random_bytes<const COUNT: usize>() -> Result<[u8; COUNT], getrandom::Error> {
    let mut bytes = [0; COUNT];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// How a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyTrust {
    /// No sign of a proxy.
    None,
    Trusted,
    /// Through a proxy of a private network that is not in `HERALD_TRUSTED_PROXIES`: its clients
    /// cannot be told apart.
    NotTrusted,
}

/// The client of a request: in the extensions of each.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    /// The client's address: the peer's, or the one that a trusted proxy reports. All limits by
    /// address use this one.
    pub address: Option<IpAddr>,
    pub proxy: ProxyTrust,
    proven: Arc<AtomicBool>,
}

impl ClientAddress {
    pub fn new(address: Option<IpAddr>, proxy: ProxyTrust) -> Self {
        Self {
            address,
            proxy,
            proven: Arc::default(),
        }
    }

    /// Records a valid signature, key or session.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub fn has_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }
}

/// Shared by all handlers.
#[derive(Debug)]
pub struct AppState {
    pub engine: Arc<Engine>,
    pub inbox: Arc<CallbackInbox>,
    /// Where direct requests are submitted.
    pub door: NotificationRequestSubmitter,
    pub clock: Clock,
    pub started_at: Timestamp,
    pub metrics: PrometheusHandle,
    /// Changes the log filter of this process.
    pub set_log_filter: fn(&str) -> Result<(), String>,
    /// The durability settings of the database, read back at the start.
    pub durability: Vec<(String, String)>,
    /// What happens to callbacks after their signature was verified.
    pub ingest: CallbackIngestMode,
}

/// How callbacks are stored. Only [`CallbackIngestMode::Durable`] is for real use; the others exist so that
/// `bench` can measure the cost of durability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallbackIngestMode {
    /// One transaction for callbacks that arrive together.
    #[default]
    Durable,
    /// One transaction for each request.
    PerRequest,
    /// Verified and discarded.
    Bare,
}
