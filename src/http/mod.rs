//! HTTP: everything that the server answers, except the pages (`dashboard`).
//!
//! [`configure`] registers it. A request below `/api/v1` passes through three middlewares before
//! its handler: response headers ([`headers`]), the API key ([`auth`]), and the check for NUL
//! (`nul`).
//!
//! The endpoints of the API are one list of handlers, in [`api::endpoints`]. Everything else is
//! declared by the handler, so that what is served, what a key needs and what the OpenAPI document
//! says are always the same:
//!
//! - method, path, parameters and responses: `#[utoipa::path]`;
//! - the scope: its first argument, [`auth::AuthorizedApiClient`].
//!
//! To add an endpoint, write the handler in `api/`, returning a [`problem::ApiProblem`] for what it
//! refuses, and add its name to that list; `docs/adding-an-endpoint.md` has every step. Limits on
//! connections, requests and bodies ([`limits`]) are the same for all endpoints.

pub mod api;
pub mod auth;
mod body;
pub mod headers;
pub mod health;
pub mod limits;
mod nul;
pub mod problem;
pub mod server;
pub mod waiting;
pub mod webhooks;

use actix_web::{HttpResponse, ResponseError, middleware::from_fn, web};

use api::endpoints;
use problem::ApiProblem;

/// The API's own bodies are small.
const MAX_JSON_BYTES: usize = 512 * 1024;

/// Registers everything that is served.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(webhooks::MAX_BODY_BYTES))
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| ApiProblem::Malformed(error.to_string()).into()),
        )
        .app_data(web::PathConfig::default().error_handler(|_, _| ApiProblem::NotFound.into()))
        .service(
            web::resource("/webhooks/{endpoint}")
                .route(web::get().to(webhooks::verify))
                .route(web::post().to(webhooks::receive))
                .default_service(web::to(method_not_allowed)),
        )
        .route("/livez", web::get().to(health::live))
        .route("/readyz", web::get().to(health::ready))
        .route("/metrics", web::get().to(health::metrics))
        .route("/problems", web::get().to(health::problems))
        .route("/problems/{code}", web::get().to(health::problems))
        .service(
            web::resource("/api/v1/openapi.json")
                .wrap(from_fn(headers::api))
                .route(web::get().to(api::openapi)),
        )
        .service(
            web::scope(endpoints::PREFIX)
                .wrap(from_fn(nul::refuse))
                .wrap(from_fn(auth::authenticate))
                .wrap(from_fn(headers::api))
                .configure(endpoints::configure),
        )
        .default_service(web::to(not_found));
}

async fn not_found() -> HttpResponse {
    ApiProblem::NotFound.error_response()
}

async fn method_not_allowed() -> HttpResponse {
    ApiProblem::MethodNotAllowed.error_response()
}
