//! What replies of mail servers mean (RFC 5321, 4.2; RFC 3463; RFC 4954).

use serde_json::json;

use crate::domain::failure::{DeliveryFailure, FailureClass};

/// How far a transaction had come when a reply was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SmtpStage {
    /// Greeting, EHLO, STARTTLS.
    Hello,
    Login,
    /// `MAIL FROM`.
    Sender,
    /// `RCPT TO`.
    Recipient,
    /// `DATA`.
    Data,
    /// The mail itself.
    Mail,
}

/// How long mail waits that a server does not take yet from a sender that it does not know
/// (grey-listing), in seconds.
const GREY_SECONDS: i64 = 10 * 60;

/// How long mail waits for room in a mailbox, in seconds.
const FULL_SECONDS: i64 = 4 * 60 * 60;

/// The enhanced status code of a reply's text (RFC 2034), such as `5.1.1`.
pub(super) fn enhanced(text: &str) -> Option<(u8, u16, u16)> {
    text.split(|it: char| it.is_whitespace() || "():,;[]".contains(it))
        .find_map(|word| {
            let mut parts = word.trim_end_matches('.').split('.');
            let class: u8 = parts.next()?.parse().ok()?;
            let subject: u16 = parts.next()?.parse().ok()?;
            let detail: u16 = parts.next()?.parse().ok()?;
            let fits = matches!(class, 2 | 4 | 5) && subject < 10 && detail < 1000;
            (fits && parts.next().is_none()).then_some((class, subject, detail))
        })
}

/// What a refusal with this code means; `None`: the server fails, and has taken nothing.
pub(super) fn failure(stage: SmtpStage, code: u16, text: &str) -> Option<DeliveryFailure> {
    let status = enhanced(text);
    let subject = status.map(|(_, subject, _)| subject);
    let detail = status.map(|(_, subject, detail)| (subject, detail));
    let is_permanent = code >= 500;
    let (class, wait_seconds, meaning, remedy) = match (stage, code) {
        (SmtpStage::Hello, _) | (_, 421) => return None,
        (SmtpStage::Login, 500..) | (_, 530 | 534 | 535 | 538) => (
            FailureClass::Token,
            None,
            "The mail server does not accept the user name or the password.",
            "Set the password that the mail server expects, and check `username` and `tls`.",
        ),
        // 5.7: security and policy, which is about us. 5.7.26 and 5.7.515: SPF, DKIM, DMARC.
        _ if is_permanent && subject == Some(7) => (
            FailureClass::Account,
            None,
            "The mail server refuses mail from this sender, for reasons of policy.",
            "See the details: are SPF, DKIM and DMARC of the domain right, and is the sender on a block list?",
        ),
        (_, 452 | 552) if detail != Some((3, 4)) => full(),
        _ if detail == Some((2, 2)) => full(),
        (SmtpStage::Recipient | SmtpStage::Mail, 551 | 553 | 556) => gone(),
        _ if is_permanent && subject == Some(1) && stage != SmtpStage::Sender => (
            FailureClass::AddressRejected,
            None,
            "There is no such mailbox.",
            "Ask the person for the right address; then lift the suppression if it is the same.",
        ),
        (SmtpStage::Recipient, 550 | 554) => gone(),
        (SmtpStage::Recipient, 400..=499) => (
            FailureClass::WaitUntil,
            Some(GREY_SECONDS),
            "The mail server does not take mail for this mailbox yet.",
            "Nothing: it is tried again.",
        ),
        _ if !is_permanent => (
            FailureClass::Retry,
            None,
            "The mail server cannot take it now.",
            "Nothing: it is tried again.",
        ),
        _ => (
            FailureClass::FixRequest,
            None,
            "The mail server refuses this mail.",
            "See the details: its size, its content or its addresses.",
        ),
    };
    Some(DeliveryFailure {
        class,
        details: Some(text.to_owned()),
        wait_seconds,
        provider_errors: json!({ "code": code, "text": text }),
        ..DeliveryFailure::ours(&title(code, status), meaning, remedy)
    })
}

type SmtpVerdict = (FailureClass, Option<i64>, &'static str, &'static str);

