//! Every error of the API: RFC 9457 problem documents from one closed enum.
//!
//! A problem names the field and the rule, never the value.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;

use crate::{
    domain::field_error::FieldError,
    engine::{
        InputError,
        admin::{operator_actions::BulkActionError, senders::SenderAdminError},
        ingest::inbox::CallbackInboxRefusal,
    },
    error::ErrorChain,
    store::StoreError,
};

/// Why a request is refused.
#[derive(Debug)]
pub enum ApiProblem {
    /// The callback's signature, or secret, is missing, malformed or wrong; the response does not say which.
    Signature,
    /// The webhook's verification failed.
    Verification,
    /// A callback cannot be stored now: send it again.
    Busy(CallbackInboxRefusal),
    /// No app secret is set: nothing can be verified, so nothing is stored.
    NoAppSecret,
    TooLarge,
    /// The body did not arrive in time.
    Late,
    /// The client's address has too many concurrent requests.
    TooMany,
    /// Too many of these were asked for lately: what of, and for how many seconds not again.
    Limited {
        rule: &'static str,
        wait_seconds: i64,
    },
    Unauthorized,
    /// The key is valid but lacks the permission; the rule that it violates.
    Forbidden(String),
    NotFound,
    MethodNotAllowed,
    /// The body or a parameter cannot be parsed; the error.
    Malformed(String),
    Invalid(Vec<FieldError>),
    EventConflict,
    KeyReused,
    /// The state of the resource does not allow it now.
    State(&'static str),
    /// The resource, or the provider that holds it, does not allow it, whatever its state.
    NotPossible(&'static str),
    /// The database cannot be reached.
    Unavailable,
    /// The provider did not answer, or not in time.
    ProviderUnreachable,
    Internal,
}

/// Seconds after which clients may retry.
const RETRY_AFTER_SECONDS: &str = "2";

impl ApiProblem {
    /// All problem codes.
    pub const CODES: [&'static str; 21] = [
        "signature",
        "verification",
        "busy",
        "no-app-secret",
        "too-large",
        "late",
        "too-many",
        "limited",
        "unauthorized",
        "forbidden",
        "not-found",
        "method-not-allowed",
        "malformed",
        "invalid",
        "event-conflict",
        "idempotency-key-reused",
        "state",
        "not-possible",
        "unavailable",
        "provider-unreachable",
        "internal",
    ];

    /// The public identifier. A new variant does not compile without one.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Verification => "verification",
            Self::Busy(_) => "busy",
            Self::NoAppSecret => "no-app-secret",
            Self::TooLarge => "too-large",
            Self::Late => "late",
            Self::TooMany => "too-many",
            Self::Limited { .. } => "limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::EventConflict => "event-conflict",
            Self::KeyReused => "idempotency-key-reused",
            Self::State(_) => "state",
            Self::NotPossible(_) => "not-possible",
            Self::Unavailable => "unavailable",
            Self::ProviderUnreachable => "provider-unreachable",
            Self::Internal => "internal",
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::Signature => {
                "Callback verification failed: its signature or secret is missing or wrong"
            }
            Self::Verification => "Webhook verification failed",
            Self::Busy(_) => "Callback could not be stored",
            Self::NoAppSecret => "No usable secret: callbacks cannot be verified",
            Self::TooLarge => "Request body too large",
            Self::Late => "Request body timed out",
            Self::TooMany => "Too many requests from this address",
            Self::Limited { .. } => "Too many lately",
            Self::Unauthorized => "Missing or invalid API key (Authorization: Bearer KEY)",
            Self::Forbidden(_) => "Not permitted for this API key",
            Self::NotFound => "Resource not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Malformed(_) => "Malformed request",
            Self::Invalid(_) => "Validation failed",
            Self::EventConflict => {
                "An event with this source and id exists already, with different content"
            }
            Self::KeyReused => "Idempotency-Key was already used for a different request",
            Self::State(_) => "Not allowed in the current state",
            Self::NotPossible(_) => "Not possible for this resource",
            Self::Unavailable => "Database unavailable",
            Self::ProviderUnreachable => "Provider unreachable",
            Self::Internal => "Internal server error",
        }
    }

