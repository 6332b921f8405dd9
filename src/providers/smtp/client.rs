//! One SMTP transaction for each mail, on a connection of its own: what is given up in the middle
//! ends with its connection, so that no answer is ever taken for that of another mail.

use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::{
    Error,
    authentication::{Credentials, Mechanism},
    client::AsyncSmtpConnection,
    commands::{Data, Mail, Quit, Rcpt},
    extension::ClientId,
    response::Response,
};
use secrecy::ExposeSecret;

use super::{
    letter::{SmtpLetter, letter},
    limits::SmtpLimits,
    replies::{self, SmtpStage},
    sender_fields::{HELLO_NAME, HOST, PORT, USERNAME},
    tls::{self, SmtpTls},
};
use crate::{
    domain::{
        email::EmailAddress,
        failure::{DeliveryFailure, FailureClass},
        outcome::ProviderCallOutcome,
    },
    providers::{MessageSender, OutgoingMessage, ProviderExchange, SenderConnectionSettings},
};

/// One address that mails come from.
#[derive(Debug)]
pub(super) struct SmtpClient {
    connection: SenderConnectionSettings,
    host: String,
    port: u16,
    tls: SmtpTls,
    limits: SmtpLimits,
}

/// Why a transaction ended before the mail was sent.
#[derive(Debug)]
pub(super) enum SmtpEnd {
    /// Nothing was taken: the server cannot be reached, or fails.
    Unavailable(String),
    Refused(Box<DeliveryFailure>),
}

impl SmtpClient {
    pub(super) fn new(connection: SenderConnectionSettings, limits: SmtpLimits) -> Self {
        let tls = SmtpTls::of(&connection);
        Self {
            host: connection.setting(HOST).to_owned(),
            port: connection
                .setting(PORT)
                .parse()
                .unwrap_or_else(|_| tls.usual_port()),
            tls,
            connection,
            limits,
        }
    }

    /// Connects, and logs in where there is a user name.
    pub(super) async fn open(&self) -> Result<AsyncSmtpConnection, SmtpEnd> {
        let hello = ClientId::Domain(self.hello_name());
        let SmtpLimits { connect, reply, .. } = self.limits;
        let secured = match self.tls {
            SmtpTls::None => None,
            SmtpTls::Required | SmtpTls::Implicit => Some(
                tls::parameters(&self.host, &self.connection)
                    .await
                    .map_err(|error| SmtpEnd::Unavailable(error.to_string()))?,
            ),
        };
        let (at_once, later) = match self.tls {
            SmtpTls::Implicit => (secured, None),
            SmtpTls::Required | SmtpTls::None => (None, secured),
        };
        let server = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(connect), &hello, at_once, None);
        let mut connection = step(SmtpStage::Hello, connect + reply, connecting).await?;
        if let Some(parameters) = later {
            if !connection.can_starttls() {
                let reason = "the mail server offers no TLS after STARTTLS: smtps:// (`tls` of a sender: `implicit`) if it wants TLS at once, ?tls=none (`none`) for one on this machine";
                return Err(SmtpEnd::Unavailable(reason.to_owned()));
            }
            let secured = connection.starttls(parameters, &hello);
            step(SmtpStage::Hello, reply, secured).await?;
        }
        let user = self.connection.setting(USERNAME);
        if !user.is_empty() {
            let password = self.connection.token.expose_secret().to_owned();
            let credentials = Credentials::new(user.to_owned(), password);
            let login = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials);
            step(SmtpStage::Login, reply, login).await?;
        }
        Ok(connection)
    }

    /// Whether the connection is protected; what `herald check` says of it.
    pub(super) const fn is_protected(&self) -> bool {
        !matches!(self.tls, SmtpTls::None)
    }

    /// Whether nothing between here and the server can read what is sent.
    pub(super) fn is_on_this_machine(&self) -> bool {
        is_loopback(&self.host)
    }

    fn hello_name(&self) -> String {
        match self.connection.setting(HELLO_NAME) {
            "" => EmailAddress::parse(&self.connection.endpoint_id)
                .map_or_else(|_| "localhost".to_owned(), |from| from.domain().to_owned()),
            name => name.to_owned(),
        }
    }

    /// Everything before the mail itself.
    async fn prepare(&self, letter: &SmtpLetter) -> Result<AsyncSmtpConnection, SmtpEnd> {
        let mut connection = self.open().await?;
        let reply = self.limits.reply;
        let mail = Mail::new(Some(letter.from.clone()), Vec::new());
        step(SmtpStage::Sender, reply, connection.command(mail)).await?;
        let recipient = Rcpt::new(letter.to.clone(), Vec::new());
        step(SmtpStage::Recipient, reply, connection.command(recipient)).await?;
        let data = step(SmtpStage::Data, reply, connection.command(Data)).await?;
        if !data.has_code(354) {
            let reason = "the mail server does not ask for the mail".to_owned();
            return Err(SmtpEnd::Unavailable(reason));
        }
        Ok(connection)
    }
}

/// One step of a transaction before the mail, within its time.
async fn step<T>(
    stage: SmtpStage,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, SmtpEnd> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(ended(stage, &error)),
        Err(_) => Err(late()),
    }
}

