//! Reads bounces: mails in which a mail server says what became of another (RFC 3464). Which mail they
//! are about is in the address that they were sent to (VERP), or in the mail that they return.

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use serde_json::json;
use uuid::Uuid;

use super::replies::{self, SmtpStage};
use crate::domain::failure::{DeliveryFailure, FailureClass};

/// Longest bounce that is read, in bytes. Servers return the mail that they could not deliver, and
/// ours are small.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What a mail to the bounce address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedBounce {
    /// A mail could not be delivered.
    Failed {
        /// The attempts that it may be about, the likeliest first.
        attempts: Vec<Uuid>,
        failure: Box<DeliveryFailure>,
    },
    /// A mail is late, or was delivered or passed on: nothing is to be done.
    Other(String),
    /// No report about a mail, such as an out-of-office reply.
    NoReport,
}

/// A mail that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a mail")]
pub struct BounceReadError;

/// Reads a bounce. `recipient` is where the mail server delivered it, if it says so.
pub fn read(bytes: &[u8], recipient: Option<&str>) -> Result<ReceivedBounce, BounceReadError> {
    let mail = MessageParser::default()
        .parse(bytes)
        .ok_or(BounceReadError)?;
    if mail.headers().is_empty() {
        return Err(BounceReadError);
    }
    let Some(report) = delivery_status(&mail) else {
        return Ok(ReceivedBounce::NoReport);
    };
    let action = field(&report, "action")
        .unwrap_or_default()
        .to_ascii_lowercase();
    if action != "failed" {
        return Ok(ReceivedBounce::Other(action));
    }
    Ok(ReceivedBounce::Failed {
        attempts: attempts(&mail, bytes, recipient),
        failure: Box::new(failure(&report)),
    })
}

/// The text of the part with the status.
fn delivery_status(mail: &Message<'_>) -> Option<String> {
    let part = mail.parts.iter().find(|part| {
        part.content_type().is_some_and(|it| {
            it.ctype().eq_ignore_ascii_case("message")
                && it
                    .subtype()
                    .is_some_and(|it| it.eq_ignore_ascii_case("delivery-status"))
        })
    })?;
    Some(match &part.body {
        // A parser may take it for a mail of its own, whose fields are then its headers.
        PartType::Message(inner) => String::from_utf8_lossy(&inner.raw_message).into_owned(),
        _ => String::from_utf8_lossy(part.contents()).into_owned(),
    })
}

/// A field of a report, with its folded lines joined. The first of that name: Herald's mails have
/// one recipient.
fn field(report: &str, name: &str) -> Option<String> {
    let mut lines = report.lines();
    let first = lines.by_ref().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(folded.fold(first, |value, line| format!("{value} {}", line.trim())))
}

/// What the report says of the failure: by the reply of the server that refused the mail, else by
/// the status.
fn failure(report: &str) -> DeliveryFailure {
    let status = field(report, "status").unwrap_or_default();
    let said = field(report, "diagnostic-code").unwrap_or_default();
    let said = said
        .split_once(';')
        .map_or(said.as_str(), |(_, text)| text.trim());
    let code = said
        .get(..3)
        .and_then(|code| code.parse::<u16>().ok())
        .filter(|code| (400..600).contains(code));
    let is_temporary = status.starts_with('4');
    let code = code.unwrap_or(if is_temporary { 450 } else { 550 });
    let text = match replies::enhanced(said) {
        Some(_) => said.to_owned(),
        None => format!("{status} {said}").trim().to_owned(),
    };
    // After days of trying nothing is temporary any more, but a full mailbox.
    replies::failure(SmtpStage::Mail, code, &text)
        .filter(|found| found.class != FailureClass::Retry)
        .unwrap_or_else(|| DeliveryFailure {
            class: FailureClass::RecipientGone,
            details: Some(text.clone()),
            provider_errors: json!({ "code": code, "text": text }),
            ..DeliveryFailure::ours(
                &format!("smtp_bounce_{code}"),
                "Mail servers have tried to deliver it, and have given up.",
                "See the details, and ask the person whether the address is right.",
            )
        })
}

