//! Rules for credentials: kinds, masking, and when one should be replaced.

use super::{settings::CredentialWarningSettings, time::Timestamp};

/// The purpose of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialKind {
    /// Authorizes calls of a sender.
    AccessToken,
    /// Signs the callbacks of an app (Meta, "Webhooks: validate payloads").
    AppSecret,
    /// Answers the webhook's verification.
    VerifyToken,
}

impl CredentialKind {
    pub const ALL: [Self; 3] = [Self::AccessToken, Self::AppSecret, Self::VerifyToken];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::AppSecret => "app_secret",
            Self::VerifyToken => "verify_token",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Longest credential, in characters.
pub const MAX_CHARACTERS: usize = 4096;

/// Secrets that are published in documents, and so protect nothing.
pub const PUBLISHED: &[&str] = &[
    "changeme",
    "secret",
    "password",
    "test_app_secret",
    "otro_secreto",
    "verify_token",
    "your_app_secret",
    "example",
];

/// The rule that a credential violates, if any.
pub fn broken(secret: &str) -> Option<&'static str> {
    if secret.is_empty() {
        Some("it is empty")
    } else if secret.chars().count() > MAX_CHARACTERS {
        Some("it is longer than 4096 characters")
    } else if secret
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control())
    {
        Some("it contains spaces or line breaks")
    } else if PUBLISHED.contains(&secret.to_lowercase().as_str()) {
        Some("this value is published in documents and protects nothing")
    } else {
        None
    }
}

/// A masked token: first 8 … last 3 characters, and completely masked if shorter than 24.
pub fn masked(secret: &str) -> String {
    let length = secret.chars().count();
    if length < 24 {
        return "•".repeat(8);
    }
    let head: String = secret.chars().take(8).collect();
    let tail: String = secret.chars().skip(length - 3).collect();
    format!("{head}…{tail}")
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

impl CredentialWarningSettings {
    /// Whether a credential created then is old now.
    pub const fn is_old(self, created_at: Timestamp, now: Timestamp) -> bool {
        now.micros_since(created_at) >= self.old_after_days * DAY_SECONDS * 1_000_000
    }

    /// Whether a credential has expired or will soon.
    pub fn expires_soon(self, expires_at: Option<Timestamp>, now: Timestamp) -> bool {
        expires_at.is_some_and(|at| {
            at.micros_since(now) <= self.warn_before_days * DAY_SECONDS * 1_000_000
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialKind, CredentialWarningSettings, Timestamp, broken, masked};

    #[test]
    fn a_short_secret_shows_nothing_of_itself() {
        assert_eq!(masked("short"), "••••••••");
        assert_eq!(masked("0123456789abcdefghijklmn"), "01234567…lmn");
    }

    #[test]
    fn what_cannot_be_a_credential_is_refused() {
        for wrong in ["", "two words", "line\nbreak", "changeme", "ChangeMe"] {
            assert!(broken(wrong).is_some(), "{wrong}");
        }
        assert!(broken(&"x".repeat(4097)).is_some());
        assert_eq!(broken("EAAexample0token"), None);
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in CredentialKind::ALL {
            assert_eq!(CredentialKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(CredentialKind::parse("password"), None);
    }

    #[test]
    fn old_and_expiring_begin_at_their_days() {
        let ageing = CredentialWarningSettings {
            old_after_days: 90,
            warn_before_days: 7,
        };
        let start = Timestamp::from_unix_seconds(1_767_225_600);
        let day = 24 * 60 * 60;
        assert!(!ageing.is_old(start, start.plus_seconds(90 * day - 1)));
        assert!(ageing.is_old(start, start.plus_seconds(90 * day)));
        assert!(!ageing.expires_soon(None, start));
        assert!(!ageing.expires_soon(Some(start.plus_seconds(7 * day + 1)), start));
        assert!(ageing.expires_soon(Some(start.plus_seconds(7 * day)), start));
        assert!(ageing.expires_soon(Some(start.plus_seconds(-1)), start));
    }
}
