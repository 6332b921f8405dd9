//! Meta's error codes: what each means, and what a person can do.
//!
//! Decisions rest on the code; HTTP status, subcode and title vary (Meta,
//! "Error codes").

use serde_json::Value;

use super::lenient::without_nul;
use crate::domain::failure::{Failure, FailureClass};

/// One row of the catalogue.
#[derive(Debug)]
pub struct KnownError {
    pub code: i64,
    pub class: FailureClass,
    pub meaning: &'static str,
    pub remedy: &'static str,
}

/// The commonest codes. The numbers are Meta's; the words are ours.
pub const CATALOGUE: &[KnownError] = &[
    KnownError {
        code: 0,
        class: FailureClass::Token,
        meaning: "Meta cannot authenticate the token.",
        remedy: "Create a new access token and set it. Test tokens live 60 minutes.",
    },
    KnownError {
        code: 1,
        class: FailureClass::Retry,
        meaning: "Meta had a passing trouble, or did not understand the request.",
        remedy: "Nothing: it is tried again. If it persists, look at the request.",
    },
    KnownError {
        code: 2,
        class: FailureClass::Retry,
        meaning: "Meta is temporarily down or overloaded.",
        remedy: "Nothing: it is tried again.",
    },
    KnownError {
        code: 4,
        class: FailureClass::Pace,
        meaning: "The app has made too many calls.",
        remedy: "Nothing: the message waits.",
    },
    KnownError {
        code: 10,
        class: FailureClass::Token,
        meaning: "The token lacks a permission.",
        remedy: "Grant whatsapp_business_messaging to the token's app and user.",
    },
    KnownError {
        code: 100,
        class: FailureClass::FixRequest,
        meaning: "The request has a parameter that Meta does not accept.",
        remedy: "See the details; check the phone-number id and the template's parameters.",
    },
    KnownError {
        code: 190,
        class: FailureClass::Token,
        meaning: "The access token has expired or was revoked.",
        remedy: "Create a new access token and set it. Test tokens live 60 minutes.",
    },
    KnownError {
        code: 80007,
        class: FailureClass::Pace,
        meaning: "The account has made too many calls.",
        remedy: "Nothing: the message waits.",
    },
    KnownError {
        code: 130_429,
        class: FailureClass::Pace,
        meaning: "The number sends faster than its throughput allows.",
        remedy: "Nothing: the message waits. Lower HERALD_SEND_PER_SECOND if it happens often.",
    },
    KnownError {
        code: 131_000,
        class: FailureClass::Retry,
        meaning: "Meta failed for an unknown reason.",
        remedy: "Nothing: it is tried again.",
    },
    KnownError {
        code: 131_005,
        class: FailureClass::Token,
        meaning: "Access was denied.",
        remedy: "Check the token's permissions.",
    },
    KnownError {
        code: 131_016,
        class: FailureClass::Retry,
        meaning: "A service at Meta is temporarily unavailable.",
        remedy: "Nothing: it is tried again.",
    },
    KnownError {
        code: 131_026,
        class: FailureClass::RecipientGone,
        meaning: "The message cannot be delivered: the number is not on WhatsApp, has an old version, or has not accepted the terms.",
        remedy: "Check the number with the person, or use another channel.",
    },
    KnownError {
        code: 131_030,
        class: FailureClass::FixRequest,
        meaning: "The number is not among the test account's allowed recipients.",
        remedy: "Add it in the app dashboard, or use a production number.",
    },
    KnownError {
        code: 131_031,
        class: FailureClass::Account,
        meaning: "The account is locked.",
        remedy: "Open WhatsApp Manager and follow what it asks for.",
    },
    KnownError {
        code: 131_042,
        class: FailureClass::Account,
        meaning: "There is a problem with the payment method.",
        remedy: "Mend the payment method in WhatsApp Manager.",
    },
    KnownError {
        code: 131_047,
        class: FailureClass::NeedsTemplate,
        meaning: "More than 24 hours have passed since the person last wrote.",
        remedy: "Send a template instead of free text.",
    },
    KnownError {
        code: 131_048,
        class: FailureClass::Account,
        meaning: "The number is restricted: too many people blocked or reported it.",
        remedy: "Stop marketing messages and see the quality rating in WhatsApp Manager.",
    },
    KnownError {
        code: 131_049,
        class: FailureClass::OptedOut,
        meaning: "Meta did not deliver it: this person gets too many marketing messages.",
        remedy: "Do not try again today; use another channel.",
    },
    KnownError {
        code: 131_050,
        class: FailureClass::OptedOut,
        meaning: "The person has stopped marketing messages from this business.",
        remedy: "Respect it.",
    },
    KnownError {
        code: 131_056,
        class: FailureClass::Pace,
        meaning: "Too many messages to this person in a short time.",
        remedy: "Nothing: the message waits.",
    },
    KnownError {
        code: 132_000,
        class: FailureClass::FixRequest,
        meaning: "The number of parameters differs from the template's.",
        remedy: "Make the catalogue's template equal to the one at Meta.",
    },
    KnownError {
        code: 132_001,
        class: FailureClass::TemplateTrouble,
        meaning: "The template does not exist in this language, or is not approved.",
        remedy: "Check its name and its exact language code in WhatsApp Manager.",
    },
    KnownError {
        code: 132_015,
        class: FailureClass::TemplateTrouble,
        meaning: "The template is paused for low quality.",
        remedy: "Wait until Meta unpauses it, or edit it.",
    },
    KnownError {
        code: 132_016,
        class: FailureClass::TemplateTrouble,
        meaning: "The template is disabled for good.",
        remedy: "Create a new template.",
    },
    KnownError {
        code: 133_004,
        class: FailureClass::Retry,
        meaning: "A server at Meta is temporarily unavailable.",
        remedy: "Nothing: it is tried again.",
    },
    KnownError {
        code: 133_010,
        class: FailureClass::Account,
        meaning: "The sending number is not registered.",
        remedy: "Register the number with the Cloud API.",
    },
];