const fn full() -> SmtpVerdict {
    (
        FailureClass::WaitUntil,
        Some(FULL_SECONDS),
        "The mailbox is full.",
        "Nothing: it is tried again until the message expires.",
    )
}

const fn gone() -> SmtpVerdict {
    (
        FailureClass::RecipientGone,
        None,
        "The mail server does not take mail for this recipient.",
        "See the details, and ask the person for the right address.",
    )
}

/// By what failures are counted: `smtp_550_5.1.1`.
fn title(code: u16, status: Option<(u8, u16, u16)>) -> String {
    match status {
        Some((class, subject, detail)) => format!("smtp_{code}_{class}.{subject}.{detail}"),
        None => format!("smtp_{code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{SmtpStage, enhanced, failure};
    use crate::domain::failure::FailureClass;

    #[test]
    fn an_enhanced_status_is_found_in_a_text_and_nothing_else_is_one() {
        assert_eq!(enhanced("5.1.1 <a@example.com>: unknown"), Some((5, 1, 1)));
        assert_eq!(enhanced("550-5.7.26 This mail is unauthenticated"), None);
        assert_eq!(
            enhanced("permanent error (550): 5.7.26 This mail"),
            Some((5, 7, 26))
        );
        assert_eq!(enhanced("server 10.0.0.1 says no"), None);
        assert_eq!(enhanced("version 3.1.4"), None);
    }

    #[test]
    fn only_unknown_mailboxes_suppress_an_address_and_what_is_about_us_holds_the_sender() {
        use SmtpStage::{Data, Hello, Login, Mail, Recipient, Sender};
        for (stage, code, text, class) in [
            (
                Recipient,
                550,
                "5.1.1 no such user",
                Some(FailureClass::AddressRejected),
            ),
            (
                Recipient,
                550,
                "5.1.10 recipient not found",
                Some(FailureClass::AddressRejected),
            ),
            (
                Recipient,
                550,
                "5.1.2 no such domain",
                Some(FailureClass::AddressRejected),
            ),
            (
                Mail,
                550,
                "5.1.1 no such user",
                Some(FailureClass::AddressRejected),
            ),
            (
                Sender,
                550,
                "5.1.8 bad sender",
                Some(FailureClass::FixRequest),
            ),
            (
                Recipient,
                550,
                "no such user here",
                Some(FailureClass::RecipientGone),
            ),
            (
                Recipient,
                553,
                "mailbox name not allowed",
                Some(FailureClass::RecipientGone),
            ),
            (
                Recipient,
                450,
                "4.2.0 grey-listed",
                Some(FailureClass::WaitUntil),
            ),
            (
                Recipient,
                452,
                "4.2.2 over quota",
                Some(FailureClass::WaitUntil),
            ),
            (
                Recipient,
                552,
                "5.2.2 over quota",
                Some(FailureClass::WaitUntil),
            ),
            (
                Mail,
                552,
                "5.3.4 message too big",
                Some(FailureClass::FixRequest),
            ),
            (
                Mail,
                550,
                "5.7.26 unauthenticated",
                Some(FailureClass::Account),
            ),
            (
                Recipient,
                550,
                "5.7.515 access denied",
                Some(FailureClass::Account),
            ),
            (Mail, 554, "5.7.1 spam", Some(FailureClass::Account)),
            (
                Mail,
                554,
                "transaction failed",
                Some(FailureClass::FixRequest),
            ),
            (
                Login,
                535,
                "5.7.8 bad credentials",
                Some(FailureClass::Token),
            ),
            (
                Sender,
                530,
                "5.7.0 authentication required",
                Some(FailureClass::Token),
            ),
            (Data, 451, "4.3.0 try later", Some(FailureClass::Retry)),
            (Mail, 451, "4.7.1 try later", Some(FailureClass::Retry)),
            (Mail, 421, "4.7.0 shutting down", None),
            (Hello, 554, "no service", None),
        ] {
            let found = failure(stage, code, text);
            assert_eq!(
                found.as_ref().map(|it| it.class),
                class,
                "{stage:?} {code} {text}"
            );
            if let Some(found) = found {
                assert_eq!(
                    found.wait_seconds.is_some(),
                    found.class == FailureClass::WaitUntil
                );
            }
        }
    }
}
