//! What MyOperator's answers mean.

use serde_json::Value;

use crate::domain::{
    failure::{DeliveryFailure, FailureClass},
    outcome::ProviderCallOutcome,
};

/// What is the matter with an answer that is no success.
struct MyOperatorTrouble {
    class: FailureClass,
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
}

/// The outcome of a response.
pub(super) fn judge(status: u16, answer: &[u8]) -> ProviderCallOutcome {
    let parsed: Value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    let text = |pointer: &str| parsed.pointer(pointer).and_then(Value::as_str);
    let succeeded = text("/status").is_none_or(|word| word.eq_ignore_ascii_case("success"));
    if (200..300).contains(&status) && succeeded {
        return match text("/data/message_id").filter(|id| !id.is_empty()) {
            Some(id) => ProviderCallOutcome::Accepted {
                provider_message_id: id.to_owned(),
                wa_id: None,
                user_id: None,
                kept_back: None,
            },
            None => ProviderCallOutcome::Unknown {
                reason: "the response names no message".to_owned(),
            },
        };
    }
    match trouble(status, &parsed) {
        Some(trouble) => ProviderCallOutcome::Refused(failure(status, &trouble, &parsed)),
        // A gateway's own error: the message may have passed it.
        None => ProviderCallOutcome::Unknown {
            reason: format!("the provider answered {status} without a reason"),
        },
    }
}

/// The text of an answer, wherever it stands.
pub(super) fn message(answer: &Value) -> Option<&str> {
    [
        "/message",
        "/Message",
        "/error/message",
        "/error",
        "/data/message",
    ]
    .iter()
    .find_map(|pointer| answer.pointer(pointer).and_then(Value::as_str))
}

fn code(answer: &Value) -> Option<&str> {
    ["/code", "/error/code", "/error_code"]
        .iter()
        .find_map(|pointer| answer.pointer(pointer).and_then(Value::as_str))
}

fn trouble(status: u16, answer: &Value) -> Option<MyOperatorTrouble> {
    let is_bare = answer
        .as_object()
        .is_some_and(|fields| fields.len() == 1 && fields.get("message") == Some(&Value::Null));
    if code(answer) == Some("CHAT_0302") {
        return Some(MyOperatorTrouble {
            class: FailureClass::Account,
            title: "CHAT_0302",
            meaning: "The WhatsApp business account is disabled at MyOperator.",
            remedy: "Ask MyOperator's support.",
        });
    }
    Some(match status {
        // It looks like a fault that passes, and is none: reads are answered the same.
        500 if is_bare => MyOperatorTrouble {
            class: FailureClass::Account,
            title: "not_provisioned",
            meaning: "The company or its number is not set up for the API.",
            remedy: "Ask MyOperator's support to provision the API for this company and number.",
        },
        401 => MyOperatorTrouble {
            class: FailureClass::Token,
            title: "unauthorized",
            meaning: "MyOperator does not know the API key.",
            remedy: "Set the key that its panel shows; one that was made anew replaces the old one after about a day.",
        },
        403 => MyOperatorTrouble {
            class: FailureClass::Token,
            title: "forbidden",
            meaning: "The API key does not belong to this company.",
            remedy: "Check the company id and the key: both are of one company.",
        },
        429 => MyOperatorTrouble {
            class: FailureClass::PaceNumber,
            title: "too_fast",
            meaning: "MyOperator takes fewer messages a second.",
            remedy: "Nothing: the number sends more slowly for a while.",
        },
        500.. => return None,
        _ => MyOperatorTrouble {
            class: FailureClass::FixRequest,
            title: "refused",
            meaning: "MyOperator refused the message.",
            remedy: "See the details: is the template approved, and do its parameters fit?",
        },
    })
}

fn failure(status: u16, trouble: &MyOperatorTrouble, answer: &Value) -> DeliveryFailure {
    DeliveryFailure {
        class: trouble.class,
        details: message(answer).map(str::to_owned),
        provider_errors: serde_json::json!({ "http_status": status, "answer": answer }),
        ..DeliveryFailure::ours(trouble.title, trouble.meaning, trouble.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::domain::{failure::FailureClass, outcome::ProviderCallOutcome};

    #[test]
    fn an_answer_says_more_than_its_status() {
        let accepted = r#"{"status":"success","code":"200","message":"Accepted","data":{"conversation_id":"c","message_id":"0b7e6a52-2ad3-4ef5-9e3e-2f0a3f3f8f10"}}"#;
        assert!(matches!(
            judge(200, accepted.as_bytes()),
            ProviderCallOutcome::Accepted { provider_message_id, .. } if provider_message_id.starts_with("0b7e6a52")
        ));
        for (status, answer, class) in [
            (500, r#"{"message":null}"#, FailureClass::Account),
            (401, r#"{"message":"Unauthorized"}"#, FailureClass::Token),
            (
                403,
                r#"{"Message":"User is not authorized with an explicit deny"}"#,
                FailureClass::Token,
            ),
            (
                403,
                r#"{"status":"error","message":"Invalid company ID!"}"#,
                FailureClass::Token,
            ),
            (
                429,
                r#"{"message":"Too Many Requests"}"#,
                FailureClass::PaceNumber,
            ),
            (
                400,
                r#"{"status":"error","code":"CHAT_0302","message":"WABA disabled"}"#,
                FailureClass::Account,
            ),
            (
                400,
                r#"{"status":"error","code":"400","message":"template not found"}"#,
                FailureClass::FixRequest,
            ),
            (
                200,
                r#"{"status":"error","code":"400","message":"template not found"}"#,
                FailureClass::FixRequest,
            ),
        ] {
            match judge(status, answer.as_bytes()) {
                ProviderCallOutcome::Refused(failure) => {
                    assert_eq!(failure.class, class, "{status} {answer}");
                }
                other => panic!("{status} {answer}: {other:?}"),
            }
        }
        for (status, answer) in [
            (200, r#"{"status":"success","data":{}}"#),
            (200, "<html>"),
            (500, r#"{"message":"Internal Server Error"}"#),
            (502, "<html>Bad Gateway</html>"),
        ] {
            assert!(
                matches!(
                    judge(status, answer.as_bytes()),
                    ProviderCallOutcome::Unknown { .. }
                ),
                "{status} {answer}"
            );
        }
    }
}