    const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::NoAppSecret
                | Self::Unavailable
                | Self::ProviderUnreachable
                | Self::Late
                | Self::TooMany
                | Self::Limited { .. }
        )
    }
}

impl std::fmt::Display for ApiProblem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.title())
    }
}

impl ResponseError for ApiProblem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Signature | Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Verification | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Busy(_) | Self::NoAppSecret | Self::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ProviderUnreachable => StatusCode::BAD_GATEWAY,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany | Self::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Invalid(_) | Self::NotPossible(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::EventConflict | Self::KeyReused | Self::State(_) => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = json!({
            "type": format!("/problems/{}", self.code()),
            "title": self.title(),
            "status": self.status_code().as_u16(),
            "retryable": self.retryable(),
        });
        if let Some(object) = body.as_object_mut() {
            match self {
                Self::Malformed(detail) | Self::Forbidden(detail) => {
                    drop(object.insert("detail".to_owned(), json!(detail)));
                }
                Self::State(detail)
                | Self::NotPossible(detail)
                | Self::Limited { rule: detail, .. } => {
                    drop(object.insert("detail".to_owned(), json!(detail)));
                }
                Self::Invalid(fields) => drop(object.insert("errors".to_owned(), json!(fields))),
                _ => {}
            }
        }
        let mut response = HttpResponse::build(self.status_code());
        if let Self::Limited { wait_seconds, .. } = self {
            response.insert_header((header::RETRY_AFTER, wait_seconds.to_string()));
        } else if self.retryable() {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        if matches!(self, Self::Unauthorized) {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response
            .content_type("application/problem+json")
            .body(body.to_string())
    }
}

impl From<SenderAdminError> for ApiProblem {
    fn from(error: SenderAdminError) -> Self {
        match error {
            SenderAdminError::Fields(fields) => Self::Invalid(fields),
            SenderAdminError::NotFound => Self::NotFound,
            SenderAdminError::KeyReused => Self::KeyReused,
            SenderAdminError::NoKey => Self::Internal,
            SenderAdminError::KeyReplaced => Self::State(
                "HERALD_SECRET_KEY was replaced, and this process still has the previous one: restart it with the new one",
            ),
            SenderAdminError::Store(error) => error.into(),
        }
    }
}

impl From<BulkActionError> for ApiProblem {
    fn from(error: BulkActionError) -> Self {
        match error {
            BulkActionError::KeyReused => Self::KeyReused,
            BulkActionError::Store(error) => error.into(),
        }
    }
}

impl From<InputError> for ApiProblem {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Invalid(fields) => Self::Invalid(fields),
            InputError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiProblem {
    /// The only place where a request's storage error is logged.
    fn from(error: StoreError) -> Self {
        tracing::error!(event = "http.store_error", error = %ErrorChain(&error), "a request failed because of a database error");
        if error.is_transient() {
            Self::Unavailable
        } else {
            Self::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ApiProblem;
    use crate::engine::ingest::inbox::CallbackInboxRefusal;

    #[test]
    fn every_problem_has_an_identifier_that_is_listed_once() {
        let all = [
            ApiProblem::Signature,
            ApiProblem::Verification,
            ApiProblem::Busy(CallbackInboxRefusal::Full),
            ApiProblem::NoAppSecret,
            ApiProblem::TooLarge,
            ApiProblem::Late,
            ApiProblem::TooMany,
            ApiProblem::Limited {
                rule: "",
                wait_seconds: 1,
            },
            ApiProblem::Unauthorized,
            ApiProblem::Forbidden(String::new()),
            ApiProblem::NotFound,
            ApiProblem::MethodNotAllowed,
            ApiProblem::Malformed(String::new()),
            ApiProblem::Invalid(Vec::new()),
            ApiProblem::EventConflict,
            ApiProblem::KeyReused,
            ApiProblem::State(""),
            ApiProblem::NotPossible(""),
            ApiProblem::Unavailable,
            ApiProblem::ProviderUnreachable,
            ApiProblem::Internal,
        ];
        let codes: Vec<_> = all.iter().map(ApiProblem::code).collect();
        assert_eq!(codes, ApiProblem::CODES);
    }
}
