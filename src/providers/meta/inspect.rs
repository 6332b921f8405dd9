//! Reads Meta's data about our token, number, account, app and templates (Meta, "Debug token",
//! "Phone numbers", "Subscribed apps", "App subscriptions", "Health status"). These calls count
//! against an hourly limit: they are for checks by people, not for probes.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::lenient::document;
use super::sender_fields::{API_BASE, API_VERSION};
use super::words;
use crate::{
    domain::{quality::QualityRating, time::Timestamp},
    providers::SenderConnectionSettings,
};

/// Most bytes read of a response.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// Most pages read of a list: an account has 6,000 templates at most.
const MOST_PAGES: usize = 100;

/// Why a query failed. Addresses are left out: they hold tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaQueryError {
    #[error("Meta cannot be reached")]
    Unreachable,
    #[error("Meta refused it (code {code}, subcode {subcode}): {message}")]
    Refused {
        code: i64,
        subcode: i64,
        message: String,
    },
    #[error("Meta answered HTTP {0} with nothing that can be read")]
    Unreadable(u16),
    /// The list did not end; the part that was read must not be taken for the whole.
    #[error("Meta's list has no end: it was not read to it")]
    Endless,
}

/// A client that acts with one token.
#[derive(Clone, Debug)]
pub struct MetaQueryClient {
    pub(super) http: reqwest::Client,
    pub(super) graph: String,
    pub(super) token: SecretString,
    /// Time limit of uploading a sample, which is larger than a message.
    pub(super) upload_timeout: Duration,
}

/// Meta's data about a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaTokenFacts {
    pub is_valid: bool,
    pub app_id: Option<String>,
    pub kind: Option<String>,
    /// None: it does not expire.
    pub expires_at: Option<Timestamp>,
    pub scopes: Vec<String>,
    /// Accounts that it is limited to, if it is limited.
    pub accounts: Option<Vec<String>>,
}

/// Meta's data about a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaNumberFacts {
    pub status: Option<String>,
    pub quality: Option<QualityRating>,
    pub throughput: Option<String>,
    pub name_status: Option<String>,
    /// `AVAILABLE`, `LIMITED` or `BLOCKED`.
    pub can_send: Option<String>,
    /// Obstacles to sending: (kind of entity, code, description, remedy).
    pub obstacles: Vec<(String, i64, String, String)>,
    /// Callback address of this number, as overridden at the number.
    pub callback_of_number: Option<String>,
    pub callback_of_account: Option<String>,
    pub callback_of_app: Option<String>,
    /// The clock of Meta's servers, from the response header.
    pub clock: Option<Timestamp>,
}

/// An app that gets an account's callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaSubscribedApp {
    pub app_id: String,
    pub override_url: Option<String>,
}

/// The subscriptions of an app, and its callback address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaAppSubscription {
    pub callback_url: Option<String>,
    pub active: bool,
    pub fields: Vec<String>,
}

pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

impl MetaQueryClient {
    pub fn new(http: reqwest::Client, base: &str, version: &str, token: SecretString) -> Self {
        Self {
            http,
            graph: format!("{}/{version}", base.trim_end_matches('/')),
            token,
            upload_timeout: Duration::from_mins(3),
        }
    }

    /// Asks in the name of a sender.
    pub(super) fn of(http: &reqwest::Client, connection: &SenderConnectionSettings) -> Self {
        Self::new(
            http.clone(),
            connection.setting(API_BASE),
            connection.setting(API_VERSION),
            connection.token.clone(),
        )
    }

    /// Sets another time limit for samples: for tests.
    #[must_use]
    pub fn uploading_within(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
        self
    }

