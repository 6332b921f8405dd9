//! Who can send and with what, and whose signatures are taken: read from the
//! database when it has changed there, completed by the environment.

mod build;
mod read;

pub use read::Keys;

use std::collections::{BTreeMap, HashMap};

use secrecy::SecretString;
use uuid::Uuid;

use crate::providers::Connection;

/// Counts every change of a sender or a credential.
pub const REVISION: &str = "senders_revision";

/// Whose the environment's secrets are, where no sender of its number is known.
const ENVIRONMENT: &str = "environment";

/// What the environment says. Its credentials belong to the sender of its number.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub endpoint_id: Option<String>,
    pub access_token: Option<SecretString>,
    pub app_secrets: Vec<SecretString>,
    pub verify_token: Option<SecretString>,
    /// Settings of senders of its kind that have none of their own.
    pub settings: BTreeMap<String, String>,
}

/// What a sender sends with.
#[derive(Clone, Debug)]
pub enum Token {
    Ready(SecretString),
    /// Its kind of provider needs none.
    NotNeeded,
    /// None is known.
    Missing,
    /// It is there, and no key we have opens it.
    Unreadable,
}

/// A sender, as one looks that is about to call.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: Uuid,
    pub name: String,
    pub kind: String,
    pub endpoint_id: Option<String>,
    pub account_id: Option<String>,
    /// What its kind of provider needs, completed by the environment.
    pub settings: BTreeMap<String, String>,
    pub is_default: bool,
    /// Held by a person; this is why.
    pub off: Option<String>,
    pub token: Token,
    /// Counts changes of its token and of where it calls.
    pub revision: i64,
    /// Whose signatures its callbacks bear.
    pub scope: String,
}

impl Account {
    /// Why nothing can be sent with it, in words for people.
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
            Token::Ready(_) | Token::NotNeeded => None,
            Token::Missing => Some(format!(
                "WhatsApp is not configured: the sender {} has no access token (WHATSAPP_ACCESS_TOKEN, or `herald senders set`)",
                self.name
            )),
            Token::Unreadable => Some(format!(
                "the access token of the sender {} cannot be read: it was encrypted with another HERALD_SECRET_KEY",
                self.name
            )),
        }
    }
}

impl Account {
    /// Whether its provider is called without TLS, as only a simulator is.
    pub fn is_simulated(&self) -> bool {
        self.settings
            .get("api_base")
            .is_some_and(|base| base.starts_with("http://"))
    }

    /// How it reaches its provider; `None` without a token, or an id to send from.
    pub fn connection(&self) -> Option<Connection> {
        let token = match &self.token {
            Token::Ready(token) => token.clone(),
            Token::NotNeeded => SecretString::default(),
            Token::Missing | Token::Unreadable => return None,
        };
        Some(Connection {
            endpoint_id: self.endpoint_id.clone()?,
            account_id: self.account_id.clone(),
            settings: self.settings.clone(),
            token,
        })
    }
}

/// A secret, and whose it is.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Of which kind of provider.
    pub kind: String,
    pub secret: SecretString,
    /// What is written down of it: a credential's id, or `environment`.
    label: String,
    scope: String,
}

impl Signer {
    /// Whether it is a secret of this app.
    pub fn is_of(&self, scope: &str) -> bool {
        self.scope == scope
    }
}

/// Which secrets a callback was signed with, where there are several apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Labels of the secrets: they stay what they are when a number changes its app.
    pub labels: String,
    /// Whose they are: the same bytes of two apps are two callbacks.
    pub scopes: String,
}

/// All of it, as it was at one revision.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    revision: Option<i64>,
    pub accounts: Vec<Account>,
    pub signers: Vec<Signer>,
    pub verify_tokens: Vec<SecretString>,
    /// App secrets that no key of ours opens: what does not verify may still be right.
    pub unreadable_secrets: usize,
    /// Whose each secret is, those out of use included, by label.
    scopes: HashMap<String, String>,
    /// There is one app, so that every signature is everybody's.
    one_app: bool,
}

impl Keyring {
    pub fn account(&self, id: Uuid) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// The sender that is used when none is named.
    pub fn default_account(&self) -> Option<&Account> {
        self.accounts.iter().find(|account| account.is_default)
    }

    /// The senders that an account's word is about. One whose account is not known is in the
    /// only one there is.
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

    pub fn account_of_number(&self, endpoint_id: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.endpoint_id.as_deref() == Some(endpoint_id))
    }

    /// Whether what was told of a number can be about a call of this sender: nobody
    /// speaks of another's messages.
    pub fn speaks_for(&self, endpoint_id: Option<&str>, sender: Uuid) -> bool {
        match endpoint_id.map(|number| self.account_of_number(number)) {
            Some(Some(account)) => account.id == sender,
            Some(None) | None => self.one_app,
        }
    }

    /// Whether an item with this signature is about numbers and accounts of the app
    /// that signed it. With several apps, what is about nobody we know is nobody's word.
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
        let fits = |account: &Account| scopes.contains(&account.scope.as_str());
        match endpoint_id {
            Some(number) => self.account_of_number(number).is_some_and(fits),
            None => self
                .accounts
                .iter()
                .filter(|account| account.account_id.is_some())
                .any(|account| account.account_id.as_deref() == account_id && fits(account)),
        }
    }

    /// Whether the account of a sender is meant; without one, all are.
    pub fn is_about(&self, sender: Option<Uuid>, is_meant: impl Fn(&Account) -> bool) -> bool {
        sender.is_none_or(|sender| self.account(sender).is_some_and(is_meant))
    }

    /// Whether a number may be taken to be in this account: none of another app is.
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
    pub fn signers_of(&self, kind: &str) -> Vec<&Signer> {
        self.signers
            .iter()
            .filter(|signer| signer.kind == kind)
            .collect()
    }

    /// Whose signature it is, for the record; nothing where there is one app only. `fitting`
    /// are positions in [`Self::signers_of`].
    pub fn signed_by(&self, kind: &str, fitting: &[usize]) -> Option<Signature> {
        if self.one_app {
            return None;
        }
        let signers = self.signers_of(kind);
        let joined = |of: fn(&Signer) -> &str| {
            let mut all: Vec<&str> = fitting
                .iter()
                .filter_map(|position| signers.get(*position))
                .map(|signer| of(signer))
                .collect();
            all.sort_unstable();
            all.dedup();
            all.join(" ")
        };
        Some(Signature {
            labels: joined(|signer| &signer.label),
            scopes: joined(|signer| &signer.scope),
        })
    }
}

/// Whose the app secrets of a sender are.
pub fn scope_of(row: &entity::sender::Model) -> String {
    row.app_id
        .as_ref()
        .map_or_else(|| token_scope(row.id), |app| format!("app:{app}"))
}

/// Whose the access token of a sender is.
pub fn token_scope(sender: Uuid) -> String {
    format!("sender:{sender}")
}
