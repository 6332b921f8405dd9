//! Limits of what a stranger may take of this server: connections and time. The memory of bodies is
//! bounded in `engine::ingest::inbox`.
//!
//! - [`files`]: how many descriptors there are, and how many connections that allows
//! - [`connections`]: how many are open, and which one is ended for another
//! - [`connection`]: how long one may wait for its peer
//! - [`body`]: how long the body of a request may take
//! - [`answers`]: rate limit of large public responses
//! - [`peers`]: addresses with valid signatures or keys, and those that fail
//! - [`request`]: where each request passes all of that

pub mod answers;
pub mod body;
pub mod connection;
pub mod connections;
pub mod files;
pub mod peers;
pub mod request;

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use actix_web::HttpRequest;

use crate::{domain::address::TrustedProxies, http::problem::ApiProblem};
use answers::ResponseByteBudget;
use connection::HttpConnection;
use connections::HttpConnectionRegistry;
use peers::PeerTracker;

/// The limits from the settings.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    pub proxies: TrustedProxies,
    /// Most open connections.
    pub connections: usize,
    /// Most connections of one address, or one /64 network, without a valid signature or key.
    pub per_address: usize,
    /// How long a connection may be silent, take for a head, or not read a response.
    pub wait: Duration,
    /// How long a body may take to arrive, in addition to the time that the least rate allows.
    pub body_wait: Duration,
    /// Least rate of arriving bodies and of responses being read, in bytes per second.
    pub least_rate: u32,
}

impl HttpLimits {
    /// How long so many bytes take at the least rate.
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / u64::from(self.least_rate.max(1)))
    }
}

/// Everything that limits requests, shared by all threads.
#[derive(Debug)]
pub struct RequestLimiter {
    pub limits: HttpLimits,
    pub connections: HttpConnectionRegistry,
    pub peers: PeerTracker,
    pub answers: ResponseByteBudget,
    /// A request came through a proxy that is not trusted: logged once.
    proxy_seen: AtomicBool,
}

impl RequestLimiter {
    pub fn new(limits: HttpLimits) -> Self {
        Self {
            connections: HttpConnectionRegistry::new(&limits),
            peers: PeerTracker::default(),
            answers: ResponseByteBudget::default(),
            proxy_seen: AtomicBool::new(false),
            limits,
        }
    }

    /// Admits a new connection; `None` if there is no place for it.
    pub fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<HttpConnection>> {
        let is_known = self.peers.is_known(peer, Instant::now());
        let admitted = self.connections.admit(peer, is_known);
        if admitted.is_none() {
            metrics::counter!("herald_http_refused_total", "reason" => "full").increment(1);
        }
        admitted
    }

    /// Allows an address another public response of so many bytes.
    ///
    /// # Errors
    /// [`ApiProblem::TooMany`], after a delay, if it has had too many of them lately.
    pub async fn answer(
        &self,
        request: &HttpRequest,
        address: Option<IpAddr>,
        bytes: usize,
    ) -> Result<(), ApiProblem> {
        if self.answers.spend(address, bytes, Instant::now()) {
            return Ok(());
        }
        metrics::counter!("herald_http_refused_total", "reason" => "answers").increment(1);
        Self::delay(request, Duration::from_secs(1)).await;
        Err(ApiProblem::TooMany)
    }

    /// Delays a response. Meanwhile the connection may be ended to make room for another.
    pub async fn delay(request: &HttpRequest, delay: Duration) {
        let connection = request.conn_data::<Arc<HttpConnection>>();
        if let Some(connection) = connection {
            connection.let_end(true);
        }
        tokio::time::sleep(delay).await;
        if let Some(connection) = connection {
            connection.let_end(false);
        }
    }

    /// A connection is closed.
    pub fn leave(&self, connection: &HttpConnection) {
        self.connections.leave(connection);
    }

    /// How long a body from this address is awaited, in addition to the time that the least rate
    /// allows.
    fn patience(&self, address: Option<IpAddr>) -> Duration {
        if self.peers.keeps_being_late(address, Instant::now()) {
            self.limits.body_wait / 4
        } else {
            self.limits.body_wait
        }
    }
}
