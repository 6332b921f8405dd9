//! What a process knows and keeps while it runs: keys, caches, what is under way, who waits.
//! Nothing here decides about a message.

pub mod access;
pub mod backlog;
pub mod catalogue_cache;
pub mod clock;
pub mod heartbeat;
pub mod hold;
pub mod keyring;
pub mod lineage;
pub mod live_pages;
pub mod logins;
pub mod open_calls;
pub mod passwords;
pub mod retention;
pub mod send_waiters;
pub mod sender_last_seen;
pub mod sighting;
pub mod template_layout;
pub mod template_status;
pub mod turn;
pub mod vault;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use crate::{domain::settings::Settings, store::Store};

/// What every change needs to know.
#[derive(Debug)]
pub struct Engine {
    pub store: Store,
    pub settings: Settings,
    /// This process: the owner of its leases.
    pub process: Uuid,
    /// This process's slot in the counters.
    pub slot: i64,
    catalogue_snapshot: RwLock<Arc<catalogue_cache::CatalogueSnapshot>>,
    /// When callbacks last named each number.
    pub sender_last_seen: sender_last_seen::SenderLastSeen,
    /// What was seen of changed clocks.
    pub clock: clock::Changes,
    /// The clock was changed, and what that has left behind is not put right yet:
    /// nothing is claimed meanwhile.
    clock_changed: AtomicBool,
    /// How far applying is behind.
    pub backlog: Arc<backlog::Backlog>,
    /// When API keys were used last.
    pub key_uses: access::LastUses,
    /// Counts the claims of each sender: the lanes take turns.
    claims: Mutex<HashMap<Uuid, usize>>,
    /// Calls of this process that have not come back.
    pub open_calls: open_calls::OpenCalls,
    /// Who can send and with what.
    pub keys: keyring::Keys,
    /// Counts changes of senders that this process has seen.
    pub senders_changed: tokio::sync::watch::Sender<u64>,
    /// What responses to sends say about who is who.
    pub pending_sightings: sighting::PendingSightings,
    /// Requests that wait for the provider's answer.
    pub send_waiters: send_waiters::SendWaiters,
    /// Wakes the senders when something may be due: counts up.
    pub queued: tokio::sync::watch::Sender<u64>,
    /// Wakes the timers when a follow-up may be due.
    pub followed_up: tokio::sync::Notify,
    /// Wakes the expansion when an event has more recipients.
    pub unexpanded: tokio::sync::Notify,
    /// Open pages.
    pub live: live_pages::LivePages,
    /// Hashes the passwords of those who log in.
    pub passwords: passwords::Passwords,
    /// Whether sending is held, as this process last read it.
    current_hold: hold::Current,
    /// Whether this database is the one that was left.
    pub lineage: lineage::Lineage,
}

/// Counter slots: enough that processes rarely share one, few enough to sum.
const SLOTS: u128 = 64;

impl Engine {
    pub fn new(store: Store, settings: Settings, process: Uuid) -> Self {
        Self {
            backlog: Arc::new(backlog::Backlog::new(settings.backlog)),
            store,
            settings,
            process,
            slot: i64::try_from(process.as_u128() % SLOTS).unwrap_or(0),
            catalogue_snapshot: RwLock::default(),
            sender_last_seen: sender_last_seen::SenderLastSeen::default(),
            clock: clock::Changes::default(),
            clock_changed: AtomicBool::new(false),
            key_uses: access::LastUses::default(),
            claims: Mutex::default(),
            open_calls: open_calls::OpenCalls::default(),
            keys: keyring::Keys::default(),
            senders_changed: tokio::sync::watch::Sender::new(0),
            pending_sightings: sighting::PendingSightings::default(),
            send_waiters: send_waiters::SendWaiters::default(),
            queued: tokio::sync::watch::Sender::new(0),
            followed_up: tokio::sync::Notify::new(),
            unexpanded: tokio::sync::Notify::new(),
            live: live_pages::LivePages::default(),
            passwords: passwords::Passwords::default(),
            current_hold: hold::Current::default(),
            lineage: lineage::Lineage::default(),
        }
    }

    /// The same with what it knows of the history of its database: it may claim.
    #[must_use]
    pub fn with_lineage(self, lineage: lineage::Lineage) -> Self {
        Self { lineage, ..self }
    }

    /// The same with keys: it can read and keep what is secret.
    #[must_use]
    pub fn with_keys(self, keys: keyring::Keys) -> Self {
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

    /// Says that something may be due.
    pub fn wake_senders(&self) {
        self.queued
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether this process may take work that others could take.
    pub fn may_claim(&self) -> bool {
        !self.clock_changed.load(Ordering::Acquire)
    }

    /// Says whether the clock was changed and rows are still to be put right.
    pub fn set_clock_changed(&self, changed: bool) {
        self.clock_changed.store(changed, Ordering::Release);
    }
}
