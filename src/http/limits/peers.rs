//! Remembers addresses by valid and failed requests, in bounded memory.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::{address, bounded_map::BoundedMap};

/// Most addresses remembered of each kind.
pub(super) const MAX_ADDRESSES: usize = 10_000;

/// How long a failure or a late body is remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// How long a valid signature or key is remembered.
const KNOWN: Duration = Duration::from_hours(24);

/// Failures before an address is slowed down: a rotation of secrets causes a few.
const FREE_FAILURES: u32 = 5;

/// Late bodies before an address gets less time: a bad line causes a few.
const FREE_LATE: u32 = 5;

/// Recent counts by address.
type AddressCounts = BoundedMap<IpAddr, (u32, Instant), MAX_ADDRESSES>;

/// Addresses that have sent a valid signature or key, and, separately, those with failed signatures
/// and those with late bodies. IPv6 is counted by /64 network.
#[derive(Debug, Default)]
pub struct PeerTracker {
    known: Mutex<BoundedMap<IpAddr, Instant, MAX_ADDRESSES>>,
    failures: Mutex<AddressCounts>,
    late: Mutex<AddressCounts>,
}

/// Counts once more. Returns the recent count.
fn count(counts: &Mutex<AddressCounts>, address: IpAddr, now: Instant) -> u32 {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, last) = counts.get_or_insert(address::network(address), (0, now), |(_, last)| {
        now.duration_since(*last) <= REMEMBERED
    });
    if now.duration_since(*last) > REMEMBERED {
        *count = 0;
    }
    *last = now;
    *count = count.saturating_add(1);
    *count
}

impl PeerTracker {
    /// Records a valid signature or key from an address.
    pub fn remember(&self, address: Option<IpAddr>, now: Instant) {
        let Some(address) = address else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert_over_least(address::network(address), now, |last| {
            now.duration_since(*last) <= KNOWN
        });
    }

    /// Whether an address has sent a valid signature or key within a day.
    pub fn is_known(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(address) = address else { return false };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address::network(address))
            .is_some_and(|last| now.duration_since(*last) <= KNOWN)
    }

    /// Records a failed signature, and returns how long its response is delayed. Valid callbacks of
    /// the same address are never delayed.
    pub fn note_failure(&self, address: Option<IpAddr>, now: Instant) -> Duration {
        let Some(address) = address else {
            return Duration::ZERO;
        };
        let failures = count(&self.failures, address, now);
        if failures <= FREE_FAILURES {
            Duration::ZERO
        } else {
            Duration::from_millis(50 << (failures - FREE_FAILURES - 1).min(4))
        }
    }

    /// Records a late body; nothing is recorded for a known address.
    pub fn note_late(&self, address: Option<IpAddr>, now: Instant) {
        if let Some(address) = address
            && !self.is_known(Some(address), now)
        {
            count(&self.late, address, now);
        }
    }

    /// Whether an unknown address has sent several late bodies lately.
    pub fn keeps_being_late(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(address) = address else { return false };
        let late = self
            .late
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&address::network(address))
            .is_some_and(|(count, last)| {
                *count > FREE_LATE && now.duration_since(*last) <= REMEMBERED
            });
        late && !self.is_known(Some(address), now)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        time::{Duration, Instant},
    };

    use super::{FREE_LATE, KNOWN, MAX_ADDRESSES, PeerTracker};

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn an_address_that_keeps_failing_is_slowed_and_forgiven_after_a_minute() {
        let peers = PeerTracker::default();
        let start = Instant::now();
        let delays: Vec<_> = (0..12)
            .map(|_| peers.note_failure(ip("192.0.2.1"), start).as_millis())
            .collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 50, 100, 200, 400, 800, 800, 800]);
        assert_eq!(peers.note_failure(ip("192.0.2.2"), start), Duration::ZERO);
        assert_eq!(
            peers.note_failure(ip("192.0.2.1"), start + Duration::from_secs(61)),
            Duration::ZERO
        );
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_together() {
        let peers = PeerTracker::default();
        let start = Instant::now();
        let delay = (0..6)
            .map(|host| peers.note_failure(ip(&format!("2001:db8:1:2::{host}")), start))
            .max();
        assert_eq!(delay, Some(Duration::from_millis(50)));
        assert_eq!(
            peers.note_failure(ip("2001:db8:1:3::1"), start),
            Duration::ZERO
        );
    }

    #[test]
    fn late_bodies_count_apart_and_never_against_a_known_address() {
        let peers = PeerTracker::default();
        let now = Instant::now();
        peers.remember(ip("192.0.2.1"), now);
        for _ in 0..=FREE_LATE {
            peers.note_late(ip("192.0.2.1"), now);
            peers.note_late(ip("192.0.2.2"), now);
        }
        assert!(!peers.keeps_being_late(ip("192.0.2.1"), now));
        assert!(peers.keeps_being_late(ip("192.0.2.2"), now));
        assert_eq!(peers.note_failure(ip("192.0.2.2"), now), Duration::ZERO);
        let later = now + Duration::from_secs(61);
        assert!(!peers.keeps_being_late(ip("192.0.2.2"), later));
        // It becomes known: earlier failures do not matter any more.
        peers.remember(ip("192.0.2.2"), now);
        assert!(!peers.keeps_being_late(ip("192.0.2.2"), now));
    }

    #[test]
    fn an_address_is_known_for_a_day() {
        let peers = PeerTracker::default();
        let now = Instant::now();
        peers.remember(ip("192.0.2.1"), now);
        assert!(peers.is_known(ip("192.0.2.1"), now + KNOWN));
        assert!(!peers.is_known(ip("192.0.2.1"), now + KNOWN + Duration::from_secs(1)));
        assert!(!peers.is_known(ip("192.0.2.2"), now));
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let peers = PeerTracker::default();
        let now = Instant::now();
        for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            let address = Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
            let at = now + Duration::from_micros(number.into());
            peers.remember(address, at);
            peers.note_failure(address, at);
        }
        assert_eq!(peers.known.lock().unwrap().len(), MAX_ADDRESSES);
        assert!(peers.failures.lock().unwrap().len() <= MAX_ADDRESSES);
        assert!(
            !peers.is_known(ip("10.0.0.0"), now),
            "the oldest was forgotten"
        );
    }
}
