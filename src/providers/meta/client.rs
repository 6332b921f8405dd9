//! `POST /{version}/{phone-number-id}/messages`.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::errors;
use crate::{
    domain::{
        failure::{Failure, FailureClass},
        outcome::Outcome,
        phone,
    },
    providers::{Content, Exchange, Message, Provider},
};

/// No answer is read further, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// One phone number at Meta, ready to send.
#[derive(Debug)]
pub struct MetaClient {
    http: reqwest::Client,
    url: String,
    token: SecretString,
}

impl MetaClient {
    pub fn new(
        http: reqwest::Client,
        base: &str,
        version: &str,
        phone_number_id: &str,
        token: SecretString,
    ) -> Self {
        let url = format!(
            "{}/{version}/{phone_number_id}/messages",
            base.trim_end_matches('/')
        );
        Self { http, url, token }
    }
}

/// The request body, as Meta reads it.
pub fn request_body(message: &Message) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to.e164(),
        "biz_opaque_callback_data": message.attempt_id.to_string(),
    });
    let (kind, content) = match &message.content {
        Content::Text { body } => ("text", json!({ "body": body, "preview_url": false })),
        Content::Template {
            name,
            language,
            parameters,
        } => {
            let mut template = json!({ "name": name, "language": { "code": language } });
            if !parameters.is_empty() {
                let parameters: Vec<Value> = parameters
                    .iter()
                    .map(|(name, text)| match name {
                        Some(name) => {
                            json!({ "type": "text", "parameter_name": name, "text": text })
                        }
                        None => json!({ "type": "text", "text": text }),
                    })
                    .collect();
                if let Some(template) = template.as_object_mut() {
                    template.insert(
                        "components".to_owned(),
                        json!([{ "type": "body", "parameters": parameters }]),
                    );
                }
            }
            ("template", template)
        }
    };
    if let Some(object) = body.as_object_mut() {
        object.insert("type".to_owned(), json!(kind));
        object.insert(kind.to_owned(), content);
    }
    body
}

/// The request as it is kept: the number masked, and no secret parameters.
fn redacted(message: &Message) -> Value {
    let mut body = request_body(message);
    if let Some(object) = body.as_object_mut() {
        object.insert("to".to_owned(), json!(phone::mask(message.to.e164())));
        if message.sensitive {
            for key in ["template", "text"] {
                if let Some(content) = object.get_mut(key) {
                    *content = json!("not kept: it holds a code");
                }
            }
        }
    }
    body
}

#[async_trait]
impl Provider for MetaClient {
    async fn send(&self, message: &Message) -> Exchange {
        let request = redacted(message);
        let sent = self
            .http
            .post(&self.url)
            .bearer_auth(self.token.expose_secret())
            .json(&request_body(message))
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => {
                // Only a failure to connect is certain not to have sent anything.
                let outcome = if error.is_connect() {
                    Outcome::Unavailable {
                        reason: "no connection to the provider".to_owned(),
                    }
                } else if error.is_timeout() {
                    Outcome::Unknown {
                        reason: "the provider did not answer in time".to_owned(),
                    }
                } else {
                    Outcome::Unknown {
                        reason: "the connection broke before an answer came".to_owned(),
                    }
                };
                return Exchange {
                    request,
                    http_status: None,
                    answer: None,
                    outcome,
                };
            }
        };
        let status = response.status().as_u16();
        let mut answer = Vec::new();
        while answer.len() < MAX_ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    let outcome = Outcome::Unknown {
                        reason: "the answer broke off".to_owned(),
                    };
                    return Exchange {
                        request,
                        http_status: Some(status),
                        answer: None,
                        outcome,
                    };
                }
            }
        }
        answer.truncate(MAX_ANSWER_BYTES);
        let outcome = judge(status, &answer);
        let answer = String::from_utf8_lossy(&answer).replace('\0', "\u{fffd}");
        Exchange {
            request,
            http_status: Some(status),
            answer: Some(answer),
            outcome,
        }
    }
}

/// What an answer means. The code decides; the HTTP status only where there is none.
pub fn judge(status: u16, answer: &[u8]) -> Outcome {
    let parsed: Option<Value> = serde_json::from_slice(answer).ok();
    if let Some(error) = parsed
        .as_ref()
        .and_then(|answer| answer.get("error"))
        .filter(|error| error.get("code").is_some())
    {
        let transient =
            status >= 500 || status == 429 || error.get("is_transient") == Some(&Value::Bool(true));
        return Outcome::Refused(errors::failure(error, error.clone(), transient));
    }
    if status == 200 {
        let accepted = parsed
            .as_ref()
            .and_then(|answer| answer.pointer("/messages/0/id"))
            .and_then(Value::as_str);
        return match accepted {
            Some(id) if !id.is_empty() => Outcome::Accepted {
                provider_message_id: id.to_owned(),
                wa_id: parsed
                    .as_ref()
                    .and_then(|answer| answer.pointer("/contacts/0/wa_id"))
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            },
            _ => Outcome::Unknown {
                reason: "the provider said yes without naming the message".to_owned(),
            },
        };
    }
    let without_code = |class, meaning: &str| {
        Outcome::Refused(Failure {
            class,
            title: format!("HTTP {status} without an error code"),
            ..Failure::ours("", meaning, "See the recorded answer.")
        })
    };
    match status {
        401 | 403 => without_code(FailureClass::Token, "The provider refused the credentials."),
        429 => without_code(FailureClass::Pace, "The provider asked to slow down."),
        400..=499 => without_code(
            FailureClass::FixRequest,
            "The provider refused the request.",
        ),
        _ => Outcome::Unknown {
            reason: format!("the provider answered HTTP {status} without saying what it did"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::domain::{failure::FailureClass, outcome::Outcome};

    #[test]
    fn the_code_decides_and_the_status_only_where_there_is_none() {
        let class = |status, body: &str| match judge(status, body.as_bytes()) {
            Outcome::Refused(failure) => Some(failure.class),
            _ => None,
        };
        assert_eq!(
            class(400, r#"{"error":{"code":130429}}"#),
            Some(FailureClass::Pace)
        );
        assert_eq!(
            class(500, r#"{"error":{"code":131026}}"#),
            Some(FailureClass::RecipientGone)
        );
        assert_eq!(class(401, "<html>"), Some(FailureClass::Token));
        assert_eq!(class(404, ""), Some(FailureClass::FixRequest));
        assert_eq!(
            class(503, r#"{"error":{"code":424242}}"#),
            Some(FailureClass::Retry)
        );
    }

    #[test]
    fn an_answer_that_names_no_message_is_unknown_not_sent() {
        for (status, body) in [
            (200, "{}"),
            (200, "<html>"),
            (502, ""),
            (500, "{}"),
            (302, ""),
        ] {
            assert!(
                matches!(judge(status, body.as_bytes()), Outcome::Unknown { .. }),
                "{status} {body}"
            );
        }
        assert!(matches!(
            judge(200, br#"{"messages":[{"id":"wamid.x"}]}"#),
            Outcome::Accepted { wa_id: None, .. }
        ));
    }
}