    /// All elements of a list, page after page.
    pub(super) async fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<Value>, MetaQueryError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = query.to_vec();
            query.extend(after.as_deref().map(|after| ("after", after)));
            let (answer, _) = self.get(path, &query, Some(&self.token)).await?;
            all.extend(list(&answer, "/data").cloned());
            if text(&answer, "/paging/next").is_none() {
                return Ok(all);
            }
            let next = text(&answer, "/paging/cursors/after");
            if next.is_none() || next == after {
                break;
            }
            after = next;
        }
        Err(MetaQueryError::Endless)
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        bearer: Option<&SecretString>,
    ) -> Result<(Value, Option<Timestamp>), MetaQueryError> {
        let mut request = self.http.get(format!("{}/{path}", self.graph));
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        Self::answered(request).await
    }

    /// Sends a request and parses its response; Meta's errors become ours.
    pub(super) async fn answered(
        request: reqwest::RequestBuilder,
    ) -> Result<(Value, Option<Timestamp>), MetaQueryError> {
        let mut response = request
            .send()
            .await
            .map_err(|_holds_the_address| MetaQueryError::Unreachable)?;
        let status = response.status().as_u16();
        let clock = response
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok())
            .and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok())
            .map(|date| Timestamp::from_unix_seconds(date.timestamp()));
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|_holds_the_address| MetaQueryError::Unreachable)?
        {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(MetaQueryError::Unreadable(status));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Value =
            document(&body).map_err(|_unreadable| MetaQueryError::Unreadable(status))?;
        if let Some(error) = answer.get("error") {
            let number = |key: &str| error.get(key).and_then(Value::as_i64).unwrap_or(0);
            return Err(MetaQueryError::Refused {
                code: number("code"),
                subcode: number("error_subcode"),
                message: text(error, "/message").unwrap_or_default(),
            });
        }
        if status == 200 {
            Ok((answer, clock))
        } else {
            Err(MetaQueryError::Unreadable(status))
        }
    }

    /// Data about the token itself.
    pub async fn token(&self) -> Result<MetaTokenFacts, MetaQueryError> {
        let (answer, _) = self
            .get(
                "debug_token",
                &[("input_token", self.token.expose_secret())],
                Some(&self.token),
            )
            .await?;
        let expires = answer.pointer("/data/expires_at").and_then(Value::as_i64);
        let limited = list(&answer, "/data/granular_scopes").find(|scope| {
            scope.get("scope").and_then(Value::as_str) == Some("whatsapp_business_messaging")
        });
        Ok(MetaTokenFacts {
            is_valid: answer.pointer("/data/is_valid") == Some(&Value::Bool(true)),
            app_id: text(&answer, "/data/app_id"),
            kind: text(&answer, "/data/type"),
            expires_at: expires
                .filter(|at| *at > 0)
                .map(Timestamp::from_unix_seconds),
            scopes: list(&answer, "/data/scopes")
                .filter_map(|scope| scope.as_str().map(str::to_owned))
                .collect(),
            accounts: limited
                .filter(|scope| scope.get("target_ids").is_some())
                .map(|scope| {
                    list(scope, "/target_ids")
                        .filter_map(|id| text(id, ""))
                        .collect()
                }),
        })
    }

    /// Meta's data about a number.
    pub async fn number(&self, number: &str) -> Result<MetaNumberFacts, MetaQueryError> {
        let fields =
            "id,status,quality_rating,name_status,throughput,webhook_configuration,health_status";
        let (answer, clock) = self
            .get(number, &[("fields", fields)], Some(&self.token))
            .await?;
        let callback = |of: &str| text(&answer, &format!("/webhook_configuration/{of}"));
        Ok(MetaNumberFacts {
            status: text(&answer, "/status"),
            quality: text(&answer, "/quality_rating").map(|word| words::quality(&word)),
            throughput: text(&answer, "/throughput/level"),
            name_status: text(&answer, "/name_status"),
            can_send: text(&answer, "/health_status/can_send_message"),
            obstacles: list(&answer, "/health_status/entities")
                .flat_map(|entity| {
                    let kind = text(entity, "/entity_type").unwrap_or_default();
                    list(entity, "/errors").map(move |error| {
                        (
                            kind.clone(),
                            error.get("error_code").and_then(Value::as_i64).unwrap_or(0),
                            text(error, "/error_description").unwrap_or_default(),
                            text(error, "/possible_solution").unwrap_or_default(),
                        )
                    })
                })
                .collect(),
            callback_of_number: callback("phone_number"),
            callback_of_account: callback("whatsapp_business_account"),
            callback_of_app: callback("application"),
            clock,
        })
    }

    /// The apps that get an account's callbacks.
    pub async fn subscribed(
        &self,
        account: &str,
    ) -> Result<Vec<MetaSubscribedApp>, MetaQueryError> {
        let path = format!("{account}/subscribed_apps");
        let (answer, _) = self.get(&path, &[], Some(&self.token)).await?;
        Ok(list(&answer, "/data")
            .filter_map(|app| {
                Some(MetaSubscribedApp {
                    app_id: text(app, "/whatsapp_business_api_data/id")?,
                    override_url: text(app, "/override_callback_uri"),
                })
            })
            .collect())
    }

    /// The subscriptions of an app; its secret authorizes the request.
    pub async fn subscription(
        &self,
        app_id: &str,
        app_secret: &SecretString,
    ) -> Result<Option<MetaAppSubscription>, MetaQueryError> {
        let token = SecretString::from(format!("{app_id}|{}", app_secret.expose_secret()));
        let path = format!("{app_id}/subscriptions");
        let (answer, _) = self.get(&path, &[], Some(&token)).await?;
        let ours = list(&answer, "/data").find(|it| {
            it.get("object").and_then(Value::as_str) == Some("whatsapp_business_account")
        });
        Ok(ours.map(|it| MetaAppSubscription {
            callback_url: text(it, "/callback_url"),
            active: it.get("active") != Some(&Value::Bool(false)),
            fields: list(it, "/fields")
                .filter_map(|field| text(field, "/name").or_else(|| text(field, "")))
                .collect(),
        }))
    }

    /// The account's templates: name, language and status.
    pub async fn templates(
        &self,
        account: &str,
    ) -> Result<Vec<(String, String, String)>, MetaQueryError> {
        let path = format!("{account}/message_templates");
        let query = [("fields", "name,language,status"), ("limit", "250")];
        let all = self.pages(&path, &query).await?;
        let read = |it: &Value| {
            Some((
                text(it, "/name")?,
                text(it, "/language")?,
                text(it, "/status")?,
            ))
        };
        Ok(all.iter().filter_map(read).collect())
    }
}
