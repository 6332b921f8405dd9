//! What Meta sends without end, or never answers, ends.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, web};
use herald::providers::{
    http_client,
    meta::{
        inspect::{MetaQueryClient, MetaQueryError},
        templates::sample,
    },
};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::Database;

crate::tests![
    a_list_without_an_end_is_no_list,
    a_list_that_does_not_say_how_it_goes_on_is_not_asked_for_ever,
    an_upload_that_is_never_answered_ends,
];

type Calls = Arc<AtomicUsize>;

/// One account goes on for ever, one says the same place again, and one none at all.
async fn page(account: web::Path<String>, calls: web::Data<Calls>) -> HttpResponse {
    let number = calls.fetch_add(1, Ordering::SeqCst);
    let cursors = match account.as_str() {
        "1" => json!({ "after": number.to_string() }),
        "2" => json!({ "after": "2" }),
        _ => json!({}),
    };
    HttpResponse::Ok().json(json!({
        "data": [{ "name": format!("t{number}"), "language": "en", "status": "APPROVED" }],
        "paging": { "cursors": cursors, "next": "https://example.org/next" },
    }))
}

async fn session(calls: web::Data<Calls>) -> HttpResponse {
    calls.fetch_add(1, Ordering::SeqCst);
    HttpResponse::Ok().json(json!({ "id": "upload:1" }))
}

async fn silence(calls: web::Data<Calls>) -> HttpResponse {
    calls.fetch_add(1, Ordering::SeqCst);
    std::future::pending().await
}

async fn token() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "data": { "app_id": "7", "is_valid": true } }))
}

/// A provider that has no end, and one who asks it.
fn endless() -> (MetaQueryClient, Calls) {
    let calls = Calls::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let shared = web::Data::new(Arc::clone(&calls));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .route("/v26.0/{account}/message_templates", web::get().to(page))
            .route("/v26.0/debug_token", web::get().to(token))
            .route("/v26.0/7/uploads", web::post().to(session))
            .route("/v26.0/upload:1", web::post().to(silence))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(0)
    .listen(listener)
    .unwrap()
    .run();
    tokio::spawn(server);
    let token = SecretString::from("a token for tests");
    let http = http_client(Duration::from_secs(30), Duration::from_secs(30)).unwrap();
    let inspector = MetaQueryClient::new(http, &base, "v26.0", token);
    (inspector, calls)
}

async fn a_list_without_an_end_is_no_list(_: Database) {
    let (inspector, calls) = endless();
    let found = inspector.account_templates("1").await;
    assert_eq!(found.unwrap_err(), MetaQueryError::Endless);
    assert_eq!(calls.load(Ordering::SeqCst), 100);
    let found = inspector.templates("1").await;
    assert_eq!(
        found.unwrap_err().to_string(),
        "Meta's list has no end: it was not read to it"
    );
}

async fn a_list_that_does_not_say_how_it_goes_on_is_not_asked_for_ever(_: Database) {
    for (account, asked) in [("2", 2), ("3", 1)] {
        let (inspector, calls) = endless();
        let found = inspector.account_templates(account).await;
        assert_eq!(found.unwrap_err(), MetaQueryError::Endless, "{account}");
        assert_eq!(calls.load(Ordering::SeqCst), asked, "{account}");
    }
}

async fn an_upload_that_is_never_answered_ends(_: Database) {
    let (inspector, calls) = endless();
    let sample = sample("invoice.pdf", vec![1]).unwrap();
    let inspector = inspector.uploading_within(Duration::from_millis(20));
    let uploaded = inspector.upload(&sample).await;
    assert_eq!(uploaded.unwrap_err(), MetaQueryError::Unreachable);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
