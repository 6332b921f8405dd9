//! Writes a message as a mail (RFC 5322), with the headers by which bulk mail can be refused
//! (RFC 8058).

use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};
use serde_json::{Value, json};

use super::sender_fields::{BOUNCES, FROM_NAME, REPLY_TO, before_at};
use crate::{
    domain::{
        content::FreeFormMessageContent, email::EmailAddress, recipient::MessageAddress,
        template::layout::FilledEmail,
    },
    providers::{OutgoingContent, OutgoingMessage, SenderConnectionSettings},
};

/// A mail and its envelope.
pub(super) struct SmtpLetter {
    pub message_id: String,
    pub from: Address,
    pub to: Address,
    pub bytes: Vec<u8>,
    /// As it is stored.
    pub request: Value,
}

/// Why a message cannot be written as a mail, in words for people.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SmtpLetterError(String);

fn impossible(reason: impl std::fmt::Display) -> SmtpLetterError {
    SmtpLetterError(reason.to_string())
}

/// Writes a message.
pub(super) fn letter(
    message: &OutgoingMessage,
    connection: &SenderConnectionSettings,
) -> Result<SmtpLetter, SmtpLetterError> {
    let MessageAddress::Email(to) = &message.to else {
        return Err(impossible("a mail goes to a mailbox"));
    };
    let email = match &message.content {
        OutgoingContent::Email(email) => email.clone(),
        OutgoingContent::Free(FreeFormMessageContent::Text(text)) => {
            FilledEmail::of_text(&text.body)
        }
        OutgoingContent::Free(_) | OutgoingContent::Template { .. } => {
            return Err(impossible(
                "Herald sends texts and templates by e-mail, no files and no buttons",
            ));
        }
    };
    let from = EmailAddress::parse(&connection.endpoint_id).map_err(impossible)?;
    let attempt = message.our_id.attempt.simple();
    let message_id = format!("{attempt}@{}", from.domain());
    let name = Some(connection.setting(FROM_NAME)).filter(|name| !name.is_empty());
    let sender = Mailbox::new(name.map(str::to_owned), address(&from)?);
    let mut builder = Message::builder()
        .from(sender)
        .to(Mailbox::new(None, address(to)?))
        .subject(email.subject.clone())
        .message_id(Some(format!("<{message_id}>")))
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned())?);
    if let Ok(reply_to) = EmailAddress::parse(connection.setting(REPLY_TO)) {
        builder = builder.reply_to(Mailbox::new(None, address(&reply_to)?));
    }
    if let Some(url) = &message.unsubscribe {
        builder = builder
            .raw_header(header("List-Unsubscribe", format!("<{url}>"))?)
            .raw_header(header(
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click".to_owned(),
            )?);
    }
    // A bounce names the attempt by where it is sent to: many carry nothing of the mail itself.
    let return_to = match EmailAddress::parse(connection.setting(BOUNCES)) {
        Ok(bounces) => {
            let local = before_at(&bounces);
            let text = format!("{local}+{attempt}@{}", bounces.domain());
            text.parse().map_err(impossible)?
        }
        Err(_) => address(&from)?,
    };
    let to = address(to)?;
    let envelope = Envelope::new(Some(return_to.clone()), vec![to.clone()]).map_err(impossible)?;
    let builder = builder.envelope(envelope);
    let written = match &email.html {
        None => builder.singlepart(SinglePart::plain(email.text.clone())),
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(
            email.text.clone(),
            html.clone(),
        )),
    };
    Ok(SmtpLetter {
        request: request(message, &email, &message_id),
        bytes: written.map_err(impossible)?.formatted(),
        message_id,
        from: return_to,
        to,
    })
}

/// The mail as it is stored: the recipient masked, and without what is secret.
fn request(message: &OutgoingMessage, email: &FilledEmail, message_id: &str) -> Value {
    let kept = |text: &str| {
        if message.sensitive {
            json!("not kept: it holds a code")
        } else {
            json!(text)
        }
    };
    let to = match &message.to {
        MessageAddress::Email(to) => to.to_string(),
        _ => String::new(),
    };
    json!({
        "to": to,
        "message_id": message_id,
        "subject": kept(&email.subject),
        "text": kept(&email.text),
        "html": email.html.is_some(),
        "unsubscribe": message.unsubscribe.is_some(),
    })
}

fn address(address: &EmailAddress) -> Result<Address, SmtpLetterError> {
    address.as_str().parse().map_err(impossible)
}

fn header(name: &'static str, value: String) -> Result<HeaderValue, SmtpLetterError> {
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(impossible)?;
    Ok(HeaderValue::new(name, value))
}
