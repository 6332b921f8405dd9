//! HTTP: everything that is served, but for the pages (`dashboard`).
//!
//! [`configure`] has the order in which a request below `/api/v1` passes what stands before its
//! handler: headers of the answer, the API key, NUL. The endpoints themselves are one list of
//! handlers, [`api::endpoints`]. A handler declares the rest where it is written, so that what
//! is served, what a key needs and what the OpenAPI document says cannot differ:
//!
//! - method, path, parameters and answers: `#[utoipa::path]`;
//! - the scope: its first argument, [`auth::Allowed`];
//! - errors: [`problem::Problem`], which the answer is made of.
//!
//! To add an endpoint, write the handler in `api/` and add its name to that list;
//! `docs/adding-an-endpoint.md` has every step. Limits on connections and bodies ([`limits`]) hold
//! for all endpoints alike: there is nothing to declare.

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
use problem::Problem;

/// The API's own bodies are small.
const MAX_JSON_BYTES: usize = 512 * 1024;

/// Registers everything that is served.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(webhooks::MAX_BODY_BYTES))
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| Problem::Malformed(error.to_string()).into()),
        )
        .app_data(web::PathConfig::default().error_handler(|_, _| Problem::NotFound.into()))
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
    Problem::NotFound.error_response()
}

async fn method_not_allowed() -> HttpResponse {
    Problem::MethodNotAllowed.error_response()
}
