//! Assembles the server from its parts: the only file that knows all the others.

mod command;
mod environment;
mod opening;
mod threads;

pub use command::{command_engine, command_store};
pub use opening::open_database;

use std::{
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::{cookie::Key, dev::ServerHandle, web};
use anyhow::{Context, bail};
use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use self::threads::WorkerThreads;
use crate::{
    config::Config,
    dashboard,
    domain::{channel::MessageChannel, hold::HoldReason, phone},
    engine::{
        Engine,
        ingest::inbox::{CallbackInbox, CallbackInboxReceiver, CallbackMemoryQueue},
        intake,
        runtime::{heartbeat, hold, lineage},
    },
    error::ErrorChain,
    http::{
        self,
        limits::{HttpLimits, RequestLimiter, files},
    },
    providers::{HttpClient, ProviderRegistry, http_client},
    shutdown::ShutdownTokens,
    state::{AppState, CallbackIngestMode, Clock},
    store::{
        self, callback,
        sqlite_file::{self, SqliteFileCondition, SqliteFileUsage},
    },
    telemetry, workers,
};

/// Options of a process.
#[derive(Clone, Debug, Default)]
pub struct ServerStartOptions {
    pub clock: Clock,
    /// Apply missing migrations at the start.
    pub migrate: bool,
    pub ingest: CallbackIngestMode,
    /// Store callbacks without processing them: for `bench`.
    pub no_apply: bool,
    /// Tests run the workers' turns themselves.
    pub no_workers: bool,
    pub sending: StartupHoldMode,
    /// The providers that senders may be of.
    pub providers: ProviderRegistry,
}

/// Whether a start changes the hold of all sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartupHoldMode {
    /// As stored in the database.
    #[default]
    AsBefore,
    /// Sending is on hold until an operator releases it.
    OnHold,
}

/// A server, ready to run.
pub struct App {
    pub state: web::Data<AppState>,
    pub handover: Arc<CallbackMemoryQueue>,
    listener: TcpListener,
    intake: CallbackInboxReceiver,
    requests: intake::NotificationRequestQueue,
    options: ServerStartOptions,
    http_workers: usize,
    shares: files::FileDescriptorBudget,
    limiter: web::Data<RequestLimiter>,
    pages: dashboard::DashboardSettings,
    /// For requests other than sending.
    http: HttpClient,
}

/// Commits are not found in the database although its connection was reopened: nothing that this
/// process acknowledges can be trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "what was committed is not in the database, also after its connection was reopened: this process ends so that nothing more is acknowledged. Check the file system of the database, and whether the file was replaced"
)]
pub struct CommittedDataLostError;

/// Interval of attempts to open a database that is not usable yet.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Raises the limit of open files, divides it between connections, outgoing calls and the database,
/// and creates the limiter of requests.
fn limiter(config: &Config) -> (files::FileDescriptorBudget, web::Data<RequestLimiter>) {
    let reserved = config.engine.sending.slots
        + usize::try_from(config.database.connections).unwrap_or(usize::MAX);
    let shares =
        files::FileDescriptorBudget::new(files::raise_limit(), reserved, config.http.connections);
    let limiter = RequestLimiter::new(HttpLimits {
        proxies: config.http.trusted_proxies.clone(),
        connections: shares.kept,
        per_address: config.http.connections_per_address,
        wait: config.http.wait,
        body_wait: config.http.body_wait,
        least_rate: config.http.least_rate,
    });
    (shares, web::Data::new(limiter))
}

impl App {
    /// Builds a server like [`Self::build`]. While the database cannot be used for a temporary
    /// reason, every request is answered 503 and the database is tried again. `None` if it was
    /// stopped meanwhile.
    pub async fn build_when_possible(
        config: &Config,
        secret_key: &SecretString,
        listener: TcpListener,
        options: ServerStartOptions,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let tracker = TaskTracker::new();
        let mut waiting: Option<ServerHandle> = None;
        let built = loop {
            let own = listener.try_clone()?;
            match Self::build(config, secret_key, own, options.clone()).await {
                Err(error) if opening::may_pass(&error) => {
                    if waiting.is_none() {
                        let address = listener.local_addr()?;
                        tracing::error!(event = "start.waiting", %address, error = %ErrorChain(error.as_ref()), "database unavailable: requests get 503, retrying every second");
                        let (shares, limiter) = limiter(config);
                        let own = listener.try_clone()?;
                        let server = http::waiting::server(own, shares.open_at_once, limiter)?;
                        waiting = Some(server.handle());
                        tracker.spawn(server);
                    }
                }
                built => break built.map(Some),
            }
            tokio::select! {
                () = stop.cancelled() => break Ok(None),
                () = tokio::time::sleep(TRY_EVERY) => {}
            }
        };
        if let Some(waiting) = waiting {
            // A request that has begun gets its response.
            waiting.stop(true).await;
        }
        tracker.close();
        tracker.wait().await;
        built
    }

