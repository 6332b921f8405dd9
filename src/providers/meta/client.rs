//! The client of Meta's API: `POST /{version}/{phone-number-id}/messages`.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    errors,
    lenient::{digits, document},
    request::{redacted, request_body},
};
use crate::{
    domain::{
        failure::{DeliveryFailure, FailureClass},
        outcome::ProviderCallOutcome,
        recipient::MessageAddress,
    },
    providers::{
        DownloadedMedia, InboundMessageAccess, MessageSender, OutgoingMessage, ProviderExchange,
        ProviderQueryError, SenderNumberFacts,
    },
};

/// Most bytes read of a response.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// One phone number at Meta, ready to send.
#[derive(Debug)]
pub struct MetaClient {
    http: reqwest::Client,
    /// Address of the provider; a simulator's in tests.
    base: String,
    /// Base and version: the address of objects.
    graph: String,
    /// The phone number.
    number: String,
    /// The address for messages.
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
        let base = format!("{}/", base.trim_end_matches('/'));
        let graph = format!("{base}{version}");
        let number = format!("{graph}/{phone_number_id}");
        let url = format!("{number}/messages");
        Self {
            http,
            base,
            graph,
            number,
            url,
            token,
        }
    }

    /// Makes a request, and reads at most `max_bytes` of the response.
    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
        max_bytes: usize,
    ) -> Result<(Option<String>, Vec<u8>), ProviderQueryError> {
        let mut response = request
            .bearer_auth(self.token.expose_secret())
            .send()
            .await
            .map_err(|_unreachable| ProviderQueryError::Unreachable)?;
        let status = response.status().as_u16();
        let mime_type = response
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut answer = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|_broken| ProviderQueryError::Unreachable)?
        {
            if answer.len() + chunk.len() > max_bytes {
                return Err(ProviderQueryError::TooLarge);
            }
            answer.extend_from_slice(&chunk);
        }
        if status == 200 {
            return Ok((mime_type, answer));
        }
        let code = document(&answer)
            .ok()
            .and_then(|answer| answer.pointer("/error/code").and_then(Value::as_i64));
        Err(match (status, code) {
            (404, _) | (_, Some(100)) => ProviderQueryError::Gone,
            (500.., None) => ProviderQueryError::Unreachable,
            _ => ProviderQueryError::Refused(code),
        })
    }
}

#[async_trait]
impl MessageSender for MetaClient {
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange {
        let request = redacted(message);
        if matches!(message.to, MessageAddress::Email(_)) {
            let failure = DeliveryFailure {
                class: FailureClass::FixRequest,
                ..DeliveryFailure::ours(
                    "needs_phone",
                    "WhatsApp sends to phone numbers, not to mailboxes.",
                    "Give the contact a number in E.164.",
                )
            };
            return ProviderExchange {
                request,
                http_status: None,
                answer: None,
                outcome: ProviderCallOutcome::Refused(failure),
            };
        }
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
                    ProviderCallOutcome::Unavailable {
                        reason: "no connection to the provider".to_owned(),
                    }
                } else if error.is_timeout() {
                    ProviderCallOutcome::Unknown {
                        reason: "the provider did not answer in time".to_owned(),
                    }
                } else {
                    ProviderCallOutcome::Unknown {
                        reason: "the connection was closed before a response came".to_owned(),
                    }
                };
                return ProviderExchange {
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
                    let outcome = ProviderCallOutcome::Unknown {
                        reason: "the response was not complete".to_owned(),
                    };
                    return ProviderExchange {
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
        ProviderExchange {
            request,
            http_status: Some(status),
            answer: Some(answer),
            outcome,
        }
    }

    /// Reads the number's own id: any response but a server error is sufficient.
    async fn is_reachable(&self) -> bool {
        let answer = self
            .http
            .get(format!("{}?fields=id", self.number))
            .bearer_auth(self.token.expose_secret())
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().as_u16() < 500)
    }

    /// `throughput.level` of the number (Meta, "Throughput"): numbers that are used
    /// with the WhatsApp Business app as well may send 20 a second.
    async fn number(&self) -> Result<SenderNumberFacts, ProviderQueryError> {
        let fields = "throughput,is_on_biz_app,display_phone_number";
        let url = format!("{}?fields={fields}", self.number);
        let (_, answer) = self.ask(self.http.get(url), MAX_ANSWER_BYTES).await?;
        let answer: Value = document(&answer).unwrap_or(Value::Null);
        let level = answer.pointer("/throughput/level").and_then(Value::as_str);
        let per_second = if answer.get("is_on_biz_app") == Some(&Value::Bool(true)) {
            Some(20)
        } else {
            match level {
                Some("HIGH") => Some(1000),
                Some("STANDARD") => Some(80),
                _ => None,
            }
        };
        let written = answer.get("display_phone_number").and_then(Value::as_str);
        Ok(SenderNumberFacts {
            per_second,
            display_number: written.and_then(digits),
        })
    }

    fn inbox(&self) -> Option<&dyn InboundMessageAccess> {
        Some(self)
    }
}

