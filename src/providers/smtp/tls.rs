//! How the connection to a mail server is protected.

use lettre::transport::smtp::client::{Certificate, TlsParameters};

use super::sender_fields::{CA_FILE, TLS};
use crate::providers::SenderConnectionSettings;

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SmtpTls {
    /// On a plain connection at first; never without it.
    Required,
    /// From the first byte.
    Implicit,
    None,
}

impl SmtpTls {
    pub(super) fn of(connection: &SenderConnectionSettings) -> Self {
        match connection.setting(TLS) {
            "implicit" => Self::Implicit,
            "none" => Self::None,
            _ => Self::Required,
        }
    }

    /// The port that is used without another one (RFC 8314, 3.3 and 3.4).
    pub(super) const fn usual_port(self) -> u16 {
        match self {
            Self::Required => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// Why TLS cannot begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum SmtpTlsError {
    #[error("the file of `ca_file`, {path}, cannot be read: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error("the file of `ca_file`, {0}, holds no certificate in PEM")]
    NoCertificate(String),
    #[error("TLS cannot be used: {0}")]
    Lettre(lettre::transport::smtp::Error),
}

/// Trusts the public certification authorities, and the one of `ca_file` beside them.
pub(super) async fn parameters(
    host: &str,
    connection: &SenderConnectionSettings,
) -> Result<TlsParameters, SmtpTlsError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    let path = connection.setting(CA_FILE);
    if !path.is_empty() {
        // Read each time: authorities are replaced while Herald runs.
        let read = tokio::fs::read(path).await;
        let pem = read.map_err(|error| SmtpTlsError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        // lettre takes a file without any certificate for an empty list of them.
        let begins = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(begins.len()).any(|part| part == begins) {
            return Err(SmtpTlsError::NoCertificate(path.to_owned()));
        }
        let certificate = Certificate::from_pem(&pem)
            .map_err(|_unreadable| SmtpTlsError::NoCertificate(path.to_owned()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| {
        if path.is_empty() {
            SmtpTlsError::Lettre(error)
        } else {
            SmtpTlsError::NoCertificate(path.to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;

    use super::*;

    async fn why(path: &str) -> Option<String> {
        let connection = SenderConnectionSettings {
            endpoint_id: "shop@example.com".to_owned(),
            account_id: None,
            settings: BTreeMap::from([(CA_FILE.to_owned(), path.to_owned())]),
            token: SecretString::default(),
        };
        let made = parameters("mail.example.com", &connection).await;
        made.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_file_that_holds_no_certificate_is_said_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let path = path.to_str().unwrap();
        let missing = why(path).await.unwrap();
        assert!(missing.contains("cannot be read"), "{missing}");
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(path, text).unwrap();
            let reason = why(path).await.unwrap();
            assert!(reason.ends_with("holds no certificate in PEM"), "{reason}");
        }
        assert_eq!(why("").await, None);
    }
}
