//! Credentials of all senders and the secrets that verify callbacks: read from the database when
//! they have changed, and completed by the environment.

mod build;
mod read;

pub use read::ProviderCredentialCache;

use std::collections::{BTreeMap, HashMap};

use secrecy::SecretString;
use uuid::Uuid;

use crate::providers::SenderConnectionSettings;

/// Counts every change of a sender or a credential.
pub const REVISION: &str = "senders_revision";

/// Scope of the environment's secrets if no sender has its number.
const ENVIRONMENT: &str = "environment";

/// Credentials from the environment, of one kind of provider. They belong to the sender of its
/// number.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentCredentials {
    /// The kind of provider that they are for.
    pub kind: String,
    pub endpoint_id: Option<String>,
    /// The account that the number is in.
    pub account_id: Option<String>,
    pub access_token: Option<SecretString>,
    pub app_secrets: Vec<SecretString>,
    pub verify_token: Option<SecretString>,
    /// Settings of senders of its kind that have none of their own.
    pub settings: BTreeMap<String, String>,
    /// Settings of the sender of its number or address alone.
    pub own_settings: BTreeMap<String, String>,
}

impl EnvironmentCredentials {
    /// The label of its secrets.
    fn label(&self, is_first: bool) -> String {
        if is_first {
            ENVIRONMENT.to_owned()
        } else {
            format!("{ENVIRONMENT}:{}", self.kind)
        }
    }

    /// Whether its credentials belong to a sender: they are given to no other kind of provider.
    pub fn is_of(&self, sender: &entity::sender::Model) -> bool {
        sender.kind == self.kind
            && sender.endpoint_id.is_some()
            && sender.endpoint_id == self.endpoint_id
    }
}

/// The access token of a sender.
#[derive(Clone, Debug)]
pub enum SenderTokenAvailability {
    Ready(SecretString),
    /// Its kind of provider needs none.
    NotNeeded,
    /// None is known.
    Missing,
    /// There is one, but none of our keys opens it.
    Unreadable,
}

/// A sender with everything needed for a call.
#[derive(Clone, Debug)]
pub struct SenderAccount {
    pub id: Uuid,
    pub name: String,
    pub kind: String,
    pub endpoint_id: Option<String>,
    pub account_id: Option<String>,
    /// What its kind of provider needs, completed by the environment.
    pub settings: BTreeMap<String, String>,
    pub is_default: bool,
    /// The reason, if an operator holds it.
    pub off: Option<String>,
    pub token: SenderTokenAvailability,
    /// Counts changes of its token and of the address it calls.
    pub revision: i64,
    /// Scope of the signatures of its callbacks.
    pub scope: String,
    /// Its provider's callbacks say which sender they are about.
    pub is_named_in_callbacks: bool,
}

impl SenderAccount {
    /// Why it cannot send, in words for people.
    pub fn obstacle(&self) -> Option<String> {
        if let Some(reason) = &self.off {
            return Some(format!(
                "the sender {} is held by hand: {reason}",
                self.name
            ));
        }
        if self.endpoint_id.is_none() {
            return Some(format!("the sender {} has no phone-number id", self.name));
        }
        match self.token {
            SenderTokenAvailability::Ready(_) | SenderTokenAvailability::NotNeeded => None,
            SenderTokenAvailability::Missing => Some(format!(
                "WhatsApp is not configured: the sender {} has no access token (WHATSAPP_ACCESS_TOKEN, or `herald senders set`)",
                self.name
            )),
            SenderTokenAvailability::Unreadable => Some(format!(
                "the access token of the sender {} cannot be read: it was encrypted with another HERALD_SECRET_KEY",
                self.name
            )),
        }
    }
}

impl SenderAccount {
    /// Whether its provider is called without TLS, as only a simulator is.
    pub fn is_simulated(&self) -> bool {
        self.settings
            .get("api_base")
            .is_some_and(|base| base.starts_with("http://"))
    }

    /// How it reaches its provider; `None` without a token, or an id to send from.
    pub fn connection(&self) -> Option<SenderConnectionSettings> {
        let token = match &self.token {
            SenderTokenAvailability::Ready(token) => token.clone(),
            SenderTokenAvailability::NotNeeded => SecretString::default(),
            SenderTokenAvailability::Missing | SenderTokenAvailability::Unreadable => return None,
        };
        Some(SenderConnectionSettings {
            endpoint_id: self.endpoint_id.clone()?,
            account_id: self.account_id.clone(),
            settings: self.settings.clone(),
            token,
        })
    }
}

/// A secret and its scope.
#[derive(Clone, Debug)]
pub struct CallbackSigningSecret {
    /// Of which kind of provider.
    pub kind: String,
    pub secret: SecretString,
    /// Stored name of the secret: a credential's id, or `environment`.
    label: String,
    scope: String,
}

impl CallbackSigningSecret {
    /// Whether the secret belongs to this app.
    pub fn is_of(&self, scope: &str) -> bool {
        self.scope == scope
    }
}

/// The secrets that signed a callback, if there are several apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSignerNames {
    /// Labels of the secrets: they stay the same when a number changes its app.
    pub labels: String,
    /// Their scopes: the same bytes of two apps are two callbacks.
    pub scopes: String,
}

