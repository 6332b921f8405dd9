//! What a sender of e-mail has, and how it must look.

use crate::{
    domain::{email::EmailAddress, field_error::FieldError},
    providers::SenderFields,
};

/// The mail server.
pub(super) const HOST: &str = "host";
pub(super) const PORT: &str = "port";

/// `starttls` (default), `implicit` or `none`.
pub(super) const TLS: &str = "tls";
pub(super) const USERNAME: &str = "username";

/// A file, in PEM, of the certification authority of a mail server that no public one has signed.
pub(super) const CA_FILE: &str = "ca_file";

/// The name beside the address.
pub(super) const FROM_NAME: &str = "from_name";
pub(super) const REPLY_TO: &str = "reply_to";

/// Where bounces go: the attempt is put before its @, as in `bounces+ID@example.com`.
pub(super) const BOUNCES: &str = "bounces";

/// What this machine calls itself to the mail server.
pub(super) const HELLO_NAME: &str = "hello_name";

/// What the API and the CLI call the address that a sender writes from.
pub(super) const ENDPOINT: &str = "from";

/// Longest part before the @ of the address for bounces: with a plus and an attempt's id it has 64.
const MAX_BOUNCE_LOCAL: usize = 31;

const MAX_TEXT: usize = 255;

/// What is wrong with a sender.
pub(super) fn check(fields: SenderFields<'_>) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut add = |pointer: &str, rule: String| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule,
        });
    };
    let endpoint = format!("/{ENDPOINT}");
    match fields.endpoint_id.map(EmailAddress::parse) {
        Some(Err(error)) => add(&endpoint, error.to_string()),
        None if fields.is_new => add(
            &endpoint,
            "needed: the address that mails come from".to_owned(),
        ),
        _ => {}
    }
    if fields.is_new && !fields.settings.contains_key(HOST) {
        add("/settings/host", "needed: the mail server".to_owned());
    }
    if fields.account_id.is_some() {
        add("/waba_id", "a mail server has no accounts".to_owned());
    }
    for (name, value) in fields.settings {
        let pointer = format!("/settings/{name}");
        let rule = match name.as_str() {
            HOST | HELLO_NAME if is_host(value) => continue,
            HOST | HELLO_NAME => "a name such as mail.example.com, or an IP address".to_owned(),
            PORT if value.parse::<u16>().is_ok_and(|port| port > 0) => continue,
            PORT => "1 to 65535".to_owned(),
            TLS if ["starttls", "implicit", "none"].contains(&value.as_str()) => continue,
            TLS => "starttls, implicit or none".to_owned(),
            USERNAME | FROM_NAME if is_line(value) => continue,
            USERNAME | FROM_NAME => "one line of at most 255 characters".to_owned(),
            CA_FILE if is_line(value) && value.starts_with('/') => continue,
            CA_FILE => "the absolute path of a file in PEM on Herald's machine".to_owned(),
            REPLY_TO => match EmailAddress::parse(value) {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            },
            BOUNCES => match EmailAddress::parse(value) {
                Ok(address) if before_at(&address).len() <= MAX_BOUNCE_LOCAL => continue,
                Ok(_) => {
                    format!("at most {MAX_BOUNCE_LOCAL} characters before the @: an id is added")
                }
                Err(error) => error.to_string(),
            },
            _ => "no setting of a sender of e-mail".to_owned(),
        };
        add(&pointer, rule);
    }
    wrong
}

/// What stands before the @.
pub(super) fn before_at(address: &EmailAddress) -> &str {
    address
        .as_str()
        .split_once('@')
        .map_or("", |(local, _)| local)
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control)
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_TEXT
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
}
