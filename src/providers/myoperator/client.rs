//! The client of MyOperator's API.

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    errors, request,
    sender_fields::{API_BASE, COMPANY_ID, PHONE_NUMBER_ID, USUAL_API_BASE},
};
use crate::{
    domain::{
        failure::{DeliveryFailure, FailureClass},
        outcome::ProviderCallOutcome,
    },
    providers::{
        HttpClient, MessageSender, OutgoingMessage, ProviderExchange, ProviderQueryError,
        SenderConnectionSettings, SenderNumberFacts,
    },
};

/// Most bytes read of a response.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum MyOperatorQueryError {
    #[error("MyOperator cannot be reached")]
    Unreachable,
    /// It was refused, with the outcome that a call with the same answer has.
    #[error("MyOperator refused ({status}): {}", .failure.meaning)]
    Refused {
        status: u16,
        failure: Box<DeliveryFailure>,
    },
    #[error("MyOperator's answer ({0}) cannot be read")]
    Unreadable(u16),
}

/// One number at MyOperator, ready to send.
#[derive(Debug)]
pub(super) struct MyOperatorClient {
    http: HttpClient,
    base: String,
    company_id: String,
    account_id: Option<String>,
    /// In E.164.
    number: String,
    token: SecretString,
    /// Given, or looked up before the first message.
    phone_number_id: OnceCell<String>,
}

impl MyOperatorClient {
    pub(super) fn new(http: HttpClient, connection: SenderConnectionSettings) -> Self {
        let base = match connection.setting(API_BASE) {
            "" => USUAL_API_BASE,
            base => base,
        };
        let given = Some(connection.setting(PHONE_NUMBER_ID)).filter(|id| !id.is_empty());
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            company_id: connection.setting(COMPANY_ID).to_owned(),
            phone_number_id: OnceCell::new_with(given.map(str::to_owned)),
            account_id: connection.account_id,
            number: connection.endpoint_id,
            token: connection.token,
        }
    }

    /// `Bearer` begins with a capital: MyOperator refuses `bearer`.
    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let key = format!("Bearer {}", self.token.expose_secret());
        let request = request.header("X-MYOP-COMPANY-ID", &self.company_id);
        match reqwest::header::HeaderValue::from_str(&key) {
            Ok(mut value) => {
                value.set_sensitive(true);
                request.header(reqwest::header::AUTHORIZATION, value)
            }
            // It is refused by the other side then.
            Err(_) => request,
        }
    }

    /// Reads a document.
    pub(super) async fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Value, MyOperatorQueryError> {
        let request = self.http.get(format!("{}{path}", self.base)).query(query);
        let response = self.with_key(request).send().await;
        let response = response.map_err(|_unreachable| MyOperatorQueryError::Unreachable)?;
        let status = response.status().as_u16();
        let Some(answer) = bounded(response).await else {
            return Err(MyOperatorQueryError::Unreachable);
        };
        if status != 200 {
            return Err(match errors::judge(status, &answer) {
                ProviderCallOutcome::Refused(failure) => MyOperatorQueryError::Refused {
                    status,
                    failure: Box::new(failure),
                },
                _ => MyOperatorQueryError::Unreadable(status),
            });
        }
        serde_json::from_slice(&answer).map_err(|_no_json| MyOperatorQueryError::Unreadable(status))
    }

    /// The numbers of the company, each as MyOperator describes it.
    pub(super) async fn numbers(&self) -> Result<Vec<Value>, MyOperatorQueryError> {
        let account = self.account_id.as_deref().map(|id| ("waba_id", id));
        let query: Vec<(&str, &str)> = account.into_iter().collect();
        Ok(results(&self.read("/chat/phonenumbers", &query).await?))
    }

    /// MyOperator's id of the number that sends.
    pub(super) async fn number_id(&self) -> Result<&str, MyOperatorQueryError> {
        let found = self.phone_number_id.get_or_try_init(async || {
            let numbers = self.numbers().await?;
            id_of(&numbers, &self.number).ok_or_else(|| MyOperatorQueryError::Refused {
                status: 200,
                failure: Box::new(DeliveryFailure {
                    class: FailureClass::Account,
                    ..DeliveryFailure::ours(
                        "number_unknown",
                        "The company has no such number at MyOperator.",
                        "Compare the sender's number with the panel's, or set `phone_number_id`.",
                    )
                }),
            })
        });
        found.await.map(String::as_str)
    }

    fn not_sent(outcome: ProviderCallOutcome) -> ProviderExchange {
        ProviderExchange {
            request: serde_json::json!("no call was made"),
            http_status: None,
            answer: None,
            outcome,
        }
    }
}

