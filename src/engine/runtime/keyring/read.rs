//! Caches the keyring and the provider clients, and reloads them after a change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{EnvironmentCredentials, ProviderCredentialSet, REVISION, build::build};
use crate::{
    domain::channel::{MessageChannel, ProviderCapabilities},
    engine::{Engine, runtime::vault::Vault},
    providers::{
        HttpClient, MessageSender, MessagingProvider, ProviderRegistry, UnavailableSender,
        UnknownOutcomeResolution,
    },
    store::{StoreError, credential, sender, setting},
};

/// Minimum time between two reloads because of callbacks that fail verification.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Keys, environment, and the cached keyring.
#[derive(Debug, Default)]
pub struct ProviderCredentialCache {
    pub vault: Option<Vault>,
    /// One for each kind of provider that the environment has credentials of; the first is of the
    /// kind of senders that say none.
    pub environments: Vec<EnvironmentCredentials>,
    pub(super) providers: ProviderRegistry,
    /// Absent where nothing is to be called.
    http: Option<HttpClient>,
    current: RwLock<Arc<ProviderCredentialSet>>,
    /// Provider clients of the senders.
    made: Mutex<HashMap<Uuid, CachedSenderClient>>,
    /// Start time of the last completed [`Engine::look_again`].
    looked_at: tokio::sync::Mutex<Option<Instant>>,
}

/// The revision of the account, and its client.
type CachedSenderClient = (i64, Arc<dyn MessageSender>);

impl ProviderCredentialCache {
    pub fn new(
        vault: Option<Vault>,
        environments: Vec<EnvironmentCredentials>,
        providers: ProviderRegistry,
        http: Option<HttpClient>,
    ) -> Self {
        Self {
            vault,
            environments,
            providers,
            http,
            ..Self::default()
        }
    }

    fn read(&self) -> Arc<ProviderCredentialSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// The providers there are.
    pub const fn providers(&self) -> &ProviderRegistry {
        &self.keys.providers
    }

    /// The channel of a sender, or of the default one; of that which needs no name, if there is
    /// none.
    pub fn channel_of(&self, sender: Option<Uuid>) -> MessageChannel {
        let ring = self.keyring();
        sender
            .and_then(|sender| ring.account(sender))
            .or_else(|| ring.default_account())
            .and_then(|account| self.keys.providers.find(&account.kind))
            .map(|provider| provider.channel())
            .unwrap_or_default()
    }

    /// The channel that a kind of provider serves; the default one's, of a kind that this version does
    /// not know.
    pub fn channel_of_kind(&self, kind: &str) -> MessageChannel {
        let provider = self.keys.providers.find(kind);
        provider.map(|it| it.channel()).unwrap_or_default()
    }

    /// The provider of a sender, or of the default one; `None`, if its keys are not read yet.
    pub fn provider_of(&self, sender: Option<Uuid>) -> Option<&Arc<dyn MessagingProvider>> {
        let ring = self.keyring();
        let account = match sender {
            Some(id) => ring.account(id),
            None => ring.default_account(),
        };
        self.keys.providers.find(&account?.kind)
    }

    /// Whether something may tell later what became of a sender's call whose response was lost. Of a
    /// provider that this version does not know, it is waited for.
    pub fn may_resolve(&self, sender: Option<Uuid>) -> bool {
        let ring = self.keyring();
        sender
            .and_then(|sender| ring.account(sender))
            .and_then(|account| self.keys.providers.find(&account.kind))
            .is_none_or(|it| it.unknown_outcome() != UnknownOutcomeResolution::Never)
    }

    /// What a kind of provider can do; of one that this version does not know, what the default
    /// one can.
    pub fn capabilities_of(&self, kind: &str) -> ProviderCapabilities {
        let providers = &self.keys.providers;
        providers
            .find(kind)
            .or_else(|| providers.find(providers.default_kind()))
            .map(|provider| provider.capabilities())
            .unwrap_or_default()
    }

    /// The cached keyring.
    pub fn keyring(&self) -> Arc<ProviderCredentialSet> {
        self.keys.read()
    }

    /// Reloads it if it has changed; otherwise one short statement.
    pub async fn refresh_keyring(&self) -> Result<Arc<ProviderCredentialSet>, StoreError> {
        let revision = setting::number(self.store.reader(), REVISION).await?;
        let kept = self.keys.read();
        if kept.revision == Some(revision) {
            return Ok(kept);
        }
        // Read after the revision: a newer row is read once more next time.
        let rows = sender::all(&self.store).await?;
        let credentials = credential::all(self.store.reader()).await?;
        let fresh = Arc::new(build(&self.keys, revision, &rows, &credentials));
        *self
            .keys
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        self.senders_changed.send_modify(|count| *count += 1);
        Ok(fresh)
    }

    /// Reloads for a request that arrived at `since` and fails verification: the result is newer
    /// than the request. A flood of forged requests causes few reloads: a request too soon after
    /// the last one waits for the next.
    pub async fn look_again(
        &self,
        since: Instant,
    ) -> Result<Arc<ProviderCredentialSet>, StoreError> {
        let mut looked_at = self.keys.looked_at.lock().await;
        if looked_at.is_none_or(|at| at < since) {
            if let Some(at) = *looked_at {
                tokio::time::sleep_until((at + LOOK_AGAIN).into()).await;
            }
            let began = tokio::time::Instant::now().into_std();
            self.refresh_keyring().await?;
            *looked_at = Some(began);
        }
        Ok(self.keyring())
    }

    /// The provider client of a sender from the cached keyring, or why it cannot send.
    pub fn provider(&self, sender: Uuid) -> Result<Arc<dyn MessageSender>, String> {
        let ring = self.keyring();
        let account = ring
            .account(sender)
            .ok_or_else(|| "there is no such sender".to_owned())?;
        if let Some(obstacle) = account.obstacle() {
            return Err(obstacle);
        }
        let (Some(connection), Some(http)) = (account.connection(), &self.keys.http) else {
            return Err("nothing can be sent from here".to_owned());
        };
        let mut made = self
            .keys
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, provider)) = made.get(&sender)
            && *revision == account.revision
        {
            return Ok(Arc::clone(provider));
        }
        let provider = self
            .keys
            .providers
            .find(&account.kind)
            .ok_or_else(|| format!("this version cannot send with {}", account.kind))?
            .connect(http, connection);
        made.insert(sender, (account.revision, Arc::clone(&provider)));
        Ok(provider)
    }

    /// Like [`Engine::provider`]; for a sender that cannot send, a client that answers every call
    /// with the reason.
    pub fn provider_or_unavailable(&self, sender: Uuid) -> Arc<dyn MessageSender> {
        self.provider(sender)
            .unwrap_or_else(|reason| Arc::new(UnavailableSender(reason)))
    }

    /// Why a sender cannot send; `None` asks for the default sender.
    pub fn obstacle(&self, sender: Option<Uuid>) -> Option<String> {
        if !self.settings.sending.enabled {
            return Some("sending is switched off: WHATSAPP_ENABLED is false".to_owned());
        }
        let ring = self.keyring();
        let account = match sender {
            Some(sender) => ring.account(sender),
            None => ring.default_account(),
        };
        match account {
            Some(account) => account.obstacle(),
            None => Some(
                "WhatsApp is not configured: WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN are needed, or a sender of its own (`herald senders add`)"
                    .to_owned(),
            ),
        }
    }
}
