//! What a sender of Meta's has, and how it must look.

use crate::{domain::field_error::FieldError, providers::SenderFields};

/// Where its Graph API is.
pub const API_BASE: &str = "api_base";

/// Of the Graph API, such as `v26.0`.
pub const API_VERSION: &str = "api_version";

/// What the API and the CLI call the id by which Meta's callbacks name a sender.
pub(super) const ENDPOINT: &str = "phone_number_id";

/// What is wrong with a sender.
pub(super) fn check(fields: SenderFields<'_>) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut add = |name: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: format!("/{name}"),
            rule: rule.to_owned(),
        });
    };
    if fields.is_new && fields.endpoint_id.is_none() {
        add(ENDPOINT, "needed: Meta's id of the number");
    }
    for (name, id) in [
        (ENDPOINT, fields.endpoint_id),
        ("waba_id", fields.account_id),
        ("app_id", fields.app_id),
    ] {
        if id.is_some_and(|id| !is_id(id)) {
            add(name, "digits only; it is Meta's id, not a phone number");
        }
    }
    for (name, value) in fields.settings {
        match name.as_str() {
            API_BASE if value.starts_with("https://") || value.starts_with("http://") => {}
            API_BASE => add(API_BASE, "starts with https:// or http://"),
            API_VERSION if is_version(value) => {}
            API_VERSION => add(API_VERSION, "such as v26.0"),
            _ => add(name, "no setting of a sender of Meta's"),
        }
    }
    wrong
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|number| {
        !number.is_empty()
            && number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}
