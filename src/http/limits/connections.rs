//! All open connections: their limit, and which one is ended to make room for another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{HttpLimits, connection::HttpConnection};
use crate::domain::address::{self, TrustedProxies};

/// The rank of a connection. Lower ranks are ended first, and the oldest within a rank; never one
/// whose request is being processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HttpConnectionRank {
    /// Unknown. They share three quarters of all places.
    Stranger,
    /// Its peer is a trusted proxy, or has sent a valid signature or key within a day.
    Acquainted,
    /// Its last request had a valid signature or key.
    Proven,
}

/// The rank of a connection, and the address it counts for; only strangers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HttpConnectionSlot {
    rank: HttpConnectionRank,
    address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct OpenHttpConnections {
    next: u64,
    by_rank: BTreeMap<(HttpConnectionRank, u64), Arc<HttpConnection>>,
    places: HashMap<u64, HttpConnectionSlot>,
    strangers: usize,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

impl OpenHttpConnections {
    fn remove(&mut self, id: u64) -> Option<(HttpConnectionSlot, Arc<HttpConnection>)> {
        let place = self.places.remove(&id)?;
        if place.rank == HttpConnectionRank::Stranger {
            self.strangers -= 1;
        }
        if let Some(address) = place.address
            && let Some(ids) = self.by_address.get_mut(&address)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
        let connection = self.by_rank.remove(&(place.rank, id))?;
        Some((place, connection))
    }

    fn insert(&mut self, place: HttpConnectionSlot, connection: Arc<HttpConnection>) {
        let id = connection.id;
        if place.rank == HttpConnectionRank::Stranger {
            self.strangers += 1;
        }
        if let Some(address) = place.address {
            self.by_address.entry(address).or_default().insert(id);
        }
        self.by_rank.insert((place.rank, id), connection);
        self.places.insert(id, place);
    }

    /// Ends the oldest connection up to a rank that waits for its peer.
    fn displace(&mut self, up_to: HttpConnectionRank) -> bool {
        let oldest = self
            .by_rank
            .iter()
            .take_while(|((rank, _), _)| *rank <= up_to)
            .find(|(_, connection)| connection.waits_for_peer())
            .map(|((_, id), _)| *id);
        self.end(oldest)
    }

    /// Like `displace`, among the connections of an address.
    fn displace_of(&mut self, address: IpAddr) -> bool {
        let oldest = self.by_address.get(&address).and_then(|ids| {
            ids.iter().copied().find(|id| {
                self.by_rank
                    .get(&(HttpConnectionRank::Stranger, *id))
                    .is_some_and(|connection| connection.waits_for_peer())
            })
        });
        self.end(oldest)
    }

    fn end(&mut self, id: Option<u64>) -> bool {
        match id.and_then(|id| self.remove(id)) {
            Some((_, connection)) => {
                connection.displace();
                true
            }
            None => false,
        }
    }

    /// Whether there is a place, if necessary after ending another connection.
    fn has_room(&mut self, place: HttpConnectionSlot, bounds: &HttpConnectionLimits) -> bool {
        let of_address = place.address.is_none_or(|address| {
            let open = self.by_address.get(&address).map_or(0, BTreeSet::len);
            open < bounds.per_address || self.displace_of(address)
        });
        of_address
            && (place.rank != HttpConnectionRank::Stranger
                || self.strangers < bounds.strangers
                || self.displace(HttpConnectionRank::Stranger))
            && (self.by_rank.len() < bounds.all || self.displace(place.rank))
    }
}

#[derive(Debug)]
struct HttpConnectionLimits {
    all: usize,
    strangers: usize,
    per_address: usize,
}

/// The open connections of this process.
#[derive(Debug)]
pub struct HttpConnectionRegistry {
    bounds: HttpConnectionLimits,
    proxies: TrustedProxies,
    open: Mutex<OpenHttpConnections>,
}

impl HttpConnectionRegistry {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Self {
            bounds: HttpConnectionLimits {
                all: limits.connections.max(1),
                strangers: (limits.connections / 4 * 3).max(1),
                per_address: limits.per_address.max(1),
            },
            proxies: limits.proxies.clone(),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenHttpConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(open: &OpenHttpConnections) {
        metrics::gauge!("herald_http_connections").set(f64::from(
            u32::try_from(open.by_rank.len()).unwrap_or(u32::MAX),
        ));
    }

    fn place(&self, address: Option<IpAddr>, is_known: bool) -> HttpConnectionSlot {
        match address {
            Some(address) if !is_known && !self.proxies.contains(address) => HttpConnectionSlot {
                rank: HttpConnectionRank::Stranger,
                address: Some(address::network(address)),
            },
            _ => HttpConnectionSlot {
                rank: HttpConnectionRank::Acquainted,
                address: None,
            },
        }
    }

    /// Admits a new connection; `None` if there is no place for it.
    pub(super) fn admit(
        &self,
        peer: Option<IpAddr>,
        is_known: bool,
    ) -> Option<Arc<HttpConnection>> {
        let place = self.place(peer, is_known);
        let mut open = self.open();
        if !open.has_room(place, &self.bounds) {
            return None;
        }
        open.next += 1;
        let is_settled = place.rank != HttpConnectionRank::Stranger;
        let connection = Arc::new(HttpConnection::new(open.next, peer, is_settled));
        open.insert(place, Arc::clone(&connection));
        Self::show(&open);
        Some(connection)
    }

    /// A request of this client has begun on a connection. False if the client has too many.
    pub(super) fn begin(
        &self,
        connection: &HttpConnection,
        client: Option<IpAddr>,
        is_known: bool,
    ) -> bool {
        let place = self.place(client, is_known);
        let mut open = self.open();
        let Some((before, held)) = open.remove(connection.id) else {
            // It was ended meanwhile.
            return true;
        };
        // A direct peer keeps the rank that its requests have earned.
        let place = if client == connection.peer {
            HttpConnectionSlot {
                rank: place.rank.max(before.rank),
                address: place
                    .address
                    .filter(|_| before.rank == HttpConnectionRank::Stranger),
            }
        } else {
            place
        };
        let has_room = place == before || open.has_room(place, &self.bounds);
        open.insert(if has_room { place } else { before }, held);
        has_room
    }

    /// The request is over: the connection counts for its peer again. Returns whether it may be
    /// idle for long.
    pub(super) fn rest(
        &self,
        connection: &HttpConnection,
        is_proven: bool,
        is_known: bool,
    ) -> bool {
        let mut open = self.open();
        let Some((before, held)) = open.remove(connection.id) else {
            return false;
        };
        let place = if is_proven {
            HttpConnectionSlot {
                rank: HttpConnectionRank::Proven,
                address: None,
            }
        } else {
            match self.place(connection.peer, is_known) {
                place
                    if place.rank == HttpConnectionRank::Stranger
                        && before.rank != HttpConnectionRank::Stranger =>
                {
                    before
                }
                place => place,
            }
        };
        open.insert(place, held);
        place.rank != HttpConnectionRank::Stranger
    }

    /// A connection is closed.
    pub(super) fn leave(&self, connection: &HttpConnection) {
        let mut open = self.open();
        open.remove(connection.id);
        Self::show(&open);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::{HttpConnectionRegistry, HttpLimits};
    use crate::{domain::address::TrustedProxies, http::limits::connection::HttpConnection};

    fn connections(all: usize, per_address: usize) -> HttpConnectionRegistry {
        HttpConnectionRegistry::new(&HttpLimits {
            proxies: TrustedProxies::parse("10.0.0.1").unwrap(),
            connections: all,
            per_address,
            wait: std::time::Duration::from_secs(5),
            body_wait: std::time::Duration::from_secs(5),
            least_rate: 1024,
        })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    fn is_open(all: &HttpConnectionRegistry, connection: &Arc<HttpConnection>) -> bool {
        all.open().places.contains_key(&connection.id)
    }

    #[test]
    fn the_oldest_of_an_address_ends_for_its_next_and_others_stay() {
        let all = connections(100, 2);
        let other = all.admit(ip("2001:db8:1:3::1"), false).unwrap();
        let first = all.admit(ip("2001:db8:1:2::1"), false).unwrap();
        let second = all.admit(ip("2001:db8:1:2::2"), false).unwrap();
        let third = all.admit(ip("2001:db8:1:2::3"), false).unwrap();
        assert!(!is_open(&all, &first));
        assert!(is_open(&all, &second) && is_open(&all, &third) && is_open(&all, &other));
    }

    #[test]
    fn a_connection_that_is_worked_on_is_not_ended() {
        let all = connections(100, 2);
        let first = all.admit(ip("192.0.2.1"), false).unwrap();
        let second = all.admit(ip("192.0.2.1"), false).unwrap();
        first.begin();
        second.begin();
        assert!(all.admit(ip("192.0.2.1"), false).is_none());
        second.let_end(true);
        assert!(all.admit(ip("192.0.2.1"), false).is_some());
        assert!(is_open(&all, &first) && !is_open(&all, &second));
    }

    #[test]
    fn strangers_leave_a_quarter_to_known_addresses_and_trusted_proxies() {
        let all = connections(8, 100);
        let strangers: Vec<_> = (0..20)
            .map(|host| all.admit(ip(&format!("192.0.2.{host}")), false).unwrap())
            .collect();
        assert_eq!(all.open().by_rank.len(), 6);
        let known = all.admit(ip("198.51.100.1"), true).unwrap();
        let proxy = all.admit(ip("10.0.0.1"), false).unwrap();
        assert_eq!(all.open().by_rank.len(), 8);
        // Full: strangers end first, and for a known one even if it is the ninth.
        let more = all.admit(ip("198.51.100.1"), true).unwrap();
        assert!(is_open(&all, &known) && is_open(&all, &proxy) && is_open(&all, &more));
        assert_eq!(strangers.iter().filter(|it| is_open(&all, it)).count(), 5);
        // A stranger ends strangers only.
        all.admit(ip("192.0.2.99"), false).unwrap();
        assert!(is_open(&all, &known) && is_open(&all, &proxy) && is_open(&all, &more));
    }

    #[test]
    fn behind_a_trusted_proxy_the_forwarded_address_is_bounded() {
        let all = connections(100, 2);
        let upstream: Vec<_> = (0..4)
            .map(|_| all.admit(ip("10.0.0.1"), false).unwrap())
            .collect();
        let begin = |number: usize, client: &str| {
            let begun = all.begin(&upstream[number], ip(client), false);
            upstream[number].begin();
            begun
        };
        assert!(begin(0, "192.0.2.1") && begin(1, "192.0.2.1"));
        assert!(!begin(2, "192.0.2.1"), "a third of one client");
        assert!(begin(2, "192.0.2.2"), "another client");
        // Its body is awaited: it ends for the client's next.
        upstream[0].let_end(true);
        assert!(begin(3, "192.0.2.1"));
        assert!(!is_open(&all, &upstream[0]) && is_open(&all, &upstream[1]));
        // When the request is over, the connection is the proxy's again.
        upstream[1].finish(all.rest(&upstream[1], false, false));
        assert!(begin(1, "192.0.2.3"));
    }
}
