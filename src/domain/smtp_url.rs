//! The address of a mail server as one text: `smtp://user:password@mail.example.com:587`.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

/// A mail server, and how to log in.
#[derive(Clone, Debug)]
pub struct SmtpUrl {
    pub host: String,
    pub port: Option<u16>,
    /// `starttls`, `implicit` or `none`.
    pub tls: &'static str,
    pub username: Option<String>,
    pub password: Option<SecretString>,
}

/// The rule that a text violates. The text itself is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    #[error("starts with smtp:// (TLS after STARTTLS) or smtps:// (TLS at once)")]
    Scheme,
    #[error("has a host, such as smtp://mail.example.com:587")]
    Host,
    #[error("a port is 1 to 65535")]
    Port,
    #[error("a user name and a password are percent-encoded: an @ is %40")]
    Login,
    #[error(
        "the only parameter is `tls`: `required` (default), or `none` for a server on this machine"
    )]
    Tls,
}

impl SmtpUrl {
    /// Parses it. `smtp://` means TLS after STARTTLS, without which nothing is sent: there is no
    /// form that uses TLS if it happens to be offered.
    pub fn parse(text: &str) -> Result<Self, SmtpUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(SmtpUrlError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = match (scheme, query) {
            ("smtps", "" | "tls=required") => "implicit",
            ("smtp", "" | "tls=required") => "starttls",
            ("smtp", "tls=none") => "none",
            ("smtp" | "smtps", _) => return Err(SmtpUrlError::Tls),
            _ => return Err(SmtpUrlError::Scheme),
        };
        let rest = rest.trim_end_matches('/');
        let (login, server) = match rest.rsplit_once('@') {
            Some((login, server)) => (Some(login), server),
            None => (None, rest),
        };
        let (username, password) = match login {
            None => (None, None),
            Some(login) => {
                let (user, password) = login.split_once(':').ok_or(SmtpUrlError::Login)?;
                let decode = |text: &str| {
                    let decoded = percent_decode_str(text).decode_utf8();
                    decoded
                        .map(std::borrow::Cow::into_owned)
                        .map_err(|_no_text| SmtpUrlError::Login)
                };
                (
                    Some(decode(user)?),
                    Some(SecretString::from(decode(password)?)),
                )
            }
        };
        // An address of IPv6 stands in brackets.
        let (host, port) = match server.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => match server.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (server, None),
            },
        };
        let is_host = !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
        if !is_host {
            return Err(SmtpUrlError::Host);
        }
        let port = match port {
            None => None,
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(SmtpUrlError::Port),
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
            username,
            password,
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{SmtpUrl, SmtpUrlError};

    #[test]
    fn every_form_means_tls_unless_it_says_none() {
        for (text, host, port, tls) in [
            (
                "smtp://mail.example.com",
                "mail.example.com",
                None,
                "starttls",
            ),
            (
                "smtp://mail.example.com:2525/",
                "mail.example.com",
                Some(2525),
                "starttls",
            ),
            (
                "smtps://mail.example.com",
                "mail.example.com",
                None,
                "implicit",
            ),
            (
                "smtp://127.0.0.1:25?tls=none",
                "127.0.0.1",
                Some(25),
                "none",
            ),
            (
                "smtp://[2001:db8::1]:25?tls=required",
                "2001:db8::1",
                Some(25),
                "starttls",
            ),
        ] {
            let url = SmtpUrl::parse(text).unwrap();
            assert_eq!(
                (url.host.as_str(), url.port, url.tls),
                (host, port, tls),
                "{text}"
            );
        }
        let url = SmtpUrl::parse("smtp://a%40example.com:p%3A%2F@mail.example.com").unwrap();
        assert_eq!(url.username.as_deref(), Some("a@example.com"));
        assert_eq!(url.password.unwrap().expose_secret(), "p:/");
    }

    #[test]
    fn everything_else_names_the_rule() {
        for (text, rule) in [
            ("mail.example.com", SmtpUrlError::Scheme),
            ("http://mail.example.com", SmtpUrlError::Scheme),
            ("smtp://", SmtpUrlError::Host),
            ("smtp://mail example", SmtpUrlError::Host),
            ("smtp://mail.example.com:0", SmtpUrlError::Port),
            ("smtp://mail.example.com:x", SmtpUrlError::Port),
            ("smtp://user@mail.example.com", SmtpUrlError::Login),
            (
                "smtp://mail.example.com?tls=opportunistic",
                SmtpUrlError::Tls,
            ),
            ("smtps://mail.example.com?tls=none", SmtpUrlError::Tls),
        ] {
            assert_eq!(SmtpUrl::parse(text).unwrap_err(), rule, "{text}");
        }
    }
}
