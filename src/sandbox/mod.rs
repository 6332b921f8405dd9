//! A stateful simulator of Meta's Graph API, of other providers, and of the people behind the phones.
//!
//! It checks requests as a provider does, answers like it, then posts callbacks over HTTP. It
//! shares no type with the other modules: they talk to it over HTTP only.

mod account;
mod callbacks;
mod chaos;
pub mod check;
mod mail;
mod myoperator;
mod names;
mod number;
mod people;
mod phones;
mod requests;
mod templates;

use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use account::{ACCOUNT_ID, APP_ID};
pub use myoperator::SandboxMyOperatorConfig;
use number::SandboxNumberSettings;
pub use people::{BEHAVIOURS, SandboxPhoneBehaviour};

/// Settings of the sandbox.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    pub phone_number_id: String,
    pub access_token: String,
    pub app_secret: String,
    /// Address for callbacks; if absent, none are posted.
    pub callback_url: Option<String>,
    pub sent_after: Duration,
    pub delivered_after: Duration,
    pub read_after: Duration,
    /// Average time of an answer: each has its own, from half of it to half as much again.
    pub takes: Duration,
    /// File to which accepted messages are written, one JSON object a line.
    pub ledger: Option<PathBuf>,
    pub workers: usize,
    /// Seed of simulated failures: see `chaos`.
    pub chaos: Option<u64>,
    /// The company that it plays at MyOperator; without it, MyOperator answers as to one that is not
    /// set up.
    pub myoperator: Option<SandboxMyOperatorConfig>,
    /// Where it takes mails; without it, it plays no mail server.
    pub mail: Option<Arc<TcpListener>>,
}

/// The state of the sandbox.
struct SandboxState {
    config: SandboxConfig,
    http: reqwest::Client,
    tasks: TaskTracker,
    ledger: Option<Mutex<File>>,
    /// Time of each person's last message in Unix seconds, for the service window.
    last_inbound: Mutex<HashMap<String, i64>>,
    /// How often the user id of each number has changed.
    user_ids: Mutex<HashMap<String, u32>>,
    /// Calls of each person so far: some behave differently the second time.
    calls: Mutex<HashMap<String, u32>>,
    /// Number of all calls.
    total: AtomicU64,
    number: Mutex<SandboxNumberSettings>,
    /// The state of its account: see `account`.
    account: Mutex<Value>,
    /// What the people have got: see `phones`.
    phones: phones::SandboxPhones,
    /// Templates created here: see `templates`.
    templates: Mutex<Vec<templates::SandboxTemplate>>,
}

impl SandboxState {
    /// Duration of this call.
    fn takes(&self) -> Duration {
        if self.config.takes.is_zero() {
            return Duration::ZERO;
        }
        let call = self.total.fetch_add(1, Ordering::Relaxed);
        let permille = u32::try_from(chaos::mix(call) % 1001).unwrap_or(0);
        self.config.takes * (500 + permille) / 1000
    }

    fn record(&self, our_id: &str, wamid: &str, took: Duration) {
        if let Some(ledger) = &self.ledger {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            let line =
                json!({ "our_id": our_id, "wamid": wamid, "at": unix_micros(), "took": took });
            let mut file = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writeln!(file, "{line}") {
                tracing::error!(event = "sandbox.ledger", %error, "an accepted message could not be written to the file of --ledger");
            }
        }
    }