    /// Builds a server on a bound listener.
    pub async fn build(
        config: &Config,
        secret_key: &SecretString,
        listener: TcpListener,
        options: ServerStartOptions,
    ) -> anyhow::Result<Self> {
        let (shares, limiter) = limiter(config);
        let began = options.clock.now();
        let (store, condition) = opening::open_store(config, options.migrate, began).await?;
        if let Some(reference) = options.clock.reference() {
            reference.follow(&store).await?;
        }
        let now = options.clock.now();
        let vault = opening::vault(config, secret_key, &store, true, now).await?;
        let pages = dashboard::DashboardSettings {
            cookie_key: Key::from(&vault.derive("cookies")),
            secure: config
                .server
                .public_url
                .as_ref()
                .is_some_and(|url| url.starts_with("https://")),
        };
        let process = Uuid::new_v4();
        if store.is_sqlite() {
            // The file's lock is ours: any other owner of a lease is dead.
            store
                .inbox()
                .write(async |tx| callback::release_all(tx, process).await)
                .await?;
        }
        for of_kind in environment::credentials(config, options.providers.default_kind()) {
            // A mail server does not stand in for WhatsApp.
            let provider = options.providers.find(&of_kind.kind);
            let may_take_over =
                provider.is_some_and(|provider| provider.channel() == MessageChannel::default());
            environment::ensure_sender(&of_kind, may_take_over, &store, now).await?;
        }
        let durability = store::setting::durability(&store).await?;
        let lineage = opening::lineage(config, &store, now).await?;
        let engine = Engine::new(store, config.engine.clone(), process)
            .with_keys(opening::keys(
                config,
                Some(vault),
                options.providers.clone(),
            )?)
            .with_public_url(config.server.public_url.clone())
            .with_lineage(lineage);
        let engine = Arc::new(engine);
        // Before anything is sent.
        let by = hold::HoldActor {
            actor: "herald",
            now,
        };
        if condition == SqliteFileCondition::Copy {
            hold::begin(&engine, by, HoldReason::Copied, None).await?;
        }
        lineage::begin(&engine, now).await?;
        // After the hold of a copy: if a start fails before this or is killed, the next one still
        // detects the copy.
        if let Some(path) = sqlite_file::path_of(&config.database_url()) {
            sqlite_file::put_identity(&engine.store, &path, now).await?;
        }
        heartbeat::forget_dead(&engine, now).await?;
        if options.sending == StartupHoldMode::OnHold {
            hold::begin(&engine, by, HoldReason::Asked, Some("serve --hold")).await?;
        }
        let ring = engine.refresh_keyring().await?;
        let (door, requests) = intake::open();
        let backlog = Arc::clone(&engine.backlog);
        let (inbox, intake) = CallbackInbox::new(config.inbox.bytes, config.inbox.wait, backlog);
        let state = web::Data::new(AppState {
            engine,
            inbox: Arc::new(inbox),
            door,
            clock: options.clock.clone(),
            started_at: now,
            metrics: telemetry::metrics().map_err(anyhow::Error::msg)?,
            set_log_filter: telemetry::set_filter,
            durability,
            ingest: options.ingest,
        });
        let mut callers = ring.accounts.iter().map(|account| {
            let provider = state.engine.providers().find(&account.kind);
            provider.is_none_or(|it| it.receiver().is_some())
        });
        // A mail server calls nothing.
        let has_callers = ring.accounts.is_empty() || callers.any(|calls| calls);
        if has_callers && ring.signers.is_empty() {
            tracing::warn!(
                event = "config.no_app_secret",
                "no app secret is configured: callbacks get 503 until WHATSAPP_APP_SECRET is set, or a sender is given one (`herald senders set`)"
            );
        }
        if config.server.public_url.is_none() {
            let mailboxes = ring.accounts.iter().find(|account| {
                state.engine.channel_of_kind(&account.kind) == MessageChannel::Email
            });
            if let Some(account) = mailboxes {
                tracing::warn!(
                    event = "config.no_unsubscribe_link",
                    sender = account.name,
                    "HERALD_PUBLIC_URL is not set: mails that people may refuse have no link to unsubscribe"
                );
            }
        }
        Ok(Self {
            state,
            handover: Arc::new(CallbackMemoryQueue::default()),
            listener,
            intake,
            requests,
            options,
            http_workers: config.http.workers,
            shares,
            limiter,
            pages,
            http: http_client(config.calls.timeout, config.calls.connect_timeout)?,
        })
    }

