//! A provider on HTTP that writes down who called with which token.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// One call: the number's id, the token, and the body.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: String,
    pub token: String,
    pub body: Value,
}

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    /// Tokens that have expired.
    expired: Vec<String>,
    /// What a number says of itself.
    number: Value,
    accepted: usize,
}

/// Meta, as far as a number's client can see it.
#[derive(Clone, Debug)]
pub struct Graph {
    pub base: String,
    inner: Arc<Mutex<Inner>>,
}

impl Graph {
    pub fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = web::Data::new(Arc::clone(&inner));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/{version}/{number}/messages", web::post().to(message))
                .route("/{version}/{number}", web::get().to(number))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        tokio::spawn(server);
        Self { base, inner }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this token is refused: its time is over.
    pub fn expires(&self, token: &str) {
        self.inner().expired.push(token.to_owned());
    }

    /// What a number says when it is asked.
    pub fn says(&self, number: Value) {
        self.inner().number = number;
    }

    pub fn calls(&self) -> Vec<Call> {
        self.inner().calls.clone()
    }

    pub fn accepted(&self) -> usize {
        self.inner().accepted
    }

    /// Who called last: the number's id and the token.
    pub fn last(&self) -> (String, String) {
        let call = self.inner().calls.last().cloned().unwrap();
        (call.number, call.token)
    }
}

async fn message(
    inner: web::Data<Arc<Mutex<Inner>>>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Json<Value>,
) -> HttpResponse {
    let token = request
        .headers()
        .get("Authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    let refused = inner.expired.contains(&token);
    inner.calls.push(Call {
        number: path.1.clone(),
        token,
        body: body.into_inner(),
    });
    if refused {
        return HttpResponse::Unauthorized().json(json!({
            "error": { "code": 190, "error_subcode": 463, "message": "Session has expired" }
        }));
    }
    inner.accepted += 1;
    let wamid = format!("wamid.GRAPH{}", inner.accepted);
    HttpResponse::Ok().json(json!({ "messages": [{ "id": wamid }] }))
}

async fn number(inner: web::Data<Arc<Mutex<Inner>>>) -> HttpResponse {
    let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    HttpResponse::Ok().json(&inner.number)
}