    fn count_call(&self, to: &str) -> u32 {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(to.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Notes that a person has written, in Unix seconds: that opens the service window.
    fn open_window(&self, from: &str, seconds: i64) {
        let mut last = self
            .last_inbound
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.insert(from.to_owned(), seconds);
    }

    fn window_is_open(&self, to: &str) -> bool {
        let last = self
            .last_inbound
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.get(to)
            .is_some_and(|at| unix_micros() / 1_000_000 - at < 24 * 60 * 60)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sandbox is another world, with a clock of its own"
)]
fn unix_micros() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Runs the sandbox until stopped.
///
/// # Errors
/// When the ledger cannot be opened or the server cannot run.
pub async fn run(
    config: SandboxConfig,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ledger = match &config.ledger {
        Some(path) => Some(Mutex::new(
            File::options().create(true).append(true).open(path)?,
        )),
        None => None,
    };
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let tasks = TaskTracker::new();
    let workers = config.workers;
    let number = SandboxNumberSettings {
        token: config.access_token.clone(),
        expired: None,
        throughput: "STANDARD".to_owned(),
        on_business_app: false,
    };
    let account = account::healthy(config.callback_url.as_deref());
    let world = web::Data::new(SandboxState {
        config,
        http,
        tasks: tasks.clone(),
        ledger,
        last_inbound: Mutex::default(),
        user_ids: Mutex::default(),
        calls: Mutex::default(),
        total: AtomicU64::new(0),
        number: Mutex::new(number),
        account: Mutex::new(account),
        phones: phones::SandboxPhones::default(),
        templates: Mutex::default(),
    });
    let mails = match &world.config.mail {
        Some(listener) => Some(tasks.spawn(mail::run(listener.try_clone()?, world.clone()))),
        None => None,
    };
    let server = HttpServer::new(move || {
        App::new()
            .app_data(world.clone())
            .app_data(web::PayloadConfig::new(1024 * 1024))
            .route("/chat/messages", web::post().to(myoperator::messages))
            .route("/chat/templates", web::get().to(myoperator::templates))
            .route("/chat/phonenumbers", web::get().to(myoperator::numbers))
            .route(
                "/{version}/{phone_number_id}/messages",
                web::post().to(requests::messages),
            )
            .route("/sandbox/reply", web::post().to(reply))
            .route("/sandbox/number", web::post().to(number::change))
            .route("/sandbox/account", web::post().to(account::change))
            .route("/sandbox/phones", web::get().to(phones::page))
            .route("/sandbox/phones/{address}", web::get().to(phones::one))
            .route("/sandbox/mails/{number}", web::get().to(phones::html))
            .route("/sandbox/media/{id}", web::get().to(media_content))
            .route(
                "/{version}/debug_token",
                web::get().to(account::debug_token),
            )
            .route(
                "/{version}/{id}/subscribed_apps",
                web::get().to(account::subscribed_apps),
            )
            .route(
                "/{version}/{id}/subscriptions",
                web::get().to(account::subscriptions),
            )
            .route(
                "/{version}/{id}/message_templates",
                web::get().to(templates::list),
            )
            .route(
                "/{version}/{id}/message_templates",
                web::post().to(templates::make),
            )
            .route(
                "/{version}/{app}/uploads",
                web::post().to(templates::begin_upload),
            )
            .route(
                "/sandbox/templates/{name}",
                web::post().to(templates::by_hand),
            )
            .route("/{version}/{id}", web::get().to(media_place))
            .route("/{version}/{id}", web::post().to(templates::change))
            .default_service(web::to(|| async {
                graph_error(
                    404,
                    100,
                    "Unsupported request",
                    "There is no such object here.",
                )
            }))
    })
    .workers(workers)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    let handle = server.handle();
    tokio::select! {
        ended = server => ended?,
        () = stop.cancelled() => handle.stop(true).await,
    }
    if let Some(mails) = mails {
        mails.abort();
    }
    tasks.close();
    Ok(())
}

/// `POST /sandbox/reply {"from": "+12025550101", "text": "hello"}`: a person writes to Meta's number, or
/// with `"provider": "myoperator"`, and where Meta posts no callbacks, to that of MyOperator.
async fn reply(world: web::Data<SandboxState>, body: web::Json<Value>) -> HttpResponse {
    let from = body
        .get("from")
        .and_then(Value::as_str)
        .map(|from| from.trim_start_matches('+').to_owned());
    let text = body
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or("hello")
        .to_owned();
    let Some(from) = from.filter(|from| !from.is_empty()) else {
        return HttpResponse::BadRequest().json(json!({ "error": "from: a number" }));
    };
    let usual = if world.config.callback_url.is_some() {
        "meta"
    } else {
        "myoperator"
    };
    let provider = body.get("provider").and_then(Value::as_str);
    match provider.unwrap_or(usual) {
        "meta" => {
            let content = json!({ "type": "text", "text": { "body": text } });
            callbacks::person_writes(world.into_inner(), from, content, None).await;
        }
        "myoperator" => myoperator::person_writes(&world, &from, &text, None).await,
        _ => {
            return HttpResponse::BadRequest()
                .json(json!({ "error": "provider: meta or myoperator" }));
        }
    }
    HttpResponse::Ok().json(json!({ "success": true }))
}

/// `GET /{version}/{id}`: the number itself, or the address of a file. The sandbox has every file
/// whose id begins with `media`; one that begins with `medialarge` is larger than announced.
async fn media_place(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    let (_, id) = path.into_inner();
    if let Some(refused) = number::refusal(&world, &request) {
        return refused;
    }
    if id == world.config.phone_number_id {
        return number::object(&world);
    }
    if !id.starts_with("media") {
        return graph_error(
            400,
            100,
            "Unsupported get request",
            "There is no such object here.",
        );
    }
    let url = format!(
        "http://{}/sandbox/media/{id}",
        request.connection_info().host()
    );
    HttpResponse::Ok().json(json!({
        "messaging_product": "whatsapp", "url": url, "mime_type": "image/jpeg", "file_size": "12", "id": id,
    }))
}

async fn media_content(
    world: web::Data<SandboxState>,
    request: HttpRequest,
    path: web::Path<String>,
) -> HttpResponse {
    if number::refusal(&world, &request).is_some() {
        return HttpResponse::Unauthorized().finish();
    }
    let size = if path.starts_with("medialarge") {
        64 * 1024 * 1024
    } else {
        12
    };
    HttpResponse::Ok()
        .content_type("image/jpeg")
        .body(vec![b'x'; size])
}

/// An error as Meta writes it.
fn graph_error(status: u16, code: i64, message: &str, details: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status)
        .unwrap_or(actix_web::http::StatusCode::BAD_REQUEST);
    HttpResponse::build(status).json(json!({
        "error": {
            "message": format!("(#{code}) {message}"),
            "type": "OAuthException",
            "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": details },
            "fbtrace_id": "SandboxTrace",
        }
    }))
}
