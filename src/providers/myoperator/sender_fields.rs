//! What a sender of MyOperator has, and how it must look.

use crate::{
    domain::{field_error::FieldError, phone::Phone},
    providers::SenderFields,
};

/// Where its API is.
pub(super) const API_BASE: &str = "api_base";

/// That address, unless a sender has another one.
pub(super) const USUAL_API_BASE: &str = "https://publicapi.myoperator.co";

/// The company that the key belongs to: the header `X-MYOP-COMPANY-ID`.
pub(super) const COMPANY_ID: &str = "company_id";

/// MyOperator's id of the number; looked up if it is not given.
pub(super) const PHONE_NUMBER_ID: &str = "phone_number_id";

/// What the API and the CLI call the number of a sender.
pub(super) const ENDPOINT: &str = "phone_number";

const MAX_ID: usize = 64;

/// What is wrong with a sender.
pub(super) fn check(fields: SenderFields<'_>) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    let mut add = |pointer: &str, rule: &str| {
        wrong.push(FieldError {
            pointer: pointer.to_owned(),
            rule: rule.to_owned(),
        });
    };
    let endpoint = format!("/{ENDPOINT}");
    match fields.endpoint_id {
        Some(number) if Phone::parse(number).is_err() => {
            add(
                &endpoint,
                "the number that sends, in E.164, such as +12025550123",
            );
        }
        None if fields.is_new => add(&endpoint, "needed: the number that sends, in E.164"),
        _ => {}
    }
    if fields.is_new && !fields.settings.contains_key(COMPANY_ID) {
        add(
            "/settings/company_id",
            "needed: MyOperator's id of the company",
        );
    }
    if fields.app_id.is_some() {
        add("/app_id", "MyOperator has no apps");
    }
    for (name, value) in fields.settings {
        let pointer = format!("/settings/{name}");
        match name.as_str() {
            API_BASE if value.starts_with("https://") || value.starts_with("http://") => {}
            API_BASE => add(&pointer, "starts with https:// or http://"),
            COMPANY_ID | PHONE_NUMBER_ID if is_id(value) => {}
            COMPANY_ID | PHONE_NUMBER_ID => add(&pointer, "letters, digits, - and _"),
            _ => add(&pointer, "no setting of a sender of MyOperator"),
        }
    }
    wrong
}

/// It stands in a header or a URL.
fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_ID
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
