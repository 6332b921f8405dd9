//! `/api/v1`.

pub mod events;
pub mod messages;
pub mod notifications;
pub mod stats;

use actix_web::HttpResponse;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Herald", description = "Sends WhatsApp notifications and knows what became of them.", version = env!("CARGO_PKG_VERSION")),
    paths(
        events::post, events::get, notifications::post, notifications::list, notifications::get,
        notifications::retry, notifications::cancel, messages::list, stats::get
    ),
    components(schemas(ProblemDocument)),
    modifiers(&ApiKey),
    security(("api_key" = []))
)]
pub struct Api;

struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme =
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("api_key", scheme);
    }
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
    /// Wrong fields, each with the rule it breaks.
    errors: Option<Vec<FieldErrorDocument>>,
}

/// A field and the rule it breaks.
#[derive(utoipa::ToSchema, serde::Serialize)]
pub struct FieldErrorDocument {
    /// JSON pointer into the request.
    pointer: String,
    rule: String,
}

/// `GET /api/v1/openapi.json`
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().json(Api::openapi())
}