#[async_trait]
impl InboundMessageAccess for MetaClient {
    /// First its address, then the file: the address is valid for 5 minutes (Meta, "Media").
    async fn media(
        &self,
        id: &str,
        max_bytes: usize,
    ) -> Result<DownloadedMedia, ProviderQueryError> {
        // An id names an object, and must not reach other parts of the graph.
        if id.is_empty()
            || !id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        {
            return Err(ProviderQueryError::Gone);
        }
        let place = self.http.get(format!("{}/{id}", self.graph));
        let (_, answer) = self.ask(place, MAX_ANSWER_BYTES).await?;
        let place: Value = document(&answer).unwrap_or(Value::Null);
        let text = |key: &str| place.get(key).and_then(Value::as_str).map(str::to_owned);
        let size = place.get("file_size").and_then(|size| {
            size.as_u64()
                .or_else(|| size.as_str().and_then(|size| size.parse().ok()))
        });
        if size.is_some_and(|size| size > u64::try_from(max_bytes).unwrap_or(u64::MAX)) {
            return Err(ProviderQueryError::TooLarge);
        }
        let Some(url) = text("url") else {
            return Err(ProviderQueryError::Gone);
        };
        // The token is sent along: only to the provider's file servers, never in clear.
        if !url.starts_with("https://") && !url.starts_with(&self.base) {
            return Err(ProviderQueryError::Refused(None));
        }
        let (mime_type, content) = self.ask(self.http.get(url), max_bytes).await?;
        Ok(DownloadedMedia {
            mime_type: text("mime_type")
                .or(mime_type)
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            content: content.into(),
        })
    }

    async fn mark_read(&self, provider_message_id: &str) -> Result<(), ProviderQueryError> {
        let body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": provider_message_id,
        });
        let request = self.http.post(&self.url).json(&body);
        self.ask(request, MAX_ANSWER_BYTES).await.map(|_| ())
    }
}

/// The meaning of a `message_status` other than `accepted` (Meta, "Template pacing").
fn kept_back(message_status: &str) -> Option<String> {
    match message_status {
        "accepted" => None,
        "held_for_quality_assessment" => {
            Some("the provider holds it until the template's quality is assessed".to_owned())
        }
        "paused" => {
            Some("the provider holds it: the template is paused for its quality".to_owned())
        }
        _ => Some("the provider holds it, for an unknown reason".to_owned()),
    }
}

/// The outcome of a response. The code decides; the HTTP status only if there is none.
pub fn judge(status: u16, answer: &[u8]) -> ProviderCallOutcome {
    let parsed: Option<Value> = document(answer).ok();
    if let Some(error) = parsed
        .as_ref()
        .and_then(|answer| answer.get("error"))
        .filter(|error| error.get("code").is_some())
    {
        let transient =
            status >= 500 || status == 429 || error.get("is_transient") == Some(&Value::Bool(true));
        return ProviderCallOutcome::Refused(errors::failure(error, error.clone(), transient));
    }
    if status == 200 {
        let accepted = parsed
            .as_ref()
            .and_then(|answer| answer.pointer("/messages/0/id"))
            .and_then(Value::as_str);
        return match accepted {
            Some(id) if !id.is_empty() => ProviderCallOutcome::Accepted {
                provider_message_id: id.to_owned(),
                wa_id: parsed
                    .as_ref()
                    .and_then(|answer| answer.pointer("/contacts/0/wa_id"))
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                user_id: parsed
                    .as_ref()
                    .and_then(|answer| answer.pointer("/contacts/0/user_id"))
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                kept_back: parsed
                    .as_ref()
                    .and_then(|answer| answer.pointer("/messages/0/message_status"))
                    .and_then(Value::as_str)
                    .and_then(kept_back),
            },
            _ => ProviderCallOutcome::Unknown {
                reason: "the provider accepted it without naming the message".to_owned(),
            },
        };
    }
    let without_code = |class, meaning: &str| {
        ProviderCallOutcome::Refused(DeliveryFailure {
            class,
            title: format!("HTTP {status} without an error code"),
            ..DeliveryFailure::ours("", meaning, "See the recorded answer.")
        })
    };
    match status {
        401 | 403 => without_code(FailureClass::Token, "The provider refused the credentials."),
        429 => without_code(FailureClass::PaceNumber, "The provider asked to slow down."),
        400..=499 => without_code(
            FailureClass::FixRequest,
            "The provider refused the request.",
        ),
        _ => ProviderCallOutcome::Unknown {
            reason: format!("the provider answered HTTP {status} without an outcome"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::domain::{failure::FailureClass, outcome::ProviderCallOutcome};

    #[test]
    fn the_code_decides_and_the_status_only_where_there_is_none() {
        let class = |status, body: &str| match judge(status, body.as_bytes()) {
            ProviderCallOutcome::Refused(failure) => Some(failure.class),
            _ => None,
        };
        assert_eq!(
            class(400, r#"{"error":{"code":130429}}"#),
            Some(FailureClass::PaceNumber)
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
                matches!(
                    judge(status, body.as_bytes()),
                    ProviderCallOutcome::Unknown { .. }
                ),
                "{status} {body}"
            );
        }
        assert!(matches!(
            judge(200, br#"{"messages":[{"id":"wamid.x"}]}"#),
            ProviderCallOutcome::Accepted {
                wa_id: None,
                user_id: None,
                kept_back: None,
                ..
            }
        ));
        for (status, kept) in [
            ("accepted", false),
            ("held_for_quality_assessment", true),
            ("paused", true),
            ("something_new", true),
        ] {
            let body =
                format!(r#"{{"messages":[{{"id":"wamid.x","message_status":"{status}"}}]}}"#);
            assert!(
                matches!(judge(200, body.as_bytes()), ProviderCallOutcome::Accepted { kept_back, .. } if kept_back.is_some() == kept),
                "{status}"
            );
        }
    }
}