/// At most [`MAX_ANSWER_BYTES`] of a response; `None` if it breaks off.
async fn bounded(mut response: reqwest::Response) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    while answer.len() < MAX_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    answer.truncate(MAX_ANSWER_BYTES);
    Some(answer)
}

/// The entries of a list, wherever they stand.
pub(super) fn results(answer: &Value) -> Vec<Value> {
    ["/data/results", "/data", "/results"]
        .iter()
        .find_map(|pointer| answer.pointer(pointer).and_then(Value::as_array))
        .or_else(|| answer.as_array())
        .cloned()
        .unwrap_or_default()
}

/// The id of the entry that has this number in one of its fields.
fn id_of(numbers: &[Value], number: &str) -> Option<String> {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let wanted = digits(number);
    let has = |entry: &&Value| {
        ["phone_number", "display_phone_number", "number", "phone"]
            .iter()
            .filter_map(|name| entry.get(name).and_then(Value::as_str))
            .any(|text| digits(text) == wanted)
    };
    let entry = numbers.iter().find(has)?;
    ["phone_number_id", "id"].iter().find_map(|name| {
        let id = entry.get(name)?;
        let text = id.as_str().map(str::to_owned);
        text.or_else(|| id.as_u64().map(|id| id.to_string()))
    })
}

#[async_trait]
impl MessageSender for MyOperatorClient {
    async fn send(&self, message: &OutgoingMessage) -> ProviderExchange {
        let number = match self.number_id().await {
            Ok(number) => number,
            Err(MyOperatorQueryError::Refused { failure, .. }) => {
                return Self::not_sent(ProviderCallOutcome::Refused(*failure));
            }
            Err(
                error @ (MyOperatorQueryError::Unreachable | MyOperatorQueryError::Unreadable(_)),
            ) => {
                return Self::not_sent(ProviderCallOutcome::Unavailable {
                    reason: format!("the id of the number could not be looked up: {error}"),
                });
            }
        };
        let body = match request::body(message, number, self.account_id.as_deref()) {
            Ok(body) => body,
            Err(impossible) => {
                return Self::not_sent(ProviderCallOutcome::Refused(impossible.failure()));
            }
        };
        let call = self
            .http
            .post(format!("{}/chat/messages", self.base))
            .json(&body);
        let request = request::redacted(body, message.sensitive);
        let response = match self.with_key(call).send().await {
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
        let Some(answer) = bounded(response).await else {
            return ProviderExchange {
                request,
                http_status: Some(status),
                answer: None,
                outcome: ProviderCallOutcome::Unknown {
                    reason: "the response was not complete".to_owned(),
                },
            };
        };
        let text = String::from_utf8_lossy(&answer).replace('\0', "\u{fffd}");
        ProviderExchange {
            request,
            http_status: Some(status),
            outcome: errors::judge(status, &answer),
            answer: Some(text),
        }
    }

    /// Reads the numbers: any answer but a server's error is sufficient, and the error by which a
    /// company is answered that is not set up is none that passes.
    async fn is_reachable(&self) -> bool {
        match self.numbers().await {
            Ok(_) => true,
            Err(MyOperatorQueryError::Refused { status, .. }) => status < 500,
            Err(_) => false,
        }
    }

    async fn number(&self) -> Result<SenderNumberFacts, ProviderQueryError> {
        let digits: String = self.number.chars().filter(char::is_ascii_digit).collect();
        Ok(SenderNumberFacts {
            per_second: None,
            display_number: Some(digits),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{id_of, results};

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let answer = json!({ "status": "success", "data": { "results": [
            { "id": 7, "display_phone_number": "+1 202-555-0122" },
            { "phone_number_id": "106540352242922", "display_phone_number": "+1 (202) 555-0123" },
        ] } });
        let numbers = results(&answer);
        assert_eq!(
            id_of(&numbers, "+12025550123").as_deref(),
            Some("106540352242922")
        );
        assert_eq!(id_of(&numbers, "+12025550122").as_deref(), Some("7"));
        assert_eq!(id_of(&numbers, "+12025550124"), None);
        assert!(results(&json!({ "status": "success" })).is_empty());
        assert_eq!(results(&json!([1])).len(), 1);
    }
}
