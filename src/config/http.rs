//! Requests, and what they may take.

use std::time::Duration;

use crate::domain::{address::TrustedProxies, settings::section};

section! {
    /// How HTTP is answered, and what clients may take.
    #[derive(Clone, Debug)]
    pub struct HttpSettings {
        /// Threads that answer HTTP.
        #[setting("HERALD_HTTP_WORKERS" = "2", number(1, 64))]
        pub workers: usize,
        /// Addresses or networks of the reverse proxies in front of Herald, such as 127.0.0.1,
        /// 10.0.0.0/8: their X-Forwarded-For (or Forwarded) gives the client's address. Behind a
        /// proxy that is not listed, all clients share one rate limit.
        #[setting("HERALD_TRUSTED_PROXIES", parsed(
            TrustedProxies::parse,
            "addresses or networks, such as 127.0.0.1, 10.0.0.0/8"
        ))]
        pub trusted_proxies: TrustedProxies,
        /// Most open HTTP connections; fewer if the limit of open files does not allow them besides
        /// outgoing calls and the database. When all are in use, the oldest that waits for its
        /// client is closed, unknown clients' first.
        #[setting("HERALD_HTTP_CONNECTIONS" = "4096", number(4, 1_000_000))]
        pub connections: usize,
        /// Most connections of one IPv4 address or IPv6 /64 network without a valid signature or
        /// key within a day; trusted proxies have no such limit.
        #[setting("HERALD_HTTP_CONNECTIONS_PER_ADDRESS" = "256", number(1, 1_000_000))]
        pub connections_per_address: usize,
        /// A connection is closed if it is silent for this long, takes longer for the head of a
        /// request, or does not read its response.
        #[setting("HERALD_HTTP_WAIT_MILLISECONDS" = "5000", milliseconds(10, 600_000))]
        pub wait: Duration,
        /// A body that has not arrived within this time plus the time that the least rate allows
        /// for its bytes is answered 408.
        #[setting("HERALD_HTTP_BODY_WAIT_MILLISECONDS" = "4000", milliseconds(10, 600_000))]
        pub body_wait: Duration,
        /// Least rate at which a body must arrive and a response must be read.
        // In bytes per second.
        #[setting("HERALD_HTTP_LEAST_BYTES_PER_SECOND" = "8192", number(1, i64::from(u32::MAX)))]
        pub least_rate: u32,
    }
}