fn known(code: i64) -> Option<&'static KnownError> {
    CATALOGUE.iter().find(|known| known.code == code)
}

/// What an error means. `transient` is what the transport suggests, and counts
/// only for codes that are not in the catalogue.
pub fn failure(error: &Value, whole: Value, transient: bool) -> Failure {
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(without_nul);
    let code = error.get("code").and_then(|code| {
        code.as_i64()
            .or_else(|| code.as_str().and_then(|code| code.parse().ok()))
    });
    let details = match error.get("error_data") {
        Some(Value::String(details)) => Some(without_nul(details)),
        Some(data) => data.get("details").and_then(Value::as_str).map(without_nul),
        None => None,
    };
    let title = text("title")
        .or_else(|| text("message"))
        .unwrap_or_else(|| "an error without a title".to_owned());
    let (class, meaning, remedy) = match code.and_then(known) {
        Some(known) => (known.class, known.meaning, known.remedy),
        // Permissions are 200 to 299.
        None if code.is_some_and(|code| (200..300).contains(&code)) => (
            FailureClass::Token,
            "A permission is missing or was removed.",
            "Check the token's permissions.",
        ),
        None if transient => (
            FailureClass::Retry,
            "Meta reported a code that Herald does not know, and marked it as passing.",
            "Nothing: it is tried again. See the details.",
        ),
        None => (
            FailureClass::FixRequest,
            "Meta refused it with a code that Herald does not know.",
            "See the details and Meta's list of error codes.",
        ),
    };
    Failure {
        class,
        code,
        title,
        details,
        meaning: meaning.to_owned(),
        remedy: remedy.to_owned(),
        provider_errors: whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CATALOGUE, failure};
    use crate::domain::failure::FailureClass;

    #[test]
    fn every_code_stands_once_with_words_for_people() {
        let mut codes: Vec<i64> = CATALOGUE.iter().map(|known| known.code).collect();
        codes.dedup();
        assert_eq!(codes.len(), CATALOGUE.len());
        assert!(codes.is_sorted());
        assert!(
            CATALOGUE
                .iter()
                .all(|known| known.meaning.ends_with('.') && known.remedy.ends_with('.'))
        );
    }

    #[test]
    fn details_are_read_from_an_object_or_a_string() {
        let object =
            json!({"code": 131_026, "title": "Undeliverable", "error_data": {"details": "old"}});
        assert_eq!(
            failure(&object, json!(null), false).details.as_deref(),
            Some("old")
        );
        let string = json!({"code": "131026", "message": "m", "error_data": "plain"});
        let read = failure(&string, json!(null), false);
        assert_eq!(
            (read.details.as_deref(), read.class),
            (Some("plain"), FailureClass::RecipientGone)
        );
    }

    #[test]
    fn an_unknown_code_is_judged_by_its_transport() {
        let error = json!({"code": 999_999});
        assert_eq!(
            failure(&error, json!(null), true).class,
            FailureClass::Retry
        );
        assert_eq!(
            failure(&error, json!(null), false).class,
            FailureClass::FixRequest
        );
        assert_eq!(
            failure(&json!({"code": 250}), json!(null), true).class,
            FailureClass::Token
        );
    }
}
