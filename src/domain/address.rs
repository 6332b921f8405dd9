//! Determines the client address of a request: the peer's or, behind a trusted proxy, the one that
//! the proxy reports.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Proxies whose `X-Forwarded-For` or `Forwarded` header is trusted (`HERALD_TRUSTED_PROXIES`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses addresses and CIDR networks, separated by commas. `None` if one is neither.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.parse::<IpNet>()
                    .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                    .ok()
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Whether an address belongs to one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request: the first hop, going backwards from the peer, that is not a trusted
    /// proxy. `hops` are in the order of the header, the nearest last. A hop that cannot be parsed
    /// ends the search at the proxy that passed it on.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        hops: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in hops.rev() {
            if !self.contains(client) {
                break;
            }
            match read(hop) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }
}

/// One hop of `X-Forwarded-For`, or a `for=` of `Forwarded` (RFC 7239): an address, with or
/// without brackets, quotes and a port.
fn read(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim().trim_matches('"');
    let bare = hop.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

/// The `for=` of one element of a `Forwarded` header; empty if there is none.
pub fn forwarded_for(element: &str) -> &str {
    element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
        .map_or("", |(_, value)| value.trim())
}

/// The subject of rate limits: an IPv4 address, or the /64 network of an IPv6 address, of which one
/// subscriber has as many addresses as they like.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Whether an address belongs to this machine or a private network, where proxies are.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{TrustedProxies, forwarded_for, is_private, network};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_client_is_the_nearest_hop_that_is_no_trusted_proxy() {
        let proxies = TrustedProxies::parse("127.0.0.1, 10.0.0.0/8, 2001:db8:1::/48").unwrap();
        for (peer, header, client) in [
            // The header of a peer that is not trusted proves nothing.
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
            // The client's own header stands to the left.
            ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            (
                "127.0.0.1",
                "203.0.113.9, 198.51.100.7, 10.1.2.3",
                "198.51.100.7",
            ),
            ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1"),
            ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
            ("2001:db8:1::5", "\"[2001:db8:7::1]:4711\"", "2001:db8:7::1"),
            ("127.0.0.1", "2001:db8:7::1", "2001:db8:7::1"),
        ] {
            assert_eq!(
                proxies.client(ip(peer), header.split(',')),
                ip(client),
                "{peer} with {header}"
            );
        }
    }

    #[test]
    fn a_forwarded_element_names_its_client() {
        assert_eq!(
            forwarded_for("by=_a; For=\"192.0.2.1\" ;proto=https"),
            "\"192.0.2.1\""
        );
        assert_eq!(forwarded_for("proto=https"), "");
    }

    #[test]
    fn proxies_are_addresses_and_networks_and_nothing_else() {
        assert!(
            TrustedProxies::parse("nginx.example").is_none()
                && TrustedProxies::parse("10.0.0.0/33").is_none()
        );
        assert_eq!(
            TrustedProxies::parse(" , "),
            Some(TrustedProxies::default())
        );
    }

    #[test]
    fn ipv6_is_counted_by_its_network_and_ipv4_by_its_address() {
        assert_eq!(network(ip("2001:db8:1:2:3::9")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(network(ip("192.0.2.1")), network(ip("192.0.2.2")));
    }

    #[test]
    fn private_addresses_are_where_proxies_are() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("172.17.0.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(ip(address)), private, "{address}");
        }
    }
}
