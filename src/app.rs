//! Assembles the server from its parts: the only file that knows all the others.

mod environment;

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{cookie::Key, dev::ServerHandle, web};
use anyhow::{Context, bail};
use secrecy::SecretString;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    config::Config,
    dashboard,
    domain::{channel::MessageChannel, hold::HoldReason, phone, time::Timestamp},
    engine::{
        Engine,
        ingest::inbox::{CallbackInbox, CallbackInboxReceiver, CallbackMemoryQueue},
        intake,
        runtime::{
            clock::OF_PROCESS,
            heartbeat, hold,
            keyring::ProviderCredentialCache,
            lineage::{self, StaleDatabaseDetector},
            vault::{self, Vault, VaultKeyCheck},
        },
    },
    error::ErrorChain,
    http::{
        self,
        limits::{HttpLimits, RequestLimiter, files},
    },
    providers::{HttpClient, ProviderRegistry, http_client},
    shutdown::ShutdownTokens,
    state::{AppState, CallbackIngestMode, Clock, random_bytes},
    store::{
        self, Store, callback, connect, migrate,
        sqlite_file::{self, SqliteDatabasePresence, SqliteFileCondition, SqliteFileUsage},
        state_mark::StateMarkLocation,
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

/// Opens the database with these settings, whatever its schema.
pub async fn open_database(
    config: &Config,
    purpose: connect::ConnectPurpose,
) -> Result<Store, connect::DatabaseOpenError> {
    let access = connect::DatabaseConnectSettings {
        connections: config.database.connections,
        pooled: config.database.pooled,
        timeout: config.database.timeout,
    };
    connect::open(&config.database_url(), access, purpose).await
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

/// Whether a start failed because of a database that may become usable: it is unreachable,
/// starting, full or read-only.
fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<connect::DatabaseOpenError>()
            .is_some_and(connect::DatabaseOpenError::may_pass)
            || cause
                .downcast_ref::<store::StoreError>()
                .is_some_and(|error| error.is_transient() && !error.is_damage())
    })
}

/// Opens the store and checks that it can be used: a SQLite file that was not closed in order is
/// read completely first.
async fn open_store(
    config: &Config,
    migrate_now: bool,
    now: Timestamp,
) -> anyhow::Result<(Store, SqliteFileCondition)> {
    let database_url = config.database_url();
    let is_in_data_dir = connect::sqlite_file(&database_url)
        .is_some_and(|file| file.starts_with(&config.server.data_dir));
    if is_in_data_dir && let Err(error) = store::files::own_folder(&config.server.data_dir) {
        tracing::warn!(event = "data_dir.permissions", %error, "HERALD_DATA_DIR could not be created, or could not be closed to other users of this machine, who may then read it");
    }
    let before = sqlite_file::path_of(&database_url).map(SqliteDatabasePresence::look);
    let store = open_database(config, connect::ConnectPurpose::Serve).await?;
    let condition = match &before {
        Some(before) => sqlite_file::check(&store, before).await?,
        None => SqliteFileCondition::Sound,
    };
    if migrate_now {
        migrate::up(&store)
            .await
            .context("the database could not be migrated")?;
    } else if !migrate::is_current(&store)
        .await
        .context("the database's schema cannot be read")?
    {
        bail!(
            "the database's schema is older than this program: run `herald migrate up`, or start with --migrate"
        );
    }
    let is_other = condition == SqliteFileCondition::Copy;
    if let Some(segments) = callback::restore_pending(&store, is_other).await?
        && segments > 0
    {
        tracing::warn!(
            event = "database.inbox_ahead",
            segments,
            "the database is older than its stored callbacks: those that it does not know are applied again"
        );
    }
    sqlite_file::put_use(&store, SqliteFileUsage::Running, now).await?;
    Ok((store, condition))
}

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
                Err(error) if may_pass(&error) => {
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
        let (store, condition) = open_store(config, options.migrate, began).await?;
        if let Some(reference) = options.clock.reference() {
            reference.follow(&store).await?;
        }
        let now = options.clock.now();
        let vault = self::vault(config, secret_key, &store, true, now).await?;
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
        let lineage = self::lineage(config, &store, now).await?;
        let engine = Engine::new(store, config.engine.clone(), process)
            .with_keys(keys(config, Some(vault), options.providers.clone())?)
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
        if ring.signers.is_empty() {
            tracing::warn!(
                event = "config.no_app_secret",
                "no app secret is configured: callbacks get 503 until WHATSAPP_APP_SECRET is set, or a sender is given one (`herald senders set`)"
            );
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

/// Threads for the workers. Each drives one future on the main runtime's I/O and timers, so that
/// CPU-bound work (JSON) delays no other worker.
struct WorkerThreads {
    tracker: TaskTracker,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    panicked: Arc<AtomicBool>,
}

/// A worker that panics ends the process in order: a server that accepts messages and sends nothing
/// looks healthy, and is not.
struct WorkerPanicGuard {
    stop: CancellationToken,
    panicked: Arc<AtomicBool>,
}

impl Drop for WorkerPanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.panicked.store(true, Ordering::Release);
            self.stop.cancel();
        }
    }
}

