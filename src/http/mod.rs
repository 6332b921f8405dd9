//! HTTP: the whole surface on one screen.

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

use api::{
    notifications::by_hand,
    people::{self, contacts, identity, staff},
    senders::{self, credentials, switch},
};
use auth::{delete, get, patch, post, put};
use problem::Problem;

/// The API's own bodies are small.
const MAX_JSON_BYTES: usize = 512 * 1024;

/// Every route there is.
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
            web::scope("/api/v1")
                .wrap(from_fn(nul::refuse))
                .wrap(from_fn(auth::authenticate))
                .wrap(from_fn(headers::api))
                .service(
                    web::resource("/events")
                        .route(post(api::events::post))
                        .route(get(api::events::list))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/events/{id}", get(api::events::get))
                .route("/events/{id}/replay", post(api::events::replay))
                .route("/event-types", get(api::events::types))
                .service(
                    web::resource("/notifications")
                        .route(post(api::notifications::post))
                        .route(get(api::notifications::filter::list))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/notifications/retry", post(by_hand::retry_many))
                .route("/notifications/cancel", post(by_hand::cancel_many))
                .route("/notifications/send-now", post(by_hand::send_now_many))
                .route("/notifications/{id}", get(api::notifications::get))
                .route(
                    "/notifications/{id}/story",
                    get(api::notifications::story::get),
                )
                .route("/notifications/{id}/retry", post(by_hand::retry))
                .route("/notifications/{id}/cancel", post(by_hand::cancel))
                .route("/notifications/{id}/send-now", post(by_hand::send_now))
                .route("/messages", get(api::messages::list))
                .route("/messages/{id}", get(api::messages::get))
                .route("/messages/{id}/media", get(api::messages::media))
                .route("/messages/{id}/read", post(api::messages::read))
                .service(
                    web::resource("/contacts")
                        .route(get(people::find))
                        .route(post(contacts::add))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/contacts/conflicts", get(people::conflicts))
                .route("/contacts/merge", post(identity::merge))
                .route("/contacts/{id}/identity", get(identity::get))
                .route("/contacts/{id}/split", post(identity::split))
                .service(
                    web::resource("/contacts/{id}")
                        .route(get(people::get))
                        .route(patch(contacts::change))
                        .route(delete(contacts::delete))
                        .default_service(web::to(method_not_allowed)),
                )
                .service(
                    web::resource("/contacts/{id}/preferences")
                        .route(get(contacts::get_preferences))
                        .route(put(contacts::put_preferences))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/message-kinds", get(contacts::kinds))
                .route("/users", get(staff::users))
                .service(
                    web::resource("/users/{name}")
                        .route(get(staff::user))
                        .route(put(staff::ensure_user))
                        .route(delete(staff::delete_user))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/users/{name}/contact", put(staff::link))
                .route("/groups", get(staff::groups))
                .service(
                    web::resource("/groups/{name}")
                        .route(get(staff::group))
                        .route(put(staff::ensure_group))
                        .route(delete(staff::delete_group))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/groups/{name}/members", get(staff::members))
                .service(
                    web::resource("/groups/{name}/members/{user}")
                        .route(put(staff::add_member))
                        .route(delete(staff::remove_member))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/suppressions", get(people::suppressions))
                .route("/notices", get(api::account::notices))
                .route("/templates", get(api::account::templates))
                .service(
                    web::resource("/senders")
                        .route(get(senders::list))
                        .route(post(senders::add))
                        .default_service(web::to(method_not_allowed)),
                )
                .service(
                    web::resource("/senders/{sender}")
                        .route(get(senders::get))
                        .route(patch(senders::change))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/senders/{sender}/default", post(switch::make_default))
                .route("/senders/{sender}/hold", post(switch::hold))
                .route("/senders/{sender}/release", post(switch::release))
                .route("/senders/{sender}/credentials", post(credentials::add))
                .route(
                    "/senders/{sender}/credentials/{id}",
                    delete(credentials::remove),
                )
                .route(
                    "/senders/{sender}/credentials/{id}/activate",
                    post(credentials::activate),
                )
                .route(
                    "/senders/{sender}/credentials/{id}/deactivate",
                    post(credentials::deactivate),
                )
                .service(
                    web::resource("/hold")
                        .route(get(api::hold::get))
                        .route(post(api::hold::start))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/hold/release", post(api::hold::release))
                .service(
                    web::resource("/keys")
                        .route(get(api::keys::list))
                        .route(post(api::keys::create))
                        .default_service(web::to(method_not_allowed)),
                )
                .route("/keys/{id}", delete(api::keys::revoke))
                .route("/audit", get(api::audit::list))
                .route("/log", put(api::log::put))
                .route("/stats", get(api::stats::get)),
        )
        .default_service(web::to(not_found));
}

async fn not_found() -> HttpResponse {
    Problem::NotFound.error_response()
}

async fn method_not_allowed() -> HttpResponse {
    Problem::MethodNotAllowed.error_response()
}
