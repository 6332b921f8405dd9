//! Bounds the memory of bodies on their way to the database; it is reserved as their bytes arrive.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::CallbackInboxRefusal;

/// Largest size of an ordinary callback, in bytes.
const ORDINARY_BYTES: usize = 256 * 1024;

/// The origin of a body, as far as memory limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackPeerTrust {
    /// An address with valid signatures lately.
    Known,
    /// Any other address: they share a quarter of the memory, so that the rest stays free for known
    /// ones.
    Stranger,
}

/// All memory pools.
#[derive(Debug)]
pub(super) struct BodyMemoryPools {
    /// For ordinary callbacks; large ones have their own, so that they do not hold up the others.
    ordinary: PeerTrustMemoryPools,
    large: PeerTrustMemoryPools,
}

#[derive(Debug)]
struct PeerTrustMemoryPools {
    known: BodyMemoryPool,
    strangers: BodyMemoryPool,
}

/// Memory shared by bodies of one kind.
#[derive(Clone, Debug)]
struct BodyMemoryPool {
    kibibytes: Arc<Semaphore>,
    /// However full the pool is, one body at a time may exceed it: otherwise all could wait for
    /// each other, each holding a part.
    beyond: Arc<Semaphore>,
}

impl BodyMemoryPool {
    fn new(bytes: usize) -> Self {
        Self {
            kibibytes: Arc::new(Semaphore::new(bytes / 1024)),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }
}

impl PeerTrustMemoryPools {
    fn new(bytes: usize) -> Self {
        Self {
            known: BodyMemoryPool::new(bytes / 4 * 3),
            strangers: BodyMemoryPool::new(bytes / 4),
        }
    }
}

impl BodyMemoryPools {
    /// Pools of so many bytes in total, and at most four of the largest bodies beyond them.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            ordinary: PeerTrustMemoryPools::new(max_bytes / 4),
            large: PeerTrustMemoryPools::new(max_bytes / 4 * 3),
        }
    }

    /// A reservation for a body of an announced size. Nothing is reserved yet.
    pub(super) fn room(
        &self,
        announced: usize,
        origin: CallbackPeerTrust,
        max_wait: Duration,
    ) -> BodyMemoryReservation {
        let shares = if announced <= ORDINARY_BYTES {
            &self.ordinary
        } else {
            &self.large
        };
        let pool = match origin {
            CallbackPeerTrust::Known => &shares.known,
            CallbackPeerTrust::Stranger => &shares.strangers,
        };
        BodyMemoryReservation {
            pool: pool.clone(),
            taken: None,
            beyond: None,
            until: Instant::now() + max_wait,
        }
    }
}

/// The memory of one body: bounded however many connections there are, and taken only for bytes
/// that have arrived. Released however the wait ends, also when the client hangs up.
#[derive(Debug)]
pub struct BodyMemoryReservation {
    pool: BodyMemoryPool,
    taken: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
    until: Instant,
}

impl BodyMemoryReservation {
    /// Reserves so many more bytes; waits until there is room.
    ///
    /// # Errors
    /// [`CallbackInboxRefusal::Full`] if there is none within the longest wait since the reservation was
    /// made.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), CallbackInboxRefusal> {
        let held = self
            .taken
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = kibibytes(bytes).saturating_sub(held);
        if missing == 0 || self.beyond.is_some() {
            return Ok(());
        }
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.pool.kibibytes).try_acquire_many_owned(missing);
        if let Ok(more) = free {
            self.add(more);
            return Ok(());
        }
        let waiting = async {
            tokio::select! {
                biased;
                more = Arc::clone(&self.pool.kibibytes).acquire_many_owned(missing) => (more.ok(), None),
                turn = Arc::clone(&self.pool.beyond).acquire_owned() => (None, turn.ok()),
            }
        };
        match timeout_at(self.until, waiting).await {
            Ok((Some(more), _)) => self.add(more),
            Ok((None, Some(turn))) => self.beyond = Some(turn),
            Ok((None, None)) => return Err(CallbackInboxRefusal::Failed),
            Err(_) => return Err(CallbackInboxRefusal::Full),
        }
        Ok(())
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
    }
}

/// Memory is counted in KiB.
const fn kibibytes(bytes: usize) -> usize {
    if bytes == 0 { 1 } else { bytes.div_ceil(1024) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BodyMemoryPools, CallbackInboxRefusal, CallbackPeerTrust};

    const MEBIBYTE: usize = 1024 * 1024;
    const NO_WAIT: Duration = Duration::ZERO;

    #[tokio::test]
    async fn what_is_announced_and_does_not_come_takes_hardly_any_room() {
        let rooms = BodyMemoryPools::new(32 * MEBIBYTE);
        let mut idle = Vec::new();
        for _ in 0..200 {
            let mut room = rooms.room(256 * 1024, CallbackPeerTrust::Stranger, NO_WAIT);
            room.grow(1).await.unwrap();
            idle.push(room);
        }
        let mut good = rooms.room(1024, CallbackPeerTrust::Stranger, NO_WAIT);
        good.grow(1024).await.unwrap();
        let mut large = rooms.room(256 * 1024, CallbackPeerTrust::Stranger, NO_WAIT);
        large.grow(256 * 1024).await.unwrap();
    }

    #[tokio::test]
    async fn strangers_leave_room_for_known_senders() {
        let rooms = BodyMemoryPools::new(4 * MEBIBYTE);
        let mut held = Vec::new();
        let refused = loop {
            let mut room = rooms.room(64 * 1024, CallbackPeerTrust::Stranger, NO_WAIT);
            match room.grow(64 * 1024).await {
                Ok(()) => held.push(room),
                Err(reason) => break reason,
            }
        };
        assert_eq!(refused, CallbackInboxRefusal::Full);
        let mut good = rooms.room(64 * 1024, CallbackPeerTrust::Known, NO_WAIT);
        good.grow(64 * 1024).await.unwrap();
    }

    #[tokio::test]
    async fn bodies_that_hold_parts_of_a_full_pool_are_finished_one_by_one() {
        let rooms = BodyMemoryPools::new(4 * MEBIBYTE);
        let wait = Duration::from_secs(20);
        let bodies = (0..20).map(|_| async {
            let mut room = rooms.room(2 * MEBIBYTE, CallbackPeerTrust::Known, wait);
            for part in 1..=32 {
                room.grow(part * 64 * 1024).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, CallbackInboxRefusal>(())
        });
        let ended = futures_util::future::join_all(bodies).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    }
}