/// All credentials at one revision.
#[derive(Clone, Debug, Default)]
pub struct ProviderCredentialSet {
    revision: Option<i64>,
    pub accounts: Vec<SenderAccount>,
    /// Senders of the environment that no server has stored yet: nothing is sent from them before.
    pub unstored: Vec<SenderAccount>,
    pub signers: Vec<CallbackSigningSecret>,
    pub verify_tokens: Vec<SecretString>,
    /// Number of app secrets that none of our keys opens: a callback that fails verification may
    /// still be genuine.
    pub unreadable_secrets: usize,
    /// The scope of each secret by label, including inactive ones.
    scopes: HashMap<String, String>,
    /// There is one app, so that every signature is valid for all senders.
    one_app: bool,
}

impl ProviderCredentialSet {
    pub fn account(&self, id: Uuid) -> Option<&SenderAccount> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// The default sender.
    pub fn default_account(&self) -> Option<&SenderAccount> {
        self.accounts.iter().find(|account| account.is_default)
    }

    /// The senders that an account's updates are about. A sender whose account is unknown belongs
    /// to the only one there is.
    pub fn senders_of(&self, account_id: Option<&str>) -> Vec<Uuid> {
        let mut known: Vec<&str> = self
            .accounts
            .iter()
            .filter_map(|account| account.account_id.as_deref())
            .collect();
        known.sort_unstable();
        known.dedup();
        self.accounts
            .iter()
            .filter(|account| match account.account_id.as_deref() {
                Some(own) => Some(own) == account_id,
                None => known.iter().all(|other| Some(*other) == account_id),
            })
            .map(|account| account.id)
            .collect()
    }

    pub fn account_of_number(&self, endpoint_id: &str) -> Option<&SenderAccount> {
        self.accounts
            .iter()
            .find(|account| account.endpoint_id.as_deref() == Some(endpoint_id))
    }

    /// The senders of a kind that belong to what signed a callback.
    pub fn senders_of_signer(&self, signed_by: &str, kind: &str) -> Vec<&SenderAccount> {
        let scopes: Vec<&str> = signed_by
            .split(' ')
            .filter_map(|label| self.scopes.get(label).map(String::as_str))
            .collect();
        self.accounts
            .iter()
            .filter(|account| account.kind == kind && scopes.contains(&account.scope.as_str()))
            .collect()
    }

    /// Whether an update about a number can be about a call of this sender: an update about one
    /// number never concerns another's messages.
    pub fn speaks_for(&self, endpoint_id: Option<&str>, sender: Uuid) -> bool {
        match endpoint_id.map(|number| self.account_of_number(number)) {
            Some(Some(account)) => account.id == sender,
            Some(None) => self.one_app,
            // What was proved once by a secret of a provider that names no senders.
            None => {
                let account = self.account(sender);
                self.one_app || account.is_some_and(|it| !it.is_named_in_callbacks)
            }
        }
    }

    /// Whether an item with this signature is about numbers and accounts of the signing app. With
    /// several apps, items about an unknown number are rejected.
    pub fn is_own_word(
        &self,
        signed_by: Option<&str>,
        endpoint_id: Option<&str>,
        account_id: Option<&str>,
    ) -> bool {
        let Some(labels) = signed_by else { return true };
        let scopes: Vec<&str> = labels
            .split(' ')
            .filter_map(|label| self.scopes.get(label).map(String::as_str))
            .collect();
        let fits = |account: &SenderAccount| scopes.contains(&account.scope.as_str());
        match endpoint_id {
            Some(number) => self.account_of_number(number).is_some_and(fits),
            None => self
                .accounts
                .iter()
                .filter(|account| account.account_id.is_some())
                .any(|account| account.account_id.as_deref() == account_id && fits(account)),
        }
    }

    /// Whether this is the account of a sender; without a sender, all match.
    pub fn is_about(
        &self,
        sender: Option<Uuid>,
        is_meant: impl Fn(&SenderAccount) -> bool,
    ) -> bool {
        sender.is_none_or(|sender| self.account(sender).is_some_and(is_meant))
    }

    /// Whether a number may be in this account: a number of another app may not.
    pub fn may_be_in(&self, endpoint_id: &str, account_id: &str) -> bool {
        let scope = self
            .account_of_number(endpoint_id)
            .map(|account| account.scope.as_str());
        self.accounts
            .iter()
            .filter(|account| account.account_id.as_deref() == Some(account_id))
            .all(|account| Some(account.scope.as_str()) == scope)
    }

    /// The secrets that callbacks of a kind of provider are signed with.
    pub fn signers_of(&self, kind: &str) -> Vec<&CallbackSigningSecret> {
        self.signers
            .iter()
            .filter(|signer| signer.kind == kind)
            .collect()
    }

    /// Whose signature it is, for the record; nothing where there is one app only. `fitting`
    /// are positions in [`Self::signers_of`].
    pub fn signed_by(&self, kind: &str, fitting: &[usize]) -> Option<CallbackSignerNames> {
        if self.one_app {
            return None;
        }
        let signers = self.signers_of(kind);
        let joined = |of: fn(&CallbackSigningSecret) -> &str| {
            let mut all: Vec<&str> = fitting
                .iter()
                .filter_map(|position| signers.get(*position))
                .map(|signer| of(signer))
                .collect();
            all.sort_unstable();
            all.dedup();
            all.join(" ")
        };
        Some(CallbackSignerNames {
            labels: joined(|signer| &signer.label),
            scopes: joined(|signer| &signer.scope),
        })
    }
}

/// The scope of a sender's app secrets.
pub fn scope_of(row: &entity::sender::Model) -> String {
    row.app_id
        .as_ref()
        .map_or_else(|| token_scope(row.id), |app| format!("app:{app}"))
}

/// The scope of a sender's access token.
pub fn token_scope(sender: Uuid) -> String {
    format!("sender:{sender}")
}
