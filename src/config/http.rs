//! Requests, and what they may take.

use std::time::Duration;

use crate::domain::{address::Proxies, settings::section};

section! {
    /// How HTTP is answered, and what clients may take.
    #[derive(Clone, Debug)]
    pub struct Http {
        /// Threads that answer HTTP.
        #[setting("HERALD_HTTP_WORKERS" = "2", number(1, 64))]
        pub workers: usize,
        /// Addresses or networks of the reverse proxies before Herald, such as 127.0.0.1,
        /// 10.0.0.0/8: their X-Forwarded-For (or Forwarded) says whose a request is. Behind a proxy
        /// that is not listed all clients share one budget.
        #[setting("HERALD_TRUSTED_PROXIES", parsed(
            Proxies::parse,
            "addresses or networks, such as 127.0.0.1, 10.0.0.0/8"
        ))]
        pub trusted_proxies: Proxies,
        /// Open HTTP connections, at most; fewer where the limit of open files does not allow them
        /// beside outgoing calls and the database. When all are taken, the oldest that waits for
        /// its client ends, strangers' first.
        #[setting("HERALD_HTTP_CONNECTIONS" = "4096", number(4, 1_000_000))]
        pub connections: usize,
        /// Connections of one IPv4 address or IPv6 /64 network that has not shown a good signature
        /// or key within a day; trusted proxies have no such bound.
        #[setting("HERALD_HTTP_CONNECTIONS_PER_ADDRESS" = "256", number(1, 1_000_000))]
        pub connections_per_address: usize,
        /// A connection is closed that says nothing for so long, takes longer over the head of a
        /// request, or does not read its answer.
        #[setting("HERALD_HTTP_WAIT_MILLISECONDS" = "5000", milliseconds(10, 600_000))]
        pub wait: Duration,
        /// A body that has not arrived by then, or in what the least rate allows for its bytes
        /// beyond, is answered 408.
        #[setting("HERALD_HTTP_BODY_WAIT_MILLISECONDS" = "4000", milliseconds(10, 600_000))]
        pub body_wait: Duration,
        /// The least rate at which a body arrives and an answer is read.
        // In bytes per second.
        #[setting("HERALD_HTTP_LEAST_BYTES_PER_SECOND" = "8192", number(1, i64::from(u32::MAX)))]
        pub least_rate: u32,
    }
}
