//! `/api/v1`: one module for each resource. [`endpoints`] lists their handlers.

pub mod account;
pub mod audit;
pub mod endpoints;
pub mod events;
pub mod hold;
mod idempotency;
pub mod keys;
pub mod log;
pub mod messages;
pub mod notifications;
pub mod people;
pub mod senders;
pub mod stats;
pub mod verifications;

use crate::{
    domain::{field_error::FieldError, own_event::payload, time::Timestamp},
    http::{limits::RequestLimiter, problem::ApiProblem},
    state::ClientAddress,
};
use std::sync::OnceLock;

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// The API's description but for its operations, which [`endpoints`] adds.
#[derive(OpenApi)]
#[openapi(
    info(title = "Herald", description = "Sends WhatsApp notifications and tracks their delivery.", version = env!("CARGO_PKG_VERSION")),
    components(schemas(
        ProblemDocument, payload::AccountUpdateData, payload::AlarmChangeData, payload::ContactConsentData, payload::CredentialRenewalData, payload::MessageReceivedData, payload::NotificationChangeData, payload::NotificationFailureData,
        payload::SenderHoldChangeData, payload::SenderSilenceData, payload::TemplateUpdateData, payload::ServiceWindowEndData
    )),
    modifiers(&ApiKeySecurityModifier),
    security(("api_key" = []))
)]
struct OpenApiDescription;

/// The description of API keys.
const KEY: &str = "An API key (`herald keys create`). Without a good one every address but the contract answers 401. \
     A key has scopes, such as `events:write`: what it may not do is 403 `forbidden`, whose `detail` names the scope. A key may be \
     bound to a source, to senders and to a catalogue: it sees what belongs to its product, and everything else answers as if \
     it did not exist (404, the same lists and counts).";

struct ApiKeySecurityModifier;

impl Modify for ApiKeySecurityModifier {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(KEY))
                .build(),
        );
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("api_key", scheme);
    }
}

/// Responses that any operation may give, and what they have in common.
struct CommonResponses;

impl Modify for CommonResponses {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for path in document.paths.paths.values_mut() {
            let operations = [
                &mut path.get,
                &mut path.put,
                &mut path.post,
                &mut path.patch,
                &mut path.delete,
            ];
            for operation in operations.into_iter().flatten() {
                let late = operation.request_body.is_some().then_some("408");
                for status in ["401", "429", "503"].into_iter().chain(late) {
                    operation
                        .responses
                        .responses
                        .entry(status.to_owned())
                        .or_insert_with(|| problem(meaning(status)));
                }
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response {
                        complete(status, response);
                    }
                }
            }
        }
    }
}

/// Completes the description of a response; an error is a problem document.
fn complete(status: &str, response: &mut Response) {
    if response.description.is_empty() {
        meaning(status).clone_into(&mut response.description);
    }
    if status.starts_with(['4', '5'])
        && let Some(body) = response.content.shift_remove("application/json")
    {
        response.content.insert(PROBLEM_JSON.to_owned(), body);
    }
}

/// RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// The meaning of a status where an operation does not describe it.
fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "Success",
        "201" => "Created",
        "202" => "Accepted: it is carried out in the background",
        "204" => "Done; there is no body",
        "400" => "Malformed request: the body or a parameter cannot be parsed",
        "401" => "Missing or invalid API key",
        "403" => "Not permitted for this API key: `detail` names the scope that it lacks",
        "404" => "Resource not found, or outside the bounds of this API key",
        "408" => "The request body did not arrive in time (HERALD_HTTP_BODY_WAIT_MILLISECONDS)",
        "409" => "Conflict with the current state, or with an earlier request",
        "410" => "No longer available",
        "413" => "Request body too large",
        "422" => "Validation failed: `errors` names each field and the rule that it breaks",
        "429" => "Too many requests from this address",
        "502" => "The provider refused, or did not answer",
        "503" => "Database unavailable: Retry-After says when to try again",
        _ => "Other response",
    }
}

/// A response whose body is a problem document.
fn problem(description: &str) -> RefOr<Response> {
    ResponseBuilder::new()
        .description(description)
        .content(
            PROBLEM_JSON,
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ProblemDocument")))
                .build(),
        )
        .build()
        .into()
}

/// An error (RFC 9457).
#[derive(utoipa::ToSchema, serde::Serialize)]
pub struct ProblemDocument {
    /// `/problems/CODE`
    r#type: String,
    title: String,
    status: u16,
    /// The same request may succeed later.
    retryable: bool,
    detail: Option<String>,
    /// Invalid fields, each with the rule it violates.
    errors: Option<Vec<FieldErrorDocument>>,
}

/// A field and the rule it violates.
#[derive(utoipa::ToSchema, serde::Serialize)]
pub struct FieldErrorDocument {
    /// JSON pointer into the request.
    pointer: String,
    rule: String,
}

/// `GET /api/v1/openapi.json`. Built once: anyone may request it, without a key.
pub async fn openapi(
    request: HttpRequest,
    limiter: web::Data<RequestLimiter>,
    caller: web::ReqData<ClientAddress>,
) -> Result<HttpResponse, ApiProblem> {
    static CONTRACT: OnceLock<Option<web::Bytes>> = OnceLock::new();
    let contract =
        CONTRACT.get_or_init(|| endpoints::document().to_json().ok().map(web::Bytes::from));
    let contract = contract.clone().ok_or(ApiProblem::Internal)?;
    limiter
        .answer(&request, caller.address, contract.len())
        .await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(contract))
}

/// An invalid parameter, and the rule it violates.
fn wrong(pointer: &str, rule: String) -> ApiProblem {
    ApiProblem::Invalid(vec![FieldError {
        pointer: pointer.to_owned(),
        rule,
    }])
}

/// Parses a document from a complete body.
fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiProblem> {
    super::body::read(body)
}

/// The number of rows on a page: 50, unless 1 to 200 is requested.
fn page_size(limit: Option<u64>) -> Result<u64, ApiProblem> {
    match limit.unwrap_or(50) {
        limit @ 1..=200 => Ok(limit),
        _ => Err(wrong("limit", "1 to 200".to_owned())),
    }
}

/// Cuts a page out of rows of which one more than `limit` was read, and returns the cursor of the
/// next page, if there is one.
fn cut<T, P>(rows: &mut Vec<T>, limit: u64, place: impl Fn(&T) -> P) -> Option<P> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| more).map(place)
}

/// An instant in RFC 3339.
fn instant(pointer: &str, text: &str) -> Result<Timestamp, ApiProblem> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| {
        wrong(
            pointer,
            "an instant such as 2026-01-01T00:00:00Z".to_owned(),
        )
    })
}
