//! Rules for dashboard users: roles, passwords, and the throttling of failed sign-ins.

use std::net::{IpAddr, Ipv6Addr};

/// The role of a dashboard user; each includes the rights of the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DashboardRole {
    /// Reads; numbers and texts are masked.
    Viewer,
    /// Sees recipients, retries, cancels, replays, holds and releases.
    Operator,
    /// Changes credentials, and reads raw callbacks.
    Admin,
}

impl DashboardRole {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Least length of a password, in characters (NIST SP 800-63B, 3.1.1.2, asks for length and against
/// rules of composition).
pub const SHORTEST_PASSWORD: usize = 12;

/// Most bytes that are hashed: hashing is expensive.
pub const LONGEST_PASSWORD: usize = 256;

/// Longest user name, in characters.
const LONGEST_NAME: usize = 64;

/// What is wrong with a name, if anything.
pub fn unusable_name(name: &str) -> Option<&'static str> {
    let usable = !name.is_empty()
        && name.chars().count() <= LONGEST_NAME
        && name
            .chars()
            .all(|letter| letter.is_alphanumeric() || "._-@+".contains(letter));
    (!usable).then_some("1 to 64 letters, digits and . _ - @ +")
}

/// What is wrong with a password, if anything.
pub fn weak(password: &str, name: &str) -> Option<&'static str> {
    let mut letters = password.chars();
    let first = letters.next();
    if password.chars().count() < SHORTEST_PASSWORD {
        Some("at least 12 characters")
    } else if password.len() > LONGEST_PASSWORD {
        Some("at most 256 bytes")
    } else if password.to_lowercase().contains(&name.to_lowercase()) {
        Some("it must not contain the name")
    } else if letters.all(|letter| Some(letter) == first) {
        Some("more than one letter")
    } else {
        None
    }
}

/// Lifetime of a session, in seconds.
pub const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// Lifetime of a one-time link, in seconds.
pub const LINK_SECONDS: i64 = 60 * 60;

/// Consecutive failures without a pause.
const FREE_FAILURES: i64 = 5;

/// Longest pause, in seconds: guessing gains nothing, and a user who forgot the password may come
/// back.
const LONGEST_WAIT: i64 = 15 * 60;

/// Pause after so many consecutive failures, in seconds.
pub fn wait_seconds(failures: i64) -> i64 {
    if failures < FREE_FAILURES {
        return 0;
    }
    let doubled = u32::try_from(failures - FREE_FAILURES).map_or(16, |more| more.min(16));
    (30_i64 << doubled).min(LONGEST_WAIT)
}

/// Consecutive failures from one address without a pause: several people may share it.
const FREE_ADDRESS_FAILURES: i64 = 20;

/// Pause for an address after so many failures, in seconds.
pub fn address_wait_seconds(failures: i64) -> i64 {
    wait_seconds(failures.saturating_sub(FREE_ADDRESS_FAILURES - FREE_FAILURES))
}

/// The address under which failures are counted: an IPv4 address, or the /64 of an IPv6 address, as
/// a subscriber has all of it.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        DashboardRole, address_wait_seconds, subscriber, unusable_name, wait_seconds, weak,
    };

    #[test]
    fn each_role_may_what_the_one_before_may() {
        assert!(
            DashboardRole::Viewer < DashboardRole::Operator
                && DashboardRole::Operator < DashboardRole::Admin
        );
        for role in DashboardRole::ALL {
            assert_eq!(DashboardRole::parse(role.name()), Some(role));
        }
        assert_eq!(DashboardRole::parse("root"), None);
    }

    #[test]
    fn who_keeps_failing_waits_longer_and_longer_but_not_for_ever() {
        let waits: Vec<i64> = (0..12).map(wait_seconds).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900]);
        assert_eq!(wait_seconds(i64::MAX), 900);
    }

    #[test]
    fn an_address_may_fail_more_often_and_is_that_of_a_subscriber() {
        assert_eq!(address_wait_seconds(0), 0);
        assert_eq!([19, 20, 21].map(address_wait_seconds), [0, 30, 60]);
        assert_eq!(address_wait_seconds(i64::MAX), 900);
        let of = |address: &str| subscriber(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_password_is_long_and_not_the_name() {
        assert_eq!(weak("correct horse battery", "ada"), None);
        assert!(weak("eleven char", "ada").is_some());
        assert!(weak("Ada-ada-ada-ada", "ada").is_some());
        assert!(weak("aaaaaaaaaaaaaa", "bob").is_some());
        assert!(weak(&"ab".repeat(200), "cy").is_some());
        assert!(weak("пароль-из-букв", "cy").is_none());
    }

    #[test]
    fn a_name_fits_into_an_address_and_a_line() {
        assert_eq!(unusable_name("ada.lovelace@example.org"), None);
        for wrong in ["", "a b", "a/b", "a\nb", &"a".repeat(65)] {
            assert!(unusable_name(wrong).is_some(), "{wrong:?}");
        }
    }
}