impl WorkerThreads {
    fn start<F: Future<Output = ()>>(
        &self,
        name: &str,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> anyhow::Result<()> {
        let runtime = self.runtime.clone();
        let token = self.tracker.token();
        let watched = WorkerPanicGuard {
            stop: self.stop.clone(),
            panicked: Arc::clone(&self.panicked),
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // In this order at the end, however it ends: the process waits for the token.
                let _token = token;
                let _watched = watched;
                runtime.block_on(work());
            })
            .with_context(|| format!("the thread {name} cannot be started"))?;
        Ok(())
    }
}

async fn stop_server(handle: ServerHandle, stop: &ShutdownTokens) {
    stop.soft.cancelled().await;
    handle.stop(true).await;
}

/// The installation's id, and the location of its external state mark.
async fn lineage(
    config: &Config,
    store: &Store,
    now: Timestamp,
) -> anyhow::Result<StaleDatabaseDetector> {
    let outside = config
        .secrets
        .state_mark
        .as_ref()
        .map(StateMarkLocation::open)
        .transpose()?;
    let installation = store
        .write(async |tx| store::lineage::installation(tx, Uuid::new_v4(), now).await)
        .await?;
    Ok(StaleDatabaseDetector::new(installation, outside))
}

/// The keys of this installation, which must match the encrypted rows of the database.
async fn vault(
    config: &Config,
    secret_key: &SecretString,
    store: &Store,
    rotate: bool,
    now: Timestamp,
) -> anyhow::Result<Vault> {
    let Ok(vault) = Vault::new(secret_key, config.secrets.previous_key.as_ref()) else {
        bail!("HERALD_SECRET_KEY: 64 hex digits, such as `openssl rand -hex 32` prints")
    };
    let checked = vault::check(store, &vault, rotate, || random_bytes().ok(), now)
        .await
        .context("HERALD_SECRET_KEY could not be compared with the database")?;
    match checked {
        VaultKeyCheck::Fits => {}
        VaultKeyCheck::Rotated(count) => {
            tracing::warn!(
                event = "secret_key.rotated",
                count,
                "credentials are now encrypted with the new HERALD_SECRET_KEY: once every process has it, remove HERALD_SECRET_KEY_PREVIOUS"
            );
        }
        VaultKeyCheck::Wrong => bail!(
            "HERALD_SECRET_KEY: not the key this database was made with. Set the old key; to change it, set the new key and the old one as HERALD_SECRET_KEY_PREVIOUS. Without the old one, encrypted data cannot be read"
        ),
    }
    Ok(vault)
}

/// The keys, and the credentials from the environment.
fn keys(
    config: &Config,
    vault: Option<Vault>,
    providers: ProviderRegistry,
) -> anyhow::Result<ProviderCredentialCache> {
    let http = http_client(config.calls.timeout, config.calls.connect_timeout)?;
    Ok(ProviderCredentialCache::new(
        vault,
        environment::credentials(config, providers.default_kind()),
        providers,
        Some(http),
    ))
}

/// The store for a command beside a server.
pub async fn command_store(config: &Config) -> anyhow::Result<Store> {
    let store = open_database(config, connect::ConnectPurpose::Command).await?;
    if !migrate::is_current(&store)
        .await
        .context("the database's schema cannot be read")?
    {
        bail!("the database's schema is older than this program: run `herald migrate up`");
    }
    OF_PROCESS.follow(&store).await?;
    Ok(store)
}

/// An engine for a command beside a server. It can open secrets if it gets the key.
pub async fn command_engine(config: &Config, store: Store) -> anyhow::Result<Engine> {
    let now = Clock::System.now();
    let vault = match &config.secrets.key {
        Some(secret_key) => Some(self::vault(config, secret_key, &store, false, now).await?),
        None => None,
    };
    let engine = Engine::new(store, config.engine.clone(), store::new_id(now)).with_keys(keys(
        config,
        vault,
        ProviderRegistry::standard(),
    )?);
    engine.refresh_keyring().await?;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::{Arc, AtomicBool, CancellationToken, Ordering, TaskTracker, WorkerThreads};

    #[tokio::test]
    async fn a_worker_that_panics_takes_the_process_with_it() {
        let threads = WorkerThreads {
            tracker: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            stop: CancellationToken::new(),
            panicked: Arc::new(AtomicBool::new(false)),
        };
        threads.start("fine", || async {}).unwrap();
        threads
            .start("panics", || async { panic!("played by a test") })
            .unwrap();
        threads.stop.cancelled().await;
        threads.tracker.close();
        threads.tracker.wait().await;
        assert!(threads.panicked.load(Ordering::Acquire));
    }
}
