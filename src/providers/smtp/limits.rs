//! How long a mail server may take.

use std::time::Duration;

/// Limits of each step. lettre's own bounds the TCP connect only. Together they are shorter than a
/// lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct SmtpLimits {
    pub connect: Duration,
    /// For each reply before the mail.
    pub reply: Duration,
    /// For everything before the mail.
    pub prepare: Duration,
    /// RFC 5321 (4.5.3.2.6) asks for ten minutes; a message whose call takes so long is not needed any
    /// more, and its outcome is decided by the policy.
    pub last_reply: Duration,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(8),
            reply: Duration::from_secs(8),
            prepare: Duration::from_secs(25),
            last_reply: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests")]

    use std::collections::BTreeMap;

    use secrecy::SecretString;
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };
    use uuid::Uuid;

    use super::{super::client::SmtpClient, *};
    use crate::{
        domain::{
            attempt_id::AttemptReference, email::EmailAddress, outcome::ProviderCallOutcome,
            recipient::MessageAddress, template::layout::FilledEmail,
        },
        providers::{MessageSender, OutgoingContent, OutgoingMessage, SenderConnectionSettings},
    };

    const REPLIES: [&str; 5] = [
        "220 mail.example.com\r\n",
        "250 Ok\r\n",
        "250 Ok\r\n",
        "250 Ok\r\n",
        "354 Go on\r\n",
    ];

    /// A mail server that replies after a while each time, and no more after so many replies.
    async fn slow_server(count: usize, after: Duration) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            for reply in REPLIES.iter().take(count) {
                tokio::time::sleep(after).await;
                let written = stream.get_mut().write_all(reply.as_bytes()).await;
                let mut line = String::new();
                if written.is_err() || stream.read_line(&mut line).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        port
    }

    /// What comes of a mail to this server, when each of the limits but one is far away.
    async fn outcome(port: u16, limits: SmtpLimits) -> ProviderCallOutcome {
        let settings = [
            ("host", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("tls", "none".to_owned()),
        ];
        let settings: BTreeMap<String, String> = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let connection = SenderConnectionSettings {
            endpoint_id: "shop@example.com".to_owned(),
            account_id: None,
            settings,
            token: SecretString::default(),
        };
        let message = OutgoingMessage {
            our_id: AttemptReference {
                notification: None,
                attempt: Uuid::nil(),
            },
            to: MessageAddress::Email(EmailAddress::parse("asha@example.com").unwrap()),
            content: OutgoingContent::Email(FilledEmail::of_text("Hello")),
            reply_to: None,
            sensitive: false,
            unsubscribe: None,
        };
        SmtpClient::new(connection, limits)
            .send(&message)
            .await
            .outcome
    }

    const FAR: SmtpLimits = SmtpLimits {
        connect: Duration::from_mins(1),
        reply: Duration::from_mins(1),
        prepare: Duration::from_mins(1),
        last_reply: Duration::from_mins(1),
    };
    const NEAR: Duration = Duration::from_millis(80);

    fn is_late(outcome: &ProviderCallOutcome) -> bool {
        matches!(outcome, ProviderCallOutcome::Unavailable { reason } if reason == "the mail server did not answer in time")
    }

    #[tokio::test]
    async fn a_server_that_does_not_greet_is_given_up() {
        let limits = SmtpLimits {
            connect: NEAR,
            reply: NEAR,
            ..FAR
        };
        let port = slow_server(0, Duration::ZERO).await;
        assert!(is_late(&outcome(port, limits).await));
    }

    #[tokio::test]
    async fn a_reply_that_does_not_come_is_given_up() {
        // After the greeting, EHLO; then RCPT TO; then DATA.
        for count in [2, 3, 4] {
            let limits = SmtpLimits { reply: NEAR, ..FAR };
            let port = slow_server(count, Duration::ZERO).await;
            let outcome = outcome(port, limits).await;
            assert!(is_late(&outcome), "{count}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_server_whose_replies_come_in_time_but_are_slow_is_given_up() {
        let limits = SmtpLimits {
            prepare: NEAR * 3,
            ..FAR
        };
        let port = slow_server(REPLIES.len(), NEAR).await;
        assert!(is_late(&outcome(port, limits).await));
        let port = slow_server(REPLIES.len(), Duration::ZERO).await;
        let limits = SmtpLimits {
            last_reply: NEAR,
            ..FAR
        };
        let outcome = outcome(port, limits).await;
        assert!(
            matches!(outcome, ProviderCallOutcome::Unknown { .. }),
            "after the mail it may have been taken: {outcome:?}"
        );
    }
}
