//! Answers while the process waits for its database: 503, so that providers and products retry, and
//! health checks see the reason.

use std::net::TcpListener;

use actix_web::{HttpResponse, dev::Server, web};
use serde_json::json;

use super::{
    limits::RequestLimiter,
    problem::ApiProblem,
    server::{self, ListenerSettings},
};

/// The server that answers this way.
pub fn server(
    listener: TcpListener,
    open_at_once: usize,
    limiter: web::Data<RequestLimiter>,
) -> std::io::Result<Server> {
    let listening = ListenerSettings {
        workers: 1,
        open_at_once,
        stopping_seconds: 2,
        tls_only: false,
    };
    server::listen(listener, listening, limiter, |config| {
        config
            .route("/livez", web::get().to(live))
            .route("/readyz", web::get().to(ready))
            .default_service(web::to(unavailable));
    })
}

async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn ready() -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({
        "status": "not ready",
        "database": "unreachable, full or read-only: the process waits for it",
    }))
}

async fn unavailable() -> Result<HttpResponse, ApiProblem> {
    Err(ApiProblem::Unavailable)
}
