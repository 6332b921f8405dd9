//! Who can send and with what, and whose signatures are taken: read from the
//! database when it has changed there, completed by the environment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    Engine,
    vault::{Vault, place},
};
use crate::{
    domain::credential::Kind,
    providers::{Connector, Nobody, Provider},
    store::{StoreError, credential, notification::Whose, sender, setting},
};

/// Counts every change of a sender or a credential.
pub const REVISION: &str = "senders_revision";

/// Whose the environment's secrets are, where no sender of its number is known.
const ENVIRONMENT: &str = "environment";

/// What does not verify makes us look at the database again at most this often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the environment says. Its credentials belong to the sender of its number.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub phone_number_id: Option<String>,
    pub access_token: Option<SecretString>,
    pub app_secrets: Vec<SecretString>,
    pub verify_token: Option<SecretString>,
    pub api_version: String,
    pub api_base: String,
}

/// What a sender sends with.
#[derive(Clone, Debug)]
pub enum Token {
    Ready(SecretString),
    /// Nobody has said it.
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
    pub phone_number_id: Option<String>,
    pub waba_id: Option<String>,
    pub api_version: String,
    pub api_base: String,
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
        if self.phone_number_id.is_none() {
            return Some(format!("the sender {} has no phone-number id", self.name));
        }
        match self.token {
            Token::Ready(_) => None,
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

/// A secret, and whose it is.
#[derive(Clone, Debug)]
pub struct Signer {
    pub secret: SecretString,
    /// What is written down of it: a credential's id, or `environment`.
    label: String,
    scope: String,
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

    /// Whose messages an account's word is about. A sender whose account is not known is
    /// in the only one there is.
    pub fn of_account(&self, account_id: Option<&str>) -> Vec<Whose> {
        let mut known: Vec<&str> = self
            .accounts
            .iter()
            .filter_map(|account| account.waba_id.as_deref())
            .collect();
        known.sort_unstable();
        known.dedup();
        self.accounts
            .iter()
            .filter(|account| match account.waba_id.as_deref() {
                Some(own) => Some(own) == account_id,
                None => known.iter().all(|other| Some(*other) == account_id),
            })
            .map(|account| {
                if account.is_default {
                    Whose::OfOrNobodys(account.id)
                } else {
                    Whose::Of(account.id)
                }
            })
            .collect()
    }

    pub fn account_of_number(&self, phone_number_id: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.phone_number_id.as_deref() == Some(phone_number_id))
    }

    /// Whether what was told of a number can be about a call of this sender: nobody
    /// speaks of another's messages.
    pub fn speaks_for(&self, phone_number_id: Option<&str>, sender: Uuid) -> bool {
        match phone_number_id.map(|number| self.account_of_number(number)) {
            Some(Some(account)) => account.id == sender,
            Some(None) | None => self.one_app,
        }
    }

    /// Whether an item with this signature is about numbers and accounts of the app
    /// that signed it. With several apps, what is about nobody we know is nobody's word.
    pub fn is_own_word(
        &self,
        signed_by: Option<&str>,
        phone_number_id: Option<&str>,
        account_id: Option<&str>,
    ) -> bool {
        let Some(labels) = signed_by else { return true };
        let scopes: Vec<&str> = labels
            .split(' ')
            .filter_map(|label| self.scopes.get(label).map(String::as_str))
            .collect();
        let fits = |account: &Account| scopes.contains(&account.scope.as_str());
        match phone_number_id {
            Some(number) => self.account_of_number(number).is_some_and(fits),
            None => self
                .accounts
                .iter()
                .filter(|account| account.waba_id.is_some())
                .any(|account| account.waba_id.as_deref() == account_id && fits(account)),
        }
    }

    /// Whether a number may be taken to be in this account: none of another app is.
    pub fn may_be_in(&self, phone_number_id: &str, account_id: &str) -> bool {
        let scope = self
            .account_of_number(phone_number_id)
            .map(|account| account.scope.as_str());
        self.accounts
            .iter()
            .filter(|account| account.waba_id.as_deref() == Some(account_id))
            .all(|account| Some(account.scope.as_str()) == scope)
    }

    /// Whose signature it is, for the record; nothing where there is one app only.
    pub fn signed_by(&self, fitting: &[usize]) -> Option<Signature> {
        if self.one_app {
            return None;
        }
        let joined = |of: fn(&Signer) -> &str| {
            let mut all: Vec<&str> = fitting
                .iter()
                .filter_map(|position| self.signers.get(*position))
                .map(of)
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

/// Keys, the environment, and what was last read.
#[derive(Debug, Default)]
pub struct Keys {
    pub vault: Option<Vault>,
    pub environment: Environment,
    connector: Option<Connector>,
    current: RwLock<Arc<Keyring>>,
    /// What senders send with.
    made: Mutex<HashMap<Uuid, Made>>,
    /// When the last look of [`Engine::look_again`] began that is done.
    looked_at: tokio::sync::Mutex<Option<Instant>>,
}

/// The revision of its account, and the provider.
type Made = (i64, Arc<dyn Provider>);

impl Keys {
    pub fn new(
        vault: Option<Vault>,
        environment: Environment,
        connector: Option<Connector>,
    ) -> Self {
        Self {
            vault,
            environment,
            connector,
            ..Self::default()
        }
    }

    fn read(&self) -> Arc<Keyring> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// What was last read.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keys.read()
    }

    /// Reads it again if it has changed. One short statement when it has not.
    pub async fn refresh_keyring(&self) -> Result<Arc<Keyring>, StoreError> {
        let revision = setting::number(self.store.reader(), REVISION).await?;
        let kept = self.keys.read();
        if kept.revision == Some(revision) {
            return Ok(kept);
        }
        // Read after the revision: what is newer than it is read once more, next time.
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

    /// The same for a request that came at `since` and does not verify: what is given
    /// back is newer than it. A flood of forged requests makes few looks: whoever comes
    /// too soon after the last one waits for the next.
    pub async fn look_again(&self, since: Instant) -> Result<Arc<Keyring>, StoreError> {
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

    /// What a sender sends with, as this process last read it; or why it cannot.
    pub fn provider(&self, sender: Uuid) -> Result<Arc<dyn Provider>, String> {
        let ring = self.keyring();
        let account = ring
            .account(sender)
            .ok_or_else(|| "there is no such sender".to_owned())?;
        if let Some(obstacle) = account.obstacle() {
            return Err(obstacle);
        }
        let (Token::Ready(token), Some(number), Some(connector)) = (
            &account.token,
            &account.phone_number_id,
            &self.keys.connector,
        ) else {
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
        let provider = connector
            .connect(
                &account.kind,
                &account.api_base,
                &account.api_version,
                number,
                token.clone(),
            )
            .ok_or_else(|| format!("this version cannot send with {}", account.kind))?;
        made.insert(sender, (account.revision, Arc::clone(&provider)));
        Ok(provider)
    }

    /// The same; what cannot send answers every call with the reason.
    pub fn provider_or_nobody(&self, sender: Uuid) -> Arc<dyn Provider> {
        self.provider(sender)
            .unwrap_or_else(|reason| Arc::new(Nobody(reason)))
    }

    /// Why a sender cannot send, or nobody can; `None` asks for the default sender.
    pub fn obstacle(&self, sender: Option<Uuid>) -> Option<String> {
        if !self.settings.enabled {
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

fn build(
    keys: &Keys,
    revision: i64,
    rows: &[entity::sender::Model],
    credentials: &[entity::credential::Model],
) -> Keyring {
    let environment = &keys.environment;
    let open = |row: &entity::credential::Model| {
        keys.vault
            .as_ref()
            .and_then(|vault| vault.open(&place(row.id), &row.sealed))
    };
    let active = |kind: Kind| {
        credentials
            .iter()
            .filter(move |row| row.active && row.kind == kind.name())
    };
    let mut ring = Keyring {
        revision: Some(revision),
        ..Keyring::default()
    };
    let is_environments = |row: &entity::sender::Model| {
        row.phone_number_id.is_some() && row.phone_number_id == environment.phone_number_id
    };
    // Naming an app is not enough: without a secret of its own, its callbacks bear the
    // environment's.
    let own_app = |row: &entity::sender::Model| {
        let own = scope_of(row);
        active(Kind::AppSecret)
            .any(|credential| credential.scope == own)
            .then_some(own)
    };
    // The environment's secrets are those of its number's app.
    let environments_app = rows
        .iter()
        .find(|row| is_environments(row))
        .and_then(own_app)
        .unwrap_or_else(|| ENVIRONMENT.to_owned());
    for row in rows {
        // The newest token is the one; the environment's steps in when there is none.
        let newest = active(Kind::AccessToken)
            .filter(|credential| credential.scope == token_scope(row.id))
            .max_by_key(|credential| credential.id);
        let token = match newest {
            Some(credential) => open(credential).map_or(Token::Unreadable, Token::Ready),
            None => environment
                .access_token
                .clone()
                .filter(|_| is_environments(row))
                .map_or(Token::Missing, Token::Ready),
        };
        ring.accounts.push(Account {
            id: row.id,
            name: row.name.clone(),
            kind: row.kind.clone(),
            phone_number_id: row.phone_number_id.clone(),
            waba_id: row.waba_id.clone(),
            api_version: row
                .api_version
                .clone()
                .unwrap_or_else(|| environment.api_version.clone()),
            api_base: row
                .base_url
                .clone()
                .unwrap_or_else(|| environment.api_base.clone()),
            is_default: row.is_default,
            off: row
                .off_at
                .map(|_| row.off_reason.clone().unwrap_or_default()),
            token,
            revision: row.revision,
            // Without an app of its own, its callbacks are those of the environment's.
            scope: own_app(row).unwrap_or_else(|| environments_app.clone()),
        });
    }
    ring.signers
        .extend(environment.app_secrets.iter().map(|secret| Signer {
            secret: secret.clone(),
            label: ENVIRONMENT.to_owned(),
            scope: environments_app.clone(),
        }));
    for row in active(Kind::AppSecret) {
        match open(row) {
            Some(secret) => ring.signers.push(Signer {
                secret,
                label: row.id.to_string(),
                scope: row.scope.clone(),
            }),
            None => ring.unreadable_secrets += 1,
        }
    }
    ring.scopes = credentials
        .iter()
        .filter(|row| row.kind == Kind::AppSecret.name())
        .map(|row| (row.id.to_string(), row.scope.clone()))
        .collect();
    ring.scopes
        .insert(ENVIRONMENT.to_owned(), environments_app.clone());
    ring.verify_tokens.extend(environment.verify_token.clone());
    ring.verify_tokens
        .extend(active(Kind::VerifyToken).filter_map(open));
    let mut scopes: Vec<&str> = ring
        .accounts
        .iter()
        .map(|account| account.scope.as_str())
        .chain(ring.signers.iter().map(|signer| signer.scope.as_str()))
        .collect();
    scopes.sort_unstable();
    scopes.dedup();
    ring.one_app = scopes.len() <= 1;
    ring
}
