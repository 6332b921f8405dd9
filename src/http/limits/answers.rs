//! Rate limit of large public responses, by address.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::peers::MAX_ADDRESSES;
use crate::domain::{address, bounded_map::BoundedMap};

/// Bytes that an address gets at once.
const BURST_BYTES: usize = 2 * 1024 * 1024;

/// Bytes per second that it gets after that.
const BYTES_PER_SECOND: usize = 512 * 1024;

/// The bytes of large public responses (the OpenAPI document) by address; for IPv6 by its /64
/// network. Each address has a bucket that drains at a steady rate.
#[derive(Debug, Default)]
pub struct ResponseByteBudget {
    /// When the bucket of an address is empty.
    empty_at: Mutex<BoundedMap<IpAddr, Instant, MAX_ADDRESSES>>,
}

impl ResponseByteBudget {
    /// Adds a response of so many bytes to the bucket of an address; false if it is full.
    pub fn spend(&self, address: Option<IpAddr>, bytes: usize, now: Instant) -> bool {
        let Some(address) = address else { return true };
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = empty_at.get_or_insert(address::network(address), now, |at| *at > now);
        let level = at.saturating_duration_since(now);
        if level >= time_of(BURST_BYTES) {
            return false;
        }
        *at = now + level + time_of(bytes);
        true
    }
}

/// How long so many bytes take at the rate.
fn time_of(bytes: usize) -> Duration {
    let micros = bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::{
        net::IpAddr,
        time::{Duration, Instant},
    };

    use super::{BURST_BYTES, BYTES_PER_SECOND, MAX_ADDRESSES, ResponseByteBudget};

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn an_address_gets_a_burst_and_then_a_rate() {
        let answers = ResponseByteBudget::default();
        let now = Instant::now();
        let granted = |at: Instant| {
            (0..100)
                .take_while(|_| answers.spend(ip("192.0.2.1"), BYTES_PER_SECOND, at))
                .count()
        };
        assert_eq!(granted(now), BURST_BYTES / BYTES_PER_SECOND);
        assert_eq!(granted(now + Duration::from_millis(900)), 1);
        assert_eq!(granted(now + Duration::from_millis(900)), 0);
        assert_eq!(granted(now + Duration::from_mins(1)), 4);
        // Others have their own; one network of IPv6 has one.
        assert!(answers.spend(ip("192.0.2.2"), BURST_BYTES, now));
        assert!(answers.spend(ip("2001:db8:1:2::1"), BURST_BYTES, now));
        assert!(!answers.spend(ip("2001:db8:1:2::2"), 1, now));
        assert!(answers.spend(ip("2001:db8:1:3::1"), 1, now));
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let answers = ResponseByteBudget::default();
        let now = Instant::now();
        for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            let address = Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
            answers.spend(address, 1000, now);
        }
        assert!(answers.empty_at.lock().unwrap().len() <= MAX_ADDRESSES);
    }
}