fn late() -> SmtpEnd {
    SmtpEnd::Unavailable("the mail server did not answer in time".to_owned())
}

/// What an error before the mail means.
fn ended(stage: SmtpStage, error: &Error) -> SmtpEnd {
    let Some(code) = error.status() else {
        // No AUTH mechanism that both sides know: waiting does not help.
        return if error.is_client() && stage == SmtpStage::Login {
            SmtpEnd::Refused(Box::new(DeliveryFailure {
                class: FailureClass::Token,
                details: Some(error.to_string()),
                ..DeliveryFailure::ours(
                    "smtp_no_login",
                    "The mail server offers no login that Herald knows.",
                    "Is `tls` right? Many servers offer it on protected connections only.",
                )
            }))
        } else {
            SmtpEnd::Unavailable(text(error))
        };
    };
    let code: u16 = u16::from(code);
    match replies::failure(stage, code, &text(error)) {
        Some(failure) => SmtpEnd::Refused(Box::new(failure)),
        None => SmtpEnd::Unavailable(text(error)),
    }
}

/// What the server said, as it said it; else what lettre says of it.
fn text(error: &Error) -> String {
    let source = std::error::Error::source(error);
    if let (Some(code), Some(said)) = (error.status(), source) {
        return format!("{code} {said}");
    }
    let mut text = error.to_string();
    let mut source = source;
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[async_trait]
impl MessageSender for SmtpClient {
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange {
        let letter = match letter(message, &self.connection) {
            Ok(letter) => letter,
            Err(error) => {
                let failure = DeliveryFailure {
                    class: FailureClass::FixRequest,
                    ..DeliveryFailure::ours(
                        "not_a_mail",
                        &format!("It cannot be written as a mail: {error}."),
                        "Change the message or its recipient, and send it anew.",
                    )
                };
                return exchange(
                    serde_json::json!("no call was made"),
                    None,
                    None,
                    ProviderCallOutcome::Refused(failure),
                );
            }
        };
        let prepared = tokio::time::timeout(self.limits.prepare, self.prepare(&letter)).await;
        let mut connection = match prepared.unwrap_or_else(|_| Err(late())) {
            Ok(connection) => connection,
            Err(SmtpEnd::Unavailable(reason)) => {
                return exchange(
                    letter.request,
                    None,
                    None,
                    ProviderCallOutcome::Unavailable { reason },
                );
            }
            Err(SmtpEnd::Refused(failure)) => {
                let answer = failure.details.clone();
                return exchange(
                    letter.request,
                    None,
                    answer,
                    ProviderCallOutcome::Refused(*failure),
                );
            }
        };
        // From here on the server may take it: whatever is lost now is unknown.
        let sent =
            tokio::time::timeout(self.limits.last_reply, connection.message(&letter.bytes)).await;
        let unknown = |reason: &str| ProviderCallOutcome::Unknown {
            reason: reason.to_owned(),
        };
        let (answer, outcome) = match sent {
            Ok(Ok(response)) if response.has_code(250) => {
                // Said politely, and not waited for: the mail is taken.
                drop(tokio::time::timeout(Duration::from_secs(1), connection.command(Quit)).await);
                let outcome = ProviderCallOutcome::Accepted {
                    provider_message_id: letter.message_id.clone(),
                    wa_id: None,
                    user_id: None,
                    kept_back: None,
                };
                (Some(said(&response)), outcome)
            }
            Ok(Ok(response)) => (
                Some(said(&response)),
                unknown(
                    "the mail server's answer to the mail is none that means that it was taken",
                ),
            ),
            Ok(Err(error)) => match error.status() {
                Some(code) => {
                    let said = text(&error);
                    let outcome = match replies::failure(SmtpStage::Mail, u16::from(code), &said) {
                        Some(failure) => ProviderCallOutcome::Refused(failure),
                        None => ProviderCallOutcome::Unavailable {
                            reason: said.clone(),
                        },
                    };
                    (Some(said), outcome)
                }
                None => (
                    None,
                    unknown(
                        "the connection ended before the mail server said that it had taken the mail",
                    ),
                ),
            },
            Err(_) => (
                None,
                unknown("the mail server did not say in time that it had taken the mail"),
            ),
        };
        exchange(letter.request, None, answer, outcome)
    }

    async fn is_reachable(&self) -> bool {
        !matches!(self.open().await, Err(SmtpEnd::Unavailable(_)))
    }
}

fn said(response: &Response) -> String {
    let lines: Vec<&str> = response.message().collect();
    format!("{} {}", response.code(), lines.join(" ")).replace('\0', "\u{fffd}")
}

fn exchange(
    request: serde_json::Value,
    http_status: Option<u16>,
    answer: Option<String>,
    outcome: ProviderCallOutcome,
) -> ProviderExchange {
    ProviderExchange {
        request,
        http_status,
        answer,
        outcome,
    }
}

/// Whether a host, as `host` or SMTP_URL name it, is this machine.
fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "mail.example.com",
            "localhost.example.com",
            "192.0.2.1",
            "[2001:db8::1]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
