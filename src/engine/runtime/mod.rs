//! State of a running process: settings, keys, caches, wakers, and work in progress; how the bad item
//! of a batch is found ([`isolate`]); and how long rows are kept ([`retention`]). No decisions about
//! messages are made here.

pub mod access;
pub mod backlog;
pub mod bounds;
pub mod catalogue_cache;
pub mod clock;
pub mod heartbeat;
pub mod hold;
pub mod isolate;
pub mod keyring;
pub mod lineage;
pub mod live_pages;
pub mod logins;
pub mod open_calls;
pub mod passwords;
pub mod refusals;
pub mod retention;
pub mod send_waiters;
pub mod sender_last_seen;
pub mod sighting;
pub mod template_layout;
pub mod template_status;
pub mod turn;
pub mod unsubscribe;
pub mod vault;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use crate::{domain::settings::EngineSettings, store::Store};

/// Shared state of the engine.
#[derive(Debug)]
pub struct Engine {
    pub store: Store,
    pub settings: EngineSettings,
    /// Id of this process, as the owner of leases.
    pub process: Uuid,
    /// This process's slot in the counters.
    pub slot: i64,
    catalogue_snapshot: RwLock<Arc<catalogue_cache::CatalogueSnapshot>>,
    /// When callbacks last named each number.
    pub sender_last_seen: sender_last_seen::SenderLastSeen,
    /// Clock changes seen by this process.
    pub clock: clock::ClockChanges,
    /// The clock was changed and the rows are not repaired yet: nothing is claimed meanwhile.
    clock_changed: AtomicBool,
    /// How far processing is behind.
    pub backlog: Arc<backlog::CallbackBacklogMonitor>,
    /// Last use of API keys.
    pub key_uses: access::ApiKeyUseTracker,
    /// Counts the claims of each sender, for the rotation of lanes.
    claims: Mutex<HashMap<Uuid, usize>>,
    /// Calls of this process that have not returned.
    pub open_calls: open_calls::OpenProviderCalls,
    /// Credentials of the senders.
    pub keys: keyring::ProviderCredentialCache,
    /// Counts the changes of senders that this process has seen.
    pub senders_changed: tokio::sync::watch::Sender<u64>,
    /// Identity evidence in responses to sends, not applied yet.
    pub pending_sightings: sighting::PendingSightings,
    /// Requests that wait for the provider's answer.
    pub send_waiters: send_waiters::SendWaiters,
    /// Wakes the senders when something may be due: counts up.
    pub queued: tokio::sync::watch::Sender<u64>,
    /// Wakes the timers when a follow-up may be due.
    pub followed_up: tokio::sync::Notify,
    /// Wakes the expansion when an event has more recipients.
    pub unexpanded: tokio::sync::Notify,
    /// Wakes the erasure when a person was deleted.
    pub erasures_added: tokio::sync::Notify,
    /// Subscriptions of open pages.
    pub live: live_pages::DashboardChangeNotifier,
    /// Hashes passwords.
    pub passwords: passwords::PasswordHasher,
    /// The hold of all sending, as this process last read it.
    current_hold: hold::LastReadSendingHold,
    /// Where this installation is for people, if it is said.
    pub public_url: Option<String>,
    /// Whether the database is in the state it was left in.
    pub lineage: lineage::StaleDatabaseDetector,
}

/// Counter slots: enough that processes rarely share one, few enough to sum.
const SLOTS: u128 = 64;

impl Engine {
    pub fn new(store: Store, settings: EngineSettings, process: Uuid) -> Self {
        Self {
            backlog: Arc::new(backlog::CallbackBacklogMonitor::new(settings.backlog)),
            store,
            settings,
            process,
            slot: i64::try_from(process.as_u128() % SLOTS).unwrap_or(0),
            catalogue_snapshot: RwLock::default(),
            sender_last_seen: sender_last_seen::SenderLastSeen::default(),
            clock: clock::ClockChanges::default(),
            clock_changed: AtomicBool::new(false),
            key_uses: access::ApiKeyUseTracker::default(),
            claims: Mutex::default(),
            open_calls: open_calls::OpenProviderCalls::default(),
            keys: keyring::ProviderCredentialCache::default(),
            senders_changed: tokio::sync::watch::Sender::new(0),
            pending_sightings: sighting::PendingSightings::default(),
            send_waiters: send_waiters::SendWaiters::default(),
            queued: tokio::sync::watch::Sender::new(0),
            followed_up: tokio::sync::Notify::new(),
            unexpanded: tokio::sync::Notify::new(),
            erasures_added: tokio::sync::Notify::new(),
            live: live_pages::DashboardChangeNotifier::default(),
            passwords: passwords::PasswordHasher::default(),
            current_hold: hold::LastReadSendingHold::default(),
            public_url: None,
            lineage: lineage::StaleDatabaseDetector::default(),
        }
    }

    /// The same engine with the lineage of its database, so that it may claim.
    #[must_use]
    pub fn with_lineage(self, lineage: lineage::StaleDatabaseDetector) -> Self {
        Self { lineage, ..self }
    }

    /// The same engine with the address under which people reach it.
    #[must_use]
    pub fn with_public_url(self, public_url: Option<String>) -> Self {
        Self { public_url, ..self }
    }

    /// The same engine with keys, so that it can open and seal secrets.
    #[must_use]
    pub fn with_keys(self, keys: keyring::ProviderCredentialCache) -> Self {
        Self { keys, ..self }
    }

    /// The number of a sender's next claim.
    pub fn next_claim(&self, sender: Uuid) -> usize {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let count = claims.entry(sender).or_default();
        let number = *count;
        *count = count.wrapping_add(1);
        number
    }

    /// Wakes the senders because something may be due.
    pub fn wake_senders(&self) {
        self.queued
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether this process may claim work that others could take.
    pub fn may_claim(&self) -> bool {
        !self.clock_changed.load(Ordering::Acquire)
    }

    /// Sets whether the clock was changed and rows are still to be repaired.
    pub fn set_clock_changed(&self, changed: bool) {
        self.clock_changed.store(changed, Ordering::Release);
    }
}
