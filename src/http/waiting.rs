//! What is answered while the process waits for its database: 503, so that providers and
//! products send again, and health checks see what it waits for.

use std::net::TcpListener;

use actix_web::{App, HttpResponse, HttpServer, dev::Server, web};
use serde_json::json;

use super::problem::Problem;

/// A server that answers so.
pub fn server(listener: TcpListener) -> std::io::Result<Server> {
    let server = HttpServer::new(|| {
        App::new()
            .route("/livez", web::get().to(live))
            .route("/readyz", web::get().to(ready))
            .default_service(web::to(unavailable))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(2)
    .listen(listener)?
    .run();
    Ok(server)
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

async fn unavailable() -> Result<HttpResponse, Problem> {
    Err(Problem::Unavailable)
}
