//! HTTP: the whole surface on one screen.

pub mod api;
pub mod auth;
pub mod headers;
pub mod health;
pub mod limits;
mod nul;
pub mod problem;
pub mod server;
pub mod waiting;
pub mod webhooks;

use actix_web::{HttpResponse, ResponseError, middleware::from_fn, web};

use api::{
    notifications::by_hand,
    people::{self, contacts, staff},
    senders::{self, credentials, switch},
};
use problem::Problem;

/// The API's own bodies are small.
const MAX_JSON_BYTES: usize = 512 * 1024;

/// Every route there is.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(webhooks::MAX_BODY_BYTES))
        .app_data(
            web::JsonConfig::default()
                .limit(MAX_JSON_BYTES)
                .content_type(|_| true)
                .content_type_required(false)
                .error_handler(|error, _| {
                    use actix_web::error::JsonPayloadError;
                    match error {
                        JsonPayloadError::Overflow { .. }
                        | JsonPayloadError::OverflowKnownLength { .. } => Problem::TooLarge,
                        // What serde says names fields and places; it may repeat a value, so only the place is told.
                        JsonPayloadError::Deserialize(error) => {
                            Problem::Malformed(readable(&error))
                        }
                        _ => Problem::Malformed("the body is not JSON".to_owned()),
                    }
                    .into()
                }),
        )
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| Problem::Malformed(error.to_string()).into()),
        )
        .app_data(web::PathConfig::default().error_handler(|_, _| Problem::NotFound.into()))
        .service(
            web::resource("/webhooks/meta")
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
            web::scope("/api/v1")
                .wrap(from_fn(nul::refuse))
                .wrap(from_fn(headers::api))
                .route("/openapi.json", web::get().to(api::openapi))
                .service(
                    web::resource("/events")
                        .route(web::post().to(api::events::post))
                        .route(web::get().to(api::events::list))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/events/{id}", web::get().to(api::events::get))
                .route("/events/{id}/replay", web::post().to(api::events::replay))
                .route("/event-types", web::get().to(api::events::types))
                .service(
                    web::resource("/notifications")
                        .route(web::post().to(api::notifications::post))
                        .route(web::get().to(api::notifications::filter::list))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/notifications/retry", web::post().to(by_hand::retry_many))
                .route(
                    "/notifications/cancel",
                    web::post().to(by_hand::cancel_many),
                )
                .route(
                    "/notifications/send-now",
                    web::post().to(by_hand::send_now_many),
                )
                .route(
                    "/notifications/{id}",
                    web::get().to(api::notifications::get),
                )
                .route(
                    "/notifications/{id}/story",
                    web::get().to(api::notifications::story::get),
                )
                .route("/notifications/{id}/retry", web::post().to(by_hand::retry))
                .route(
                    "/notifications/{id}/cancel",
                    web::post().to(by_hand::cancel),
                )
                .route(
                    "/notifications/{id}/send-now",
                    web::post().to(by_hand::send_now),
                )
                .route("/messages", web::get().to(api::messages::list))
                .route("/messages/{id}", web::get().to(api::messages::get))
                .route("/messages/{id}/media", web::get().to(api::messages::media))
                .route("/messages/{id}/read", web::post().to(api::messages::read))
                .service(
                    web::resource("/contacts")
                        .route(web::get().to(people::find))
                        .route(web::post().to(contacts::add))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/contacts/conflicts", web::get().to(people::conflicts))
                .service(
                    web::resource("/contacts/{id}")
                        .route(web::get().to(people::get))
                        .route(web::patch().to(contacts::change))
                        .route(web::delete().to(contacts::delete))
                        .default_service(web::to(method_not_allowed)),
                )
                .service(
                    web::resource("/contacts/{id}/preferences")
                        .route(web::get().to(contacts::get_preferences))
                        .route(web::put().to(contacts::put_preferences))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/message-kinds", web::get().to(contacts::kinds))
                .route("/users", web::get().to(staff::users))
                .service(
                    web::resource("/users/{name}")
                        .route(web::get().to(staff::user))
                        .route(web::put().to(staff::ensure_user))
                        .route(web::delete().to(staff::delete_user))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/users/{name}/contact", web::put().to(staff::link))
                .route("/groups", web::get().to(staff::groups))
                .service(
                    web::resource("/groups/{name}")
                        .route(web::get().to(staff::group))
                        .route(web::put().to(staff::ensure_group))
                        .route(web::delete().to(staff::delete_group))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/groups/{name}/members", web::get().to(staff::members))
                .service(
                    web::resource("/groups/{name}/members/{user}")
                        .route(web::put().to(staff::add_member))
                        .route(web::delete().to(staff::remove_member))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/suppressions", web::get().to(people::suppressions))
                .route("/notices", web::get().to(api::account::notices))
                .route("/templates", web::get().to(api::account::templates))
                .service(
                    web::resource("/senders")
                        .route(web::get().to(senders::list))
                        .route(web::post().to(senders::add))
                        .default_service(web::to(method_not_allowed)),
                )
                .service(
                    web::resource("/senders/{sender}")
                        .route(web::get().to(senders::get))
                        .route(web::patch().to(senders::change))
                        .default_service(web::to(method_not_allowed)),
                )
                .route(
                    "/senders/{sender}/default",
                    web::post().to(switch::make_default),
                )
                .route("/senders/{sender}/hold", web::post().to(switch::hold))
                .route("/senders/{sender}/release", web::post().to(switch::release))
                .route(
                    "/senders/{sender}/credentials",
                    web::post().to(credentials::add),
                )
                .route(
                    "/senders/{sender}/credentials/{id}",
                    web::delete().to(credentials::remove),
                )
                .route(
                    "/senders/{sender}/credentials/{id}/activate",
                    web::post().to(credentials::activate),
                )
                .route(
                    "/senders/{sender}/credentials/{id}/deactivate",
                    web::post().to(credentials::deactivate),
                )
                .service(
                    web::resource("/hold")
                        .route(web::get().to(api::hold::get))
                        .route(web::post().to(api::hold::start))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/hold/release", web::post().to(api::hold::release))
                .route("/audit", web::get().to(api::audit::list))
                .route("/log", web::put().to(api::log::put))
                .route("/stats", web::get().to(api::stats::get)),
        )
        .default_service(web::to(not_found));
}

/// What is wrong with a document and where, with quoted values left out.
pub(crate) fn readable(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let hides_value = text.starts_with("invalid type") || text.starts_with("invalid value");
    if hides_value {
        let expected = text
            .split("expected")
            .nth(1)
            .map_or_else(String::new, |rest| format!(": expected{rest}"));
        format!("a field has the wrong type{expected}")
    } else {
        text
    }
}

async fn not_found() -> HttpResponse {
    Problem::NotFound.error_response()
}

async fn method_not_allowed() -> HttpResponse {
    Problem::MethodNotAllowed.error_response()
}
