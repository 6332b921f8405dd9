//! E-mail addresses (RFC 5321, 4.1.2), as far as every mail server takes them: without quotes, comments
//! and letters beyond ASCII.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A mailbox: `asha@example.com`. The domain is in small letters; the part before it stays as it
/// was written, and is compared without regard to case, as mail servers do.
///
/// `Debug` and `Display` print it masked; [`EmailAddress::as_str`] is the address itself.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

/// The rule that a text violates. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmailParseError {
    #[error("an e-mail address has one @, such as asha@example.com")]
    NoAt,
    #[error(
        "before the @ of an e-mail address stand 1 to 64 letters, digits and the signs of RFC 5321"
    )]
    Local,
    #[error("after the @ of an e-mail address stands a domain, such as example.com")]
    Domain,
    #[error("an e-mail address has at most 254 characters")]
    TooLong,
    #[error("an e-mail address has no letters beyond ASCII: write its domain in punycode")]
    NotAscii,
}

/// Longest address (RFC 5321, 4.5.3.1.3, without its brackets), longest part before the @, longest
/// label of a domain.
const MAX_ADDRESS: usize = 254;
const MAX_LOCAL: usize = 64;
const MAX_LABEL: usize = 63;

impl EmailAddress {
    /// Parses an address; blanks around it are dropped.
    pub fn parse(text: &str) -> Result<Self, EmailParseError> {
        let text = text.trim();
        if !text.is_ascii() {
            return Err(EmailParseError::NotAscii);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailParseError::NoAt)?;
        if local.contains('@') {
            return Err(EmailParseError::NoAt);
        }
        if text.len() > MAX_ADDRESS {
            return Err(EmailParseError::TooLong);
        }
        let is_local = local.len() <= MAX_LOCAL && local.split('.').all(is_atom);
        if !is_local {
            return Err(EmailParseError::Local);
        }
        let labels: Vec<&str> = domain.split('.').collect();
        if labels.len() < 2 || !labels.iter().copied().all(is_label) {
            return Err(EmailParseError::Domain);
        }
        Ok(Self(format!("{local}@{}", domain.to_ascii_lowercase())))
    }

    /// The address. For requests and storage, never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// By what two spellings of one mailbox are known to be the same.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Characters of an atom (RFC 5322, 3.2.3).
fn is_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Shows the first letter and the domain, such as `a•••@example.com`.
pub fn mask(address: &str) -> String {
    match address.split_once('@') {
        Some((local, domain)) => {
            let first: String = local.chars().take(1).collect();
            format!("{first}•••@{domain}")
        }
        None => "•••".to_owned(),
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(&self.0))
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{EmailAddress, EmailParseError};

    #[test]
    fn what_mail_servers_take_is_an_address() {
        for text in [
            "asha@example.com",
            "Asha.Rao+news@mail.example.co.in",
            "o'neil@example.com",
            "a@b-c.de",
        ] {
            assert_eq!(EmailAddress::parse(text).unwrap().as_str(), text);
        }
        let one = EmailAddress::parse(" Asha@EXAMPLE.com ").unwrap();
        assert_eq!(
            (one.as_str(), one.domain()),
            ("Asha@example.com", "example.com")
        );
        assert_eq!(one.key(), "asha@example.com");
        assert_eq!(
            format!("{one} {one:?}"),
            "A•••@example.com A•••@example.com"
        );
    }

    #[test]
    fn everything_else_names_the_rule() {
        for (text, rule) in [
            ("asha", EmailParseError::NoAt),
            ("a@b@example.com", EmailParseError::NoAt),
            ("@example.com", EmailParseError::Local),
            ("a..b@example.com", EmailParseError::Local),
            (".a@example.com", EmailParseError::Local),
            ("a b@example.com", EmailParseError::Local),
            ("\"a b\"@example.com", EmailParseError::Local),
            ("asha@localhost", EmailParseError::Domain),
            ("asha@-example.com", EmailParseError::Domain),
            ("asha@example..com", EmailParseError::Domain),
            ("asha@[192.0.2.1]", EmailParseError::Domain),
            (
                "asha@example.com\nBcc: x@example.com",
                EmailParseError::NoAt,
            ),
            ("asha@example.com\r\n", EmailParseError::Domain),
            ("ásha@example.com", EmailParseError::NotAscii),
        ] {
            let parsed = EmailAddress::parse(text);
            if text.ends_with("\r\n") {
                assert!(parsed.is_ok(), "blanks around it are dropped");
            } else {
                assert_eq!(parsed, Err(rule), "{text}");
            }
        }
        let long = format!("{}@{}.com", "a".repeat(60), "b".repeat(60));
        assert!(EmailAddress::parse(&long).is_ok());
        let long = format!("a@{}com", "b.".repeat(130));
        assert_eq!(EmailAddress::parse(&long), Err(EmailParseError::TooLong));
    }

    proptest! {
        /// Nothing that is an address can end a line or begin another header.
        #[test]
        fn an_address_has_no_blank_and_no_control_character(text in "\\PC{0,40}@\\PC{0,40}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                prop_assert!(address.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(EmailAddress::parse(address.as_str()), Ok(address));
            }
        }
    }
}
