//! Meta's error codes: their meaning and remedy.
//!
//! Decisions depend on the code; HTTP status, subcode and title vary (Meta, "Error codes").

mod catalogue;

pub use catalogue::CATALOGUE;

use serde_json::Value;

use crate::{
    domain::failure::{DeliveryFailure, FailureClass},
    providers::KnownProviderError,
};

/// The table's entry for a code, or for its range.
pub fn known(code: i64) -> Option<&'static KnownProviderError> {
    CATALOGUE
        .binary_search_by_key(&code, |known| known.code)
        .ok()
        .and_then(|index| CATALOGUE.get(index))
        .or_else(|| {
            catalogue::RANGES
                .iter()
                .find(|(range, _)| range.contains(&code))
                .map(|(_, known)| known)
        })
}

/// The failure of an error. `transient` is the transport's suggestion, and counts only for codes
/// that are not in the catalogue.
pub fn failure(error: &Value, whole: Value, transient: bool) -> DeliveryFailure {
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let code = error.get("code").and_then(|code| {
        code.as_i64()
            .or_else(|| code.as_str().and_then(|code| code.parse().ok()))
    });
    let details = match error.get("error_data") {
        Some(Value::String(details)) => Some(details.clone()),
        Some(data) => data
            .get("details")
            .and_then(Value::as_str)
            .map(str::to_owned),
        None => None,
    };
    let title = text("title")
        .or_else(|| text("message"))
        .unwrap_or_else(|| "an error without a title".to_owned());
    let found = code.and_then(known);
    let (class, meaning, remedy) = match found {
        Some(known) => (known.class, known.meaning, known.remedy),
        None if transient => (
            FailureClass::Retry,
            "Meta reported an unknown code, and marked it as temporary.",
            "Nothing: it is tried again. See the details.",
        ),
        None => (
            FailureClass::FixRequest,
            "Meta refused it with a code that Herald does not know.",
            "See the details and Meta's list of error codes.",
        ),
    };
    let subcode = error.get("error_subcode").and_then(Value::as_i64);
    DeliveryFailure {
        class,
        code,
        title,
        details,
        meaning: refined(code, subcode).unwrap_or(meaning).to_owned(),
        remedy: remedy.to_owned(),
        wait_seconds: found.and_then(|known| known.wait_seconds),
        provider_errors: whole,
    }
}

/// What a subcode adds to the meaning of its code. It does not affect decisions.
const fn refined(code: Option<i64>, subcode: Option<i64>) -> Option<&'static str> {
    match (code, subcode) {
        (Some(190), Some(463)) => Some("Token expired: the access token's time is over."),
        (Some(190), Some(467)) => Some("Token invalid: the access token was revoked."),
        (Some(190), Some(460)) => {
            Some("Token invalid: the password of the account that made it was changed.")
        }
        (Some(100), Some(33)) => {
            Some("The phone-number id does not exist, or the token may not use it.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CATALOGUE, failure};
    use crate::domain::failure::FailureClass;

    #[test]
    fn every_code_stands_once_in_order_with_words_for_people() {
        assert!(
            CATALOGUE
                .windows(2)
                .all(|pair| matches!(pair, [one, next] if one.code < next.code))
        );
        for known in CATALOGUE {
            assert!(
                known.meaning.ends_with(['.', ')']) && known.remedy.ends_with('.'),
                "{}",
                known.code
            );
            assert_eq!(
                known.wait_seconds.is_some(),
                known.class == FailureClass::WaitUntil,
                "{}",
                known.code
            );
        }
    }

    #[test]
    fn a_subcode_refines_the_words_and_decides_nothing() {
        let error = json!({"code": 190, "error_subcode": 463});
        let expired = failure(&error, json!(null), false);
        assert_eq!(expired.class, FailureClass::Token);
        assert!(expired.meaning.starts_with("Token expired"));
        let error = json!({"code": 131_026, "error_subcode": 463});
        assert_eq!(
            failure(&error, json!(null), false).class,
            FailureClass::RecipientGone
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