    /// Runs until stopped: first the server stops, then the workers, then waiting items are
    /// finished.
    pub async fn run(self, stop: ShutdownTokens) -> anyhow::Result<()> {
        let Self {
            state,
            handover,
            listener,
            intake,
            requests,
            options,
            http_workers,
            shares,
            limiter,
            pages,
            http,
        } = self;
        let engine = Arc::clone(&state.engine);
        let commits_missing = engine.store.commits_missing();
        let clock = options.clock.clone();
        let (store, end_clock) = (engine.store.clone(), clock.clone());
        let tracker = TaskTracker::new();
        let memory = (!options.no_apply).then(|| Arc::clone(&handover));
        let threads = WorkerThreads {
            tracker: tracker.clone(),
            runtime: tokio::runtime::Handle::current(),
            stop: stop.soft.clone(),
            panicked: Arc::default(),
        };
        let (for_store, store_clock) = (Arc::clone(&engine), clock.clone());
        threads.start("herald-store", move || {
            workers::inbox::store(for_store, intake, memory, store_clock)
        })?;
        let (for_requests, requests_clock) = (Arc::clone(&engine), clock.clone());
        let (pages_clock, pages_stop) = (clock.clone(), stop.soft.clone());
        threads.start("herald-accept", move || async move {
            tokio::join!(
                workers::live::run(Arc::clone(&for_requests), pages_clock, pages_stop),
                workers::accept::run(for_requests, requests, requests_clock),
            );
        })?;
        if !options.no_workers {
            if !options.no_apply {
                let (engine, handover) = (Arc::clone(&engine), Arc::clone(&handover));
                let (clock, stop) = (clock.clone(), stop.soft.clone());
                threads.start("herald-apply", move || async move {
                    tokio::join!(
                        workers::heart::run(
                            Arc::clone(&engine),
                            "apply",
                            clock.clone(),
                            stop.clone()
                        ),
                        workers::backlog::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                        workers::inbox::process(engine, handover, clock, stop),
                    );
                })?;
            }
            let stop = stop.soft.clone();
            threads.start("herald-work", move || async move {
                tokio::join!(
                    workers::senders::mark_read(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::senders::look_after(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::senders::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::timers::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::timers::expand(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::timers::fallbacks(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::timers::verifications(
                        Arc::clone(&engine),
                        clock.clone(),
                        stop.clone()
                    ),
                    workers::watchdog::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::watchdog::run_windows(
                        Arc::clone(&engine),
                        clock.clone(),
                        stop.clone()
                    ),
                    workers::cleanup::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::erasure::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::watchdog::run_clock(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::lineage::run(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::watchdog::run_parked(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::watchdog::run_alarms(Arc::clone(&engine), clock.clone(), stop.clone()),
                    workers::templates::run(Arc::clone(&engine), http, clock.clone(), stop.clone()),
                    workers::heart::run(Arc::clone(&engine), "work", clock, stop.clone()),
                    workers::checkpoint::run(Arc::clone(&engine), stop),
                );
            })?;
        }
        let address = listener.local_addr()?;
        let handlers_state = state.clone();
        shares.announce();
        let listening = http::server::ListenerSettings {
            workers: http_workers,
            open_at_once: shares.open_at_once,
            stopping_seconds: 5,
            tls_only: pages.secure,
        };
        let server = http::server::listen(listener, listening, limiter, move |config| {
            config
                .app_data(handlers_state.clone())
                .configure(http::configure)
                .configure(|config| dashboard::configure(config, &handlers_state, &pages));
        })?;
        let handle = server.handle();
        // Concurrently with the start: the first request may come before it has ended.
        drop(tokio::task::spawn_blocking(phone::load_plans));
        tracing::info!(event = "http.listening", %address, "listening");
        // Closing the inbox ends its worker: no other handle may remain.
        drop(state);
        let commits_missing = commits_missing.unwrap_or_default();
        let ended = tokio::select! {
            ended = server => ended.context("the HTTP server stopped by itself"),
            () = stop_server(handle, &stop) => Ok(()),
            () = commits_missing.cancelled() => {
                stop.hard.cancel();
                Err(CommittedDataLostError.into())
            }
        };
        stop.soft.cancel();
        tracker.close();
        let in_order = tokio::select! {
            () = tracker.wait() => true,
            () = stop.hard.cancelled() => {
                tracing::warn!(event = "process.killed", "stopped before all work was finished: what this process had begun is picked up again when its leases expire");
                false
            }
        };
        if threads.panicked.load(Ordering::Acquire) {
            bail!("worker panicked: exiting so that the supervisor restarts the process");
        }
        if in_order {
            // The next start need not read the whole file.
            let noted =
                sqlite_file::put_use(&store, SqliteFileUsage::Stopped, end_clock.now()).await;
            if let Err(error) = noted {
                tracing::warn!(event = "database.left_open", %error, "the clean shutdown could not be recorded: the next start checks the whole database");
            }
            store.close().await;
        }
        ended
    }
}

async fn stop_server(handle: ServerHandle, stop: &ShutdownTokens) {
    stop.soft.cancelled().await;
    handle.stop(true).await;
}
