//! What a stranger may take of this server: connections, time and patience. What a body may
//! take of memory is decided in `engine::inbox`.
//!
//! - [`files`]: how many descriptors there are, and how many connections that allows
//! - [`connections`]: how many are open, whose they are, and which one ends for another
//! - [`connection`]: how long one may wait for its peer
//! - [`body`]: how long the body of a request may take
//! - [`answers`]: what large answers an address gets without showing anything
//! - [`peers`]: addresses that have shown a good signature or key, and those that fail
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

use crate::{domain::address::Proxies, http::problem::Problem};
use answers::Answers;
use connection::Connection;
use connections::Connections;
use peers::Peers;

/// The limits, as the settings say.
#[derive(Clone, Debug)]
pub struct Limits {
    pub proxies: Proxies,
    /// Open connections, at most.
    pub connections: usize,
    /// Of one address, or one IPv6 network of 64 bits, that has not shown a good signature.
    pub per_address: usize,
    /// How long a connection may be silent, take over a head, or not read an answer.
    pub wait: Duration,
    /// How long a body may take to arrive, besides what the least rate allows for its bytes.
    pub body_wait: Duration,
    /// Slower than this a body does not arrive and an answer is not read, in bytes per second.
    pub least_rate: u32,
}

impl Limits {
    /// How long so many bytes take at the least rate.
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / u64::from(self.least_rate.max(1)))
    }
}

/// Everything that limits requests, shared by all threads.
#[derive(Debug)]
pub struct Limiter {
    pub limits: Limits,
    pub connections: Connections,
    pub peers: Peers,
    pub answers: Answers,
    /// A request has come through a proxy that is not trusted: said once.
    proxy_seen: AtomicBool,
}

impl Limiter {
    pub fn new(limits: Limits) -> Self {
        Self {
            connections: Connections::new(&limits),
            peers: Peers::default(),
            answers: Answers::default(),
            proxy_seen: AtomicBool::new(false),
            limits,
        }
    }

    /// Takes in a new connection; `None` when there is no place for it.
    pub fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<Connection>> {
        let is_known = self.peers.is_known(peer, Instant::now());
        let admitted = self.connections.admit(peer, is_known);
        if admitted.is_none() {
            metrics::counter!("herald_http_refused_total", "reason" => "full").increment(1);
        }
        admitted
    }

    /// Lets an address have another answer of so many bytes that anyone may ask for.
    ///
    /// # Errors
    /// [`Problem::TooMany`], after a while, when it has had too much of them lately.
    pub async fn answer(
        &self,
        request: &HttpRequest,
        address: Option<IpAddr>,
        bytes: usize,
    ) -> Result<(), Problem> {
        if self.answers.spend(address, bytes, Instant::now()) {
            return Ok(());
        }
        metrics::counter!("herald_http_refused_total", "reason" => "answers").increment(1);
        Self::delay(request, Duration::from_secs(1)).await;
        Err(Problem::TooMany)
    }

    /// Delays an answer that its client has earned no better. Meanwhile its connection may end
    /// for another.
    pub async fn delay(request: &HttpRequest, delay: Duration) {
        let connection = request.conn_data::<Arc<Connection>>();
        if let Some(connection) = connection {
            connection.let_end(true);
        }
        tokio::time::sleep(delay).await;
        if let Some(connection) = connection {
            connection.let_end(false);
        }
    }

    /// A connection is closed.
    pub fn leave(&self, connection: &Connection) {
        self.connections.leave(connection);
    }

    /// How long a body of this address is waited for, besides what the least rate allows.
    fn patience(&self, address: Option<IpAddr>) -> Duration {
        if self.peers.keeps_being_late(address, Instant::now()) {
            self.limits.body_wait / 4
        } else {
            self.limits.body_wait
        }
    }
}
