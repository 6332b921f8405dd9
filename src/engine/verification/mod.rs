//! One-time passwords that Herald makes, sends and checks, so that no product has to: a code is
//! sealed while it is valid and wiped when it has ended; a check counts its try before it compares;
//! failures and sends are counted across verifications, as a new code must not bring new tries
//! (NIST SP 800-63B-4, 3.2.2).
//!
//! What does not belong here: writing and sending the messages ([`super::intake`],
//! [`super::delivery`]).

mod check;
mod count;
mod limits;
mod send;
mod start;
mod turn;

use std::net::IpAddr;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use check::{VerificationCheckOutcome, check};
pub use start::{StartedVerification, cancel, resend, start};
pub use turn::turn;

use crate::{
    domain::{
        access::AccessBounds, channel::MessageChannel, field_error::FieldError, time::Timestamp,
        verification::VerificationStatus,
    },
    engine::{
        Engine, InputError,
        intake::{
            channel_sender::{self, ChannelSender},
            idempotency::IdempotencyKey,
        },
    },
    store::{
        StoreError, TransactionWorkError,
        verification::{self, StoredVerification, VerificationSend},
    },
};

/// A verification as it is asked for; lengths and ranges have been checked.
#[derive(Clone, Debug)]
pub struct VerificationRequest {
    /// A number, `contact:NAME` or `user:NAME`.
    pub to: String,
    pub purpose: String,
    pub plan: VerificationPlan,
    /// Digits of the code, if it is not the caller's own.
    pub length: usize,
    /// The caller's own code.
    pub code: Option<SecretString>,
    /// `None`: as long as the template says, or five minutes.
    pub lifetime_seconds: Option<i64>,
    pub reference: Option<String>,
}

/// How codes of a verification are sent. It is stored with the verification, as what is sent later
/// must be like what was sent first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerificationPlan {
    /// In the order in which they are tried; never empty.
    pub channels: Vec<MessageChannel>,
    /// A template of the category `authentication`.
    pub template: String,
    pub language: Option<String>,
    /// The template's parameters besides the code.
    pub params: Map<String, Value>,
    /// The sender for the channel that it serves.
    pub sender_id: Option<Uuid>,
    /// The channel that `sender_id` serves.
    #[serde(default)]
    pub sender_channel: Option<MessageChannel>,
    /// The senders that its caller is bound to; empty: any.
    pub senders: Vec<Uuid>,
    /// For whom the caller asks: its client's address, or the network of it.
    pub client: Option<IpAddr>,
    /// Seconds until the next channel is tried, unless the code was delivered.
    pub fallback_seconds: i64,
}

impl VerificationPlan {
    /// The sender for one of its channels. A named one is taken even if this process has not read its
    /// keys yet.
    fn sender_for(&self, engine: &Engine, channel: MessageChannel) -> Option<ChannelSender> {
        let named = self
            .sender_id
            .filter(|_| self.sender_channel == Some(channel));
        named
            .map(ChannelSender::Named)
            .or_else(|| channel_sender::for_channel(engine, &self.senders, channel, self.sender_id))
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct VerificationCaller {
    pub bounds: AccessBounds,
    pub key: Option<IdempotencyKey>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    #[error("{} fields are wrong", .0.len())]
    Fields(Vec<FieldError>),
    #[error("the Idempotency-Key was used for a different request")]
    KeyReused,
    #[error("there is no such verification")]
    NotFound,
    /// It has ended, and nothing can be sent for it.
    #[error("the verification is {0}")]
    Ended(VerificationStatus),
    /// Too many lately.
    #[error("{rule}")]
    Limited {
        rule: &'static str,
        wait_seconds: i64,
    },
    /// Nothing can be sealed without `HERALD_SECRET_KEY`, or it was sealed with another one.
    #[error("the code cannot be sealed or opened with this HERALD_SECRET_KEY")]
    Key,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InputError> for VerificationError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Invalid(fields) => Self::Fields(fields),
            InputError::Store(error) => Self::Store(error),
        }
    }
}

impl TransactionWorkError for VerificationError {
    fn into_store(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            refused => Err(refused),
        }
    }
}

/// A verification with its messages.
#[derive(Clone, Debug)]
pub struct VerificationDetails {
    pub row: StoredVerification,
    pub status: VerificationStatus,
    pub plan: VerificationPlan,
    pub sends: Vec<VerificationSend>,
}

/// A verification within the caller's bounds.
pub async fn details(
    engine: &Engine,
    bounds: &AccessBounds,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<VerificationDetails>, StoreError> {
    let connection = engine.store.by_index();
    let Some(row) = verification::find(connection, bounds, id).await? else {
        return Ok(None);
    };
    Ok(Some(VerificationDetails {
        status: row.status()?.at(row.expires_at, now),
        plan: plan(&row)?,
        sends: verification::sends(connection, id).await?,
        row,
    }))
}

fn plan(row: &StoredVerification) -> Result<VerificationPlan, StoreError> {
    serde_json::from_str(&row.request).map_err(|_unreadable| StoreError::Corrupt {
        table: "verification",
        row: row.id.to_string(),
        column: "request",
    })
}

/// What a code's ciphertext is bound to.
fn place(id: Uuid) -> String {
    format!("verification/{id}")
}

/// What a code's digest is of: the same code of two verifications has two digests.
fn digested(id: Uuid, code: &str) -> Vec<u8> {
    [id.as_bytes(), b"verification".as_slice(), code.as_bytes()].concat()
}