/// The attempts that a bounce names.
fn attempts(mail: &Message<'_>, bytes: &[u8], recipient: Option<&str>) -> Vec<Uuid> {
    let mut found = Vec::new();
    let headers = ["Delivered-To", "X-Original-To", "Envelope-To", "To"];
    let tagged = headers.iter().filter_map(|name| mail.header_raw(*name));
    for text in recipient.into_iter().chain(tagged) {
        found.extend(named_after(text, '+'));
    }
    // The returned mail, or its headers, has the Message-ID that Herald gave it.
    let returned = String::from_utf8_lossy(bytes);
    for line in returned.lines() {
        if let Some((name, value)) = line.split_once(':')
            && ["message-id", "original-envelope-id"]
                .contains(&name.trim().to_ascii_lowercase().as_str())
        {
            found.extend(named_after(value, '<'));
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|id| seen.insert(*id));
    found
}

/// The ids that stand between this sign and an `@`.
fn named_after(text: &str, sign: char) -> impl Iterator<Item = Uuid> {
    text.split(sign).skip(1).filter_map(|rest| {
        let (id, _) = rest.split_once('@')?;
        (id.len() == 32).then(|| Uuid::try_parse(id).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::{BounceReadError, ReceivedBounce, read};
    use crate::domain::failure::FailureClass;

    const ID: &str = "019b76daa8007000b98e9367e55c878d";

    fn bounce(status: &str, action: &str, to: &str, returned: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example.net\r\nTo: {to}\r\nSubject: Undelivered\r\n\
             MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"B\"\r\n\r\n\
             --B\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
             --B\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.example.net\r\n\r\n\
             Final-Recipient: rfc822; asha@example.com\r\nAction: {action}\r\n{status}\r\n\
             --B\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n--B--\r\n"
        )
    }

    #[test]
    fn a_bounce_names_the_attempt_by_its_address_or_by_what_it_returns() {
        let status = "Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n <asha@example.com>: no such user\r\n";
        let verp = format!("bounces+{ID}@example.com");
        for (to, recipient, returned) in [
            (verp.as_str(), None, ""),
            ("bounces@example.com", Some(verp.as_str()), ""),
            (
                "bounces@example.com",
                None,
                &*format!("Message-ID: <{ID}@example.com>\r\n"),
            ),
        ] {
            let read = read(bounce(status, "failed", to, returned).as_bytes(), recipient).unwrap();
            let ReceivedBounce::Failed { attempts, failure } = read else {
                panic!("{read:?}");
            };
            assert_eq!(
                attempts
                    .iter()
                    .map(|it| it.simple().to_string())
                    .collect::<Vec<_>>(),
                [ID]
            );
            assert_eq!(failure.class, FailureClass::AddressRejected);
            assert_eq!(failure.title, "smtp_550_5.1.1");
            assert_eq!(
                failure.details.as_deref(),
                Some("550 5.1.1 <asha@example.com>: no such user")
            );
        }
    }

    #[test]
    fn only_what_says_that_there_is_no_mailbox_suppresses_an_address() {
        for (status, class) in [
            ("Status: 5.1.1\r\n", FailureClass::AddressRejected),
            (
                "Status: 5.1.10\r\nDiagnostic-Code: smtp;550 5.1.10 not found\r\n",
                FailureClass::AddressRejected,
            ),
            (
                "Status: 5.0.0\r\nDiagnostic-Code: smtp; 550 no such user\r\n",
                FailureClass::FixRequest,
            ),
            (
                "Status: 5.7.26\r\nDiagnostic-Code: smtp; 550 5.7.26 unauthenticated\r\n",
                FailureClass::Account,
            ),
            (
                "Status: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2 over quota\r\n",
                FailureClass::WaitUntil,
            ),
            (
                "Status: 4.4.7\r\nDiagnostic-Code: X-Postfix; delivery expired\r\n",
                FailureClass::RecipientGone,
            ),
            ("", FailureClass::FixRequest),
        ] {
            let text = bounce(status, "failed", "bounces@example.com", "");
            let ReceivedBounce::Failed { failure, .. } = read(text.as_bytes(), None).unwrap()
            else {
                panic!("{status}");
            };
            assert_eq!(failure.class, class, "{status}");
        }
    }

    #[test]
    fn what_is_late_or_no_report_does_nothing() {
        let late = bounce("Status: 4.4.1\r\n", "delayed", "bounces@example.com", "");
        assert_eq!(
            read(late.as_bytes(), None),
            Ok(ReceivedBounce::Other("delayed".to_owned()))
        );
        let away = "From: asha@example.com\r\nSubject: Away\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n";
        assert_eq!(read(away.as_bytes(), None), Ok(ReceivedBounce::NoReport));
        assert_eq!(read(b"", None), Err(BounceReadError));
    }
}
