//! The inbox of callbacks: stores bodies that arrive together in one transaction, and acknowledges
//! them only after it has committed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

mod batch;
mod memory;
mod room;

pub use batch::store_turn;
pub use memory::CallbackMemoryQueue;
pub use room::{BodyMemoryReservation, CallbackPeerTrust};

use crate::{
    domain::time::Timestamp,
    engine::{
        Engine,
        runtime::{backlog::CallbackBacklogMonitor, keyring::CallbackSignerNames},
    },
    providers::ProviderCallbackReceiver,
};

/// Result of storing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackStoreOutcome {
    Stored,
    /// The body was stored before.
    Repeat,
}

/// Why a body was not stored. Each means: send it again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackInboxRefusal {
    /// Too many bodies are waiting.
    Full,
    /// The backlog would take the disk space that applying it needs.
    NoRoom,
    /// It was not stored in time.
    Late,
    /// The database refused it.
    Failed,
}

impl CallbackInboxRefusal {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRoom => "no_room",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

struct CallbackInboxSubmission {
    endpoint: &'static str,
    body: Bytes,
    /// Labels of the secrets that signed it, if there are several apps.
    signed_by: Option<String>,
    /// Urgent bodies are applied before the others.
    urgent: bool,
    digest: [u8; 32],
    answer: oneshot::Sender<Result<CallbackStoreOutcome, CallbackInboxRefusal>>,
    /// Memory reservation: released with the body, not when the client stops waiting.
    _room: Option<BodyMemoryReservation>,
}

/// The sending end, bounded in bytes and in waiting time.
#[derive(Debug)]
pub struct CallbackInbox {
    queue: mpsc::UnboundedSender<CallbackInboxSubmission>,
    rooms: room::BodyMemoryPools,
    max_wait: Duration,
    backlog: Arc<CallbackBacklogMonitor>,
}

/// The receiving end, owned by the worker that stores.
#[derive(Debug)]
pub struct CallbackInboxReceiver {
    queue: mpsc::UnboundedReceiver<CallbackInboxSubmission>,
}

impl CallbackInbox {
    pub fn new(
        max_bytes: usize,
        max_wait: Duration,
        backlog: Arc<CallbackBacklogMonitor>,
    ) -> (Self, CallbackInboxReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let inbox = Self {
            queue: sender,
            rooms: room::BodyMemoryPools::new(max_bytes),
            max_wait,
            backlog,
        };
        (inbox, CallbackInboxReceiver { queue: receiver })
    }

    /// A reservation for a body of an announced size. Nothing is reserved yet.
    pub fn room(&self, announced: usize, origin: CallbackPeerTrust) -> BodyMemoryReservation {
        self.rooms.room(announced, origin, self.max_wait)
    }

    /// Submits a body and waits until it is stored; and longer when processing is behind.
    pub async fn submit(
        &self,
        receiver: &dyn ProviderCallbackReceiver,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        room: BodyMemoryReservation,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let urgent = receiver.is_urgent(&body);
        if !urgent && self.backlog.is_full() {
            return Err(CallbackInboxRefusal::NoRoom);
        }
        let receipt = self
            .stored(receiver.endpoint(), body, signature, urgent, room)
            .await?;
        let delay = self.backlog.answer_delay();
        if !delay.is_zero() {
            metrics::counter!("herald_callbacks_delayed_total").increment(1);
            tokio::time::sleep(delay).await;
        }
        Ok(receipt)
    }

    async fn stored(
        &self,
        endpoint: &'static str,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        urgent: bool,
        room: BodyMemoryReservation,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let digest = digest(endpoint, &body, scopes(signature.as_ref()));
        let (answer, stored) = oneshot::channel();
        if self
            .queue
            .send(CallbackInboxSubmission {
                endpoint,
                body,
                signed_by: signature.map(|signature| signature.labels),
                urgent,
                digest,
                answer,
                _room: Some(room),
            })
            .is_err()
        {
            return Err(CallbackInboxRefusal::Failed);
        }
        match tokio::time::timeout(self.max_wait, stored).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CallbackInboxRefusal::Failed),
            Err(_) => Err(CallbackInboxRefusal::Late),
        }
    }
}

/// The digest that detects repeats. The same bytes at two endpoints, or signed by two apps, are two
/// callbacks: one may be accepted where the other is not. `scopes` are those of the signers, if there
/// are several apps.
pub fn digest(endpoint: &str, body: &[u8], scopes: Option<&str>) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(endpoint.as_bytes());
    digest.update([0, u8::from(scopes.is_some())]);
    if let Some(scopes) = scopes {
        digest.update(scopes.as_bytes());
        digest.update([0]);
    }
    digest.update(body);
    digest.finalize().into()
}

fn scopes(signature: Option<&CallbackSignerNames>) -> Option<&str> {
    signature.map(|signature| signature.scopes.as_str())
}

impl CallbackInbox {
    /// Stores a body in a transaction of its own: for comparison in `bench`.
    pub async fn submit_alone(
        &self,
        engine: &Engine,
        receiver: &dyn ProviderCallbackReceiver,
        body: Bytes,
        signature: Option<CallbackSignerNames>,
        now: Timestamp,
    ) -> Result<CallbackStoreOutcome, CallbackInboxRefusal> {
        let (answer, stored) = oneshot::channel();
        let endpoint = receiver.endpoint();
        let digest = digest(endpoint, &body, scopes(signature.as_ref()));
        let urgent = receiver.is_urgent(&body);
        batch::store(
            engine,
            vec![CallbackInboxSubmission {
                endpoint,
                body,
                signed_by: signature.map(|signature| signature.labels),
                urgent,
                digest,
                answer,
                _room: None,
            }],
            None,
            now,
        )
        .await;
        stored.await.unwrap_or(Err(CallbackInboxRefusal::Failed))
    }
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn endpoint_signers_and_bytes_make_a_callback() {
        let all = [
            digest("meta", b"{}", None),
            digest("file", b"{}", None),
            digest("meta", b"{} ", None),
            digest("meta", b"{}", Some("")),
            digest("meta", b"{}", Some("111")),
            digest("meta", b"111\0{}", None),
            digest("meta", b"", Some("111\0{}")),
        ];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(place));
        }
    }
}
